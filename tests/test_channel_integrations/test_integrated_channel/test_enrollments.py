# SPDX-License-Identifier: AGPL-3.0-or-later
"""From the real enrolment event to the webhook: who gets one, when, and that the LMS never pays for it."""

import json
import threading
from datetime import timedelta
from types import SimpleNamespace

import pytest
from common.djangoapps.student.models import CourseEnrollment
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from enterprise.models import EnterpriseCourseEnrollment, EnterpriseCustomerUser
from openedx_events.learning.signals import COURSE_ENROLLMENT_CREATED

from channel_integrations.integrated_channel.handlers import handle_enrollment_for_webhooks
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookStatus,
    WebhookSuppression,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import addressing, backfill, delivery, retention
from channel_integrations.integrated_channel.services.enrollments import FIRST_LOOK, MAY_COME_FOR
from channel_integrations.integrated_channel.services.figures import deliveries
from channel_integrations.integrated_channel.services.replay import Selection, replay
from channel_integrations.integrated_channel.services.whereabouts import whereabouts
from tests.factories import (
    COURSE,
    enrollment_event,
    give_consent,
    grade_event,
    make_customer,
    make_endpoint,
    make_learner,
    write_grade,
)

URL = "https://partner.example.com/hook"
HOUR = timedelta(hours=1)
SAVEPOINT = 2 if connection.vendor == "postgresql" else 0
NOT_SPONSORED = "the customer does not sponsor this course run"


@pytest.fixture
def endpoint(db, receiver):
    """One for enrolments, besides completions."""
    return make_endpoint(make_customer("Acme"), receiver.url_for("/hook"), sends_enrollments=True)


def rows():
    return list(WebhookTransmissionQueue.objects.order_by("pk"))


def row():
    (only,) = rows()
    return only


def look(after=FIRST_LOOK):
    """Let so much time pass, at least until the next look, and look."""
    for each in rows():
        passed = max(after, each.due_at - timezone.now()) + timedelta(seconds=1)
        WebhookTransmissionQueue.objects.filter(pk=each.pk).update(
            created=each.created - passed, due_at=each.due_at - passed
        )
    delivery.deliver_due()


def sponsor(learner):
    link = EnterpriseCustomerUser.objects.get(user_id=learner.pk)
    EnterpriseCourseEnrollment.objects.create(enterprise_customer_user=link, course_id=COURSE)


# Who gets one


def test_an_enrolment_is_sent_as_promised(endpoint, receiver):
    learner = make_learner(endpoint.enterprise_customer)
    enrolled_at = timezone.now()
    enrollment_event(learner, enrolled_at=enrolled_at, mode="verified")
    made = row()
    assert (made.event_type, made.status, made.occurred_at) == ("course_enrollment", "recorded", enrolled_at)
    assert (made.enrollment_mode, made.enrollment_is_active, made.percent_grade) == ("verified", True, None)
    assert (made.body, made.learning_time_status) == ("", "")
    look()
    (request, _answer) = receiver.log[0]
    body = json.loads(request.get_data())
    assert body == {
        "event_type": "course_enrollment",
        "event_version": "2.0",
        "event_source": "openedx_events",
        "timestamp": body["timestamp"],
        "enterprise_customer": {"uuid": str(endpoint.enterprise_customer.uuid), "name": "Acme"},
        "learner": {"user_id": learner.pk, "username": learner.username, "email": learner.email},
        "course": {"course_key": COURSE},
        "enrollment": {"mode": "verified", "is_active": True, "enrollment_date": enrolled_at.isoformat()},
    }
    assert request.headers["webhook-id"] == str(made.webhook_id)


def test_it_is_never_enriched(endpoint, receiver, snowflake):
    learner = make_learner(endpoint.enterprise_customer)
    snowflake.add(learner.pk, COURSE, str(endpoint.enterprise_customer.uuid), 60)
    enrollment_event(learner)
    assert row().status == WebhookStatus.RECORDED
    look()
    assert row().status == WebhookStatus.DELIVERED and b"learning_time" not in receiver.log[0][0].get_data()


