# SPDX-License-Identifier: AGPL-3.0-or-later
"""Give up what has not come to its end: one webhook, a selection, or a range."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from django.db import transaction
from django.utils import timezone

from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models import HELD, UNFINISHED, WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.models.webhook_queryset import PAGE, is_leased
from channel_integrations.integrated_channel.services import disclosures
from channel_integrations.integrated_channel.services.replay import Selection

lines = LogLines(__name__)

#: what has not come to its end, whether something moves it or a person has to
CANCELLABLE: tuple[Any, ...] = (*UNFINISHED, *HELD, WebhookStatus.PARKED, WebhookStatus.NO_ENDPOINT)
BY_AN_OPERATOR = "cancelled by an operator"
#: rounds over a selection whose webhooks move on meanwhile, from one unfinished status to the next
ROUNDS = 3


class Cancelled(NamedTuple):
    """How many webhooks were cancelled, and how many of the selection are unfinished still: a worker has them."""

    cancelled: int
    being_worked_at: int


def cancel(selection: Selection, note: Callable[[Sequence[int]], object] | None = None) -> Cancelled:
    """
    Cancel what is there of the selection now; a replay takes it back.

    What a worker holds is left alone, since what is being sent cannot be called back: the attempt ends as ever, with
    the webhook delivered, failed, or to be tried again, and what is to be tried again can be cancelled then. Safe to
    run again when it was interrupted.

    :param note: is given the primary keys of those that have just been cancelled, in the same transaction
    """
    wanted = list(selection.rows().values_list("pk", flat=True))
    count = 0
    for _round in range(ROUNDS):
        moved = sum(_cancel(pks, status, note) for pks, status in list(_free(wanted)))
        count += moved
        if not moved:
            break
    left = sum(_open(wanted[start : start + PAGE]).count() for start in range(0, len(wanted), PAGE))
    lines.info("webhook_cancellation", "cancelled", count=count, left=left)
    return Cancelled(count, left)


def _cancel(pks: Sequence[int], status: str, note: Callable[[Sequence[int]], object] | None) -> int:
    rows, moment = WebhookTransmissionQueue.objects, timezone.now()
    with transaction.atomic():
        # The lease of a killed worker goes: nothing else would tell of its attempt.
        disclosures.register_unwritten(pks)
        count = rows.move(pks, status, WebhookStatus.CANCELLED, reason=BY_AN_OPERATOR, modified=moment)
        if count and note:
            # The moment tells ours from those that somebody else has cancelled between the look and the move.
            ours = rows.filter(pk__in=pks, status=WebhookStatus.CANCELLED, modified=moment)
            note(list(ours.values_list("pk", flat=True)))
    return count


def _free(wanted: Sequence[int]) -> Iterator[tuple[list[int], str]]:
    """Those that no worker holds, page by page, by their status."""
    for start in range(0, len(wanted), PAGE):
        by_status = defaultdict(list)
        rows = _open(wanted[start : start + PAGE])
        for row in rows.values_list("pk", "status", "lease_token", "due_at", named=True):
            if not is_leased(row, timezone.now()):
                by_status[row.status].append(row.pk)
        yield from ((pks, status) for status, pks in by_status.items())


def _open(pks: Sequence[int]) -> Any:
    return WebhookTransmissionQueue.objects.filter(pk__in=pks, status__in=CANCELLABLE).order_by("pk")
