# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The LMS's own part, each a process: ``python -m tests.chaos.lms prepare|grade``, with JSON on its standard output.

``prepare URL...`` makes one customer with an endpoint for each URL, and learners. ``grade SECONDS FILE`` grades the
learners whose user ids are in the JSON file, spread over so many seconds.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

COMPLETIONS = 300
TIMEOUT_SECONDS = 3
RETRY_SCHEDULE = "1s 1s 2s 2s 3s 3s 5s 5s 5s 5s 5s 5s 5s 5s"
#: what the endpoints differ in
LIMITS: tuple[dict[str, int], ...] = (
    {},
    {"max_concurrent_requests": 1},
    {"max_concurrent_requests": 8},
    {"max_requests_per_minute": 120},
    {"max_requests_per_minute": 600, "max_concurrent_requests": 2},
    {},
)
#: seconds until a grade whose transaction has failed is tried again
AGAIN_AFTER = 0.5


def prepare(urls: list[str]) -> list[dict[str, Any]]:
    """The learners with the customer that each completes a course for."""
    from django.db import transaction

    from tests.factories import make_customer, make_endpoint, make_learner

    with transaction.atomic():
        customers = [make_customer(f"Customer {number}") for number in range(len(urls))]
        for customer, url, limits in zip(customers, urls, LIMITS, strict=True):
            make_endpoint(
                customer,
                url,
                retry_schedule=RETRY_SCHEDULE,
                webhook_timeout_seconds=TIMEOUT_SECONDS,
                **limits,
            )
        owners = [customers[number % len(customers)] for number in range(COMPLETIONS)]
        return [{"user_id": make_learner(owner).id, "customer": str(owner.pk)} for owner in owners]


def grade(seconds: float, user_ids: list[int]) -> dict[str, int]:
    """Grade these learners, every third of them twice, as a regrade does; returns the counts."""
    from django.contrib.auth import get_user_model

    counts = {"committed": 0, "failed": 0, "undone": 0}
    learners = get_user_model().objects.in_bulk(user_ids)
    started = time.monotonic()
    for number, user_id in enumerate(user_ids):
        time.sleep(max(0.0, started + number * seconds / len(user_ids) - time.monotonic()))
        _pass_course(learners[user_id], times=2 if number % 3 == 0 else 1, counts=counts)
    return counts


def _pass_course(learner: Any, times: int, counts: dict[str, int]) -> None:
    """
    As the LMS does it: grade and event in one transaction, again until it is committed.

    ``failed`` counts the transactions that raised, ``undone`` those that seemed to be committed and were not.
    """
    from django.db import Error, close_old_connections, connections, transaction
    from django.utils import timezone

    from tests.factories import grade_event, write_grade
    from tests.lms_host.grades.models import PersistentCourseGrade

    passed_at = timezone.now()
    while times:
        close_old_connections()
        try:
            with transaction.atomic():
                write_grade(learner, passed_at=passed_at)
                grade_event(learner, passed_at=passed_at)
            if PersistentCourseGrade.objects.filter(user_id=learner.id, passed_timestamp=passed_at).exists():
                times -= 1
                continue
            counts["undone"] += 1
        except Error:
            counts["failed"] += 1
        connections.close_all()
        time.sleep(AGAIN_AFTER)
    counts["committed"] += 1


def main(task: str, *arguments: str) -> None:
    import django

    django.setup()
    import tests.lms_host.celery  # noqa: F401  (the Celery app that this process publishes through)

    if task == "prepare":
        answer: Any = prepare(list(arguments))
    else:
        answer = grade(float(arguments[0]), json.loads(Path(arguments[1]).read_text()))
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
