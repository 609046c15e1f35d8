# SPDX-License-Identifier: AGPL-3.0-or-later
"""What lookups cost, and what they would have cost had they waited: worked out by hand."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from channel_integrations.integrated_channel.models import WebhookLookupStatement
from channel_integrations.integrated_channel.services.figures.lookups import with_wakes
from channel_integrations.integrated_channel.services.verification.billing import Bill, Price, bill
from channel_integrations.integrated_channel.services.verification.waiting import (
    Lookup,
    arrivals_since,
    lookups_of,
    tried_out,
)
from tests.test_channel_integrations.test_integrated_channel.test_verification import save, sent

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def lookup(begins, takes=2, asked=1):
    return Lookup(at(begins), at(begins + takes), asked)


def billed(lookups, suspend):
    auto_suspend = timedelta(seconds=suspend)
    found = bill(with_wakes(lookups, auto_suspend), auto_suspend)
    return found.wakes, found.running.total_seconds()


@pytest.mark.parametrize(
    ("lookups", "suspend", "wakes", "seconds"),
    [
        ([], 60, 0, 0),
        # A statement of 2 s, then 60 s idle.
        ([lookup(0)], 60, 1, 62),
        # Asleep after 2 + 10 s, and a minute is billed.
        ([lookup(0)], 10, 1, 60),
        # Awake still at 50; the second ends at 52, and 60 s later it sleeps.
        ([lookup(0), lookup(50)], 60, 1, 112),
        # Asleep at 62; two times 62.
        ([lookup(0), lookup(100)], 60, 2, 124),
        # Asleep at 12, woken at 20: each of the two wakes bills its minute.
        ([lookup(0), lookup(20)], 10, 2, 120),
        # Within the first minute no more is billed: 10 + 2 + 10 < 60.
        ([lookup(0), lookup(10)], 10, 1, 60),
        # A short one beside a long one: until 100 + 60.
        ([lookup(0, takes=100), lookup(10)], 60, 1, 160),
        # Ten minutes' AUTO_SUSPEND, one statement an hour: 2 + 600, each time.
        ([lookup(0), lookup(3600)], 600, 2, 1204),
    ],
)
def test_statements_are_billed_by_wakes_and_until_the_warehouse_suspends(lookups, suspend, wakes, seconds):
    assert billed(lookups, suspend) == (wakes, seconds)


def test_a_statement_that_finds_the_warehouse_awake_adds_its_own_time():
    """Woken before the time that is asked about: from 12:00:00 to 12:00:02, and AUTO_SUSPEND."""
    assert bill([(lookup(0), False)], MINUTE) == Bill(1, 1, 0, timedelta(seconds=62))


@pytest.mark.parametrize(
    ("running", "completions", "per_credit", "credits_per_hour", "cost", "for_1000"),
    [
        # One hour of X-Small at 3 a credit, 100 completions.
        (3600, 100, 3.0, 1.0, 3.0, 30.0),
        # 90 minutes of Medium: 1.5 h * 4 * 2 = 12; for 1,000: 12 * 1000 / 500.
        (5400, 500, 2.0, 4.0, 12.0, 24.0),
        # A single wake: 60 s * 1 credit / 3600 * 3 = 0.05; one completion.
        (60, 1, 3.0, 1.0, 0.05, 50.0),
        (60, 1, 0.0, 1.0, 0.0, 0.0),
    ],
)
def test_the_cost_is_that_of_the_billed_time(running, completions, per_credit, credits_per_hour, cost, for_1000):
    price, found = Price(per_credit, credits_per_hour), Bill(1, completions, 1, timedelta(seconds=running))
    assert price.of(found.running) == pytest.approx(cost)
    assert found.for_1000(price) == pytest.approx(for_1000)


def test_of_nothing_nothing_is_said():
    assert Bill().for_1000(Price(3.0)) is None
    assert Bill().saved_against(Bill()) is None
    assert Bill(running=MINUTE).saved_against(Bill(running=4 * MINUTE)) == 0.75
    assert Bill(running=4 * MINUTE).saved_against(Bill(running=2 * MINUTE)) == -1.0


def simulated(arrivals, wait, takes=2):
    lookups = lookups_of([at(seconds) for seconds in arrivals], timedelta(seconds=wait), timedelta(seconds=takes))
    return [((each.began_at - NOON).total_seconds(), each.asked) for each in lookups]


@pytest.mark.parametrize(
    ("arrivals", "wait", "lookups"),
    [
        ([], 60, []),
        # Nobody waits.
        ([0, 10, 100], 0, [(0, 1), (10, 1), (100, 1)]),
        # What comes while a statement is under way (0 to 2) shares the next.
        ([0, 1, 1.5], 0, [(0, 1), (2, 2)]),
        # At 60 the first has waited long enough, and takes along what came by then; the one of 61 waits until 121.
        ([0, 10, 60, 61], 60, [(60, 3), (121, 1)]),
        # An hour between them: all wait in vain.
        ([0, 3600], 900, [(900, 1), (4500, 1)]),
        # Five hundred at the most; the others are not due before 60 + 10.
        ([0] * 500 + [10] * 3, 60, [(60, 500), (70, 3)]),
        # As many at once: the others are due, and follow when the statement is over.
        ([0] * 503, 60, [(60, 500), (62, 3)]),
    ],
)
def test_who_would_have_waited_for_whom(arrivals, wait, lookups):
    assert simulated(arrivals, wait) == lookups


def test_waiting_times_side_by_side(settings):
    """
    Ten completions, five minutes apart: 0, 300, … 2700.

    At once: ten wakes of 62 s. After 300 s: 0 and 300 together at 300, 600 and 900 at 900, … five. After 900 s: four
    together at 900, four at 2100, two at 3300. After an hour: one.
    """
    settings.CHANNEL_WEBHOOKS_LOOKUP_WAIT_SECONDS = 1000
    found = tried_out([at(300 * number) for number in range(10)], timedelta(seconds=2))
    told = {each.wait.total_seconds(): (each.bill.statements, each.bill.wakes) for each in found}
    assert told == {0: (10, 10), 60: (10, 10), 300: (5, 5), 900: (3, 3), 1000: (3, 3), 3600: (1, 1), 14400: (1, 1)}
    assert [each.bill.running.total_seconds() for each in found] == [620, 620, 310, 186, 186, 62, 62]
    assert {each.bill.completions for each in found} == {10}


def test_which_completions_are_tried_out(db):
    day_ago = timezone.now() - timedelta(days=1)
    long_ago = timezone.now() - timedelta(days=5)
    told, cached, plain, backfilled, held, enrolment, scrubbed, old, waiting = (sent(each, 60) for each in range(9))
    cached.lookup_ms, plain.lookup_ms, backfilled.backfilled = 0, None, True
    enrolment.event_type, scrubbed.purged_at, old.created = "course_enrollment", timezone.now(), long_ago
    waiting.status, waiting.finished_at, held.held_at = "pending", None, timezone.now()
    save(told, cached, plain, backfilled, held, enrolment, scrubbed, old, waiting)
    assert len(arrivals_since(day_ago)) == 3, "told, scrubbed, waiting"
    assert len(arrivals_since(long_ago)) == 4


@pytest.fixture
def a_dear_day(db, snowflake):
    """Three completions, looked up at once: two wakes, since the third follows the second within AUTO_SUSPEND."""
    began = timezone.now() - timedelta(hours=2)
    statements, webhooks = [], []
    for seconds in (0, 1000, 1030):
        moment = began + timedelta(seconds=seconds)
        statements.append(WebhookLookupStatement(began_at=moment, duration_ms=2000, asked=1, found=0, status="ok"))
        webhook = sent(seconds + 1, None)
        webhook.created = moment
        webhooks.append(webhook)
    WebhookLookupStatement.objects.bulk_create(statements)
    save(*webhooks)
    return began


def run(*args):
    out = StringIO()
    call_command("verify_learning_time", *args, stdout=out)
    return out.getvalue()


def test_the_command_tells_costs_unrounded(a_dear_day):
    """62 s, and 30 + 62 s: 154 s of Small at 3 a credit."""
    told = json.loads(run("--json", "--price-per-credit", "3", "--credits-per-hour", "2"))
    lookups = told["lookups"]
    assert (lookups["statements"], lookups["completions"], lookups["wakes"]) == (3, 3, 2)
    assert lookups["billed_seconds"] == pytest.approx(154, abs=0.001)
    assert lookups["cost"] == pytest.approx(154 / 3600 * 2 * 3, rel=1e-5)
    assert lookups["cost_for_1000"] == pytest.approx(lookups["cost"] * 1000 / 3)
    assert told["price"] == {"per_credit": 3.0, "credits_per_hour": 2.0}
    waiting = told["waiting"]
    assert (waiting["set_seconds"], waiting["auto_suspend_seconds"], waiting["statement_seconds"]) == (0.0, 60.0, 2.0)
    saved = {each["seconds"]: each["saved"] for each in waiting["waits"]}
    assert saved[0.0] == 0.0
    # After a minute: at 60 and at 1060, two wakes of 62 s. After an hour: one.
    assert saved[60.0] == pytest.approx(1 - 124 / 154, abs=1e-4)
    assert saved[3600.0] == pytest.approx(1 - 62 / 154, abs=1e-4)


def test_the_command_prints_costs(a_dear_day):
    printed = run("--price-per-credit", "3")
    lines = [line.split() for line in printed.splitlines()]
    assert ["wakes", "2"] in lines and ["warehouse", "billed", "for", "2.6", "min"] in lines
    assert ["cost", "for", "1,000", "completions", "42.78"] in lines  # 154 / 3600 * 3 * 1000 / 3
    assert ["0", "(as", "set)", "3", "2", "2.6", "min", "42.78", "0.0", "%"] in lines
    assert "cost" not in run().partition("\n\n")[2].replace("What lookups cost since", "")


def test_the_time_that_is_set_is_marked(a_dear_day, settings):
    settings.CHANNEL_WEBHOOKS_LOOKUP_WAIT_SECONDS = 3600
    told = json.loads(run("--json"))["waiting"]
    assert told["set_seconds"] == 3600.0
    assert next(each["saved"] for each in told["waits"] if each["seconds"] == 0) == pytest.approx(-92 / 62, abs=1e-3)
    assert "3600 (as set)" in run()


def test_only_what_was_asked_since_then_counts(a_dear_day):
    since = (a_dear_day + timedelta(seconds=500)).isoformat()
    lookups = json.loads(run("--json", "--since", since))["lookups"]
    assert (lookups["statements"], lookups["wakes"]) == (2, 1)
    # The second statement alone, kept awake by the first, which is not asked about.
    since = (a_dear_day + timedelta(seconds=1020)).isoformat()
    lookups = json.loads(run("--json", "--since", since))["lookups"]
    assert (lookups["statements"], lookups["wakes"]) == (1, 0)
    assert lookups["billed_seconds"] == pytest.approx(62, abs=0.001)
