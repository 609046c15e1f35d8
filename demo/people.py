# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who takes part: two customers, seven learners, and what must come of each of them."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from demo.verdict import Expectation
from tests.factories import COURSE, grade_event, make_customer, make_endpoint, make_learner, write_grade

NOT_SPONSORED, FAILS, LAST_YEAR = "not sponsored for the course", "fails", "passed last year"


def enrol(receiver_url: str, add_learning_time: Callable[..., None]) -> list[Expectation]:
    """
    Fill the LMS and the rollup; returns what must come of the grades that ``grade`` then writes.

    :param add_learning_time: called with user id, course run, customer uuid, seconds and date, for each day
    """
    acme, globex = make_customer("Acme Corp"), make_customer("Globex 🌍 “Training”")
    for customer in (acme, globex):
        make_endpoint(customer, receiver_url)

    def learner(name: str, customer: Any, **more: Any) -> Any:
        return make_learner(customer, username=name, email=f"{name}@learners.example.com", **more)

    maria, zoe, nour, olga = (learner(name, acme) for name in ("maria", "zoe", "nour", "olga"))
    ben, felix, sam = learner("ben", globex), learner("felix", globex), learner("sam", globex, sponsored=False)
    make_learner(globex, user=nour)
    today = timezone.now().date()
    for day in range(1, 6):
        date = (today - timedelta(days=day)).isoformat()
        add_learning_time(maria.id, COURSE, acme.uuid, 1800 + 60 * day, date)
        add_learning_time(nour.id, COURSE, acme.uuid, 600, date)
        add_learning_time(nour.id, COURSE, globex.uuid, 900, date)
        # Somebody else's course run, and learners that no webhook may tell of.
        add_learning_time(maria.id, "course-v1:edX+Other+2026", acme.uuid, 7777, date)
        for silent in (felix, olga, sam):
            add_learning_time(silent.id, COURSE, acme.uuid, 1200, date)
    add_learning_time(zoe.id, COURSE, acme.uuid, 0, today.isoformat())
    return [
        Expectation(maria, acme, "learned on five days", body(maria, acme, 5 * 1800 + 60 * 15)),
        Expectation(nour, acme, "sponsored by both customers", body(nour, acme, 3000)),
        Expectation(nour, globex, "sponsored by both customers", body(nour, globex, 4500)),
        Expectation(zoe, acme, "zero seconds", body(zoe, acme, 0)),
        Expectation(ben, globex, "absent from Snowflake", body(ben, globex, None)),
        Expectation(felix, globex, FAILS, None),
        Expectation(sam, globex, NOT_SPONSORED, None),
        Expectation(olga, acme, LAST_YEAR, None),
    ]


def body(learner: Any, customer: Any, learning_time: int | None) -> dict[str, Any]:
    """The promised payload, written out here once more so that the package is not its own judge."""
    completion = {
        "completed": True,
        "completion_date": "",
        "percent_grade": 0.92,
        "letter_grade": "A",
        "is_passing": True,
    }
    return {
        "event_type": "course_completion",
        "event_version": "2.0",
        "event_source": "openedx_events",
        "timestamp": "",
        "enterprise_customer": {"uuid": str(customer.uuid), "name": customer.name},
        "learner": {"user_id": learner.id, "username": learner.username, "email": learner.email},
        "course": {"course_key": COURSE},
        "completion": completion if learning_time is None else {**completion, "learning_time": learning_time},
    }


def grade(expectations: list[Expectation]) -> None:
    """Grade every learner twice, as a regrade does: the grade and the real event in one transaction."""
    now = timezone.now()
    special = {FAILS: {"letter": "", "percent": 0.3, "passed_at": None}, LAST_YEAR: {"passed_at": now - timedelta(365)}}
    for user_id in {expectation.learner.id for expectation in expectations}:
        same_learner = [expectation for expectation in expectations if expectation.learner.id == user_id]
        facts = {"passed_at": now, **special.get(same_learner[0].story, {})}
        for expectation in same_learner:
            expectation.graded_at = time.time()
        for _ in range(2):
            with transaction.atomic():
                write_grade(same_learner[0].learner, **facts)
                grade_event(same_learner[0].learner, **facts)
