# SPDX-License-Identifier: AGPL-3.0-or-later
"""What partners are told that they get is what their endpoint got: schema, OpenAPI document and examples."""

import json
import re
from pathlib import Path

import pytest
from django.utils import timezone
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from openapi_spec_validator import OpenAPIV31SpecValidator
from social_django.models import UserSocialAuth

from channel_integrations.integrated_channel import tasks
from channel_integrations.integrated_channel.formats import STANDARD
from channel_integrations.integrated_channel.handlers import handle_learner_retirement
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    LearnerNaming,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services.final_number import release_due
from channel_integrations.integrated_channel.services.test_event import send_test_event
from docs.generate import DOCS
from tests.factories import COURSE, enrollment_event, grade_event, make_customer, make_endpoint, make_learner

SCHEMAS = DOCS / "partners" / "schema"
EVENTS = ("course_completion", "course_completion.revised", "course_enrollment", "learner.erased", "test")
PAGES = (DOCS.parent / "README.rst", DOCS / "index.rst", *sorted(DOCS.rglob("*.md")))


def schema(event):
    return json.loads((SCHEMAS / f"{event}.json").read_text())


def strict(node):
    """The schema with every field that it does not name forbidden: partners ignore such fields, we send none."""
    if isinstance(node, dict):
        node = {key: strict(value) for key, value in node.items()}
        if node.get("type") == "object":
            node["additionalProperties"] = False
    elif isinstance(node, list):
        node = [strict(each) for each in node]
    return node


def check(body, event, judged=strict):
    """``date-time``, ``uuid`` and the like are looked at as well."""
    Draft202012Validator(judged(schema(event)), format_checker=FormatChecker()).validate(body)


def received(receiver):
    (request, _answer) = receiver.log[-1]
    return json.loads(request.get_data())


@pytest.fixture
def endpoint(db, receiver):
    """Of a customer whose name is not ASCII."""
    return make_endpoint(make_customer("Globex 🌍 “Zürich”"), receiver.url_for("/hook"))


@pytest.mark.parametrize("event", EVENTS)
def test_the_schemas_are_schemas(event):
    Draft202012Validator.check_schema(schema(event))


def test_the_openapi_document_is_valid_and_speaks_of_every_event():
    document = json.loads((SCHEMAS / "openapi.json").read_text())
    OpenAPIV31SpecValidator(document).validate()
    assert set(document["webhooks"]) == set(EVENTS)


@pytest.mark.parametrize("seconds", [5400, 0])
def test_a_completion_with_learning_time(endpoint, snowflake, receiver, seconds):
    learner = make_learner(endpoint.enterprise_customer)
    snowflake.add(learner.id, COURSE, endpoint.enterprise_customer.uuid, seconds)
    grade_event(learner, percent=1.0)
    tasks.enrich_and_send_completion_webhook(str(WebhookTransmissionQueue.objects.get().webhook_id))
    tasks.process_webhook_queue()
    body = received(receiver)
    check(body, "course_completion")
    assert body["completion"]["learning_time"] == seconds


def test_a_completion_without_learning_time(endpoint, receiver):
    grade_event(make_learner(endpoint.enterprise_customer, email=""), percent=0.5, letter="C−")
    tasks.process_webhook_queue()
    body = received(receiver)
    check(body, "course_completion")
    assert "learning_time" not in body["completion"]


def test_a_completion_that_says_as_of_when_and_its_revision(endpoint, snowflake, receiver):
    EnterpriseWebhookConfiguration.objects.update(states_as_of=True, learning_time_timing="revise")
    customer = endpoint.enterprise_customer
    learner = make_learner(customer)
    snowflake.add(learner.id, COURSE, customer.uuid, 5400)
    grade_event(learner)
    rows = WebhookTransmissionQueue.objects
    for event in ("course_completion", "course_completion.revised"):
        rows.filter(status="awaiting_final").update(due_at=timezone.now())
        release_due()
        tasks.enrich_and_send_completion_webhook()
        tasks.process_webhook_queue()
        check(received(receiver), event)
        snowflake.add(learner.id, COURSE, customer.uuid, 600, str(timezone.now().date()))
    assert received(receiver)["completion"]["learning_time"] == 6000


