# SPDX-License-Identifier: AGPL-3.0-or-later
"""How much an endpoint takes: arithmetic."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from channel_integrations.integrated_channel.services.admission import (
    BREAKER_OPEN_AT_MOST,
    EndpointState,
    breaker_open_for,
    to_be_disabled,
)

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HEALTHY = EndpointState(
    max_concurrent=4,
    max_per_minute=None,
    in_flight=0,
    failures_in_a_row=0,
    breaker_open_until=None,
    paused_until=None,
    next_request_at=None,
    one_at_a_time=False,
)


@pytest.mark.parametrize(
    ("changes", "admitted"),
    [
        ({}, 4),
        ({"in_flight": 3}, 1),
        ({"in_flight": 4}, 0),
        ({"in_flight": 9}, 0),
        ({"failures_in_a_row": 1}, 1),
        ({"failures_in_a_row": 1, "in_flight": 1}, 0),
        ({"one_at_a_time": True}, 1),
        ({"breaker_open_until": NOON + SECOND, "failures_in_a_row": 5}, 0),
        ({"breaker_open_until": NOON, "failures_in_a_row": 5}, 1),
        ({"breaker_open_until": NOON, "failures_in_a_row": 5, "in_flight": 1}, 0),
        ({"paused_until": NOON + SECOND}, 0),
        ({"paused_until": NOON - SECOND}, 4),
        ({"max_per_minute": 1}, 1),
        ({"max_per_minute": 1, "next_request_at": NOON + SECOND}, 0),
        ({"max_per_minute": 122}, 2),
        ({"max_per_minute": 122, "next_request_at": NOON}, 1),
        ({"max_per_minute": 6000}, 4),
    ],
)
def test_how_many_are_admitted(changes, admitted):
    assert replace(HEALTHY, **changes).admits(10, NOON) == admitted


def test_no_more_than_wanted():
    assert HEALTHY.admits(2, NOON) == 2
    assert HEALTHY.admits(0, NOON) == 0


@pytest.mark.parametrize("per_minute", [1, 2, 7, 59, 60, 61, 100, 600, 5000])
@pytest.mark.parametrize("idle", [0, 30])
def test_no_sixty_seconds_see_more_than_the_limit(per_minute, idle):
    """Five minutes of asking every 50 ms, after a pause in which nothing was saved up."""
    state, sent = replace(HEALTHY, max_per_minute=per_minute, max_concurrent=1000), []
    now = NOON
    for step in range(5 * 60 * 20):
        now = NOON + idle * SECOND + step * timedelta(milliseconds=50)
        admitted = state.admits(1000, now)
        if admitted:
            state = replace(state, next_request_at=state.next_request_after(admitted, now))
            sent += [now] * admitted
    first = 0
    for position, moment in enumerate(sent):
        while moment - sent[first] >= timedelta(seconds=60):
            first += 1
        assert position - first + 1 <= per_minute
    assert len(sent) >= 4 * per_minute, "and it is made use of"


def test_a_closed_gate_says_when_it_opens():
    assert HEALTHY.opens_at() is None
    closed = replace(HEALTHY, breaker_open_until=NOON + SECOND, paused_until=NOON + 3 * SECOND)
    assert closed.opens_at() == NOON + 3 * SECOND
    limited = replace(HEALTHY, max_per_minute=1)
    limited = replace(limited, next_request_at=limited.next_request_after(1, NOON))
    assert limited.opens_at() == NOON + 61 * SECOND


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, None), (4, None), (5, 30), (6, 60), (7, 120), (8, 240), (9, 300), (5000, 300)]
)
def test_how_long_the_breaker_stays_open(failures, seconds):
    opened = breaker_open_for(failures)
    assert opened == (None if seconds is None else timedelta(seconds=seconds))
    assert opened is None or opened <= BREAKER_OPEN_AT_MOST


@pytest.mark.parametrize(
    ("failures", "days", "disabled"), [(10, 5, True), (9, 5, False), (10, 4.9, False), (5000, 4, False), (11, 30, True)]
)
def test_when_an_endpoint_is_switched_off(failures, days, disabled):
    assert to_be_disabled(failures, NOON - timedelta(days=days), NOON) is disabled
