# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Why a linked learner's pass made no webhook: the last reason, kept for whoever asks later.

It is noted by grade events alone, and only after their transaction: a deadlock inside it would undo the grade. The
sweep and backfills ask again and again, and note nothing. Nor is a pass noted that is too old: its date says so
for ever, a bulk regrade would have us write one row for each of its learners, and why it made no webhook when it was
new would be overwritten. A webhook that is made later leaves the note as it is: it tells why the webhook came late.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from django.db import IntegrityError, router, transaction
from django.utils import timezone

from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models import WebhookSuppression
from channel_integrations.integrated_channel.passes import CoursePass
from channel_integrations.integrated_channel.services.reasons import (
    ENDPOINT_OFF,
    NO_CONSENT,
    NO_SUCH_EVENTS,
    NOT_SPONSORED,
    PASSED_BEFORE_LINK,
    PASSED_BEFORE_SEND_FROM,
)

#: every reason that is noted; a test compares them with the code
REASONS = (
    NO_CONSENT,
    PASSED_BEFORE_LINK,
    NOT_SPONSORED,
    PASSED_BEFORE_SEND_FROM,
    NO_SUCH_EVENTS,
    ENDPOINT_OFF,
)
lines = LogLines(__name__)

#: what is noted already is not written again for so long, however often the learner is regraded
NOTED_AGAIN_AFTER = timedelta(days=1)


def note_after_commit(course_pass: CoursePass, reasons: Mapping[UUID, str]) -> None:
    """
    Once the caller's transaction is committed, note for each of these customers why the pass made no webhook.

    Nothing is raised from there. Costs nothing without a reason, one SELECT where all is noted already.
    """
    if reasons:
        alias = router.db_for_write(WebhookSuppression)
        transaction.on_commit(lambda: _note_safely(alias, course_pass, reasons), using=alias)


def _note_safely(alias: str, course_pass: CoursePass, reasons: Mapping[UUID, str]) -> None:
    try:
        _note(alias, course_pass, reasons)
    except Exception as err:  # The grade is committed; a note that is missing must not be what its request ends with.
        lines.failure("webhook_suppression", err)


def _note(alias: str, course_pass: CoursePass, reasons: Mapping[UUID, str]) -> None:
    """Each by a statement of its own that locks one row: two notes at once cannot deadlock."""
    now, rows = timezone.now(), WebhookSuppression.objects.using(alias)
    theirs = rows.filter(
        enterprise_customer_uuid__in=list(reasons), user_id=course_pass.user_id, course_id=course_pass.course_id
    )
    noted = {each.enterprise_customer_uuid: each for each in theirs}
    for customer, reason in reasons.items():
        news = {"reason": reason, "passed_at": course_pass.passed_at, "noted_at": now}
        there = noted.get(customer)
        if there is None:
            # Somebody else's note of the same is as good as ours.
            with suppress(IntegrityError), transaction.atomic(using=alias):
                rows.create(
                    enterprise_customer_uuid=customer,
                    user_id=course_pass.user_id,
                    course_id=course_pass.course_id,
                    **news,
                )
        elif (there.reason, there.passed_at) != (reason, course_pass.passed_at) or _is_old(there, now):
            rows.filter(pk=there.pk).update(**news)


def _is_old(noted: WebhookSuppression, now) -> bool:
    return noted.noted_at < now - NOTED_AGAIN_AFTER
