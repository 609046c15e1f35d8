# SPDX-License-Identifier: AGPL-3.0-or-later
"""Nothing changes on a GET, whatever page of the app it is."""

import re

import pytest
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from channel_integrations.integrated_channel.models import WebhookDisclosure, WebhookStatus, WebhookSuppression
from channel_integrations.integrated_channel.services import heartbeat, rollout
from tests.test_channel_integrations.test_integrated_channel.test_admin.pages import (
    WEBHOOK,
    attempt,
    make_webhook,
    switch_off,
)

pytestmark = pytest.mark.django_db


def names_of_pages():
    """The name of every page that the app's admins have, and whether it is about one row."""
    for model, model_admin in admin.site._registry.items():
        if model._meta.app_label == "channel_webhooks":
            for pattern in model_admin.get_urls():
                if pattern.name:
                    yield pattern.name, model, "object_id" in str(pattern.pattern)


def test_a_get_changes_nothing_on_any_page(operator, endpoint, receiver):
    switch_off(endpoint)
    webhook = make_webhook(endpoint, status=WebhookStatus.FAILED, body="{}")
    attempt(webhook)
    rollout.decide(percentage=5)
    heartbeat.beat(heartbeat.SWEEP)
    WebhookSuppression.objects.create(
        enterprise_customer_uuid=webhook.enterprise_customer_uuid,
        user_id=webhook.user_id,
        course_id=webhook.course_id,
        passed_at=webhook.occurred_at,
        reason="no data-sharing consent",
    )
    WebhookDisclosure.objects.create(
        webhook_id=webhook.webhook_id,
        event_type=webhook.event_type,
        enterprise_customer_uuid=webhook.enterprise_customer_uuid,
        endpoint_id=endpoint.pk,
        user_id=webhook.user_id,
        first_at=webhook.created,
        last_at=webhook.created,
    )
    answers, names = {}, list(names_of_pages())
    with CaptureQueriesContext(connection) as asked:
        for name, model, about_one in names:
            row = model.objects.first() if about_one else None
            page = reverse(f"admin:{name}", args=[row.pk] if row else [])
            answers[name] = operator.get(page).status_code
    assert len(names) >= 25
    written = [query["sql"] for query in asked if re.match(r"\W*(INSERT|UPDATE|DELETE|REPLACE)\b", query["sql"], re.I)]
    assert written == []
    assert not receiver.log
    buttons = {"test_event", "signing_secret", "switch_on", "pause", "resume"}
    buttons |= {"replay", "cancel", "replay_one", "cancel_one", "payload", "learner", "export"}
    assert {name.split("_", 3)[3] for name, status in answers.items() if status == 405} >= buttons
    assert answers[f"channel_webhooks_{WEBHOOK}_change"] == 200
    assert all(status in (200, 302, 403, 405) for status in answers.values()), answers
