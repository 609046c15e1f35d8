# SPDX-License-Identifier: AGPL-3.0-or-later
"""A learner's enrolment in a course run, as the LMS's events tell of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from channel_integrations.integrated_channel.exceptions import MalformedEvent
from channel_integrations.integrated_channel.passes import deduplication_key

COURSE_ENROLLMENT = "course_enrollment"
#: of the LMS's own column
MAX_MODE_LENGTH = 100


@dataclass(frozen=True)
class CourseEnrolment:
    """
    The facts of one enrolment.

    ``enrolled_at`` is when the LMS made it, aware: whoever leaves and enrols again has the same enrolment, with that
    moment, and the LMS sends its event once more.
    """

    user_id: int
    course_id: str
    enrolled_at: datetime
    mode: str
    is_active: bool

    @classmethod
    def from_event(cls, enrollment: Any) -> "CourseEnrolment":
        """
        The enrolment that an event tells of.

        :param enrollment: ``CourseEnrollmentData``
        :raises MalformedEvent: a fact is missing or of the wrong type
        """
        try:
            enrolled_at = enrollment.creation_date
            if enrolled_at.tzinfo is None:
                raise MalformedEvent("creation_date has no time zone")
            course_id, mode = str(enrollment.course.course_key), str(enrollment.mode)
            enrolment = cls(int(enrollment.user.id), course_id, enrolled_at, mode, bool(enrollment.is_active))
        except (AttributeError, TypeError, ValueError) as err:
            raise MalformedEvent(f"the enrolment lacks a fact, or its type is wrong: {type(err).__name__}") from err
        if enrolment.user_id <= 0 or not 0 < len(course_id) <= 255 or len(mode) > MAX_MODE_LENGTH:
            raise MalformedEvent("user_id, course key or mode is out of bounds")
        return enrolment

    def deduplication_key(self, enterprise_customer_uuid: Any) -> str:
        """SHA-256 (hex) of customer, learner, course run, event type and creation date."""
        return deduplication_key(
            enterprise_customer_uuid, self.user_id, self.course_id, COURSE_ENROLLMENT, self.enrolled_at
        )
