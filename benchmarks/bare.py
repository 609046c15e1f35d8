# SPDX-License-Identifier: AGPL-3.0-or-later
"""
What the parts can do by themselves, with nothing of the package in between: no figure can be much better.

These run in the LMS's process, against the same broker, worker, receiver and proxy as the scenarios.
"""

import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import redis
import requests
import snowflake.connector
from celery import current_app
from django.conf import settings
from openedx_events.learning.signals import PERSISTENT_GRADE_SUMMARY_CHANGED

from benchmarks import tasks as loads
from channel_integrations.integrated_channel.handlers import handle_grade_change_for_webhooks
from tests.factories import grade_event
from tests.snowflake_server import TABLE

#: calls before those that count
WARM_UP = 5
STAMPS = "benchmarks.stamps"
#: about as long as a completion's webhook
BODY = json.dumps({"event_type": "bare", "padding": "x" * 520}).encode()


def tasks(count: int, patience: float) -> dict[str, float]:
    """So many tasks that do nothing, published and run: a second's worth."""
    done_before = _done()
    began = time.time()
    for _ in range(count):
        loads.noop.apply_async()
    loads.stamp.apply_async([STAMPS])
    ended = _stamp(patience)
    deadline = time.monotonic() + 5
    # The other process may still be about its last one.
    while (done := _done() - done_before) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    return {"per_second": count / (ended - began), "done": done}


def hops(count: int) -> list[float]:
    """The seconds from publishing a task to its start, on an idle worker."""
    taken = []
    for _ in range(count):
        began = time.time()
        loads.stamp.apply_async([STAMPS])
        taken.append(_stamp(10) - began)
        time.sleep(0.05)
    return taken


def posts(url: str, count: int) -> list[float]:
    """The seconds that each bare POST over one kept-alive connection took."""
    with requests.Session() as session:
        return _times(count, lambda: session.post(url, data=BODY, headers={"webhook-id": "bare"}).raise_for_status())


def statements(count: int) -> list[float]:
    """The seconds that each bare lookup of one learner took, over one connection."""
    connection = snowflake.connector.connect(**settings.SNOWFLAKE_CONFIG, paramstyle="qmark")
    statement = (
        f"SELECT SUM(LEARNING_TIME_SECONDS) FROM {TABLE} "
        "WHERE USER_ID = ? AND COURSERUN_KEY = ? AND ENTERPRISE_CUSTOMER_UUID = ?"
    )
    with connection, connection.cursor() as cursor:
        return _times(count, lambda: cursor.execute(statement, (1, "none", "none")).fetchall())


def events(learners: list[Any]) -> list[float]:
    """The seconds that each event took with nobody of this package listening."""
    names = {"dispatch_uid": "channel_webhooks.handle_grade_change_for_webhooks"}
    assert PERSISTENT_GRADE_SUMMARY_CHANGED.disconnect(**names), "the package does not listen"
    try:
        remaining = itertools.cycle(learners)
        return _times(len(learners), lambda: grade_event(next(remaining)))
    finally:
        PERSISTENT_GRADE_SUMMARY_CHANGED.connect(handle_grade_change_for_webhooks, **names)


def _times(count: int, call: Callable[[], Any]) -> list[float]:
    for _ in range(WARM_UP):
        call()
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return taken


def _done() -> int:
    (stats,) = current_app.control.inspect(timeout=5.0, limit=1).stats().values()
    return stats["total"].get(loads.noop.name, 0)


def _stamp(patience: float) -> float:
    """When the task ran that stamps; a worker that has not run it by then raises."""
    deadline = time.monotonic() + patience
    with redis.Redis.from_url(settings.BROKER_URL) as client:
        while not (value := client.lpop(STAMPS)):
            if time.monotonic() > deadline:
                raise TimeoutError("the worker did not run the task")
            time.sleep(0.01)
    return float(value)
