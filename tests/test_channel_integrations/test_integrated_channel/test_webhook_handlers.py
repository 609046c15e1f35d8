# SPDX-License-Identifier: AGPL-3.0-or-later
"""From the real grade event to rows: who gets one, when, and that the LMS never pays for it."""

import logging
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from enterprise.models import EnterpriseCustomerUser
from openedx_events.learning.signals import PERSISTENT_GRADE_SUMMARY_CHANGED

from channel_integrations.integrated_channel.handlers import handle_grade_change_for_webhooks
from channel_integrations.integrated_channel.models import WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.services.retention import scrub_learner
from tests.factories import COURSE, give_consent, grade_event, make_customer, make_endpoint, make_learner

pytestmark = pytest.mark.django_db
URL = "https://partner.example.com/hook"


#: around what is asked, on PostgreSQL: SAVEPOINT and RELEASE
SAVEPOINT = 2 if connection.vendor == "postgresql" else 0


def rows():
    return list(WebhookTransmissionQueue.objects.order_by("pk"))


def sponsored_learner(**changes):
    """A learner whose course is sponsored by a customer with an endpoint, all since a month ago."""
    customer = changes.pop("customer", None) or make_customer()
    if not customer.webhook_endpoints.exists():
        make_endpoint(customer, URL, send_from=timezone.now() - timedelta(days=30))
    return customer, make_learner(customer, **changes)


def test_a_pass_makes_one_row_with_ids_and_facts_only():
    customer, learner = sponsored_learner()
    passed_at = timezone.now() - timedelta(minutes=1)
    grade_event(learner, passed_at=passed_at, percent=0.92, letter="A")
    (row,) = rows()
    assert row.enterprise_customer_uuid == customer.uuid
    assert (row.user_id, row.course_id, row.occurred_at) == (learner.id, COURSE, passed_at)
    assert (row.percent_grade, row.letter_grade) == (0.92, "A")
    assert (row.body, row.endpoint_id, row.event_type) == ("", None, "course_completion")


def test_with_the_flag_off_the_row_goes_straight_to_delivery():
    _, learner = sponsored_learner()
    grade_event(learner)
    assert rows()[0].status == WebhookStatus.RECORDED


def test_with_the_flag_on_the_row_waits_for_its_learning_time(settings):
    settings.FEATURES = {**settings.FEATURES, "ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT": True}
    _, learner = sponsored_learner()
    grade_event(learner)
    (row,) = rows()
    assert row.status == WebhookStatus.AWAITING_ENRICHMENT
    assert row.enrich_by - row.created == timedelta(seconds=600)


def test_repeated_and_better_regrades_make_no_second_row():
    _, learner = sponsored_learner()
    passed_at = timezone.now() - timedelta(hours=1)
    for percent in (0.8, 0.8, 0.95):
        grade_event(learner, passed_at=passed_at, percent=percent)
    assert len(rows()) == 1


def test_a_reset_learner_who_passes_again_gets_a_second_row():
    _, learner = sponsored_learner()
    grade_event(learner, passed_at=timezone.now() - timedelta(hours=2))
    grade_event(learner, passed_at=timezone.now() - timedelta(hours=1))
    assert len(rows()) == 2


@pytest.mark.parametrize("letter", ["", None])
def test_a_failing_regrade_with_the_old_timestamp_makes_none(letter):
    _, learner = sponsored_learner()
    grade_event(learner, letter=letter)
    assert rows() == []


def test_no_pass_makes_none_and_asks_nothing(django_assert_num_queries):
    _, learner = sponsored_learner()
    with django_assert_num_queries(0):
        grade_event(learner, passed_at=None, letter="")


def test_a_pass_too_old_asks_the_database_nothing(django_assert_num_queries):
    _, learner = sponsored_learner()
    with django_assert_num_queries(0):
        grade_event(learner, passed_at=timezone.now() - timedelta(days=8))
    assert rows() == []


