# SPDX-License-Identifier: AGPL-3.0-or-later
"""Claims by many workers at once, on real, committed rows."""

import itertools
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from enterprise.models import EnterpriseCustomerUser
from werkzeug import Response

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookLease,
    WebhookLookupStatement,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.models.webhook_queryset import EnrichmentOutcome
from channel_integrations.integrated_channel.services import delivery, endpoint_gate, enrichment
from channel_integrations.integrated_channel.services.addressing import address_due
from channel_integrations.integrated_channel.services.cancellation import CANCELLABLE, Cancelled, cancel
from channel_integrations.integrated_channel.services.replay import Selection
from tests.factories import grade_event, make_customer, make_endpoint, make_learner

WORKERS = 8


@pytest.fixture
def endpoint(committed_db, receiver):
    """An endpoint with ten webhooks to be sent."""
    endpoint = make_endpoint(make_customer(), receiver.url_for("/hook"), max_concurrent_requests=3)
    for _ in range(10):
        grade_event(make_learner(endpoint.enterprise_customer))
    while address_due():
        pass
    return endpoint


def all_at_once(work):
    """What each of the workers returns, all having begun at the same moment on a connection of its own."""
    start = threading.Barrier(WORKERS)

    def one():
        try:
            start.wait()
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(WORKERS) as pool:
        return [job.result() for job in [pool.submit(one) for _ in range(WORKERS)]]


@contextmanager
def table_gone(model):
    """Every statement that names this table fails in the database."""
    table = model._meta.db_table
    with connections["default"].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_gone")
    try:
        yield
    finally:
        with connections["default"].cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table}_gone RENAME TO {table}")


def test_the_cap_on_concurrent_sends_holds_across_workers(endpoint):
    claims = all_at_once(lambda: len(endpoint_gate.admit(EnterpriseWebhookConfiguration.objects.get(), 10)))
    assert sum(claims) == 3, claims


def test_the_rate_limit_holds_across_workers(endpoint):
    EnterpriseWebhookConfiguration.objects.update(max_requests_per_minute=2, max_concurrent_requests=32)
    claims = all_at_once(lambda: len(endpoint_gate.admit(EnterpriseWebhookConfiguration.objects.get(), 10)))
    assert sum(claims) == 1, claims


def test_no_row_is_claimed_twice(endpoint):
    pks = list(WebhookTransmissionQueue.objects.order_by("pk").values_list("pk", flat=True))

    def claim():
        claimed = WebhookTransmissionQueue.objects.claim(pks, WebhookStatus.PENDING, timezone.now())
        return [webhook.pk for webhook in claimed]

    claims = all_at_once(claim)
    assert sorted(pk for claim in claims for pk in claim) == pks


def test_several_workers_at_once_look_no_row_up_twice(committed_db, snowflake, receiver):
    customer = make_customer()
    make_endpoint(customer, receiver.url_for("/hook"))
    for _ in range(60):
        grade_event(make_learner(customer))
    more = [make_learner(customer) for _ in range(60)]

    def look_up():
        passed_on = 0
        while more or waiting.exists():
            if more:
                grade_event(more.pop())
            passed_on += enrichment.enrich_in_slot(hand_over=lambda: None)
        return passed_on

    waiting = WebhookTransmissionQueue.objects.filter(status=WebhookStatus.AWAITING_ENRICHMENT)
    passed_on = all_at_once(look_up)
    asked = list(WebhookLookupStatement.objects.values_list("asked", flat=True))
    assert (sum(passed_on), sum(asked)) == (120, 120)
    assert len(asked) < 120, "some shared a statement"


def test_a_failing_question_leaves_the_grades_transaction_usable(endpoint, caplog):
    """A table that the handler reads is gone: the grade around it is committed all the same."""
    learner = make_learner(endpoint.enterprise_customer)
    with table_gone(EnterpriseCustomerUser), transaction.atomic():
        get_user_model().objects.filter(pk=learner.pk).update(first_name="written before")
        grade_event(learner)
        get_user_model().objects.filter(pk=learner.pk).update(last_name="written after")
    learner.refresh_from_db()
    assert (learner.first_name, learner.last_name) == ("written before", "written after")
    assert not WebhookTransmissionQueue.objects.filter(user_id=learner.pk).exists()
    assert "source=webhook_handler status=failure" in caplog.text


