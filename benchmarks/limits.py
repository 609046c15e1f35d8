# SPDX-License-Identifier: AGPL-3.0-or-later
"""The limits of today: what broker, receiver, Snowflake and the event itself do with nothing of the package between."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.measure import percentile

if TYPE_CHECKING:
    from benchmarks.scenarios.bench import Size
    from benchmarks.site import Site

#: seconds added to each round trip by the scenario that is named for it
ADDED_LATENCY = 0.3


@dataclass(frozen=True)
class Limits:
    """Rates are per second, the medians of single calls in seconds."""

    tasks: float
    posts: float
    statements: float
    slow_statements: float
    events: float
    hop: float
    post: float
    statement: float

    def of_rate(self, rate: float, *, slow: bool = False) -> dict[str, float]:
        """A rate of webhooks beside what each part does alone."""
        statements = self.slow_statements if slow else self.statements
        return {"tasks": rate / self.tasks, "POSTs": rate / self.posts, "statements": rate / statements}

    def of_latency(self, seconds: float) -> dict[str, float]:
        """A latency beside the least that one completion takes: a task's start, a statement, a POST."""
        return {"hop + statement + POST": seconds / (self.hop + self.statement + self.post)}

    def rows(self) -> list[tuple[str, float, str]]:
        """(what, value, unit) for people."""
        return [
            ("a Celery task that does nothing, published and run", self.tasks, "tasks/s"),
            ("a bare requests.Session POST loop to the receiver", self.posts, "POSTs/s"),
            ("a bare Snowflake statement loop through the proxy", self.statements, "statements/s"),
            (f"the same with {ADDED_LATENCY * 1000:.0f} ms added", self.slow_statements, "statements/s"),
            ("a grade event that nobody of this package receives", self.events, "events/s"),
            ("from publishing a task to its start, idle, median", self.hop * 1000, "ms"),
        ]

    def as_json(self) -> dict[str, Any]:
        return {name: round(value, 5) for name, value in asdict(self).items()}


def measure(site: "Site", size: "Size") -> Limits:
    """
    Measure them all, one after the other, on a site without other work.

    :raises RuntimeError: where a loop did not do what it was to do
    """
    site.empty()
    calls = size.limit_calls
    with site.cold_worker():
        site.lms.ask("hops", count=5)  # the first ones wait for the worker's own start
        hops = site.lms.ask("hops", within=60, count=min(calls, 50))
        tasks = site.lms.ask("tasks", within=90, count=size.limit_tasks, patience=60)
    if tasks["done"] != size.limit_tasks:
        raise RuntimeError(f"the worker ran {tasks['done']} of {size.limit_tasks} tasks")
    site.receiver.ask("forget")
    posts = site.lms.ask("posts", within=60, url=site.url, count=calls * 2)
    if site.receiver.ask("count") < calls * 2:
        raise RuntimeError("the receiver did not see every bare POST")
    statements = _statements(site, calls, 0.0)
    slow_statements = _statements(site, max(3, calls // 25), ADDED_LATENCY)
    events = site.lms.ask("events", within=60, user_ids=site.user_ids[: calls * 2])
    site.empty()
    return Limits(
        tasks=tasks["per_second"],
        posts=_per_second(posts),
        statements=_per_second(statements),
        slow_statements=_per_second(slow_statements),
        events=_per_second(events),
        hop=percentile(hops, 50),
        post=percentile(posts, 50),
        statement=percentile(statements, 50),
    )


def _statements(site: "Site", count: int, latency: float) -> list[float]:
    site.proxy.ask("latency", seconds=latency)
    site.proxy.ask("forget")
    taken = site.lms.ask("statements", within=120, count=count)
    seen = len(site.proxy.ask("seen")["statements"])
    if seen < count:
        raise RuntimeError(f"the proxy saw {seen} of {count} statements")
    return taken


def _per_second(taken: Sequence[float]) -> float:
    return len(taken) / sum(taken)
