# SPDX-License-Identifier: AGPL-3.0-or-later
"""Each format's bodies, table by table; what endpoints may leave out of them."""

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from uuid import UUID

import pytest
from django.core.exceptions import ValidationError

from channel_integrations.integrated_channel.exceptions import WebhookNotWritable
from channel_integrations.integrated_channel.formats import FORMATS, Facts, NumberFacts, format_of
from channel_integrations.integrated_channel.formats.percipio import content_id
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration

PASSED = datetime(2026, 11, 24, 10, 30, 0, 987654, tzinfo=UTC)
CUSTOMER = SimpleNamespace(uuid=UUID("3f2a8c1e-9b7d-4e60-8a15-c4d2e6f70b91"), name="Acme")
IDS = {"user": "5b1f0c9e-77aa-4c7e-9d55-2f4b8a6e1c30", "orgid": "c0a8012e-1111-4222-8333-944455566677"}
MARIA = {"user_id": 1, "username": "maria", "email": "maria@example.com"}


def row(event_type="course_completion", **changes):
    facts = {
        **{"event_type": event_type, "created": PASSED + timedelta(seconds=1), "course_id": "course-v1:edX+Demo+2026"},
        **{"occurred_at": PASSED, "percent_grade": 0.92, "letter_grade": "A", "learning_time": None},
        **{"learning_time_as_of": PASSED.date(), "learning_time_is_final": True},
        **{"enrollment_mode": "verified", "enrollment_is_active": True},
        **changes,
    }
    return SimpleNamespace(**facts)


def payload(name, learner, *, omitted=(), number=None, **changes):
    return FORMATS[name].payload(row(**changes), Facts(CUSTOMER, learner, number or NumberFacts()), omitted)


@pytest.mark.parametrize("learning_time", [None, 0, 9900])
def test_a_completion_in_percipios_format(learning_time):
    assert payload("percipio", IDS, learning_time=learning_time) == {
        "content_id": "course:edX+Demo",
        "user": IDS["user"],
        "orgid": IDS["orgid"],
        "status": "completed",
        "event_date": "2026-11-24T10:30:00Z",
        "completion_percentage": 100,
        "duration_spent": learning_time,
    }


def test_an_enrolment_in_percipios_format():
    expected = {**payload("percipio", IDS), "status": "started", "completion_percentage": 0}
    assert payload("percipio", IDS, event_type="course_enrollment") == expected


def test_the_event_date_is_in_utc():
    elsewhere = PASSED.astimezone(timezone(timedelta(hours=-5)))
    assert payload("percipio", IDS, occurred_at=elsewhere)["event_date"] == "2026-11-24T10:30:00Z"


@pytest.mark.parametrize(
    ("course_id", "expected"),
    [
        ("course-v1:edX+Demo+2026", "course:edX+Demo"),
        ("course-v1:Org.X+CS-50_1+2026_T3", "course:Org.X+CS-50_1"),
        ("edX/Demo/2026", "course:edX+Demo"),
    ],
)
def test_a_course_as_percipio_knows_it(course_id, expected):
    assert content_id(course_id) == expected


@pytest.mark.parametrize("event_type", ["course_completion", "course_enrollment"])
def test_the_default_format_takes_the_learner_as_named(event_type):
    for learner in (MARIA, {"sign_on_id": "acme:7"}, {"pseudonym": "x"}):
        assert payload("standard", learner, event_type=event_type)["learner"] == learner


