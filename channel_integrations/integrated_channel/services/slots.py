# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many workers may do the same work at a time."""

import time
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from channel_integrations.integrated_channel.models import WebhookLease

#: how long a slot is held, and how often its holder says that it is alive (seconds)
HOLD = timedelta(seconds=15)
RENEWED_EVERY = 5.0


class Slot(Protocol):
    """What a worker keeps while it claims, and gives back once it claims no more."""

    def keep(self) -> bool:
        """Say that its holder is alive; False where it was lost, and nothing more is to be claimed."""

    def give_back(self) -> None:
        """Let others have it."""


class Unlimited:
    """The slot of a command that a person or cron has started: beside all others."""

    def keep(self) -> bool:
        """Nobody can take it away."""
        return True

    def give_back(self) -> None:
        """Nothing was taken."""


class LeasedSlot:
    """
    One of so many, as a lease in the database.

    Whoever finds them taken leaves its rows to the holder, who therefore looks once more after giving its slot back. A
    holder that is killed, or that hangs, blocks it for ``HOLD``.
    """

    def __init__(self, name: str, token: UUID) -> None:
        self._name, self._token, self._renewed = name, token, time.monotonic()

    @classmethod
    def acquire(cls, work: str, count: int) -> "LeasedSlot | None":
        """The first slot for this work that is free."""
        for number in range(count):
            name = f"{work}:{number}"
            token = WebhookLease.acquire(name, HOLD)
            if token:
                return cls(name, token)
        return None

    def keep(self) -> bool:
        """Renew the lease, every few seconds at most; False where it was lost."""
        if time.monotonic() - self._renewed < RENEWED_EVERY:
            return True
        self._renewed = time.monotonic()
        return WebhookLease.renew(self._name, self._token, HOLD)

    def give_back(self) -> None:
        """Release the lease; nothing happens where it was lost."""
        WebhookLease.release(self._name, self._token)
