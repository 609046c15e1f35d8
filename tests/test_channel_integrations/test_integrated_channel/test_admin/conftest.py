# SPDX-License-Identifier: AGPL-3.0-or-later
"""Browsers that somebody has signed in with, and rows to look at."""

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from channel_integrations.integrated_channel.models import (
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import delivery
from tests.factories import grade_event, make_learner
from tests.test_channel_integrations.test_integrated_channel.test_admin.pages import (
    deliveries_asked_for,
)


@pytest.fixture(autouse=True)
def no_call_of_the_test_before():
    """The broker is the process's own and outlives a test."""
    deliveries_asked_for()


@pytest.fixture
def superuser():
    return get_user_model().objects.create_superuser("operator", "operator@example.com")


@pytest.fixture
def operator(superuser):
    """A browser that a superuser has signed in with; CSRF tokens are not asked for."""
    client = Client()
    client.force_login(superuser)
    return client


@pytest.fixture
def delivered(endpoint):
    """Three webhooks that Acme has had."""
    for _ in range(3):
        grade_event(make_learner(endpoint.enterprise_customer))
    delivery.deliver_due()
    webhooks = list(WebhookTransmissionQueue.objects.order_by("pk"))
    assert [webhook.status for webhook in webhooks] == [WebhookStatus.DELIVERED] * 3
    return webhooks
