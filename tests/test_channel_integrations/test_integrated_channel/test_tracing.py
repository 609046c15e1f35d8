# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the site's telemetry is told, through the backends that it names."""

import pytest

from channel_integrations.integrated_channel import tasks
from channel_integrations.integrated_channel.models import WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.tracing import span
from tests.factories import COURSE, grade_event, make_customer, make_endpoint, make_learner
from tests.telemetry import Kept

pytestmark = [pytest.mark.usefixtures("committed_db")]


@pytest.fixture
def kept(settings):
    """(span, attributes), in the order in which spans ended."""
    settings.OPENEDX_TELEMETRY = ["tests.telemetry.Kept"]
    Kept.spans, Kept.open = [], [("", {})]
    return Kept


def complete(receiver, snowflake):
    customer = make_customer()
    endpoint = make_endpoint(customer, receiver.url_for("/hook"))
    learner = make_learner(customer)
    snowflake.add(learner.pk, COURSE, customer.uuid, 60)
    grade_event(learner)
    tasks.enrich_and_send_completion_webhook()
    tasks.process_webhook_queue()
    return endpoint, WebhookTransmissionQueue.objects.get()


def test_each_step_is_a_span_with_ids_and_counts(receiver, snowflake, kept):
    endpoint, webhook = complete(receiver, snowflake)
    webhook_id = str(webhook.webhook_id)
    ours = [(name, attributes) for name, attributes in kept.spans if name.startswith("channel_webhooks.")]
    assert ours == [
        ("channel_webhooks.enrich", _ours(webhooks=1, found=1, failed=0)),
        ("channel_webhooks.address", _ours(webhooks=1, addressed=1)),
        (
            "channel_webhooks.attempt",
            _ours(webhook_id=str(webhook.webhook_id), endpoint_id=endpoint.pk, http_status=200),
        ),
        ("channel_webhooks.write_back", _ours(webhooks=1)),
    ]
    around = {name: value for name, value in kept.open[0][1].items() if name.startswith("channel_webhooks.")}
    assert around == _ours(webhooks=1, webhook_ids=webhook_id)  # the LMS's request that graded


def _ours(**attributes):
    return {f"channel_webhooks.{name}": value for name, value in attributes.items()}


def test_a_backend_that_fails_costs_nothing_but_its_spans(receiver, snowflake, settings):
    settings.OPENEDX_TELEMETRY = ["tests.telemetry.Broken"]
    _, webhook = complete(receiver, snowflake)
    assert (webhook.status, webhook.learning_time) == (WebhookStatus.DELIVERED, 60)
    assert len(receiver.log) == 1


def test_a_span_keeps_no_error(kept):
    with pytest.raises(ValueError), span("step"):
        raise ValueError("Duplicate entry 'maria@private.example'")
    assert kept.spans == [("channel_webhooks.step", {})]
