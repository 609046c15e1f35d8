# SPDX-License-Identifier: AGPL-3.0-or-later
"""Percipio's format: flat, one object for completions and enrolments, learners by the ids that Percipio gave them."""

from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext_lazy as _
from opaque_keys.edx.keys import CourseKey

from channel_integrations.integrated_channel.enrollments import COURSE_ENROLLMENT
from channel_integrations.integrated_channel.formats.format import Facts, Optional, PayloadFormat
from channel_integrations.integrated_channel.passes import COURSE_COMPLETION


def completion(webhook: Any, facts: Facts) -> dict[str, Any]:
    """
    The body of a completion.

    :param webhook: the row (course_id, occurred_at, and learning_time: seconds, or None for unknown)
    """
    return _flat(webhook.course_id, facts.learner, "completed", webhook.occurred_at, webhook.learning_time)


def enrollment(webhook: Any, facts: Facts) -> dict[str, Any]:
    """The body of an enrolment, of which there is no learning time."""
    return _flat(webhook.course_id, facts.learner, "started", webhook.occurred_at)


def test_event(customer: Any, now: datetime) -> dict[str, Any]:
    """
    The body of a test event: every field, nobody's ids, a course that there is not, and one more key.

    It is shaped as webhooks are, so that a gateway that checks them lets it through, and ``test`` tells it from them.
    """
    nobody = dict.fromkeys(LEARNER_IDS)
    return {**_flat("course-v1:test+test+test", nobody, "started", now), "test": True}


def content_id(course_id: str) -> str:
    """Percipio knows courses, not their runs."""
    key = CourseKey.from_string(course_id)
    return f"course:{key.org}+{key.course}"


def _flat(
    course_id: str, learner: Any, status: str, moment: datetime, duration_spent: int | None = None
) -> dict[str, Any]:
    return {
        "content_id": content_id(course_id),
        "user": learner["user"],
        "orgid": learner["orgid"],
        "status": status,
        "event_date": moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "completion_percentage": 100 if status == "completed" else 0,
        "duration_spent": duration_spent,
    }


LEARNER_IDS = {"user": "PercipioUserUUID", "orgid": "percipioOrganizationUuid"}
PERCIPIO = PayloadFormat(
    name="percipio",
    label=_("Percipio, flat"),
    events={COURSE_COMPLETION: completion, COURSE_ENROLLMENT: enrollment},
    test=test_event,
    optional={"duration_spent": Optional(_("learning time"), (("duration_spent",),), is_learning_time=True)},
    learner_ids=LEARNER_IDS,
)
