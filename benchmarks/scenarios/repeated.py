# SPDX-License-Identifier: AGPL-3.0-or-later
"""What most events of a bulk regrade are: passes whose webhook is there already, and passes of long ago."""

import time

from benchmarks.measure import AT_MOST, Figure, Outcome, percentile, spread
from benchmarks.scenarios.bench import Bench

KINDS = {"recent": "passes whose rows exist", "old": "passes beyond the maximum age"}


def repeated(bench: Bench) -> Outcome:
    """Through the handler, each in a transaction with the grade's own UPDATE, which is not counted."""
    site, outcome = bench.site, Outcome()
    user_ids = site.user_ids[: bench.size.repeated]
    # Without a worker, which would use the cores: what is published is forgotten, the rows are finished by hand.
    site.empty()
    site.lms.ask("grade", within=120, user_ids=user_ids)
    rows = site.lms.ask("finish_rows")
    site.receiver.ask("forget")
    for again, what in KINDS.items():
        messages = site.messages()
        sent = site.lms.ask("grade", within=120, user_ids=user_ids, again=again)
        taken = [each["event"] for each in sent]
        rate, median = 1000 * len(taken) / sum(taken), percentile(taken, 50)
        outcome.figures += [
            Figure(f"events, {what}", rate, "/s", 500, ratios={"bare events": rate / bench.limits.events}),
            Figure(f"grade handler, {what}, median", median, "ms", 1.5, AT_MOST),
        ]
        outcome.details[again] = {"events_per_second": round(rate, 1), "handler_ms": spread(taken)}
        if site.messages() != messages:
            outcome.faults.append(f"{what}: {site.messages() - messages} messages were published")
    time.sleep(1)
    if (rows, site.ledger.statuses()) != (len(user_ids), {"delivered": len(user_ids)}):
        outcome.faults.append(f"{rows} rows before, {site.ledger.statuses()} afterwards, for {len(user_ids)} passes")
    if site.receiver.ask("count"):
        outcome.faults.append(f"{site.receiver.ask('count')} webhooks arrived")
    site.empty()
    return outcome
