# SPDX-License-Identifier: AGPL-3.0-or-later
"""Moving over from the incumbent, from the command line."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.management.arguments import (
    add_dry_run,
    add_json,
    add_per_minute,
    moment,
    text_or_json,
)
from channel_integrations.integrated_channel.services.incumbent.endpoints import IMPORTED, Outcome
from channel_integrations.integrated_channel.services.incumbent.moving import Choices, Move, is_there, move
from channel_integrations.integrated_channel.services.incumbent.tables import NAME, Configuration
from channel_integrations.integrated_channel.services.incumbent.webhooks import Tally
from channel_integrations.integrated_channel.services.replay import PER_MINUTE

MADE = {
    "sent": "already sent: remembered, so that they are not sent again",
    "cancelled": "cancelled there: remembered, so that they are not sent",
    "withdrawn": "waited here, but have been sent there: cancelled here",
    "owed": "not yet sent: to be sent from here, once",
    "failed": "failed for good: kept, to be replayed if wanted",
}
LEFT = {
    "unclear": "already sent, but of which pass or enrolment cannot be told exactly",
    "no pass": "not sent: no passing grade or enrolment to be found, or a grade that is failing",
    "no endpoint": "not sent: the customer has no endpoint",
    "customer gone": "of customers that are gone",
    "learner gone": "of learners who are gone",
}


class Command(BaseCommand):
    """Copy endpoints and webhooks from the incumbent's tables."""

    help = (
        f"Copies from the tables of {NAME}: which webhooks it has sent, so that none goes out twice; its endpoints, "
        "with their secrets encrypted anew; and the webhooks that it still owes, which then go out from here. What is "
        "here already stays as it is, so that it may be run again at any time. Stop the workers of the other package "
        "first, and run it with --dry-run first."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        parser.add_argument(
            "--from-incumbent", action="store_true", required=True, help=f"from the tables of {NAME}; has to be said"
        )
        parser.add_argument(
            "--owed-since",
            type=moment,
            metavar="TIME",
            help="of the webhooks that are not yet sent, those made at this time (2026-11-24) or later; else all",
        )
        parser.add_argument(
            "--sponsored-only",
            action="store_true",
            help="endpoints get completions of courses that their customer sponsors, and not, as before, every one of "
            "its linked learners'",
        )
        parser.add_argument(
            "--resend-unclear",
            action="store_true",
            help="where it cannot be told which of the latest passes a customer has had, send it those; else its "
            "endpoints get passes from now on",
        )
        add_per_minute(parser, PER_MINUTE)
        add_dry_run(parser)
        add_json(parser)

    def handle(self, *args, **options) -> None:
        if not is_there():
            raise CommandError(
                f"There is nothing to copy: the database has no table {Configuration._meta.db_table}, which releases "
                f"0.1.30 and later of {NAME} make."
            )
        names = ("dry_run", "per_minute", "owed_since", "sponsored_only", "resend_unclear")
        found = move(Choices(**{name: options[name] for name in names}))
        if not options["dry_run"] and found.webhooks.made["owed"]:
            wake_up.delivery()
        self.stdout.write(text_or_json(options, "\n".join(_in_words(found)), _facts(found)))


def _facts(found: Move) -> dict[str, Any]:
    tally = found.webhooks
    return {
        "dry_run": tally.dry_run,
        "endpoints": [vars(each) for each in found.endpoints],
        "webhooks": {"made": {kind: tally.made[kind] for kind in MADE}, "there_already": tally.there},
        "not_done": {kind: tally.left[kind] for kind in LEFT},
    }


def _in_words(found: Move) -> Iterator[str]:
    yield "Endpoints"
    if not found.endpoints:
        yield "    none"
    for outcome in found.endpoints:
        yield from _of_endpoint(outcome)
    yield "Webhooks"
    yield from _of_webhooks(found.webhooks)
    if found.webhooks.dry_run:
        yield "Nothing was done: type the same without --dry-run."


def _of_endpoint(outcome: Outcome) -> Iterator[str]:
    number = f" as endpoint {outcome.endpoint}" if outcome.endpoint else ""
    state = {None: "", True: ", on", False: ", switched off"}[outcome.active]
    what = outcome.outcome if outcome.outcome != IMPORTED else f"imported{number}"
    yield f"    {outcome.customer}, {outcome.region}: {what}{state}"
    yield from (f"        {remark}" for remark in outcome.remarks)


def _of_webhooks(tally: Tally) -> Iterator[str]:
    for kind, words in MADE.items():
        yield f"{tally.made[kind]:>12,}  {words}"
    yield f"{tally.there:>12,}  there already, or the same pass once more"
    for kind, words in LEFT.items():
        if tally.left[kind]:
            yield f"{tally.left[kind]:>12,}  {words}"
