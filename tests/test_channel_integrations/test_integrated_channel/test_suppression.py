# SPDX-License-Identifier: AGPL-3.0-or-later
"""Why a pass made no webhook is noted after the grade is committed, and never at its cost."""

import threading
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from enterprise.models import EnterpriseCourseEnrollment, EnterpriseCustomerUser

from channel_integrations.integrated_channel.models import (
    WebhookLease,
    WebhookSuppression,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import backfill, reconciliation, retention, sweep
from channel_integrations.integrated_channel.services.suppression import NOTED_AGAIN_AFTER
from tests.factories import COURSE, give_consent, grade_event, make_customer, make_endpoint, make_learner, write_grade
from tests.lms_host.grades.models import PersistentCourseGrade

URL = "https://partner.example.com/hook"
NO_CONSENT = "no data-sharing consent"
AN_HOUR = timedelta(hours=1)


def notes():
    return list(WebhookSuppression.objects.order_by("pk").values_list("user_id", "course_id", "reason"))


@pytest.fixture
def linked(db):
    """A customer that requires consent, its endpoint, and a learner who has not consented."""
    return customer_and_learner()


def customer_and_learner():
    customer = make_customer(enable_data_sharing_consent=True)
    make_endpoint(customer, URL)
    return customer, make_learner(customer)


@pytest.fixture
def grade(django_capture_on_commit_callbacks):
    """``grade(learner, ...)``: the event in a transaction, and what follows the commit."""

    def send(learner, **event):
        with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
            grade_event(learner, **event)

    return send


def consent(customer, learner):
    give_consent(customer, learner)


# What is noted


@pytest.mark.parametrize("age", [timedelta(0), AN_HOUR])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda customer: None, NO_CONSENT),
        (lambda c: c.webhook_endpoints.update(active=False), "endpoint switched off by its operator"),
        (
            lambda c: (free_of_consent(c), EnterpriseCourseEnrollment.objects.all().delete()),
            "the customer does not sponsor this course run",
        ),
        (
            lambda c: (free_of_consent(c), c.webhook_endpoints.update(send_from=timezone.now() + AN_HOUR)),
            "passed before the endpoint's send_from",
        ),
        (
            lambda c: (free_of_consent(c), EnterpriseCustomerUser.objects.update(created=timezone.now() + AN_HOUR)),
            "passed before the learner was linked",
        ),
    ],
)
def test_the_reason_is_noted_of_a_new_pass_and_of_a_regrade(linked, grade, age, change, reason):
    customer, learner = linked
    change(customer)
    passed_at = timezone.now() - age
    grade(learner, passed_at=passed_at)
    (note,) = WebhookSuppression.objects.all()
    assert (note.enterprise_customer_uuid, note.user_id, note.course_id) == (customer.uuid, learner.pk, COURSE)
    assert (note.reason, note.passed_at) == (reason, passed_at)
    assert not WebhookTransmissionQueue.objects.exists()


def free_of_consent(customer):
    type(customer).objects.filter(pk=customer.pk).update(enable_data_sharing_consent=False)


def test_the_last_reason_and_the_last_pass_are_kept(linked, grade):
    customer, learner = linked
    grade(learner, passed_at=timezone.now() - AN_HOUR)
    customer.webhook_endpoints.update(active=False)
    again = timezone.now()
    grade(learner, passed_at=again)
    (note,) = WebhookSuppression.objects.all()
    assert (note.reason, note.passed_at) == ("endpoint switched off by its operator", again)


def test_each_customer_for_itself(linked, grade):
    """One gets its webhook, of the other two it is noted why they get none."""
    _customer, learner = linked
    for fields in ({}, {"active": False}):
        other = make_customer()
        make_endpoint(other, URL, **fields)
        make_learner(other, user=learner)
    grade(learner)
    assert WebhookTransmissionQueue.objects.count() == 1
    assert {reason for _user, _course, reason in notes()} == {NO_CONSENT, "endpoint switched off by its operator"}


def test_an_endpoint_that_is_off_beside_one_that_is_on_decides_nothing(linked, grade):
    customer, learner = linked
    make_endpoint(customer, URL, region="EU", active=False, all_completions=True, learning_time="always")
    consent(customer, learner)
    EnterpriseCourseEnrollment.objects.all().delete()
    grade(learner)
    assert [reason for _user, _course, reason in notes()] == ["the customer does not sponsor this course run"]


