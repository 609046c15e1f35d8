# SPDX-License-Identifier: AGPL-3.0-or-later
"""What tests of the admin share: addresses, what is read on a page, rows to look at."""

import html
import json
import re
import uuid
from datetime import timedelta

from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.urls import reverse
from django.utils import timezone

from channel_integrations.integrated_channel.models import (
    WebhookDeliveryAttempt,
    WebhookEndpointHealth,
    WebhookSigningSecret,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from tests.lms_host.celery import app as celery_app
from tests.other_keys import written_with_another_key

ENDPOINT = "enterprisewebhookconfiguration"
WEBHOOK = "webhooktransmissionqueue"
BUTTONS = ("test_event", "signing_secret", "switch_on")
SECRET = re.compile(r"wh(?:sec|sk)_[A-Za-z0-9+/=]+")


def url(model, page, *arguments):
    return reverse(f"admin:channel_webhooks_{model}_{page}", args=arguments)


def press(client, button, endpoint, **fields):
    return client.post(url(ENDPOINT, button, endpoint.pk), fields)


def read(markup):
    """What is read of some HTML."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"</?(span|wbr)\b[^>]*>", "", markup))).split())


def text_of(response):
    return read(response.content.decode())


def alerts(response):
    return [read(found) for found in re.findall(r'<div role="alert">(.*?)</div>', response.content.decode(), re.S)]


def written_down():
    """All that the log of actions and the sessions hold, as text."""
    entries = [f"{entry.object_repr} {entry.change_message}" for entry in LogEntry.objects.all()]
    return "\n".join([*entries, *(json.dumps(session.get_decoded()) for session in Session.objects.all())])


def make_webhook(endpoint=None, **fields):
    fields = {
        "deduplication_key": uuid.uuid4().hex,
        "event_type": "course_completion",
        "enterprise_customer_uuid": endpoint.enterprise_customer_id if endpoint else uuid.uuid4(),
        "endpoint_id": endpoint.pk if endpoint else None,
        "user_id": 7,
        "course_id": "course-v1:edX+Demo+2026",
        "occurred_at": timezone.now(),
        "status": WebhookStatus.DELIVERED,
        **fields,
    }
    return WebhookTransmissionQueue.objects.create(**fields)


def attempt(webhook, number=1, **fields):
    fields = {"started_at": timezone.now(), "duration_ms": 12, "status_code": 200, **fields}
    return WebhookDeliveryAttempt.objects.create(webhook=webhook, number=number, **fields)


def switch_off(endpoint, reason="HTTP 410"):
    assert WebhookEndpointHealth.objects.get(pk=endpoint.pk).disable(reason)


def form_of(endpoint=None, **fields):
    """The endpoint's form as a browser posts it."""
    send_from = timezone.localtime(timezone.now() - timedelta(days=30))
    form = {
        "enterprise_customer": str(endpoint.enterprise_customer_id) if endpoint else "",
        "region": endpoint.region if endpoint else "OTHER",
        "webhook_url": endpoint.webhook_url if endpoint else "https://hooks.example.com/hook",
        "active": "on",
        "accepts_us": "on",
        "sends_completions": "on",
        "webhook_timeout_seconds": "15",
        "max_concurrent_requests": "4",
        "learning_time": "rollout",
        "learning_time_timing": "now",
        "send_from_0": send_from.strftime("%Y-%m-%d"),
        "send_from_1": send_from.strftime("%H:%M:%S"),
        **fields,
    }
    return {name: value for name, value in form.items() if value is not None}


def deliveries_asked_for():
    """How many calls for a round of deliveries lie in the broker."""
    with celery_app.connection_for_write() as broker:
        queue = celery_app.amqp.queues["edx.lms.core.default"](broker.default_channel)
        queue.declare()
        calls = 0
        while message := queue.get(no_ack=True):
            calls += message.headers["task"].endswith("process_webhook_queue")
        return calls


def with_another_key(endpoint):
    """Have the endpoint's secrets be such as another key's site has written."""
    for pk in WebhookSigningSecret.objects.filter(endpoint_id=endpoint.pk).values_list("pk", flat=True):
        written_with_another_key(WebhookSigningSecret, pk, "secret")


def assert_shown_nowhere(operator, endpoint):
    webhook = make_webhook(endpoint)
    attempt(webhook)
    press(operator, "test_event", endpoint)
    for page in (
        url(ENDPOINT, "change", endpoint.pk),
        url(ENDPOINT, "history", endpoint.pk),
        url(ENDPOINT, "delete", endpoint.pk),
        url(ENDPOINT, "changelist"),
        url(WEBHOOK, "change", webhook.pk),
        reverse("admin:index"),
    ):
        assert not SECRET.search(html.unescape(operator.get(page).content.decode())), page
    assert not SECRET.search(written_down())