@pytest.mark.parametrize("stored", [{}, {"sends_enrollments": None}, {"sends_enrollments": False}])
def test_by_default_no_enrolment_is_sent(db, stored):
    endpoint = make_endpoint(make_customer(), URL)
    EnterpriseWebhookConfiguration.objects.update(**stored or {"active": True})
    enrollment_event(make_learner(endpoint.enterprise_customer))
    assert rows() == []


@pytest.mark.parametrize("stored", [{}, {"sends_completions": None}])
def test_by_default_completions_are_sent(endpoint, stored):
    EnterpriseWebhookConfiguration.objects.update(**stored or {"active": True})
    grade_event(make_learner(endpoint.enterprise_customer))
    assert row().event_type == "course_completion"


def test_an_endpoint_for_enrolments_alone(endpoint, receiver, django_capture_on_commit_callbacks):
    """A completion makes no webhook, and it is noted why."""
    EnterpriseWebhookConfiguration.objects.update(sends_completions=False)
    learner = make_learner(endpoint.enterprise_customer)
    for age in (timedelta(0), HOUR):
        with django_capture_on_commit_callbacks(execute=True):
            grade_event(learner, passed_at=timezone.now() - age)
    assert rows() == [] and WebhookSuppression.objects.get().reason == "the endpoint takes no such events"
    enrollment_event(learner)
    look()
    assert row().status == WebhookStatus.DELIVERED


def test_an_endpoint_for_enrolments_asks_for_no_completions_of_its_own(endpoint):
    """That it takes all completions counts for nothing while it takes none; nor is it what a backfill is for."""
    EnterpriseWebhookConfiguration.objects.update(sends_completions=False, all_completions=True)
    make_endpoint(endpoint.enterprise_customer, URL, region="EU")
    grade_event(make_learner(endpoint.enterprise_customer, sponsored=False))
    assert rows() == []
    write_grade(make_learner(endpoint.enterprise_customer), passed_at=timezone.now() - HOUR)
    endpoint.refresh_from_db()
    assert backfill.count_missing(endpoint, timezone.now() - 2 * HOUR) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda e, learner: type(e.enterprise_customer).objects.update(active=False),
        lambda e, learner: EnterpriseCustomerUser.objects.update(linked=False),
        lambda e, learner: EnterpriseCustomerUser.objects.update(created=timezone.now() + HOUR),
        lambda e, learner: EnterpriseWebhookConfiguration.objects.update(active=False),
        lambda e, learner: EnterpriseWebhookConfiguration.objects.update(send_from=timezone.now() + HOUR),
    ],
)
def test_an_enrolment_that_nobody_may_know_of_makes_no_row(endpoint, change):
    learner = make_learner(endpoint.enterprise_customer)
    change(endpoint, learner)
    enrollment_event(learner)
    assert rows() == []


def test_what_one_endpoint_wants_and_what_another_one_has_time_for_is_not_added_up(endpoint):
    """One takes enrolments, but from later on; the other one has been there long, and takes none."""
    EnterpriseWebhookConfiguration.objects.update(send_from=timezone.now() + HOUR)
    make_endpoint(endpoint.enterprise_customer, URL, region="EU")
    enrollment_event(make_learner(endpoint.enterprise_customer))
    assert rows() == []


def test_each_customer_gets_its_own(endpoint):
    other = make_endpoint(make_customer("Other"), URL, sends_enrollments=True)
    make_endpoint(other.enterprise_customer, URL, region="EU", sends_enrollments=True)
    learner = make_learner(endpoint.enterprise_customer)
    make_learner(other.enterprise_customer, user=learner)
    enrollment_event(learner)
    assert {each.enterprise_customer_uuid for each in rows()} == {
        endpoint.enterprise_customer.uuid,
        other.enterprise_customer.uuid,
    }
    assert len(rows()) == 2


def test_one_enrolment_is_one_webhook(endpoint):
    """Who leaves and comes back has the same enrolment; one that was deleted and made anew is another."""
    learner = make_learner(endpoint.enterprise_customer)
    enrolled_at = timezone.now() - HOUR
    for mode in ("audit", "verified"):
        enrollment_event(learner, enrolled_at=enrolled_at, mode=mode)
    assert len(rows()) == 1
    enrollment_event(learner, enrolled_at=enrolled_at + timedelta(minutes=1))
    assert len(rows()) == 2


