# SPDX-License-Identifier: AGPL-3.0-or-later
"""The rollout of learning time, from the command line."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.management.arguments import (
    add_endpoint,
    endpoint_with,
    typed_wrongly,
    whole_number,
)
from channel_integrations.integrated_channel.management.tables import table
from channel_integrations.integrated_channel.models import LearningTime, WebhookRollout
from channel_integrations.integrated_channel.services import rollout
from channel_integrations.integrated_channel.services.figures import sides

#: decisions that are printed
LAST = 10
#: what the figures of both sides are of
DAY = timedelta(hours=24)
SIDES = {
    sides.INSIDE: "inside the rollout",
    sides.OUTSIDE: "outside: the percentage",
    sides.NEITHER: "neither: flag, pause or endpoint's switch",
}


class Command(BaseCommand):
    """Show who gets learning time, and change it."""

    help = (
        "Whose completions carry learning time. Without arguments it shows what holds, and how the completions of the "
        "last 24 hours fared, those inside the rollout beside those outside; nothing is changed. A change holds within "
        "five seconds in every process, without a restart. FEATURES['ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT'] must be "
        "on for any of it. Then learning time goes to the --percentage of each customer's learners (a higher one only "
        "adds learners), to all learners of an endpoint whose switch is 'always', and to nobody while it is paused. "
        "Completions without learning time go out as ever."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        parser.add_argument(
            "--percentage",
            type=whole_number(0, 100),
            metavar="N",
            help="learning time for this share of the learners, 0 to 100; does not end a pause",
        )
        pause = parser.add_mutually_exclusive_group()
        pause.add_argument(
            "--pause",
            action="store_const",
            const=True,
            dest="paused",
            help="the kill switch: no learning time for anybody; what waits for it goes out without, at once",
        )
        pause.add_argument(
            "--resume",
            action="store_const",
            const=False,
            dest="paused",
            help="end the pause; the percentage is what it was",
        )
        add_endpoint(parser, "the endpoint that gets a switch of its own by --learning-time")
        parser.add_argument(
            "--learning-time",
            choices=LearningTime.values,
            help="for this endpoint: 'always' whatever the percentage, 'never', or as the 'rollout' says (default)",
        )
        parser.add_argument("--note", metavar="TEXT", help="why; kept with the change (at most 200 characters)")
        parser.add_argument("--json", action="store_true", help="print what holds as JSON")

    def handle(self, *args, **options) -> None:
        said = self._change(options)
        state = self._state()
        if not said:  # Who pulls the kill switch waits for no figures.
            state["last_24_hours"] = _figures()
        if options["json"]:
            self.stdout.write(json.dumps(state, indent=2, ensure_ascii=False))
            return
        if said:
            self.stdout.write(f"{said}\n\n")
        self._show(state)

    def _change(self, options) -> str:
        """Do what was asked for; returns what to say about it, empty where nothing was asked for."""
        site = {name: options[name] for name in ("percentage", "paused") if options[name] is not None}
        about_endpoint = [options["endpoint"] is not None, options["learning_time"] is not None]
        note = options["note"] or ""
        if any(about_endpoint) and not all(about_endpoint):
            raise typed_wrongly("--endpoint ID and --learning-time {rollout,always,never} go together.")
        if any(about_endpoint) and site:
            raise typed_wrongly(
                "Change an endpoint's switch and the site's rollout by two commands, one after the other."
            )
        if note and not site and not any(about_endpoint):
            raise typed_wrongly(
                "A note goes with a change: --percentage, --pause, --resume, or --endpoint with --learning-time."
            )
        if len(note) > WebhookRollout._meta.get_field("note").max_length:
            raise typed_wrongly("--note takes at most 200 characters.")
        if site:
            made = rollout.decide(**site, note=note)
        elif any(about_endpoint):
            endpoint = endpoint_with(options["endpoint"])
            made = rollout.switch_endpoint(endpoint, options["learning_time"], note=note)
        else:
            return ""
        return f"Decided: {made}." if made else "That holds already. Nothing was changed."

    def _state(self) -> dict[str, Any]:
        newest = WebhookRollout.newest()
        return {
            "flag": conf.enrichment_enabled(),
            "percentage": newest.percentage,
            "paused": newest.paused,
            "endpoints": [
                {
                    "id": endpoint.pk,
                    "customer": endpoint.enterprise_customer.name,
                    "region": endpoint.region,
                    "learning_time": endpoint.learning_time,
                }
                for endpoint in rollout.own_switches()
            ],
            "decisions": [
                {
                    "number": decision.number,
                    "percentage": decision.percentage,
                    "paused": decision.paused,
                    "endpoint": decision.endpoint_id,
                    "learning_time": decision.learning_time or None,
                    "decided_at": decision.decided_at.isoformat(timespec="seconds"),
                    "decided_by": rollout.who(decision),
                    "note": decision.note,
                }
                for decision in rollout.history()[:LAST]
            ],
        }

    def _show(self, state: dict[str, Any]) -> None:
        self._write("Flag", "on" if state["flag"] else "off: no learning time for anybody, whatever follows")
        self._write("Kill switch", "PAUSED: no learning time for anybody" if state["paused"] else "not paused")
        self._write("Percentage", f"{state['percentage']} % of each customer's learners")
        self.stdout.write("\nEndpoints with a switch of their own")
        for each in state["endpoints"]:
            self.stdout.write(f"  {each['id']:>6}  {each['learning_time']:<7} {each['customer']}, {each['region']}")
        if not state["endpoints"]:
            self.stdout.write("  none")
        self.stdout.write("\nLast decisions")
        for each in state["decisions"]:
            what = f"endpoint {each['endpoint']}: {each['learning_time']}" if each["endpoint"] else ""
            what = what or f"{each['percentage']} %{', paused' if each['paused'] else ''}"
            number, note = f"#{each['number']}", each["note"]
            line = f"  {number:>6}  {each['decided_at']}  {what:<22} {each['decided_by']:<15} {note}"
            self.stdout.write(line.rstrip())
        if not state["decisions"]:
            self.stdout.write("  none: everyone, not paused")
        if "last_24_hours" in state:
            self.stdout.write("\n".join(_shown(state["last_24_hours"])))

    def _write(self, name: str, value: str) -> None:
        self.stdout.write(f"{name:<12} {value}")


def _figures() -> dict[str, Any]:
    """How the sides fared; times in seconds."""
    lately = sides.latest(DAY)
    figures: dict[str, Any] = {"made": lately.made, "is_capped": lately.is_capped}
    for name in SIDES:
        side = getattr(lately, name)._asdict()
        total = side.pop("total")
        figures[name] = {**side, "pass_to_delivery": total._asdict() if total else None}
    return figures


def _shown(figures: dict[str, Any]) -> Iterator[str]:
    which = f": the latest {figures['made']}" if figures["is_capped"] else ""
    yield f"\nCompletions of the last 24 hours{which}"
    if not figures["made"]:
        yield "  none"
        return
    counts = ("made", "delivered", "failed", "waiting")
    rows: list[tuple[str, ...]] = [("", *counts, "p50", "p95")]
    for name, label in SIDES.items():
        side = figures[name]
        took = side["pass_to_delivery"]
        seconds = [f"{each:.2f} s" for each in took.values()] if took else ["-", "-"]
        rows.append((label, *(str(side[count]) for count in counts), *seconds))
    yield from table(rows)
    found = figures[sides.INSIDE]["learning_times"]
    if found:
        yield "\nLearning time of those delivered inside"
        yield from table([(status, str(count)) for status, count in found.items()])
