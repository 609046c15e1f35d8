# SPDX-License-Identifier: AGPL-3.0-or-later
"""From what was seen to figures; no I/O."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

AT_LEAST, AT_MOST = "≥", "≤"


def percentile(values: Iterable[float], percent: float) -> float:
    """The value that so many percent do not exceed (nearest rank); NaN for none."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def wakes(statements: Iterable[Sequence[float]], auto_suspend: float) -> int:
    """How often a warehouse woke: for a statement that began more than so many seconds after all before had ended."""
    count, awake_until = 0, -math.inf
    for began, ended in sorted(statements):
        count += began > awake_until
        awake_until = max(awake_until, ended + auto_suspend)
    return count


class Post(NamedTuple):
    """One POST as the receiver saw it."""

    at: float
    webhook_id: str
    user_id: int | None
    learning_time: int | None


@dataclass
class Load:
    """Completions that were sent, and what came of them."""

    #: user id -> learning time that its webhook must tell, None where it must tell none
    expected: Mapping[int, int | None]
    #: as ``lms.grade`` returns them
    sent: list[dict[str, float]]
    posts: list[Post]
    statements: list[list[float]]
    logins: int = 0
    cpu: dict[str, float] = field(default_factory=dict)

    @property
    def began(self) -> float:
        return self.sent[0]["began"]

    def seconds(self) -> float:
        """From the first event to the last arrival."""
        return max(post.at for post in self.posts) - self.began if self.posts else math.inf

    def rate(self) -> float:
        return len(self.posts) / self.seconds()

    def arrivals(self) -> list[float]:
        return sorted(post.at - self.began for post in self.posts)

    def latencies(self) -> list[float]:
        """From each event's commit to the arrival of its webhook."""
        committed = {each["user_id"]: each["committed"] for each in self.sent}
        return [post.at - committed[post.user_id] for post in self.posts if post.user_id in committed]

    def faults(self) -> list[str]:
        """What is wrong with the webhooks; empty where each came once and told what it must."""
        came = Counter(post.user_id for post in self.posts)
        ids = Counter(post.webhook_id for post in self.posts)
        wrong = [
            post
            for post in self.posts
            if post.user_id in self.expected and post.learning_time != self.expected[post.user_id]
        ]
        counts = {
            "did not arrive": len(self.expected.keys() - came.keys()),
            "arrived more than once": sum(count > 1 for count in came.values()),
            "arrived for somebody else": len(came.keys() - self.expected.keys()),
            "share a webhook-id": sum(count > 1 for count in ids.values()),
            "tell a wrong learning time": len(wrong),
        }
        return [f"{count} of {len(self.expected)} webhooks {what}" for what, count in counts.items() if count]

    def summary(self) -> dict[str, Any]:
        """For the JSON."""
        events, publishes = ([each[name] for each in self.sent] for name in ("event", "publish"))
        return {
            "completions": len(self.expected),
            "webhooks": len(self.posts),
            "seconds": round(self.seconds(), 3),
            "webhooks_per_second": round(self.rate(), 2),
            "events_seconds": round(self.sent[-1]["committed"] - self.began, 3),
            "latency_seconds": spread(self.latencies()),
            "handler_ms": spread(events),
            "publish_ms": spread(publishes),
            "statements": len(self.statements),
            "logins": self.logins,
            "cpu_seconds": {name: round(seconds, 2) for name, seconds in self.cpu.items()},
        }


@dataclass
class Figure:
    """One line of the table. ``ratios`` compare with the limits, by their names."""

    what: str
    value: float
    unit: str
    target: float | None = None
    bound: str = AT_LEAST
    ratios: Mapping[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        return self.value >= self.target if self.bound == AT_LEAST else self.value <= self.target


@dataclass
class Outcome:
    """What a scenario has found. With ``faults`` its figures mean nothing."""

    figures: list[Figure] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    #: what the plot draws, by name
    series: dict[str, list[float]] = field(default_factory=dict)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, p95 and maximum."""
    return {
        "median": round(percentile(values, 50), 4),
        "p95": round(percentile(values, 95), 4),
        "max": round(max(values, default=math.nan), 4),
    }
