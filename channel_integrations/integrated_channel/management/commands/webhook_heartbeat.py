# SPDX-License-Identifier: AGPL-3.0-or-later
"""Heartbeats, for probes and monitoring."""

from django.core.management.base import BaseCommand
from django.db import Error
from django.utils import timezone

from channel_integrations.integrated_channel.management.arguments import (
    add_json,
    text_or_json,
    typed_wrongly,
    whole_number,
)
from channel_integrations.integrated_channel.models import WebhookHeartbeat
from channel_integrations.integrated_channel.services.heartbeat import NAMES

WITHIN_SECONDS = 180


class Command(BaseCommand):
    """Say when the sweep and the two tasks were last seen alive."""

    help = (
        "Says when the sweep (send_due_webhooks) and the two Celery tasks last ran, as the database has it; no broker "
        "is asked. A task runs only when there is work: an idle worker keeps the file fresh that "
        "CHANNEL_WEBHOOKS_HEARTBEAT_FILE names in its environment. With --check, exit status 0: alive, 1: not, or the "
        "database cannot be asked; 2: the command was typed wrongly."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--check", choices=NAMES, help="say whether this one is alive, by the exit status, too")
        what.add_argument("--forget", choices=NAMES, help="remove this one, which is no longer to run")
        parser.add_argument(
            "--within",
            type=whole_number(1, 86_400),
            metavar="SECONDS",
            help=f"for --check: how long ago its last heartbeat may be (default {WITHIN_SECONDS})",
        )
        add_json(parser)

    def handle(self, *args, **options) -> None:
        if options["within"] and not options["check"]:
            raise typed_wrongly("--within goes with --check.")
        try:
            ages = self._ages()
            if options["forget"]:
                WebhookHeartbeat.objects.filter(pk=options["forget"]).delete()
        except Error as err:
            text = f"the database cannot be asked: {type(err).__name__}"
            self.stdout.write(text_or_json(options, text, {"error": type(err).__name__}))
            raise SystemExit(1) from err
        if options["check"]:
            self._check(options, ages)
        elif options["forget"]:
            self.stdout.write(
                text_or_json(options, f"{options['forget']}: forgotten", {"forgotten": options["forget"]})
            )
        else:
            text = "\n".join(f"{name}: {_last(ages.get(name))}" for name in NAMES)
            self.stdout.write(text_or_json(options, text, [_facts(name, ages.get(name)) for name in NAMES]))

    def _ages(self) -> dict[str, tuple[float, str]]:
        now = timezone.now()
        return {beat.pk: ((now - beat.beat_at).total_seconds(), beat.worker) for beat in WebhookHeartbeat.objects.all()}

    def _check(self, options: dict, ages: dict[str, tuple[float, str]]) -> None:
        name, within = options["check"], options["within"] or WITHIN_SECONDS
        found = ages.get(name)
        alive = found is not None and found[0] <= within
        text = f"{name}: {'alive' if alive else 'not alive'}, {_last(found)}"
        self.stdout.write(text_or_json(options, text, {**_facts(name, found), "alive": alive}))
        if not alive:
            raise SystemExit(1)


def _last(found: tuple[float, str] | None) -> str:
    return f"last heartbeat {max(found[0], 0):.0f} s ago, by {found[1]}" if found else "no heartbeat so far"


def _facts(name: str, found: tuple[float, str] | None) -> dict:
    age, by = found or (None, None)
    return {"name": name, "age_seconds": None if age is None else round(max(age, 0)), "by": by}