@pytest.mark.parametrize("step", ["lookup", "address", "send"])
def test_rows_of_a_claim_that_fails_are_soon_due_again(committed_db, snowflake, receiver, step):
    """Their lease would keep them for three minutes."""
    customer = make_customer()
    make_endpoint(customer, receiver.url_for("/hook"))
    grade_event(make_learner(customer))
    rows = WebhookTransmissionQueue.objects
    if step == "lookup":
        with table_gone(EnterpriseWebhookConfiguration), pytest.raises(DatabaseError):
            enrichment.enrich_in_slot(hand_over=lambda: None)
    else:
        rows.update(status=WebhookStatus.RECORDED)
        if step == "send":
            address_due()
            rows.update(attempts_made=1)  # so that it is asked again whether it is owed
        with table_gone(EnterpriseCustomerUser), suppress(DatabaseError):
            delivery.deliver_due()
    row = rows.get()
    assert row.lease_token is None
    assert timedelta(seconds=5) < row.due_at - timezone.now() <= timedelta(seconds=10)


def test_an_answer_that_comes_after_a_claim_has_failed_is_written_back(endpoint, receiver):
    """The endpoint has the webhook: forgotten, it would be sent again when its lease ends."""
    sent, to_be_addressed = WebhookTransmissionQueue.objects.order_by("pk")[:2]
    in_an_hour = timezone.now() + timedelta(hours=1)
    WebhookTransmissionQueue.objects.exclude(pk=sent.pk).update(status=WebhookStatus.RECORDED, due_at=in_an_hour)

    def break_meanwhile(request):
        with table_gone(EnterpriseCustomerUser):
            WebhookTransmissionQueue.objects.filter(pk=to_be_addressed.pk).update(due_at=timezone.now())
            time.sleep(1)
        connections.close_all()
        return Response("ok")

    receiver.clear()
    receiver.expect_request("/hook").respond_with_handler(break_meanwhile)
    with pytest.raises(DatabaseError):
        delivery.deliver_due()
    sent.refresh_from_db()
    assert (sent.status, sent.attempts_made) == (WebhookStatus.DELIVERED, 1)


def test_rows_beside_one_that_has_moved_on_are_given_back_as_well(endpoint):
    rows, now = WebhookTransmissionQueue.objects, timezone.now()
    pks = list(rows.order_by("pk").values_list("pk", flat=True)[:3])
    claimed = rows.claim(pks, WebhookStatus.PENDING, now)
    with pytest.raises(DatabaseError), rows.given_back_on_error(claimed):
        claimed[0].mark_cancelled("the learner's account is gone")
        raise DatabaseError
    first, *others = rows.filter(pk__in=pks).order_by("pk")
    assert first.due_at > now + timedelta(seconds=60), "its due time means nothing any more"
    assert [each.lease_token for each in others] == [None, None]
    assert all(each.due_at <= timezone.now() + timedelta(seconds=10) for each in others)


@pytest.mark.parametrize(("seconds", "row_by_row"), [((60, 60, 60), []), ((60, None, 0), ["learning_time"])])
def test_what_is_the_same_in_a_batch_is_written_once(endpoint, seconds, row_by_row):
    rows, now = WebhookTransmissionQueue.objects, timezone.now()
    rows.update(status=WebhookStatus.AWAITING_ENRICHMENT)
    pks = list(rows.order_by("pk").values_list("pk", flat=True)[:3])
    claimed = rows.claim(pks, WebhookStatus.AWAITING_ENRICHMENT, now)
    outcomes = {pk: EnrichmentOutcome(each, "found", 7, now.date()) for pk, each in zip(pks, seconds, strict=True)}
    with CaptureQueriesContext(connection) as asked:
        assert rows.mark_enriched(claimed, outcomes) == 3
    own = ("learning_time", "learning_time_status", "lookup_ms", "learning_time_as_of")
    cases = [query["sql"] for query in asked if "CASE WHEN" in query["sql"]]
    quote = connection.ops.quote_name
    assert [name for name in own if any(f"{quote(name)} = " in sql for sql in cases)] == row_by_row
    written = rows.filter(pk__in=pks).order_by("pk").values_list(*own, "status", "lease_token")
    assert list(written) == [(each, "found", 7, now.date(), WebhookStatus.RECORDED, None) for each in seconds]


