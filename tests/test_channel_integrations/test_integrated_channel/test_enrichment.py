# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lookups in batches: who is looked up with whom, when, by whom, and what is kept of it."""

import time
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from channel_integrations.integrated_channel.models import (
    WebhookLookupStatement,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import enrichment
from channel_integrations.integrated_channel.services.slots import LeasedSlot
from tests.factories import COURSE, grade_event, make_customer, make_endpoint, make_learner
from tests.servers import free_port

pytestmark = pytest.mark.django_db
LATER = timedelta(minutes=5)


@pytest.fixture
def acme(snowflake, receiver):
    """A customer whose completions wait for their learning time."""
    customer = make_customer("Acme")
    make_endpoint(customer, receiver.url_for("/hook"))
    return customer


def complete(customer, count=1):
    """So many learners complete the course, the first of them without learning time."""
    learners = [make_learner(customer) for _ in range(count)]
    for learner in learners:
        grade_event(learner)
    return learners


def enrich():
    return enrichment.enrich_in_slot(hand_over=lambda: None)


def outcomes():
    rows = WebhookTransmissionQueue.objects.order_by("pk")
    return list(rows.values_list("status", "learning_time", "learning_time_status"))


def statements():
    return list(WebhookLookupStatement.objects.order_by("pk").values_list("asked", "found", "status"))


def test_what_waits_together_is_looked_up_together(acme, snowflake, django_assert_max_num_queries):
    learners = complete(acme, 30)
    for learner in learners[1:]:
        snowflake.add(learner.id, COURSE, acme.uuid, learner.id)
    with django_assert_max_num_queries(30):
        assert enrich() == 30
    assert outcomes() == [
        (WebhookStatus.RECORDED, None, "no_row"),
        *((WebhookStatus.RECORDED, learner.id, "found") for learner in learners[1:]),
    ]
    assert statements() == [(30, 29, "ok")]
    assert not WebhookTransmissionQueue.objects.exclude(lease_token=None).exists()


def test_one_that_comes_alone_waits_for_nobody(acme):
    complete(acme)
    started = time.monotonic()
    assert enrich() == 1
    assert time.monotonic() - started < 5, "a sign-in included"
    complete(acme)
    started = time.monotonic()
    assert enrich() == 1
    assert time.monotonic() - started < 0.5


def test_an_outage_is_one_failure_for_all_of_a_batch_and_is_explained_once(acme, snowflake, settings, caplog):
    settings.SNOWFLAKE_CONFIG = {**snowflake.config(), "port": free_port()}
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS = 1
    complete(acme, 5)
    assert enrich() == 5
    assert {outcome for *_, outcome in outcomes()} == {"unreachable"}
    assert statements() == [(5, 0, "unreachable")]
    lines = [r for r in caplog.records if getattr(r, "task", "") == enrichment.TASK]
    assert [line.status for line in lines] == ["failure"] * 5
    assert sum(hasattr(line, "at") for line in lines) == 1


def test_lookups_wait_for_company(acme, settings):
    settings.CHANNEL_WEBHOOKS_LOOKUP_WAIT_SECONDS = 60
    complete(acme, 3)
    assert enrich() == 0, "the first has not waited for long enough"
    first = WebhookTransmissionQueue.objects.order_by("pk").first()
    assert timedelta(seconds=50) < first.due_at - timezone.now() <= timedelta(seconds=60)
    assert first.enrich_by - first.due_at == timedelta(seconds=600), "the bounded wait begins after that"
    WebhookTransmissionQueue.objects.filter(pk=first.pk).update(due_at=timezone.now())
    assert enrich() == 3, "the others come along"
    assert statements() == [(3, 0, "ok")]


def test_what_is_due_much_later_does_not_come_along(acme, settings):
    """A throttled backfill is spread over hours."""
    settings.CHANNEL_WEBHOOKS_LOOKUP_WAIT_SECONDS = 60
    complete(acme, 3)
    first, _second, third = WebhookTransmissionQueue.objects.order_by("pk").values_list("pk", flat=True)
    WebhookTransmissionQueue.objects.filter(pk=first).update(due_at=timezone.now())
    WebhookTransmissionQueue.objects.filter(pk=third).update(due_at=timezone.now() + LATER)
    assert enrich() == 2
    assert WebhookTransmissionQueue.objects.get(status=WebhookStatus.AWAITING_ENRICHMENT).pk == third


def test_what_somebody_else_looks_up_does_not_come_along(acme, settings):
    settings.CHANNEL_WEBHOOKS_LOOKUP_WAIT_SECONDS = 3600
    complete(acme, 2)
    rows = WebhookTransmissionQueue.objects
    rows.update(due_at=timezone.now())
    first = rows.order_by("pk").first()
    assert rows.claim([first.pk], WebhookStatus.AWAITING_ENRICHMENT, timezone.now())
    assert enrich() == 1, "the lease of the other one ends within the wait, and it is its holder's all the same"


def test_the_flag_switched_off_sends_at_once_what_waits_for_company(acme, settings, receiver):
    settings.CHANNEL_WEBHOOKS_LOOKUP_WAIT_SECONDS = 3600
    complete(acme, 2)
    settings.FEATURES = {}
    call_command("send_due_webhooks")
    assert len(receiver.log) == 2
    assert statements() == []


def test_who_finds_the_slot_taken_leaves_its_rows_to_the_holder(acme):
    complete(acme)
    slot = LeasedSlot.acquire("enrichment", 1)
    assert enrich() == 0
    assert outcomes()[0][0] == WebhookStatus.AWAITING_ENRICHMENT
    slot.give_back()
    assert enrich() == 1


def test_a_holder_goes_on_while_rows_come(acme):
    """What is committed while a lookup is under way is looked up by the same worker, next."""
    complete(acme)
    more = [2, 1]

    def hand_over():
        if more:
            complete(acme, more.pop())

    assert enrichment.enrich_in_slot(hand_over) == 4
    assert [asked for asked, *_ in statements()] == [1, 1, 2]


def test_a_lease_lost_in_mid_lookup_writes_nothing(acme):
    """The holder was stopped for longer than its lease, and another worker has taken the row."""
    complete(acme, 2)
    rows, status = WebhookTransmissionQueue.objects, WebhookStatus.AWAITING_ENRICHMENT
    pks = list(rows.values_list("pk", flat=True))
    mine = rows.claim(pks, status, timezone.now())
    rows.filter(pk=pks[0]).update(due_at=timezone.now())
    assert len(rows.claim(pks, status, timezone.now())) == 1
    assert enrichment._enrich(mine) == 1
    assert [row[0] for row in outcomes()] == [WebhookStatus.AWAITING_ENRICHMENT, WebhookStatus.RECORDED]


def test_rows_that_came_together_leave_others_time_to_join(acme):
    complete(acme, 26)
    looked_up = []
    assert enrichment.enrich_in_slot(hand_over=lambda: looked_up.append(time.monotonic())) == 26
    assert time.monotonic() - looked_up[0] >= 0.25


@pytest.mark.parametrize(
    ("batch", "least", "most"), [(1, 0, 0), (2, 0.005, 0.02), (4, 0.02, 0.05), (40, 0.25, 0.25), (500, 0.25, 0.25)]
)
def test_the_pause_grows_with_the_company(batch, least, most):
    assert least <= enrichment._pause_after(batch) <= most