def test_an_enrolment_is_as_its_schema_says(endpoint, receiver):
    EnterpriseWebhookConfiguration.objects.update(sends_enrollments=True)
    enrollment_event(make_learner(endpoint.enterprise_customer, email=""))
    WebhookTransmissionQueue.objects.update(due_at=timezone.now())
    tasks.process_webhook_queue()
    check(received(receiver), "course_enrollment")


@pytest.mark.parametrize("naming", LearnerNaming.values)
@pytest.mark.parametrize("event", ["course_completion", "course_enrollment"])
def test_whatever_an_endpoint_chooses(endpoint, receiver, naming, event):
    EnterpriseWebhookConfiguration.objects.update(
        sends_enrollments=True, learner_naming=naming, omitted_fields=list(STANDARD.optional), missing_ids="nulls"
    )
    learner = make_learner(endpoint.enterprise_customer)
    grade_event(learner) if event == "course_completion" else enrollment_event(learner)
    WebhookTransmissionQueue.objects.update(due_at=timezone.now())
    tasks.process_webhook_queue()
    check(received(receiver), event)
    send_test_event(EnterpriseWebhookConfiguration.objects.get())
    check(received(receiver), "test")
    assert "name" not in received(receiver)["enterprise_customer"]


@pytest.mark.parametrize("naming", LearnerNaming.values)
def test_an_erasure_is_as_its_schema_says(endpoint, receiver, naming):
    EnterpriseWebhookConfiguration.objects.update(sends_erasures=True, learner_naming=naming)
    learner = make_learner(endpoint.enterprise_customer, email="")
    UserSocialAuth.objects.create(user=learner, provider="tpa-saml", uid="acme:4711")
    grade_event(learner)
    tasks.process_webhook_queue()
    named = received(receiver)["learner"]
    handle_learner_retirement(sender=None, user=learner)
    tasks.process_webhook_queue()
    check(received(receiver), "learner.erased")
    assert received(receiver)["learner"] == named


def test_a_test_event_is_as_its_schema_says(endpoint, receiver):
    send_test_event(endpoint)
    check(received(receiver), "test")


def test_what_the_schema_refuses(endpoint, receiver):
    grade_event(make_learner(endpoint.enterprise_customer))
    tasks.process_webhook_queue()
    body = received(receiver)
    for path, wrong in (
        (("completion", "learning_time"), None),
        (("completion", "learning_time"), -1),
        (("completion", "learning_time"), 1.5),
        (("completion", "letter_grade"), ""),
        (("completion", "completion_date"), "yesterday"),
        (("enterprise_customer", "uuid"), "acme"),
        (("learner", "user_id"), "1"),
        (("learner", "phone"), "1"),
    ):
        changed = json.loads(json.dumps(body))
        changed[path[0]][path[1]] = wrong
        with pytest.raises(ValidationError):
            check(changed, "course_completion")


def test_a_partner_who_follows_the_schema_can_take_what_is_added_later(endpoint, receiver):
    grade_event(make_learner(endpoint.enterprise_customer))
    tasks.process_webhook_queue()
    body = received(receiver)
    body["completion"]["credits"] = body["more"] = {"any": "thing"}
    check(body, "course_completion", judged=dict)


def examples():
    """The bodies that pages show."""
    for page in PAGES:
        text = page.read_text()
        for match in re.finditer(r'\{\s*"event_type"', text):
            body, _end = json.JSONDecoder().raw_decode(text, match.start())
            line = text.count("\n", 0, match.start()) + 1
            yield pytest.param(body, id=f"{page.relative_to(DOCS.parent)}:{line}")


@pytest.mark.parametrize("body", examples())
def test_the_examples_in_the_pages(body):
    if body["enterprise_customer"]["uuid"] == "…":
        body["enterprise_customer"]["uuid"] = "3f2a8c1e-9b7d-4e60-8a15-c4d2e6f70b91"
    check(body, body["event_type"])


def test_there_are_examples():
    pages = {Path(example.id.partition(":")[0]).name for example in examples()}
    assert {"README.rst", "index.rst", "receiving_webhooks.md"} <= pages
