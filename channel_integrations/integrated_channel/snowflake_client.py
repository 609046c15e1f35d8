# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long learners spent learning in course runs, from Snowflake through the cache."""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.utils import timezone

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.circuit import Circuit
from channel_integrations.integrated_channel.exceptions import (
    InvalidLearningTime,
    LearningTimeUnavailable,
    SnowflakeLeftAlone,
)
from channel_integrations.integrated_channel.learning_time_cache import (
    KnownTime,
    LearningTimeKey,
    cached,
    keep,
    one_at_a_time,
)
from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.snowflake_connection import fetch_all

lines = LogLines(__name__)

#: completions looked up by one statement at the most
BATCH = 500
#: different last days in one statement at the most: each is a column
DAYS = 8
#: how far ahead of UTC the rollup's day may be; a later one is a fault of the rollup, which tells nothing of its reach
AHEAD = timedelta(days=1)
#: a longer sum is a fault of the rollup: ten years
MAX_SECONDS = 10 * 366 * 24 * 3600

#: After three failures in a row Snowflake is left alone for half a minute, then tried with one statement. A warehouse
#: that wakes answers within the statement's timeout, hence is no failure.
circuit = Circuit(failures=3, open_seconds=30.0, at_most=300.0)


class StatementReport(NamedTuple):
    """
    One statement: when, how long (milliseconds, signing in included), for how many completions, with how many answers.

    ``status`` is "ok", or the code of the error. ``as_of``: the last day that the rollup had, None where unknown.
    """

    began_at: datetime
    duration_ms: int
    asked: int
    found: int
    status: str
    as_of: date | None = None


@dataclass(frozen=True)
class LearningTimes:
    """
    What came of a lookup: each key is in one of the first two dicts.

    ``seconds`` has None where there is no number; ``errors`` has what kept it from being looked up.
    ``durations_ms`` has the milliseconds of the key's statement: 0 from the cache, nothing where nobody was asked.
    ``days`` has the last day that the rollup had when the key was answered, which may be some minutes ago.
    """

    seconds: dict[LearningTimeKey, int | None] = field(default_factory=dict)
    errors: dict[LearningTimeKey, LearningTimeUnavailable] = field(default_factory=dict)
    statements: list[StatementReport] = field(default_factory=list)
    durations_ms: dict[LearningTimeKey, int] = field(default_factory=dict)
    days: dict[LearningTimeKey, date | None] = field(default_factory=dict)

    @property
    def as_of(self) -> date | None:
        """The last day that the rollup is known to have; None where nobody has said."""
        return max((day for day in self.days.values() if day), default=None)

    def add(self, known: dict[LearningTimeKey, KnownTime]) -> None:
        """Put answers down."""
        self.seconds.update({key: answer.seconds for key, answer in known.items()})
        self.days.update({key: answer.as_of for key, answer in known.items()})

    def answers(self) -> dict[LearningTimeKey, KnownTime]:
        """All that were put down."""
        return {key: KnownTime(seconds, self.days[key]) for key, seconds in self.seconds.items()}


class SnowflakeLearningTimeClient:
    """
    Looks learning time up.

    Zero, no row and an error are three things: ``0``, ``None`` and an exception. The first two are cached, under keys
    that memcached takes; an error never is. A cache that fails is passed by.
    """

    def get_learning_time(self, user_id: int, course_id: str, enterprise_customer_uuid: str) -> int | None:
        """
        The seconds that the learner spent in the course run for the customer; None where there is no number.

        Who asks for the same at the same time waits for one answer.

        :raises LearningTimeUnavailable: one of its subclasses, with the cause
        """
        key = LearningTimeKey(int(user_id), str(course_id), str(enterprise_customer_uuid))
        known = cached([key])
        if key in known:
            return known[key].seconds
        with one_at_a_time(key) as somebody_else_asked:
            times = self.get_learning_times([key]) if somebody_else_asked else _look_up([key])
        if key in times.errors:
            raise times.errors[key]
        return times.seconds[key]

    def get_learning_times(
        self, keys: Iterable[LearningTimeKey], anew: Collection[LearningTimeKey] = ()
    ) -> LearningTimes:
        """
        The same for many, each through its last day, with one statement for ``BATCH`` of them and ``DAYS`` last days.

        Errors are returned, not raised.

        :param anew: which of them are asked past the cache
        """
        wanted = list(dict.fromkeys(keys))
        known = cached([key for key in wanted if key not in anew])
        times = _look_up([key for key in wanted if key not in known])
        times.add(known)
        times.durations_ms.update(dict.fromkeys(known, 0))
        return times

    def get_learning_times_past_cache(self, keys: Iterable[LearningTimeKey]) -> LearningTimes:
        """The same as Snowflake has it at this moment: the cache is neither asked nor told."""
        return _look_up(list(dict.fromkeys(keys)), kept=False)


def _look_up(keys: Sequence[LearningTimeKey], kept: bool = True) -> LearningTimes:
    """Ask Snowflake, and keep its answers."""
    times = LearningTimes()
    for batch in _batches(keys):
        _ask(batch, times)
    if kept:
        keep(times.answers())
    return times


