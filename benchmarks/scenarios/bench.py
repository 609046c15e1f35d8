# SPDX-License-Identifier: AGPL-3.0-or-later
"""What every scenario is given."""

from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.limits import Limits
from benchmarks.measure import Load, Outcome
from benchmarks.site import Site


@dataclass(frozen=True)
class Size:
    """How much of everything; ``quick`` is for the tests and proves nothing about speed."""

    burst: int = 2000
    finished_rows: int = 100_000
    steady_seconds: int = 60
    idle_events: int = 30
    repeated: int = 2000
    spread: int = 200
    memory: int = 20_000
    memory_step: int = 2000
    limit_tasks: int = 2000
    limit_calls: int = 500
    warm_up: int = 20

    @property
    def learners(self) -> int:
        """As many as the largest scenario needs."""
        return max(self.burst, self.repeated, self.spread, self.memory_step, 50 * self.steady_seconds, self.idle_events)


QUICK = Size(
    burst=12,
    finished_rows=500,
    steady_seconds=1,
    idle_events=3,
    repeated=50,
    spread=6,
    memory=80,
    memory_step=20,
    limit_tasks=50,
    limit_calls=20,
    warm_up=6,
)


@dataclass
class Bench:
    """The site, the limits as they are today, and what the scenarios before have found."""

    site: Site
    size: Size
    limits: Limits
    new_site: Callable[..., Site]
    say: Callable[[str], None]
    loads: dict[str, Load] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
