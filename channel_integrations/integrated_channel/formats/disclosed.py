# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a body tells of a learner, read from the body itself: its endpoint may have another format by then."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from channel_integrations.integrated_channel.formats import FORMATS, to_body

#: what a body says of itself and of the customer
_ENVELOPE = {"event_type", "event_version", "event_source", "timestamp", "enterprise_customer"}


class Disclosed(NamedTuple):
    """
    The names of the fields with a value, sorted, and how the endpoint now knows the learner: JSON as in the body.

    Empty where the body is not one of ours; without an identifier, one that names nobody.
    """

    names: list[str]
    identifier: str


def disclosed_by(body: str) -> Disclosed:
    """What the endpoint knows that got this body."""
    try:
        payload = json.loads(body)
    except ValueError:
        payload = None
    if not isinstance(payload, dict):
        return Disclosed([], "")
    learner = _learner_of(payload)
    about = {key: value for key, value in payload.items() if key not in _ENVELOPE}
    return Disclosed(sorted(_names(about)), to_body(learner) if learner else "")


def _names(node: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """``learner.email``; what has no value tells nothing."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _names(value, f"{prefix}{key}.")
        elif value is not None and value != "":
            yield f"{prefix}{key}"


def _learner_of(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The object that names the learner; else the keys that do in a format with ids of its own, where they do."""
    learner = payload.get("learner")
    if isinstance(learner, dict):
        return learner if any(value is not None for value in learner.values()) else {}
    keys = {key for each in FORMATS.values() for key in each.learner_ids}
    return {key: value for key, value in payload.items() if key in keys and value is not None}
