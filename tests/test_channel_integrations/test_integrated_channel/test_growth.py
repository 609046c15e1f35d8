# SPDX-License-Identifier: AGPL-3.0-or-later
"""What claims and sweeps read does not grow with what is finished, nor with what waits: the database itself counts."""

import uuid
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from channel_integrations.integrated_channel.models import WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.services import delivery, endpoint_gate, enrichment, final_number, sweep
from channel_integrations.integrated_channel.services.addressing import address_due
from channel_integrations.integrated_channel.services.figures import sides
from tests.factories import COURSE, grade_event, make_customer, make_endpoint, make_learner

pytestmark = pytest.mark.mariadb
FINISHED = 4000


@pytest.fixture
def acme(committed_db, snowflake, receiver):
    """Committed, since ANALYZE TABLE ends any transaction."""
    customer = make_customer("Acme")
    make_endpoint(customer, receiver.url_for("/hook"))
    return customer


def add(count, customer, status, **fields):
    """So many rows of that status, made and due an hour ago."""
    an_hour_ago = timezone.now() - timedelta(hours=1)
    fields = {"created": an_hour_ago, "due_at": an_hour_ago, "occurred_at": an_hour_ago, **fields}
    rows = [
        WebhookTransmissionQueue(
            deduplication_key=uuid.uuid4().hex * 2,
            event_type="course_completion",
            enterprise_customer_uuid=customer.uuid,
            user_id=1_000_000 + number,
            course_id=COURSE,
            status=status,
            **fields,
        )
        for number in range(count)
    ]
    WebhookTransmissionQueue.objects.bulk_create(rows, batch_size=1000)
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE TABLE {WebhookTransmissionQueue._meta.db_table}")
        cursor.fetchall()


@contextmanager
def rows_read():
    """How many rows and index entries this connection has the database read inside."""
    count = [0]
    before = _handler_reads()
    yield count
    count[0] = _handler_reads() - before


def _handler_reads():
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(value) for name, value in cursor.fetchall() if not name.endswith("_deleted"))


def complete(customer, count=3):
    for _ in range(count):
        grade_event(make_learner(customer))


def enrich():
    assert enrichment.enrich_in_slot(hand_over=lambda: None) == 3


def deliver():
    assert delivery.deliver_due() == 3


def reads_of_a_round(customer):
    """What three completions cost from lookup to delivery, and what a sweep beside them reads."""
    complete(customer)
    with rows_read() as lookup:
        enrich()
    with rows_read() as sent:
        deliver()
    with rows_read() as swept:
        enrichment.release_overdue()
        sweep._without_wake_up()
        sweep._next_due()
    return lookup[0], sent[0], swept[0]


