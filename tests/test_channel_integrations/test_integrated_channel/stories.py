# SPDX-License-Identifier: AGPL-3.0-or-later
"""Completions of every fate, made in the way in which they come about."""

from datetime import timedelta

from common.djangoapps.student.models import CourseEnrollment
from django.test import TestCase
from django.utils import timezone
from enterprise.models import EnterpriseCourseEnrollment, EnterpriseCustomerUser
from social_django.models import UserSocialAuth

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookEndpointHealth,
    WebhookStatus,
    WebhookSuppression,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import delivery, retention
from channel_integrations.integrated_channel.services.explanation import explain
from tests.factories import COURSE, give_consent, grade_event, make_customer, make_endpoint, make_learner, write_grade

PERSONAL = ("maria", "private.example", "0.92", "letter grade")


class Story:
    """A completion that is owed, until something happens to it. The learner's id is one that no time or count has."""

    def __init__(self, receiver):
        self.receiver = receiver
        self.customer = make_customer("Acme")
        self.endpoint = make_endpoint(self.customer, receiver.url_for("/hook"))
        self.learner = make_learner(
            self.customer, pk=987654, username="maria", email="maria@private.example", first_name="Maria"
        )
        self.grade = write_grade(self.learner)

    def explain(self):
        return explain(self.learner, self.customer, COURSE)

    @property
    def webhook(self):
        return WebhookTransmissionQueue.objects.get()

    def update(self, model, **changes):
        model.objects.update(**changes)

    def change_customer(self, **changes):
        type(self.customer).objects.filter(pk=self.customer.pk).update(**changes)
        self.customer.refresh_from_db()

    def passes(self):
        """The event of the grade that is there, and what follows its commit."""
        with TestCase.captureOnCommitCallbacks(execute=True):
            grade_event(self.learner, passed_at=self.grade.passed_timestamp)

    def answers(self, status, **headers):
        self.receiver.clear()
        self.receiver.expect_request("/hook").respond_with_data("no, maria", status=status, headers=headers)

    def is_sent(self, status=200, **headers):
        self.passes()
        self.answers(status, **headers)
        delivery.deliver_due()


# ---- no webhook, each condition as the first no


def customer_inactive(story):
    story.change_customer(active=False)


def never_linked(story):
    EnterpriseCustomerUser.all_objects.all().delete()


def unlinked(story):
    story.update(EnterpriseCustomerUser, linked=False)


def no_endpoint_at_all(story):
    story.endpoint.delete()


def not_sponsored(story):
    EnterpriseCourseEnrollment.objects.all().delete()


def in_audit_mode(story):
    CourseEnrollment.objects.create(user_id=story.learner.pk, course_id=COURSE, mode="audit")


def without_consent(story):
    story.change_customer(enable_data_sharing_consent=True)


def not_graded(story):
    story.grade.delete()


def not_passed(story):
    type(story.grade).objects.update(letter_grade="", passed_timestamp=None)


def withdrawn(story):
    type(story.grade).objects.update(letter_grade="")


def linked_afterwards(story):
    story.update(EnterpriseCustomerUser, created=timezone.now() + timedelta(minutes=1))


def passed_long_ago(story):
    type(story.grade).objects.update(passed_timestamp=timezone.now() - timedelta(days=20))


def in_europe(story):
    UserSocialAuth.objects.create(user=story.learner, provider="saml", uid="m", extra_data={"country": "DE"})


def of_a_european_customer(story):
    """And the learner's sign-on names no country."""
    story.change_customer(country="DE")


def switched_off_by_operator(story):
    story.update(EnterpriseWebhookConfiguration, active=False)


def switched_off_by_sender(story):
    story.update(WebhookEndpointHealth, disabled_at=timezone.now(), disabled_reason="HTTP 410")


def takes_no_completions(story):
    story.update(EnterpriseWebhookConfiguration, sends_completions=False, sends_enrollments=True)


def takes_no_completions_here(story):
    """The endpoint of the learner's region; that for OTHER does."""
    story.change_customer(country="US")
    make_endpoint(
        story.customer, "https://us.example.com/hook", region="US", sends_completions=False, sends_enrollments=True
    )


def before_send_from(story):
    story.update(EnterpriseWebhookConfiguration, send_from=timezone.now() + timedelta(hours=1))


def not_told(story):
    """The event was lost; the grade is there."""


# ---- no webhook, for a reason that no longer holds


def consent_came_late(story):
    without_consent(story)
    story.passes()
    give_consent(story.customer, story.learner)


def linked_before_is_noted(story):
    """The link was made anew, earlier: what was noted may not be told."""
    linked_afterwards(story)
    story.passes()
    story.update(EnterpriseCustomerUser, created=timezone.now() - timedelta(days=3))


# ---- a webhook


def delivered(story):
    story.is_sent()


def delivered_and_unlinked(story):
    story.is_sent()
    unlinked(story)


def delivered_and_withdrawn(story):
    story.is_sent()
    withdrawn(story)


def delivered_and_scrubbed(story):
    story.is_sent()
    retention.scrub_learner(story.learner.pk)


