# SPDX-License-Identifier: AGPL-3.0-or-later
"""The demo's judgement: that it would fail if a webhook were missing, wrong or too many."""

import copy
from types import SimpleNamespace

import pytest
import requests

from demo.partners import COMPLETION, REVISED, SOME_UUID, Line
from demo.receiver import NOBODY, Receiver, about
from demo.table import report
from demo.verdict import OK, Expectation, Received, judge

EXPECTED = {
    "event_type": "course_completion",
    "timestamp": "",
    "learner": {"user_id": 7},
    "completion": {"completed": True, "completion_date": "", "learning_time": 0},
}
MOMENT = "2026-11-24T10:00:00+00:00"


def post(method="POST", content_type="application/json", **changes):
    """A webhook as expected, but for ``changes``: dotted paths with ``__``, None removes."""
    body = copy.deepcopy(EXPECTED)
    body["timestamp"] = body["completion"]["completion_date"] = MOMENT
    for path, value in changes.items():
        *above, last = path.split("__")
        inner = body
        for key in above:
            inner = inner[key]
        inner[last] = value
        if value is None:
            del inner[last]
    return Received(method, content_type, body, 0.0)


@pytest.mark.parametrize(
    ("expected", "received", "verdict"),
    [
        (EXPECTED, [post()], OK),
        (EXPECTED, [post(content_type="application/json; charset=utf-8")], OK),
        (None, [], OK),
        (None, [post()], "TOO MANY: none was due"),
        (EXPECTED, [], "MISSING"),
        (EXPECTED, [post(), post()], "TOO MANY: 2 came"),
        (EXPECTED, [post(completion__learning_time=None)], "WRONG: completion.learning_time"),
        (EXPECTED, [post(completion__learning_time=1)], "WRONG: completion.learning_time"),
        (EXPECTED, [post(completion__learning_time=False)], "WRONG: completion.learning_time"),
        (EXPECTED, [post(completion__learning_time=0.0)], "WRONG: completion.learning_time"),
        (EXPECTED, [post(completion__completed=1)], "WRONG: completion.completed"),
        (EXPECTED, [post(extra=1, event_type=None)], "WRONG: event_type, extra"),
        (EXPECTED, [post(timestamp="yesterday")], "WRONG: timestamp"),
        (EXPECTED, [post(timestamp="2026-11-24T10:00:00")], "WRONG: timestamp"),
        (EXPECTED, [post(completion__completion_date=5)], "WRONG: completion.completion_date"),
        (EXPECTED, [post(learner=[])], "WRONG: learner"),
        (EXPECTED, [post(method="PUT")], "WRONG: PUT of application/json"),
        (EXPECTED, [post(content_type="")], "WRONG: POST of no type"),
        (EXPECTED, [Received("POST", "application/json", None, 0.0)], "WRONG: body"),
    ],
)
def test_what_arrived_is_judged_by_what_was_expected(expected, received, verdict):
    assert judge(expected, received) == verdict


def test_one_webhook_too_many_missing_or_about_a_stranger_spoils_the_report(capsys):
    def body(user_id, customer):
        return {"learner": {"user_id": user_id}, "enterprise_customer": {"uuid": customer}}

    learner, customer = SimpleNamespace(id=7, username="maria"), SimpleNamespace(uuid="acme", name="Acme")
    expectations = [Expectation(learner, customer, "passes", body(7, "acme"))]
    right, stranger = (Received("POST", "application/json", body(user_id, "acme"), 0.0) for user_id in (7, 8))
    assert report(expectations, [right]) is True
    for requests_ in ([], [right, right], [right, stranger], [stranger]):
        assert report(expectations, requests_) is False
    assert "about nobody here" in capsys.readouterr().out


def heard(event, seconds=3000, completion_id="b5a4b3f8-9d8a-4a43-8c1b-7d7a1a3f0a11", **more):
    """What came about learner 7."""
    body = {
        "event_type": event,
        "learner": {"user_id": 7},
        "completion": {"learning_time": seconds, "learning_time_final": True},
        "completion_id": completion_id,
        **more,
    }
    return Received("POST", "application/json", body, 0.0)


class Hears:
    """A partner, as far as a line looks at it."""

    name, timing = "Initech", "revise"

    def __init__(self, *came):
        self.came = came

    def of(self, event, learner):
        return [each for each in self.came if each.body["event_type"] == event]


@pytest.mark.parametrize(
    ("expected", "came", "verdict"),
    [
        (3000, [heard(COMPLETION)], OK),
        (3000, [], "MISSING"),
        (3000, [heard(COMPLETION), heard(COMPLETION)], "TOO MANY: 2 came"),
        (3900, [heard(COMPLETION)], "WRONG: completion.learning_time"),
        (3000, [heard(COMPLETION, completion_id=None)], "WRONG: completion_id"),
        (3000, [heard(COMPLETION, completion_id="7")], "WRONG: completion_id"),
        (None, [], OK),
        (None, [heard(REVISED)], OK),
        (None, [heard(COMPLETION)], "TOO MANY: none was due"),
    ],
)
def test_a_line_of_the_two_days(expected, came, verdict):
    body = heard(COMPLETION, expected, SOME_UUID).body if expected else None
    line = Line("1", Hears(*came), SimpleNamespace(id=7, username="maria"), COMPLETION, body)
    assert line.judge() == verdict
    cells = line.cells()
    assert cells[0] == "1" and cells[-1] == verdict
    assert cells[4] == ("no course_completion" if expected is None and verdict == OK else COMPLETION)


def test_a_revision_is_shown_beside_what_it_was():
    came = heard(REVISED, 3900, completion={"learning_time": 3900, "previous_learning_time": 3000})
    line = Line("2", Hears(came), SimpleNamespace(id=7, username="maria"), REVISED, came.body)
    assert line.judge() == OK and "3900 s (was 3000)" in line.cells()


def test_the_receiver_keeps_whatever_comes():
    receiver = Receiver()
    try:
        requests.get(receiver.url, timeout=5)
        requests.post(receiver.url, data=b"no json", timeout=5)
        requests.post(receiver.url, json=["no", "learner"], timeout=5)
        requests.post(
            receiver.url, json={"learner": {"user_id": 7}, "enterprise_customer": {"uuid": "acme"}}, timeout=5
        )
    finally:
        receiver.close()
    assert [request.method for request in receiver.requests] == ["GET", "POST", "POST", "POST"]
    assert [about(request) for request in receiver.requests] == [NOBODY, NOBODY, NOBODY, (7, "acme")]
