# SPDX-License-Identifier: AGPL-3.0-or-later
"""A learner's pass of a course run, as grade events and the LMS's grade table tell of it."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from channel_integrations.integrated_channel.exceptions import MalformedEvent

COURSE_COMPLETION = "course_completion"
#: a completion once more, with its final learning time
COURSE_COMPLETION_REVISED = "course_completion.revised"


@dataclass(frozen=True)
class CoursePass:
    """The facts of one pass. ``passed_at`` is the first pass, aware; it stays the same through every regrade."""

    user_id: int
    course_id: str
    passed_at: datetime
    percent_grade: float
    letter_grade: str

    @classmethod
    def from_grade(cls, grade: Any, course_id: Any) -> "CoursePass | None":
        """
        The pass that a grade tells of, or None where it is none.

        ``passed_timestamp`` alone does not do: the LMS leaves it set after a later failing regrade, and reads "passed"
        as a letter grade that is not empty.

        :param grade: an object with user_id, percent_grade (0 to 1), letter_grade and passed_timestamp
        :raises MalformedEvent: a fact is missing or of the wrong type
        """
        try:
            letter, passed_at = grade.letter_grade, grade.passed_timestamp
            if not letter or passed_at is None:
                return None
            if passed_at.tzinfo is None:
                raise MalformedEvent("passed_timestamp has no time zone")
            course_pass = cls(int(grade.user_id), str(course_id), passed_at, float(grade.percent_grade), str(letter))
        except (AttributeError, TypeError, ValueError) as err:
            raise MalformedEvent(f"the grade lacks a fact or has one of the wrong type: {type(err).__name__}") from err
        if course_pass.user_id <= 0 or not 0 < len(course_pass.course_id) <= 255:
            raise MalformedEvent("user_id or course key is out of bounds")
        return course_pass

    @classmethod
    def from_row(cls, webhook: Any) -> "CoursePass":
        """The pass that a webhook row is about."""
        return cls(webhook.user_id, webhook.course_id, webhook.occurred_at, webhook.percent_grade, webhook.letter_grade)

    def deduplication_key(self, enterprise_customer_uuid: Any) -> str:
        """SHA-256 (hex) of customer, learner, course run, event type and pass."""
        return deduplication_key(
            enterprise_customer_uuid, self.user_id, self.course_id, COURSE_COMPLETION, self.passed_at
        )


def deduplication_key(customer: Any, user_id: int, course_id: str, event_type: str, moment: datetime) -> str:
    """SHA-256 (hex) of what makes two events the same, on every database."""
    facts = (
        str(customer),
        str(user_id),
        course_id,
        event_type,
        moment.astimezone(UTC).isoformat(timespec="microseconds"),
    )
    return hashlib.sha256("\x1f".join(facts).encode()).hexdigest()
