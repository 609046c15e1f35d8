# SPDX-License-Identifier: AGPL-3.0-or-later
"""What operators are told of the whole, counted from what really happened."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookDeliveryAttempt,
    WebhookEndpointHealth,
    WebhookLookupStatement,
    WebhookStatus,
    WebhookSuppression,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import delivery, enrichment
from channel_integrations.integrated_channel.services.addressing import address_due
from channel_integrations.integrated_channel.services.figures import (
    backlog,
    deliveries,
    endpoints,
    lookups,
    outcomes,
    targets,
)
from channel_integrations.integrated_channel.services.figures.percentiles import Percentiles
from channel_integrations.integrated_channel.services.replay import Selection, replay
from tests.factories import COURSE, grade_event, make_customer, make_endpoint, make_learner

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
rows = WebhookTransmissionQueue.objects


@pytest.fixture
def acme(receiver):
    """An endpoint that takes what it gets."""
    receiver.expect_request("/hook").respond_with_data("ok")
    return make_endpoint(make_customer("Acme"), receiver.url_for("/hook"))


def complete(endpoint, count=1):
    for _ in range(count):
        grade_event(make_learner(endpoint.enterprise_customer))


def addressed(endpoint, count=1):
    """So many webhooks that wait for their endpoint."""
    complete(endpoint, count)
    while address_due():
        pass


def minutes_ago(count):
    return timezone.now() - timedelta(minutes=count)


def target(name):
    latest, owed, snowflake = deliveries.latest(HOUR), backlog.owed(), lookups.snowflake_since(HOUR)
    return next(each for each in targets.targets(latest, owed, snowflake) if each.name == name)


# ---- what is owed


def test_an_empty_table_has_every_open_status_at_zero():
    owed = backlog.owed()
    assert (owed.count, owed.due, owed.oldest_due_at) == (0, {"enrichment": 0, "delivery": 0}, None)
    assert set(owed.by_status) == {
        *("awaiting_enrichment", "awaiting_final", "recorded", "pending", "awaiting_ids", "no_endpoint", "parked")
    }


def test_what_is_due_is_told_by_the_task_that_serves_it(acme, snowflake):
    complete(acme, 2)
    owed = backlog.owed()
    assert (owed.count, owed.due) == (2, {"enrichment": 2, "delivery": 0})
    enrichment.enrich_in_slot(hand_over=lambda: None)
    assert backlog.owed().due == {"enrichment": 0, "delivery": 2}


def test_what_is_due_for_long_is_late(acme):
    complete(acme, 3)
    first, second, addressed = rows.order_by("pk")
    rows.filter(pk=addressed.pk).update(status=WebhookStatus.PENDING, endpoint_id=acme.pk, due_at=timezone.now())
    rows.filter(pk=first.pk).update(due_at=minutes_ago(2))
    rows.filter(pk=second.pk).update(due_at=timezone.now() + HOUR)
    owed = backlog.owed()
    assert (owed.count, owed.due["delivery"], sum(owed.late.values())) == (3, 2, 1)
    assert minutes_ago(3) < owed.oldest_due_at < minutes_ago(1)


def test_what_waits_for_a_closed_endpoint_is_told_apart(acme):
    addressed(acme, 2)
    rows.update(due_at=minutes_ago(2))
    WebhookEndpointHealth.objects.update(breaker_open_until=timezone.now() + HOUR, failures_in_a_row=5)
    owed = backlog.owed()
    assert (owed.due["delivery"], sum(owed.late.values()), owed.held_back, owed.closed) == (0, 0, 2, [acme.pk])


# ---- endpoints


def failing(**health):
    return lambda: WebhookEndpointHealth.objects.update(failures=3, failing_since=minutes_ago(60), **health)


@pytest.mark.parametrize(
    ("arrange", "state"),
    [
        (lambda: None, "on"),
        (failing(), "failing"),
        (failing(breaker_open_until=timezone.now() + HOUR), "breaker_open"),
        (failing(breaker_open_until=timezone.now() - HOUR), "failing"),
        (failing(paused_until=timezone.now() + HOUR), "paused"),
        (failing(disabled_at=timezone.now()), "off_by_sender"),
        (lambda: WebhookEndpointHealth.objects.update(catching_up=True), "catching_up"),
        (lambda: EnterpriseWebhookConfiguration.objects.update(active=False), "off_by_operator"),
        (WebhookEndpointHealth.objects.all().delete, "on"),
    ],
)
def test_the_state_of_an_endpoint(acme, arrange, state):
    arrange()
    (figures,) = endpoints.endpoints()
    assert figures.state == state
    assert (figures.opens_at is not None) == (state in ("breaker_open", "paused"))
    assert (figures.disabled_by is not None) == (state in ("failing", "breaker_open", "paused"))


def test_an_endpoint_at_its_rate_limit(acme):
    EnterpriseWebhookConfiguration.objects.update(max_requests_per_minute=1)
    addressed(acme, 2)
    delivery.deliver_due()
    (figures,) = endpoints.endpoints()
    assert (figures.state, figures.pending) == ("rate_limited", 1)
    assert figures.opens_at > timezone.now()


def test_endpoints_come_worst_first_with_their_backlog(acme, receiver, django_assert_num_queries):
    addressed(acme, 2)
    worse = make_endpoint(make_customer("Globex"), receiver.url_for("/globex"))
    addressed(worse)
    WebhookEndpointHealth.objects.filter(pk=worse.pk).update(disabled_at=timezone.now())
    delivery.deliver_due(seconds=0.2)
    addressed(acme, 1)
    with django_assert_num_queries(2):
        first, second = endpoints.endpoints()
    assert (first.endpoint, first.parked, first.pending) == (worse, 1, 0)
    assert (second.endpoint, second.parked, second.pending) == (acme, 0, 1)


# ---- what came of it


def test_outcomes_by_hour(acme, receiver):
    complete(acme, 2)
    delivery.deliver_due()
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("no", status=400)
    complete(acme)
    delivery.deliver_due()
    earlier = rows.order_by("pk").first()
    rows.filter(pk=earlier.pk).update(finished_at=timezone.now() - 2 * HOUR)
    *_others, two_hours_ago, _an_hour_ago, now = outcomes.by_hour()
    assert len(_others) == 21
    assert (two_hours_ago.delivered, two_hours_ago.failed) == (1, 0)
    assert (now.delivered, now.failed, now.cancelled) == (1, 1, 0)
    assert outcomes.finished_since(HOUR) == {"delivered": 1, "failed": 1, "cancelled": 0}
    assert outcomes.attempts_since(HOUR) == {"2xx": 2, "4xx": 1}


def test_a_replayed_webhook_has_no_end_until_it_ends_again(acme):
    complete(acme)
    delivery.deliver_due()
    replay(Selection())
    assert outcomes.finished_since(HOUR)["delivered"] == 0
    delivery.deliver_due()
    assert outcomes.finished_since(HOUR)["delivered"] == 1
    assert deliveries.latest(HOUR).count == 0, "it did not go out when the learner passed"


@pytest.mark.parametrize("way", ["unowed", "endpoint_deleted"])
def test_a_cancelled_webhook_has_an_end(acme, way):
    if way == "unowed":
        complete(acme)
        acme.enterprise_customer.active = False
        acme.enterprise_customer.save()
        delivery.deliver_due()
    else:
        addressed(acme)
        acme.delete()
    assert outcomes.finished_since(HOUR)["cancelled"] == 1


def test_an_attempt_without_an_answer_counts_by_its_error(acme):
    WebhookDeliveryAttempt.objects.create(
        webhook_id=1, number=1, started_at=timezone.now(), duration_ms=1, error_code="timeout"
    )
    assert outcomes.attempts_since(HOUR) == {"timeout": 1}


def test_suppressed_passes_by_reason():
    for user_id, reason in enumerate(["a", "b", "b"]):
        WebhookSuppression.objects.create(
            enterprise_customer_uuid=make_customer().uuid,
            user_id=user_id,
            course_id=COURSE,
            passed_at=timezone.now(),
            reason=reason,
        )
    WebhookSuppression.objects.filter(reason="a").update(noted_at=minutes_ago(61))
    assert outcomes.suppressed_since(HOUR) == {"b": 2}
    assert outcomes.suppressed_since(2 * HOUR) == {"b": 2, "a": 1}


# ---- how long it took


def test_percentiles_are_of_the_values():
    assert Percentiles.of([]) is None
    assert Percentiles.of([7]) == (7, 7)
    assert Percentiles.of(range(100, 0, -1)) == (50, 95)


def test_where_the_time_goes(acme, snowflake):
    complete(acme, 4)
    first = rows.order_by("pk").first()
    enrichment.enrich_in_slot(hand_over=lambda: None)
    delivery.deliver_due()
    rows.update(occurred_at=timezone.now() - timedelta(seconds=100), lookup_ms=2000)
    WebhookDeliveryAttempt.objects.update(duration_ms=500)
    rows.filter(pk=first.pk).update(occurred_at=timezone.now() - timedelta(seconds=200), lookup_ms=0)
    latest = deliveries.latest(HOUR)
    assert (latest.count, latest.is_capped) == (4, False)
    assert latest.total() == pytest.approx((100, 200), abs=5)
    assert (latest.lookup(), latest.post()) == ((2, 2), (0.5, 0.5))
    assert latest.waiting() == pytest.approx((97.5, 199.5), abs=5)
    assert latest.cache_hit_rate() == 0.25
    assert latest.learning_times() == {"no_row": 4}


def test_the_sample_is_bounded_and_says_so(acme, monkeypatch):
    complete(acme, 3)
    delivery.deliver_due()
    monkeypatch.setattr(deliveries, "SAMPLE", 2)
    latest = deliveries.latest(HOUR)
    assert (latest.count, latest.is_capped) == (2, True)


def test_a_lookup_says_how_long_it_took(acme, snowflake):
    complete(acme)
    enrichment.enrich_in_slot(hand_over=lambda: None)
    grade_event(learner := make_learner(acme.enterprise_customer))
    rows.filter(user_id=learner.id).update(user_id=rows.first().user_id)  # the same question again
    enrichment.enrich_in_slot(hand_over=lambda: None)
    asked, known = rows.order_by("pk").values_list("lookup_ms", flat=True)
    assert asked == WebhookLookupStatement.objects.get().duration_ms > 0
    assert known == 0


# ---- targets


def test_without_webhooks_there_is_nothing_to_judge_by():
    found = {name: target(name).is_met for name in ("completion_to_webhook_p95", "task_error_rate", "queue_depth")}
    assert found == {"completion_to_webhook_p95": None, "task_error_rate": None, "queue_depth": True}


def test_the_target_of_the_way_to_the_partner(acme):
    complete(acme)
    delivery.deliver_due()
    assert target("completion_to_webhook_p95").is_met
    rows.update(occurred_at=timezone.now() - timedelta(seconds=6))
    assert target("completion_to_webhook_p95").is_met is False


def test_the_targets_of_lookups(acme, snowflake):
    complete(acme, 2)
    enrichment.enrich_in_slot(hand_over=lambda: None)
    delivery.deliver_due()
    assert (target("task_error_rate").value, target("cache_hit_rate").value) == (0, 0)
    assert target("cache_hit_rate").is_met is False and target("cache_hit_rate").informational
    assert target("snowflake_lookup_p95").value > 0
    rows.filter(pk=rows.order_by("pk").first().pk).update(learning_time_status="unreachable")
    assert target("task_error_rate").value == 50
    WebhookLookupStatement.objects.update(duration_ms=2500)
    assert target("snowflake_lookup_p95").is_met is False


def test_the_target_of_the_queue(acme):
    complete(acme, 1)
    rows.update(due_at=minutes_ago(2))
    template = rows.get()
    rows.bulk_create(
        WebhookTransmissionQueue(
            deduplication_key=str(number),
            event_type=template.event_type,
            enterprise_customer_uuid=template.enterprise_customer_uuid,
            course_id=COURSE,
            occurred_at=template.occurred_at,
            status=WebhookStatus.RECORDED,
            due_at=template.due_at,
        )
        for number in range(98)
    )
    assert (target("queue_depth").value, target("queue_depth").is_met) == (99, True)
    complete(acme, 1)
    rows.update(due_at=minutes_ago(2))
    assert (target("queue_depth").value, target("queue_depth").is_met) == (100, False)


# ---- the command


def stats(*arguments):
    output = StringIO()
    call_command("webhook_stats", *arguments, stdout=output)
    return output.getvalue()


def test_the_command_tells_the_same(acme):
    complete(acme)
    delivery.deliver_due()
    complete(acme)
    said = json.loads(stats("--json", "--hours", "1"))
    assert said["owed"]["recorded"] == said["owed"]["due"]["delivery"] == 1
    assert said["latest_deliveries"]["count"] == 1 and said["latest_deliveries"]["total"]["p95"] > 0
    assert [each["met"] for each in said["targets"]] == [True, None, None, None, True]
    assert [(each["customer"], each["state"]) for each in said["endpoints"]] == [("Acme", "on")]
    assert [each["delivered"] for each in said["hours"]] == [1]


def test_the_command_prints_a_section_for_each(acme):
    complete(acme)
    delivery.deliver_due()
    printed = stats()
    for title in ("Targets", "Owed now", "Latest deliveries: 1", "Endpoints", "Outcomes by hour", "Lookups by day"):
        assert f"{title}" in printed
    assert "learner" not in printed and "@" not in printed