@pytest.mark.parametrize(("age", "first"), [(timedelta(0), 5), (timedelta(hours=1), 6)])
def test_five_queries_for_a_new_pass_and_two_for_a_repeated_one(django_assert_num_queries, age, first):
    _, learner = sponsored_learner()
    passed_at = timezone.now() - age
    with transaction.atomic():
        with django_assert_num_queries(first + SAVEPOINT):
            grade_event(learner, passed_at=passed_at)
        with django_assert_num_queries(2 + SAVEPOINT):
            grade_event(learner, passed_at=passed_at)


def test_one_query_for_a_learner_whom_nobody_sponsors(django_assert_num_queries):
    sponsored_learner()
    learner = make_learner()
    with transaction.atomic(), django_assert_num_queries(1 + SAVEPOINT):
        grade_event(learner, passed_at=timezone.now() - timedelta(hours=1))


def test_a_second_link_that_sponsors_nothing_does_not_make_regrades_write(django_assert_num_queries):
    """Its customer has no row, and never will; the other one's row is not inserted again."""
    _, learner = sponsored_learner()
    other = make_customer("Other")
    make_endpoint(other, "https://other.example.com/hook")
    make_learner(other, user=learner, sponsored=False)
    passed_at = timezone.now() - timedelta(hours=1)
    grade_event(learner, passed_at=passed_at)
    with transaction.atomic(), django_assert_num_queries(3 + SAVEPOINT):
        grade_event(learner, passed_at=passed_at)
    assert len(rows()) == 1


def test_a_retired_learners_pass_is_not_made_again(django_assert_num_queries):
    """The row has no user id any more; its key is what keeps the pass from going out twice."""
    _, learner = sponsored_learner()
    passed_at = timezone.now()
    grade_event(learner, passed_at=passed_at)
    scrub_learner(learner.pk)
    grade_event(learner, passed_at=passed_at)
    assert len(rows()) == 1


def test_two_sponsors_are_one_insert(django_assert_num_queries):
    _, learner = sponsored_learner()
    second = make_customer("Second")
    sponsored_learner(customer=second, user=learner)
    with transaction.atomic(), django_assert_num_queries(5 + SAVEPOINT):
        grade_event(learner)
    assert len(rows()) == 2


def test_one_row_for_each_customer_not_for_each_endpoint():
    customer, learner = sponsored_learner()
    for region in ("US", "EU"):
        make_endpoint(customer, URL, region=region, send_from=timezone.now() - timedelta(days=30))
    grade_event(learner)
    assert len(rows()) == 1


def test_the_link_a_learner_is_not_looking_at_counts():
    _, learner = sponsored_learner()
    EnterpriseCustomerUser.objects.filter(user_id=learner.id).update(active=False)
    grade_event(learner)
    assert len(rows()) == 1


def test_an_unlinked_learner_makes_none():
    _, learner = sponsored_learner()
    EnterpriseCustomerUser.objects.filter(user_id=learner.id).update(linked=False)
    grade_event(learner)
    assert rows() == []


def test_an_inactive_customer_makes_none():
    customer, learner = sponsored_learner()
    type(customer).objects.filter(pk=customer.pk).update(active=False)
    grade_event(learner)
    assert rows() == []


def test_a_course_that_nobody_sponsors_makes_none():
    _, learner = sponsored_learner(sponsored=False)
    grade_event(learner)
    assert rows() == []


def test_an_endpoint_may_ask_for_every_completion():
    customer, learner = sponsored_learner(sponsored=False)
    customer.webhook_endpoints.update(all_completions=True)
    grade_event(learner)
    assert len(rows()) == 1


def test_an_endpoint_that_is_switched_off_makes_none():
    customer, learner = sponsored_learner()
    customer.webhook_endpoints.update(active=False)
    grade_event(learner)
    assert rows() == []


def test_a_pass_from_before_send_from_makes_none():
    customer, learner = sponsored_learner()
    customer.webhook_endpoints.update(send_from=timezone.now())
    grade_event(learner, passed_at=timezone.now() - timedelta(hours=1))
    assert rows() == []


