# SPDX-License-Identifier: AGPL-3.0-or-later
"""May the percentage grow? How the completions inside the rollout fare, beside those outside."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db.models import F
from django.utils import timezone
from werkzeug import Response

from channel_integrations.integrated_channel.models import WebhookTransmissionQueue
from channel_integrations.integrated_channel.services import delivery, enrichment, rollout
from channel_integrations.integrated_channel.services.figures import sides
from channel_integrations.integrated_channel.services.figures.sides import Side
from channel_integrations.integrated_channel.services.replay import Selection, replay
from tests.factories import COURSE, enrollment_event, grade_event, make_customer, make_endpoint, make_learner

pytestmark = pytest.mark.django_db
DAY = timedelta(hours=24)
rows = WebhookTransmissionQueue.objects


@pytest.fixture
def half(endpoint, snowflake):
    """``half(True)``: a learner inside a rollout of 50 %; ``half(False)``: one outside."""
    rollout.decide(percentage=50)
    customer = endpoint.enterprise_customer

    def learner(inside):
        while True:
            made = make_learner(customer)
            if (rollout.bucket(customer.uuid, made.pk) < rollout.BUCKETS // 2) is inside:
                return made

    return learner


@pytest.fixture
def day(half, endpoint, receiver, snowflake):
    """Inside two enriched, one plain, one refused, one waiting; two outside; one of an endpoint that says never."""
    *known, unknown, refused = (half(True) for _ in range(4))
    for learner in known:
        snowflake.add(learner.id, COURSE, endpoint.enterprise_customer.uuid, 1800)
    receiver.clear()
    receiver.expect_request("/hook").respond_with_handler(
        lambda request: Response(status=400 if request.get_json()["learner"]["user_id"] == refused.id else 200)
    )
    never = make_endpoint(make_customer("Globex"), receiver.url_for("/hook"), learning_time="never")
    for learner in (*known, unknown, refused, half(False), half(False), make_learner(never.enterprise_customer)):
        grade_event(learner)
    enrichment.enrich_in_slot(hand_over=lambda: None)
    delivery.deliver_due()
    grade_event(half(True))
    for status, seconds in (("found", 3), ("no_row", 5), ("not_rolled_out", 1), ("endpoint_never", 2)):
        rows.filter(learning_time_status=status).update(finished_at=F("occurred_at") + timedelta(seconds=seconds))


def test_each_side_by_itself(day, django_assert_num_queries):
    with django_assert_num_queries(1):
        lately = sides.latest(DAY)
    assert lately.inside == Side(5, 3, 1, 1, (3, 5), {"found": 2, "no_row": 1})
    assert lately.outside == Side(2, 2, 0, 0, (1, 1), {"not_rolled_out": 2})
    assert lately.neither == Side(1, 1, 0, 0, (2, 2), {"endpoint_never": 1})
    assert (lately.made, lately.is_capped) == (8, False)


def test_what_the_percentage_does_not_decide_is_left_out(half, endpoint):
    """Enrolments, backfills, and what was made before the window."""
    type(endpoint).objects.update(sends_enrollments=True)
    for _ in range(3):
        grade_event(half(True))
    backfilled, earlier, _lately = rows.order_by("pk")
    rows.filter(pk=backfilled.pk).update(backfilled=True)
    rows.filter(pk=earlier.pk).update(created=timezone.now() - DAY - timedelta(minutes=1))
    enrollment_event(half(True))
    assert (rows.count(), sides.latest(DAY).made) == (4, 1)


def test_what_was_replayed_counts_and_tells_nothing_of_how_long_it_took(day):
    left_out = rows.filter(learning_time_status="not_rolled_out").values_list("webhook_id", flat=True)
    replay(Selection(webhook_ids=list(left_out)), per_minute=6000)
    assert sides.latest(DAY).outside.waiting == 2
    rows.update(due_at=timezone.now())
    delivery.deliver_due()
    outside = sides.latest(DAY).outside
    assert (outside.made, outside.delivered, outside.total) == (2, 2, None)


def test_what_a_release_without_that_column_has_delivered_tells_nothing_of_how_long_it_took(day):
    rows.filter(learning_time_status="not_rolled_out").update(finished_at=None)
    outside = sides.latest(DAY).outside
    assert (outside.made, outside.delivered, outside.total) == (2, 2, None)


def test_the_latest_are_looked_at_and_that_is_said(day, monkeypatch):
    monkeypatch.setattr(sides, "SAMPLE", 2)
    lately = sides.latest(DAY)
    assert (lately.made, lately.inside.waiting, lately.is_capped) == (2, 1, True)


def test_the_command_tells_both_sides(day):
    out = StringIO()
    call_command("webhook_rollout", stdout=out)
    said = out.getvalue()
    assert said.endswith(
        """
Completions of the last 24 hours
                                             made  delivered  failed  waiting     p50     p95
  inside the rollout                            5          3       1        1  3.00 s  5.00 s
  outside: the percentage                       2          2       0        0  1.00 s  1.00 s
  neither: flag, pause or endpoint's switch     1          1       0        0  2.00 s  2.00 s

Learning time of those delivered inside
  found   2
  no_row  1
"""
    ), said


def test_the_command_tells_programs(day):
    out = StringIO()
    call_command("webhook_rollout", "--json", stdout=out)
    lately = json.loads(out.getvalue())["last_24_hours"]
    assert lately["outside"] == {
        "made": 2,
        "delivered": 2,
        "failed": 0,
        "waiting": 0,
        "learning_times": {"not_rolled_out": 2},
        "pass_to_delivery": {"p50": 1.0, "p95": 1.0},
    }
    assert (lately["made"], lately["is_capped"], lately["inside"]["failed"]) == (8, False, 1)


def test_who_decides_waits_for_no_figures(day):
    out = StringIO()
    call_command("webhook_rollout", "--pause", stdout=out)
    assert "PAUSED" in out.getvalue() and "24 hours" not in out.getvalue()
