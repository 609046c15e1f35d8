# SPDX-License-Identifier: AGPL-3.0-or-later
"""Arguments that several commands take."""

import argparse
from datetime import datetime, time

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration


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


def whole_number(minimum: int, maximum: int):
    """A whole number within these bounds, both inclusive."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if not minimum <= number <= maximum:
            raise argparse.ArgumentTypeError(f"type a whole number from {minimum} to {maximum}")
        return number

    return parse


def endpoint_with(pk: int) -> EnterpriseWebhookConfiguration:
    """The endpoint with this number; CommandError names those that there are."""
    endpoints = EnterpriseWebhookConfiguration.objects.select_related("enterprise_customer")
    endpoint = endpoints.filter(pk=pk).first()
    if endpoint:
        return endpoint
    known = [f"    {each.pk}  {each.enterprise_customer.name}, {each.region}" for each in endpoints.order_by("pk")[:50]]
    raise CommandError("\n".join([f"There is no endpoint {pk}. There are:", *(known or ["    none"])]))