@pytest.mark.parametrize(
    ("name", "event_type", "part", "left_out"),
    [
        ("standard", "course_completion", "grade", {"completion.percent_grade", "completion.letter_grade"}),
        ("standard", "course_completion", "learning_time", {"completion.learning_time"}),
        ("standard", "course_completion", "customer_name", {"enterprise_customer.name"}),
        ("standard", "course_completion", "enrollment_mode", set()),
        ("standard", "course_enrollment", "enrollment_mode", {"enrollment.mode"}),
        ("standard", "course_enrollment", "customer_name", {"enterprise_customer.name"}),
        ("standard", "course_enrollment", "grade", set()),
        ("percipio", "course_completion", "duration_spent", {"duration_spent"}),
        ("percipio", "course_completion", "grade", set()),
        ("standard", "course_completion", "of another release", set()),
    ],
)
def test_what_is_left_out_and_nothing_else(name, event_type, part, left_out):
    learner = IDS if name == "percipio" else MARIA
    whole = payload(name, learner, event_type=event_type, learning_time=60)
    less = payload(name, learner, event_type=event_type, learning_time=60, omitted=[part])
    assert paths(whole) - paths(less) == left_out and paths(less) <= paths(whole)


def paths(body, before=""):
    found = set()
    for key, value in body.items():
        found |= paths(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}"}
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_what_every_format_declares(name):
    chosen = FORMATS[name]
    assert chosen.name == name and str(chosen.label)
    assert set(chosen.events) - {"course_completion.revised"} == {"course_completion", "course_enrollment"}
    assert chosen.test(CUSTOMER, PASSED)["test"] is True
    number = NumberFacts(states_as_of=True, completion_id=CUSTOMER.uuid, previous=2)
    bodies = [payload(name, IDS, event_type=event, learning_time=1, number=number) for event in chosen.events]
    there = set().union(*map(paths, bodies))
    assert {".".join(path) for part in chosen.optional.values() for path in part.paths} <= there


def test_a_test_event_in_percipios_format_has_every_field():
    assert paths(FORMATS["percipio"].test(CUSTOMER, PASSED)) - paths(payload("percipio", IDS)) == {"test"}


# What an endpoint may choose


def endpoint(**choices):
    return EnterpriseWebhookConfiguration(webhook_url="https://partner.example.com/hook", **choices)


def errors(**choices):
    try:
        endpoint(**choices).clean()
    except ValidationError as err:
        return {field: " ".join(said) for field, said in err.message_dict.items()}
    return {}


def test_null_is_the_default():
    nothing = dict.fromkeys(("payload_format", "learner_naming", "missing_ids", "omitted_fields"))
    assert format_of(endpoint(**nothing)) is format_of(endpoint()) is FORMATS["standard"]
    assert endpoint(**nothing).omitted == endpoint().omitted == frozenset()
    assert errors(**nothing) == errors() == {}


@pytest.mark.parametrize(
    ("choices", "field", "said"),
    [
        ({"payload_format": "degreed"}, "payload_format", "choose one of standard, percipio"),
        ({"payload_format": "percipio", "learner_naming": "pseudonym"}, "learner_naming", "ids of its own"),
        ({"omitted_fields": ["duration_spent"]}, "omitted_fields", "grade, learning time, customer's name"),
        ({"payload_format": "percipio", "omitted_fields": ["grade"]}, "omitted_fields", "these alone: learning time"),
        ({"omitted_fields": "grade"}, "omitted_fields", "these alone"),
        ({"omitted_fields": {"grade": True}}, "omitted_fields", "these alone"),
        ({"omitted_fields": [["grade"]]}, "omitted_fields", "these alone"),
    ],
)
def test_what_an_endpoint_cannot_choose(choices, field, said):
    found = errors(**choices)
    assert set(found) == {field} and said in found[field]


@pytest.mark.parametrize(
    "choices",
    [
        {"payload_format": "percipio", "missing_ids": "nulls", "omitted_fields": ["duration_spent"]},
        {"learner_naming": "pseudonym", "omitted_fields": ["grade", "customer_name"]},
    ],
)
def test_choices_that_the_format_has_are_taken(choices):
    assert errors(**choices) == {}


def test_a_format_of_another_release_is_not_replaced_by_the_default():
    with pytest.raises(WebhookNotWritable, match="degreed"):
        format_of(endpoint(payload_format="degreed"))
