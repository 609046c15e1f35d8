# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Receivers of the LMS's events: filter, write rows, wake a worker after the commit.

They run inside LMS requests and bulk regrades. Whatever happens to a webhook, nothing is raised into the LMS.
"""

import time
from collections.abc import Callable
from typing import Any

from django.db import transaction

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.enrollments import CourseEnrolment
from channel_integrations.integrated_channel.exceptions import MalformedEvent
from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models import WebhookTransmissionQueue
from channel_integrations.integrated_channel.passes import CoursePass
from channel_integrations.integrated_channel.services.enrollments import record_enrolment
from channel_integrations.integrated_channel.services.erasure import ask_to_erase
from channel_integrations.integrated_channel.services.outbox import record_pass
from channel_integrations.integrated_channel.services.retention import scrub_learner
from channel_integrations.integrated_channel.tracing import set_attributes

lines = LogLines(__name__)


def handle_grade_change_for_webhooks(sender, signal, **kwargs) -> None:
    """
    Receive PERSISTENT_GRADE_SUMMARY_CHANGED: one webhook row for each customer that sponsors the pass.

    The event comes with every regrade, so that the common case is "nothing to do": no query for a pass that is too old,
    one for a learner whom no customer with an endpoint is linked to, two for a pass whose rows are there.
    """
    _receive(_rows_of_pass, kwargs, "grade")


def handle_enrollment_for_webhooks(sender, signal, **kwargs) -> None:
    """
    Receive COURSE_ENROLLMENT_CREATED: one webhook row for each linked customer that may sponsor the enrolment.

    One query for a learner whom no customer is linked to that has an endpoint for enrolments.
    """
    _receive(_rows_of_enrolment, kwargs, "enrollment")


def _receive(record: Callable[[dict], list[WebhookTransmissionQueue]], event: dict, subject: str) -> None:
    """Make the rows, and have a worker woken after the commit."""
    started = time.monotonic()
    try:
        wake_up.make_missed_calls()
        rows = record(event)
        if not rows:
            return
        transaction.on_commit(lambda: wake_up.for_new_rows(rows))
        set_attributes(webhooks=len(rows), webhook_ids=",".join(str(row.webhook_id) for row in rows))
    except MalformedEvent as err:
        lines.error("webhook_handler", "malformed_event", reason=err)
        return
    except Exception as err:  # What the LMS has done stays done whatever goes wrong here.
        lines.failure("webhook_handler", err, user_id=_user_id_of(event.get(subject)))
        return
    latency_ms = round((time.monotonic() - started) * 1000, 1)
    for row in rows:
        lines.info("webhook_handler", "queued", webhook_id=row.webhook_id, latency_ms=latency_ms)


def handle_learner_retirement(sender, user, **kwargs) -> None:
    """
    Receive USER_RETIRE_LMS_MISC and USER_RETIRE_LMS_CRITICAL: scrub everything about the learner, then tell whoever was
    told of them to do the same.

    What goes wrong is raised: the LMS's retirement step then fails and is tried again, where a swallowed error would
    leave personal data behind. Whatever a step has done is not done again.
    """
    scrub_learner(user.pk)
    ask_to_erase(user.pk)


def _rows_of_pass(event: dict) -> list[WebhookTransmissionQueue]:
    grade = event.get("grade")
    course = getattr(grade, "course", None)
    course_key = getattr(course, "course_key", None)
    if grade is None or course_key is None:
        raise MalformedEvent("the event carries no grade or no course key")
    course_pass = CoursePass.from_grade(grade, course_key)
    return record_pass(course_pass) if course_pass else []


def _rows_of_enrolment(event: dict) -> list[WebhookTransmissionQueue]:
    if event.get("enrollment") is None:
        raise MalformedEvent("the event carries no enrolment")
    return record_enrolment(CourseEnrolment.from_event(event["enrollment"]))


def _user_id_of(subject: Any) -> int | None:
    """Of a grade, or of an enrolment's user."""
    user_id = getattr(subject, "user_id", None) or getattr(getattr(subject, "user", None), "id", None)
    return user_id if isinstance(user_id, int) else None