def delivered_late(story):
    consent_came_late(story)
    WebhookSuppression.objects.update(noted_at=timezone.now() - timedelta(hours=1))
    story.is_sent()


def to_be_addressed(story):
    story.passes()


def to_be_retried(story):
    story.is_sent(503)


def failed(story):
    story.is_sent(400)


def parked(story):
    switched_off_by_operator_after_the_pass(story)
    delivery.deliver_due()


def switched_off_by_operator_after_the_pass(story):
    story.passes()
    switched_off_by_operator(story)


def refused_for_good(story):
    story.is_sent(410)


def nowhere_to_go(story):
    in_europe(story)
    story.is_sent()


def held_without_ids(story):
    story.update(EnterpriseWebhookConfiguration, payload_format="percipio")
    story.is_sent()


def skipped_without_ids(story):
    story.update(EnterpriseWebhookConfiguration, payload_format="percipio", missing_ids="skip")
    story.is_sent()


def accepted_no_longer(story):
    """The endpoint for OTHER took learners from the EU until its operator thought better of it."""
    in_europe(story)
    story.update(EnterpriseWebhookConfiguration, accepts_eu=True)
    story.is_sent(503)
    story.update(EnterpriseWebhookConfiguration, accepts_eu=False)


def cancelled(story):
    story.passes()
    without_consent(story)
    delivery.deliver_due()


def to_be_cancelled(story):
    story.is_sent(503)
    unlinked(story)


def left_behind(story):
    story.passes()
    story.update(WebhookTransmissionQueue, due_at=timezone.now() - timedelta(hours=1))


def looked_up_in_vain(story):
    story.passes()
    story.update(WebhookTransmissionQueue, learning_time_status="left_alone")


def waits_though_the_flag_is_off(story):
    story.passes()
    soon = timezone.now() + timedelta(minutes=1)
    story.update(
        WebhookTransmissionQueue,
        status=WebhookStatus.AWAITING_ENRICHMENT,
        due_at=soon,
        enrich_by=soon,
        learning_time_status="",
    )


#: name of the first no, its fact, its conclusion's outcome
WITHOUT_WEBHOOK = {
    customer_inactive: ("customer", "the customer is not active"),
    never_linked: ("link", "the learner is not linked to the customer"),
    unlinked: ("link", "the learner is no longer linked to the customer"),
    no_endpoint_at_all: ("endpoints", "the customer has no endpoint"),
    not_sponsored: ("sponsorship", "the customer does not sponsor this course run"),
    in_audit_mode: ("audit", "the customer does not report audit enrolments"),
    without_consent: ("consent", "no data-sharing consent"),
    not_graded: ("passed", "the LMS holds no grade of the learner for this course run"),
    not_passed: ("passed", "graded, but not passed so far"),
    withdrawn: ("passed", "but the grade is failing now"),
    linked_afterwards: ("linked_before", "passed before the learner was linked"),
    passed_long_ago: ("age", "more than 7 days ago"),
    in_europe: ("region", "the customer has no endpoint for EU, and that for OTHER does not accept its learners"),
    of_a_european_customer: ("region", "(by the customer's country)"),
    switched_off_by_operator: ("switched_on", "switched off by its operator: no webhooks are made"),
    switched_off_by_sender: ("switched_on", "was switched off by the sender at"),
    takes_no_completions: ("sponsorship", "the endpoint takes no such events"),
    takes_no_completions_here: ("send_from", "the endpoint takes no such events"),
    before_send_from: ("send_from", "this one is from before"),
    not_told: ("row", "no webhook has been made"),
}
#: how the conclusion begins
WITH_WEBHOOK = {
    delivered: "Delivered at ",
    delivered_and_unlinked: "Delivered at ",
    delivered_and_withdrawn: "Delivered at ",
    delivered_and_scrubbed: "Delivered at ",
    delivered_late: "Delivered at ",
    to_be_addressed: "On its way. It is due: the next delivery worker takes it.",
    to_be_retried: "On its way. The last attempt failed (HTTP 503); the next is due at ",
    failed: "Not sent: failed, HTTP 400.",
    parked: "Not sent: parked, endpoint switched off.",
    refused_for_good: "Not sent: parked, HTTP 410.",
    nowhere_to_go: "Not sent: no_endpoint, no endpoint for EU.",
    held_without_ids: "Not sent: awaiting_ids, the learner has no sign-on record.",
    skipped_without_ids: "Not sent: cancelled, the learner has no sign-on record.",
    cancelled: "Not sent: cancelled, no data-sharing consent.",
    accepted_no_longer: (
        "Not sent: it will be cancelled: the learner's region is EU, and the endpoint for OTHER does not take it."
    ),
    to_be_cancelled: "Not sent: it will be cancelled: the learner is no longer linked to the customer.",
    left_behind: "On its way. It is due: the next delivery worker takes it. Due since ",
    looked_up_in_vain: "On its way. ",
    waits_though_the_flag_is_off: "On its way. Learning time is switched off (flag_off): the next sweep sends it",
}
OF_THE_PAST = (consent_came_late, linked_before_is_noted)
ALL = (*WITHOUT_WEBHOOK, *WITH_WEBHOOK, *OF_THE_PAST)
