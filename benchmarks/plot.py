# SPDX-License-Identifier: AGPL-3.0-or-later
"""The picture."""

from pathlib import Path


def draw(report, path: Path) -> None:
    pass
