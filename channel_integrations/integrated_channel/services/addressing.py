# SPDX-License-Identifier: AGPL-3.0-or-later
"""From recorded rows to ones that wait for their endpoint: are they owed, where do they go, what do they say."""

import itertools
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from channel_integrations.integrated_channel.erasures import LEARNER_ERASED
from channel_integrations.integrated_channel.exceptions import (
    IdsMissing,
    NoWebhookConfigured,
    WebhookNotOwed,
    WebhookNotWritable,
)
from channel_integrations.integrated_channel.formats import Facts, NumberFacts, format_of, to_body
from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models import (
    HELD,
    EnterpriseWebhookConfiguration,
    MissingIds,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import (
    disclosures,
    final_number,
    naming,
    revisions,
    rollout,
)
from channel_integrations.integrated_channel.services.enrollments import look_again_at
from channel_integrations.integrated_channel.services.held import next_look
from channel_integrations.integrated_channel.services.outbox import insert_missing
from channel_integrations.integrated_channel.services.owed import Owed, owed_for
from channel_integrations.integrated_channel.services.sign_on import SignOns, sign_ons_of
from channel_integrations.integrated_channel.services.webhook_routing import endpoint_owed
from channel_integrations.integrated_channel.tracing import set_attributes, span

lines = LogLines(__name__)

#: rows addressed at once: enough to share their queries, few enough that what is addressed is soon sent
BATCH = 100
#: an address as old as this is looked at again before it is used
ADDRESSED_LATELY = timedelta(minutes=10)


@dataclass
class _Shared:
    """What rows that are addressed together share, and the revisions that they may ask for, by primary key."""

    prefetched: naming.Prefetched
    originals: Mapping[UUID, WebhookTransmissionQueue]
    revisions: dict[int, WebhookTransmissionQueue] = field(default_factory=dict)

    def number_of(self, webhook: WebhookTransmissionQueue, endpoint: EnterpriseWebhookConfiguration) -> NumberFacts:
        """What is said of the learning time beside the seconds."""
        if webhook.revises:
            return NumberFacts(True, webhook.revises, self.originals[webhook.revises].learning_time)
        return NumberFacts(endpoint.states_as_of is True, webhook.webhook_id if endpoint.revises else None)


def address_due() -> int:
    """Address the oldest rows that are due, recorded ones and those that are held; returns how many were claimed."""
    return _address_due(WebhookStatus.RECORDED) + sum(_address_due(status) for status in HELD)


def _address_due(status: Any) -> int:
    now = timezone.now()
    due = WebhookTransmissionQueue.objects.due(status, now)
    pks = list(due.values_list("pk", flat=True)[:BATCH])
    claimed = WebhookTransmissionQueue.objects.claim(pks, status, now)
    if claimed:
        with span("address", webhooks=len(claimed)), WebhookTransmissionQueue.objects.given_back_on_error(claimed):
            _address(claimed)
    return len(claimed)


def still_owed(webhooks: Sequence[WebhookTransmissionQueue]) -> list[WebhookTransmissionQueue]:
    """
    Those of these claimed rows that are owed to this day, and to this endpoint; the others are cancelled.

    A row that was addressed a moment ago needs no second look. One that has been tried, or has waited for its endpoint,
    may have lost what it was owed by in the meantime: a consent, a link, a region that the endpoint takes. An erasure
    is owed by none of these.
    """
    now = timezone.now()
    waited = [
        each
        for each in webhooks
        if (each.attempts_made or now - each.created > ADDRESSED_LATELY) and each.event_type != LEARNER_ERASED
    ]
    owed = owed_for(waited) if waited else {}
    sign_ons = _sign_ons(waited, owed)
    found = []
    for webhook in webhooks:
        try:
            _require_still_owed(webhook, owed.get(webhook.pk), sign_ons)
            found.append(webhook)
        except WebhookNotOwed as reason:
            with transaction.atomic():
                if webhook.is_abandoned:
                    disclosures.register_unwritten([webhook.pk])
                _cancel(webhook, reason)
    return found


def _require_still_owed(
    webhook: WebhookTransmissionQueue, owed: Owed | WebhookNotOwed | None, sign_ons: SignOns
) -> None:
    """:raises WebhookNotOwed: with the reason; ``owed`` is None for a row that need not be asked for"""
    if isinstance(owed, WebhookNotOwed):
        raise owed
    if owed:
        endpoint_owed(webhook, owed, sign_ons)
        webhook.basis = owed.recipient.basis


def _sign_ons(webhooks: Sequence[WebhookTransmissionQueue], owed: Mapping[int, Owed | WebhookNotOwed]) -> SignOns:
    return sign_ons_of(each.user_id for each in webhooks if each.user_id and isinstance(owed[each.pk], Owed))


def _address(webhooks: Sequence[WebhookTransmissionQueue]) -> None:
    # An erasure is addressed when it is made; here it is replayed, and nothing takes from what it is owed by.
    addressed = [webhook for webhook in webhooks if webhook.event_type == LEARNER_ERASED]
    webhooks = [webhook for webhook in webhooks if webhook.event_type != LEARNER_ERASED]
    owed = owed_for(webhooks)
    shared = _Shared(_prefetch(webhooks, owed), revisions.originals_of(webhooks))
    for webhook in webhooks:
        try:
            if _try_to_address(webhook, owed[webhook.pk], shared):
                addressed.append(webhook)
        except Exception as err:  # One row's trouble must not hold up the others; its lease ends, it is tried again.
            lines.failure("webhook_addressing", err, webhook_id=webhook.webhook_id)
    with transaction.atomic() if shared.revisions else nullcontext():
        written = WebhookTransmissionQueue.objects.mark_addressed(addressed)
        insert_missing([row for pk, row in shared.revisions.items() if pk in written])
    set_attributes(addressed=len(addressed))


def _prefetch(
    webhooks: Sequence[WebhookTransmissionQueue], owed: Mapping[int, Owed | WebhookNotOwed]
) -> naming.Prefetched:
    """What all of them take to be addressed and written: the queries do not depend on how many they are."""
    customers = {each.customer.pk: each.endpoints for each in owed.values() if isinstance(each, Owed)}
    return naming.prefetch((), itertools.chain(*customers.values()), _sign_ons(webhooks, owed))


def _try_to_address(webhook: WebhookTransmissionQueue, owed: Owed | WebhookNotOwed, shared: _Shared) -> bool:
    """Set endpoint and body; False where the row was moved to where it belongs instead."""
    try:
        if isinstance(owed, WebhookNotOwed):
            raise owed
        endpoint = endpoint_owed(webhook, owed, shared.prefetched.sign_ons)
    except WebhookNotOwed as err:
        _cancel_or_look_again(webhook, err)
        return False
    except NoWebhookConfigured as err:
        if webhook.mark_without_endpoint(str(err)):
            lines.info("webhook_addressing", "no_endpoint", webhook_id=webhook.webhook_id, region=webhook.region)
        return False
    webhook.endpoint_id, webhook.basis = endpoint.pk, owed.recipient.basis
    if webhook.body:  # A replay: what is sent again is what was sent.
        return True
    if not endpoint.active:
        if webhook.mark_parked(endpoint.pk):
            lines.info("webhook_addressing", "parked", webhook_id=webhook.webhook_id, endpoint_id=endpoint.pk)
        return False
    return _try_to_write(webhook, owed, endpoint, shared)


def _try_to_write(
    webhook: WebhookTransmissionQueue, owed: Owed, endpoint: EnterpriseWebhookConfiguration, shared: _Shared
) -> bool:
    """Set the body; False where the row was put off, held or cancelled instead."""
    reason = rollout.current().reason_against(owed.customer.pk, owed.learner.pk, [endpoint.learning_time])
    if reason:
        webhook.forget_learning_time(reason)
    try:
        if _put_off_if_early(webhook, endpoint, reason, shared):
            return False
        learner = naming.named(endpoint, owed.customer, owed.learner, shared.prefetched)
    except WebhookNotOwed as err:
        _cancel(webhook, err)
        return False
    except WebhookNotWritable as err:
        _hold(webhook, endpoint, err)
        return False
    webhook.region = endpoint.region
    facts = Facts(owed.customer, learner, shared.number_of(webhook, endpoint))
    webhook.body = to_body(format_of(endpoint).payload(webhook, facts, endpoint.omitted))
    if not reason and revisions.is_wanted(webhook, endpoint):
        shared.revisions[webhook.pk] = revisions.row_for(webhook, endpoint)
    return True


def _put_off_if_early(
    webhook: WebhookTransmissionQueue, endpoint: EnterpriseWebhookConfiguration, plain: str, shared: _Shared
) -> bool:
    """
    Put it off where its number is not final yet, and is to be; False where it goes out now.

    :param plain: why no number may be sent now
    :raises WebhookNotOwed: a revision that is not to be sent
    """
    if webhook.revises:
        put_off = revisions.put_off_if_early(webhook, shared.originals.get(webhook.revises), endpoint, plain)
    else:
        put_off = not plain and final_number.put_off_if_early(webhook, endpoint)
    if put_off:
        lines.info("webhook_addressing", "awaits_final", webhook_id=webhook.webhook_id, endpoint_id=endpoint.pk)
    return put_off


def _hold(
    webhook: WebhookTransmissionQueue, endpoint: EnterpriseWebhookConfiguration, reason: WebhookNotWritable
) -> None:
    """Until it can be written, unless the endpoint does not want what waits for ids."""
    if isinstance(reason, IdsMissing) and endpoint.missing_ids == MissingIds.SKIP:
        _cancel(webhook, WebhookNotOwed(str(reason)))
    elif webhook.mark_awaiting_ids(endpoint, next_look(webhook), str(reason)):
        lines.info("webhook_addressing", "held", webhook_id=webhook.webhook_id, endpoint_id=endpoint.pk, reason=reason)


def _cancel_or_look_again(webhook: WebhookTransmissionQueue, reason: WebhookNotOwed) -> None:
    again_at = look_again_at(webhook, str(reason), timezone.now())
    if again_at is None:
        _cancel(webhook, reason)
    elif webhook.mark_to_be_looked_at_again(again_at, str(reason)):
        lines.info("webhook_addressing", "not_yet_owed", webhook_id=webhook.webhook_id, reason=reason)


def _cancel(webhook: WebhookTransmissionQueue, reason: WebhookNotOwed) -> None:
    if webhook.mark_cancelled(str(reason)):
        lines.info("webhook_addressing", "cancelled", webhook_id=webhook.webhook_id, reason=reason)