def test_an_enrolment_and_a_pass_of_the_same_moment_are_two(endpoint):
    learner, moment = make_learner(endpoint.enterprise_customer), timezone.now()
    enrollment_event(learner, enrolled_at=moment)
    grade_event(learner, passed_at=moment)
    assert {each.event_type for each in rows()} == {"course_enrollment", "course_completion"}


# Sponsorship and consent come later


@pytest.mark.parametrize("all_completions", [False, True])
def test_it_waits_for_its_sponsorship(endpoint, receiver, all_completions):
    """``all_completions`` says nothing about enrolments."""
    EnterpriseWebhookConfiguration.objects.update(all_completions=all_completions)
    learner = make_learner(endpoint.enterprise_customer, sponsored=False)
    enrollment_event(learner)
    assert whereabouts(row()).code == "its_turn_comes"
    look()
    assert (row().status, row().reason, receiver.log) == (WebhookStatus.RECORDED, NOT_SPONSORED, [])
    found = whereabouts(row())
    assert (found.code, found.detail, found.next_at) == ("may_be_owed", NOT_SPONSORED, row().due_at)
    sponsor(learner)
    look()
    assert (row().status, row().reason, len(receiver.log)) == (WebhookStatus.DELIVERED, "", 1)


def test_what_it_waited_for_is_not_told_any_longer(endpoint):
    learner = make_learner(endpoint.enterprise_customer, sponsored=False)
    enrollment_event(learner)
    look()
    sponsor(learner)
    WebhookTransmissionQueue.objects.update(due_at=timezone.now())
    addressing.address_due()
    assert (row().status, row().reason) == (WebhookStatus.PENDING, "")


def test_a_replay_of_what_is_no_longer_owed_does_not_wait(endpoint, receiver):
    enrollment_event(make_learner(endpoint.enterprise_customer))
    look()
    EnterpriseCourseEnrollment.objects.all().delete()
    replay(Selection())
    delivery.deliver_due()
    assert (row().status, row().reason, len(receiver.log)) == (WebhookStatus.CANCELLED, NOT_SPONSORED, 1)


def test_a_completion_that_is_no_longer_owed_does_not_wait(endpoint, receiver):
    grade_event(make_learner(endpoint.enterprise_customer))
    EnterpriseCourseEnrollment.objects.all().delete()
    delivery.deliver_due()
    assert (row().status, row().reason, receiver.log) == (WebhookStatus.CANCELLED, NOT_SPONSORED, [])


def test_it_waits_for_consent(endpoint, receiver):
    customer = endpoint.enterprise_customer
    type(customer).objects.update(enable_data_sharing_consent=True)
    learner = make_learner(customer)
    enrollment_event(learner)
    look()
    assert (row().status, row().reason) == (WebhookStatus.RECORDED, "no data-sharing consent")
    give_consent(customer, learner)
    look()
    assert row().status == WebhookStatus.DELIVERED


def test_it_is_looked_at_ever_more_seldom_for_an_hour(endpoint, receiver):
    enrollment_event(make_learner(endpoint.enterprise_customer, sponsored=False))
    waits = []
    while row().status == WebhookStatus.RECORDED:
        wait = row().due_at - timezone.now()
        waits.append(wait)
        look(wait)
    assert waits == sorted(waits[:-1]) + waits[-1:] and len(waits) < 15
    assert MAY_COME_FOR - timedelta(minutes=1) < sum(waits, timedelta()) < MAY_COME_FOR + timedelta(minutes=1)
    assert (row().status, row().reason, receiver.log) == (WebhookStatus.CANCELLED, NOT_SPONSORED, [])


