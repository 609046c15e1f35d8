# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is removed, and what stays so that nothing goes out twice."""

import threading
import time
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone
from openedx.core.djangoapps.user_api.accounts.signals import USER_RETIRE_LMS_CRITICAL, USER_RETIRE_LMS_MISC
from werkzeug import Response

from channel_integrations.integrated_channel.models import (
    WebhookDeliveryAttempt,
    WebhookLease,
    WebhookLookupStatement,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import delivery, retention, sweep
from tests.factories import grade_event, make_learner, write_grade

pytestmark = pytest.mark.django_db
PASSED_AT = timezone.now() - timedelta(hours=1)


@pytest.fixture
def learner(endpoint):
    """Maria, who has completed a course."""
    learner = make_learner(endpoint.enterprise_customer, username="maria", email="maria@example.com")
    grade_event(learner, passed_at=PASSED_AT)
    return learner


def age(days):
    WebhookTransmissionQueue.objects.update(created=timezone.now() - timedelta(days=days))


def traces_of(learner):
    """Every value of our tables in which the learner can be found."""
    found = []
    for table in (WebhookTransmissionQueue, WebhookDeliveryAttempt):
        for row in table.objects.values():
            found += [name for name, value in row.items() if "maria" in str(value) or (name == "user_id" and value)]
    return found


def test_a_purge_leaves_what_keeps_a_completion_from_going_out_twice(learner, receiver):
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("thank you, maria")
    delivery.deliver_due()
    assert {"body", "user_id", "response_start"} <= set(traces_of(learner))
    age(91)
    call_command("purge_webhooks", stdout=StringIO())
    assert traces_of(learner) == []
    webhook = WebhookTransmissionQueue.objects.get()
    assert (webhook.status, webhook.body, webhook.percent_grade) == (WebhookStatus.DELIVERED, "", None)
    assert webhook.purged_at and webhook.delivered_at and not WebhookDeliveryAttempt.objects.exists()
    grade_event(learner, passed_at=PASSED_AT)
    write_grade(learner, passed_at=PASSED_AT)
    sweep.tidy()
    delivery.deliver_due()
    assert len(receiver.log) == 1


@pytest.mark.parametrize(("days", "purged"), [(89, 0), (91, 1)])
def test_by_default_the_setting_decides(learner, days, purged):
    delivery.deliver_due()
    age(days)
    out = StringIO()
    call_command("purge_webhooks", "--dry-run", stdout=out)
    assert f"{purged} webhooks older than 90 days would be purged" in out.getvalue()
    call_command("purge_webhooks", stdout=out)
    assert f"{purged} webhooks older than 90 days purged" in out.getvalue()


def test_what_is_owed_is_never_purged(learner):
    age(1000)
    assert retention.purge(timedelta(days=1)) == 0
    delivery.deliver_due()
    assert WebhookTransmissionQueue.objects.get().status == WebhookStatus.DELIVERED


def test_what_is_parked_past_its_retention_is_given_up(endpoint, learner):
    endpoint.active = False
    endpoint.save()
    delivery.deliver_due()
    age(91)
    assert retention.purge(timedelta(days=90)) == 1
    webhook = WebhookTransmissionQueue.objects.get()
    assert (webhook.status, webhook.reason) == (WebhookStatus.CANCELLED, "past its retention")


def test_the_sweep_purges_once_an_hour(learner):
    delivery.deliver_due()
    sweep.tidy()
    age(91)
    sweep.tidy()
    assert WebhookTransmissionQueue.objects.get().purged_at is None
    WebhookLease.objects.filter(pk=sweep.RETENTION).update(expires_at=timezone.now())
    sweep.tidy()
    assert WebhookTransmissionQueue.objects.get().purged_at


def test_more_than_a_batch(endpoint):
    WebhookTransmissionQueue.objects.bulk_create(
        WebhookTransmissionQueue(
            deduplication_key=str(number),
            event_type="course_completion",
            enterprise_customer_uuid=endpoint.enterprise_customer_id,
            user_id=1,
            course_id="c",
            occurred_at=PASSED_AT,
            status=WebhookStatus.FAILED,
        )
        for number in range(2 * retention.BATCH + 1)
    )
    age(2)
    assert retention.purge(timedelta(days=1), at_most=retention.BATCH) == retention.BATCH
    assert retention.purge(timedelta(days=1)) == retention.BATCH + 1


@pytest.mark.parametrize("signal", [USER_RETIRE_LMS_MISC, USER_RETIRE_LMS_CRITICAL])
def test_a_retired_learner_is_scrubbed(learner, receiver, signal):
    delivery.deliver_due()
    signal.send(sender=type(learner), user=learner, retired_username="retired", retired_email="retired@example.com")
    signal.send(sender=type(learner), user=learner, retired_username="retired", retired_email="retired@example.com")
    assert traces_of(learner) == []


def test_what_was_on_its_way_about_a_retired_learner_is_not_sent(learner, receiver):
    USER_RETIRE_LMS_CRITICAL.send(
        sender=type(learner), user=learner, retired_username="retired", retired_email="retired@example.com"
    )
    delivery.deliver_due()
    webhook = WebhookTransmissionQueue.objects.get()
    assert (webhook.status, webhook.reason) == (WebhookStatus.CANCELLED, "learner retired")
    assert receiver.log == []


def test_an_answer_that_comes_after_the_retirement_leaves_no_trace(endpoint, learner, receiver):
    """The learner is retired while the POST is under way."""
    let_go = threading.Event()

    def answer(request):
        let_go.wait(10)
        return Response("thank you, maria")

    class RetiredMeanwhile(delivery.Unlimited):
        """Held for one turn of the round, in which the webhook is sent."""

        def __init__(self):
            self.turns = 0

        def keep(self):
            self.turns += 1
            return self.turns == 1

        def give_back(self):
            retention.scrub_learner(learner.pk)
            let_go.set()

    receiver.clear()
    receiver.expect_request("/hook").respond_with_handler(answer)
    under_way = delivery.Round()
    under_way.claim_until(time.monotonic() + 10, RetiredMeanwhile())
    under_way.wait_for_stragglers()
    assert (under_way.attempts, WebhookDeliveryAttempt.objects.get().status_code) == (1, 200)
    assert WebhookTransmissionQueue.objects.get().status == WebhookStatus.CANCELLED
    assert traces_of(learner) == []


def test_others_are_left_alone(endpoint, learner):
    other = make_learner(endpoint.enterprise_customer)
    grade_event(other)
    USER_RETIRE_LMS_MISC.send(
        sender=type(learner), user=learner, retired_username="retired", retired_email="retired@example.com"
    )
    assert list(WebhookTransmissionQueue.objects.exclude(user_id=None).values_list("user_id", flat=True)) == [other.pk]


def test_a_purge_within_a_task_ends_in_time(endpoint, learner):
    WebhookTransmissionQueue.objects.update(created=timezone.now() - timedelta(days=100))
    delivery.deliver_due()
    assert retention.purge(timedelta(days=90), deadline=time.monotonic() - 1) == 0
    assert retention.purge(timedelta(days=90), deadline=time.monotonic() + 60) == 1


def test_statements_are_forgotten_too():
    for days in (1, 100):
        began_at = timezone.now() - timedelta(days=days)
        WebhookLookupStatement.objects.create(began_at=began_at, duration_ms=5, asked=1, found=1, status="ok")
    sweep.tidy()
    assert WebhookLookupStatement.objects.get().began_at > timezone.now() - timedelta(days=2)
