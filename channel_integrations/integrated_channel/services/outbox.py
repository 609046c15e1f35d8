# SPDX-License-Identifier: AGPL-3.0-or-later
"""
From passes to rows, in the caller's transaction.

The row is written where the grade is written, so that both are there or neither. It must therefore never wait for, or
deadlock with, what the LMS does in the same transaction: two plain SELECTs, then one plain INSERT in a savepoint.
"""

import time
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from uuid import UUID

from django.db import IntegrityError, OperationalError, connections, router, transaction
from django.utils import timezone

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.models import WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.passes import COURSE_COMPLETION, CoursePass
from channel_integrations.integrated_channel.services import final_number, rollout, suppression
from channel_integrations.integrated_channel.services.reasons import ENDPOINT_OFF
from channel_integrations.integrated_channel.services.recipients import customers_of, find_recipients

#: tries of one insert: against a neighbour that inserts the same row, and outside a transaction against deadlocks
INSERT_TRIES = 3
#: a pass so recent is looked at as a new one
NEW_FOR = timedelta(seconds=2)


def is_too_old(occurred_at: datetime) -> bool:
    """Whether no event may send what happened then. Every regrade repeats its pass, so this costs no query."""
    return occurred_at < timezone.now() - conf.max_pass_age()


def own_savepoint() -> AbstractContextManager:
    """
    What keeps the caller's transaction from a SELECT of ours that fails.

    PostgreSQL aborts a whole transaction for that; MySQL and SQLite only what they undo, hence need no savepoint here.
    """
    connection = connections[router.db_for_write(WebhookTransmissionQueue)]
    if connection.vendor == "postgresql" and connection.in_atomic_block:
        return transaction.atomic(using=connection.alias)
    return nullcontext()


def record_pass(course_pass: CoursePass) -> list[WebhookTransmissionQueue]:
    """
    Make the rows that a grade event owes, which in most cases are none, or there already.

    A pass of this moment is most likely new: five queries (two SELECTs, SAVEPOINT, INSERT, RELEASE). An older one is
    most likely a regrade: one cheap query where no customer is concerned, two where every row is there, and four more
    where one is missing. With the flag on, once in five seconds one more: what holds of the rollout; on PostgreSQL two
    more for a savepoint. Why a linked customer gets none is noted after the commit.

    :returns: the rows made, as ``record_passes``
    """
    if is_too_old(course_pass.passed_at):
        return []
    with own_savepoint():
        return _record(course_pass)


def _record(course_pass: CoursePass) -> list[WebhookTransmissionQueue]:
    is_new = timezone.now() - course_pass.passed_at < NEW_FOR
    have_row: set[UUID] = set()
    if not is_new:
        customers = customers_of(course_pass.user_id)
        have_row = _customers_with_row(course_pass) if customers else set()
        lacking = {customer: on for customer, on in customers.items() if customer not in have_row}
        if not any(lacking.values()):
            suppression.note_after_commit(course_pass, dict.fromkeys(lacking, ENDPOINT_OFF))
            return []
    owed, reasons = [], {}
    for recipient in find_recipients(course_pass.course_id, [course_pass.user_id], with_switched_off=True):
        customer = recipient.enterprise_customer_uuid
        reason = recipient.reason_against_making(course_pass)
        if customer not in have_row and reason:
            reasons[customer] = reason
        elif customer not in have_row:
            owed.append(new_row(course_pass, customer, recipient.switches, hold=recipient.hold))
    made = insert_missing(owed, looked=not is_new)
    suppression.note_after_commit(course_pass, reasons)
    return made


