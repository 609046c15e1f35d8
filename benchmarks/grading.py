# SPDX-License-Identifier: AGPL-3.0-or-later
"""Learners and their grades, as the LMS writes them: grade row and event in one transaction, one for each learner."""

import time
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone
from enterprise.models import EnterpriseCourseEnrollment, EnterpriseCustomerUser

from benchmarks import bare
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration
from tests.factories import A_MONTH, COURSE, grade_event, make_customer, make_endpoint, write_grade

#: beyond the default maximum age of a pass (7 days), and before every learner's link
LONG_AGO = timedelta(days=400)
_learners: dict[int, Any] = {}
_passed: dict[int, datetime] = {}


def prepare(url: str, learners: int) -> dict[str, Any]:
    """A customer with one endpoint, defaults throughout, and learners whom it has sponsored for a month."""
    with transaction.atomic():
        customer = make_customer("Acme")
        make_endpoint(customer, url)
        users = get_user_model()
        users.objects.bulk_create(
            [users(username=f"learner{number}", email=f"learner{number}@example.com") for number in range(learners)],
            batch_size=1000,
        )
        _learners.update((user.pk, user) for user in users.objects.filter(username__startswith="learner"))
        since = timezone.now() - A_MONTH
        EnterpriseCustomerUser.objects.bulk_create(
            [EnterpriseCustomerUser(enterprise_customer=customer, user_id=pk, created=since) for pk in _learners],
            batch_size=1000,
        )
        sponsor(COURSE)
    return {"customer": str(customer.pk), "course": COURSE, "user_ids": sorted(_learners)}


def sponsor(course: str) -> None:
    """Enrol every learner in one more course run."""
    EnterpriseCourseEnrollment.objects.bulk_create(
        [
            EnterpriseCourseEnrollment(enterprise_customer_user=link, course_id=course)
            for link in EnterpriseCustomerUser.objects.all()
        ],
        batch_size=1000,
    )


def allow(at_once: int) -> None:
    """How many requests the endpoint takes at once."""
    EnterpriseWebhookConfiguration.objects.update(max_concurrent_requests=at_once)


def grade(
    user_ids: list[int], per_second: float | None = None, course: str = COURSE, again: str = ""
) -> list[dict[str, float]]:
    """
    Grade these learners one after the other, as fast as it goes or so many in a second.

    :param again: "" for new passes; "recent" repeats each learner's last pass, "old" one beyond the maximum age
    :returns: for each the Unix times ``began`` and ``committed``, and in ms ``event`` (sending it, receivers included)
        and ``publish`` (what the package does after the commit)
    """
    started, sent = time.monotonic(), []
    for number, user_id in enumerate(user_ids):
        if per_second:
            time.sleep(max(0.0, started + number / per_second - time.monotonic()))
        if not again:
            _passed[user_id] = timezone.now()
        passed_at = timezone.now() - LONG_AGO if again == "old" else _passed[user_id]
        sent.append({"user_id": user_id, **_grade_one(_learners[user_id], course, passed_at)})
    return sent


def _grade_one(learner: Any, course: str, passed_at: datetime) -> dict[str, float]:
    moments: list[float] = []

    def note() -> None:
        moments.append(time.perf_counter())

    began = time.time()
    with transaction.atomic():
        write_grade(learner, course, passed_at=passed_at)
        # Callbacks run in the order in which they are registered: these two enclose the package's.
        transaction.on_commit(lambda: (moments.append(time.time()), note()))
        note()
        grade_event(learner, course, passed_at=passed_at)
        note()
        transaction.on_commit(note)
    before, after, committed, published_from, published = moments
    return {
        "began": began,
        "committed": committed,
        "event": (after - before) * 1000,
        "publish": (published - published_from) * 1000,
    }


def events_without_package(user_ids: list[int]) -> list[float]:
    """The seconds that each learner's event takes with nobody of this package listening."""
    return bare.events([_learners[user_id] for user_id in user_ids])
