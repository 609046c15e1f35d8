# SPDX-License-Identifier: AGPL-3.0-or-later
"""Claims by many workers at once, on real, committed rows."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections
from django.utils import timezone

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookLookupStatement,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import endpoint_gate, enrichment
from channel_integrations.integrated_channel.services.addressing import address_due
from tests.factories import grade_event, make_customer, make_endpoint, make_learner

WORKERS = 8


@pytest.fixture
def endpoint(committed_db, receiver):
    """An endpoint with ten webhooks to be sent."""
    endpoint = make_endpoint(make_customer(), receiver.url_for("/hook"), max_concurrent_requests=3)
    for _ in range(10):
        grade_event(make_learner(endpoint.enterprise_customer))
    while address_due():
        pass
    return endpoint


def all_at_once(work):
    """What each of the workers returns, all having begun at the same moment on a connection of its own."""
    start = threading.Barrier(WORKERS)

    def one():
        try:
            start.wait()
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(WORKERS) as pool:
        return [job.result() for job in [pool.submit(one) for _ in range(WORKERS)]]


def test_the_cap_on_concurrent_sends_holds_across_workers(endpoint):
    claims = all_at_once(lambda: len(endpoint_gate.admit(EnterpriseWebhookConfiguration.objects.get(), 10)))
    assert sum(claims) == 3, claims


def test_the_rate_limit_holds_across_workers(endpoint):
    EnterpriseWebhookConfiguration.objects.update(max_requests_per_minute=122, max_concurrent_requests=32)
    claims = all_at_once(lambda: len(endpoint_gate.admit(EnterpriseWebhookConfiguration.objects.get(), 10)))
    assert sum(claims) == 2, claims


def test_no_row_is_claimed_twice(endpoint):
    pks = list(WebhookTransmissionQueue.objects.values_list("pk", flat=True))

    def claim():
        claimed = WebhookTransmissionQueue.objects.claim(pks, WebhookStatus.PENDING, timezone.now())
        return [webhook.pk for webhook in claimed]

    claims = all_at_once(claim)
    assert sorted(pk for claim in claims for pk in claim) == pks


def test_several_workers_at_once_look_no_row_up_twice(committed_db, snowflake, receiver):
    customer = make_customer()
    make_endpoint(customer, receiver.url_for("/hook"))
    for _ in range(60):
        grade_event(make_learner(customer))
    more = [make_learner(customer) for _ in range(60)]

    def look_up():
        passed_on = 0
        while more or waiting.exists():
            if more:
                grade_event(more.pop())
            passed_on += enrichment.enrich_in_slot(hand_over=lambda: None)
        return passed_on

    waiting = WebhookTransmissionQueue.objects.filter(status=WebhookStatus.AWAITING_ENRICHMENT)
    passed_on = all_at_once(look_up)
    asked = list(WebhookLookupStatement.objects.values_list("asked", flat=True))
    assert (sum(passed_on), sum(asked)) == (120, 120)
    assert len(asked) < 120, "some shared a statement"
