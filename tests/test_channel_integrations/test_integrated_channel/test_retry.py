# SPDX-License-Identifier: AGPL-3.0-or-later
"""The schedule and the reading of answers: arithmetic."""

from datetime import UTC, datetime, timedelta

import pytest

from channel_integrations.integrated_channel.services.retry import (
    RETRY_AFTER_CAP,
    SCHEDULE,
    Outcome,
    classify,
    delay_after,
    parse_schedule,
    retry_after,
)

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(status, Outcome.DELIVERED) for status in (200, 201, 202, 204, 299)]
    + [
        (status, Outcome.RETRY)
        for status in (401, 403, 404, 407, 408, 409, 421, 423, 425, 429, 500, 502, 503, 504, 599)
    ]
    + [(410, Outcome.GONE)]
    + [
        (status, Outcome.FAILED)
        for status in (300, 301, 302, 304, 307, 308, 400, 402, 405, 406, 411, 413, 415, 418, 422)
    ],
)
def test_what_an_answer_means(status, outcome):
    assert classify(status) is outcome


def test_ten_attempts_over_75_hours_and_35_minutes():
    assert len(SCHEDULE) + 1 == 10
    assert sum(SCHEDULE, timedelta()) == timedelta(hours=75, minutes=35, seconds=5)


def test_after_the_tenth_attempt_there_is_none():
    assert delay_after(9) is not None
    assert delay_after(10) is None


@pytest.mark.parametrize(("jitter", "seconds"), [(-1, 240), (0, 300), (1, 360)])
def test_jitter_is_a_fifth_either_way(jitter, seconds):
    assert delay_after(2, jitter=jitter) == timedelta(seconds=seconds)


def test_random_jitter_stays_in_bounds_and_varies():
    delays = {delay_after(2) for _ in range(200)}
    assert len(delays) > 100
    assert timedelta(seconds=240) <= min(delays) and max(delays) <= timedelta(seconds=360)


def test_an_endpoints_own_schedule():
    schedule = parse_schedule("5s 10m 72h")
    assert schedule == (timedelta(seconds=5), timedelta(minutes=10), timedelta(hours=72))
    assert delay_after(3, schedule, jitter=0) == timedelta(hours=72)
    assert delay_after(4, schedule) is None


@pytest.mark.parametrize("text", ["", "   "])
def test_no_schedule_is_the_usual_one(text):
    assert parse_schedule(text) is SCHEDULE


@pytest.mark.parametrize(
    "text", ["5", "s", "0s", "73h", "5 s", "5s,5m", "-5s", "1d", "5S", "١s", "9999999s", "1s " * 31]
)
def test_a_schedule_that_cannot_be_read_says_what_to_type(text):
    with pytest.raises(ValueError, match=r"for example|at most"):
        parse_schedule(text)


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (429, "30", 30),
        (503, " 120 ", 120),
        (503, "0", 0),
        (429, "Tue, 24 Nov 2026 12:01:00 GMT", 60),
        (503, "Tuesday, 24-Nov-26 12:01:00 GMT", 60),
        (503, "Tue Nov 24 12:01:00 2026", 60),
        (429, "Tue, 24 Nov 2026 12:01:00 -0000", 60),
        (503, "Tue, 24 Nov 2026 11:00:00 GMT", 0),
        (503, "999999999999", RETRY_AFTER_CAP.total_seconds()),
        (503, "Thu, 24 Nov 2039 12:00:00 GMT", RETRY_AFTER_CAP.total_seconds()),
        (429, None, None),
        (429, "", None),
        (429, "soon", None),
        (429, "-5", None),
        (429, "1.5", None),
        (429, "٣٠", None),
        (429, "Tue, 99 Nov 2026 12:01:00 GMT", None),
        (500, "30", None),
        (200, "30", None),
        (302, "30", None),
    ],
)
def test_what_retry_after_asks_for(status, header, seconds):
    asked = retry_after(status, header, NOON)
    assert asked == (None if seconds is None else timedelta(seconds=seconds))
