# SPDX-License-Identifier: AGPL-3.0-or-later
"""Durations as a person says them."""

from datetime import timedelta


def span(duration: timedelta) -> str:
    """Such as ``12 s``, ``5 min``, ``3 h`` or ``2 days``, rounded down."""
    seconds = max(int(duration.total_seconds()), 0)
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def ago(duration: timedelta) -> str:
    """Such as ``12 s ago``."""
    return f"{span(duration)} ago"
