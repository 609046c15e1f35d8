# SPDX-License-Identifier: AGPL-3.0-or-later
"""
How webhooks are written: one small module for each payload format, and the registry of them.

A format builds the body of each event from the webhook's row and the facts about it. It is pure: it asks no database.
``docs/how-tos/add_a_payload_format.md`` walks through another one.
"""

from typing import Any

from channel_integrations.integrated_channel.exceptions import WebhookNotWritable
from channel_integrations.integrated_channel.formats.encoding import iso_utc, to_body
from channel_integrations.integrated_channel.formats.format import Facts, NumberFacts, Optional, PayloadFormat
from channel_integrations.integrated_channel.formats.percipio import PERCIPIO
from channel_integrations.integrated_channel.formats.standard import STANDARD

__all__ = [
    "FORMATS",
    "STANDARD",
    "Facts",
    "NumberFacts",
    "Optional",
    "PayloadFormat",
    "format_of",
    "iso_utc",
    "known_format_of",
    "to_body",
]

#: by name; the first is the default
FORMATS: dict[str, PayloadFormat] = {each.name: each for each in (STANDARD, PERCIPIO)}


def format_of(endpoint: Any) -> PayloadFormat:
    """
    The format that an endpoint has chosen.

    :raises WebhookNotWritable: this release does not know it, and nothing goes out in another one than was agreed on
    """
    chosen = known_format_of(endpoint)
    if chosen is None:
        raise WebhookNotWritable(f"no format of this release: {endpoint.payload_format}")
    return chosen


def known_format_of(endpoint: Any) -> PayloadFormat | None:
    """The same, where NULL is the default; None where this release does not know it."""
    return FORMATS.get(endpoint.payload_format or STANDARD.name)
