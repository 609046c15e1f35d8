# SPDX-License-Identifier: AGPL-3.0-or-later
"""Statements and wakes, by day."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from channel_integrations.integrated_channel.models import WebhookLookupStatement
from channel_integrations.integrated_channel.services.figures import lookups

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def statement(seconds, duration=0.0, asked=1, found=1, status="ok", since=NOON):
    return WebhookLookupStatement(
        began_at=since + timedelta(seconds=seconds),
        duration_ms=round(duration * 1000),
        asked=asked,
        found=found,
        status=status,
    )


@pytest.mark.parametrize(
    ("began", "wakes"),
    [
        ([], 0),
        ([0], 1),
        ([0, 60], 1),
        ([0, 61], 2),
        ([0, 50, 100, 150], 1),
        ([0, 100, 200, 300], 4),
    ],
)
def test_a_statement_wakes_the_warehouse_after_a_silence(began, wakes):
    found = lookups.with_wakes([statement(seconds) for seconds in began], timedelta(seconds=60))
    assert sum(woke for _statement, woke in found) == wakes


def test_the_silence_begins_where_the_longest_statement_ends():
    """A short one beside a long one does not shorten the time for which the warehouse is awake."""
    together = [statement(0, duration=100), statement(10, duration=1), statement(130)]
    assert [woke for _statement, woke in lookups.with_wakes(together, timedelta(seconds=60))] == [
        True,
        False,
        False,
    ]


@pytest.fixture
def three_days(db):
    """Two wakes today, one yesterday at midnight that woke nobody, and one before the window that it follows."""
    midnight = timezone.make_aware(datetime.combine(timezone.localdate() - timedelta(days=1), datetime.min.time()))
    today = midnight + timedelta(days=1)
    WebhookLookupStatement.objects.bulk_create(
        [
            statement(-30, since=midnight, asked=9),
            statement(5, since=midnight, asked=50, found=40),
            statement(0, since=today, asked=2, found=0, status="unreachable"),
            statement(1, since=today),
            statement(3600 * 0.01 + 61, since=today),
        ]
    )


def test_days_have_their_statements_and_wakes(three_days):
    today, yesterday, before = lookups.by_day(3)
    assert (today.statements, today.asked, today.found, today.failed, today.wakes) == (3, 4, 2, 1, 2)
    assert (yesterday.statements, yesterday.asked, yesterday.found, yesterday.failed, yesterday.wakes) == (
        1,
        50,
        40,
        0,
        0,
    )
    assert (before.statements, before.asked) == (1, 9)
    assert lookups.by_day(2)[1].wakes == 0, "the statement before the window counts"


def test_the_auto_suspend_time_is_a_setting(three_days, settings):
    settings.CHANNEL_WEBHOOKS_WAREHOUSE_AUTO_SUSPEND_SECONDS = 600
    assert lookups.by_day(1)[0].wakes == 1


def run(*arguments):
    output = StringIO()
    call_command("webhook_stats", *arguments, stdout=output)
    return output.getvalue()


def test_the_command_prints_a_day_a_line(three_days):
    title, headings, *days = run("--days", "3").partition("Lookups by day")[2].strip().splitlines()
    assert headings.split() == ["day", "statements", "completions", "with", "number", "failed", "wakes"]
    assert days[0].split() == [str(timezone.localdate()), "3", "4", "2", "1", "2"]
    assert len(days) == 3 and "60 s" in title


def test_the_command_prints_json(three_days):
    said = json.loads(run("--days", "1", "--json"))
    assert said["auto_suspend_seconds"] == 60
    assert said["days"] == [
        {"day": str(timezone.localdate()), "statements": 3, "asked": 4, "found": 2, "failed": 1, "wakes": 2}
    ]


@pytest.mark.parametrize("days", ["0", "many", "999"])
def test_bad_input_is_told(days):
    with pytest.raises(CommandError, match="whole number from 1 to 366"):
        run("--days", days)
