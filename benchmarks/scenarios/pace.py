# SPDX-License-Identifier: AGPL-3.0-or-later
"""Completions that come one by one: how long each takes from its commit to the partner."""

import random
import time

from benchmarks.measure import AT_MOST, Figure, Load, Outcome, percentile
from benchmarks.scenarios.bench import Bench

PER_SECOND = 50
#: seconds for one webhook on an idle system
PATIENCE = 30


def steady(bench: Bench) -> Outcome:
    """So many a second, whether the system keeps up or not."""
    user_ids = bench.site.user_ids[: PER_SECOND * bench.size.steady_seconds]
    with bench.site.worker():
        load = bench.site.load(user_ids, per_second=PER_SECOND)
    outcome = _outcome(bench, load, target=0.25)
    handler, publish = (percentile([each[name] for each in load.sent], 50) for name in ("event", "publish"))
    ratios = {"bare event": handler * bench.limits.events / 1000}
    outcome.figures += [
        Figure("grade handler, new completion, median", handler, "ms", 5, AT_MOST, ratios),
        Figure("publishing after the commit, median", publish, "ms", None, AT_MOST),
    ]
    span = load.sent[-1]["began"] - load.sent[0]["began"]
    outcome.details["events_per_second"] = round((len(load.sent) - 1) / span, 2)
    if outcome.details["events_per_second"] < 0.97 * PER_SECOND:
        outcome.faults.append(f"the LMS sent only {outcome.details['events_per_second']} events a second")
    return outcome


def idle(bench: Bench) -> Outcome:
    """Each event is sent when the webhook of the one before has been there for a while."""
    user_ids = bench.site.user_ids[: bench.size.idle_events]
    pauses = random.Random(2026)

    def send() -> list[dict[str, float]]:
        sent: list[dict[str, float]] = []
        for user_id in user_ids:
            # Not in step with anything that happens once in a second.
            time.sleep(0.5 + pauses.random())
            sent += bench.site.lms.ask("grade", user_ids=[user_id])
            bench.site.wait_for_posts(len(sent), time.monotonic() + PATIENCE)
        return sent

    with bench.site.worker():
        load = bench.site.load(user_ids, send=send)
    return _outcome(bench, load, target=0.15)


def _outcome(bench: Bench, load: Load, target: float) -> Outcome:
    latencies = load.latencies()
    p95 = percentile(latencies, 95)
    figures = [
        Figure("completion to POST, p95", p95, "s", target, AT_MOST, bench.limits.of_latency(p95)),
        Figure("completion to POST, median", percentile(latencies, 50), "s", None, AT_MOST),
    ]
    return Outcome(figures, load.faults(), load.summary(), {"latencies": latencies})
