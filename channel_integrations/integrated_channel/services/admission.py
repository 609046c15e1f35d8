# SPDX-License-Identifier: AGPL-3.0-or-later
"""
How many webhooks an endpoint takes right now, and how long its breaker stays open: arithmetic only.

What waits for its endpoint stays in the table as it is. Waiting uses up no attempt, and needs no row to be written.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

#: failures in a row that open an endpoint's breaker
BREAKER_FAILURES = 5
#: how long it stays open at first; twice as long after each failed probe, up to the second figure
BREAKER_OPEN = timedelta(seconds=30)
BREAKER_OPEN_AT_MOST = timedelta(minutes=5)
#: an endpoint that has failed for so long, so often and without a success in between is switched off
DISABLE_AFTER = timedelta(days=5)
DISABLE_FAILURES = 10
#: What may be sent at once after a pause is a second's worth. Spreading a minute's requests over 61 seconds makes up
#: for it: no sixty seconds see more than the limit.
BURST = timedelta(seconds=1)
LIMIT_PERIOD = timedelta(seconds=61)

# What an endpoint may be closed by.
BREAKER, PAUSE, RATE_LIMIT = "breaker", "pause", "rate_limit"


class Gate(NamedTuple):
    """What keeps an endpoint closed, and until when; a moment in the past keeps nothing."""

    name: str
    opens_at: datetime


@dataclass(frozen=True)
class EndpointState:
    """What decides how much an endpoint takes; moments are aware, None is "not so"."""

    max_concurrent: int
    max_per_minute: int | None
    in_flight: int
    failures_in_a_row: int
    breaker_open_until: datetime | None
    paused_until: datetime | None
    next_request_at: datetime | None
    one_at_a_time: bool

    def opens_at(self) -> datetime | None:
        """When the breaker, the pause and the rate limit let a webhook through again; None for at once."""
        gate = self.last_gate()
        return gate.opens_at if gate else None

    def last_gate(self) -> "Gate | None":
        """That of the three that opens last; the others are open by then."""
        moments = {
            BREAKER: self.breaker_open_until,
            PAUSE: self.paused_until,
            RATE_LIMIT: self.next_request_at if self.max_per_minute else None,
        }
        gates = [Gate(name, moment) for name, moment in moments.items() if moment]
        return max(gates, key=lambda gate: gate.opens_at, default=None)

    def admits(self, wanted: int, now: datetime) -> int:
        """
        How many of the wanted webhooks may be sent now.

        One at a time while the endpoint fails (after an open breaker that one is the probe) or catches up with what
        was parked, which keeps the order.
        """
        opens_at = self.opens_at()
        if opens_at and opens_at > now:
            return 0
        cautious = self.one_at_a_time or self.failures_in_a_row > 0
        slots = (1 if cautious else self.max_concurrent) - self.in_flight
        return max(min(wanted, slots, self._rate_allows(now)), 0)

    def next_request_after(self, sent: int, now: datetime) -> datetime | None:
        """Where the rate limit stands once so many more are sent; None without a limit."""
        if not self.max_per_minute:
            return None
        return self._rate_from(now) + sent * _interval(self.max_per_minute)

    def _rate_allows(self, now: datetime) -> int:
        if not self.max_per_minute:
            return self.max_concurrent
        return int((now - self._rate_from(now)) / _interval(self.max_per_minute)) + 1

    def _rate_from(self, now: datetime) -> datetime:
        """When the next request was due, no further back than a burst: an idle hour saves nothing up."""
        earliest = now - _burst(self.max_per_minute or 1)
        return max(self.next_request_at or earliest, earliest)


def breaker_open_for(failures_in_a_row: int) -> timedelta | None:
    """How long the breaker stays open after this failure; None where it stays closed."""
    beyond = failures_in_a_row - BREAKER_FAILURES
    if beyond < 0:
        return None
    return min(BREAKER_OPEN * 2 ** min(beyond, 10), BREAKER_OPEN_AT_MOST)


def to_be_disabled(failures: int, failing_since: datetime, now: datetime) -> bool:
    """Whether an endpoint has failed for too long."""
    return failures >= DISABLE_FAILURES and now - failing_since >= DISABLE_AFTER


def _interval(max_per_minute: int) -> timedelta:
    return max(LIMIT_PERIOD / max_per_minute, timedelta(microseconds=1))


def _burst(max_per_minute: int) -> timedelta:
    """How far the next request may lie in the past: a second, or nothing where a second is less than one request."""
    interval = _interval(max_per_minute)
    return BURST - interval if interval < BURST else timedelta(0)
