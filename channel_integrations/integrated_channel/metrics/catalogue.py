# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Every metric: its name, its labels, and what it says.

All are gauges. A count of what is in a table falls when rows are purged, which a counter must not; what happened lately
is the count of a window, which no restart and no other process can make wrong. Labels are ids and codes whose number is
bounded: no learner, no customer's name, no course run.
"""

from typing import NamedTuple

PREFIX = "channel_webhooks"
LATELY, HOUR = "5m", "1h"


class Metric(NamedTuple):
    """A gauge; ``labels`` are names."""

    name: str
    labels: tuple[str, ...]
    help: str

    @property
    def full_name(self) -> str:
        """As it is scraped."""
        return f"{PREFIX}_{self.name}"


_ENDPOINT = ("endpoint_id", "region")

WAITING = Metric("waiting", ("status",), "Webhooks that have not come to their end, by status.")
DUE = Metric(
    "due",
    ("queue",),
    "Webhooks due now, by the queue whose workers serve them; without those of endpoints that take no more right now. "
    "What to scale workers on.",
)
LATE = Metric("late", ("status",), "Of those, the ones due for more than 60 s. The target is fewer than 100 in all.")
HELD_BACK = Metric(
    "held_back",
    (),
    "Webhooks due for endpoints that take no more right now (failing, paused, at their rate limit, catching up): no "
    "worker helps.",
)
OLDEST_DUE_AGE = Metric(
    "oldest_due_age_seconds", (), "For how long the oldest webhook that could be sent is due; 0 where none is."
)

ERASURES_OWED = Metric("erasures_owed", (), "Erasures of retired learners that endpoints have not confirmed.")
ERASURES_STUCK = Metric(
    "erasures_stuck",
    (),
    "Of those, the ones that failed for good: nothing tells the partner any more.",
)

ENDPOINT_STATE = Metric(
    "endpoint_state", (*_ENDPOINT, "state"), "1 for the state that the endpoint is in, 0 for the others."
)
ENDPOINT_PENDING = Metric("endpoint_pending", _ENDPOINT, "Webhooks that wait to be sent to the endpoint.")
ENDPOINT_PARKED = Metric("endpoint_parked", _ENDPOINT, "Webhooks parked until the endpoint is switched on again.")
ENDPOINT_OLDEST_DUE_AGE = Metric(
    "endpoint_oldest_due_age_seconds",
    _ENDPOINT,
    "For how long the endpoint's oldest webhook is due; 0 where none is.",
)
ENDPOINT_FAILURES = Metric("endpoint_failures", _ENDPOINT, "Failed attempts since the endpoint's last success.")
ENDPOINT_LAST_SUCCESS_AGE = Metric(
    "endpoint_last_success_age_seconds",
    _ENDPOINT,
    "How long ago the endpoint last took a webhook; no sample before it has taken one.",
)
ENDPOINT_OPENS_IN = Metric(
    "endpoint_opens_in_seconds",
    _ENDPOINT,
    "When breaker, pause and rate limit let the next webhook through; 0 for at once.",
)
ENDPOINT_DISABLED_IN = Metric(
    "endpoint_disabled_in_seconds",
    _ENDPOINT,
    "When the sender will switch the endpoint off if nothing succeeds until then; no sample while nothing fails.",
)

FINISHED = Metric("finished", ("status", "window"), "Webhooks that came to their end in the window, by how they ended.")
ATTEMPTS = Metric("attempts", ("answer", "window"), "Attempts in the window, by status class or by code of the error.")
SUPPRESSED = Metric(
    "suppressed", ("reason", "window"), "Passes of linked learners that made no webhook in the window, by reason."
)
DELIVERY = Metric(
    "delivery_seconds",
    ("part", "quantile", "window"),
    "What the latest deliveries took, 10000 at most: the pass to the delivery (total), of that the POST (post), the "
    "statement to Snowflake (lookup) and all else (waiting). The target is a total of less than 5 s at 0.95.",
)
DELIVERIES = Metric("deliveries", ("window",), "How many deliveries delivery_seconds and learning_time are about.")
LEARNING_TIME = Metric(
    "learning_time", ("status", "window"), "Of the latest deliveries, those with learning time (found), or why not."
)

LOOKUPS = Metric("lookup_statements", ("window",), "Statements to Snowflake in the window.")
LOOKUPS_FAILED = Metric("lookup_failed_statements", ("window",), "Of those, the ones that failed.")
LOOKUPS_ASKED = Metric("lookup_asked", ("window",), "Completions that those statements were to look up.")
LOOKUPS_FOUND = Metric("lookup_found", ("window",), "Of those, the ones with a number.")
LOOKUP = Metric(
    "lookup_seconds",
    ("quantile", "window"),
    "What those statements took. The target is less than 2 s at 0.95.",
)
WAKES = Metric("warehouse_wakes", ("window",), "How often they woke the warehouse, which bills a minute or more each.")

HEARTBEAT_AGE = Metric(
    "heartbeat_age_seconds",
    ("process",),
    "How long ago the sweep, or a task, last ran; no sample before it has. Tasks run when there is work.",
)
ENABLED = Metric("learning_time_enabled", (), "1 where the feature flag is on.")
PERCENT = Metric("rollout_percent", (), "The percentage of learners whose learning time is looked up.")
PAUSED = Metric("rollout_paused", (), "1 where the kill switch is on.")
TARGET_VALUE = Metric("target_value", ("target", "unit"), "The figures that have a target, as they are now.")
TARGET_LIMIT = Metric("target_limit", ("target", "unit"), "What those figures should keep to.")
TARGET_MET = Metric("target_met", ("target",), "1 where the figure keeps to it; no sample without data.")
BUILD = Metric("build_info", ("version",), "1; the version of this package.")
SCRAPE = Metric("scrape_duration_seconds", (), "What it took to count all this.")

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
