# SPDX-License-Identifier: AGPL-3.0-or-later
"""Replays and cancellations: asked about first, then done."""

import html
import re
import uuid
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from channel_integrations.integrated_channel.admin import webhook_views
from channel_integrations.integrated_channel.models import (
    FINISHED,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import cancellation, delivery, retention
from tests.factories import grade_event, make_learner
from tests.test_channel_integrations.test_integrated_channel.test_admin.pages import (
    WEBHOOK,
    deliveries_asked_for,
    make_webhook,
    text_of,
    url,
)

pytestmark = pytest.mark.django_db


def select(client, webhooks, query="", **fields):
    """Choose the action for these rows of the list."""
    selected = {"_selected_action": [row.pk for row in webhooks]}
    form = {"action": "replay_selected", "index": "0", **selected, **fields}
    return client.post(url(WEBHOOK, "changelist") + query, form)


def lease():
    """Held by a worker."""
    return {"lease_token": uuid.uuid4(), "due_at": timezone.now() + timedelta(minutes=3)}


def confirm(client, question):
    """Press the button of the dry run's page."""
    page = question.content.decode()
    action = html.unescape(re.search(r'<form action="([^"]*(?:replay|cancel)/[^"]*)"', page)[1])
    hidden = dict(re.findall(r'<input type="hidden" name="(webhooks|one)" value="([^"]+)"', page))
    return client.post(action, hidden, follow=True)


def test_a_selection_is_replayed(operator, delivered, receiver, django_capture_on_commit_callbacks):
    chosen = delivered[:2]
    question = select(operator, chosen, "?status__exact=delivered")
    assert "2 webhooks would be sent again" in text_of(question) and "2 × delivered" in text_of(question)
    assert not WebhookTransmissionQueue.objects.exclude(status=WebhookStatus.DELIVERED).exists()
    assert not LogEntry.objects.exists()
    with django_capture_on_commit_callbacks(execute=True):
        response = confirm(operator, question)
    assert "2 webhooks are being replayed, 60 a minute." in text_of(response)
    assert response.request["QUERY_STRING"] == "status__exact=delivered"
    assert deliveries_asked_for() == 1
    WebhookTransmissionQueue.objects.filter(status=WebhookStatus.RECORDED).update(due_at=timezone.now())
    delivery.deliver_due()
    ids = [request.headers["webhook-id"] for request, _ in receiver.log]
    assert len(ids) == 5 and sorted(ids[3:]) == sorted(str(webhook.webhook_id) for webhook in chosen)
    first = {request.headers["webhook-id"]: request.get_data() for request, _ in receiver.log[:3]}
    assert all(request.get_data() == first[request.headers["webhook-id"]] for request, _ in receiver.log[3:])
    entries = LogEntry.objects.order_by("pk")
    assert [(entry.object_id, entry.object_repr, entry.get_change_message()) for entry in entries] == [
        (str(webhook.pk), str(webhook.webhook_id), "Replayed.") for webhook in chosen
    ]
    assert "Replayed." in text_of(operator.get(url(WEBHOOK, "history", chosen[0].pk)))


def test_the_dry_run_says_what_is_left_alone_and_why(operator, endpoint):
    webhooks = [
        make_webhook(endpoint, status=status)
        for status in (
            *(WebhookStatus.DELIVERED, WebhookStatus.FAILED, WebhookStatus.FAILED, WebhookStatus.CANCELLED),
            *(WebhookStatus.NO_ENDPOINT, WebhookStatus.PARKED, WebhookStatus.PENDING, WebhookStatus.RECORDED),
            *(WebhookStatus.AWAITING_ENRICHMENT, WebhookStatus.AWAITING_IDS, WebhookStatus.DELIVERED),
        )
    ]
    WebhookTransmissionQueue.objects.filter(pk=webhooks[-1].pk).update(created=timezone.now() - timedelta(days=99))
    assert retention.purge(timedelta(days=90)) == 1
    said = text_of(select(operator, webhooks))
    assert "5 webhooks would be sent again" in said and "2 × failed for good" in said
    assert "6 of the selected webhooks cannot be replayed" in said
    assert "1 × held: they go out when the learner has the ids" in said
    assert "3 × unfinished" in said and "1 × parked" in said and "1 × purged" in said
    said = select(operator, webhooks[5:6])
    assert "None of the selected webhooks can be replayed." in text_of(said) and b'name="webhooks"' not in said.content


def test_all_pages_of_the_list_are_replayed(operator, delivered):
    question = select(operator, delivered[-1:], select_across="1")
    assert "3 webhooks would be sent again" in text_of(question)
    assert "3 webhooks are being replayed" in text_of(confirm(operator, question))
    assert WebhookTransmissionQueue.objects.filter(status=WebhookStatus.RECORDED).count() == 3


def test_what_is_shown_is_what_is_replayed(operator, delivered, endpoint):
    """Not what fits the list's filter by then."""
    question = select(operator, delivered[:1], "?status__exact=delivered", select_across="1")
    make_webhook(endpoint)
    WebhookTransmissionQueue.objects.filter(pk=delivered[0].pk).update(status=WebhookStatus.PENDING)
    assert "2 webhooks are being replayed" in text_of(confirm(operator, question))


def test_too_many_are_for_the_command(operator, endpoint):
    rows = [
        WebhookTransmissionQueue(
            deduplication_key=f"{number}",
            event_type="course_completion",
            enterprise_customer_uuid=endpoint.enterprise_customer_id,
            course_id="course-v1:edX+Demo+2026",
            occurred_at=timezone.now(),
            status=WebhookStatus.FAILED,
        )
        for number in range(webhook_views.MAX_AT_ONCE)
    ]
    WebhookTransmissionQueue.objects.bulk_create(rows, batch_size=2000)
    one = WebhookTransmissionQueue.objects.first()
    assert "10000 webhooks would be sent again" in text_of(select(operator, [one], select_across="1")).replace(",", "")
    make_webhook(endpoint)
    assert "more than 10000 webhooks" in text_of(operator.get(url(WEBHOOK, "changelist"))).replace(",", "")
    response = operator.get(select(operator, [one], select_across="1")["Location"])
    assert "more than 10000 webhooks" in text_of(response) and "manage.py replay_webhooks" in text_of(response)
    many = ",".join(uuid.uuid4().hex for _ in range(webhook_views.MAX_AT_ONCE + 1))
    assert operator.post(url(WEBHOOK, "replay"), {"webhooks": many}).status_code == 400


@pytest.mark.parametrize("ids", [None, "", ",", "1", "all", f"{uuid.uuid4().hex},"])
def test_a_replay_or_cancellation_of_nothing_does_nothing(operator, delivered, ids):
    form = {} if ids is None else {"webhooks": ids}
    assert operator.post(url(WEBHOOK, "replay"), form).status_code == 400
    assert operator.post(url(WEBHOOK, "cancel"), form).status_code == 400
    assert not WebhookTransmissionQueue.objects.exclude(status=WebhookStatus.DELIVERED).exists()


def test_one_webhook_is_replayed_from_its_page(operator, delivered):
    question = operator.post(url(WEBHOOK, "replay_one", delivered[0].pk))
    assert "1 webhook would be sent again" in text_of(question) and "Back to the webhook" in text_of(question)
    assert not LogEntry.objects.exists()
    response = confirm(operator, question)
    assert "1 webhook is being replayed." in text_of(response)
    assert response.request["PATH_INFO"] == url(WEBHOOK, "change", delivered[0].pk)
    statuses = list(WebhookTransmissionQueue.objects.order_by("pk").values_list("status", flat=True))
    assert statuses == ["recorded", "delivered", "delivered"]


# Cancellations


def test_a_selection_is_cancelled(operator, endpoint, receiver):
    waiting = [make_webhook(endpoint, status=status) for status in cancellation.CANCELLABLE]
    held = make_webhook(endpoint, status=WebhookStatus.PENDING, **lease())
    finished = [make_webhook(endpoint, status=status, reason="HTTP 422") for status in FINISHED]
    question = select(operator, [*waiting, held, *finished], "?endpoint=" + str(endpoint.pk), action="cancel_selected")
    said = text_of(question)
    assert "6 webhooks would be given up" in said and "1 × parked: the endpoint is switched off" in said
    assert "4 of the selected webhooks cannot be cancelled" in said
    assert "3 × finished" in said and "1 × being worked at right now" in said
    assert not LogEntry.objects.exists()
    response = confirm(operator, question)
    assert "6 webhooks were cancelled." in text_of(response) and "going on" not in text_of(response)
    assert response.request["QUERY_STRING"] == f"endpoint={endpoint.pk}"
    for webhook in waiting:
        webhook.refresh_from_db()
        assert (webhook.status, webhook.reason) == (WebhookStatus.CANCELLED, "cancelled by an operator")
        assert webhook.finished_at and webhook.lease_token is None
    held.refresh_from_db()
    assert held.status == WebhookStatus.PENDING and held.lease_token
    assert {(entry.object_id, entry.get_change_message()) for entry in LogEntry.objects.all()} == {
        (str(webhook.pk), "Cancelled.") for webhook in waiting
    }
    delivery.deliver_due()
    assert not receiver.log


def test_what_a_worker_takes_up_before_the_button_is_pressed_goes_on(operator, endpoint):
    one, other = (make_webhook(endpoint, status=WebhookStatus.PENDING) for _ in range(2))
    question = select(operator, [one, other], action="cancel_selected")
    WebhookTransmissionQueue.objects.filter(pk=one.pk).update(**lease())
    said = text_of(confirm(operator, question))
    assert "1 webhook was cancelled. 1 was being worked at and goes on: it may be delivered." in said
    statuses = dict(WebhookTransmissionQueue.objects.values_list("pk", "status"))
    assert statuses == {one.pk: WebhookStatus.PENDING, other.pk: WebhookStatus.CANCELLED}
    assert LogEntry.objects.get().object_id == str(other.pk)


def test_what_was_cancelled_can_be_replayed(operator, endpoint, receiver):
    grade_event(make_learner(endpoint.enterprise_customer))
    webhook = WebhookTransmissionQueue.objects.get()
    response = confirm(operator, operator.post(url(WEBHOOK, "cancel_one", webhook.pk)))
    assert response.request["PATH_INFO"] == url(WEBHOOK, "change", webhook.pk)
    assert "It was cancelled (cancelled by an operator)." in text_of(response)
    delivery.deliver_due()
    assert not receiver.log
    confirm(operator, operator.post(url(WEBHOOK, "replay_one", webhook.pk)))
    delivery.deliver_due()
    assert [request.headers["webhook-id"] for request, _ in receiver.log] == [str(webhook.webhook_id)]
    history = text_of(operator.get(url(WEBHOOK, "history", webhook.pk)))
    assert "Cancelled." in history and "Replayed." in history and "operator" in history


@pytest.mark.parametrize("page", ["replay_one", "cancel_one", "payload"])
@pytest.mark.parametrize("number", [999, "none"])
def test_there_is_no_such_webhook(operator, page, number):
    assert operator.post(url(WEBHOOK, page, number)).status_code == 404


def test_nothing_can_be_cancelled(operator, delivered):
    question = operator.post(url(WEBHOOK, "cancel_one", delivered[0].pk))
    assert "None of the selected webhooks can be cancelled." in text_of(question)
    assert b'name="webhooks"' not in question.content
