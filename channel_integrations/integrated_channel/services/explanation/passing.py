# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether the learner has passed, as far as the LMS's grades are read."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import FieldError
from django.utils.translation import gettext as _

from channel_integrations.integrated_channel.passes import CoursePass
from channel_integrations.integrated_channel.services.explanation.story import Answer, Step, at
from channel_integrations.integrated_channel.services.reconciliation import grade_model


@dataclass(frozen=True)
class Passing:
    """The step, and the pass that the grade tells of: also one whose grade is failing by now."""

    step: Step
    passed_at: datetime | None = None
    course_pass: CoursePass | None = None


def read_passing(user_id: int, course_id: str) -> Passing:
    """What the LMS's grade of this learner says."""
    grades = grade_model()
    if grades is None:
        return Passing(
            _step(
                Answer.UNKNOWN,
                _("not known: the LMS's grades are not read"),
                _('CHANNEL_WEBHOOKS_GRADE_SOURCE = "grades.PersistentCourseGrade"; or look at Progress in the course'),
            )
        )
    try:
        grade = grades.objects.filter(user_id=user_id, course_id=course_id).first()
        return _of_grade(grade, course_id)
    except (FieldError, AttributeError):
        return Passing(
            _step(
                Answer.UNKNOWN,
                _("not known: the model of grades lacks a field that a pass is read from"),
                _('CHANNEL_WEBHOOKS_GRADE_SOURCE = "grades.PersistentCourseGrade"'),
            )
        )


def _of_grade(grade: Any, course_id: str) -> Passing:
    if grade is None:
        return Passing(
            _step(
                Answer.NO,
                _("the LMS holds no grade of the learner for this course run"),
                _("the learner takes the course run: Progress in the course, as that learner, shows what is missing"),
            )
        )
    passed_at, letter = grade.passed_timestamp, grade.letter_grade
    if passed_at is None:
        return Passing(
            _step(
                Answer.NO,
                _("graded, but not passed so far"),
                _("the learner passes: Progress in the course, as that learner, shows what is missing"),
            )
        )
    course_pass = CoursePass(grade.user_id, course_id, passed_at, grade.percent_grade, letter)
    if not letter:
        step = _step(
            Answer.NO,
            _("passed at %(when)s, but the grade is failing now") % {"when": at(passed_at)},
            _("a passing grade (Instructor → Student Admin, or the gradebook): its event makes the webhook"),
        )
        return Passing(step, passed_at, course_pass)
    graded = _("(letter grade %(letter)s)") % {"letter": letter}
    step = Step("passed", Answer.YES, _("passed at %(when)s") % {"when": at(passed_at)}, operator_fact=graded)
    return Passing(step, passed_at, course_pass)


def _step(answer: Answer, fact: str, change: str) -> Step:
    """A partner is not told of grades that are failing."""
    partner_fact = _("no completion so far") if answer == Answer.NO else _("not known")
    return Step("passed", answer, fact, change, partner_fact=partner_fact)
