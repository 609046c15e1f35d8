# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tables on a terminal."""

from collections.abc import Iterator, Sequence

#: a title, and rows of cells, the headings first
Table = tuple[str, Sequence[Sequence[str]]]


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A line for each row, the headings' included: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        yield f"  {'  '.join(cells)}".rstrip()
