# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many completions at once, as a bulk regrade sends them."""

from benchmarks.limits import ADDED_LATENCY
from benchmarks.measure import AT_MOST, Figure, Load, Outcome
from benchmarks.scenarios.bench import Bench

#: the most that ``max_concurrent_requests`` may be
WIDE = 32


def burst(bench: Bench) -> Outcome:
    """No added latency."""
    with bench.site.worker():
        load = bench.loads["burst"] = bench.site.load(_learners(bench))
    figure = Figure("webhooks", load.rate(), "/s", 150, ratios=bench.limits.of_rate(load.rate()))
    return _outcome(load, figure)


def latency(bench: Bench) -> Outcome:
    """Every round trip to Snowflake takes longer."""
    with bench.site.worker():
        bench.site.proxy.ask("latency", seconds=ADDED_LATENCY)
        load = bench.site.load(_learners(bench))
    rate = load.rate()
    per_statement = len(load.expected) / len(load.statements) if load.statements else 0.0
    return _outcome(
        load,
        Figure("webhooks", rate, "/s", 100, ratios=bench.limits.of_rate(rate, slow=True)),
        Figure("completions for each statement", per_statement, "", 50),
    )


def wide(bench: Bench) -> Outcome:
    """An endpoint that takes as many at once as can be asked of it."""
    bench.site.lms.ask("allow", at_once=WIDE)
    try:
        with bench.site.worker():
            load = bench.site.load(_learners(bench))
    finally:
        bench.site.lms.ask("allow", at_once=4)
    return _outcome(load, Figure("webhooks", load.rate(), "/s", ratios=bench.limits.of_rate(load.rate())))


def finished(bench: Bench) -> Outcome:
    """The table already holds what retention keeps."""
    wanted = bench.size.finished_rows
    with bench.site.worker():
        there = bench.site.lms.ask("add_finished", within=120, count=wanted)
        load = bench.site.load(_learners(bench))
    rate = load.rate()
    outcome = _outcome(
        load,
        Figure("webhooks", rate, "/s", ratios=bench.limits.of_rate(rate)),
        Figure("of the rate with an empty table", rate / bench.loads["burst"].rate(), "", 0.8),
    )
    if there < wanted:
        outcome.faults.append(f"{there} finished rows in the table instead of {wanted}")
    if bench.outcomes["burst"].faults:
        outcome.faults.append("the burst that it compares with failed")
    outcome.details["finished_rows"] = there
    return outcome


def _learners(bench: Bench) -> list[int]:
    return bench.site.user_ids[: bench.size.burst]


def _outcome(load: Load, *figures: Figure) -> Outcome:
    summary = load.summary()
    handler = summary["handler_ms"]["median"]
    busy = Figure("grade handler, median while the machine is busy", handler, "ms", None, AT_MOST)
    return Outcome([*figures, busy], load.faults(), summary, {"arrivals": load.arrivals()})
