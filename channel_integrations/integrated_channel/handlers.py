# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Receivers of the LMS's events: filter, write rows, wake a worker after the commit.

They run inside LMS requests and bulk regrades. Whatever happens to a webhook, nothing is raised into the LMS.
"""

import logging
import time

from django.db import transaction

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.exceptions import MalformedEvent
from channel_integrations.integrated_channel.passes import CoursePass
from channel_integrations.integrated_channel.services.outbox import own_savepoint, record_pass
from channel_integrations.integrated_channel.services.retention import scrub_learner

logger = logging.getLogger(__name__)


def handle_grade_change_for_webhooks(sender, signal, **kwargs) -> None:
    """
    Receive PERSISTENT_GRADE_SUMMARY_CHANGED: one webhook row for each customer that sponsors the pass.

    The event comes with every regrade, so that the common case is "nothing to do": no query for a pass that is too old,
    one for a learner whom no customer with an endpoint is linked to, two for a pass whose rows are there.
    """
    started = time.monotonic()
    try:
        wake_up.pay_owed()
        course_pass = _pass_of(kwargs)
        with own_savepoint():
            rows = record_pass(course_pass) if course_pass else []
        if not rows:
            return
        transaction.on_commit(lambda: wake_up.for_new_rows(rows))
    except MalformedEvent as err:
        logger.error("source=webhook_handler status=malformed_event reason=%s", err)
        return
    except Exception:  # The grade is committed whatever goes wrong here; the sweep finds passes without rows.
        logger.exception("source=webhook_handler status=failure user_id=%s", _user_id_of(kwargs))
        return
    latency_ms = round((time.monotonic() - started) * 1000, 1)
    logger.info(
        "source=webhook_handler status=queued webhooks=%s latency_ms=%s",
        ",".join(str(row.webhook_id) for row in rows),
        latency_ms,
        extra={"source": "webhook_handler", "latency_ms": latency_ms, "status": "queued"},
    )


def handle_learner_retirement(sender, user, **kwargs) -> None:
    """
    Receive USER_RETIRE_LMS_MISC and USER_RETIRE_LMS_CRITICAL: scrub everything about the learner.

    What goes wrong is raised: the LMS's retirement step then fails and is tried again, where a swallowed error would
    leave personal data behind.
    """
    scrub_learner(user.pk)


def _pass_of(event: dict) -> CoursePass | None:
    grade = event.get("grade")
    course = getattr(grade, "course", None)
    course_key = getattr(course, "course_key", None)
    if grade is None or course_key is None:
        raise MalformedEvent("the event carries no grade or no course key")
    return CoursePass.from_grade(grade, course_key)


def _user_id_of(event: dict) -> str:
    user_id = getattr(event.get("grade"), "user_id", None)
    return str(user_id) if isinstance(user_id, int) else "unknown"