def test_a_pass_from_before_the_link_makes_none():
    _, learner = sponsored_learner()
    EnterpriseCustomerUser.objects.filter(user_id=learner.id).update(created=timezone.now())
    grade_event(learner, passed_at=timezone.now() - timedelta(hours=1))
    assert rows() == []


@pytest.mark.parametrize(("granted", "webhooks"), [(None, 0), (False, 0), (True, 1)])
def test_consent_where_the_customer_requires_it(granted, webhooks):
    customer, learner = sponsored_learner(customer=make_customer(enable_data_sharing_consent=True))
    if granted is not None:
        give_consent(customer, learner, granted=granted)
    grade_event(learner)
    assert len(rows()) == webhooks


def test_externally_managed_consent_needs_no_record():
    customer = make_customer(enable_data_sharing_consent=True, enforce_data_sharing_consent="externally_managed")
    _, learner = sponsored_learner(customer=customer)
    grade_event(learner)
    assert len(rows()) == 1


@pytest.mark.parametrize(
    "grade",
    [
        None,
        SimpleNamespace(),
        SimpleNamespace(course=SimpleNamespace(course_key="course-v1:a+b+c"), letter_grade="A", passed_timestamp="x"),
        SimpleNamespace(course=SimpleNamespace(course_key=None), letter_grade="A", passed_timestamp=timezone.now()),
    ],
)
def test_malformed_events_are_one_log_line_and_no_exception(grade, caplog):
    with caplog.at_level(logging.INFO, "channel_integrations"):
        handle_grade_change_for_webhooks(sender=None, signal=PERSISTENT_GRADE_SUMMARY_CHANGED, grade=grade)
    (line,) = [record for record in caplog.records if record.name.startswith("channel_integrations")]
    assert "malformed_event" in line.getMessage()
    assert rows() == []


def test_a_course_key_with_quotes_and_unicode():
    course = "course-v1:Ö'r\"g+Ünï;--+2026"
    _, learner = sponsored_learner(course=course)
    grade = SimpleNamespace(
        user_id=learner.id,
        course=SimpleNamespace(course_key=course),
        percent_grade=1.0,
        letter_grade="A",
        passed_timestamp=timezone.now(),
    )
    handle_grade_change_for_webhooks(sender=None, signal=PERSISTENT_GRADE_SUMMARY_CHANGED, grade=grade)
    assert [row.course_id for row in rows()] == [course]


def test_a_failure_in_the_insert_leaves_the_callers_transaction_usable(caplog):
    """A letter grade longer than its column makes the INSERT fail in the database."""
    _, learner = sponsored_learner()
    if connection.vendor == "sqlite":
        pytest.skip("SQLite does not enforce the length of a column")
    with transaction.atomic():
        get_user_model().objects.filter(pk=learner.pk).update(first_name="written before")
        grade_event(learner, letter="A" * 300)
        assert not connection.needs_rollback
    learner.refresh_from_db()
    assert learner.first_name == "written before"
    assert rows() == []
    assert "source=webhook_handler status=failure" in caplog.text


def test_no_personal_data_in_the_log(caplog):
    with caplog.at_level(logging.DEBUG):
        _, learner = sponsored_learner()
        grade_event(learner)
    ours = "".join(record.getMessage() for record in caplog.records if record.name.startswith("channel_integrations"))
    assert "webhook_handler" in ours
    assert learner.email not in ours and learner.username not in ours


def test_latency_is_logged_for_monitoring(caplog):
    with caplog.at_level(logging.INFO, "channel_integrations"):
        _, learner = sponsored_learner()
        grade_event(learner)
    (line,) = [record for record in caplog.records if "webhook_handler" in record.getMessage()]
    assert line.latency_ms >= 0 and "latency_ms=" in line.getMessage()


def test_nothing_locks_or_updates_other_tables():
    _, learner = sponsored_learner()
    with (
        CaptureQueriesContext(
            connection,
        ) as queries,
        transaction.atomic(),
    ):
        grade_event(learner)
    statements = [query["sql"].split(" ")[0] for query in queries]
    assert statements.count("INSERT") == 1 and "UPDATE" not in statements
    assert not any("FOR UPDATE" in query["sql"] for query in queries)
