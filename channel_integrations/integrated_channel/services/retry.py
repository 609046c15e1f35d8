# SPDX-License-Identifier: AGPL-3.0-or-later
"""When an attempt is repeated: arithmetic only."""

import random
from datetime import timedelta
from enum import Enum

#: waits before the second to the tenth attempt, 75 h 35 min in all (Standard Webhooks 1.0)
SCHEDULE = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
JITTER = 0.2

RETRIED_STATUSES = frozenset({401, 403, 404, 407, 408, 409, 410, 421, 423, 425, 429})


class Outcome(Enum):
    """What one answer means for the webhook."""

    DELIVERED = "delivered"
    RETRY = "retry"
    FAILED = "failed"


def classify(status: int) -> Outcome:
    """2xx is delivered; 5xx and the 4xx that an operator of the endpoint can mend are retried; the rest is final."""
    if 200 <= status < 300:
        return Outcome.DELIVERED
    if status >= 500 or status in RETRIED_STATUSES:
        return Outcome.RETRY
    return Outcome.FAILED


def delay_after(attempts_made: int, jitter: float | None = None) -> timedelta | None:
    """
    How long to wait after the given number of failed attempts (1 or more); None when the schedule is used up.

    :param jitter: from -1 to 1, the share of ± 20 % to add; random where it is not given
    """
    if attempts_made > len(SCHEDULE):
        return None
    share = random.uniform(-1, 1) if jitter is None else jitter  # noqa: S311  (jitter is no secret)
    return SCHEDULE[attempts_made - 1] * (1 + JITTER * share)
