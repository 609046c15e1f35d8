# SPDX-License-Identifier: AGPL-3.0-or-later
"""The table, for the terminal and as Markdown, and the JSON."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.limits import Limits
from benchmarks.measure import Figure, Outcome

HEADINGS = ("scenario", "figure", "target", "measured", "", "ratio to the limit")
QUICK_WARNING = "QUICK run: small counts, no figure of it says anything about speed. Do not quote it."
LIMIT_HEADINGS = ("limits of the same run", "measured")
#: points of a series that the JSON keeps
POINTS = 400


@dataclass
class Report:
    """One run."""

    machine: dict[str, str]
    versions: dict[str, str]
    setting: str
    limits: Limits
    titles: dict[str, str]
    outcomes: dict[str, Outcome]
    quick: bool

    def rows(self) -> list[tuple[str, ...]]:
        """The lines of the table, as text."""
        return [
            (name if number == 0 else "", figure.what, _target(figure), _number(figure.value, figure.unit),
             _verdict(figure, outcome), _ratios(figure))
            for name, outcome in self.outcomes.items()
            for number, figure in enumerate(outcome.figures or [Figure("no figure", math.nan, "")])
        ]  # fmt: skip

    def limit_rows(self) -> list[tuple[str, ...]]:
        """The limits, as text."""
        return [(what, _number(value, unit)) for what, value, unit in self.limits.rows()]

    def cpu_table(self) -> list[tuple[str, ...]]:
        """CPU milliseconds for each completion, by the part that used them, headings first; empty without any."""
        loads = {name: outcome.details for name, outcome in self.outcomes.items() if "cpu_seconds" in outcome.details}
        parts = list(dict.fromkeys(part for load in loads.values() for part in load["cpu_seconds"]))
        rows = [
            (name, *(f"{1000 * load['cpu_seconds'][part] / load['completions']:.1f}" for part in parts))
            for name, load in loads.items()
        ]
        return [("CPU ms for each completion", *parts), *rows] if rows else []

    def terminal(self) -> str:
        """For people, now."""
        cpu = self.cpu_table()
        parts = [
            *([QUICK_WARNING] if self.quick else []),
            f"Measured on {self.where()}.\nVersions: {_facts(self.versions)}.\nSet-up: {self.setting}.",
            _aligned([HEADINGS, *self.rows()]),
            _aligned([LIMIT_HEADINGS, *self.limit_rows()]),
            *([_aligned(cpu)] if cpu else []),
            *self._failures(),
        ]
        return "\n\n".join(parts)

    def markdown(self) -> str:
        """For the documentation."""
        cpu = self.cpu_table()
        parts = [
            "<!-- written by `make bench` -->",
            *([f"**{QUICK_WARNING}**"] if self.quick else []),
            f"Measured on {self.where()}.",
            f"Versions: {_facts(self.versions)}.",
            f"Set-up: {self.setting}.",
            _markdown_table(HEADINGS, self.rows()),
            _markdown_table(LIMIT_HEADINGS, self.limit_rows()),
            *([_markdown_table(cpu[0], cpu[1:])] if cpu else []),
            *self._failures(),
        ]
        return "\n\n".join(parts) + "\n"

    def where(self) -> str:
        """Day and machine."""
        return ", ".join([self.machine["date"], *(each for name, each in self.machine.items() if name != "date")])

    def as_json(self) -> dict[str, Any]:
        """For programs, and for another plot."""
        return {
            "quick": self.quick,
            "machine": self.machine,
            "versions": self.versions,
            "setting": self.setting,
            "limits": self.limits.as_json(),
            "scenarios": {name: self._scenario(name, outcome) for name, outcome in self.outcomes.items()},
        }

    def write(self, folder: Path, name: str) -> None:
        """``NAME.json`` and ``NAME.md``."""
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(_plain(self.as_json()), indent=1) + "\n")
        (folder / f"{name}.md").write_text(self.markdown())

    def _failures(self) -> list[str]:
        return [f"FAILED {name}: {fault}" for name, outcome in self.outcomes.items() for fault in outcome.faults]

    def _scenario(self, name: str, outcome: Outcome) -> dict[str, Any]:
        return {
            "title": self.titles[name],
            "failed": outcome.faults,
            "figures": [
                {
                    "what": figure.what,
                    "value": figure.value,
                    "unit": figure.unit,
                    "target": figure.target,
                    "bound": figure.bound,
                    "met": figure.met,
                    "ratios": dict(figure.ratios),
                }
                for figure in outcome.figures
            ],
            "details": outcome.details,
            "series": {name: thinned(values) for name, values in outcome.series.items()},
        }


def thinned(values: Sequence[float]) -> list[float]:
    """At most so many of the values, evenly picked, the last one among them."""
    step = max(1, math.ceil(len(values) / POINTS))
    return [round(value, 4) for value in [*values[:-1:step], *values[-1:]]]


def _number(value: float, unit: str) -> str:
    if isinstance(value, int):
        text = str(value)
    elif math.isnan(value) or abs(value) >= 100:
        text = f"{value:.0f}"
    else:
        text = f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}"
    return f"{text}{unit}" if unit.startswith(("/", "%")) or not unit else f"{text} {unit}"


def _target(figure: Figure) -> str:
    return "" if figure.target is None else f"{figure.bound} {_number(figure.target, figure.unit)}"


def _verdict(figure: Figure, outcome: Outcome) -> str:
    if outcome.faults:
        return "FAILED"
    return {True: "met", False: "missed", None: ""}[figure.met]


def _ratios(figure: Figure) -> str:
    return ", ".join(f"{_number(ratio, '')} × {limit}" for limit, ratio in figure.ratios.items())


def _facts(facts: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _aligned(rows: Iterable[Sequence[str]]) -> str:
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
