# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Whose learning time is looked up: the flag, then the kill switch, then the endpoint's switch, then the percentage.

A learner's side is a hash of customer and learner, the same for ever: a higher percentage only adds learners.
"""

import hashlib
import time
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery

from channel_integrations.integrated_channel import conf, wake_up
from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    LearningTime,
    WebhookRollout,
)

lines = LogLines(__name__)

#: a hundredth of a percent each, so that finer steps would move nobody
BUCKETS = 10_000
#: seconds that a process goes by what it has read: no event pays a query for it
KEPT_SECONDS = 5.0

# Why there is no learning time, as ``WebhookTransmissionQueue.learning_time_status`` keeps it.
FLAG_OFF = "flag_off"
PAUSED = "paused"
ENDPOINT_NEVER = "endpoint_never"
NOT_ROLLED_OUT = "not_rolled_out"
REASONS = (FLAG_OFF, PAUSED, ENDPOINT_NEVER, NOT_ROLLED_OUT)


def bucket(customer_uuid: UUID, user_id: int) -> int:
    """
    The learner's place among ``BUCKETS``; a percentage takes in the lowest ones.

    The first eight hexadecimal digits of SHA-256 of ``<customer's UUID>:<user id>``, modulo 10,000: any language, and
    most databases, can say it too. It must never change: learners would change sides.
    """
    digest = hashlib.sha256(f"{customer_uuid}:{user_id}".encode()).hexdigest()
    return int(digest[:8], 16) % BUCKETS


@dataclass(frozen=True)
class Rollout:
    """What holds: the flag, and the newest decision."""

    enabled: bool
    percentage: int = 100
    paused: bool = False

    @property
    def off(self) -> str:
        """Why nobody's learning time is looked up; empty while somebody's may be."""
        if not self.enabled:
            return FLAG_OFF
        return PAUSED if self.paused else ""

    def reason_against(self, customer_uuid: UUID, user_id: int, switches: Collection[str | None]) -> str:
        """
        Why this learner's learning time is not looked up for this customer; empty where it is.

        :param switches: ``learning_time`` of each endpoint that may get the webhook; one that wants it is enough
        """
        if self.off:
            return self.off
        if LearningTime.ALWAYS in switches:
            return ""
        if set(switches) == {LearningTime.NEVER}:
            return ENDPOINT_NEVER
        return "" if bucket(customer_uuid, user_id) < self.percentage * BUCKETS // 100 else NOT_ROLLED_OUT


class _Decision:
    """The newest decision, read once in ``KEPT_SECONDS`` by each process."""

    def __init__(self) -> None:
        self._kept: tuple[float, int, bool] | None = None

    def read(self) -> tuple[int, bool]:
        """Percentage and pause, from the database."""
        newest = WebhookRollout.newest()
        self._kept = (time.monotonic(), newest.percentage, newest.paused)
        return newest.percentage, newest.paused

    def recent(self) -> tuple[int, bool]:
        """Percentage and pause as they were at most ``KEPT_SECONDS`` ago."""
        kept = self._kept  # Another thread may forget it in between.
        return kept[1:] if kept and time.monotonic() < kept[0] + KEPT_SECONDS else self.read()

    def forget(self) -> None:
        """Read again at the next question."""
        self._kept = None


decision = _Decision()


def current() -> Rollout:
    """What holds, at most five seconds old; without a query while the flag is off."""
    return Rollout(True, *decision.recent()) if conf.enrichment_enabled() else Rollout(False)


def latest() -> Rollout:
    """What holds, asked for now."""
    return Rollout(True, *decision.read()) if conf.enrichment_enabled() else Rollout(False)


def decide(
    *, by: int | None = None, note: str = "", percentage: int | None = None, paused: bool | None = None
) -> WebhookRollout | None:
    """
    Change the percentage, the kill switch, or both, from now on; what is None stays.

    :param by: the user id of whoever decides; None for a command
    :returns: the decision; None, and nothing is added, where all that holds already
    """
    holds = WebhookRollout.newest()
    asked = {"percentage": percentage, "paused": paused}
    changes = {name: value for name, value in asked.items() if value not in (None, getattr(holds, name))}
    return _add(changes, by, note) if changes else None


def switch_endpoint(
    endpoint: EnterpriseWebhookConfiguration, learning_time: str, *, by: int | None = None, note: str = ""
) -> WebhookRollout | None:
    """
    Give an endpoint its own switch, or the site's percentage back, and keep who did it.

    :returns: the decision; None, and nothing is added, where the switch stands so already
    """
    if learning_time == (endpoint.learning_time or LearningTime.ROLLOUT):
        return None
    with transaction.atomic():
        endpoint.learning_time = learning_time
        endpoint.save(update_fields=["learning_time", "modified"])
        return record_switch(endpoint, by, note)


def record_switch(endpoint: EnterpriseWebhookConfiguration, by: int | None, note: str = "") -> WebhookRollout:
    """Keep who has set an endpoint's switch as it now stands."""
    return _add({"endpoint_id": endpoint.pk, "learning_time": endpoint.learning_time}, by, note)


def own_switches() -> "QuerySet[EnterpriseWebhookConfiguration]":
    """The endpoints that do not go by the percentage, with their customers."""
    own = EnterpriseWebhookConfiguration.objects.filter(learning_time__in=(LearningTime.ALWAYS, LearningTime.NEVER))
    return own.select_related("enterprise_customer").order_by("enterprise_customer__name", "region")


def history() -> "QuerySet[WebhookRollout]":
    """Every decision, the newest first; ``username`` is who made it, as far as the account is there."""
    users = get_user_model().objects.filter(pk=OuterRef("decided_by_id"))
    return WebhookRollout.objects.annotate(username=Subquery(users.values("username"))).order_by("-number")


def who(decision: WebhookRollout) -> str:
    """Who made a decision of ``history()``."""
    if decision.decided_by_id is None:
        return "command"
    return decision.username or f"user {decision.decided_by_id}"


def _add(changes: dict, by: int | None, note: str) -> WebhookRollout:
    made = WebhookRollout.decide(**changes, decided_by_id=by, note=note)
    transaction.on_commit(decision.forget)
    if changes.get("paused"):
        transaction.on_commit(wake_up.delivery)  # What waits for its learning time goes out now.
    lines.info(
        "webhook_rollout",
        "decided",
        number=made.number,
        percentage=made.percentage,
        paused=made.paused,
        endpoint_id=made.endpoint_id,
        learning_time=made.learning_time,
        user_id=by,
    )
    return made