def test_a_sponsorship_that_comes_after_that_needs_a_replay(endpoint, receiver):
    learner = make_learner(endpoint.enterprise_customer, sponsored=False)
    enrollment_event(learner)
    look(MAY_COME_FOR)
    assert row().status == WebhookStatus.CANCELLED
    sponsor(learner)
    replay(Selection())
    delivery.deliver_due()
    assert row().status == WebhookStatus.DELIVERED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda: CourseEnrollment.objects.update(mode="audit"), "the customer does not report audit enrolments"),
        (
            lambda: EnterpriseCustomerUser.objects.update(linked=False),
            "the learner is no longer linked to the customer",
        ),
        (
            lambda: EnterpriseCustomerUser.objects.update(created=timezone.now() + HOUR),
            "enrolled before the learner was linked",
        ),
        (
            lambda: EnterpriseWebhookConfiguration.objects.update(sends_enrollments=False),
            "the endpoint takes no such events",
        ),
        (
            lambda: EnterpriseWebhookConfiguration.objects.update(send_from=timezone.now() + HOUR),
            "enrolled before the endpoint's send_from",
        ),
    ],
)
def test_other_conditions_do_not_come(endpoint, receiver, change, reason):
    learner = make_learner(endpoint.enterprise_customer)
    CourseEnrollment.objects.create(user=learner, course_id=COURSE, mode="verified")
    enrollment_event(learner)
    change()
    look()
    assert (row().status, row().reason, receiver.log) == (WebhookStatus.CANCELLED, reason, [])


@pytest.mark.parametrize(
    ("regions", "reason"),
    [
        ({"sends_enrollments": False}, "the endpoint takes no such events"),
        ({"sends_enrollments": True, "send_from": timezone.now() + HOUR}, "enrolled before the endpoint's send_from"),
    ],
)
def test_the_endpoint_of_the_learners_region_decides(endpoint, receiver, regions, reason):
    """The other one takes enrolments, which is no reason to send one here."""
    customer = endpoint.enterprise_customer
    type(customer).objects.update(country="US")
    make_endpoint(customer, receiver.url_for("/hook"), region="US", **regions)
    enrollment_event(make_learner(customer))
    look()
    assert (row().status, row().reason, receiver.log) == (WebhookStatus.CANCELLED, reason, [])


def test_consent_withdrawn_while_it_waits_for_another_attempt_stops_it(endpoint, receiver):
    customer = endpoint.enterprise_customer
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("later", status=503)
    enrollment_event(make_learner(customer))
    look()
    assert row().status == WebhookStatus.PENDING
    type(customer).objects.update(enable_data_sharing_consent=True)
    look(timedelta(minutes=1))
    assert (row().status, len(receiver.log)) == (WebhookStatus.CANCELLED, 1)


def test_the_facts_of_a_retired_learner_are_scrubbed(endpoint):
    learner = make_learner(endpoint.enterprise_customer)
    enrollment_event(learner)
    retention.scrub_learner(learner.pk)
    assert (row().user_id, row().enrollment_mode, row().enrollment_is_active) == (None, None, None)


def test_the_wait_for_a_sponsorship_is_no_slow_delivery(endpoint, receiver):
    """The target is about completions."""
    learner = make_learner(endpoint.enterprise_customer)
    enrollment_event(learner)
    look()
    assert deliveries.latest(HOUR).each == []
    grade_event(learner)
    delivery.deliver_due()
    assert len(deliveries.latest(HOUR).each) == 1


# What it costs the LMS


@pytest.mark.django_db
def test_one_query_for_a_learner_whom_no_such_customer_is_linked_to(django_assert_num_queries):
    make_endpoint(make_customer(), URL, sends_enrollments=True)
    of_another = make_learner(make_endpoint(make_customer(), URL).enterprise_customer)
    for learner in (make_learner(), of_another):
        with transaction.atomic(), django_assert_num_queries(1 + SAVEPOINT):
            enrollment_event(learner)


@pytest.mark.django_db
def test_none_for_an_old_enrolment(django_assert_num_queries):
    """That of a learner who comes back after months."""
    endpoint = make_endpoint(make_customer(), URL, sends_enrollments=True)
    learner = make_learner(endpoint.enterprise_customer)
    with django_assert_num_queries(0):
        enrollment_event(learner, enrolled_at=timezone.now() - timedelta(days=8))


