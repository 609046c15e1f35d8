# SPDX-License-Identifier: AGPL-3.0-or-later
"""What counts as a pass, what makes it the same pass again, and the body that partners get."""

import json
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from uuid import UUID

import pytest

from channel_integrations.integrated_channel.exceptions import MalformedEvent
from channel_integrations.integrated_channel.formats import FORMATS, Facts, to_body
from channel_integrations.integrated_channel.passes import CoursePass

PASSED = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
CUSTOMER = UUID("0f6c2a52-8d6d-4b31-9b5a-000000000001")
COURSE = "course-v1:edX+Demo+2026"


def grade(**changes):
    facts = {"user_id": 7, "percent_grade": 0.92, "letter_grade": "A", "passed_timestamp": PASSED, **changes}
    return SimpleNamespace(**facts)


@pytest.mark.parametrize("letter", ["", None])
def test_a_failing_regrade_keeps_the_timestamp_but_is_no_pass(letter):
    assert CoursePass.from_grade(grade(letter_grade=letter), COURSE) is None


def test_no_timestamp_is_no_pass():
    assert CoursePass.from_grade(grade(passed_timestamp=None), COURSE) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"passed_timestamp": "2026-11-20"},
        {"passed_timestamp": datetime(2026, 11, 20)},
        {"user_id": None},
        {"user_id": -1},
        {"percent_grade": "much"},
        {"percent_grade": None},
    ],
)
def test_facts_of_the_wrong_type_are_malformed(changes):
    with pytest.raises(MalformedEvent):
        CoursePass.from_grade(grade(**changes), COURSE)


def test_a_missing_fact_is_malformed():
    with pytest.raises(MalformedEvent):
        CoursePass.from_grade(SimpleNamespace(letter_grade="A", passed_timestamp=PASSED), COURSE)


def test_a_course_key_too_long_for_the_column_is_malformed():
    with pytest.raises(MalformedEvent):
        CoursePass.from_grade(grade(), "course-v1:" + "x" * 250)


def key(customer=CUSTOMER, **changes):
    return CoursePass.from_grade(grade(**changes), changes.pop("course", COURSE)).deduplication_key(customer)


def test_a_regrade_of_the_same_pass_has_the_same_key():
    assert key() == key(percent_grade=0.99, letter_grade="B")


def test_the_key_does_not_depend_on_the_time_zone():
    assert key() == key(passed_timestamp=PASSED.astimezone(timezone(timedelta(hours=5))))


def test_customer_learner_and_pass_each_change_the_key():
    others = {key(UUID(int=1)), key(user_id=8), key(passed_timestamp=PASSED + timedelta(seconds=1))}
    assert len(others | {key()}) == 4


def payload(learning_time, name="Acme"):
    row = SimpleNamespace(
        event_type="course_completion",
        created=PASSED + timedelta(seconds=1),
        course_id=COURSE,
        occurred_at=PASSED,
        percent_grade=0.92,
        letter_grade="A",
        learning_time=learning_time,
    )
    customer = SimpleNamespace(uuid=CUSTOMER, name=name)
    learner = {"user_id": 7, "username": "maria", "email": "maria@example.com"}
    return FORMATS["standard"].payload(row, Facts(customer, learner))


def test_the_plain_payload():
    assert payload(None) == {
        "event_type": "course_completion",
        "event_version": "2.0",
        "event_source": "openedx_events",
        "timestamp": "2026-11-20T10:30:01+00:00",
        "enterprise_customer": {"uuid": str(CUSTOMER), "name": "Acme"},
        "learner": {"user_id": 7, "username": "maria", "email": "maria@example.com"},
        "course": {"course_key": COURSE},
        "completion": {
            "completed": True,
            "completion_date": "2026-11-20T10:30:00+00:00",
            "percent_grade": 0.92,
            "letter_grade": "A",
            "is_passing": True,
        },
    }


@pytest.mark.parametrize("seconds", [0, 1, 7200])
def test_learning_time_is_the_only_difference(seconds):
    enriched, plain = payload(seconds), payload(None)
    assert enriched["completion"].pop("learning_time") == seconds
    assert enriched == plain


@pytest.mark.parametrize("name", ['He said "hi"', "Ünïcode 🎓", "שלום עולם", "a\\b\n\t", "</script>"])
def test_awkward_names_survive_as_ascii_json(name):
    body = to_body(payload(None, name))
    assert body.isascii()
    assert json.loads(body)["enterprise_customer"]["name"] == name