def test_nobody_is_noted_who_is_linked_to_nobody_with_an_endpoint(linked, grade):
    _customer, learner = linked
    without_endpoint = make_learner(make_customer())
    nobodys = make_learner()
    inactive = make_customer()
    make_endpoint(inactive, URL)
    of_inactive = make_learner(inactive)
    type(inactive).objects.filter(pk=inactive.pk).update(active=False)
    EnterpriseCustomerUser.objects.filter(user_id=learner.pk).update(linked=False)
    for someone in (learner, without_endpoint, nobodys, of_inactive):
        for age in (timedelta(0), AN_HOUR):
            grade(someone, passed_at=timezone.now() - age)
    assert notes() == []


def test_who_has_not_passed_is_not_noted(linked, grade):
    grade(linked[1], passed_at=None, letter="")
    grade(linked[1], letter="")
    assert notes() == []


def test_what_has_its_webhook_is_not_noted(linked, grade):
    customer, learner = linked
    consent(customer, learner)
    passed_at = timezone.now() - AN_HOUR
    grade(learner, passed_at=passed_at)
    customer.webhook_endpoints.update(active=False)
    grade(learner, passed_at=passed_at)
    assert notes() == [] and WebhookTransmissionQueue.objects.count() == 1


def test_a_webhook_that_is_made_later_leaves_the_note(linked, grade):
    customer, learner = linked
    passed_at = timezone.now() - AN_HOUR
    grade(learner, passed_at=passed_at)
    before = WebhookSuppression.objects.get()
    consent(customer, learner)
    grade(learner, passed_at=passed_at)
    assert WebhookTransmissionQueue.objects.exists() and WebhookSuppression.objects.get().noted_at == before.noted_at


# What it costs


def test_a_regrade_of_what_is_noted_writes_nothing(
    linked, django_assert_num_queries, django_capture_on_commit_callbacks
):
    _customer, learner = linked
    passed_at = timezone.now() - AN_HOUR
    for noting in (4, 1):  # SELECT, SAVEPOINT, INSERT, RELEASE; then the SELECT alone
        with django_capture_on_commit_callbacks() as callbacks, transaction.atomic():
            grade_event(learner, passed_at=passed_at)
        (note,) = [each for each in callbacks if "suppression" in each.__module__]
        with django_assert_num_queries(noting) as asked:
            note()
    assert asked[0]["sql"].startswith("SELECT")


def test_a_note_is_renewed_once_a_day(linked, grade):
    _customer, learner = linked
    passed_at = timezone.now() - AN_HOUR
    grade(learner, passed_at=passed_at)
    for age, renewed in ((NOTED_AGAIN_AFTER - AN_HOUR, False), (NOTED_AGAIN_AFTER + AN_HOUR, True)):
        WebhookSuppression.objects.update(noted_at=timezone.now() - age)
        before = WebhookSuppression.objects.get().noted_at
        grade(learner, passed_at=passed_at)
        assert (WebhookSuppression.objects.get().noted_at > before) is renewed


def test_a_bulk_regrade_of_old_passes_asks_and_notes_nothing(linked, grade):
    """What was noted when the pass was new stays: that is why there is no webhook."""
    _customer, learner = linked
    grade(learner, passed_at=timezone.now() - AN_HOUR)
    assert asked_by(lambda: grade_event(learner, passed_at=timezone.now() - timedelta(days=8))) == []
    assert notes() == [(learner.pk, COURSE, NO_CONSENT)]


def asked_by(work):
    """The statements but for savepoints, of which PostgreSQL gets one more."""
    with CaptureQueriesContext(connection) as queries:
        work()
    return [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]


def test_within_the_grades_transaction_nothing_is_asked_or_written(linked):
    """Three queries as ever: recipients, and the two about consent. A rollback leaves no note behind."""
    _customer, learner = linked
    with transaction.atomic():
        asked = asked_by(lambda: grade_event(learner))
        assert len(asked) == 3 and not any("webhooksuppression" in sql for sql in asked)
        transaction.set_rollback(True)
    assert notes() == []


def test_the_sweep_and_backfills_note_nothing(linked):
    customer, learner = linked
    write_grade(learner, passed_at=timezone.now() - AN_HOUR)
    assert reconciliation.record_missing_passes() == []
    assert backfill.backfill(customer.webhook_endpoints.get(), timezone.now() - timedelta(days=9)) == 0
    assert notes() == []


# When it is forgotten


