# SPDX-License-Identifier: AGPL-3.0-or-later
"""Percentiles, exactly."""

import math
from collections.abc import Iterable
from typing import NamedTuple


class Percentiles(NamedTuple):
    """Of a list of numbers: half of them are no greater than ``p50``, 95 of 100 no greater than ``p95``."""

    p50: float
    p95: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Percentiles | None":
        """None of nothing. By nearest rank: each of the two is one of the values."""
        ordered = sorted(values)
        if not ordered:
            return None
        return cls(*(ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.95)))
