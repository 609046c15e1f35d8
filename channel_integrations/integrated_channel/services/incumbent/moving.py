# SPDX-License-Identifier: AGPL-3.0-or-later
"""The whole move, in the order in which it may be killed at any point and be run again."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from channel_integrations.integrated_channel.services.incumbent import tables
from channel_integrations.integrated_channel.services.incumbent.endpoints import LEFT, Outcome, import_endpoints
from channel_integrations.integrated_channel.services.incumbent.webhooks import (
    Tally,
    remember_final,
    remember_sent,
    take_over,
)


@dataclass(frozen=True)
class Choices:
    """
    What whoever moves may choose.

    :param owed_since: what is still owed, and what has failed, is taken over where it was made since then
    :param resend_unclear: send what cannot be told to have been sent, rather than not
    """

    dry_run: bool = False
    per_minute: int = 60
    owed_since: datetime | None = None
    sponsored_only: bool = False
    resend_unclear: bool = False


@dataclass
class Move:
    """What has become of the endpoints, and of the webhooks."""

    endpoints: list[Outcome] = field(default_factory=list)
    webhooks: Tally = field(default_factory=Tally)


def is_there() -> bool:
    """Whether there are endpoints of the incumbent's to read."""
    return bool(tables.columns_of(tables.Configuration))


def move(choices: Choices) -> Move:
    """First what has been sent, then the endpoints that it was sent to, then what is owed; safe to run again."""
    tally = Tally(choices.dry_run)
    remember_sent(tally)
    unclear = set() if choices.resend_unclear else tally.unclear
    made = import_endpoints(dry_run=choices.dry_run, sponsored_only=choices.sponsored_only, unclear=unclear)
    outcomes = list(made)
    take_over(tally, choices.per_minute, choices.owed_since, _customers(outcomes))
    remember_final(tally, choices.owed_since)
    return Move(outcomes, tally)


def _customers(outcomes: list[Outcome]) -> set[UUID]:
    return {each.customer_uuid for each in outcomes if each.outcome != LEFT}
