# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every check, in the order in which a fault in one explains the next."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.services.doctor import (
    backlog,
    database,
    endpoints,
    installation,
    shared,
    snowflake,
)
from channel_integrations.integrated_channel.services.doctor.findings import (
    Finding,
    Findings,
    Status,
    problem,
    skipped,
)

lines = LogLines(__name__)


@dataclass(frozen=True)
class Check:
    """
    A question. It is not asked where another that it rests on has found a problem, nor, where it is about
    ``learning_time``, while that is switched off.
    """

    name: str
    ask: Callable[[], Findings]
    needs: tuple[str, ...] = ()
    learning_time: bool = False


#: with everything down they take at most 5 + 15 + 5 + 5 s; with everything slow and no worker, 5 + 15 + 10 + 10 + 5 + 5
#: + 4 + 4 + 12 and the time of the database
CHECKS = (
    Check("settings", installation.settings),
    Check("events", installation.events),
    Check("routes", installation.routes),
    Check("flag", installation.flag),
    Check("database", database.answers),
    Check("clock", database.clock, needs=("database",)),
    Check("migrations", installation.migrations, needs=("database",)),
    Check("old tables", installation.other_tables, needs=("database",)),
    Check("snowflake sign-in", snowflake.sign_in, learning_time=True),
    Check("snowflake table", snowflake.table, needs=("snowflake sign-in",), learning_time=True),
    Check("snowflake data", snowflake.freshness, needs=("snowflake table",), learning_time=True),
    Check("cache", shared.cache, learning_time=True),
    Check("broker", shared.broker),
    Check(
        "enrichment worker",
        shared.enrichment_worker,
        needs=("routes", "database", "migrations", "broker"),
        learning_time=True,
    ),
    Check("delivery worker", shared.delivery_worker, needs=("routes", "database", "migrations", "broker")),
    Check("sweep", backlog.sweep, needs=("database", "migrations")),
    Check("overdue", backlog.overdue, needs=("database", "migrations")),
    Check("endpoints", endpoints.endpoints, needs=("database", "migrations")),
)


def examine(learning_time: bool = False, only: Collection[str] = ()) -> Iterator[Finding]:
    """
    Ask everything, one finding after the other as it comes.

    :param learning_time: look at what learning time needs although it is switched off
    :param only: names of checks: ask these alone, and what they rest on
    """
    unanswered: set[str] = set()
    for check in _wanted(only) if only else CHECKS:
        findings = list(_skipped(check, unanswered, learning_time)) or _asked(check)
        if any(finding.status in (Status.PROBLEM, Status.SKIPPED) for finding in findings):
            unanswered.add(check.name)
        for finding in findings:
            yield finding if finding.check else replace(finding, check=check.name)


def _wanted(names: Collection[str]) -> list[Check]:
    """These checks and what they need; what a check needs stands before it."""
    wanted = set(names)
    for check in reversed(CHECKS):
        if check.name in wanted:
            wanted.update(check.needs)
    return [check for check in CHECKS if check.name in wanted]


def _skipped(check: Check, unanswered: set[str], learning_time: bool) -> Findings:
    missing = [name for name in check.needs if name in unanswered]
    if check.learning_time and not (learning_time or conf.enrichment_enabled()):
        yield skipped("learning time is switched off (--learning-time looks all the same)")
    elif missing:
        yield skipped(f"cannot be asked before this is mended: {missing[0]}")


def _asked(check: Check) -> list[Finding]:
    findings: list[Finding] = []
    try:
        for finding in check.ask():
            findings.append(finding)
    except Exception as err:  # A check that fails is a finding, and the others are still to be asked.
        lines.failure("webhook_doctor", err, check=check.name)
        findings.append(
            problem(
                f"this check itself failed ({type(err).__name__})",
                "If a line above is red, mend that first; else report this with its line in the log.",
            )
        )
    return findings
