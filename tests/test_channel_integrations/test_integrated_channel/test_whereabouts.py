# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a webhook stands: why, and when it moves next."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookEndpointHealth,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.models.health import Failure
from channel_integrations.integrated_channel.services import delivery, rollout
from channel_integrations.integrated_channel.services.whereabouts import SENTENCES, Whereabouts, whereabouts
from tests.factories import grade_event, make_learner

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
FLAG = "ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT"


@pytest.fixture
def webhook(endpoint):
    """One that waits for its turn to be addressed."""
    grade_event(make_learner(endpoint.enterprise_customer))
    return WebhookTransmissionQueue.objects.get()


def become(webhook, **fields):
    """The webhook as something else, without what would have brought it there."""
    WebhookTransmissionQueue.objects.filter(pk=webhook.pk).update(**fields)
    webhook.refresh_from_db()
    return webhook


def pending(webhook, endpoint, **fields):
    return become(webhook, status=WebhookStatus.PENDING, endpoint_id=endpoint.pk, body="{}", **fields)


def held(minutes=3):
    """Claimed this moment: a lease lasts for three minutes."""
    return {"lease_token": uuid.uuid4(), "due_at": timezone.now() + minutes * MINUTE}


def health(endpoint):
    return WebhookEndpointHealth.objects.get(pk=endpoint.pk)


def test_what_waits_for_its_learning_time(webhook, settings):
    settings.FEATURES = {**settings.FEATURES, FLAG: True}
    now = timezone.now()
    become(webhook, status=WebhookStatus.AWAITING_ENRICHMENT, enrich_by=now + 10 * MINUTE)
    assert whereabouts(webhook) == Whereabouts("waits_for_lookup", webhook.enrich_by)
    become(webhook, due_at=now + MINUTE)
    assert whereabouts(webhook) == Whereabouts("lookup_due_later", webhook.due_at)
    become(webhook, **held())
    assert whereabouts(webhook) == Whereabouts("looking_up", webhook.due_at)
    become(webhook, lease_token=None)
    rollout.decide(paused=True)
    rollout.decision.forget()
    assert (whereabouts(webhook).code, whereabouts(webhook).detail) == ("goes_out_plain", "paused")
    settings.FEATURES = {**settings.FEATURES, FLAG: False}
    assert whereabouts(webhook).detail == "flag_off"


def test_what_is_to_be_addressed(webhook):
    assert whereabouts(webhook).code == "waits_for_worker"
    become(webhook, due_at=timezone.now() + MINUTE)
    assert whereabouts(webhook) == Whereabouts("its_turn_comes", webhook.due_at)
    become(webhook, **held())
    assert whereabouts(webhook) == Whereabouts("being_addressed", webhook.due_at)
    become(webhook, due_at=timezone.now() - MINUTE)  # whoever held it has died
    assert whereabouts(webhook).code == "waits_for_worker"


def test_after_a_real_failure_it_waits_for_the_next_attempt(webhook, receiver):
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("", status=503)
    delivery.deliver_due()
    webhook.refresh_from_db()
    assert whereabouts(webhook) == Whereabouts("retry", webhook.due_at, "HTTP 503")
    assert webhook.due_at > timezone.now()
    assert whereabouts(webhook).in_words(str) == (
        f"The last attempt failed (HTTP 503); the next is due at {webhook.due_at}."
    )