def record_passes(course_id: str, passes: Sequence[CoursePass]) -> list[WebhookTransmissionQueue]:
    """
    Make the rows that these passes of one course run owe and that are not there yet.

    :returns: the rows made (MySQL tells no primary keys of a bulk insert: use ``webhook_id``)
    """
    recent = {course_pass.user_id: course_pass for course_pass in passes if not is_too_old(course_pass.passed_at)}
    owed = [
        new_row(recent[recipient.user_id], recipient.enterprise_customer_uuid, recipient.switches, hold=recipient.hold)
        for recipient in (find_recipients(course_id, recent) if recent else ())
        if not recipient.reason_against(recent[recipient.user_id])
    ]
    return insert_missing(owed)


def _customers_with_row(course_pass: CoursePass) -> set[UUID]:
    """The customers for which there is a row of this pass."""
    rows = _rows().filter(
        user_id=course_pass.user_id,
        course_id=course_pass.course_id,
        occurred_at=course_pass.passed_at,
        event_type=COURSE_COMPLETION,
    )
    return set(rows.values_list("enterprise_customer_uuid", flat=True))


def new_row(
    course_pass: CoursePass,
    enterprise_customer_uuid: UUID,
    switches: Collection[str | None],
    *,
    backfilled: bool = False,
    hold: timedelta | None = None,
) -> WebhookTransmissionQueue:
    """
    A row that is not yet in the database, due now; ``switches`` are those of the endpoints that may get it.

    :param hold: how long they all wait for a final learning time; the row is then due when that may be there
    """
    now = timezone.now()
    plain = rollout.current().reason_against(enterprise_customer_uuid, course_pass.user_id, switches)
    row = WebhookTransmissionQueue(
        deduplication_key=course_pass.deduplication_key(enterprise_customer_uuid),
        event_type=COURSE_COMPLETION,
        enterprise_customer_uuid=enterprise_customer_uuid,
        user_id=course_pass.user_id,
        course_id=course_pass.course_id,
        occurred_at=course_pass.passed_at,
        percent_grade=course_pass.percent_grade,
        letter_grade=course_pass.letter_grade,
        status=WebhookStatus.RECORDED if plain else WebhookStatus.AWAITING_ENRICHMENT,
        learning_time_status=plain,
        enrich_by=None if plain else now + conf.lookup_wait() + conf.enrichment_wait(),
        created=now,
        due_at=now if plain else now + conf.lookup_wait(),
        backfilled=backfilled,
    )
    if hold and not plain:
        final_number.hold_new_row(row, hold)
    return row


def missing(candidates: Sequence[WebhookTransmissionQueue]) -> list[WebhookTransmissionQueue]:
    """Those of the rows that are not in the database, each once."""
    if not candidates:
        return []
    owed = {row.deduplication_key: row for row in candidates}
    there = set(_rows().filter(deduplication_key__in=list(owed)).values_list("deduplication_key", flat=True))
    return [row for key, row in owed.items() if key not in there]


def insert_missing(
    candidates: Sequence[WebhookTransmissionQueue], *, looked: bool = False
) -> list[WebhookTransmissionQueue]:
    """
    Insert what is not there, and return it; somebody else's insert of the same row is as good as ours.

    :param looked: the caller has just seen that none of them is there
    """
    alias = router.db_for_write(WebhookTransmissionQueue)
    for attempt in range(1, INSERT_TRIES + 1):
        new = list(candidates) if looked and attempt == 1 else missing(candidates)
        if not new:
            return []
        try:
            # The savepoint is what keeps the grade: an error outside of one marks the LMS's transaction for rollback.
            with transaction.atomic(using=alias):
                WebhookTransmissionQueue.objects.using(alias).bulk_create(new)
            return new
        except IntegrityError:
            if attempt == INSERT_TRIES:
                raise
        except OperationalError:
            # A deadlock inside the LMS's transaction has undone that transaction: nothing here can be tried again.
            if connections[alias].in_atomic_block or attempt == INSERT_TRIES:
                raise
            time.sleep(0.05 * attempt)
    return []


def _rows():
    """As the database that is written to has them: a replica may lag behind."""
    return WebhookTransmissionQueue.objects.using(router.db_for_write(WebhookTransmissionQueue))
