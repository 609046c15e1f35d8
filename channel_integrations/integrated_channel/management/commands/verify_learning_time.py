# SPDX-License-Identifier: AGPL-3.0-or-later
"""Was the learning time that partners got right, and what did it cost? For a person, and nightly for monitoring."""

import secrets

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.exceptions import LearningTimeUnavailable
from channel_integrations.integrated_channel.management.arguments import (
    add_json,
    moment,
    number,
    text_or_json,
    typed_wrongly,
    whole_number,
)
from channel_integrations.integrated_channel.management.tables import table
from channel_integrations.integrated_channel.services.verification.billing import Price
from channel_integrations.integrated_channel.services.verification.report import Question, verify
from channel_integrations.integrated_channel.services.verification.text import beginning, tables, verdict

#: what differs by default without being too much: the rollup's owners correct days that have gone out
AT_MOST_PERCENT = 5.0
SAMPLE, SAMPLE_AT_MOST = 500, 50_000
SEEDS = 1_000_000
NOT_TO_BE_ASKED = 3
WHAT_TO_DO = (
    "what is wrong, and what to type, says: ./manage.py lms webhook_doctor --learning-time --only 'snowflake data'"
)


class Command(BaseCommand):
    """Compare what was sent with what the warehouse says now."""

    help = (
        "Compares the learning time of delivered completions, a random sample of them, with what the warehouse says "
        "now, both through the day of the pass; and says what lookups have cost, and would have cost had they waited "
        "for one another for longer or shorter (CHANNEL_WEBHOOKS_LOOKUP_WAIT_SECONDS). It asks Snowflake, past the "
        "cache, with one statement for each 500 webhooks and 8 days, and changes nothing. It names webhooks and "
        "customers, no learners. Exit status: 0 all is well; 1 more than --at-most-percent differ; 2 the command was "
        "typed wrongly; 3 Snowflake could not be asked."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        parser.add_argument(
            "--sample",
            type=whole_number(1, SAMPLE_AT_MOST),
            default=SAMPLE,
            metavar="N",
            help=f"how many webhooks are compared at the most (default {SAMPLE})",
        )
        parser.add_argument(
            "--since",
            type=moment,
            metavar="TIME",
            help="what was delivered, and looked up, at this time (2026-11-24) or later (default: for as long as "
            "CHANNEL_WEBHOOKS_RETENTION_DAYS)",
        )
        parser.add_argument(
            "--seed",
            type=whole_number(0, SEEDS - 1),
            metavar="N",
            help="draw the sample that this number drew before (default: another one each time; it is printed)",
        )
        parser.add_argument(
            "--at-most-percent",
            type=number(0, 100),
            default=AT_MOST_PERCENT,
            metavar="P",
            help=f"end with 1 where more differ (default {AT_MOST_PERCENT:g})",
        )
        parser.add_argument(
            "--judge",
            choices=("all", "final"),
            default="all",
            help="whose differences count: those of all (default), or of those alone that were final when they were "
            "sent, because the warehouse had the day of the pass",
        )
        parser.add_argument(
            "--tolerance",
            type=whole_number(0, 86_400),
            default=0,
            metavar="SECONDS",
            help="numbers that differ by so much at the most count as the same (default 0)",
        )
        parser.add_argument(
            "--price-per-credit",
            type=number(0, 1_000_000),
            metavar="PRICE",
            help="what Snowflake's contract says a credit costs, in whatever currency: costs are then printed",
        )
        parser.add_argument(
            "--credits-per-hour",
            type=number(0.01, 10_000),
            metavar="N",
            help="of the warehouse: 1 for X-Small (default), 2 for Small, 4 for Medium, 8 for Large",
        )
        add_json(parser)

    def handle(self, *args, **options) -> None:
        try:
            report = verify(_question(options))
        except LearningTimeUnavailable as err:
            raise CommandError(f"Nothing was compared. {err}; {WHAT_TO_DO}", returncode=NOT_TO_BE_ASKED) from err
        told = [line for title, rows in tables(report) for line in (title, *table(rows), "")]
        self.stdout.write(text_or_json(options, "\n".join([beginning(report), "", *told, verdict(report)]), report))
        if not report["verdict"]["ok"]:
            raise SystemExit(1)


def _question(options) -> Question:
    """:raises CommandError: arguments that do not go together"""
    now = timezone.now()
    if options["since"] and options["since"] > now:
        raise typed_wrongly("--since lies in the future: nothing has been delivered since then.")
    if options["credits_per_hour"] and options["price_per_credit"] is None:
        raise typed_wrongly("--credits-per-hour goes with --price-per-credit.")
    price = None
    if options["price_per_credit"] is not None:
        price = Price(options["price_per_credit"], options["credits_per_hour"] or 1.0)
    return Question(
        since=options["since"] or now - conf.retention(),
        sample=options["sample"],
        seed=secrets.randbelow(SEEDS) if options["seed"] is None else options["seed"],
        at_most_percent=options["at_most_percent"],
        tolerance=options["tolerance"],
        judge_final=options["judge"] == "final",
        price=price,
    )