def _batches(keys: Sequence[LearningTimeKey]) -> Iterator[list[LearningTimeKey]]:
    """Those of a day together; of a bulk that reaches back over weeks, some days after the other."""
    batch: list[LearningTimeKey] = []
    days: set[date | None] = set()
    for key in sorted(keys, key=lambda key: key.through or date.max):
        if len(batch) == BATCH or len(days | {key.through}) > DAYS:
            yield batch
            batch, days = [], set()
        batch.append(key)
        days.add(key.through)
    if batch:
        yield batch


def _ask(keys: Sequence[LearningTimeKey], times: LearningTimes) -> None:
    """One statement, if Snowflake is to be asked at all; what came of it is put down in ``times``."""
    if not circuit.admits():
        times.errors.update(dict.fromkeys(keys, SnowflakeLeftAlone("Snowflake has failed a moment ago")))
        return
    began_at, started, status, as_of = timezone.now(), time.monotonic(), "ok", None
    found: dict[LearningTimeKey, KnownTime] = {}
    try:
        as_of, sums = _sums(keys)
        if as_of and as_of > began_at.date() + AHEAD:  # One such row would make every number final for ever.
            lines.warning("snowflake_client", "day_to_come", as_of=as_of)
            as_of = None
    except LearningTimeUnavailable as err:
        status = err.code
        times.errors.update(dict.fromkeys(keys, err))
        left_alone = circuit.note_failure()
        if left_alone:
            lines.error("snowflake_client", "left_alone", seconds=left_alone, error=status)
    else:
        circuit.note_success()
        for key in keys:
            try:
                found[key] = KnownTime(_whole_seconds(sums.get(key)), as_of)
            except InvalidLearningTime as err:
                status, times.errors[key] = err.code, err
    times.add(found)
    numbers = sum(known.seconds is not None for known in found.values())
    duration_ms = round((time.monotonic() - started) * 1000)
    times.durations_ms.update(dict.fromkeys(keys, duration_ms))
    times.statements.append(StatementReport(began_at, duration_ms, len(keys), numbers, status, as_of))
    lines.info("snowflake_client", status, duration_ms=duration_ms, asked=len(keys), found=numbers, as_of=as_of)


def _sums(keys: Sequence[LearningTimeKey]) -> tuple[date | None, dict[LearningTimeKey, Any]]:
    """
    The last day that the rollup has, and the sum of each key that it knows, through the key's last day.

    Three lists of constants, which Snowflake prunes by; what they cross to beyond the keys is dropped by the caller.
    The outer join has a row even where the rollup knows none of them.
    """
    columns, table = conf.learning_time_columns(), conf.learning_time_table()
    day, seconds = columns["date"], columns["seconds"]
    names = [columns["user"], columns["course"], columns["customer"]]
    values: list[list[Any]] = [list(dict.fromkeys(of_one)) for of_one in list(zip(*keys, strict=True))[:3]]
    throughs = list(dict.fromkeys(key.through for key in keys))
    bounds = [through.isoformat() for through in throughs if through and day]
    # Names cannot be bound; these are validated identifiers. Values are bound on the server. A column of timestamps is
    # cast as well: else what was learned on the last day after its midnight would not count.
    sums = [
        f"SUM(CASE WHEN CAST({day} AS DATE) <= CAST(? AS DATE) THEN {seconds} END)"
        if through and day
        else f"SUM({seconds})"
        for through in throughs
    ]
    named = ", ".join([*names, *(f"{total} AS LEARNING_TIME_{number}" for number, total in enumerate(sums))])
    conditions = " AND ".join(
        f"{name} IN ({', '.join('?' * len(of_one))})" for name, of_one in zip(names, values, strict=True)
    )
    rows = fetch_all(
        f"SELECT REACH.AS_OF, SUMS.* FROM (SELECT {f'CAST(MAX({day}) AS DATE)' if day else 'NULL'} AS AS_OF "  # noqa: S608
        f"FROM {table}) REACH LEFT JOIN (SELECT {named} FROM {table} WHERE {conditions} "
        f"GROUP BY {', '.join(names)}) SUMS ON TRUE",
        [*bounds, *(value for of_one in values for value in of_one)],
    )
    found = {
        LearningTimeKey(int(user), str(course), str(customer), through): total
        for _as_of, user, course, customer, *totals in rows
        if user is not None
        for through, total in zip(throughs, totals, strict=True)
    }
    return (rows[0][0] if rows else None), found


def _whole_seconds(total: Any) -> int | None:
    """
    A SUM as whole seconds; None stays None.

    :raises InvalidLearningTime: negative, absurdly large or not a number
    """
    if total is None:
        return None
    is_nan = total != total  # noqa: PLR0124  (nothing else differs from itself, be it a float or a Decimal)
    if is_nan or isinstance(total, bool) or not isinstance(total, int | float | Decimal):
        raise InvalidLearningTime("the sum is not a number")
    if not 0 <= total <= MAX_SECONDS:
        raise InvalidLearningTime("the sum is negative or absurdly large")
    return int(total)
