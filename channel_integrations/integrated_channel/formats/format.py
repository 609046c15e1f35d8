# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a payload format declares."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True)
class NumberFacts:
    """
    What is said of a completion's learning time beside the seconds.

    ``states_as_of``: as of when it is known, and whether it is final. ``completion_id`` names the completion to an
    endpoint that takes revisions. ``previous``: the seconds that were sent before, of a revision.
    """

    states_as_of: bool = False
    completion_id: UUID | None = None
    previous: int | None = None


@dataclass(frozen=True)
class Facts:
    """
    What a body is built from beside the row.

    ``customer``: an enterprise customer (uuid, name). ``learner``: a user (id, username, email).
    """

    customer: Any
    learner: Any
    number: NumberFacts = NumberFacts()


@dataclass(frozen=True)
class PayloadFormat:
    """
    One way to write webhooks.

    ``events``: by event type, what builds the body from the row and the facts about it. ``test``: the same of a test
    event, from the customer and the moment.
    """

    name: str
    events: Mapping[str, Callable[[Any, Facts], dict[str, Any]]]
    test: Callable[[Any, datetime], dict[str, Any]]

    def payload(self, webhook: Any, facts: Facts) -> dict[str, Any]:
        """The body of a webhook."""
        return self.events[webhook.event_type](webhook, facts)
