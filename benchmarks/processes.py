# SPDX-License-Identifier: AGPL-3.0-or-later
"""What processes have used, as the kernel tells it (Linux's /proc)."""

import contextlib
import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for member in found:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            for task in Path(f"/proc/{member}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    """What a process and its descendants have used, those that have ended included."""
    return sum(_ticks(member) for member in family(pid)) / _TICKS


def resident_mb(pid: int) -> float:
    """The memory that a process has in RAM, pages that it shares with others included."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _ticks(pid: int) -> int:
    with contextlib.suppress(OSError):
        # Fields 14 to 17: user and system, then those of children that have been waited for.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15]))
    return 0
