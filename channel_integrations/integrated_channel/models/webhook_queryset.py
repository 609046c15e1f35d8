# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is done to many webhooks at once: claims, and what claims end with."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import Error, models, transaction
from django.db.models.functions import Coalesce
from django.utils import timezone

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.models.webhook_status import FINISHED, WebhookStatus

if TYPE_CHECKING:
    from channel_integrations.integrated_channel.models.webhook import WebhookTransmissionQueue

#: rows changed by one statement at most
PAGE = 500
NO_TIME = timedelta(0)
#: until what could not be worked on is tried again: soon, but not in a tight loop
AGAIN_AFTER_ERROR = timedelta(seconds=10)


class EnrichmentOutcome(NamedTuple):
    """
    The seconds; or None, and why there is no number. The status is that of ``learning_time_status``.

    ``lookup_ms``: milliseconds that its statement took, 0 from the cache; None where nothing was looked up. ``as_of``:
    the last day that the rollup had then.
    """

    learning_time: int | None
    status: str
    lookup_ms: int | None = None
    as_of: date | None = None


def is_leased(row: Any, now: datetime) -> bool:
    """Whether a worker works at a row right now, by its ``lease_token`` and ``due_at``; an ended lease is nobody's."""
    return row.lease_token is not None and row.due_at > now


def _its_time(due: str, now: datetime, early: timedelta) -> models.Q:
    """Due now, or so much later where nobody has leased it; ``due`` is the name to ask by."""
    its_time = models.Q(**{f"{due}__lte": now})
    return its_time | models.Q(**{f"{due}__lte": now + early, "lease_token": None}) if early else its_time


