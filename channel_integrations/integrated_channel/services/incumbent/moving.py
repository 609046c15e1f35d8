# SPDX-License-Identifier: AGPL-3.0-or-later
"""The whole move, in the order in which it may be killed at any point and be run again."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from channel_integrations.integrated_channel.services.incumbent import endpoints, tables, webhooks


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

    endpoints: list[endpoints.Outcome] = field(default_factory=list)
    webhooks: webhooks.Tally = field(default_factory=webhooks.Tally)


def is_there() -> bool:
    """Whether there are endpoints of the incumbent's to read."""
    return bool(tables.columns_of(tables.Configuration))


def move(choices: Choices) -> Move:
    """First what has been sent, then the endpoints that it was sent to, then what is owed; safe to run again."""
    tally = webhooks.Tally(choices.dry_run)
    webhooks.remember_sent(tally)
    unclear = set() if choices.resend_unclear else tally.unclear
    made = endpoints.import_endpoints(
        dry_run=choices.dry_run, sponsored_only=choices.sponsored_only, unclear=unclear
    )
    outcomes = list(made)
    webhooks.take_over(tally, choices.per_minute, choices.owed_since, _customers(outcomes))
    webhooks.remember_final(tally, choices.owed_since)
    return Move(outcomes, tally)


def _customers(outcomes: list[endpoints.Outcome]) -> set[UUID]:
    return {each.customer_uuid for each in outcomes if each.outcome != endpoints.LEFT}
