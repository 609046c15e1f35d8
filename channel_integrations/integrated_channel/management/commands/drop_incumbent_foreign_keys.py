# SPDX-License-Identifier: AGPL-3.0-or-later
"""What keeps customers and users from being deleted after a move, from the command line."""

from django.core.management.base import BaseCommand, CommandError

from channel_integrations.integrated_channel.management.arguments import add_dry_run, add_json, text_or_json
from channel_integrations.integrated_channel.services.incumbent import foreign_keys
from channel_integrations.integrated_channel.services.incumbent.tables import NAME


class Command(BaseCommand):
    """Take the foreign keys of the incumbent's tables away."""

    help = (
        f"Drops the foreign keys that lead from the tables of {NAME}, whose app is gone, to customers, users and "
        "whatever else is not its own: they keep those from being deleted. The tables and all that is in them stay. "
        f"Each takes a lock on both of its tables, for which it waits {foreign_keys.WAIT_SECONDS} s at most, others "
        "behind it. Safe to run again. Run it with --dry-run first."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        add_dry_run(parser)
        add_json(parser)

    def handle(self, *args, **options) -> None:
        if labels := foreign_keys.installed():
            raise CommandError(
                f"{NAME} is installed here ({', '.join(labels)}): its tables are in use, and their foreign keys with "
                "them. Swap the packages first."
            )
        keys = foreign_keys.foreign_keys()
        if keys and not options["dry_run"] and not foreign_keys.can_drop():
            raise CommandError(
                f"There are {len(keys)}, and SQLite cannot drop a foreign key. Drop the tables, if nobody needs their "
                "data: the check 'old tables' of ./manage.py lms webhook_doctor says how."
            )
        left = foreign_keys.drop(keys) if keys and not options["dry_run"] else []
        facts = {
            "dry_run": options["dry_run"],
            "foreign_keys": [{**key._asdict(), "dropped": not options["dry_run"] and key not in left} for key in keys],
        }
        self.stdout.write(text_or_json(options, "\n".join(_in_words(keys, left, options["dry_run"])), facts))
        if left:
            raise CommandError(
                f"{len(left)} of {len(keys)} are still there: their tables were in use for longer than "
                f"{foreign_keys.WAIT_SECONDS} s. Type the same again at a quieter moment."
            )


def _in_words(keys, left, dry_run: bool):
    if not keys:
        yield f"No table of {NAME} has a foreign key to others: nothing to do."
        return
    for key in keys:
        word = "found" if dry_run else "in use" if key in left else "dropped"
        yield f"{word:<8} {key.table}.{key.column} -> {key.refers_to}"
    if dry_run:
        yield f"{_count(len(keys))} would be dropped. Nothing was done."
    else:
        yield f"{_count(len(keys) - len(left))} dropped; the tables and their rows are as they were."


def _count(keys: int) -> str:
    return f"{keys} foreign key{'' if keys == 1 else 's'}"
