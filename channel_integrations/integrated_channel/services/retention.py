# SPDX-License-Identifier: AGPL-3.0-or-later
"""Personal data that is no longer needed goes; what keeps a pass from going out twice stays."""

import math
import time
from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models import (
    FINISHED,
    HELD,
    UNFINISHED,
    WebhookDeliveryAttempt,
    WebhookLookupStatement,
    WebhookStatus,
    WebhookSuppression,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import disclosures, erasure, reasons

lines = LogLines(__name__)

#: rows scrubbed in one transaction; by primary keys, so that nothing else in the table is locked
BATCH = 200
#: What may be purged. What waits for its endpoint to be switched on or made, or for ids, has had its time by then.
PURGEABLE = (*FINISHED, *HELD, WebhookStatus.PARKED, WebhookStatus.NO_ENDPOINT)
#: nobody but their endpoints' operators can move these; once they are scrubbed nobody can
_GIVEN_UP = (*UNFINISHED, *HELD, WebhookStatus.PARKED, WebhookStatus.NO_ENDPOINT)


def purgeable(older_than: timedelta) -> "QuerySet[WebhookTransmissionQueue]":
    """Webhooks made before that long ago that nothing moves any more, oldest first."""
    return WebhookTransmissionQueue.objects.filter(
        purged_at=None, created__lt=timezone.now() - older_than, status__in=PURGEABLE
    ).order_by("created", "pk")


def purge(older_than: timedelta, at_most: float = math.inf, deadline: float = math.inf) -> int:
    """
    Scrub what is older, batch by batch; returns how many webhooks. Safe to interrupt and to run again.

    :param deadline: of ``time.monotonic()``
    """
    purged = 0
    while purged < at_most and time.monotonic() < deadline:
        pks = list(purgeable(older_than).values_list("pk", flat=True)[:BATCH])
        if not pks:
            break
        with transaction.atomic():
            # What a release without a register has sent: this is the last moment at which it can be told whose it was.
            disclosures.register_unwritten(pks)
            erasure.give_up(pks)
            purged += _scrub(pks, "past its retention")
    if purged:
        lines.info("webhook_retention", "purged", count=purged)
    return purged


def forget_statements(older_than: timedelta, deadline: float = math.inf) -> None:
    """
    What was asked of Snowflake that long ago; it names nobody, and is kept no longer than the rest.

    :param deadline: of ``time.monotonic()``
    """
    old = WebhookLookupStatement.objects.filter(began_at__lt=timezone.now() - older_than).order_by("pk")
    while time.monotonic() < deadline and (pks := list(old.values_list("pk", flat=True)[:BATCH])):
        WebhookLookupStatement.objects.filter(pk__in=pks).delete()


def forget_suppressions(older_than: timedelta, deadline: float = math.inf) -> int:
    """
    Why passes made no webhook, as it was noted that long ago; returns how many. Batch by batch, by primary keys.

    :param deadline: of ``time.monotonic()``
    """
    old = WebhookSuppression.objects.filter(noted_at__lt=timezone.now() - older_than)
    return _forget(old.order_by("noted_at", "reason", "pk"), deadline)


def _forget(suppressions: "QuerySet[WebhookSuppression]", deadline: float = math.inf) -> int:
    forgotten = 0
    while time.monotonic() < deadline and (pks := list(suppressions.values_list("pk", flat=True)[:BATCH])):
        forgotten += WebhookSuppression.objects.filter(pk__in=pks).delete()[0]
    return forgotten


def scrub_learner(user_id: int) -> int:
    """
    Scrub everything about one learner, what is still on its way included; returns how many webhooks.

    An attempt that is under way at this moment comes to its end; it has lost its lease and is not repeated. What may
    have been told is in the register of disclosures before it goes from here.
    """
    theirs = WebhookTransmissionQueue.objects.filter(user_id=user_id).order_by("pk")
    scrubbed = 0
    while pks := list(theirs.values_list("pk", flat=True)[:BATCH]):
        with transaction.atomic():
            disclosures.register_unwritten(pks)
            scrubbed += _scrub(pks, reasons.LEARNER_RETIRED)
    _forget(WebhookSuppression.objects.filter(user_id=user_id).order_by("pk"))
    lines.info("webhook_retention", "learner_scrubbed", count=scrubbed)
    return scrubbed


def _scrub(pks: Sequence[int], reason: str) -> int:
    """The attempts go first: killed in between, the webhooks are found again."""
    attempts = WebhookDeliveryAttempt.objects.filter(webhook_id__in=pks)
    WebhookDeliveryAttempt.objects.filter(pk__in=list(attempts.values_list("pk", flat=True)))._raw_delete(attempts.db)
    rows = WebhookTransmissionQueue.objects.by_key(pks)
    now = timezone.now()
    rows.filter(status_now__in=_GIVEN_UP).update(status=WebhookStatus.CANCELLED, reason=reason, finished_at=now)
    return rows.update(
        user_id=None,
        percent_grade=None,
        letter_grade="",
        enrollment_mode=None,
        enrollment_is_active=None,
        learning_time=None,
        learning_time_as_of=None,
        body="",
        lease_token=None,
        purged_at=now,
        modified=now,
    )