class WebhookQuerySet(models.QuerySet):
    """Claims. Ids are selected without locks and updated by primary key: a ranged UPDATE would wait for open grades."""

    def due(self, status: str, now: datetime, early: timedelta = NO_TIME) -> "WebhookQuerySet":
        """
        Rows of this status whose time has come, oldest first; an expired lease is a time that has come.

        :param early: include what nobody has leased and is due so much later
        """
        return self.filter(_its_time("due_at", now, early), status=status).order_by("due_at", "pk")

    def by_key(self, pks: Sequence[int]) -> "WebhookQuerySet":
        """
        These rows, to be updated; filter them by ``status_now`` and ``due_now``.

        Both are their columns in a form that fits no index. Of ten rows and more MariaDB would else take those of the
        status and due time by that index, and wait there for rows that open grade transactions have inserted.
        """
        return self.filter(pk__in=pks).annotate(
            status_now=Coalesce("status", "reason"), due_now=Coalesce("due_at", "created")
        )

    def claim(
        self, pks: Sequence[int], status: str, now: datetime, early: timedelta = NO_TIME
    ) -> "list[WebhookTransmissionQueue]":
        """
        Lease those of these rows that are due, for ``conf.ROW_LEASE``; the others were claimed or have moved on.

        A lease is a due time in the future together with a token: when the claimer dies, the row becomes due again.
        """
        if not pks:
            return []
        token = uuid.uuid4()
        claimed = (
            self.by_key(pks)
            .filter(_its_time("due_now", now, early), status_now=status)
            .update(lease_token=token, due_at=now + conf.ROW_LEASE, modified=now)
        )
        if not claimed:
            return []
        place = {pk: position for position, pk in enumerate(pks)}
        return sorted(self.filter(pk__in=pks, lease_token=token), key=lambda row: place[row.pk])

    @contextmanager
    def given_back_on_error(self, claimed: "Sequence[WebhookTransmissionQueue]") -> Iterator[None]:
        """
        Whatever is raised within (a deadlock, a time limit), these rows of one claim are due again in a moment.

        Where the database itself is gone their lease ends later, as after a kill.
        """
        token = claimed[0].lease_token if claimed else None  # Within, a row that has moved on loses its own.
        try:
            yield
        except BaseException:
            if token:
                with suppress(Error):
                    held = self.filter(pk__in=[webhook.pk for webhook in claimed], lease_token=token)
                    held.update(lease_token=None, due_at=timezone.now() + AGAIN_AFTER_ERROR)
            raise

    def mark_enriched(
        self, webhooks: "Sequence[WebhookTransmissionQueue]", outcomes: "Mapping[int, EnrichmentOutcome]"
    ) -> int:
        """
        Pass rows of one claim on to delivery, with their seconds or with why there are none; returns how many.

        What has lost its lease is not written.
        """
        now = timezone.now()
        for webhook in webhooks:
            outcome = outcomes[webhook.pk]
            webhook.learning_time, webhook.learning_time_status = outcome.learning_time, outcome.status
            webhook.lookup_ms, webhook.learning_time_as_of = outcome.lookup_ms, outcome.as_of
            webhook.status = WebhookStatus.RECORDED
        own = ["learning_time", "learning_time_status", "lookup_ms", "learning_time_as_of"]
        return self._write_back(webhooks, own, status=WebhookStatus.RECORDED, due_at=now)

    def mark_addressed(self, webhooks: "Sequence[WebhookTransmissionQueue]") -> set[int]:
        """
        Keep what every attempt will send, and where; from now on these rows of one claim wait for their endpoint.

        Their ``endpoint_id``, ``region``, ``body`` and ``basis`` have been set; ``learning_time`` may be gone again.
        Returns the primary keys of those whose lease had not been lost; the others are not written.
        """
        now, pks = timezone.now(), {webhook.pk for webhook in webhooks}
        for webhook in webhooks:
            webhook.status, webhook.reason = WebhookStatus.PENDING, ""
        own = ["endpoint_id", "region", "body", "basis", "learning_time", "learning_time_status"]
        if self._write_back(webhooks, own, status=WebhookStatus.PENDING, reason="", due_at=now) < len(pks):
            pks = set(self.filter(pk__in=pks, status=WebhookStatus.PENDING, due_at=now).values_list("pk", flat=True))
        return pks

    def mark_delivered(self, webhooks: "Sequence[WebhookTransmissionQueue]") -> set[int]:
        """Their endpoints have taken them; returns the primary keys of those whose lease had not been lost."""
        now, pks = timezone.now(), {webhook.pk for webhook in webhooks}
        held = self.filter(pk__in=pks, lease_token__in={webhook.lease_token for webhook in webhooks})
        written = held.update(
            status=WebhookStatus.DELIVERED,
            delivered_at=now,
            finished_at=now,
            reason="",
            attempts_made=models.F("attempts_made") + 1,
            tries=models.F("tries") + 1,
            lease_token=None,
            modified=now,
        )
        if written < len(pks):
            pks = set(self.filter(pk__in=pks, delivered_at=now).values_list("pk", flat=True))
        return pks

    def _write_back(self, webhooks: "Sequence[WebhookTransmissionQueue]", own: Sequence[str], **shared: Any) -> int:
        """Write each row's own values and the shared ones under their lease, and give that back."""
        if not webhooks:
            return 0
        held = self.filter(lease_token=webhooks[0].lease_token)
        # A value for each row is what costs here: what is the same in all of them goes with the shared ones.
        first = webhooks[0]
        same = [name for name in own if all(getattr(each, name) == getattr(first, name) for each in webhooks)]
        shared |= {name: getattr(first, name) for name in same}
        differing = [name for name in own if name not in same]
        with transaction.atomic():
            if differing:
                held.bulk_update(webhooks, differing, batch_size=PAGE)
            pks = [webhook.pk for webhook in webhooks]
            return held.filter(pk__in=pks).update(lease_token=None, modified=timezone.now(), **shared)

    def look_now(self, pks: Sequence[int], status: str) -> int:
        """
        Have those of these rows that have this status and are not leased looked at now; returns how many.

        What a worker is looking at in this moment may have been read before what has changed: the next look finds it.
        """
        now, due = timezone.now(), 0
        for start in range(0, len(pks), PAGE):
            free = self.by_key(pks[start : start + PAGE]).filter(status_now=status, lease_token=None)
            due += free.update(due_at=now, modified=now)
        return due

    def in_flight(self, endpoint_id: int, now: datetime, at_most: timedelta) -> int:
        """
        How many webhooks are being sent to an endpoint, by all workers together.

        :param at_most: how long one is at most. What was claimed before belongs to a worker that was killed: its row
            waits for the end of its lease, but takes no place at the endpoint any more.
        """
        leased = self.filter(status=WebhookStatus.PENDING, endpoint_id=endpoint_id, lease_token__isnull=False)
        return leased.filter(due_at__gt=now + conf.ROW_LEASE - at_most).count()

    def move(self, pks: Sequence[int], before: str, after: str, **changes) -> int:
        """Move those of these rows that have the one status and are not leased to the other; returns how many."""
        now, moved = timezone.now(), 0
        changes["finished_at"] = now if after in FINISHED else None
        for start in range(0, len(pks), PAGE):
            rows = self.by_key(pks[start : start + PAGE]).filter(status_now=before)
            free = rows.filter(models.Q(lease_token=None) | models.Q(due_now__lte=now))
            moved += free.update(**{"status": after, "lease_token": None, "modified": now, **changes})
        return moved
