# SPDX-License-Identifier: AGPL-3.0-or-later
"""The scenarios, in the order in which they run: name -> (what it is, function of a ``Bench``, outcome)."""

from collections.abc import Callable

from benchmarks.measure import Outcome
from benchmarks.scenarios import bursts, memory, pace, repeated, waiting
from benchmarks.scenarios.bench import Bench

SCENARIOS: dict[str, tuple[str, Callable[[Bench], Outcome]]] = {
    "burst": ("a burst of completions, no added latency", bursts.burst),
    "latency": ("the same with 300 ms added to each Snowflake round trip", bursts.latency),
    "finished": ("the same with finished rows in the table", bursts.finished),
    "steady": ("a steady stream, warm connections", pace.steady),
    "idle": ("one event at a time on an idle system", pace.idle),
    "repeated": ("repeated events of passes that are known or too old", repeated.repeated),
    "waiting": ("completions thinly spread, with and without waiting for company", waiting.waiting),
    "wide": ("a burst for an endpoint that takes 32 requests at once", bursts.wide),
    "memory": ("memory of the worker processes over many webhooks, none of them recycled", memory.memory),
}
#: those that every run can do without
OPT_IN = frozenset({"wide", "memory"})
#: what a scenario compares with, which must have run before
COMPARES_WITH = {"finished": "burst"}


def select(names: list[str]) -> list[str]:
    """The scenarios asked for ("all": those that are not opt-in), with what they compare with, in order."""
    wanted = set(names) - {"all"}
    if not names or "all" in names:
        wanted |= SCENARIOS.keys() - OPT_IN
    wanted |= {COMPARES_WITH[name] for name in wanted & COMPARES_WITH.keys()}
    unknown = wanted - SCENARIOS.keys()
    if unknown:
        raise SystemExit(f"There is no scenario {', '.join(sorted(unknown))}; there are: {', '.join(SCENARIOS)}")
    return [name for name in SCENARIOS if name in wanted]
