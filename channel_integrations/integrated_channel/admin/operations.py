# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an operator does to webhooks: each is asked about first, then done, and is in the history of each webhook."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.erasures import LEARNER_ERASED
from channel_integrations.integrated_channel.models import FINISHED, HELD, WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.models.webhook_queryset import is_leased
from channel_integrations.integrated_channel.services.cancellation import CANCELLABLE, cancel
from channel_integrations.integrated_channel.services.replay import PER_MINUTE, REPLAYABLE, Selection, replay


class Row(NamedTuple):
    """What decides whether something can be done to a webhook."""

    webhook_id: UUID
    status: str
    purged_at: Any
    lease_token: UUID | None
    due_at: Any
    event_type: str


class Plan(NamedTuple):
    """What would be done: to which webhooks, and why not to the others; each with how many, by its status or reason."""

    webhook_ids: list[UUID]
    by_status: list[tuple[str, int]]
    left: int
    left_by_reason: list[tuple[str, int]]
    #: how many of them tell a partner to erase a learner's data
    erasures: int = 0


class Operation:
    """One of them."""

    name: str
    title: Any
    statuses: Sequence[Any]
    #: what to use where there are too many for one request
    command: str

    def is_for(self, webhook: WebhookTransmissionQueue) -> bool:
        """Whether it can be done to a webhook."""
        return self.why_not(Row(*(getattr(webhook, name) for name in Row._fields))) is None

    def plan(self, rows: Iterable[Row]) -> Plan:
        """What would be done to these."""
        reasons = [(row, self.why_not(row)) for row in rows]
        taken = [row for row, why in reasons if why is None]
        left = [str(why) for _row, why in reasons if why is not None]
        return Plan(
            [row.webhook_id for row in taken],
            Counter(str(WebhookStatus(row.status).label) for row in taken).most_common(),
            len(left),
            Counter(left).most_common(),
            sum(row.event_type == LEARNER_ERASED for row in taken),
        )

    def selection(self, webhook_ids: Sequence[UUID]) -> Selection:
        """These; it is not to be without ids, which would be all."""
        return Selection(webhook_ids=webhook_ids, statuses=self.statuses)

    def why_not(self, row: Row) -> Any:
        """Why it cannot be done to this one; None where it can."""
        raise NotImplementedError

    def do(self, webhook_ids: Sequence[UUID], user: Any) -> tuple[Any, int]:
        """Do it; returns what to say and how grave that is."""
        raise NotImplementedError


class Replay(Operation):
    """Send again what has come to its end."""

    name = "replay"
    title = _("Replay webhooks?")
    statuses = REPLAYABLE
    command = "replay_webhooks"

    def why_not(self, row: Row) -> Any:
        if row.purged_at:
            return _("purged: nothing is left to send")
        if row.status == WebhookStatus.PARKED:
            return _("parked: they go out when their endpoint is switched on")
        if row.status in HELD:
            return _("held: they go out when the learner has the ids that the endpoint wants")
        return None if row.status in REPLAYABLE else _("unfinished: they are still on their way")

    def do(self, webhook_ids: Sequence[UUID], user: Any) -> tuple[Any, int]:
        selection = self.selection(webhook_ids)
        # Beforehand, since a replay of thousands may be cut short.
        write_into_history(selection.rows(), user, gettext("Replayed."))
        replayed = replay(selection)
        transaction.on_commit(wake_up.delivery)
        said = ngettext(
            "%(count)s webhook is being replayed.",
            "%(count)s webhooks are being replayed, %(per_minute)s a minute.",
            replayed,
        )
        return said % {"count": replayed, "per_minute": PER_MINUTE}, messages.SUCCESS


class Cancellation(Operation):
    """Give up what has not come to its end."""

    name = "cancel"
    title = _("Cancel webhooks?")
    statuses = CANCELLABLE
    command = "cancel_webhooks"

    def why_not(self, row: Row) -> Any:
        if row.status in FINISHED:
            return _("finished: they were delivered, have failed for good, or are cancelled")
        if is_leased(row, timezone.now()):
            return _("being worked at right now: what is being sent cannot be called back")
        return None

    def do(self, webhook_ids: Sequence[UUID], user: Any) -> tuple[Any, int]:
        rows = WebhookTransmissionQueue.objects
        result = cancel(
            self.selection(webhook_ids),
            note=lambda pks: write_into_history(rows.filter(pk__in=pks), user, gettext("Cancelled.")),
        )
        said = ngettext("%(count)s webhook was cancelled.", "%(count)s webhooks were cancelled.", result.cancelled)
        if not result.being_worked_at:
            return said % {"count": result.cancelled}, messages.SUCCESS
        held = ngettext(
            "%(held)s was being worked at and goes on: it may be delivered. Look again in some minutes.",
            "%(held)s were being worked at and go on: they may be delivered. Look again in some minutes.",
            result.being_worked_at,
        )
        return f"{said} {held}" % {"count": result.cancelled, "held": result.being_worked_at}, messages.WARNING


REPLAY, CANCELLATION = Replay(), Cancellation()


def read(queryset: QuerySet, at_most: int) -> list[Row]:
    """So many of these at most, the newest first."""
    return [Row(*values) for values in queryset.order_by("-pk").values_list(*Row._fields)[:at_most]]


def write_into_history(rows: QuerySet, user: Any, message: str) -> None:
    """An entry in the history of each: who did it, and when."""
    content_type = ContentType.objects.get_for_model(WebhookTransmissionQueue)
    entries = [
        LogEntry(
            user_id=user.pk,
            content_type_id=content_type.pk,
            object_id=str(pk),
            object_repr=str(webhook_id),
            action_flag=CHANGE,
            change_message=message,
        )
        for pk, webhook_id in rows.values_list("pk", "webhook_id")
    ]
    LogEntry.objects.bulk_create(entries, batch_size=500)
