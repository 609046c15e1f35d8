# SPDX-License-Identifier: AGPL-3.0-or-later
"""Passes without a row: a process killed between the grade's commit and the row, or a handler that failed."""

import math
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import groupby

from django.apps import apps
from django.db.models import QuerySet
from django.utils import timezone
from enterprise.models import EnterpriseCustomerUser

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.exceptions import MalformedEvent
from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models import WebhookTransmissionQueue
from channel_integrations.integrated_channel.passes import CoursePass
from channel_integrations.integrated_channel.services.outbox import record_passes

lines = LogLines(__name__)

#: grades compared at once
BATCH = 500


def record_missing_passes(deadline: float = math.inf) -> list[WebhookTransmissionQueue]:
    """
    Compare the LMS's grades of the last days with the rows and make those that are missing; returns them.

    Nothing is compared where CHANNEL_WEBHOOKS_GRADE_SOURCE is None or names no installed model.

    :param deadline: of ``time.monotonic()``; what is not compared by then is left to a sweep that has more time
    """
    since = timezone.now() - min(conf.reconcile_window(), conf.max_pass_age())
    linked = EnterpriseCustomerUser.objects.filter(enterprise_customer__webhook_endpoints__active=True)
    made: list[WebhookTransmissionQueue] = []
    for course_id, passes in passes_since(since, linked):
        if time.monotonic() > deadline:
            lines.warning("webhook_sweep", "cut_short", "run send_due_webhooks from cron, it takes its time")
            break
        made += record_passes(course_id, passes)
    if made:
        lines.warning("webhook_sweep", "missing_rows_made", count=len(made))
    return made


def passes_since(since: datetime, links: QuerySet) -> Iterator[tuple[str, list[CoursePass]]]:
    """
    What the LMS's grades say about the learners of these links: course run and passes, in batches.

    Reads by primary keys after one indexed look at the passes of the window.
    """
    grades = grade_model()
    if grades is None:
        return
    recent = grades.objects.filter(passed_timestamp__gte=since, user_id__in=links.values("user_id"))
    pks = list(recent.exclude(letter_grade="").values_list("pk", flat=True))
    for start in range(0, len(pks), BATCH):
        batch = grades.objects.filter(pk__in=pks[start : start + BATCH]).order_by("course_id", "user_id")
        for course_id, of_course in groupby(batch, key=lambda grade: str(grade.course_id)):
            yield course_id, _passes(of_course, course_id)


def _passes(grades, course_id: str) -> list[CoursePass]:
    passes = []
    for grade in grades:
        try:
            course_pass = CoursePass.from_grade(grade, course_id)
        except MalformedEvent as err:
            lines.error("webhook_sweep", "malformed_grade", grade_id=grade.pk, reason=err)
            continue
        if course_pass:
            passes.append(course_pass)
    return passes


def grade_model():
    """The LMS's persistent grades, or None where the setting names none."""
    name = conf.grade_source()
    try:
        return apps.get_model(name) if name else None
    except (LookupError, ValueError):
        words = (
            "CHANNEL_WEBHOOKS_GRADE_SOURCE names no installed model; type "
            '"grades.PersistentCourseGrade", or None to switch the comparison off'
        )
        lines.error("webhook_sweep", "misconfigured", words, model=name)
        return None
