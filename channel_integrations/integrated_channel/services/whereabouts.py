# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a webhook stands: why it is there, what moves it next, and when."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel.erasures import LEARNER_ERASED
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.models.webhook_queryset import is_leased
from channel_integrations.integrated_channel.services import endpoint_gate, rollout
from channel_integrations.integrated_channel.services.admission import BREAKER, PAUSE, RATE_LIMIT

#: By code: what is said of it. ``%(at)s`` is when it moves next, ``%(detail)s`` the reason that row or endpoint gives.
SENTENCES: Mapping[str, Any] = {
    # waiting for its learning time
    "looking_up": _(
        "A worker is looking up its learning time. If that worker has died, the webhook is taken up anew at %(at)s."
    ),
    "lookup_due_later": _("Its learning time is looked up from %(at)s on, together with others."),
    "waits_for_lookup": _(
        "It waits for a worker to look up its learning time. Without one it goes out plain after %(at)s."
    ),
    "goes_out_plain": _("Learning time is switched off (%(detail)s): the next sweep sends it on without, from now on."),
    # waiting until its learning time is final
    "awaits_final": _(
        "Its learning time is not final yet: the rollup lacks the day of the pass. It is looked up again at %(at)s, or "
        "when the rollup is seen to have the day."
    ),
    "awaits_end": _("Its learning time was not final in time: it goes out at %(at)s with what is known."),
    "awaits_revision": _(
        "The completion was sent with a number that is not final. This one is sent if the final one differs; it is "
        "looked up at %(at)s, or when the rollup is seen to have the day."
    ),
    # to be addressed
    "being_addressed": _(
        "A worker is choosing its endpoint. If that worker has died, the webhook is taken up anew at %(at)s."
    ),
    "its_turn_comes": _(
        "Its turn comes at %(at)s: backfills and replays are spread over time, and enrolments wait for their "
        "sponsorship."
    ),
    "may_be_owed": _(
        "It is not owed so far (%(detail)s). That may come within an hour of the enrolment: it is looked at again at "
        "%(at)s."
    ),
    "after_its_completion": _(
        "It revises a completion that is not delivered yet, and goes out after that: it is looked at again at %(at)s."
    ),
    "waits_for_worker": _("It is due: the next delivery worker takes it."),
    # to be sent
    "being_sent": _("A worker is sending it. If that worker has died, the webhook is sent anew at %(at)s."),
    "retry": _("The last attempt failed (%(detail)s); the next is due at %(at)s."),
    BREAKER: _(
        "The endpoint has failed several times in a row, and its breaker is open until %(at)s. Then one webhook is let "
        "through as a probe."
    ),
    PAUSE: _("The endpoint has asked to be left alone until %(at)s, or its secret could not be read."),
    RATE_LIMIT: _("The endpoint's limit of requests per minute lets the next webhook through at %(at)s."),
    "one_at_a_time": _(
        "It is due, but the endpoint gets one webhook at a time: it has just failed, or catches up with what was "
        "parked."
    ),
    "as_many_as_it_takes": _("It is due, but as many webhooks as the endpoint takes at once are being sent to it."),
    "to_be_parked": _("The endpoint is switched off: the next round of deliveries parks it."),
    "to_be_cancelled": _("Its endpoint is gone: the next sweep cancels it."),
    "to_be_addressed": _("It has no endpoint yet: the next sweep has it addressed."),
    # held
    "held": _(
        "It is held (%(detail)s). It is looked at again at %(at)s, and as soon as the learner's sign-on record or what "
        "the endpoint is sent changes."
    ),
    # nothing moves these by itself
    "parked_by_operator": _(
        "The endpoint was switched off by its operator. It goes out when that is switched on again."
    ),
    "parked_by_sender": _(
        "The endpoint was switched off by the sender (%(detail)s). It goes out when somebody switches that on again."
    ),
    "parked_for_nobody": _("The endpoint that it was parked for is gone. Nothing moves it: cancel it."),
    "to_be_taken_up": _("The endpoint is on again: the next round of deliveries takes it up, in its order."),
    "no_endpoint": _("The customer has no endpoint for the learner's region. With one, it goes out by a replay."),
    "delivered": _("The endpoint has taken it."),
    "failed": _("It failed for good (%(detail)s). Nothing moves it but a replay."),
    "cancelled": _(
        "It was cancelled (%(detail)s). Nothing moves it but a replay, which asks once more whether it is owed."
    ),
    "erased": _(
        "The endpoint has confirmed the erasure. Whom it was about is not kept here; the register of disclosures has "
        "that it was told."
    ),
    "purged": _("It was purged: only what keeps the completion from going out twice is left, and nothing can be sent."),
}


@dataclass(frozen=True)
class Whereabouts:
    """
    Why a webhook is where it is, by a code of ``SENTENCES``.

    ``next_at``: when it moves next, as far as that is known: now where it waits for a worker, at the earliest where it
    waits for its endpoint, at the latest where somebody works at it. None where nothing moves it by itself.
    """

    code: str
    next_at: datetime | None = None
    detail: str = ""

    def in_words(self, written: Callable[[datetime], str]) -> str:
        """A sentence or two, translated; ``written`` writes the moment."""
        at = written(self.next_at) if self.next_at else ""
        return str(SENTENCES[self.code]) % {"at": at, "detail": self.detail}


