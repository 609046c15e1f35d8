# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a customer must hear about a learner, and the judgement on what it heard. Pure functions."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

OK = "ok"


@dataclass
class Received:
    """One request that reached the receiver; ``at`` is seconds since the epoch, ``body`` None where it is no JSON."""

    method: str
    content_type: str
    body: Any
    at: float


@dataclass
class Expectation:
    """
    One learner and one customer: the exact body that must arrive, or None where nothing may.

    The body's moments are not compared with the expected ones, but must be moments. ``graded_at`` is in seconds since
    the epoch.
    """

    learner: Any
    customer: Any
    story: str
    body: dict[str, Any] | None
    graded_at: float = 0.0
    received: list[Received] = field(default_factory=list)


MOMENTS = ("timestamp", "completion.completion_date")


def judge(expected: dict[str, Any] | None, received: list[Received]) -> str:
    """``ok``, or what is wrong with what arrived for one learner and customer."""
    if expected is None:
        return "TOO MANY: none was due" if received else OK
    if not received:
        return "MISSING"
    if len(received) > 1:
        return f"TOO MANY: {len(received)} came"
    only = received[0]
    if only.method != "POST" or only.content_type.partition(";")[0].strip() != "application/json":
        return f"WRONG: {only.method} of {only.content_type or 'no type'}"
    wrong = sorted(differences(expected, only.body))
    return f"WRONG: {', '.join(wrong)}" if wrong else OK


def differences(expected: Any, given: Any, path: str = "") -> Iterator[str]:
    """
    Dotted paths at which two JSON values differ, in value or in type: keys missing, too many, or with another value.
    """
    if path in MOMENTS:
        if not _is_moment(given):
            yield path
    elif isinstance(expected, dict) and isinstance(given, dict):
        for key in expected.keys() | given.keys():
            below = f"{path}.{key}".lstrip(".")
            if key in expected and key in given:
                yield from differences(expected[key], given[key], below)
            else:
                yield below
    elif type(expected) is not type(given) or expected != given:
        yield path or "body"


def _is_moment(given: Any) -> bool:
    try:
        return datetime.fromisoformat(given).tzinfo is not None
    except (TypeError, ValueError):
        return False
