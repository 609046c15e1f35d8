# SPDX-License-Identifier: AGPL-3.0-or-later
"""One picture of a run: a panel for each thing that was measured, with its target beside it."""

from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # no display

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.measure import Figure, Outcome
from benchmarks.report import QUICK_WARNING, Report

STYLE = {"font.size": 10, "axes.titleweight": "bold", "axes.spines.top": False, "axes.spines.right": False}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666", "#F0E442")
TARGET = {"color": "#333333", "linestyle": (0, (4, 3)), "linewidth": 1.1}
BELOW = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.15), "frameon": False}
BURSTS = {
    "burst": "no added latency",
    "latency": "300 ms added to each\nSnowflake round trip",
    "finished": "finished rows in the table",
}
PACES = {"idle": "one at a time, idle", "steady": "steady 50/s"}


def draw(report: Report, path: Path) -> None:
    """Write the PNG; scenarios that were not run or came to nothing have no panel."""
    good = {name: outcome for name, outcome in report.outcomes.items() if not outcome.faults}
    panels = [(panel, names) for panel, names in PANELS if any(name in good for name in names)]
    rows = max(1, (len(panels) + 1) // 2)
    with mpl.rc_context(STYLE):
        figure, grid = pyplot.subplots(rows, 2, figsize=(13, 0.9 + 4.1 * rows), squeeze=False, layout="constrained")
        for axes, (panel, names) in zip(grid.flat, panels, strict=False):
            panel(axes, {name: good[name] for name in names if name in good})
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        title = QUICK_WARNING if report.quick else "Completion webhooks with learning time"
        figure.suptitle(f"{title}\n{report.where()}", fontsize=12)
        figure.savefig(path, dpi=110)
        pyplot.close(figure)


def _arrivals(axes: Axes, outcomes: dict[str, Outcome]) -> None:
    """How many webhooks had arrived, second by second."""
    longest = 0.0
    for colour, (name, label) in zip(COLOURS, BURSTS.items(), strict=False):
        if name in outcomes:
            arrivals = outcomes[name].series["arrivals"]
            rate = _figure(outcomes[name], "webhooks").value
            axes.plot(arrivals, range(1, len(arrivals) + 1), color=colour, label=f"{label}: {rate:.0f}/s", linewidth=2)
            longest = max(longest, arrivals[-1])
    count = max(len(outcome.series["arrivals"]) for outcome in outcomes.values())
    targets = {_figure(outcome, "webhooks").target for outcome in outcomes.values()} - {None}
    for target in sorted(targets, reverse=True):
        axes.plot([0, count / target], [0, count], label=f"target: {target}/s", **_target_style(target))
    axes.set(title=f"Burst of {count} completions", xlabel="seconds since the first event", ylabel="webhooks arrived")
    axes.set_xlim(0, 1.02 * max([longest, *(count / target for target in targets)]))
    axes.set_ylim(0, count * 1.05)
    axes.legend(loc="lower right", frameon=False)


def _latencies(axes: Axes, outcomes: dict[str, Outcome]) -> None:
    """The share of webhooks that had arrived so long after their completion."""
    for colour, (name, label) in zip(COLOURS, PACES.items(), strict=False):
        if name in outcomes:
            ordered = sorted(outcomes[name].series["latencies"])
            shares = [100 * number / len(ordered) for number in range(1, len(ordered) + 1)]
            p95 = _figure(outcomes[name], "completion to POST, p95")
            axes.step(ordered, shares, color=colour, where="post", linewidth=2, label=f"{label}: p95 {p95.value:.3f} s")
            mark = {"marker": "v", "markersize": 9, "linestyle": "none", "color": colour}
            axes.plot([p95.target], [95], label=f"target for its p95: {p95.target} s", **mark)
    axes.axhline(95, **TARGET)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(title="From completion to POST", xlabel="seconds (logarithmic)", ylabel="% of webhooks", ylim=(0, 102))
    axes.legend(**BELOW, ncols=2)


def _cpu(axes: Axes, outcomes: dict[str, Outcome]) -> None:
    """Who used the cores."""
    names = [name for name in (*BURSTS, "steady") if name in outcomes]
    labels = [{**BURSTS, "steady": PACES["steady"]}[name] for name in names]
    left = [0.0] * len(names)
    for colour, part in zip(cycle(COLOURS), outcomes[names[0]].details["cpu_seconds"], strict=False):
        used = [
            1000 * outcomes[name].details["cpu_seconds"][part] / outcomes[name].details["completions"] for name in names
        ]
        axes.barh(labels, used, left=left, color=colour, label=part, height=0.6)
        left = [so_far + more for so_far, more in zip(left, used, strict=True)]
    axes.invert_yaxis()
    axes.set(title="Where the CPU time goes", xlabel="CPU milliseconds for each completion")
    axes.legend(**BELOW, ncols=4)


def _handler(axes: Axes, outcomes: dict[str, Outcome]) -> None:
    """The cost in the LMS's process."""
    named = {
        "new completion": ("steady", "grade handler, new completion, median"),
        "webhook exists": ("repeated", "grade handler, passes whose rows exist, median"),
        "too old": ("repeated", "grade handler, passes beyond the maximum age, median"),
    }
    figures = {label: _figure(outcomes[name], what) for label, (name, what) in named.items() if name in outcomes}
    for number, (label, figure) in enumerate(figures.items()):
        axes.barh([label], [figure.value], color=COLOURS[0], height=0.5)
        axes.plot([figure.target] * 2, [number - 0.35, number + 0.35], label="target" if not number else None, **TARGET)
        axes.annotate(f" {figure.value:.2f} ms", (figure.value, number), va="center")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2 * max(max(figure.value, figure.target) for figure in figures.values()))
    axes.set(title="One grade event in the LMS's process, median", xlabel="milliseconds")
    axes.legend(loc="lower right", frameon=False)


