# SPDX-License-Identifier: AGPL-3.0-or-later
"""Before a key is taken out of FERNET_KEYS, from the command line."""

from django.core.management.base import BaseCommand, CommandError

from channel_integrations.integrated_channel.management.arguments import add_json, text_or_json
from channel_integrations.integrated_channel.services.reencryption import reencrypt


class Command(BaseCommand):
    """Encrypt every secret anew with the first of the site's keys."""

    help = (
        "Encrypts signing secrets, bearer tokens, client secrets, pseudonym keys, and by what endpoints know learners "
        "(in the register of disclosures) anew with the first key of FERNET_KEYS (without that setting: SECRET_KEY), "
        "after which the other keys of the list can be taken out. Nothing that partners have changes. Exit status 1 "
        "where something cannot be read with any of the keys; the rest is written all the same."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        add_json(parser)

    def handle(self, *args, **options) -> None:
        written, unreadable = reencrypt()
        count = written.total()
        text = f"{count} {'secret' if count == 1 else 'secrets'} encrypted anew with the first key"
        kinds = ", ".join(f"{what}: {number}" for what, number in written.items())
        facts = {
            "written": dict(written),
            "unreadable": [
                {"what": what, "of": owner, "count": number} for (what, owner), number in unreadable.items()
            ],
        }
        self.stdout.write(text_or_json(options, f"{text}{f' ({kinds})' if kinds else ''}.", facts))
        if unreadable:
            names = ", ".join(
                f"{what} of {owner}{f' ({number})' if number > 1 else ''}"
                for (what, owner), number in unreadable.items()
            )
            raise CommandError(
                f"No key of FERNET_KEYS decrypts these, which are as they were: {names}. Put the key that they were "
                "written with at the end of FERNET_KEYS and type this again; or, if it is lost, see 'The key that "
                "encrypts them' in rotate_a_secret.md"
            )