def test_five_queries_for_a_new_one_and_two_for_a_repeated_one(endpoint, django_assert_num_queries):
    learner, enrolled_at = make_learner(endpoint.enterprise_customer), timezone.now()
    with transaction.atomic():
        for expected in (5, 2):
            with django_assert_num_queries(expected + SAVEPOINT):
                enrollment_event(learner, enrolled_at=enrolled_at)


def test_nothing_locks_or_updates_other_tables(endpoint):
    learner = make_learner(endpoint.enterprise_customer)
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        enrollment_event(learner)
    statements = [query["sql"].split(" ")[0] for query in queries]
    assert statements.count("INSERT") == 1 and "UPDATE" not in statements
    assert not any("FOR UPDATE" in query["sql"] for query in queries)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "event",
    [
        {},
        {"enrollment": None},
        {"enrollment": SimpleNamespace()},
        *(
            {"enrollment": SimpleNamespace(**{**facts, **wrong})}
            for facts in [
                {
                    "user": SimpleNamespace(id=7),
                    "course": SimpleNamespace(course_key=COURSE),
                    "mode": "audit",
                    "is_active": True,
                    "creation_date": timezone.now(),
                }
            ]
            for wrong in (
                {"user": None},
                {"user": SimpleNamespace(id="seven")},
                {"user": SimpleNamespace(id=0)},
                {"course": None},
                {"course": SimpleNamespace(course_key="x" * 256)},
                {"mode": "m" * 101},
                {"creation_date": None},
                {"creation_date": timezone.now().replace(tzinfo=None)},
            )
        ),
    ],
)
def test_a_malformed_event_is_logged_and_raises_nothing(event, caplog, django_assert_num_queries):
    with django_assert_num_queries(0):
        handle_enrollment_for_webhooks(None, signal=COURSE_ENROLLMENT_CREATED, **event)
    assert "status=malformed_event" in caplog.text and rows() == []


def test_a_failing_insert_leaves_the_enrolment(endpoint, caplog):
    """In the transaction of the LMS, whose own statements come before and after."""
    learner = make_learner(endpoint.enterprise_customer)

    def fail(execute, sql, params, many, context):
        if sql.startswith("INSERT") and "webhooktransmissionqueue" in sql:
            sql = sql.replace("webhooktransmissionqueue", "no_such_table")
        return execute(sql, params, many, context)

    with transaction.atomic(), connection.execute_wrapper(fail):
        CourseEnrollment.objects.create(user=learner, course_id=COURSE, mode="verified")
        enrollment_event(learner)
        get_user_model().objects.filter(pk=learner.pk).update(first_name="written after")
    assert CourseEnrollment.objects.filter(user=learner).exists() and rows() == []
    learner.refresh_from_db()
    assert learner.first_name == "written after"
    assert "source=webhook_handler status=failure" in caplog.text and learner.email not in caplog.text


def test_a_rolled_back_enrolment_leaves_no_row_and_no_call(endpoint, django_capture_on_commit_callbacks):
    learner = make_learner(endpoint.enterprise_customer)
    with django_capture_on_commit_callbacks() as callbacks, transaction.atomic():
        enrollment_event(learner)
        transaction.set_rollback(True)
    assert rows() == [] and callbacks == []


def test_two_processes_enrol_at_once(committed_db, receiver):
    """The LMS sends the event twice: a double click. One row, and nobody's transaction is lost."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer")
    customer = make_endpoint(make_customer(), receiver.url_for("/hook"), sends_enrollments=True).enterprise_customer
    learner, enrolled_at = make_learner(customer), timezone.now()
    barrier, errors = threading.Barrier(4), []

    def enrol():
        try:
            with transaction.atomic():
                barrier.wait(10)
                enrollment_event(learner, enrolled_at=enrolled_at)
                CourseEnrollment.objects.create(user=learner, course_id=COURSE, mode="verified")
        except Exception as err:
            errors.append(err)
        finally:
            connection.close()

    threads = [threading.Thread(target=enrol) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert errors == [] and len(rows()) == 1 and CourseEnrollment.objects.count() == 4
