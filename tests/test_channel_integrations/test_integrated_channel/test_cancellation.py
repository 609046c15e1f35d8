# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cancellations: what has not come to its end is given up; what a worker holds goes on."""

import json
import uuid
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from channel_integrations.integrated_channel.models import FINISHED, WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.models.webhook_queryset import PAGE
from channel_integrations.integrated_channel.services.cancellation import CANCELLABLE, Cancelled, cancel
from channel_integrations.integrated_channel.services.replay import Selection
from tests.factories import make_customer, make_endpoint

pytestmark = pytest.mark.django_db

TABLE = WebhookTransmissionQueue._meta.db_table


def make_webhooks(count=1, **fields):
    fields = {
        "event_type": "course_completion",
        "enterprise_customer_uuid": uuid.uuid4(),
        "course_id": "course-v1:edX+Demo+2026",
        "occurred_at": timezone.now(),
        "status": WebhookStatus.PENDING,
        **fields,
    }
    rows = [WebhookTransmissionQueue(deduplication_key=uuid.uuid4().hex, **fields) for _ in range(count)]
    return WebhookTransmissionQueue.objects.bulk_create(rows)


def everything():
    return Selection(statuses=CANCELLABLE)


def statuses():
    return sorted(WebhookTransmissionQueue.objects.values_list("status", flat=True))


def run(*arguments):
    out = StringIO()
    call_command("cancel_webhooks", *arguments, stdout=out)
    return " ".join(out.getvalue().split())


def test_what_is_unfinished_parked_or_without_endpoint_is_cancelled_and_nothing_else():
    for status in WebhookStatus:
        make_webhooks(status=status)
    assert cancel(everything()) == Cancelled(len(CANCELLABLE), 0)
    assert statuses() == sorted(["cancelled"] * (len(CANCELLABLE) + 1) + ["delivered", "failed"])
    assert len(CANCELLABLE) + len(FINISHED) == len(WebhookStatus)
    assert cancel(everything()) == Cancelled(0, 0)


def test_what_a_worker_holds_goes_on_and_what_a_dead_one_held_does_not():
    now, token = timezone.now(), uuid.uuid4()
    make_webhooks(lease_token=token, due_at=now + timedelta(minutes=1))
    make_webhooks(lease_token=token, due_at=now - timedelta(minutes=1))
    assert cancel(everything()) == Cancelled(1, 1)
    held, cancelled = WebhookTransmissionQueue.objects.order_by("-due_at")
    assert (held.status, held.lease_token) == (WebhookStatus.PENDING, token)
    assert (cancelled.status, cancelled.lease_token) == (WebhookStatus.CANCELLED, None)
    assert cancelled.finished_at and cancelled.reason == "cancelled by an operator"


def test_more_than_a_page_and_each_is_noted_once():
    make_webhooks(PAGE + 10)
    make_webhooks(5, status=WebhookStatus.PARKED)
    noted = []
    assert cancel(everything(), noted.extend).cancelled == PAGE + 15
    assert sorted(noted) == sorted(WebhookTransmissionQueue.objects.values_list("pk", flat=True))


def while_it_cancels(happens):
    """Have this happen before the first row is written, as another process would."""
    done = []

    def note(execute, sql, params, many, context):
        if sql.startswith("UPDATE") and TABLE in sql and not done:
            done.append(True)
            happens()
        return execute(sql, params, many, context)

    return connection.execute_wrapper(note)


def test_what_moves_on_meanwhile_is_cancelled_where_it_has_come_to():
    webhook, other = make_webhooks(2, status=WebhookStatus.RECORDED)
    rows = WebhookTransmissionQueue.objects.filter(pk=webhook.pk)
    noted = []
    with while_it_cancels(lambda: rows.update(status=WebhookStatus.PENDING)):
        assert cancel(everything(), noted.extend) == Cancelled(2, 0)
    assert statuses() == ["cancelled", "cancelled"] and sorted(noted) == [webhook.pk, other.pk]


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({"status": WebhookStatus.DELIVERED}, 0),
        ({"lease_token": uuid.UUID(int=1), "due_at": timezone.now() + timedelta(days=1)}, 1),
    ],
)
def test_what_is_delivered_or_taken_up_meanwhile_stays_so(fields, left):
    webhook, _other = make_webhooks(2)
    rows = WebhookTransmissionQueue.objects.filter(pk=webhook.pk)
    noted = []
    with while_it_cancels(lambda: rows.update(**fields)):
        assert cancel(everything(), noted.extend) == Cancelled(1, left)
    assert noted == [_other.pk]
    assert rows.get().status == fields.get("status", WebhookStatus.PENDING)


# The command


def test_the_command_selects_and_says_what_it_did(receiver):
    endpoint = make_endpoint(make_customer(), receiver.url_for("/hook"))
    make_webhooks(2, endpoint_id=endpoint.pk)
    make_webhooks(1, endpoint_id=endpoint.pk, status=WebhookStatus.PARKED)
    make_webhooks(1, status=WebhookStatus.NO_ENDPOINT)
    make_webhooks(1, endpoint_id=endpoint.pk, lease_token=uuid.uuid4(), due_at=timezone.now() + timedelta(minutes=2))
    chosen = ("--endpoint", str(endpoint.pk))
    assert run(*chosen, "--dry-run") == (
        f"1 parked, endpoint {endpoint.pk} 3 pending, endpoint {endpoint.pk} "
        "4 webhooks would be cancelled. Nothing was done."
    )
    assert "cancelled" not in statuses()
    assert run(*chosen, "--status", "parked").endswith("1 webhooks were cancelled.")
    assert json.loads(run(*chosen, "--json")) == {
        "selected": [{"status": "pending", "endpoint": endpoint.pk, "count": 3}],
        "left_alone": [],
        "dry_run": False,
        "cancelled": 2,
        "being_worked_at": 1,
    }
    assert "0 webhooks were cancelled. 1 were being worked at and go on: run it again" in run(*chosen)
    single = WebhookTransmissionQueue.objects.get(status=WebhookStatus.NO_ENDPOINT)
    assert json.loads(run(str(single.webhook_id), "--json", "--dry-run")) == {
        "selected": [{"status": "no_endpoint", "endpoint": None, "count": 1}],
        "left_alone": [],
        "dry_run": True,
    }
    run(str(single.webhook_id))
    assert statuses() == ["cancelled"] * 4 + ["pending"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "All at once is no choice"),
        (["--endpoint", "999"], "There is no endpoint 999"),
        (["--status", "delivered"], "invalid choice"),
    ],
)
def test_a_cancellation_that_makes_no_sense_says_what_to_type(arguments, said):
    make_webhooks()
    with pytest.raises(CommandError, match=said):
        run(*arguments)
    assert statuses() == ["pending"]


def test_a_replay_prints_json_too():
    make_webhooks(2, status=WebhookStatus.FAILED)
    out = StringIO()
    call_command("replay_webhooks", "--status", "failed", "--json", stdout=out)
    assert json.loads(out.getvalue()) == {
        "selected": [{"status": "failed", "endpoint": None, "count": 2}],
        "left_alone": [],
        "dry_run": False,
        "replayed": 2,
        "per_minute": 60,
    }
    assert statuses() == ["recorded", "recorded"]
