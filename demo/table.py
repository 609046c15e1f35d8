# SPDX-License-Identifier: AGPL-3.0-or-later
"""The report: a table that a person can read, one webhook, and whether all is well."""

import json
import unicodedata
from collections.abc import Sequence

from demo.receiver import about
from demo.verdict import OK, Expectation, Received, judge

HEADS = ("learner", "customer", "story", "learning time", "latency", "verdict")


def report(expectations: Sequence[Expectation], requests: Sequence[Received]) -> bool:
    """Print the table and one webhook; returns whether what arrived is exactly what had to."""
    rows, verdicts = [], []
    for expectation in expectations:
        about_them = (expectation.learner.id, str(expectation.customer.uuid))
        expectation.received = [request for request in requests if about(request) == about_them]
        verdicts.append(judge(expectation.body, expectation.received))
        rows.append(_row(expectation, verdicts[-1]))
    strangers = len(requests) - sum(len(expectation.received) for expectation in expectations)
    if strangers:
        verdicts.append(f"TOO MANY: {strangers} about nobody here")
        rows.append(("?", "?", "", "", "", verdicts[-1]))
    print(f"\n{table([HEADS, *rows])}")
    for expectation in expectations[:1]:
        for request in expectation.received[:1]:
            print(f"\nThe webhook about {expectation.learner.username}, as {expectation.customer.name} received it:\n")
            print(json.dumps(request.body, indent=2, ensure_ascii=False))
    return all(verdict == OK for verdict in verdicts)


def _row(expectation: Expectation, verdict: str) -> tuple[str, ...]:
    learning_time, latency = "no webhook", "–"
    if expectation.received:
        first = expectation.received[0]
        seconds = ((first.body or {}).get("completion") or {}).get("learning_time")
        learning_time = "not known" if seconds is None else f"{seconds} s"
        latency = f"{first.at - expectation.graded_at:.2f} s"
    names = (expectation.learner.username, expectation.customer.name, expectation.story)
    return (*names, learning_time, latency, verdict)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, with a rule below the first row."""
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [rows[0], ["─" * width for width in widths], *rows[1:]]
    return "\n".join(
        "  " + "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _width(text: str) -> int:
    """Columns of a terminal: emoji and CJK take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
