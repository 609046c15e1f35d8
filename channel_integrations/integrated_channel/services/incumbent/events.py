# SPDX-License-Identifier: AGPL-3.0-or-later
"""
What one of the incumbent's webhooks is about: which pass, or which enrolment, to the microsecond.

Its own key has the calendar date in it, ours the moment of the pass. That moment is in its payloads: to the microsecond
up to 0.1.50, since then to the second, where the LMS's grade (or enrolment) of the same second tells the rest.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_datetime
from enterprise import models as enterprise_models
from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import CourseKey

from channel_integrations.integrated_channel.enrollments import COURSE_ENROLLMENT, MAX_MODE_LENGTH, CourseEnrolment
from channel_integrations.integrated_channel.passes import COURSE_COMPLETION, CoursePass, deduplication_key
from channel_integrations.integrated_channel.services.reconciliation import grade_model

#: where its payloads say when the learner passed or enrolled, over the releases
_MOMENTS = (("completion", "completion_date"), ("enrollment", "enrollment_date"), ("event_date",))


@dataclass(frozen=True)
class Event:
    """
    What one row is about; ``moment`` is None where nothing tells it.

    ``is_certain``: whether our own key of the same pass is the one made of this moment.
    """

    row: Mapping[str, Any]
    moment: datetime | None
    is_certain: bool
    payload: Mapping[str, Any]
    lms: Any = None

    @property
    def key(self) -> str:
        """Our deduplication key of the pass or enrolment."""
        row = self.row
        facts = (row["enterprise_customer_id"], row["user_id"], row["course_id"], row["event_type"])
        return deduplication_key(*facts, self.moment) if self.moment else ""

    def course_pass(self) -> CoursePass | None:
        """The facts of the pass as the event had them, or as the LMS has them; None where it is none."""
        told = self._part("completion")
        percent, letter = told.get("percent_grade"), told.get("letter_grade")
        if percent is None and self.lms is not None:
            percent, letter = self.lms.percent_grade, self.lms.letter_grade
        if self.moment is None or percent is None or not letter:
            return None
        return CoursePass(self.row["user_id"], self.row["course_id"], self.moment, float(percent), str(letter)[:255])

    def enrolment(self) -> CourseEnrolment | None:
        """The same of an enrolment."""
        told = self._part("enrollment")
        mode, is_active = told.get("mode"), told.get("is_active")
        if mode is None and self.lms is not None:
            mode, is_active = self.lms.mode, self.lms.is_active
        if self.moment is None or mode is None:
            return None
        mode = str(mode)[:MAX_MODE_LENGTH]
        return CourseEnrolment(self.row["user_id"], self.row["course_id"], self.moment, mode, bool(is_active))

    def _part(self, name: str) -> Mapping[str, Any]:
        part = self.payload.get(name)
        return part if isinstance(part, dict) else {}


def events_of(rows: Sequence[Mapping[str, Any]]) -> list[Event]:
    """What these rows are about; two queries for all of them. Events of other types than ours are left out."""
    graded, enrolled = _grades(_of_type(rows, COURSE_COMPLETION)), _enrolments(_of_type(rows, COURSE_ENROLLMENT))
    known = {COURSE_COMPLETION: graded, COURSE_ENROLLMENT: enrolled}
    return [_event(row, known[row["event_type"]]) for row in rows if row["event_type"] in known]


def _event(row: Mapping[str, Any], known: Mapping[tuple[int, str], Any] | None) -> Event:
    payload = _payload(row["payload"])
    told = _moment_in(payload)
    lms = (known or {}).get((row["user_id"], row["course_id"]))
    at = None if lms is None else lms.passed_timestamp if row["event_type"] == COURSE_COMPLETION else lms.created
    same = at is not None and (at.replace(microsecond=0) == told or at == told)
    if at is not None and (same or (told is None and at <= row["created"])):
        return Event(row, at, True, payload, lms)
    # The LMS knows of another pass by now, or of none: this one cannot come again, whatever its microseconds were.
    return Event(row, told, told is not None and (told.microsecond > 0 or known is not None), payload)


def _grades(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str], Any] | None:
    """The LMS's grades, by learner and course run; None where none are read."""
    return _by_learner_and_course(grade_model(), rows)


def _enrolments(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str], Any] | None:
    """The LMS's enrolments, likewise."""
    return _by_learner_and_course(enterprise_models.CourseEnrollment, rows)


def _by_learner_and_course(model: Any, rows: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str], Any] | None:
    if model is None:
        return None
    courses = [key for key in {row["course_id"] for row in rows} if _is_course_key(key)]
    found = model.objects.filter(user_id__in={row["user_id"] for row in rows}, course_id__in=courses) if courses else ()
    return {(each.user_id, str(each.course_id)): each for each in found}


def _of_type(rows: Iterable[Mapping[str, Any]], event_type: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["event_type"] == event_type]


def _is_course_key(text: str) -> bool:
    try:
        CourseKey.from_string(text)
    except InvalidKeyError:
        return False
    return True


def _payload(text: str) -> Mapping[str, Any]:
    try:
        payload = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    return payload if isinstance(payload, dict) else {}


def _moment_in(payload: Mapping[str, Any]) -> datetime | None:
    for path in _MOMENTS:
        value: Any = payload
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        try:
            moment = parse_datetime(value) if isinstance(value, str) else None
        except ValueError:
            continue
        if moment and moment.tzinfo:
            return moment
    return None
