# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a worker's memory grows with what it has done."""

from benchmarks import processes
from benchmarks.measure import AT_MOST, Figure, Outcome
from benchmarks.scenarios.bench import Bench

#: the growth that counts as none, in percent
TOLERANCE = 5.0


def memory(bench: Bench) -> Outcome:
    """Burst after burst, each in a course run of its own, through worker processes that nobody recycles."""
    size, site, outcome = bench.size, bench.site, Outcome()
    used: list[list[float]] = []
    with site.worker(options=()) as worker:
        pool = processes.family(worker.process.pid)[1:]
        used.append([processes.resident_mb(pid) for pid in pool])
        for number in range(size.memory // size.memory_step):
            course = f"course-v1:edX+Memory{number}+2026"
            site.lms.ask("sponsor", within=60, course=course)
            site.fill_rollup(course)
            load = site.load(site.user_ids[: size.memory_step], course=course)
            outcome.faults += load.faults()
            used.append([processes.resident_mb(pid) for pid in pool])
            bench.say(f"{(number + 1) * size.memory_step} webhooks: {', '.join(f'{mb:.0f}' for mb in used[-1])} MB")
        if processes.family(worker.process.pid)[1:] != pool:
            outcome.faults.append("a worker process was replaced")
    total = [sum(each) for each in used]
    # The first bursts import and cache what every process needs once.
    warm = total[min(2, len(total) - 1)]
    growth = 100 * (total[-1] - warm) / warm
    outcome.figures = [
        Figure(f"growth from webhook {2 * size.memory_step} to {size.memory}", growth, "%", TOLERANCE, AT_MOST),
        Figure(f"resident, {len(pool)} worker processes together, at the end", total[-1], "MB", None, AT_MOST),
    ]
    outcome.details = {"every": size.memory_step, "resident_mb": [[round(mb, 1) for mb in each] for each in used]}
    outcome.series = {f"process {number}": list(mb) for number, mb in enumerate(zip(*used, strict=True), start=1)}
    return outcome
