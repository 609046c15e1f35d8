# SPDX-License-Identifier: AGPL-3.0-or-later
"""Why a customer did or did not get a completion: each condition as the first no, and what became of the webhook."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from common.djangoapps.student.models import CourseEnrollment
from django.core.management import CommandError, call_command, get_commands
from django.utils import timezone
from enterprise.models import EnterpriseCourseEnrollment, EnterpriseCustomerUser
from social_django.models import UserSocialAuth

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookEndpointHealth,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import delivery
from channel_integrations.integrated_channel.services.explanation import STEPS, explain
from channel_integrations.integrated_channel.settings.common import DEFAULTS
from tests.factories import COURSE, grade_event, make_customer, make_endpoint, make_learner, write_grade

pytestmark = pytest.mark.django_db


class Story:
    """A completion that is owed, until a test breaks one condition."""

    def __init__(self, receiver):
        self.customer = make_customer("Acme")
        self.endpoint = make_endpoint(self.customer, receiver.url_for("/hook"))
        self.learner = make_learner(self.customer, username="maria", email="maria@private.example")
        self.grade = write_grade(self.learner)

    def tell(self):
        return explain(self.learner, self.customer, COURSE)

    def update(self, model, **changes):
        model.objects.update(**changes)


@pytest.fixture
def story(receiver):
    return Story(receiver)


def run(*arguments):
    out = StringIO()
    call_command("webhook_explain", *map(str, arguments), stdout=out)
    return out.getvalue()


def ask(*more):
    return run("--learner", "maria", "--customer", "Acme", "--course", COURSE, *more)


def change_customer(story, **changes):
    type(story.customer).objects.filter(pk=story.customer.pk).update(**changes)
    story.customer.refresh_from_db()


def long_ago(story):
    past = timezone.now() - timedelta(days=20)
    type(story.grade).objects.update(passed_timestamp=past)


def in_europe(story):
    UserSocialAuth.objects.create(user=story.learner, provider="saml", uid="m", extra_data={"country": "DE"})


def in_audit_mode(story):
    CourseEnrollment.objects.create(user_id=story.learner.pk, course_id=COURSE, mode="audit")


BROKEN = {
    "customer": (lambda s: change_customer(s, active=False), "not active"),
    "link": (lambda s: s.update(EnterpriseCustomerUser, linked=False), "not linked to the customer"),
    "endpoints": (lambda s: s.endpoint.delete(), "the customer has no endpoint"),
    "sponsorship": (
        lambda s: EnterpriseCourseEnrollment.objects.all().delete(),
        "the customer does not sponsor this course run",
    ),
    "audit": (in_audit_mode, "the customer does not report audit enrolments"),
    "consent": (lambda s: change_customer(s, enable_data_sharing_consent=True), "no data-sharing consent"),
    "passed": (lambda s: type(s.grade).objects.update(letter_grade=""), "the LMS holds no passing grade"),
    "linked_before": (
        lambda s: s.update(EnterpriseCustomerUser, created=timezone.now() + timedelta(minutes=1)),
        "passed before the learner was linked",
    ),
    "age": (long_ago, "more than 7 days ago"),
    "region": (in_europe, "no endpoint for EU"),
    "switched_on": (
        lambda s: s.update(EnterpriseWebhookConfiguration, active=False, region="OTHER"),
        "switched off by its operator",
    ),
    "send_from": (
        lambda s: s.update(EnterpriseWebhookConfiguration, send_from=timezone.now() + timedelta(hours=1)),
        "passed before that",
    ),
    "row": (lambda s: None, "no webhook has been made"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_condition_as_the_first_no(story, name):
    break_it, said = BROKEN[name]
    break_it(story)
    told = story.tell()
    first = told.first_no
    assert first.name == name and said in first.fact
    assert told.conclusion == f"Not sent: {first.fact}."
    assert first.change
    assert [step.name for step in told.steps] == list(STEPS)
    later = [step for step in told.steps if STEPS.index(step.name) > STEPS.index(name)]
    assert {step.fact for step in later} <= {"not reached"}
    for word in first.change.replace(",", " ").split():
        assert not word.startswith("CHANNEL_") or word in DEFAULTS
    if "manage.py lms" in first.change:
        assert first.change.split("manage.py lms ")[1].split()[0].rstrip(",") in get_commands()


def test_an_endpoint_that_the_sender_switched_off(story):
    story.update(WebhookEndpointHealth, disabled_at=timezone.now())
    assert story.tell().first_no.fact == "the endpoint was switched off by the sender"


def test_delivered_even_if_a_condition_no_longer_holds(story):
    grade_event(story.learner, passed_at=story.grade.passed_timestamp)
    delivery.deliver_due()
    story.update(EnterpriseCustomerUser, linked=False)
    said = ask()
    assert said.startswith("Delivered at ")
    assert " 200 in " in said and "not linked to the customer" in said


def test_on_its_way(story, receiver):
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("no", status=503)
    grade_event(story.learner, passed_at=story.grade.passed_timestamp)
    delivery.deliver_due()
    said = ask()
    assert said.startswith("On its way: next attempt ") and " 503 in " in said


def test_json_is_stable(story):
    told = json.loads(ask("--json"))
    assert set(told) == {"conclusion", "customer", "course", "webhook_id", "steps", "learner"}
    assert [step["name"] for step in told["steps"]] == list(STEPS)
    assert {frozenset(step) for step in told["steps"]} == {frozenset({"name", "holds", "fact", "change"})}


def test_nothing_personal_goes_to_the_partner(story):
    type(story.learner).objects.filter(pk=story.learner.pk).update(username="maria", email="maria@private.example")
    grade_event(story.learner, passed_at=story.grade.passed_timestamp)
    delivery.deliver_due()
    told = json.loads(ask("--json", "--for-partner"))
    assert "learner" not in told and told["webhook_id"] == str(WebhookTransmissionQueue.objects.get().webhook_id)
    for text in (ask("--for-partner"), json.dumps(told)):
        assert "maria" not in text and "bucket" not in text and "letter grade" not in text
        assert f" {story.learner.pk} " not in text


@pytest.mark.parametrize("option", ["username", "email", "pk"])
def test_the_learner_by_any_name(story, option):
    by = str(getattr(story.learner, option))
    for customer in (story.customer.uuid, story.customer.slug, story.customer.name):
        assert run("--learner", by, "--customer", customer, "--course", COURSE).startswith("Not sent: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody", "Acme", COURSE), "no such learner"),
        (("maria", "Nobody", COURSE), "no such customer"),
        (("maria", "Acme", "a course"), "takes the key of a course run"),
    ],
)
def test_what_is_not_there_is_told(story, arguments, said):
    learner, customer, course = arguments
    with pytest.raises(CommandError, match=said):
        run("--learner", learner, "--customer", customer, "--course", course)


def test_it_changes_nothing(story, django_assert_max_num_queries):
    with django_assert_max_num_queries(20) as queries:
        story.tell()
    assert all(query["sql"].startswith("SELECT") for query in queries.captured_queries)