def note_of(user_id, days=0, course=COURSE):
    return WebhookSuppression(
        enterprise_customer_uuid="3f2a8c1e-9b7d-4e60-8a15-c4d2e6f70b91",
        user_id=user_id,
        course_id=course,
        passed_at=timezone.now(),
        reason=NO_CONSENT,
        noted_at=timezone.now() - timedelta(days=days),
    )


@pytest.mark.django_db
def test_the_sweep_forgets_it_with_the_webhooks(settings):
    WebhookSuppression.objects.bulk_create([note_of(1, days=89), note_of(2, days=91)])
    sweep.tidy()
    assert [user for user, _course, _reason in notes()] == [1]
    settings.CHANNEL_WEBHOOKS_RETENTION_DAYS = 30
    WebhookLease.objects.all().delete()
    sweep.tidy()
    assert notes() == []


@pytest.mark.django_db
def test_it_is_forgotten_batch_by_batch_and_in_time(django_assert_num_queries):
    WebhookSuppression.objects.bulk_create(note_of(number, days=2) for number in range(1, retention.BATCH + 2))
    assert retention.forget_suppressions(timedelta(days=1), deadline=0) == 0
    with django_assert_num_queries(5):  # two batches, and a look that finds nothing
        assert retention.forget_suppressions(timedelta(days=1)) == retention.BATCH + 1


def test_a_retired_learner_is_forgotten_and_nobody_else(linked, grade):
    customer, learner = linked
    other = make_learner(customer)
    grade(learner)
    grade(other)
    retention.scrub_learner(learner.pk)
    assert [user for user, _course, _reason in notes()] == [other.pk]


# What may go wrong


def in_another_connection(work):
    """A thread of its own, hence a connection of its own; its error is ours."""
    errors = []

    def run():
        try:
            work()
        except Exception as err:
            errors.append(err)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


def test_it_is_there_once_the_grade_is_committed(committed_db):
    """In autocommit, as in the LMS's grade tasks, and in a transaction."""
    _customer, learner = customer_and_learner()
    grade_event(learner)
    assert notes() == [(learner.pk, COURSE, NO_CONSENT)]
    WebhookSuppression.objects.all().delete()
    with transaction.atomic():
        grade_event(learner)
        assert notes() == []
    assert notes() == [(learner.pk, COURSE, NO_CONSENT)]


def test_two_processes_note_the_same_at_once(committed_db, caplog):
    """The other one's note comes between our look and our INSERT."""
    _customer, learner = customer_and_learner()
    passed_at = timezone.now()

    def other_first(execute, sql, params, many, context):
        if sql.startswith("INSERT") and "webhooksuppression" in sql and not raced:
            raced.append(sql)
            in_another_connection(lambda: grade_event(learner, passed_at=passed_at))
        return execute(sql, params, many, context)

    raced: list[str] = []
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer: the other one would wait for this one's transaction")
    with connection.execute_wrapper(other_first), transaction.atomic():
        write_grade(learner, passed_at=passed_at)
        grade_event(learner, passed_at=passed_at)
    assert raced and notes() == [(learner.pk, COURSE, NO_CONSENT)]
    assert PersistentCourseGrade.objects.filter(user_id=learner.pk).exists()
    assert "failure" not in caplog.text


@pytest.mark.mariadb
def test_a_lock_costs_the_note_and_not_the_grade(committed_db, caplog):
    """Somebody holds the row of the note: MariaDB gives up on us, once the grade is committed."""
    _customer, learner = customer_and_learner()
    passed_at = timezone.now() - AN_HOUR
    grade_event(learner, passed_at=passed_at)
    WebhookSuppression.objects.update(noted_at=timezone.now() - 2 * NOTED_AGAIN_AFTER)
    before = WebhookSuppression.objects.get().noted_at
    holds, let_go = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            WebhookSuppression.objects.select_for_update().get()
            holds.set()
            let_go.wait(20)

    holder = threading.Thread(target=lambda: (hold(), connections.close_all()))
    holder.start()
    assert holds.wait(10)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION innodb_lock_wait_timeout = 1")
        with transaction.atomic():
            get_user_model().objects.filter(pk=learner.pk).update(first_name="written with the grade")
            grade_event(learner, passed_at=passed_at)
    finally:
        let_go.set()
        holder.join(20)
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION innodb_lock_wait_timeout = DEFAULT")
    assert get_user_model().objects.get(pk=learner.pk).first_name == "written with the grade"
    assert WebhookSuppression.objects.get().noted_at == before
    (line,) = [record for record in caplog.records if "webhook_suppression" in record.getMessage()]
    assert "OperationalError(1205)" in line.error