@pytest.mark.mariadb
@pytest.mark.parametrize("count", [1, 10, 100, 500])
def test_nothing_waits_for_an_open_grade_transaction(committed_db, receiver, count):
    """A row that an LMS request has inserted and not committed: claims and moves of others go past it."""
    customer = make_customer()
    make_endpoint(customer, receiver.url_for("/hook"))
    an_hour_ago = timezone.now() - timedelta(hours=1)
    template = {"enterprise_customer_uuid": customer.pk, "occurred_at": an_hour_ago, "due_at": an_hour_ago}
    rows = WebhookTransmissionQueue.objects
    for status, how_many in ((WebhookStatus.DELIVERED, 5000), (WebhookStatus.RECORDED, count)):
        made = [
            WebhookTransmissionQueue(deduplication_key=uuid.uuid4().hex, status=status, user_id=1, **template)
            for _ in range(how_many)
        ]
        rows.bulk_create(made, batch_size=1000)
    with connections["default"].cursor() as cursor:
        cursor.execute(f"ANALYZE TABLE {rows.model._meta.db_table}")
        cursor.fetchall()
    inserted, done = threading.Event(), threading.Event()

    def lms_request():
        with transaction.atomic():
            grade_event(make_learner(customer))
            inserted.set()
            done.wait(20)
        connections.close_all()

    request = threading.Thread(target=lms_request)
    request.start()
    try:
        assert inserted.wait(10)
        with connections["default"].cursor() as cursor:
            cursor.execute("SET SESSION innodb_lock_wait_timeout = 2")
        pks = list(rows.due(WebhookStatus.RECORDED, timezone.now()).values_list("pk", flat=True)[:count])
        assert len(rows.claim(pks, WebhookStatus.RECORDED, timezone.now())) == count
        rows.filter(pk__in=pks).update(lease_token=None)
        assert rows.move(pks, WebhookStatus.RECORDED, WebhookStatus.CANCELLED, reason="x") == count
    finally:
        done.set()
        request.join()
        with connections["default"].cursor() as cursor:
            cursor.execute("SET SESSION innodb_lock_wait_timeout = 50")


def test_a_slot_given_back_is_free_whatever_the_clock_of_its_holder_said(committed_db):
    token = WebhookLease.acquire("x", timedelta(seconds=15))
    WebhookLease.release("x", token)
    WebhookLease.objects.update(expires_at=timezone.now() + timedelta(seconds=3))  # the holder's clock is ahead
    assert WebhookLease.acquire("x", timedelta(seconds=15))


def cancel_everything(note=None):
    return cancel(Selection(statuses=CANCELLABLE), note)


def test_what_is_being_sent_cannot_be_cancelled(endpoint, receiver):
    seen = []

    def cancel_meanwhile(request):
        try:
            seen.append(cancel_everything())
        finally:
            connections.close_all()
        return Response("ok")

    EnterpriseWebhookConfiguration.objects.update(max_concurrent_requests=1)
    receiver.clear()
    receiver.expect_request("/hook").respond_with_handler(cancel_meanwhile)
    assert delivery.deliver_due() == 1
    assert seen == [Cancelled(9, 1)]
    statuses = WebhookTransmissionQueue.objects.order_by("pk").values_list("status", flat=True)
    assert list(statuses) == ["delivered", *["cancelled"] * 9]


def test_many_cancel_at_once_and_each_webhook_is_in_one_history(endpoint):
    noted = []
    results = all_at_once(lambda: cancel_everything(noted.extend))
    assert sum(result.cancelled for result in results) == 10
    assert sorted(noted) == sorted(WebhookTransmissionQueue.objects.values_list("pk", flat=True))
    assert all(result.being_worked_at == 0 for result in results)


def test_cancelled_or_delivered_and_never_both(endpoint, receiver):
    turn = itertools.count()
    all_at_once(lambda: delivery.deliver_due(seconds=1) if next(turn) % 2 else cancel_everything())
    cancel_everything()
    received = {request.headers["webhook-id"] for request, _response in receiver.log}
    ended = dict(WebhookTransmissionQueue.objects.values_list("webhook_id", "status"))
    assert set(ended.values()) <= {WebhookStatus.DELIVERED, WebhookStatus.CANCELLED} and len(ended) == 10
    assert {str(pk) for pk, status in ended.items() if status == WebhookStatus.DELIVERED} == received
