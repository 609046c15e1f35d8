# SPDX-License-Identifier: AGPL-3.0-or-later
"""When an attempt is repeated: arithmetic only."""

import random
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum

#: waits before the second to the tenth attempt, 75 h 35 min in all (Standard Webhooks 1.0)
SCHEDULE = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
JITTER = 0.2
#: an endpoint may ask for a longer wait than the schedule's, but not for more than this
RETRY_AFTER_CAP = timedelta(hours=6)

RETRIED_STATUSES = frozenset({401, 403, 404, 407, 408, 409, 421, 423, 425, 429})
#: RFC 9110 defines Retry-After for these (and for redirects, which are failures here)
RETRY_AFTER_STATUSES = frozenset({429, 503})

_WAIT = re.compile(r"([0-9]{1,6})([smh])\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_MAX_WAITS = 30
_LONGEST_WAIT = timedelta(hours=72)


class Outcome(Enum):
    """What one answer means for the webhook."""

    DELIVERED = "delivered"
    RETRY = "retry"
    FAILED = "failed"
    GONE = "gone"


def classify(status: int) -> Outcome:
    """
    2xx is delivered; 410 is the endpoint's wish to get nothing more; 5xx and the 4xx that an operator of the endpoint
    can mend are retried; the rest, redirects included, is final.
    """
    if 200 <= status < 300:
        return Outcome.DELIVERED
    if status == 410:
        return Outcome.GONE
    if status >= 500 or status in RETRIED_STATUSES:
        return Outcome.RETRY
    return Outcome.FAILED


def delay_after(tries: int, schedule: Sequence[timedelta] = SCHEDULE, jitter: float | None = None) -> timedelta | None:
    """
    How long to wait after the given number of failed tries (1 or more); None when the schedule is used up.

    :param jitter: from -1 to 1, the share of ± 20 % to add; random where it is not given
    """
    if tries > len(schedule):
        return None
    share = random.uniform(-1, 1) if jitter is None else jitter  # noqa: S311  (jitter is no secret)
    return schedule[tries - 1] * (1 + JITTER * share)


def retry_after(status: int, header: str | None, now: datetime) -> timedelta | None:
    """
    The wait that an answer asks for, in seconds or as an HTTP date (RFC 9110, 10.2.3), up to ``RETRY_AFTER_CAP``.

    None where it asks for none, where its status gives the header no meaning, or where the header cannot be read.
    """
    text = (header or "").strip()
    if status not in RETRY_AFTER_STATUSES or not text:
        return None
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:9])), RETRY_AFTER_CAP)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000", which such dates are read as: UTC of unknown origin
        moment = moment.replace(tzinfo=UTC)
    return min(max(moment - now, timedelta(0)), RETRY_AFTER_CAP)


def parse_schedule(text: str) -> tuple[timedelta, ...]:
    """
    The waits of a schedule such as ``5s 5m 30m 2h``; the default schedule for an empty text.

    :raises ValueError: the text says what to type instead
    """
    words = text.split()
    if not words:
        return SCHEDULE
    waits = [_parse_wait(word) for word in words]
    if len(waits) > _MAX_WAITS:
        raise ValueError(f"A schedule has {_MAX_WAITS} waits at most.")
    return tuple(waits)


def _parse_wait(word: str) -> timedelta:
    match = _WAIT.match(word)
    if match:
        wait = timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
        if timedelta(seconds=1) <= wait <= _LONGEST_WAIT:
            return wait
    raise ValueError("Type waits of 1 s to 72 h, with s, m or h, separated by spaces; for example: 5s 5m 30m 2h.")