def _wakes(axes: Axes, outcomes: dict[str, Outcome]) -> None:
    """When the warehouse was asked."""
    outcome = outcomes["waiting"]
    arms = {"without waiting": "wakes without waiting", "with waiting": "wakes with waiting"}
    for number, (name, what) in enumerate(arms.items()):
        axes.eventplot(outcome.series[name], lineoffsets=number, linelengths=0.6, colors=COLOURS[number], linewidths=1)
        arms[name] = f"{name}:\n{_figure(outcome, what).value} wakes"
    axes.set_yticks(range(len(arms)), list(arms.values()))
    axes.invert_yaxis()
    axes.set(title="Statements on the wire, completions spread thinly", xlabel="seconds since the first event")


def _memory(axes: Axes, outcomes: dict[str, Outcome]) -> None:
    """Each worker process, burst after burst."""
    outcome = outcomes["memory"]
    for colour, (name, used) in zip(cycle(COLOURS), outcome.series.items(), strict=False):
        axes.plot(
            [number * outcome.details["every"] for number in range(len(used))], used, "o-", color=colour, label=name
        )
    axes.set_ylim(0, 1.25 * max(max(used) for used in outcome.series.values()))
    axes.set(title="Memory of the worker processes", xlabel="webhooks", ylabel="MB resident")
    axes.legend(loc="lower right", frameon=False)


#: panel, and the scenarios of which it needs at least one
PANELS: tuple[tuple[Callable[[Axes, dict[str, Outcome]], None], tuple[str, ...]], ...] = (
    (_arrivals, tuple(BURSTS)),
    (_latencies, tuple(PACES)),
    (_cpu, (*BURSTS, "steady")),
    (_handler, ("steady", "repeated")),
    (_wakes, ("waiting",)),
    (_memory, ("memory",)),
)


def _figure(outcome: Outcome, what: str) -> Figure:
    return next(figure for figure in outcome.figures if figure.what == what)


def _target_style(target: Any) -> dict[str, Any]:
    return {**TARGET, "linestyle": (0, (4, 3)) if target == 150 else (0, (1, 2))}
