# SPDX-License-Identifier: AGPL-3.0-or-later
"""A rollup that moves by a day: what is sent now, held, or revised, and what a partner reads of it."""

import json
import uuid
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.utils import timezone

from channel_integrations.integrated_channel import snowflake_connection, tasks
from channel_integrations.integrated_channel.models import (
    WebhookLookupStatement,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import addressing, enrichment, final_number, revisions, sweep
from channel_integrations.integrated_channel.services.explanation import explain, tell
from channel_integrations.integrated_channel.services.figures import backlog, deliveries
from channel_integrations.integrated_channel.services.retention import scrub_learner
from channel_integrations.integrated_channel.services.whereabouts import whereabouts
from tests.factories import COURSE, grade_event, make_customer, make_endpoint, make_learner
from tests.servers import free_port

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
rows = WebhookTransmissionQueue.objects


class Host:
    """A customer with one endpoint, its partner's server, and the rollup."""

    def __init__(self, snowflake, receiver):
        self.snowflake, self.receiver = snowflake, receiver
        self.customer = make_customer("Acme")
        self.endpoint = make_endpoint(self.customer, receiver.url_for("/hook"), states_as_of=True)
        self.today = timezone.now().date()
        #: of another learner: how far the rollup reaches
        self.somebody = make_learner(self.customer)
        self.learns(self.somebody, 60, self.today - DAY)

    def choose(self, timing, **options):
        type(self.endpoint).objects.update(learning_time_timing=timing, **options)

    def learns(self, learner, seconds, day=None):
        """What the rollup's owners write down of a day."""
        self.snowflake.add(learner.id, COURSE, self.customer.uuid, seconds, str(day or self.today))

    def passes(self, before=0):
        """A learner who learned yesterday, and passes today."""
        learner = make_learner(self.customer)
        if before:
            self.learns(learner, before, self.today - DAY)
        grade_event(learner)
        return learner

    def work(self):
        """A minute of the workers."""
        tasks.enrich_and_send_completion_webhook()
        call_command("send_due_webhooks")
        tasks.enrich_and_send_completion_webhook()
        call_command("send_due_webhooks")

    def wait(self):
        """Until it is time to look again."""
        rows.filter(status=WebhookStatus.AWAITING_FINAL).update(due_at=timezone.now())

    def wait_to_the_end(self):
        """Until nothing is waited for any longer."""
        rows.filter(status=WebhookStatus.AWAITING_FINAL).update(due_at=timezone.now(), enrich_by=timezone.now())
        rows.update(created=timezone.now() - 4 * DAY)

    def received(self):
        return [json.loads(request.get_data()) for request, _answer in self.receiver.log]

    def statuses(self):
        return list(rows.order_by("pk").values_list("status", flat=True))


@pytest.fixture
def host(snowflake, receiver):
    return Host(snowflake, receiver)


def statements():
    return list(WebhookLookupStatement.objects.order_by("pk").values_list("asked", "as_of"))


# ---- now


def test_now_says_as_of_when_and_that_it_is_not_final(host):
    host.passes(before=3600)
    host.work()
    ((completion,),) = ([body["completion"] for body in host.received()],)
    assert completion["learning_time"] == 3600
    assert completion["learning_time_as_of"] == str(host.today - DAY)
    assert completion["learning_time_final"] is False


def test_now_is_final_once_the_rollup_has_the_day(host):
    learner = make_learner(host.customer)
    host.learns(learner, 0)
    grade_event(learner)
    host.work()
    (body,) = host.received()
    assert body["completion"]["learning_time"] == 0
    assert body["completion"]["learning_time_final"] is True


def test_learning_after_the_pass_does_not_change_the_number(host):
    learner = make_learner(host.customer)
    for back, seconds in ((3, 100), (2, 20), (1, 3)):
        host.learns(learner, seconds, host.today - back * DAY)
    grade_event(learner, passed_at=timezone.now() - 2 * DAY)
    host.work()
    (body,) = host.received()
    assert body["completion"]["learning_time"] == 120
    assert body["completion"]["learning_time_final"] is True


@pytest.mark.parametrize("states_as_of", [None, False])
def test_an_endpoint_that_asks_for_no_more_gets_no_more(host, states_as_of):
    host.choose(None, states_as_of=states_as_of)
    host.passes(before=3600)
    host.work()
    (body,) = host.received()
    assert list(body) == [
        "event_type", "event_version", "event_source", "timestamp", "enterprise_customer", "learner", "course",
        "completion",
    ]  # fmt: skip
    assert list(body["completion"]) == [
        "completed", "completion_date", "percent_grade", "letter_grade", "is_passing", "learning_time",
    ]  # fmt: skip


def test_without_a_number_nothing_is_said_of_it(host):
    host.passes()
    host.work()
    (body,) = host.received()
    assert not [name for name in body["completion"] if name.startswith("learning_time")]


# ---- hold


def test_hold_waits_without_a_statement_until_the_rollup_has_the_day(host):
    host.choose("hold")
    learner = host.passes(before=3600)
    host.work()
    assert (host.received(), host.statuses(), statements()) == ([], [WebhookStatus.AWAITING_FINAL], [])
    row = rows.get()
    assert row.due_at.date() == host.today + DAY and f"{row.due_at:%H:%M}" == "06:00"
    assert row.enrich_by - row.created == timedelta(hours=72)
    host.learns(learner, 600)
    host.wait()
    host.work()
    (body,) = host.received()
    assert body["completion"]["learning_time"] == 4200
    assert body["completion"]["learning_time_as_of"] == str(host.today)
    assert body["completion"]["learning_time_final"] is True
    assert statements() == [(1, host.today)]


def test_a_look_in_vain_is_followed_by_another_and_the_end_sends_what_is_known(host):
    host.choose("hold")
    host.passes(before=3600)
    host.wait()
    host.work()
    assert (host.received(), host.statuses()) == ([], [WebhookStatus.AWAITING_FINAL])
    assert rows.get().learning_time == 3600
    host.wait_to_the_end()
    host.work()
    (body,) = host.received()
    assert body["completion"]["learning_time"] == 3600
    assert body["completion"]["learning_time_final"] is False
    assert len(statements()) == 1


def test_that_there_is_no_number_can_be_final_as_well(host):
    host.choose("hold")
    host.passes()
    host.learns(host.somebody, 60)
    host.wait()
    host.work()
    (body,) = host.received()
    assert "learning_time" not in body["completion"]
    assert rows.get().learning_time_status == "no_row"


def test_five_hundred_held_make_one_statement(host):
    host.choose("hold")
    learners = [make_learner(host.customer) for _ in range(5)]
    for learner in learners:
        grade_event(learner)
    pattern = rows.first()
    fields = {
        field.attname: getattr(pattern, field.attname)
        for field in pattern._meta.concrete_fields
        if field.attname not in ("id", "webhook_id", "deduplication_key")
    }
    rows.bulk_create(
        WebhookTransmissionQueue(**{**fields, "user_id": 10_000 + number, "deduplication_key": str(number)})
        for number in range(495)
    )
    host.learns(learners[0], 77)
    host.wait()
    sweep.tidy()
    assert enrichment.enrich_in_slot(hand_over=lambda: None) == 500
    assert statements() == [(500, host.today)]
    assert rows.filter(status=WebhookStatus.RECORDED).count() == 500
    assert rows.get(user_id=learners[0].id).learning_time == 77


def test_a_statement_of_somebody_else_sets_free_what_waits_for_the_day(host):
    host.choose("hold")
    first, second = host.passes(), host.passes()
    assert set(host.statuses()) == {WebhookStatus.AWAITING_FINAL}
    host.learns(first, 60)
    host.learns(second, 120)
    WebhookLookupStatement.objects.create(
        began_at=timezone.now(), duration_ms=1, asked=1, found=1, status="ok", as_of=host.today
    )
    host.work()
    assert {body["completion"]["learning_time"] for body in host.received()} == {60, 120}
    assert statements()[1:] == [(2, host.today)]


def test_a_statement_from_before_the_last_look_sets_nothing_free(host):
    """Else a lookup that fails would be repeated with every sweep."""
    host.choose("hold")
    WebhookLookupStatement.objects.create(
        began_at=timezone.now(), duration_ms=1, asked=1, found=1, status="ok", as_of=host.today
    )
    host.passes()
    assert final_number.release_known_days() == 0


def test_the_flag_switched_off_sends_what_is_held_plain_and_at_once(host, settings):
    host.choose("hold")
    host.passes(before=3600)
    host.wait()
    host.work()
    assert rows.get().learning_time == 3600
    settings.FEATURES = {}
    call_command("send_due_webhooks")
    (body,) = host.received()
    assert "learning_time" not in body["completion"]
    assert rows.get().learning_time_status == "flag_off"


def test_snowflake_down_past_the_end_of_the_wait(host, settings, snowflake):
    host.choose("hold")
    host.passes(before=3600)
    settings.SNOWFLAKE_CONFIG = {**snowflake.config(), "port": free_port()}
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS = 1
    host.wait()
    host.work()
    assert (host.received(), rows.get().learning_time_status) == ([], "unreachable")
    host.wait_to_the_end()
    host.work()
    (body,) = host.received()
    assert "learning_time" not in body["completion"]


def test_a_number_that_is_known_is_not_lost_by_a_lookup_that_fails(host, settings, snowflake):
    host.choose("hold")
    host.passes(before=3600)
    host.wait()
    host.work()
    settings.SNOWFLAKE_CONFIG = {**snowflake.config(), "port": free_port()}
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS = 1
    snowflake_connection.forget_pool()
    host.wait()
    host.work()
    row = rows.get()
    assert (row.status, row.learning_time, row.learning_time_status) == (WebhookStatus.AWAITING_FINAL, 3600, "found")
    assert row.learning_time_as_of == host.today - DAY


def test_an_endpoint_that_is_switched_off_parks_what_was_held(host):
    host.choose("hold")
    learner = host.passes(before=3600)
    host.learns(learner, 60)
    host.choose("hold", active=False)
    host.wait()
    host.work()
    assert (host.statuses(), host.received()) == ([WebhookStatus.PARKED], [])
    host.choose("hold", active=True)
    host.work()
    (body,) = host.received()
    assert body["completion"]["learning_time"] == 3660


def test_the_day_of_a_pass_is_that_of_utc(host):
    """Just before midnight in London it is tomorrow in Tokyo."""
    passed_at = datetime.combine(host.today - DAY, time(23, 59), UTC).astimezone(ZoneInfo("Asia/Tokyo"))
    learner = make_learner(host.customer)
    host.learns(learner, 100, host.today - DAY)
    host.learns(learner, 7, host.today)
    grade_event(learner, passed_at=passed_at)
    host.work()
    (body,) = host.received()
    assert body["completion"]["learning_time"] == 100


def test_a_worker_that_is_missing_holds_nothing_beyond_its_wait(host):
    """Nobody consumes the enrichment queue."""
    host.choose("hold")
    host.passes(before=3600)
    host.wait()
    call_command("send_due_webhooks")
    assert host.statuses() == [WebhookStatus.AWAITING_ENRICHMENT]
    rows.update(enrich_by=timezone.now())
    call_command("send_due_webhooks")
    assert host.statuses() == [WebhookStatus.AWAITING_FINAL]
    host.wait_to_the_end()
    call_command("send_due_webhooks")
    assert len(host.received()) == 1
    assert rows.get().learning_time_status == "overdue"


def test_back_to_now_sends_at_the_next_look(host):
    host.choose("hold")
    host.passes(before=3600)
    host.choose("now")
    assert final_number.look_now(host.customer.uuid) == 1
    host.work()
    (body,) = host.received()
    assert body["completion"]["learning_time_final"] is False


def test_a_customer_with_another_endpoint_that_does_not_hold_is_looked_up_at_once(host):
    """Which of them gets it is known when it is addressed."""
    host.choose("hold")
    make_endpoint(host.customer, host.receiver.url_for("/hook"), region="EU")
    host.passes(before=3600)
    assert host.statuses() == [WebhookStatus.AWAITING_ENRICHMENT]
    host.work()
    assert (host.received(), host.statuses()) == ([], [WebhookStatus.AWAITING_FINAL])
    assert rows.get().endpoint_id == host.endpoint.pk


def test_a_wait_that_ends_before_the_rollup_is_expected_is_looked_up_at_once(host):
    host.choose("hold", hold_hours=1)
    host.passes()
    assert host.statuses() == [WebhookStatus.AWAITING_ENRICHMENT]


# ---- revise


def deliver_completion(host, before=3600):
    """The completion of a learner, sent; its revision waits."""
    host.choose("revise")
    learner = host.passes(before=before)
    host.work()
    assert host.statuses() == [WebhookStatus.DELIVERED, WebhookStatus.AWAITING_FINAL]
    return learner


def test_revise_sends_now_and_the_final_number_later(host):
    learner = deliver_completion(host)
    host.learns(learner, 600)
    host.wait()
    host.work()
    first, second = host.received()
    original, revision = rows.order_by("pk")
    assert first["event_type"] == "course_completion"
    assert first["completion_id"] == second["completion_id"] == str(original.webhook_id)
    assert "revision" not in first
    assert first["completion"]["learning_time"] == 3600
    assert first["completion"]["learning_time_final"] is False
    assert second["event_type"] == "course_completion.revised"
    assert second["revision"] == 1
    assert second["completion"] == {
        **first["completion"],
        "learning_time": 4200,
        "previous_learning_time": 3600,
        "learning_time_as_of": str(host.today),
        "learning_time_final": True,
    }
    assert second["learner"] == first["learner"]
    assert (revision.endpoint_id, revision.status) == (original.endpoint_id, WebhookStatus.DELIVERED)
    assert host.receiver.log[1][0].headers["webhook-id"] == str(revision.webhook_id)


@pytest.mark.parametrize(("more", "revised"), [(0, False), (60, False), (61, True)])
def test_only_a_number_that_differs_by_enough_is_sent(host, more, revised):
    learner = deliver_completion(host)
    host.learns(learner, more)
    host.wait()
    host.work()
    assert len(host.received()) == 1 + revised
    if not revised:
        assert rows.get(revises__isnull=False).reason == "the number that was sent stands"


def test_a_number_where_there_was_none_is_another_one(host):
    learner = deliver_completion(host, before=0)
    host.learns(learner, 5)
    host.wait()
    host.work()
    _first, second = host.received()
    assert second["completion"]["learning_time"] == 5
    assert "previous_learning_time" not in second["completion"]


def test_what_is_final_at_once_is_not_revised_but_has_its_id(host):
    host.choose("revise")
    learner = make_learner(host.customer)
    host.learns(learner, 60)
    grade_event(learner)
    host.work()
    (body,) = host.received()
    assert body["completion_id"] == str(rows.get().webhook_id)


def test_a_revision_waits_until_its_completion_is_delivered(host):
    host.choose("revise")
    host.receiver.clear()
    host.receiver.expect_request("/hook").respond_with_data("no", status=503)
    learner = host.passes(before=3600)
    host.work()
    host.learns(learner, 600)
    host.wait()
    host.work()
    revision = rows.get(revises__isnull=False)
    assert (revision.status, revision.reason) == (
        WebhookStatus.RECORDED,
        "the completion itself is not delivered yet",
    )
    host.receiver.clear()
    host.receiver.expect_request("/hook").respond_with_data("ok")
    for _ in range(2):
        host.endpoint.health.refresh_from_db()
        type(host.endpoint.health).objects.update(paused_until=None, breaker_open_until=None)
        rows.exclude(status=WebhookStatus.DELIVERED).update(due_at=timezone.now())
        host.work()
    assert [body["event_type"] for body in host.received()[-2:]] == ["course_completion", "course_completion.revised"]


@pytest.mark.parametrize("status", [400, 200])
def test_a_completion_that_is_not_delivered_is_not_revised(host, status):
    host.choose("revise")
    host.receiver.clear()
    host.receiver.expect_request("/hook").respond_with_data("", status=status)
    learner = host.passes(before=3600)
    host.work()
    if status == 200:
        rows.filter(revises=None).update(status=WebhookStatus.CANCELLED)
    host.learns(learner, 600)
    host.wait()
    host.work()
    revision = rows.get(revises__isnull=False)
    assert (revision.status, revision.reason) == (WebhookStatus.CANCELLED, "the completion itself was not delivered")
    assert len(host.received()) == 1


def test_a_rollup_that_never_comes_ends_the_wait_of_a_revision(host):
    deliver_completion(host)
    host.wait_to_the_end()
    host.work()
    revision = rows.get(revises__isnull=False)
    assert (revision.status, revision.reason) == (
        WebhookStatus.CANCELLED,
        "no final learning time within its time",
    )


def test_a_pause_of_the_rollout_ends_no_revision(host, settings):
    learner = deliver_completion(host)
    host.learns(learner, 600)
    settings.FEATURES["ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT"] = False
    host.wait()
    host.work()
    assert host.statuses() == [WebhookStatus.DELIVERED, WebhookStatus.AWAITING_FINAL]
    settings.FEATURES["ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT"] = True
    host.wait()
    host.work()
    assert len(host.received()) == 2


def test_an_endpoint_that_no_longer_revises(host):
    learner = deliver_completion(host)
    host.learns(learner, 600)
    host.choose("now")
    host.wait()
    host.work()
    assert rows.get(revises__isnull=False).reason == "the endpoint takes no revisions"


def test_an_endpoint_that_is_deleted_takes_its_revisions_along(host):
    deliver_completion(host)
    host.endpoint.delete()
    assert rows.get(revises__isnull=False).reason == "endpoint deleted"


def test_a_retired_learners_revision_is_scrubbed(host):
    learner = deliver_completion(host)
    assert scrub_learner(learner.pk) == 2
    assert rows.filter(status=WebhookStatus.CANCELLED, user_id=None, percent_grade=None).count() == 1


def test_a_completion_that_is_replayed_is_not_revised_twice(host):
    deliver_completion(host)
    call_command("replay_webhooks", str(rows.get(revises=None).webhook_id))
    host.work()
    assert host.statuses() == [WebhookStatus.DELIVERED, WebhookStatus.AWAITING_FINAL]
    assert len(host.received()) == 2


def test_who_lost_the_lease_makes_no_revision(host):
    """Another worker has the row, and makes it."""
    host.choose("revise")
    host.passes(before=3600)
    tasks.enrich_and_send_completion_webhook()
    (mine,) = rows.claim([rows.get().pk], WebhookStatus.RECORDED, timezone.now())
    rows.update(lease_token=uuid.uuid4())
    addressing._address([mine])
    assert (rows.count(), rows.get().body) == (1, "")


def test_a_revision_that_cannot_be_written_leaves_its_completion_to_be_addressed_again(host):
    """As a kill in between does: both are written, or neither."""
    host.choose("revise")
    host.passes(before=3600)
    tasks.enrich_and_send_completion_webhook()

    def fail(execute, sql, *args):
        if sql.startswith("INSERT") and rows.model._meta.db_table in sql:
            raise OperationalError("deadlock")
        return execute(sql, *args)

    with connection.execute_wrapper(fail), pytest.raises(OperationalError):
        addressing.address_due()
    row = rows.get()
    assert (row.status, row.body) == (WebhookStatus.RECORDED, "")
    rows.update(due_at=timezone.now(), lease_token=None)
    host.work()
    assert host.statuses() == [WebhookStatus.DELIVERED, WebhookStatus.AWAITING_FINAL]


def test_who_is_told_no_learning_time_is_told_no_revision_of_it(host):
    """The form refuses that; a row can be written past it, or learning time be left out while a revision waits."""
    host.choose("revise", omitted_fields=["learning_time"])
    host.passes(before=3600)
    host.work()
    assert host.statuses() == [WebhookStatus.DELIVERED]

    host.choose("revise", omitted_fields=None)
    learner = host.passes(before=3600)
    host.work()
    host.choose("revise", omitted_fields=["learning_time"])
    host.learns(learner, 600)
    host.wait()
    host.work()
    assert host.statuses() == [WebhookStatus.DELIVERED, WebhookStatus.DELIVERED, WebhookStatus.CANCELLED]


def test_a_revision_that_is_there_is_not_made_again(host):
    host.choose("revise")
    learner = host.passes(before=3600)
    tasks.enrich_and_send_completion_webhook()
    row = rows.get()
    rows.bulk_create([revisions.row_for(row, host.endpoint)])
    host.work()
    assert host.statuses() == [WebhookStatus.DELIVERED, WebhookStatus.AWAITING_FINAL]
    host.learns(learner, 600)
    host.wait()
    host.work()
    assert len(host.received()) == 2


def test_two_sweeps_at_once_set_free_once(host):
    host.choose("hold")
    host.passes(before=3600)
    host.wait()
    assert (final_number.release_due(), final_number.release_due()) == (1, 0)


def test_held_webhooks_are_owed_but_not_late_and_spoil_no_target(host):
    host.choose("hold")
    learner = host.passes(before=3600)
    owed = backlog.owed()
    assert (owed.count, owed.late, owed.oldest_due_at) == (1, {}, None)
    host.learns(learner, 60)
    host.wait()
    host.work()
    assert host.statuses() == [WebhookStatus.DELIVERED]
    assert deliveries.latest(DAY).count == 0


def test_where_a_held_webhook_stands(host):
    host.choose("hold")
    host.passes()
    row = rows.get()
    assert (whereabouts(row).code, whereabouts(row).next_at) == ("awaits_final", row.due_at)
    rows.update(enrich_by=row.due_at)
    assert whereabouts(rows.get()).code == "awaits_end"
    host.wait()
    assert whereabouts(rows.get()).code == "waits_for_worker"


def test_where_a_revision_stands(host):
    deliver_completion(host)
    assert whereabouts(rows.get(revises__isnull=False)).code == "awaits_revision"


def test_a_held_completion_is_explained(host):
    host.choose("hold")
    learner = host.passes()
    told = tell(explain(learner, host.customer, COURSE))
    assert told["outcome"] == "on_its_way"
    assert "not final yet" in told["conclusion"]


def test_the_wake_up_circulates_for_what_is_held(host):
    host.choose("hold")
    host.passes()
    assert sweep._next_due() == rows.get().due_at


def test_a_regrade_makes_no_second_completion_while_the_first_is_held(host):
    host.choose("hold")
    learner = make_learner(host.customer)
    passed_at = timezone.now()
    grade_event(learner, passed_at=passed_at)
    grade_event(learner, passed_at=passed_at, percent=0.99)
    assert rows.count() == 1
