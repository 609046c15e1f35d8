# SPDX-License-Identifier: AGPL-3.0-or-later
"""
What a warehouse bills for statements: arithmetic only.

It runs from the statement that wakes it until it has been idle for its AUTO_SUSPEND. It bills each second, and a minute
at the least for each wake (https://docs.snowflake.com/en/user-guide/cost-understanding-compute). Whoever else uses the
same warehouse is not known here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

HOUR = timedelta(hours=1)
#: billed for each wake, however short
MINIMUM = timedelta(minutes=1)


@dataclass(frozen=True)
class Price:
    """Of a credit, in the currency of the site's contract; an X-Small warehouse uses one in an hour."""

    per_credit: float
    credits_per_hour: float = 1.0

    def of(self, running: timedelta) -> float:
        """What it costs to run for so long."""
        return running / HOUR * self.credits_per_hour * self.per_credit


@dataclass(frozen=True)
class Bill:
    """Statements, completions looked up by them, wakes, and the time that is billed."""

    statements: int = 0
    completions: int = 0
    wakes: int = 0
    running: timedelta = timedelta(0)

    def for_1000(self, price: Price) -> float | None:
        """What 1,000 completions cost at this rate; None where there were none."""
        return price.of(self.running) * 1000 / self.completions if self.completions else None

    def saved_against(self, other: "Bill") -> float | None:
        """The share of the other's time that this one does without, negative where it runs longer; None of nothing."""
        return 1 - self.running / other.running if other.running else None


def bill(statements: Iterable[tuple[Any, bool]], auto_suspend: timedelta) -> Bill:
    """:param statements: in order, each with whether it woke the warehouse, as ``with_wakes`` tells"""
    count = completions = wakes = 0
    running, billed_until = timedelta(0), None
    for statement, woke in statements:
        count, completions, wakes = count + 1, completions + statement.asked, wakes + woke
        runs_until: datetime = statement.ended_at + auto_suspend
        if woke:
            billed_until, runs_until = statement.began_at, max(runs_until, statement.began_at + MINIMUM)
        elif billed_until is None:  # woken by what is not asked about
            billed_until = statement.began_at
        if runs_until > billed_until:
            running, billed_until = running + (runs_until - billed_until), runs_until
    return Bill(count, completions, wakes, running)
