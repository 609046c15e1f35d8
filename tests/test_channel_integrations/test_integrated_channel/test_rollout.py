# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whose learning time is looked up: the arithmetic, the decisions, and what becomes of rows on either side."""

import json
import logging
import statistics
import threading
import uuid
from collections import Counter
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connections, transaction
from django.utils import timezone

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    LearningTime,
    WebhookRollout,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import delivery, enrichment, rollout
from channel_integrations.integrated_channel.services.rollout import BUCKETS, Rollout, bucket
from tests.factories import COURSE, grade_event, make_customer, make_endpoint, make_learner, write_grade

ACME = uuid.UUID("c0ffee00-0000-4000-8000-000000000001")
BOLT = uuid.UUID("ffffffff-ffff-4fff-bfff-ffffffffffff")


# ---- the arithmetic


@pytest.mark.parametrize(
    ("customer", "user_id", "place"),
    [
        (ACME, 1, 2267),
        (ACME, 2, 494),
        (ACME, 3, 4952),
        (ACME, 2_147_483_647, 1269),
        (BOLT, 1, 552),
        (BOLT, 123_456, 439),
        (uuid.UUID(int=0), 0, 2362),
    ],
)
def test_a_learners_place_never_changes(customer, user_id, place):
    """From one release to the next: a changed value here moves learners across the line on every site."""
    assert bucket(customer, user_id) == place


def test_a_growing_percentage_only_adds_learners():
    learners = [(uuid.UUID(int=customer), user_id) for customer in range(20) for user_id in range(1000)]
    before: set = set()
    for percentage in (0, 5, 25, 50, 75, 100):
        state = Rollout(True, percentage)
        inside = {who for who in learners if not state.reason_against(*who, ["rollout"])}
        assert before <= inside
        assert len(inside) / len(learners) == pytest.approx(percentage / 100, abs=0.01)
        before = inside
    assert len(before) == len(learners)


