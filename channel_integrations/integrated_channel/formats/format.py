# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a payload format declares."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Facts:
    """
    What a body is built from beside the row.

    ``customer``: an enterprise customer (uuid, name). ``learner``: a user (id, username, email).
    """

    customer: Any
    learner: Any


@dataclass(frozen=True)
class PayloadFormat:
    """
    One way to write webhooks.

    ``events``: by event type, what builds the body from the row and the facts about it. ``test``: the same of a test
    event, from the customer and the moment. ``learner_keys``: the top-level keys of a body that name the learner; they
    are what is repeated when the endpoint is told to erase that learner's data.
    """

    name: str
    events: Mapping[str, Callable[[Any, Facts], dict[str, Any]]]
    test: Callable[[Any, datetime], dict[str, Any]]
    learner_keys: tuple[str, ...] = ("learner",)

    def payload(self, webhook: Any, facts: Facts) -> dict[str, Any]:
        """The body of a webhook."""
        return self.events[webhook.event_type](webhook, facts)
