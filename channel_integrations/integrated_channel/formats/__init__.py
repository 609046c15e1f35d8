# SPDX-License-Identifier: AGPL-3.0-or-later
"""
How webhooks are written: one small module for each payload format, and the registry of them.

A format builds the body of each event from the webhook's row and the facts about it. It is pure: it asks no database.
"""

from typing import Any

from channel_integrations.integrated_channel.formats.format import Facts, PayloadFormat
from channel_integrations.integrated_channel.formats.standard import STANDARD
from channel_integrations.integrated_channel.formats.written import iso_utc, to_body

__all__ = ["FORMATS", "Facts", "PayloadFormat", "format_of", "iso_utc", "to_body"]

#: by name; the first is the default
FORMATS = {each.name: each for each in (STANDARD,)}


def format_of(endpoint: Any) -> PayloadFormat:
    """The format that an endpoint has chosen."""
    return STANDARD
