# SPDX-License-Identifier: AGPL-3.0-or-later
"""What was sent, beside what a server that speaks Snowflake's protocol says now."""

import io
import json
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.utils import timezone

from channel_integrations.integrated_channel import snowflake_connection
from channel_integrations.integrated_channel.learning_time_cache import LearningTimeKey, cache_key
from channel_integrations.integrated_channel.models import (
    WebhookLookupStatement,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import delivery, enrichment
from channel_integrations.integrated_channel.services.retention import scrub_learner
from channel_integrations.integrated_channel.services.verification.comparison import QUERY_TAG, Kind, kind_of
from channel_integrations.integrated_channel.services.verification.sample import draw
from channel_integrations.integrated_channel.services.verification.text import KINDS
from channel_integrations.integrated_channel.snowflake_client import SnowflakeLearningTimeClient
from tests.factories import COURSE, grade_event, make_customer, make_endpoint, make_learner
from tests.servers import free_port

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
CUSTOMER = uuid.UUID("0f6c2a52-8d6d-4b31-9b5a-000000000001")


def sent(user_id, seconds, customer=CUSTOMER, **fields):
    """A completion that was delivered an hour ago with these seconds, or without; not saved."""
    hour_ago = timezone.now() - timedelta(hours=1)
    fields = {
        "learning_time_status": "no_row" if seconds is None else "found",
        "finished_at": hour_ago,
        "status": WebhookStatus.DELIVERED,
        "event_type": "course_completion",
        "occurred_at": hour_ago,
        **fields,
    }
    return WebhookTransmissionQueue(
        deduplication_key=uuid.uuid4().hex,
        enterprise_customer_uuid=customer,
        user_id=user_id,
        course_id=COURSE,
        created=hour_ago,
        learning_time=seconds,
        lookup_ms=100,
        **fields,
    )


def know(snowflake, user_id, seconds, customer=CUSTOMER, days_ago=0):
    """The rollup has these seconds of the day on which ``sent`` completions are passed, or of one before it."""
    day = sent(user_id, None).day - days_ago * DAY
    snowflake.add(user_id, COURSE, customer, seconds, date=day.isoformat())


def save(*webhooks):
    WebhookTransmissionQueue.objects.bulk_create(webhooks)


def run(*args):
    """What is printed, and the exit status."""
    out, status = io.StringIO(), 0
    try:
        call_command("verify_learning_time", *map(str, args), stdout=out)
    except SystemExit as err:
        status = err.code
    return out.getvalue(), status


def verify(*args):
    printed, status = run(*args, "--json")
    return {**json.loads(printed), "status": status}


@pytest.mark.parametrize(
    ("then", "now", "kind"),
    [
        (60, 60, Kind.EQUAL),
        (0, 0, Kind.EQUAL),
        (60, 61, Kind.DRIFTED),
        (0, 60, Kind.DRIFTED),
        (60, 0, Kind.DRIFTED),
        (None, None, Kind.NO_NUMBER),
        (None, 60, Kind.MISSING_THEN),
        (None, 0, Kind.MISSING_THEN),
        (60, None, Kind.GONE_NOW),
        (0, None, Kind.GONE_NOW),
    ],
)
def test_zero_is_a_number_and_none_is_none(then, now, kind):
    assert kind_of(then, now) is kind


@pytest.mark.parametrize(("now", "kind"), [(70, Kind.EQUAL), (50, Kind.EQUAL), (71, Kind.DRIFTED), (49, Kind.DRIFTED)])
def test_a_tolerance_is_of_seconds(now, kind):
    assert kind_of(60, now, tolerance=10) is kind
    assert (kind_of(None, 5, 10), kind_of(5, None, 10)) == (Kind.MISSING_THEN, Kind.GONE_NOW)


def test_what_really_went_out_is_equal_until_the_rollup_changes(snowflake, receiver):
    customer = make_customer("Acme")
    make_endpoint(customer, receiver.url_for("/hook"))
    learners, today = [make_learner(customer) for _ in range(2)], timezone.now().date().isoformat()
    for learner in learners:
        snowflake.add(learner.id, COURSE, customer.uuid, 3000, date=today)
        grade_event(learner)
    enrichment.enrich_in_slot(lambda: None)
    delivery.deliver_due()
    told = verify()
    assert (told["compared"], told["share_equal"], told["kinds"]["equal"], told["status"]) == (2, 1.0, 2, 0)
    assert told["final"]["compared"] == 2, "the rollup had today"
    assert told["customers"][0]["name"] == "Acme"
    snowflake.add(learners[0].id, COURSE, customer.uuid, 1000, date="2026-11-19")
    told = verify()
    assert (told["share_equal"], told["kinds"]["drifted"], told["status"]) == (0.5, 1, 1)
    assert told["verdict"] == {
        "ok": False,
        "judged": "all",
        "compared": 2,
        "differ_percent": 50.0,
        "at_most_percent": 5.0,
    }
    assert (told["too_low"], told["too_high"]) == (1, 0)
    assert told["drift_seconds"] == {"p50": 1000, "p95": 1000} and told["drift_relative"]["p50"] == 0.25
    off = WebhookTransmissionQueue.objects.get(user_id=learners[0].id)
    assert told["farthest_off"] == [{"webhook": str(off.webhook_id), "sent": 3000, "now": 4000}]


@pytest.fixture
def six_kinds(snowflake):
    """One webhook of each kind, for two customers."""
    other = uuid.UUID(int=CUSTOMER.int + 1)
    numbers = {1: 100, 3: 250, 4: 60, 6: -5}
    for user_id, seconds in numbers.items():
        know(snowflake, user_id, seconds, CUSTOMER if user_id < 4 else other)
    save(sent(1, 100), sent(2, None), sent(3, 200))
    save(sent(4, None, other, learning_time_status="unreachable"), sent(5, 0, other), sent(6, 5, other))


def test_each_kind_is_counted_by_customer_the_worst_first(six_kinds):
    told = verify()
    assert told["kinds"] == {
        "equal": 1,
        "no_number": 1,
        "drifted": 1,
        "missing_then": 1,
        "gone_now": 1,
        "invalid_now": 1,
    }
    worse, better = told["customers"]
    assert (worse["compared"], worse["share_equal"], worse["drift_seconds"]) == (3, 0.0, None)
    assert better["uuid"] == str(CUSTOMER) and better["share_equal"] == 1 - 1 / 3
    assert better["drift_seconds"] == {"p50": 50, "p95": 50} and better["drift_relative"] == {"p50": 0.2, "p95": 0.2}


def test_a_person_reads_tables(six_kinds):
    printed, status = run("--seed", "7")
    assert status == 1 and printed.endswith("TOO MANY: 66.7 % differ; up to 5 % may.\n")
    assert "6 of 6 completions delivered since" in printed and "--seed 7)" in printed
    for words in (
        "the same number",
        "missing then, known now",
        "sent then, gone now",
        "now a sum that cannot be right",
    ):
        assert words in printed
    assert "(sent too low: 1, too high: 0)" in printed and f"a customer that is gone ({CUSTOMER})" in printed


def test_no_learner_is_named(snowflake):
    know(snowflake, 987654, 60)
    save(sent(987654, 7))
    for printed in (run()[0], run("--json")[0]):
        assert "987654" not in printed and COURSE not in printed


def keys_of(value):
    """Every key of a JSON document."""
    for each in value.values() if isinstance(value, dict) else value:
        yield from keys_of(each) if isinstance(each, dict | list) else ()
    yield from value if isinstance(value, dict) else ()


def test_the_page_explains_every_kind_and_every_key(six_kinds):
    page = (Path(__file__).parents[3] / "docs/how-tos/verify_learning_time.md").read_text()
    plain = " ".join(page.lower().split())
    assert [words for words in KINDS.values() if words not in plain] == []
    told = json.loads(run("--json", "--price-per-credit", "3")[0])
    assert {key for key in keys_of(told) if f"`{key}`" not in page} == set()


@pytest.mark.parametrize(("limit", "status"), [("66", 1), ("66.7", 0), ("100", 0), ("0", 1)])
def test_the_limit_is_an_option(six_kinds, limit, status):
    assert run("--at-most-percent", limit)[1] == status


def test_five_percent_may_differ_unless_said_otherwise(snowflake):
    save(*(sent(user_id, None) for user_id in range(1, 20)), sent(20, 60))
    assert (verify()["verdict"]["differ_percent"], verify()["status"]) == (5.0, 0)
    save(sent(21, 60))
    assert verify()["status"] == 1


# ---- through which day


def test_what_was_learned_after_the_pass_is_no_drift(snowflake):
    know(snowflake, 1, 100)
    know(snowflake, 1, 20, days_ago=1)
    know(snowflake, 1, 999, days_ago=-1)
    save(sent(1, 120))
    assert verify()["kinds"]["equal"] == 1


def test_while_the_day_is_missing_it_is_too_early_to_compare(snowflake):
    know(snowflake, 1, 60, days_ago=1)
    save(sent(1, 60), sent(2, 5))
    told = verify()
    assert (told["compared"], told["delivered"]["too_early"], told["status"]) == (0, 2, 0)
    yesterday = sent(1, None).day - DAY
    assert told["as_of"] == yesterday.isoformat()
    printed, _status = run()
    assert f"Left out: 2 of the sample, of days that the warehouse does not have yet (it has {yesterday})." in printed
    know(snowflake, 1, 60)
    assert verify()["kinds"]["drifted"] == 1


@pytest.fixture
def two_finals(snowflake):
    """Two of three were final when they were sent, and stand; the third was not, and has drifted."""
    for user_id in (1, 2, 3):
        know(snowflake, user_id, 60)
    final = {"learning_time_as_of": sent(1, None).day}
    early = {"learning_time_as_of": sent(1, None).day - DAY}
    save(sent(1, 60, **final), sent(2, 60, **final), sent(3, 20, **early))


def test_final_numbers_are_told_apart(two_finals, snowflake):
    told = verify()
    assert (told["final"]["compared"], told["final"]["share_equal"]) == (2, 1.0)
    assert (told["not_final"]["compared"], told["not_final"]["kinds"]["drifted"]) == (1, 1)
    assert told["status"] == 1
    printed, status = run("--judge", "final")
    assert status == 0 and printed.endswith("All is well: 0.0 % of those that were final differ; up to 5 % may.\n")
    know(snowflake, 1, 1)
    assert run("--judge", "final")[1] == 1


def test_what_was_revised_is_compared_by_its_revision(snowflake):
    know(snowflake, 1, 60)
    completion = sent(1, 20, learning_time_as_of=sent(1, None).day - DAY)
    revision = sent(
        1,
        60,
        event_type="course_completion.revised",
        revises=completion.webhook_id,
        learning_time_as_of=completion.day,
        status=WebhookStatus.PENDING,
    )
    save(completion, revision)
    assert verify()["not_final"]["kinds"]["drifted"] == 1, "the partner does not have it yet"
    WebhookTransmissionQueue.objects.filter(revises=completion.webhook_id).update(status=WebhookStatus.DELIVERED)
    assert (verify()["compared"], verify()["final"]["kinds"]["equal"]) == (1, 1)


def test_days_that_lie_apart_take_more_statements(snowflake):
    """Eight of them in one, as for every lookup."""
    know(snowflake, 99, 1)
    days = [sent(number, None, occurred_at=timezone.now() - number * DAY) for number in range(1, 18)]
    save(*days, *(sent(100 + number, None, occurred_at=each.occurred_at) for number, each in enumerate(days)))
    told = verify()
    assert (told["compared"], told["asked_now"]["statements"]) == (34, 3)


# ---- which webhooks


def test_a_sample_is_bounded_and_the_same_for_the_same_seed(snowflake):
    save(*(sent(user_id, None) for user_id in range(1, 41)))
    everything = timezone.now() - DAY
    ten = draw(10, everything, seed=1)
    assert (len(ten.pks), ten.of) == (10, 40)
    assert draw(10, everything, seed=1).pks == ten.pks != draw(10, everything, seed=2).pks
    assert draw(1000, everything, seed=1).of == len(draw(1000, everything, seed=1).pks) == 40
    save(sent(41, None))
    assert len(set(draw(10, everything, seed=1).pks) & set(ten.pks)) >= 9, "one more webhook changes one of them"
    assert (verify("--sample", "10")["compared"], verify("--sample", "50")["compared"]) == (10, 41)
    assert verify("--seed", "3")["seed"] == 3


def test_five_hundred_share_a_statement(snowflake):
    save(*(sent(user_id, None) for user_id in range(1, 502)))
    assert verify("--sample", "500")["asked_now"]["statements"] == 1
    assert verify("--sample", "501")["asked_now"]["statements"] == 2


def test_what_cannot_be_compared_is_left_out_and_said(snowflake, receiver):
    save(
        sent(1, None), sent(2, 60), sent(3, None, learning_time_status="paused"), sent(4, None, learning_time_status="")
    )
    save(sent(5, 60, status=WebhookStatus.FAILED), sent(6, 60, event_type="course_enrollment"))
    save(sent(7, 60, finished_at=timezone.now() - 3 * DAY))
    scrub_learner(2)
    told = verify("--since", (timezone.now() - DAY).isoformat())
    assert told["compared"] == 1
    assert told["delivered"] == {"comparable": 1, "scrubbed": 1, "not_looked_up": 2, "too_early": 0}
    assert verify()["compared"] == 2, "as far back as webhooks are kept"
    printed, _status = run()
    assert "Left out: 2 that were to go out without learning time.\n" in printed
    assert "Left out: 1 whose personal data has been removed.\n" in printed


def test_without_a_webhook_nobody_is_asked(db, settings):
    settings.SNOWFLAKE_CONFIG = {}
    printed, status = run()
    assert status == 0 and "Nothing to compare." in printed


# ---- how the warehouse is asked


def test_the_cache_is_neither_asked_nor_told(snowflake):
    know(snowflake, 1, 100)
    save(sent(1, 100), sent(2, None))
    day = sent(1, None).day
    known, unknown = (cache_key(LearningTimeKey(user_id, COURSE, str(CUSTOMER), day)) for user_id in (1, 2))
    cache.set(known, {"seconds": 7, "as_of": day})
    key = LearningTimeKey(1, COURSE, str(CUSTOMER), day)
    assert SnowflakeLearningTimeClient().get_learning_times([key]).seconds == {key: 7}, "a lookup believes it"
    assert verify()["kinds"]["equal"] == 1
    assert (cache.get(known), cache.get(unknown)) == ({"seconds": 7, "as_of": day}, None)


def test_it_is_no_lookup_of_a_completion_and_leaves_no_connection(snowflake):
    save(sent(1, None))
    told = verify()
    assert told["asked_now"]["statements"] == 1 and told["asked_now"]["duration_ms"] > 0
    assert (told["lookups"]["statements"], WebhookLookupStatement.objects.count()) == (0, 0)
    assert snowflake_connection._pool is None


def test_the_warehouses_owner_can_tell_it_from_lookups():
    def tag():
        return snowflake_connection._with_defaults({})["session_parameters"]["QUERY_TAG"]

    with pytest.raises(LookupError), snowflake_connection.tagged(QUERY_TAG):
        assert tag() == QUERY_TAG != snowflake_connection.QUERY_TAG
        raise LookupError
    assert tag() == snowflake_connection.QUERY_TAG


def refused(*args):
    with pytest.raises(CommandError) as err:
        run(*args)
    return err.value


def test_a_snowflake_that_is_down_has_an_exit_status_of_its_own(snowflake, settings):
    save(sent(1, 60))
    settings.SNOWFLAKE_CONFIG = {**snowflake.config(), "port": free_port()}
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS = 1
    err = refused()
    assert err.returncode == 3 and "Nothing was compared" in str(err) and "webhook_doctor --learning-time" in str(err)


@pytest.mark.parametrize(
    ("name", "value"),
    [("SNOWFLAKE_CONFIG", {}), ("CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE", "NOWHERE")],
)
def test_so_has_one_that_is_not_set_up(snowflake, settings, name, value):
    save(sent(1, 60))
    setattr(settings, name, value)
    assert refused("--json").returncode == 3


@pytest.mark.parametrize(
    "typed",
    [["--since", "2100-01-01"], ["--credits-per-hour", "2"]],
)
def test_arguments_that_do_not_go_together(db, typed):
    assert refused(*typed).returncode == 2


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--at-most-percent", "nan"], "a number from 0 to 100"),
        (["--at-most-percent", "101"], "a number from 0 to 100"),
        (["--sample", "0"], "a whole number from 1 to 50000"),
        (["--since", "yesterday"], "type a date or a time"),
        (["--price-per-credit", "three"], "a number from 0"),
    ],
)
def test_what_is_typed_wrongly_is_told(db, typed, said):
    assert said in str(refused(*typed))
