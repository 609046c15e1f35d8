# SPDX-License-Identifier: AGPL-3.0-or-later
"""
What was sent, beside what the warehouse says now, each through the day of the pass.

While the rollup lacks that day, equal numbers would prove nothing: it is too early to compare.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from channel_integrations.integrated_channel.exceptions import InvalidLearningTime
from channel_integrations.integrated_channel.services.figures.percentiles import Percentiles
from channel_integrations.integrated_channel.services.verification.sample import Sent
from channel_integrations.integrated_channel.snowflake_client import (
    BATCH,
    SnowflakeLearningTimeClient,
    StatementReport,
)
from channel_integrations.integrated_channel.snowflake_connection import tagged

#: by which the warehouse's owner tells these statements from lookups
QUERY_TAG = "channel_integrations.verify_learning_time"


class Kind(StrEnum):
    """How what was sent and what is known now go together. Zero is a number."""

    EQUAL = "equal"
    NO_NUMBER = "no_number"
    DRIFTED = "drifted"
    MISSING_THEN = "missing_then"
    GONE_NOW = "gone_now"
    INVALID_NOW = "invalid_now"


#: those of which the partner knows what the warehouse knows
AGREE = (Kind.EQUAL, Kind.NO_NUMBER)


class Compared(NamedTuple):
    """One webhook; ``now`` is None without a number."""

    sent: Sent
    now: int | None
    kind: Kind

    @property
    def drift(self) -> int:
        """Seconds that the warehouse has more than were sent; no number counts as zero."""
        return (self.now or 0) - (self.sent.seconds or 0)

    @property
    def relative_drift(self) -> float:
        """Of the greater of the two numbers: 0 to 1, whichever of them is zero."""
        greater = max(self.now or 0, self.sent.seconds or 0)
        return abs(self.drift) / greater if greater else 0.0


@dataclass
class Tally:
    """Comparisons, counted."""

    each: list[Compared] = field(default_factory=list)

    @property
    def compared(self) -> int:
        """How many."""
        return len(self.each)

    def counts(self) -> dict[Kind, int]:
        """How many of each kind; every kind is there."""
        return {**dict.fromkeys(Kind, 0), **Counter(one.kind for one in self.each)}

    def differing(self) -> int:
        """Of how many the partner knows something else than the warehouse."""
        return sum(one.kind not in AGREE for one in self.each)

    def share_equal(self) -> float | None:
        """The share of the others, 0 to 1; None of nothing."""
        return 1 - self.differing() / self.compared if self.each else None

    def drifted(self) -> list[Compared]:
        """Those whose number has changed, the farthest off first."""
        changed = [one for one in self.each if one.kind is Kind.DRIFTED]
        return sorted(changed, key=lambda one: (-abs(one.drift), str(one.sent.webhook_id)))

    def drift_seconds(self) -> Percentiles | None:
        """Of those whose number has changed, by how much."""
        return Percentiles.of(abs(one.drift) for one in self.drifted())

    def drift_relative(self) -> Percentiles | None:
        """The same as a share of the greater of the two numbers."""
        return Percentiles.of(one.relative_drift for one in self.drifted())


@dataclass
class Comparison:
    """
    All of it, by what it was when it was sent, by customer, and what was asked for it.

    ``too_early`` passed on a day that the rollup does not have, which reaches ``as_of`` (None where nobody can say).
    """

    total: Tally = field(default_factory=Tally)
    final: Tally = field(default_factory=Tally)
    not_final: Tally = field(default_factory=Tally)
    by_customer: dict[UUID, Tally] = field(default_factory=dict)
    too_early: int = 0
    as_of: date | None = None
    statements: list[StatementReport] = field(default_factory=list)

    def add(self, one: Compared) -> None:
        """Count one more."""
        of_customer = self.by_customer.setdefault(one.sent.customer_uuid, Tally())
        for tally in (self.total, self.final if one.sent.is_final else self.not_final, of_customer):
            tally.each.append(one)


def kind_of(sent: int | None, now: int | None, tolerance: int = 0) -> Kind:
    """
    Zero is a number, None is none.

    :param tolerance: seconds by which numbers may differ and are still the same
    """
    if sent is None:
        return Kind.NO_NUMBER if now is None else Kind.MISSING_THEN
    if now is None:
        return Kind.GONE_NOW
    return Kind.EQUAL if abs(now - sent) <= tolerance else Kind.DRIFTED


def compare(rows: Iterable[Sent], tolerance: int = 0) -> Comparison:
    """
    Ask the warehouse about all of these, ``BATCH`` by one statement; the first that fails ends it.

    :raises LearningTimeUnavailable: Snowflake could not be asked
    """
    comparison = Comparison()
    # A statement takes in a few days at the most: those of one day go together.
    by_day = sorted(rows, key=lambda sent: sent.key.through or date.max)
    with tagged(QUERY_TAG):
        for start in range(0, len(by_day), BATCH):
            for one in _compare_together(by_day[start : start + BATCH], comparison, tolerance):
                comparison.add(one)
    return comparison


def _compare_together(rows: Sequence[Sent], comparison: Comparison, tolerance: int) -> Iterator[Compared]:
    times = SnowflakeLearningTimeClient().get_learning_times_past_cache(sent.key for sent in rows)
    comparison.statements += times.statements
    comparison.as_of = times.as_of or comparison.as_of
    for sent in rows:
        err, reaches = times.errors.get(sent.key), times.days.get(sent.key)
        if isinstance(err, InvalidLearningTime):  # of this one alone
            yield Compared(sent, None, Kind.INVALID_NOW)
        elif err:
            raise err
        elif reaches and sent.key.through and reaches < sent.key.through:
            comparison.too_early += 1
        else:
            now = times.seconds[sent.key]
            yield Compared(sent, now, kind_of(sent.seconds, now, tolerance))
