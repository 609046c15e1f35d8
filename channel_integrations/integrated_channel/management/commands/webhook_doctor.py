# SPDX-License-Identifier: AGPL-3.0-or-later
"""Is it working? On the command line, for a person and for monitoring."""

import json
from collections import Counter

from django.core.management.base import BaseCommand

from channel_integrations.integrated_channel.services.doctor import CHECKS, Finding, Status, examine

#: of the column of names; and the names that the last line tells
WIDTH, NAMED = 18, 6


class Command(BaseCommand):
    """Look at everything that completion webhooks need, and say what to do about what is wrong."""

    help = (
        "Says whether everything that completion webhooks need is there and working: one line for each check, and "
        "below each that is not in order, what to do. It changes nothing, sends no webhook, and takes less than a "
        "minute even when everything is down. Exit status: 0 all in order, or warnings alone; 1 a problem was found "
        "(with --strict, or a warning); 2 the command was typed wrongly."
    )
    # What the system checks say is the first thing that it tells.
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        parser.add_argument(
            "--json", action="store_true", help="print a JSON list of objects: check, status, fact, advice"
        )
        parser.add_argument(
            "--only",
            action="append",
            default=[],
            choices=[check.name for check in CHECKS],
            metavar="CHECK",
            help="look at this one alone, and at what it rests on, such as --only 'enrichment worker'; may be given "
            "repeatedly: " + ", ".join(check.name for check in CHECKS),
        )
        parser.add_argument("--strict", action="store_true", help="end with 1 for a warning as well")
        parser.add_argument(
            "--learning-time",
            action="store_true",
            help="look at Snowflake, the cache and the enrichment worker even while learning time is switched off: "
            "before it is switched on",
        )

    def handle(self, *args, **options) -> None:
        findings = []
        for finding in examine(options["learning_time"], options["only"]):
            findings.append(finding)
            if not options["json"]:
                self._print(finding)
        counts = Counter(finding.status for finding in findings)
        if options["json"]:
            self.stdout.write(json.dumps([finding.as_dict() for finding in findings], indent=2))
        else:
            self.stdout.write(_summary(findings, counts))
        if counts[Status.PROBLEM] or (options["strict"] and counts[Status.WARNING]):
            raise SystemExit(1)

    def _print(self, finding: Finding) -> None:
        colour = {
            Status.OK: self.style.SUCCESS,
            Status.WARNING: self.style.WARNING,
            Status.PROBLEM: self.style.ERROR,
            Status.SKIPPED: self.style.HTTP_NOT_MODIFIED,
        }[finding.status]
        self.stdout.write(f"{colour(f'{finding.status:8}')} {finding.check:{WIDTH}} {finding.fact}")
        if finding.advice:
            self.stdout.write(f"{'':8} {'':{WIDTH}} -> {finding.advice}")


def _summary(findings: list[Finding], counts: Counter) -> str:
    """The line to look at first: it stands last, where a terminal stops."""
    said = []
    for status in (Status.PROBLEM, Status.WARNING):
        names = list(dict.fromkeys(finding.check for finding in findings if finding.status is status))
        more = f" and {len(names) - NAMED} more" * (len(names) > NAMED)
        which = f" ({', '.join(names[:NAMED])}{more})" * bool(names)
        said.append(f"{counts[status]} {status}{'s' * (counts[status] != 1)}{which}")
    return f"\n{', '.join(said)}, {counts[Status.OK]} ok, {counts[Status.SKIPPED]} skipped."