def test_learners_are_spread_evenly_also_within_one_customer():
    deciles = Counter(bucket(ACME, user_id) * 10 // BUCKETS for user_id in range(1, 20_001))
    assert sorted(deciles) == list(range(10))
    # Twenty thousand draws: a decile has 2000 with a standard deviation of 42.
    assert all(abs(count - 2000) < 5 * 42 for count in deciles.values()), deciles
    assert statistics.mean(bucket(ACME, user_id) for user_id in range(1, 20_001)) == pytest.approx(5000, abs=100)


def test_one_learners_side_differs_between_customers():
    """Else the same few would try out everything first."""
    sides = {bucket(uuid.UUID(int=customer), 7) < BUCKETS // 2 for customer in range(20)}
    assert sides == {True, False}


ON, OFF, PAUSED = Rollout(True, 100), Rollout(False, 100), Rollout(True, 100, True)
NOBODY = Rollout(True, 0)


@pytest.mark.parametrize(
    ("state", "switches", "reason"),
    [
        (ON, ["rollout"], ""),
        (ON, [None], ""),
        (ON, [], ""),
        (ON, ["always"], ""),
        (ON, ["never"], "endpoint_never"),
        (ON, ["never", "rollout"], ""),
        (NOBODY, ["rollout"], "not_rolled_out"),
        (NOBODY, [None], "not_rolled_out"),
        (NOBODY, ["written past the form"], "not_rolled_out"),
        (NOBODY, ["always"], ""),
        (NOBODY, ["never", "always"], ""),
        (NOBODY, ["never", "rollout"], "not_rolled_out"),
        (NOBODY, ["never"], "endpoint_never"),
        (PAUSED, ["always"], "paused"),
        (PAUSED, ["never"], "paused"),
        (OFF, ["always"], "flag_off"),
        (Rollout(False, 100, True), ["always"], "flag_off"),
    ],
)
def test_the_flag_beats_the_pause_beats_the_switch_beats_the_percentage(state, switches, reason):
    assert state.reason_against(ACME, 1, switches) == reason


def test_the_line_lies_at_the_percentage():
    place = bucket(ACME, 1)
    assert Rollout(True, place // 100).reason_against(ACME, 1, ["rollout"]) == "not_rolled_out"
    assert Rollout(True, place // 100 + 1).reason_against(ACME, 1, ["rollout"]) == ""


# ---- decisions


@pytest.fixture
def flag_on(settings):
    settings.FEATURES = {**settings.FEATURES, "ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT": True}


@pytest.mark.django_db
def test_nobody_has_decided_is_everyone(flag_on):
    assert rollout.current() == rollout.latest() == Rollout(True, 100, False)


@pytest.mark.django_db
def test_the_newest_decision_holds_and_changes_only_what_it_says(flag_on):
    rollout.decide(percentage=5, note="first step", by=7)
    rollout.decide(paused=True)
    rollout.decide(percentage=25)
    assert rollout.latest() == Rollout(True, 25, True)
    rollout.decide(paused=False)
    assert rollout.latest() == Rollout(True, 25, False)
    kept = WebhookRollout.objects.order_by("number").values_list(
        "number", "percentage", "paused", "decided_by_id", "note"
    )
    assert list(kept) == [
        (1, 5, False, 7, "first step"),
        (2, 5, True, None, ""),
        (3, 25, True, None, ""),
        (4, 25, False, None, ""),
    ]


@pytest.mark.django_db
def test_what_holds_already_is_no_decision():
    assert rollout.decide(percentage=100, paused=False) is None
    rollout.decide(percentage=0)
    assert rollout.decide(percentage=0) is None
    assert WebhookRollout.objects.count() == 1


@pytest.mark.django_db
def test_a_decision_that_the_table_refuses_is_no_decision():
    with pytest.raises(IntegrityError):
        WebhookRollout.decide(percentage=None)
    assert rollout.decide(percentage=5).number == 1


@pytest.mark.django_db
def test_an_endpoints_switch_is_kept_with_who_set_it():
    endpoint = make_endpoint(make_customer(), "https://partner.example.com/hook")
    rollout.decide(percentage=5)
    made = rollout.switch_endpoint(endpoint, LearningTime.ALWAYS, by=7, note="pilot")
    endpoint.refresh_from_db()
    assert endpoint.learning_time == "always"
    assert (made.number, made.endpoint_id, made.learning_time, made.percentage) == (2, endpoint.pk, "always", 5)
    assert rollout.switch_endpoint(endpoint, LearningTime.ALWAYS) is None
    assert list(rollout.own_switches()) == [endpoint]
    rollout.switch_endpoint(endpoint, LearningTime.ROLLOUT)
    assert list(rollout.own_switches()) == []


@pytest.mark.django_db
def test_who_decided_is_told_also_after_the_account_is_gone(django_user_model):
    user = django_user_model.objects.create(username="ola")
    rollout.decide(percentage=5, by=user.pk)
    rollout.decide(percentage=25)
    assert [rollout.who(decision) for decision in rollout.history()] == ["command", "ola"]
    pk = user.pk
    user.delete()
    assert [rollout.who(decision) for decision in rollout.history()] == ["command", f"user {pk}"]


@pytest.mark.django_db
def test_a_decision_is_logged_without_its_note(caplog):
    with caplog.at_level(logging.INFO, "channel_integrations"):
        rollout.decide(percentage=5, by=7, note="Maria asked")
    assert "source=webhook_rollout status=decided number=1 percentage=5 paused=False" in caplog.text
    assert "Maria" not in caplog.text


@pytest.mark.mariadb
@pytest.mark.parametrize("round_", range(3))
def test_decisions_at_once_undo_nothing_of_each_other(committed_db, flag_on, round_):
    """Whoever raises the percentage in the moment of a pause does not undo it."""
    barrier, errors = threading.Barrier(4), []

    def at_once(**changes):
        try:
            barrier.wait()
            with transaction.atomic():
                rollout.decide(**changes)
        except Exception as err:
            errors.append(err)
        finally:
            connections.close_all()

    asked = [{"paused": True}, {"percentage": 5}, {"percentage": 25}, {"percentage": 50}]
    threads = [threading.Thread(target=at_once, kwargs=changes) for changes in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert rollout.latest().paused
    assert sorted(WebhookRollout.objects.values_list("number", flat=True)) == [1, 2, 3, 4]


# ---- what a process remembers


@pytest.mark.django_db
def test_a_process_asks_once_in_five_seconds(flag_on, django_assert_num_queries, monkeypatch):
    assert rollout.KEPT_SECONDS == 5, "what the documentation promises"
    with django_assert_num_queries(1):
        for _ in range(100):
            rollout.current()
    WebhookRollout.decide(percentage=5)  # by another process
    assert rollout.current().percentage == 100
    monkeypatch.setattr(rollout, "KEPT_SECONDS", 0.0)  # five seconds later
    assert rollout.current().percentage == 5


@pytest.mark.django_db
def test_who_asks_for_the_latest_gets_it(flag_on):
    assert rollout.current().percentage == 100
    WebhookRollout.decide(percentage=5)  # by another process
    assert rollout.latest().percentage == 5
    assert rollout.current().percentage == 5, "and the process remembers it"


@pytest.mark.django_db
def test_with_the_flag_off_nothing_is_asked(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert rollout.current() == rollout.latest() == Rollout(False)


def test_the_process_that_decides_goes_by_it_once_it_is_committed(committed_db, flag_on):
    assert rollout.current().percentage == 100
    with transaction.atomic():
        rollout.decide(percentage=5)
        assert rollout.current().percentage == 100
    assert rollout.current().percentage == 5


def test_a_decision_that_is_rolled_back_never_held(committed_db, flag_on):
    with pytest.raises(RuntimeError), transaction.atomic():
        rollout.decide(percentage=5)
        raise RuntimeError("the request failed afterwards")
    assert rollout.current().percentage == 100


# ---- rows


@pytest.fixture
def acme(receiver):
    """Acme, with an endpoint for everyone."""
    customer = make_customer("Acme")
    make_endpoint(customer, receiver.url_for("/hook"))
    return customer


def rows():
    return list(WebhookTransmissionQueue.objects.order_by("pk"))


def set_percentage(percentage):
    WebhookRollout.decide(percentage=percentage)
    rollout.decision.forget()


def set_paused(paused=True):
    WebhookRollout.decide(paused=paused)
    rollout.decision.forget()


def learner_at(customer, inside, percentage=50):
    """A learner of the customer on this side of the percentage."""
    while True:
        learner = make_learner(customer)
        if (bucket(customer.uuid, learner.id) < percentage * 100) is inside:
            return learner


def states():
    return [(row.status, row.learning_time_status) for row in rows()]


@pytest.mark.django_db
def test_a_row_is_made_for_the_learners_side(flag_on, acme):
    set_percentage(50)
    grade_event(learner_at(acme, inside=True))
    grade_event(learner_at(acme, inside=False))
    assert states() == [(WebhookStatus.AWAITING_ENRICHMENT, ""), (WebhookStatus.RECORDED, "not_rolled_out")]
    assert [row.enrich_by is None for row in rows()] == [False, True]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("switch", "percentage", "state"),
    [
        ("always", 0, (WebhookStatus.AWAITING_ENRICHMENT, "")),
        ("never", 100, (WebhookStatus.RECORDED, "endpoint_never")),
        (None, 100, (WebhookStatus.AWAITING_ENRICHMENT, "")),
        (None, 0, (WebhookStatus.RECORDED, "not_rolled_out")),
    ],
)
def test_an_endpoints_switch_beats_the_percentage(flag_on, acme, switch, percentage, state):
    set_percentage(percentage)
    acme.webhook_endpoints.update(learning_time=switch)
    grade_event(make_learner(acme))
    assert states() == [state]


@pytest.mark.django_db
def test_one_customers_switch_is_not_another_ones(flag_on, acme, receiver):
    set_percentage(0)
    bolt = make_customer("Bolt")
    make_endpoint(bolt, receiver.url_for("/hook"), learning_time="always")
    learner = make_learner(acme)
    make_learner(bolt, user=learner)
    grade_event(learner)
    by_customer = {row.enterprise_customer_uuid: row.status for row in rows()}
    assert by_customer == {acme.uuid: WebhookStatus.RECORDED, bolt.uuid: WebhookStatus.AWAITING_ENRICHMENT}


@pytest.mark.django_db
def test_paused_rows_are_made_plain_and_resuming_does_not_go_back_for_them(flag_on, acme, receiver):
    acme.webhook_endpoints.update(learning_time="always")
    set_paused()
    grade_event(make_learner(acme))
    assert states() == [(WebhookStatus.RECORDED, "paused")]
    set_paused(False)
    call_command("send_due_webhooks")
    assert states() == [(WebhookStatus.DELIVERED, "paused")]
    grade_event(make_learner(acme))
    assert states()[1] == (WebhookStatus.AWAITING_ENRICHMENT, "")


@pytest.mark.django_db
def test_a_growing_percentage_does_not_go_back_for_rows(flag_on, acme, receiver):
    set_percentage(0)
    learner = make_learner(acme)
    passed_at = timezone.now()
    grade_event(learner, passed_at=passed_at)
    set_percentage(100)
    grade_event(learner, passed_at=passed_at)
    call_command("send_due_webhooks")
    assert states() == [(WebhookStatus.DELIVERED, "not_rolled_out")]


@pytest.mark.django_db
def test_no_event_pays_for_the_rollout(flag_on, acme, django_assert_num_queries):
    """Five queries for a new pass and two for a repeated one, as without it; the first in five seconds pays one."""
    set_percentage(50)
    learners = [make_learner(acme) for _ in range(3)]
    passed_at = timezone.now()
    with transaction.atomic():
        with django_assert_num_queries(6):
            grade_event(learners[0], passed_at=passed_at)
        for learner in learners[1:]:
            with django_assert_num_queries(5):
                grade_event(learner, passed_at=passed_at)
        with django_assert_num_queries(2):
            grade_event(learners[0], passed_at=passed_at)
        with django_assert_num_queries(0):
            grade_event(learners[0], passed_at=None, letter="")


@pytest.mark.django_db
def test_a_backfill_goes_by_the_rollout(flag_on, acme):
    (endpoint,) = acme.webhook_endpoints.all()
    endpoint.send_from = timezone.now()
    endpoint.save()
    set_percentage(50)
    passed_at = timezone.now() - timedelta(days=20)
    for inside in (True, False):
        write_grade(learner_at(acme, inside), passed_at=passed_at)
    since = (passed_at - timedelta(days=1)).isoformat()
    call_command("backfill_webhooks", "--endpoint", str(endpoint.pk), "--since", since)
    assert Counter(states()) == {
        (WebhookStatus.AWAITING_ENRICHMENT, ""): 1,
        (WebhookStatus.RECORDED, "not_rolled_out"): 1,
    }


# ---- rows that wait while something is decided


def completion_of(request):
    return json.loads(request.get_data())["completion"]


def enrich():
    return enrichment.enrich_in_slot(hand_over=lambda: None)


@pytest.fixture
def waiting(snowflake, acme):
    """Three webhooks that wait for a learning time that Snowflake has."""
    for _ in range(3):
        learner = make_learner(acme)
        snowflake.add(learner.id, COURSE, acme.uuid, 5400)
        grade_event(learner)
    assert states() == [(WebhookStatus.AWAITING_ENRICHMENT, "")] * 3
    return rows()


@pytest.mark.django_db
def test_the_kill_switch_sends_what_waits_at_once_and_asks_snowflake_nothing(waiting, receiver, caplog):
    caplog.set_level(logging.INFO, "channel_integrations")
    rollout.decide(paused=True)
    call_command("send_due_webhooks")
    assert states() == [(WebhookStatus.DELIVERED, "paused")] * 3
    assert [completion_of(request).get("learning_time") for request, _ in receiver.log] == [None] * 3
    assert "snowflake_client" not in caplog.text


@pytest.mark.django_db
def test_the_sweep_does_not_go_by_what_its_process_remembers(waiting, receiver):
    assert not rollout.current().paused
    WebhookRollout.decide(paused=True)  # by another process, a moment ago
    call_command("send_due_webhooks")
    assert states() == [(WebhookStatus.DELIVERED, "paused")] * 3


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (set_paused, "paused"),
        (lambda: set_percentage(0), "not_rolled_out"),
        (lambda: EnterpriseWebhookConfiguration.objects.update(learning_time="never"), "endpoint_never"),
    ],
)
def test_a_lookup_that_has_not_begun_goes_by_what_holds_by_then(waiting, caplog, change, outcome):
    caplog.set_level(logging.INFO, "channel_integrations")
    change()
    assert enrich() == len(waiting)
    assert states()[0] == (WebhookStatus.RECORDED, outcome)
    assert "snowflake_client" not in caplog.text


@pytest.mark.django_db
@pytest.mark.parametrize("change", [set_paused, lambda: set_percentage(0)])
def test_a_number_that_was_looked_up_before_is_not_sent_after(waiting, receiver, change):
    """And the row says so: what is counted as sent with learning time was sent with it."""
    assert enrich() == len(waiting)
    assert WebhookTransmissionQueue.objects.get(pk=waiting[0].pk).learning_time == 5400
    change()
    delivery.deliver_due()
    assert len(receiver.log) == len(waiting)
    assert not any("learning_time" in completion_of(request) for request, _ in receiver.log)
    row = WebhookTransmissionQueue.objects.get(pk=waiting[0].pk)
    assert (row.status, row.learning_time) == (WebhookStatus.DELIVERED, None)
    assert row.learning_time_status in ("paused", "not_rolled_out")


@pytest.mark.django_db
def test_why_there_was_none_in_the_first_place_stays(waiting, receiver):
    WebhookTransmissionQueue.objects.update(enrich_by=timezone.now())
    assert enrichment.release_overdue() == 3
    set_paused()
    delivery.deliver_due()
    assert states() == [(WebhookStatus.DELIVERED, "overdue")] * 3


@pytest.mark.django_db
def test_with_nothing_decided_against_it_the_number_arrives(waiting, receiver):
    assert enrich() == len(waiting)
    delivery.deliver_due()
    assert [completion_of(request)["learning_time"] for request, _ in receiver.log] == [5400] * 3
    assert states()[0] == (WebhookStatus.DELIVERED, "found")


@pytest.mark.django_db
@pytest.mark.parametrize(("region", "learning_time"), [("US", 5400), ("OTHER", None)])
def test_of_two_endpoints_the_one_that_gets_it_decides(snowflake, acme, receiver, region, learning_time):
    """The pass is looked up since one of them wants it; where the webhook goes is known only when it is addressed."""
    from social_django.models import UserSocialAuth

    set_percentage(0)
    make_endpoint(acme, receiver.url_for("/hook"), region="US", learning_time="always")
    learner = make_learner(acme)
    UserSocialAuth.objects.create(user=learner, provider="saml", uid=str(learner.id), extra_data={"country": [region]})
    snowflake.add(learner.id, COURSE, acme.uuid, 5400)
    grade_event(learner)
    (row,) = rows()
    assert enrich() == 1
    delivery.deliver_due()
    row.refresh_from_db()
    (request,) = [request for request, _ in receiver.log]
    assert (row.region, completion_of(request).get("learning_time")) == (region, learning_time)
    assert row.learning_time_status == ("found" if learning_time else "not_rolled_out")


@pytest.mark.redis
def test_the_kill_switch_reaches_workers_that_run(committed_db, snowflake, acme, redis_server, start_worker, receiver):
    """No restart, no cron and no enrichment worker: what waits goes out, and what comes is not looked up."""
    from tests.lms_host.celery import app
    from tests.test_channel_integrations.test_integrated_channel.test_webhook_learning_time_integration import (
        delivered,
        pass_course,
        wait_for,
    )

    before = app.conf.broker_url
    app.conf.broker_url = app.conf.broker_write_url = redis_server.url(0)
    try:
        start_worker("edx.lms.core.default", LMS_SNOWFLAKE_PORT=str(snowflake.port))
        pass_course(make_learner(acme))
        assert states() == [(WebhookStatus.AWAITING_ENRICHMENT, "")]
        rollout.decide(paused=True)
        wait_for(delivered(1))
        pass_course(make_learner(acme))
        wait_for(delivered(2))
    finally:
        app.conf.broker_url = app.conf.broker_write_url = before
    assert states() == [(WebhookStatus.DELIVERED, "paused")] * 2


# ---- beside an earlier release, which knows nothing of this


@pytest.mark.django_db
def test_an_endpoint_that_an_earlier_release_has_added_is_in_the_rollout(flag_on, acme):
    """Its INSERT does not name the column."""
    acme.webhook_endpoints.update(learning_time=None)
    set_percentage(50)
    grade_event(learner_at(acme, inside=True))
    grade_event(learner_at(acme, inside=False))
    assert states() == [(WebhookStatus.AWAITING_ENRICHMENT, ""), (WebhookStatus.RECORDED, "not_rolled_out")]
