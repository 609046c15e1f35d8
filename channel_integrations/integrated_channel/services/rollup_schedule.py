# SPDX-License-Identifier: AGPL-3.0-or-later
"""When it is worth asking again whether the rollup has a day; no I/O."""

from datetime import UTC, date, datetime, time, timedelta

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def first_look(day: date, ready_at: time) -> datetime:
    """When the rollup of a day is expected: at that time (UTC) of the day after. The same for all that waits for it."""
    return datetime.combine(day + DAY, ready_at, UTC)


def next_look(day: date, now: datetime, ready_at: time) -> datetime:
    """
    The next moment to ask, after now: when the rollup is expected, then 1, 2, 4… hours after the look before.

    It hangs on the day alone, so that all that waits for a day is asked for together.
    """
    moment, wait = first_look(day, ready_at), HOUR
    while moment <= now:
        moment, wait = moment + wait, 2 * wait
    return moment
