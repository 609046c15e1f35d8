# SPDX-License-Identifier: AGPL-3.0-or-later
"""The register of disclosures, from the command line."""

from django.core.management.base import BaseCommand, no_translations

from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.management.arguments import find_typed, moment
from channel_integrations.integrated_channel.models import WebhookDisclosure
from channel_integrations.integrated_channel.numbers_in_text import number_of
from channel_integrations.integrated_channel.services.disclosure_export import as_csv, as_json, as_text, facts_of
from channel_integrations.integrated_channel.services.explanation.subject import find_customer, find_learner

lines = LogLines(__name__)


class Command(BaseCommand):
    """Say who was told what about whom."""

    help = (
        "Prints the register of disclosures, oldest first: which endpoint was told which data about which learner (by "
        "user id), when, on what basis, and whether it was told to erase it. It names fields and has no values. It "
        "changes nothing. Without --csv or --json it is to be read by people."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        parser.add_argument("--since", type=moment, metavar="TIME", help="told at this time (2026-11-24) or later")
        parser.add_argument("--customer", help="to this customer alone: UUID, slug or name")
        parser.add_argument("--learner", help="about this learner alone: username, email or user id")
        formats = parser.add_mutually_exclusive_group()
        formats.add_argument("--csv", action="store_true", help="print CSV, for spreadsheets")
        formats.add_argument("--json", action="store_true", help="print the same as JSON: an array, a line for each")

    @no_translations  # It is kept as proof, and read by programs.
    def handle(self, *args, **options) -> None:
        disclosures = WebhookDisclosure.objects.all()
        if options["since"]:
            disclosures = disclosures.filter(last_at__gte=options["since"])
        if options["customer"]:
            disclosures = disclosures.filter(enterprise_customer_uuid=find_typed(find_customer, options["customer"]).pk)
        if options["learner"]:
            disclosures = disclosures.filter(user_id=_user_id(options["learner"]))
        write = as_csv if options["csv"] else as_json if options["json"] else as_text
        is_silent = True
        for line in write(facts_of(disclosures)):
            self.stdout.write(line, ending="")
            is_silent = False
        if is_silent:  # text alone: JSON has its brackets, CSV its head
            self.stderr.write("Nothing was told, as far as the register goes.", self.style.NOTICE)
        lines.info("webhook_disclosures", "exported")


def _user_id(text: str) -> int:
    """A user id also where the account itself is gone: the register is kept for longer."""
    user_id = number_of(text)
    if user_id is not None and WebhookDisclosure.objects.filter(user_id=user_id).exists():
        return user_id
    return find_typed(find_learner, text).pk
