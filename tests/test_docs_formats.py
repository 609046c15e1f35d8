# SPDX-License-Identifier: AGPL-3.0-or-later
"""The how-to's format works as written, and Percipio gets what its page and schema say."""

import json
import re
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from django.utils import timezone
from jsonschema import Draft202012Validator, ValidationError
from social_django.models import UserSocialAuth

from channel_integrations.integrated_channel import tasks
from channel_integrations.integrated_channel.formats import FORMATS, Facts
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration, WebhookTransmissionQueue
from channel_integrations.integrated_channel.services import delivery
from channel_integrations.integrated_channel.services.test_event import send_test_event
from docs.generate import DOCS
from tests.factories import COURSE, enrollment_event, grade_event, make_customer, make_endpoint, make_learner

HOW_TO = (DOCS / "how-tos/add_a_payload_format.md").read_text()
PAGE = (DOCS / "partners/percipio_format.md").read_text()
SCHEMA = json.loads((DOCS / "partners/schema/percipio.json").read_text())
PASSED = datetime(2026, 11, 24, 10, 30, tzinfo=UTC)
USER, ORG = "5b1f0c9e-77aa-4c7e-9d55-2f4b8a6e1c30", "c0a8012e-1111-4222-8333-944455566677"
ROW = SimpleNamespace(
    webhook_id="7a0c2b9e-58d1-4c52-8a0f-2d6f6a1b9c03",
    event_type="course_completion",
    course_id=COURSE,
    occurred_at=PASSED,
    percent_grade=0.92,
    learning_time=9900,
)


def block(page, language):
    return re.search(rf"```{language}\n(.+?)```", page, re.DOTALL)[1]


def sign_on(learner, **extra_data):
    UserSocialAuth.objects.create(user=learner, provider="tpa-saml", uid="7", extra_data=extra_data)


def sent(receiver):
    (request, _answer) = receiver.log[-1]
    return json.loads(request.get_data())


def check(body):
    Draft202012Validator(SCHEMA).validate(body)
    assert set(body) <= set(SCHEMA["properties"])


# The how-to


@pytest.fixture
def how_tos(monkeypatch):
    """The format of the page, registered as it says."""
    namespace = {"__name__": "cloud_events"}
    exec(compile(block(HOW_TO, "python"), "add_a_payload_format.md", "exec"), namespace)
    written = namespace["CLOUD_EVENTS"]
    assert "(STANDARD, PERCIPIO, CLOUD_EVENTS)" in HOW_TO and list(FORMATS) == ["standard", "percipio"]
    monkeypatch.setitem(FORMATS, written.name, written)
    return written


def test_the_example_becomes_what_the_page_shows(how_tos):
    assert how_tos.payload(ROW, Facts(None, {"employee": "E-4711"})) == json.loads(block(HOW_TO, "json"))


@pytest.mark.django_db
def test_the_example_is_all_that_a_format_takes(how_tos, receiver):
    endpoint = make_endpoint(
        make_customer(), receiver.url_for("/hook"), payload_format="cloud_events", omitted_fields=["grade"]
    )
    endpoint.full_clean(exclude=["webhook_url"])
    learner = make_learner(endpoint.enterprise_customer)
    grade_event(learner)
    delivery.deliver_due()
    assert WebhookTransmissionQueue.objects.get().reason == "the learner has no sign-on record"
    sign_on(learner, employeeNumber=["E-4711"])
    WebhookTransmissionQueue.objects.update(due_at=timezone.now())
    delivery.deliver_due()
    body, webhook = sent(receiver), WebhookTransmissionQueue.objects.get()
    assert body["data"] == {"employee": "E-4711", "course_run": COURSE, "seconds": None}
    assert body["id"] == str(webhook.webhook_id) == receiver.log[-1][0].headers["webhook-id"]
    send_test_event(endpoint)
    assert sent(receiver)["test"] is True


# Percipio


@pytest.fixture
def endpoint(db, receiver):
    fields = {"payload_format": "percipio", "sends_enrollments": True}
    return make_endpoint(make_customer(), receiver.url_for("/hook"), **fields)


@pytest.fixture
def learner(endpoint):
    learner = make_learner(endpoint.enterprise_customer)
    sign_on(learner, PercipioUserUUID=USER, percipioOrganizationUuid=[ORG])
    return learner


def test_the_page_shows_what_is_sent():
    shown = json.loads(block(PAGE, "json"))
    assert shown == FORMATS["percipio"].payload(ROW, Facts(None, {"user": USER, "orgid": ORG}))
    check(shown)


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)


def test_percipio_gets_a_completion_as_its_schema_says(endpoint, learner, receiver, snowflake):
    snowflake.add(learner.id, COURSE, endpoint.enterprise_customer.uuid, 5400)
    grade_event(learner)
    tasks.enrich_and_send_completion_webhook()
    tasks.process_webhook_queue()
    check(sent(receiver))
    assert sent(receiver)["duration_spent"] == 5400


@pytest.mark.parametrize("omitted", [None, ["duration_spent"]])
def test_a_completion_without_learning_time(endpoint, learner, receiver, omitted):
    EnterpriseWebhookConfiguration.objects.update(omitted_fields=omitted)
    grade_event(learner)
    tasks.process_webhook_queue()
    check(sent(receiver))
    assert sent(receiver).get("duration_spent", "absent") == ("absent" if omitted else None)


def test_percipio_gets_an_enrolment_as_its_schema_says(learner, receiver):
    enrollment_event(learner)
    WebhookTransmissionQueue.objects.update(due_at=timezone.now())
    tasks.process_webhook_queue()
    check(sent(receiver))
    assert sent(receiver)["status"] == "started"


def test_null_by_agreement(endpoint, receiver):
    EnterpriseWebhookConfiguration.objects.update(missing_ids="nulls")
    grade_event(make_learner(endpoint.enterprise_customer))
    tasks.process_webhook_queue()
    check(sent(receiver))


def test_percipio_gets_a_test_event_as_its_schema_says(endpoint, receiver):
    send_test_event(endpoint)
    check(sent(receiver))
    assert sent(receiver)["content_id"] == "course:test+test" and "course:test+test" in PAGE


@pytest.mark.parametrize(
    "wrong",
    [
        {"content_id": COURSE},
        {"user": ""},
        {"status": "passed"},
        {"event_date": "2026-11-24T10:30:00+00:00"},
        {"completion_percentage": 0},
        {"duration_spent": -1},
        {"status": "started", "completion_percentage": 0},
    ],
)
def test_what_the_schema_refuses(wrong):
    with pytest.raises(ValidationError):
        check({**json.loads(block(PAGE, "json")), **wrong})
