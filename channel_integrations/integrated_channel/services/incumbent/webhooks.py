# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The incumbent's webhooks become ours: what it has sent is remembered, what it still owes goes out, by our own path.

``remember_sent`` comes first, before there is an endpoint: until a customer has one, no event and no sweep makes a row
of its learners' passes, so that nothing can go out in between, wherever this is killed. Then come the endpoints, then
``take_over`` and ``remember_final``. Our unique key decides each time: what a live event has made meanwhile is as good
as ours.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.utils import timezone
from enterprise.models import EnterpriseCustomer

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models import (
    HELD,
    UNFINISHED,
    EnterpriseWebhookConfiguration,
    Region,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.passes import COURSE_COMPLETION
from channel_integrations.integrated_channel.services import enrollments, outbox
from channel_integrations.integrated_channel.services.incumbent import tables
from channel_integrations.integrated_channel.services.incumbent.events import Event, events_of
from channel_integrations.integrated_channel.services.replay import evenly_spaced
from channel_integrations.integrated_channel.services.retry import SCHEDULE, Outcome, classify

lines = LogLines(__name__)

#: what our own rows say of where they come from
SENT, CANCELLED, FAILED = (f"{what} by {tables.NAME}" for what in ("sent", "cancelled", "given up"))
#: how long our own schedule would have gone on with what has failed
_TRIED_FOR = sum(SCHEDULE, timedelta(0))
#: what may still go out
_WAITING = (*UNFINISHED, *HELD, WebhookStatus.PARKED, WebhookStatus.NO_ENDPOINT)
_HTTP_ERROR = re.compile(r"HTTP ([0-9]{3})\Z")
_MOST_ATTEMPTS = 32767


@dataclass
class Tally:
    """What was made, what was there, and what could not be done; keys are for --json."""

    dry_run: bool = False
    made: Counter = field(default_factory=Counter)
    there: int = 0
    left: Counter = field(default_factory=Counter)
    #: customers of which it cannot be told what they have been sent of the passes that may still come again
    unclear: set[UUID] = field(default_factory=set)
    #: of a dry run, which cannot find in the table what it has just not put there
    _seen: set[int] = field(default_factory=set)

    def insert(self, kind: str, rows: Sequence[WebhookTransmissionQueue], moments: Iterator[datetime]) -> None:
        """Make those of the rows that are not there, due at these moments if any; a dry run counts them alone."""
        new = [row for row in outbox.missing(rows) if int(row.deduplication_key[:16], 16) not in self._seen]
        if self.dry_run:
            self._seen |= {int(row.deduplication_key[:16], 16) for row in new}
        else:
            for row, moment in zip(new, moments, strict=False):
                row.delay_until(moment)
            new = outbox.insert_missing(new, looked=True)
        self.made[kind] += len(new)
        self.there += len(rows) - len(new)


def remember_sent(tally: Tally) -> None:
    """A finished row without personal data for each pass and enrolment that it has sent, or an operator cancelled."""
    repeatable = timezone.now() - conf.max_pass_age()
    for batch, customers in _batches((tables.SUCCESS, tables.CANCELLED)):
        rows: dict[str, list[WebhookTransmissionQueue]] = {"sent": [], "cancelled": []}
        for event in events_of(_of_customers(batch, customers, tally)):
            if not event.is_certain:
                tally.left["unclear"] += 1
                if event.row["created"] >= repeatable:
                    tally.unclear.add(event.row["enterprise_customer_id"])
            if event.moment:
                was_sent = event.row["status"] == tables.SUCCESS
                rows["sent" if was_sent else "cancelled"].append(_remembered(event, was_sent))
        _withdraw(rows["sent"], tally)
        for kind, of_kind in rows.items():
            tally.insert(kind, of_kind, iter(()))
    _say(tally, "sent")


def _withdraw(sent: Sequence[WebhookTransmissionQueue], tally: Tally) -> None:
    """What waits here and has been sent there: somebody went back for a while, or it ran on during the first import."""
    keys = [row.deduplication_key for row in sent]
    found = WebhookTransmissionQueue.objects.filter(deduplication_key__in=keys, status__in=_WAITING)
    waiting: dict[str, list[int]] = {}
    for pk, status in found.order_by("pk").values_list("pk", "status"):
        waiting.setdefault(status, []).append(pk)
    for status, pks in waiting.items():
        if tally.dry_run:
            tally.made["withdrawn"] += len(pks)
        else:
            move = WebhookTransmissionQueue.objects.move
            tally.made["withdrawn"] += move(pks, status, WebhookStatus.CANCELLED, reason=SENT)


def take_over(tally: Tally, per_minute: int, since: datetime | None = None, endpoints: Iterable[UUID] = ()) -> None:
    """
    A row for each webhook that it still owes, so many due a minute; made since then.

    It owes what waits for a retry, what a killed worker has left in processing (which may have gone out, as with any
    worker that is killed), and what has failed in a way that our own schedule would still go on with. The body is built
    anew when the row is addressed, and whether it is owed is looked at then: consent and link may have gone since.

    :param endpoints: customers that a dry run would have made endpoints for
    """
    having = set(EnterpriseWebhookConfiguration.objects.values_list("enterprise_customer_id", flat=True)) | {*endpoints}
    moments = evenly_spaced(per_minute)
    for batch, customers in _batches((tables.PENDING, tables.PROCESSING, tables.FAILED), since):
        owed = _of_customers([row for row in batch if _is_owed(row)], customers, tally, having)
        tally.insert("owed", [row for _event, row in _rows(owed, tally)], moments)
    _say(tally, "owed")


def remember_final(tally: Tally, since: datetime | None = None) -> None:
    """A failed row, which can be replayed, for each webhook that it has given up, as ours would have."""
    for batch, customers in _batches((tables.FAILED,), since):
        final = _of_customers([row for row in batch if not _is_owed(row)], customers, tally)
        tally.insert("failed", [_ended(row, event.row) for event, row in _rows(final, tally)], iter(()))
    _say(tally, "failed")


def _rows(rows: Sequence[dict[str, Any]], tally: Tally) -> Iterator[tuple[Event, WebhookTransmissionQueue]]:
    """Our rows of these, as an event would make them, but for ``send_from``, which is not asked."""
    learners = get_user_model().objects.in_bulk({row["user_id"] for row in rows})
    switches = _switches({row["enterprise_customer_id"] for row in rows})
    for event in events_of(rows):
        if event.row["user_id"] not in learners:
            tally.left["learner gone"] += 1
        elif row := _row(event, switches.get(event.row["enterprise_customer_id"], ())):
            yield event, row
        else:
            tally.left["no pass"] += 1


def _row(event: Event, switches: Iterable[str | None]) -> WebhookTransmissionQueue | None:
    customer = event.row["enterprise_customer_id"]
    if event.row["event_type"] == COURSE_COMPLETION:
        course_pass = event.course_pass()
        return outbox.new_row(course_pass, customer, {*switches}, backfilled=True) if course_pass else None
    enrolment = event.enrolment()
    if enrolment is None:
        return None
    row = enrollments.new_row(enrolment, customer)
    row.backfilled = True
    return row


def _switches(customers: set[UUID]) -> dict[UUID, set[str | None]]:
    found: dict[UUID, set[str | None]] = {}
    endpoints = EnterpriseWebhookConfiguration.objects.filter(enterprise_customer__in=customers, active=True)
    for customer, switch in endpoints.values_list("enterprise_customer_id", "learning_time"):
        found.setdefault(customer, set()).add(switch)
    return found


def _remembered(event: Event, was_sent: bool) -> WebhookTransmissionQueue:
    """What is left of ours after retention: the key, and when."""
    row, now = event.row, timezone.now()
    ended = row["completed_at"] or row["last_attempt_at"] or row["created"]
    return WebhookTransmissionQueue(
        deduplication_key=event.key,
        event_type=row["event_type"],
        enterprise_customer_uuid=row["enterprise_customer_id"],
        course_id=row["course_id"],
        occurred_at=event.moment,
        status=WebhookStatus.DELIVERED if was_sent else WebhookStatus.CANCELLED,
        reason=SENT if was_sent else CANCELLED,
        region=row["user_region"] if row["user_region"] in Region.values else "",
        attempts_made=min(row["attempt_count"], _MOST_ATTEMPTS),
        backfilled=True,
        delivered_at=ended if was_sent else None,
        finished_at=ended,
        due_at=ended,
        created=row["created"],
        purged_at=now,
    )


def _ended(row: WebhookTransmissionQueue, theirs: Mapping[str, Any]) -> WebhookTransmissionQueue:
    said = _HTTP_ERROR.match(theirs["error_message"] or "")  # Any other text may name anybody.
    row.status, row.reason = WebhookStatus.FAILED, f"{FAILED}: {said[0]}" if said else FAILED
    row.created, row.finished_at = theirs["created"], theirs["last_attempt_at"] or theirs["created"]
    row.attempts_made, row.enrich_by = min(theirs["attempt_count"], _MOST_ATTEMPTS), None
    return row


def _is_owed(row: dict[str, Any]) -> bool:
    if row["status"] != tables.FAILED:
        return True
    said = _HTTP_ERROR.match(row["error_message"] or "")
    final = said and classify(int(said[1])) == Outcome.FAILED
    return not final and (row["last_attempt_at"] or row["created"]) > timezone.now() - _TRIED_FOR


def _batches(
    statuses: Sequence[str], since: datetime | None = None
) -> Iterator[tuple[list[dict[str, Any]], set[UUID]]]:
    """Its webhooks of these statuses, each batch with those of its customers that still are."""
    for batch in tables.queue(statuses, since):
        theirs = EnterpriseCustomer.objects.filter(pk__in={row["enterprise_customer_id"] for row in batch})
        yield batch, set(theirs.values_list("pk", flat=True))


def _of_customers(
    rows: Sequence[dict[str, Any]], customers: set[UUID], tally: Tally, having: set[UUID] | None = None
) -> list[dict[str, Any]]:
    kept = []
    for row in rows:
        if row["enterprise_customer_id"] not in customers:
            tally.left["customer gone"] += 1
        elif having is not None and row["enterprise_customer_id"] not in having:
            tally.left["no endpoint"] += 1
        else:
            kept.append(row)
    return kept


def _say(tally: Tally, kind: str) -> None:
    if not tally.dry_run:
        lines.info("webhook_import", "made", kind=kind, count=tally.made[kind])
