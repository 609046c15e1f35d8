# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long learners spent learning in course runs, from Snowflake through the cache."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
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
from channel_integrations.integrated_channel.learning_time_cache import LearningTimeKey, cached, keep, one_at_a_time
from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.snowflake_connection import fetch_all

lines = LogLines(__name__)

#: completions looked up by one statement at the most
BATCH = 500
#: a longer sum is a fault of the rollup: ten years
MAX_SECONDS = 10 * 366 * 24 * 3600

#: After three failures in a row Snowflake is left alone for half a minute, then tried with one statement. A warehouse
#: that wakes answers within the statement's timeout, hence is no failure.
circuit = Circuit(failures=3, open_seconds=30.0, at_most=300.0)


class StatementReport(NamedTuple):
    """
    One statement: when, how long (milliseconds, signing in included), for how many completions, with how many answers.

    ``status`` is "ok", or the code of the error.
    """

    began_at: datetime
    duration_ms: int
    asked: int
    found: int
    status: str


@dataclass(frozen=True)
class LearningTimes:
    """
    What came of a lookup: each key is in one of the first two dicts.

    ``seconds`` has None where there is no number; ``errors`` has what kept it from being looked up.
    ``durations_ms`` has the milliseconds of the key's statement: 0 from the cache, nothing where nobody was asked.
    """

    seconds: dict[LearningTimeKey, int | None] = field(default_factory=dict)
    errors: dict[LearningTimeKey, LearningTimeUnavailable] = field(default_factory=dict)
    statements: list[StatementReport] = field(default_factory=list)
    durations_ms: dict[LearningTimeKey, int] = field(default_factory=dict)


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
            return known[key]
        with one_at_a_time(key) as somebody_else_asked:
            times = self.get_learning_times([key]) if somebody_else_asked else _look_up([key])
        if key in times.errors:
            raise times.errors[key]
        return times.seconds[key]

    def get_learning_times(self, keys: Iterable[LearningTimeKey]) -> LearningTimes:
        """The same for many, with one statement for ``BATCH`` of them; errors are returned, not raised."""
        wanted = list(dict.fromkeys(keys))
        known = cached(wanted)
        times = _look_up([key for key in wanted if key not in known])
        times.seconds.update(known)
        times.durations_ms.update(dict.fromkeys(known, 0))
        return times

    def get_learning_times_past_cache(self, keys: Iterable[LearningTimeKey]) -> LearningTimes:
        """The same as Snowflake has it at this moment: the cache is neither asked nor told."""
        return _look_up(list(dict.fromkeys(keys)), kept=False)


def _look_up(keys: Sequence[LearningTimeKey], kept: bool = True) -> LearningTimes:
    """Ask Snowflake, and keep its answers."""
    times = LearningTimes()
    for start in range(0, len(keys), BATCH):
        _ask(keys[start : start + BATCH], times)
    if kept:
        keep(times.seconds)
    return times


def _ask(keys: Sequence[LearningTimeKey], times: LearningTimes) -> None:
    """One statement, if Snowflake is to be asked at all; what came of it is put down in ``times``."""
    if not circuit.admits():
        times.errors.update(dict.fromkeys(keys, SnowflakeLeftAlone("Snowflake has failed a moment ago")))
        return
    began_at, started, status = timezone.now(), time.monotonic(), "ok"
    found: dict[LearningTimeKey, int | None] = {}
    try:
        sums = _sums(keys)
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
                found[key] = _whole_seconds(sums.get(key))
            except InvalidLearningTime as err:
                status, times.errors[key] = err.code, err
    times.seconds.update(found)
    numbers = sum(seconds is not None for seconds in found.values())
    duration_ms = round((time.monotonic() - started) * 1000)
    times.durations_ms.update(dict.fromkeys(keys, duration_ms))
    times.statements.append(StatementReport(began_at, duration_ms, len(keys), numbers, status))
    lines.info("snowflake_client", status, duration_ms=duration_ms, asked=len(keys), found=numbers)


def _sums(keys: Sequence[LearningTimeKey]) -> dict[LearningTimeKey, Any]:
    """
    The SUM of each key that the rollup knows.

    Three lists of constants, which Snowflake prunes by; what they cross to beyond the keys is dropped here.
    """
    columns = conf.learning_time_columns()
    names = [columns["user"], columns["course"], columns["customer"]]
    values: list[list[Any]] = [list(dict.fromkeys(of_one_column)) for of_one_column in zip(*keys, strict=True)]
    conditions = " AND ".join(
        f"{name} IN ({', '.join('?' * len(of_one_column))})" for name, of_one_column in zip(names, values, strict=True)
    )
    rows = fetch_all(
        # Names cannot be bound; these are validated identifiers. Values are bound on the server.
        f"SELECT {', '.join(names)}, SUM({columns['seconds']}) FROM {conf.learning_time_table()} "  # noqa: S608
        f"WHERE {conditions} GROUP BY {', '.join(names)}",
        [value for of_one_column in values for value in of_one_column],
    )
    return {LearningTimeKey(int(user), str(course), str(customer)): total for user, course, customer, total in rows}


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
