# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a payload format declares, and what it is given."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
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

    ``customer``: an enterprise customer (uuid, name). ``learner``: how the learner is named to the endpoint, as
    ``services.naming.named`` has it.
    """

    customer: Any
    learner: Mapping[str, Any]
    number: NumberFacts = NumberFacts()


class Optional(NamedTuple):
    """A part of the body that an endpoint may do without: what it is, and the keys that lead to it."""

    label: Any
    paths: tuple[tuple[str, ...], ...]
    is_learning_time: bool = False


Builder = Callable[[Any, Facts], dict[str, Any]]


@dataclass(frozen=True)
class PayloadFormat:
    """
    One way to write webhooks.

    ``label``: what the admin calls it. ``events``: by event type, what builds the whole body from the row and the facts
    about it. ``test``: the same of a test event, from the customer and the moment. ``optional``: what an endpoint may
    leave out, by name; no builder needs to ask for it. ``learner_ids``: for a format that names learners by ids of its
    own, the key in ``Facts.learner`` and the one in the sign-on record's extra data; the endpoint's choice of naming is
    then of no account.
    """

    name: str
    label: Any
    events: Mapping[str, Builder]
    test: Callable[[Any, datetime], dict[str, Any]]
    optional: Mapping[str, Optional] = field(default_factory=dict)
    learner_ids: Mapping[str, str] = field(default_factory=dict)

    def payload(self, webhook: Any, facts: Facts, omitted: Collection[str] = ()) -> dict[str, Any]:
        """
        The body of a webhook.

        :param omitted: names of optional parts to leave out; what is no name of this format is of no account
        """
        return self._less(self.events[webhook.event_type](webhook, facts), omitted)

    def test_payload(self, customer: Any, now: datetime, omitted: Collection[str] = ()) -> dict[str, Any]:
        """The body of a test event, without the same."""
        return self._less(self.test(customer, now), omitted)

    def _less(self, body: dict[str, Any], omitted: Collection[str]) -> dict[str, Any]:
        for name in self.optional.keys() & set(omitted):
            for path in self.optional[name].paths:
                body = _without(body, path)
        return body


def _without(node: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The same without what the path leads to, in an event that has it."""
    key, *rest = path
    if not rest:
        return {name: value for name, value in node.items() if name != key}
    if not isinstance(node.get(key), dict):
        return node
    return {**node, key: _without(node[key], tuple(rest))}
