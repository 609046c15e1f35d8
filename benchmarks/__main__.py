# SPDX-License-Identifier: AGPL-3.0-or-later
"""
``python -m benchmarks [SCENARIO ...] [--quick]``: start a site, measure, print, write ``benchmarks/results/``.

Exit status: 0 when every webhook was right, also where a target is missed; 1 otherwise.
"""

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks import limits, machine, plot, scenarios
from benchmarks.measure import Outcome
from benchmarks.parts import ROOT
from benchmarks.report import Report
from benchmarks.scenarios.bench import QUICK, Bench, Size
from benchmarks.site import WORKER_OPTIONS, WORKER_PROCESSES, Site
from tests.snowflake_server import SnowflakeServer

RESULTS = ROOT / "benchmarks" / "results"
SETTING = (
    f"{WORKER_PROCESSES} worker processes for both queues (celery worker -c {WORKER_PROCESSES} {WORKER_OPTIONS[0]}), 1 "
    "of them delivering at a time (the default); 1 customer with 1 endpoint that takes 4 requests at once (the "
    "default); 9 of 10 learners have learning time; MariaDB syncs every commit"
)


def arguments() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[1])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"all, {', '.join(scenarios.SCENARIOS)}")
    parser.add_argument("--quick", action="store_true", help="small counts: shows that it runs, not how fast")
    parser.add_argument("--memory-webhooks", type=int, default=Size.memory, help="webhooks of the scenario memory")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write")
    return parser.parse_args()


def main() -> int:
    """Run what was asked for, write what was found; returns the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell has it ignored in the background
    asked = arguments()
    names = scenarios.select(asked.scenarios)
    size = QUICK if asked.quick else Size(memory=asked.memory_webhooks)
    before, folder = machine.machine(), Path(tempfile.mkdtemp(prefix="channel-webhooks-bench-"))
    kept = True
    try:
        with ExitStack() as running:
            bench = start(folder, size, running)
            run(bench, names)
        kept = any(outcome.faults for outcome in bench.outcomes.values())
    except KeyboardInterrupt:
        kept = False
        print("\n  everything that was started has been stopped")
        return 130
    finally:
        if kept:
            say(f"the logs of the processes are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    report = Report(
        machine=before,
        versions=machine.versions(),
        setting=SETTING,
        limits=bench.limits,
        titles={name: title for name, (title, _function) in scenarios.SCENARIOS.items()},
        outcomes=bench.outcomes,
        quick=asked.quick,
    )
    name = "quick" if asked.quick else "latest" if set(scenarios.select([])) <= set(names) else "partial"
    report.write(asked.results, name)
    plot.draw(report, asked.results / f"{name}.png")
    print(f"\n{report.terminal()}\n\nwritten: {name}.json, {name}.md and {name}.png in {asked.results.name}/")
    return 1 if kept else 0


def start(folder: Path, size: Size, running: ExitStack) -> Bench:
    """The site, and its limits."""
    say("starting MariaDB, Redis, Snowflake's stand-in, LMS, receiver and proxy")
    snowflake = SnowflakeServer(folder)
    running.callback(snowflake.kill)
    snowflake.start()
    new_site = partial(_new_site, folder, snowflake, warm_up=size.warm_up)
    site = running.enter_context(new_site(learners=size.learners))
    say("measuring the limits")
    return Bench(site, size, limits.measure(site, size), new_site, say)


def run(bench: Bench, names: list[str]) -> None:
    """One scenario after the other; what stops one leaves the site in an unknown state, and ends the run."""
    for name in names:
        title, scenario = scenarios.SCENARIOS[name]
        say(f"{name}: {title}")
        began = time.monotonic()
        try:
            bench.outcomes[name] = scenario(bench)
        except (RuntimeError, subprocess.SubprocessError) as err:
            output = getattr(err, "stderr", None) or b""
            bench.outcomes[name] = Outcome(faults=[f"{err} {output.decode(errors='replace')[-2000:]}".strip()])
            say(f"{name}: stopped; the scenarios after it are left out")
            return
        say(f"{name}: done in {time.monotonic() - began:.0f} s")


def say(text: str) -> None:
    """One line of progress."""
    print(f"  {time.strftime('%H:%M:%S')} {text}", flush=True)


_sites = iter(range(100))


def _new_site(folder: Path, snowflake: SnowflakeServer, **options: int) -> Site:
    return Site(folder / f"site{next(_sites)}", snowflake, **options)


if __name__ == "__main__":
    sys.exit(main())
