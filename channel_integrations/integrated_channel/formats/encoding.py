# SPDX-License-Identifier: AGPL-3.0-or-later
"""How formats write what they have in common: moments, and the bytes of a body."""

import json
from datetime import UTC, datetime
from typing import Any


def to_body(payload: dict[str, Any]) -> str:
    """JSON in ASCII: the same bytes in every database charset, whatever alphabet a name is written in."""
    return json.dumps(payload, ensure_ascii=True, separators=(",", ":"))


def iso_utc(moment: datetime) -> str:
    """ISO 8601 in UTC."""
    return moment.astimezone(UTC).isoformat()