def test_what_waits_for_its_endpoint(webhook, endpoint):
    now = timezone.now()
    pending(webhook, endpoint)
    assert whereabouts(webhook).code == "waits_for_worker"
    become(webhook, **held())
    assert whereabouts(webhook) == Whereabouts("being_sent", webhook.due_at)
    become(webhook, lease_token=None)
    assert whereabouts(webhook) == Whereabouts("its_turn_comes", webhook.due_at)
    become(webhook, due_at=now - MINUTE)
    WebhookEndpointHealth.note_failure(endpoint.pk, now, Failure("HTTP 429", now, pause=10 * MINUTE))
    assert whereabouts(webhook) == Whereabouts("pause", health(endpoint).paused_until)
    WebhookEndpointHealth.enable(endpoint.pk)
    for _ in range(5):
        WebhookEndpointHealth.note_failure(endpoint.pk, now, Failure("HTTP 500", now))
    assert whereabouts(webhook) == Whereabouts("breaker", health(endpoint).breaker_open_until)
    WebhookEndpointHealth.objects.update(breaker_open_until=now - MINUTE)
    assert whereabouts(webhook).code == "one_at_a_time"


def test_the_gate_that_opens_last_is_named(webhook, endpoint):
    now = timezone.now()
    pending(webhook, endpoint)
    moments = {
        "breaker_open_until": now + MINUTE,
        "paused_until": now + 2 * MINUTE,
        "next_request_at": now + 3 * MINUTE,
    }
    WebhookEndpointHealth.objects.update(**moments)
    assert whereabouts(webhook) == Whereabouts("pause", now + 2 * MINUTE)  # it has no limit of requests
    EnterpriseWebhookConfiguration.objects.update(max_requests_per_minute=1)
    assert whereabouts(webhook) == Whereabouts("rate_limit", now + 3 * MINUTE)
    become(webhook, due_at=now + 4 * MINUTE, reason="timeout")  # by then all of them are open
    assert whereabouts(webhook) == Whereabouts("retry", webhook.due_at, "timeout")


def test_others_are_being_sent(webhook, endpoint):
    pending(webhook, endpoint)
    EnterpriseWebhookConfiguration.objects.update(max_concurrent_requests=1)
    grade_event(make_learner(endpoint.enterprise_customer))
    other = WebhookTransmissionQueue.objects.exclude(pk=webhook.pk).get()
    pending(other, endpoint, **held())
    assert whereabouts(webhook).code == "as_many_as_it_takes"
    become(other, status=WebhookStatus.DELIVERED)
    assert whereabouts(webhook).code == "waits_for_worker"


def test_the_endpoint_is_off_or_gone(webhook, endpoint):
    pending(webhook, endpoint)
    EnterpriseWebhookConfiguration.objects.update(active=False)
    assert whereabouts(webhook).code == "to_be_parked"
    become(webhook, status=WebhookStatus.PARKED)
    assert whereabouts(webhook) == Whereabouts("parked_by_operator")
    EnterpriseWebhookConfiguration.objects.update(active=True)
    assert whereabouts(webhook).code == "to_be_taken_up"
    health(endpoint).disable("HTTP 410")
    assert whereabouts(webhook) == Whereabouts("parked_by_sender", detail="HTTP 410")
    become(webhook, endpoint_id=999)
    assert whereabouts(webhook) == Whereabouts("parked_for_nobody")
    become(webhook, status=WebhookStatus.PENDING)
    assert whereabouts(webhook).code == "to_be_cancelled"
    become(webhook, endpoint_id=None)
    assert whereabouts(webhook).code == "to_be_addressed"


@pytest.mark.parametrize("status", ["delivered", "failed", "cancelled", "no_endpoint"])
def test_what_has_ended_says_why_and_names_no_next_move(webhook, status):
    become(webhook, status=status, reason="why")
    assert whereabouts(webhook) == Whereabouts(status, detail="why")
    become(webhook, purged_at=timezone.now())
    assert whereabouts(webhook) == Whereabouts("purged")


@pytest.mark.parametrize("code", SENTENCES)
def test_every_code_has_words(code):
    said = Whereabouts(code, timezone.now(), "HTTP 503").in_words(lambda moment: "12:00")
    assert said.endswith(".") and "%" not in said


def test_it_only_reads_and_little(webhook, endpoint, django_assert_max_num_queries):
    pending(webhook, endpoint)
    with django_assert_max_num_queries(2):
        whereabouts(webhook)
