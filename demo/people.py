# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who takes part: two customers, seven learners, and what each of them must lead to."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from tests.factories import COURSE, grade_event, make_customer, make_endpoint, make_learner, write_grade

NO_WEBHOOK = "no webhook"


@dataclass
class Expectation:
    """What one customer must hear about one learner: seconds, None for a plain webhook, or NO_WEBHOOK."""

    learner: Any
    customer: Any
    learning_time: Any
    story: str


def enrol(receiver_url: str, add_learning_time) -> list[Expectation]:
    """
    Fill the LMS and the rollup; returns what is expected of the grades that ``grade`` then writes.

    :param add_learning_time: called with user id, course run, customer uuid, seconds and date of each day
    """
    acme, globex = make_customer("Acme Corp"), make_customer("Globex 🌍 “Training”")
    for customer in (acme, globex):
        make_endpoint(customer, receiver_url)

    def learner(name: str, customer: Any, **fields: Any) -> Any:
        return make_learner(customer, username=name, email=f"{name}@learners.example.com", **fields)

    maria, ben = learner("maria", acme), learner("ben", globex)
    zoe, nour, failing = learner("zoe", acme), learner("nour", acme), learner("felix", globex)
    self_paying, long_ago = learner("sam", globex, sponsored=False), learner("olga", acme)
    make_learner(globex, user=nour)
    for days in range(1, 6):
        date = (timezone.now() - timedelta(days=days)).date().isoformat()
        add_learning_time(maria.id, COURSE, acme.uuid, 1800 + 60 * days, date)
        add_learning_time(nour.id, COURSE, acme.uuid, 600, date)
        add_learning_time(nour.id, COURSE, globex.uuid, 900, date)
    add_learning_time(zoe.id, COURSE, acme.uuid, 0, timezone.now().date().isoformat())
    return [
        Expectation(maria, acme, 5 * 1800 + 60 * 15, "learned on five days"),
        Expectation(nour, acme, 3000, "sponsored by both customers"),
        Expectation(nour, globex, 4500, "sponsored by both customers"),
        Expectation(zoe, acme, 0, "zero seconds"),
        Expectation(ben, globex, None, "absent from Snowflake"),
        Expectation(failing, globex, NO_WEBHOOK, "fails"),
        Expectation(self_paying, globex, NO_WEBHOOK, "nobody sponsors the course"),
        Expectation(long_ago, acme, NO_WEBHOOK, "passed last year"),
    ]


def grade(expectations: list[Expectation]) -> None:
    """Grade every learner twice, as a regrade does: the grade and the real event in one transaction."""
    now = timezone.now()
    facts = {
        "fails": {"letter": "", "percent": 0.3},
        "passed last year": {"passed_at": now - timedelta(days=365)},
    }
    for expectation in {expectation.learner.pk: expectation for expectation in expectations}.values():
        for _ in range(2):
            grade_facts = {"passed_at": now, **facts.get(expectation.story, {})}
            with transaction.atomic():
                write_grade(expectation.learner, **grade_facts)
                grade_event(expectation.learner, **grade_facts)