def test_a_round_reads_no_more_with_many_finished_rows(acme):
    reads_of_a_round(acme)
    empty = reads_of_a_round(acme)
    for status in (WebhookStatus.DELIVERED, WebhookStatus.FAILED, WebhookStatus.CANCELLED):
        add(FINISHED // 3, acme, status, endpoint_id=acme.webhook_endpoints.get().pk)
    full = reads_of_a_round(acme)
    assert all(more <= less * 1.3 + 20 for more, less in zip(full, empty, strict=True)), (empty, full)


def test_asking_what_may_be_sent_does_not_read_what_waits(acme):
    endpoint = acme.webhook_endpoints.get()
    add(10, acme, WebhookStatus.PENDING, endpoint_id=endpoint.pk)
    with rows_read() as few:
        assert endpoint_gate.sendable_endpoints() and endpoint_gate.next_opening()
    add(FINISHED, acme, WebhookStatus.PENDING, endpoint_id=endpoint.pk)
    with rows_read() as many:
        assert endpoint_gate.sendable_endpoints() and endpoint_gate.next_opening()
    assert many[0] <= few[0] * 1.3 + 20, (few, many)


def test_counting_what_is_being_sent_does_not_read_what_waits_for_its_retry(acme):
    """Of an endpoint that has failed for hours."""
    now = timezone.now()
    add(FINISHED, acme, WebhookStatus.PENDING, endpoint_id=1, due_at=now + timedelta(hours=5))
    with rows_read() as read:
        assert WebhookTransmissionQueue.objects.in_flight(1, now, at_most=timedelta(seconds=70)) == 0
    assert read[0] < 20, read


def test_a_sweep_with_learning_time_off_does_not_read_the_revisions_that_wait(acme, settings):
    settings.FEATURES = {}
    later = timezone.now() + timedelta(hours=1)
    waiting = {"revises": uuid.uuid4(), "due_at": later, "enrich_by": later}
    add(FINISHED, acme, WebhookStatus.DELIVERED)
    add(10, acme, WebhookStatus.AWAITING_FINAL, **waiting)
    with rows_read() as few:
        assert final_number.release_due() == 0
    add(FINISHED, acme, WebhookStatus.AWAITING_FINAL, **waiting)
    with rows_read() as many:
        assert final_number.release_due() == 0
    assert many[0] <= few[0] * 1.3 + 20, (few, many)


def test_a_claim_reads_what_it_takes(acme):
    add(FINISHED, acme, WebhookStatus.RECORDED)
    with rows_read() as read:
        assert address_due() == 100
    assert read[0] < 100 * 30, read


def test_the_figures_of_the_rollout_read_no_more_than_their_sample(acme, monkeypatch):
    monkeypatch.setattr(sides, "SAMPLE", 100)
    add(FINISHED, acme, WebhookStatus.DELIVERED, finished_at=timezone.now())
    with rows_read() as read:
        assert sides.latest(timedelta(hours=24)).made == 100
    assert read[0] < 100 * 3, read


QUERIES = {
    "due for a lookup": lambda rows, now: rows.due(WebhookStatus.AWAITING_ENRICHMENT, now)[:500],
    "due for a lookup, with company": lambda rows, now: rows.due(
        WebhookStatus.AWAITING_ENRICHMENT, now, early=timedelta(seconds=60)
    )[:500],
    "to be addressed": lambda rows, now: rows.due(WebhookStatus.RECORDED, now)[:100],
    "to be sent": lambda rows, now: rows.due(WebhookStatus.PENDING, now).filter(endpoint_id=1)[:4],
    "in flight": lambda rows, now: rows.filter(
        status=WebhookStatus.PENDING, endpoint_id=1, lease_token__isnull=False, due_at__gt=now
    ),
    "of a learner's pass": lambda rows, now: rows.filter(user_id=1, course_id=COURSE, occurred_at=now),
    "of a completion's revision": lambda rows, now: rows.filter(revises=uuid.uuid4()),
    "by key": lambda rows, now: rows.filter(deduplication_key__in=["x" * 64, "y" * 64]),
    "to be purged": lambda rows, now: rows.filter(purged_at=None, created__lt=now - timedelta(days=90)).order_by(
        "created", "pk"
    )[:200],
}


@pytest.mark.parametrize("name", QUERIES)
def test_the_queries_of_claims_and_sweeps_use_an_index(acme, name):
    add(2000, acme, WebhookStatus.DELIVERED, endpoint_id=2)
    for status in (WebhookStatus.AWAITING_ENRICHMENT, WebhookStatus.RECORDED, WebhookStatus.PENDING):
        add(5, acme, status, endpoint_id=1)
    query = QUERIES[name](WebhookTransmissionQueue.objects.all(), timezone.now())
    with connection.cursor() as cursor:
        sql, parameters = query.values_list("pk").query.sql_with_params()
        cursor.execute(f"EXPLAIN {sql}", parameters)
        columns = [column[0] for column in cursor.description]
        plans = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    assert plans[0]["key"], plans
    assert plans[0]["type"] in ("range", "ref", "const", "eq_ref"), plans
    if "LIMIT" not in sql:  # what a LIMIT stops is estimated as if it were read to the end
        assert int(plans[0]["rows"]) < 500, plans
