# SPDX-License-Identifier: AGPL-3.0-or-later
"""
What the commands have in common: arguments, JSON and exit status.

Exit status: 0 done, or all is well; 1 it could not be done, or all is not well; 2 typed wrongly, as argparse has it.
"""

import argparse
import json
import math
from collections.abc import Callable
from datetime import datetime, time
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration


def typed_wrongly(text: str) -> CommandError:
    """
    Arguments that do not go together, or that name what is not there; the text says what to type.

    No class of its own, whose name Django would print before the text.
    """
    return CommandError(text, returncode=2)


def add_endpoint(parser: argparse.ArgumentParser, what: str, required: bool = False) -> None:
    """``--endpoint ID``."""
    parser.add_argument(
        "--endpoint",
        type=whole_number(1, 2**63 - 1, "the number of an endpoint, as in its address in the admin"),
        required=required,
        metavar="ID",
        help=f"{what}, by the number in its address in the admin",
    )


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """``--dry-run``."""
    parser.add_argument("--dry-run", action="store_true", help="say how many there are, and do nothing")


def add_per_minute(parser: argparse.ArgumentParser, default: int) -> None:
    """``--per-minute N``."""
    parser.add_argument(
        "--per-minute",
        type=whole_number(1, 6000),
        default=default,
        metavar="N",
        help=f"how many fall due in a minute (default {default}); the endpoint's own limit holds as well",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="print the same as JSON")


def text_or_json(options: dict[str, Any], text: str, facts: Any) -> str:
    """What to print: the text, or with ``--json`` the facts behind it, on one line."""
    return json.dumps(facts, default=str, ensure_ascii=False) if options["json"] else text


def find_typed(find: Callable[[str], Any], text: str) -> Any:
    """
    What a finder of learners, customers or course runs finds by what was typed.

    :raises CommandError: nothing, or more than one; with the finder's words
    """
    try:
        return find(text)
    except ValidationError as err:
        raise typed_wrongly(str(err.message)) from err


def moment(text: str) -> datetime:
    """``2026-11-24`` or ``2026-11-24T09:30``, with an offset or in the site's time zone."""
    try:
        day = parse_date(text)
        parsed = datetime.combine(day, time.min) if day else parse_datetime(text)
    except ValueError:
        parsed = None
    if parsed is None:
        raise argparse.ArgumentTypeError("type a date or a time, such as 2026-11-24 or 2026-11-24T09:30+01:00")
    return parsed if parsed.tzinfo else timezone.make_aware(parsed)


def whole_number(minimum: int, maximum: int, what: str = ""):
    """A whole number within these bounds, both inclusive; ``what`` says in words what to type."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if not minimum <= number <= maximum:
            raise argparse.ArgumentTypeError(f"type {what or f'a whole number from {minimum} to {maximum}'}")
        return number

    return parse


def number(minimum: float, maximum: float):
    """A number within these bounds, both inclusive."""

    def parse(text: str) -> float:
        try:
            parsed = float(text)
        except ValueError:
            parsed = math.nan
        if not minimum <= parsed <= maximum:  # as nothing that is no number is
            raise argparse.ArgumentTypeError(f"type a number from {minimum:g} to {maximum:g}")
        return parsed

    return parse


def endpoint_with(pk: int) -> EnterpriseWebhookConfiguration:
    """The endpoint with this number; the error names those that there are."""
    endpoints = EnterpriseWebhookConfiguration.objects.select_related("enterprise_customer")
    endpoint = endpoints.filter(pk=pk).first()
    if endpoint:
        return endpoint
    known = [f"    {each.pk}  {each.enterprise_customer.name}, {each.region}" for each in endpoints.order_by("pk")[:50]]
    raise typed_wrongly("\n".join([f"There is no endpoint {pk}. There are:", *(known or ["    none"])]))
