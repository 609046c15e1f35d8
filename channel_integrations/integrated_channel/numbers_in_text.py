# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ids that people type, or that stand in an address."""

#: digits of a user id at most, as of the other ids that are typed; what is longer fits no column
MAX_DIGITS = 9


def number_of(text: str, max_digits: int = MAX_DIGITS) -> int | None:
    """The number that is written there; None where it is none, or one that fits no column."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= max_digits else None
