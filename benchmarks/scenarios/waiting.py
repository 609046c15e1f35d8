# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Completions spread so thinly that each alone wakes the warehouse; what waiting for company saves.

Time is scaled down: a warehouse that suspends after 1 s, a completion every 1.2 s, a wait of 20 s. Both arms run at the
same time, each on a site of its own.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from benchmarks.measure import AT_MOST, Figure, Load, Outcome, percentile, wakes
from benchmarks.scenarios.bench import Bench
from benchmarks.site import Site

AUTO_SUSPEND, WAIT = 1, 20
PER_SECOND = 1 / 1.2
SUSPEND_SETTING = "CHANNEL_WEBHOOKS_WAREHOUSE_AUTO_SUSPEND_SECONDS"
WAIT_SETTING = "CHANNEL_WEBHOOKS_LOOKUP_WAIT_SECONDS"


def waiting(bench: Bench) -> Outcome:
    """Wakes are counted on the wire."""
    count = bench.size.spread
    arms = {"without": 0, "with": WAIT if count > WAIT else 3}
    with ExitStack() as running:
        sites = {
            name: running.enter_context(
                bench.new_site(learners=count, **{SUSPEND_SETTING: AUTO_SUSPEND, WAIT_SETTING: seconds})
            )
            for name, seconds in arms.items()
        }
        with ThreadPoolExecutor(len(arms)) as threads:
            jobs = {name: threads.submit(_run, site, count) for name, site in sites.items()}
            loads = {name: job.result() for name, job in jobs.items()}
    woken = {name: wakes(load.statements, AUTO_SUSPEND) for name, load in loads.items()}
    share = woken["with"] / woken["without"] if woken["without"] else float("nan")
    longest = percentile(loads["with"].latencies(), 95)
    fewest = max(1.0, count / PER_SECOND / (arms["with"] or 1))
    outcome = Outcome(
        [
            Figure("wakes without waiting", woken["without"], ""),
            Figure("wakes with waiting", woken["with"], "", ratios={"one for each wait": woken["with"] / fewest}),
            Figure("of the wakes, with waiting", share, "", 0.1, AT_MOST),
            Figure("completion to POST with waiting, p95", longest, "s", None, AT_MOST),
        ],
        [f"{name} waiting: {fault}" for name, load in loads.items() for fault in load.faults()],
        {f"{name}_waiting": {**load.summary(), "wakes": woken[name]} for name, load in loads.items()},
    )
    for name, load in loads.items():
        outcome.series[f"{name} waiting"] = [began - load.began for began, _ in load.statements]
    return outcome


def _run(site: Site, count: int) -> Load:
    with site.worker():
        patience = count / PER_SECOND + 3 * WAIT
        return site.load(site.user_ids[:count], per_second=PER_SECOND, patience=patience)
