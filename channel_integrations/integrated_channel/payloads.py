# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pure builders of webhook bodies; the shape is described in the README and promised to partners."""

import json
from datetime import UTC, datetime
from typing import Any


def completion_payload(webhook: Any, customer: Any, learner: Any, learning_time: int | None) -> dict[str, Any]:
    """
    The body of a completion, version 2.0.

    :param webhook: the row (event_type, created, course_id, occurred_at, percent_grade, letter_grade)
    :param customer: an enterprise customer (uuid, name)
    :param learner: a user (id, username, email)
    :param learning_time: seconds; 0 is sent as 0, and None leaves the key out
    """
    completion: dict[str, Any] = {
        "completed": True,
        "completion_date": iso_utc(webhook.occurred_at),
        "percent_grade": webhook.percent_grade,
        "letter_grade": webhook.letter_grade,
        "is_passing": True,
    }
    if learning_time is not None:
        completion["learning_time"] = learning_time
    return {**_envelope(webhook, customer, learner), "completion": completion}


def enrollment_payload(webhook: Any, customer: Any, learner: Any) -> dict[str, Any]:
    """
    The body of an enrolment, version 2.0.

    :param webhook: the row (event_type, created, course_id, occurred_at, enrollment_mode, enrollment_is_active)
    :param customer: an enterprise customer (uuid, name)
    :param learner: a user (id, username, email)
    """
    enrollment = {
        "mode": webhook.enrollment_mode,
        "is_active": webhook.enrollment_is_active,
        "enrollment_date": iso_utc(webhook.occurred_at),
    }
    return {**_envelope(webhook, customer, learner), "enrollment": enrollment}


def _envelope(webhook: Any, customer: Any, learner: Any) -> dict[str, Any]:
    return {
        "event_type": webhook.event_type,
        "event_version": "2.0",
        "event_source": "openedx_events",
        "timestamp": iso_utc(webhook.created),
        "enterprise_customer": {"uuid": str(customer.uuid), "name": customer.name},
        "learner": {"user_id": learner.id, "username": learner.username, "email": learner.email},
        "course": {"course_key": webhook.course_id},
    }


def test_payload(customer: Any, now: datetime) -> dict[str, Any]:
    """The body of a test event: no learner, no course, and marked as a test."""
    return {
        "event_type": "test",
        "event_version": "2.0",
        "event_source": "openedx_events",
        "timestamp": iso_utc(now),
        "enterprise_customer": {"uuid": str(customer.uuid), "name": customer.name},
        "test": True,
    }


def to_body(payload: dict[str, Any]) -> str:
    """JSON in ASCII: the same bytes in every database charset, whatever alphabet a name is written in."""
    return json.dumps(payload, ensure_ascii=True, separators=(",", ":"))


def iso_utc(moment: datetime) -> str:
    """ISO 8601 in UTC."""
    return moment.astimezone(UTC).isoformat()
