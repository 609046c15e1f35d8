# SPDX-License-Identifier: AGPL-3.0-or-later
"""The format of this package, version 2.0; its shape is described in the README and promised to partners."""

from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel.enrollments import COURSE_ENROLLMENT
from channel_integrations.integrated_channel.formats.encoding import iso_utc
from channel_integrations.integrated_channel.formats.format import Facts, Optional, PayloadFormat
from channel_integrations.integrated_channel.passes import COURSE_COMPLETION, COURSE_COMPLETION_REVISED


def completion(webhook: Any, facts: Facts) -> dict[str, Any]:
    """
    The body of a completion.

    :param webhook: the row (event_type, created, course_id, occurred_at, percent_grade, letter_grade, and
        learning_time: seconds, of which 0 is sent as 0, and None leaves the key out; learning_time_as_of and
        learning_time_is_final, where the facts ask for them)
    """
    written: dict[str, Any] = {
        "completed": True,
        "completion_date": iso_utc(webhook.occurred_at),
        "percent_grade": webhook.percent_grade,
        "letter_grade": webhook.letter_grade,
        "is_passing": True,
    }
    if webhook.learning_time is not None:
        written["learning_time"] = webhook.learning_time
        if facts.number.states_as_of:
            written.update(_as_of(webhook))
    return {**_envelope(webhook, facts), **_named(facts), "completion": written}


def revised(webhook: Any, facts: Facts) -> dict[str, Any]:
    """The body of a completion whose final learning time is another one than was sent: the row is the revision's."""
    body = completion(webhook, facts)
    if facts.number.previous is not None:
        body["completion"]["previous_learning_time"] = facts.number.previous
    return {**body, "revision": 1}


def _as_of(webhook: Any) -> dict[str, Any]:
    """The last day that the rollup had, which one without days does not tell, and whether the number is final."""
    as_of = webhook.learning_time_as_of
    days = {"learning_time_as_of": as_of.isoformat()} if as_of else {}
    return {**days, "learning_time_final": webhook.learning_time_is_final}


def _named(facts: Facts) -> dict[str, Any]:
    return {"completion_id": str(facts.number.completion_id)} if facts.number.completion_id else {}


def enrollment(webhook: Any, facts: Facts) -> dict[str, Any]:
    """
    The body of an enrolment.

    :param webhook: the row (event_type, created, course_id, occurred_at, enrollment_mode, enrollment_is_active)
    """
    written = {
        "mode": webhook.enrollment_mode,
        "is_active": webhook.enrollment_is_active,
        "enrollment_date": iso_utc(webhook.occurred_at),
    }
    return {**_envelope(webhook, facts), "enrollment": written}


def _envelope(webhook: Any, facts: Facts) -> dict[str, Any]:
    return {
        "event_type": webhook.event_type,
        "event_version": "2.0",
        "event_source": "openedx_events",
        "timestamp": iso_utc(webhook.created),
        "enterprise_customer": {"uuid": str(facts.customer.uuid), "name": facts.customer.name},
        "learner": dict(facts.learner),
        "course": {"course_key": webhook.course_id},
    }


def test_event(customer: Any, now: datetime) -> dict[str, Any]:
    """The body of a test event: no learner, no course, and marked as a test."""
    return {
        "event_type": "test",
        "event_version": "2.0",
        "event_source": "openedx_events",
        "timestamp": iso_utc(now),
        "enterprise_customer": {"uuid": str(customer.uuid), "name": customer.name},
        "test": True,
    }


LEARNING_TIME = ("learning_time", "learning_time_as_of", "learning_time_final", "previous_learning_time")
STANDARD = PayloadFormat(
    name="standard",
    label=_("standard, version 2.0"),
    events={COURSE_COMPLETION: completion, COURSE_COMPLETION_REVISED: revised, COURSE_ENROLLMENT: enrollment},
    test=test_event,
    optional={
        "grade": Optional(_("grade"), (("completion", "percent_grade"), ("completion", "letter_grade"))),
        "learning_time": Optional(_("learning time"), tuple(("completion", name) for name in LEARNING_TIME), True),
        "customer_name": Optional(_("customer's name"), (("enterprise_customer", "name"),)),
        "enrollment_mode": Optional(_("enrolment mode"), (("enrollment", "mode"),)),
    },
)