def whereabouts(webhook: WebhookTransmissionQueue) -> Whereabouts:
    """Where it stands right now; reads only, and no more than its endpoint and what is under way there."""
    now = timezone.now()
    if webhook.purged_at:
        is_erased = webhook.event_type == LEARNER_ERASED and webhook.status == WebhookStatus.DELIVERED
        return Whereabouts("erased" if is_erased else "purged")
    return _FINDERS.get(webhook.status, _ended)(webhook, now)


def _awaiting_enrichment(webhook: WebhookTransmissionQueue, now: datetime) -> Whereabouts:
    if is_leased(webhook, now):
        return Whereabouts("looking_up", webhook.due_at)
    off = rollout.current().off
    if off:
        return Whereabouts("goes_out_plain", now, off)
    if webhook.due_at > now:
        return Whereabouts("lookup_due_later", webhook.due_at)
    return Whereabouts("waits_for_lookup", max(webhook.enrich_by or now, now))


def _awaiting_final(webhook: WebhookTransmissionQueue, now: datetime) -> Whereabouts:
    if webhook.due_at <= now:
        return Whereabouts("waits_for_worker", now)
    if webhook.revises:
        return Whereabouts("awaits_revision", webhook.due_at)
    off = rollout.current().off
    if off:
        return Whereabouts("goes_out_plain", now, off)
    at_the_end = webhook.enrich_by is not None and webhook.due_at >= webhook.enrich_by
    return Whereabouts("awaits_end" if at_the_end else "awaits_final", webhook.due_at)


def _recorded(webhook: WebhookTransmissionQueue, now: datetime) -> Whereabouts:
    if is_leased(webhook, now):
        return Whereabouts("being_addressed", webhook.due_at)
    if webhook.due_at <= now:
        return Whereabouts("waits_for_worker", now)
    if webhook.revises and webhook.reason:
        return Whereabouts("after_its_completion", webhook.due_at)
    return Whereabouts("may_be_owed", webhook.due_at, webhook.reason) if webhook.reason else _its_turn(webhook)


def _pending(webhook: WebhookTransmissionQueue, now: datetime) -> Whereabouts:
    if is_leased(webhook, now):
        return Whereabouts("being_sent", webhook.due_at)
    endpoint = _endpoint_of(webhook)
    if endpoint is None:
        return Whereabouts("to_be_cancelled" if webhook.endpoint_id else "to_be_addressed", max(webhook.due_at, now))
    if not endpoint_gate.is_on(endpoint):
        return Whereabouts("to_be_parked", max(webhook.due_at, now))
    gate = endpoint_gate.last_gate(endpoint)
    if gate and gate.opens_at > max(webhook.due_at, now):
        return Whereabouts(gate.name, gate.opens_at)
    if webhook.due_at > now:
        return Whereabouts("retry", webhook.due_at, webhook.reason) if webhook.reason else _its_turn(webhook)
    return Whereabouts(_waits_in_line(endpoint, now), now)


def _its_turn(webhook: WebhookTransmissionQueue) -> Whereabouts:
    return Whereabouts("its_turn_comes", webhook.due_at)


def _waits_in_line(endpoint: EnterpriseWebhookConfiguration, now: datetime) -> str:
    if endpoint_gate.is_cautious(endpoint):
        return "one_at_a_time"
    is_full = endpoint_gate.in_flight(endpoint, now) >= endpoint.concurrent_requests
    return "as_many_as_it_takes" if is_full else "waits_for_worker"


def _held(webhook: WebhookTransmissionQueue, now: datetime) -> Whereabouts:
    if is_leased(webhook, now):
        return Whereabouts("being_addressed", webhook.due_at)
    return Whereabouts("held", max(webhook.due_at, now), webhook.reason)


def _parked(webhook: WebhookTransmissionQueue, now: datetime) -> Whereabouts:
    endpoint = _endpoint_of(webhook)
    if endpoint is None:
        return Whereabouts("parked_for_nobody")
    if not endpoint.active:
        return Whereabouts("parked_by_operator")
    if not endpoint_gate.is_on(endpoint):
        return Whereabouts("parked_by_sender", detail=endpoint.health.disabled_reason)
    return Whereabouts("to_be_taken_up", now)


def _ended(webhook: WebhookTransmissionQueue, now: datetime) -> Whereabouts:
    return Whereabouts(webhook.status, detail=webhook.reason)


_FINDERS: Mapping[Any, Callable[[WebhookTransmissionQueue, datetime], Whereabouts]] = {
    WebhookStatus.AWAITING_ENRICHMENT: _awaiting_enrichment,
    WebhookStatus.AWAITING_FINAL: _awaiting_final,
    WebhookStatus.RECORDED: _recorded,
    WebhookStatus.PENDING: _pending,
    WebhookStatus.AWAITING_IDS: _held,
    WebhookStatus.PARKED: _parked,
}


def _endpoint_of(webhook: WebhookTransmissionQueue) -> EnterpriseWebhookConfiguration | None:
    endpoints = EnterpriseWebhookConfiguration.objects.select_related("health")
    return endpoints.filter(pk=webhook.endpoint_id).first() if webhook.endpoint_id else None
