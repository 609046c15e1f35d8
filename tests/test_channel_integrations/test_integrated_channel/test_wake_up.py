# SPDX-License-Identifier: AGPL-3.0-or-later
"""Calls to the workers: few, never too late, and cheap for the LMS whatever broker and cache do."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

import pytest
import redis as redis_client
from django.db import transaction
from django.utils import timezone
from werkzeug import Response

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.broker import MAX_COUNTDOWN, OPEN_SECONDS, STEP_TIMEOUT
from channel_integrations.integrated_channel.models import WebhookLease, WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.services import sweep
from channel_integrations.integrated_channel.settings.common import DELIVERY_TASK, ENRICHMENT_TASK
from channel_integrations.integrated_channel.tasks import enrich_and_send_completion_webhook, process_webhook_queue
from tests.brokers import broker_at
from tests.factories import grade_event, make_customer, make_endpoint, make_learner
from tests.lms_host.celery import app
from tests.servers import Redis, free_port

ENRICHMENT, DELIVERY = "edx.lms.core.webhook_enrichment", "edx.lms.core.default"


@pytest.fixture
def broker(redis_server, settings):
    """An empty Redis as broker, and as the cache that marks are kept in; returns a client of the broker."""
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis_server.url(1)}}
    with redis_client.Redis(port=redis_server.port) as client:
        client.flushall()
        with broker_at(redis_server.url(0)):
            yield client
        client.flushall()


@pytest.fixture
def acme(committed_db, receiver):
    customer = make_customer("Acme")
    make_endpoint(customer, receiver.url_for("/hook"))
    return customer


def complete(customer):
    """As an LMS that grades in one transaction."""
    with transaction.atomic():
        grade_event(make_learner(customer))


@pytest.mark.redis
def test_a_burst_makes_one_call_and_a_reminder(acme, broker, snowflake):
    for _ in range(20):
        complete(acme)
    assert (broker.llen(ENRICHMENT), broker.llen(DELIVERY)) == (1, 1)


@pytest.mark.redis
def test_with_the_flag_off_too(acme, broker):
    for _ in range(20):
        complete(acme)
    assert (broker.llen(ENRICHMENT), broker.llen(DELIVERY)) == (0, 2), "a call, and a look in a minute"


@pytest.mark.redis
def test_what_is_committed_after_a_call_was_served_calls_again(acme, broker, snowflake):
    complete(acme)
    wake_up.served(ENRICHMENT_TASK)
    complete(acme)
    complete(acme)
    assert broker.llen(ENRICHMENT) == 2


@pytest.mark.redis
def test_a_call_for_later_keeps_nobody_who_calls_for_now(acme, broker, snowflake, settings):
    settings.CHANNEL_WEBHOOKS_LOOKUP_WAIT_SECONDS = 60
    complete(acme)
    complete(acme)
    assert broker.llen(ENRICHMENT) == 1
    wake_up.enrichment()
    wake_up.enrichment()
    assert broker.llen(ENRICHMENT) == 2, "the sweep, say, which has found rows that are due"
    complete(acme)
    wake_up.served(ENRICHMENT_TASK)
    assert broker.llen(ENRICHMENT) == 2
    complete(acme)
    assert broker.llen(ENRICHMENT) == 3, "who serves a call takes both marks away"


@pytest.mark.redis
@pytest.mark.parametrize("lost", ["call", "mark", "both"])
def test_a_lost_call_or_mark_keeps_nobody_waiting_for_long(acme, broker, snowflake, settings, lost):
    complete(acme)
    if lost in ("call", "both"):
        broker.delete(ENRICHMENT)
    if lost in ("mark", "both"):
        wake_up.served(ENRICHMENT_TASK)
    WebhookTransmissionQueue.objects.update(due_at=timezone.now() - sweep.LOST_AFTER)
    if lost == "call":
        time.sleep(0.01)
        with redis_client.Redis(port=broker.connection_pool.connection_kwargs["port"], db=1) as marks:
            (mark,) = marks.keys("*called.enrich*")
            assert 0 < marks.ttl(mark) <= wake_up.MARK_SECONDS, "it ends by itself"
            marks.delete(mark)
    before = broker.llen(ENRICHMENT)
    sweep.tidy()
    assert broker.llen(ENRICHMENT) == before + 1


@pytest.mark.redis
@pytest.mark.parametrize(
    "backend", ["django.core.cache.backends.locmem.LocMemCache", "django.core.cache.backends.dummy.DummyCache"]
)
def test_a_cache_of_ones_own_knows_of_no_call(acme, broker, snowflake, settings, backend):
    settings.CACHES = {"default": {"BACKEND": backend}}
    for _ in range(3):
        complete(acme)
    assert broker.llen(ENRICHMENT) == 3


@pytest.mark.redis
@pytest.mark.parametrize("ignores_errors", [True, False])
def test_a_cache_that_is_down_costs_calls_too_many_and_little_time(acme, broker, snowflake, settings, ignores_errors):
    options = {"IGNORE_EXCEPTIONS": ignores_errors, "SOCKET_CONNECT_TIMEOUT": 0.2}
    location = f"redis://127.0.0.1:{free_port()}/0"
    learners = [make_learner(acme) for _ in range(5)]
    settings.CACHES = {
        "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": location, "OPTIONS": options}
    }
    started = time.monotonic()
    for learner in learners:
        with transaction.atomic():
            grade_event(learner)
    assert broker.llen(ENRICHMENT) == 5
    assert time.monotonic() - started < 2


@pytest.mark.redis
def test_a_memcached_that_is_down_says_no_to_everything_and_is_not_believed(acme, broker, snowflake, settings):
    settings.CACHES = {"default": {"BACKEND": "tests.test_channel_integrations.test_integrated_channel.caches.SaysNo"}}
    for _ in range(3):
        complete(acme)
    assert broker.llen(ENRICHMENT) == 3


@pytest.mark.redis
def test_calls_that_the_broker_refused_are_made_with_a_later_event(acme, broker, snowflake, redis_server):
    with broker_at(f"redis://127.0.0.1:{free_port()}/0"):
        complete(acme)
        assert wake_up.broker.missed == {ENRICHMENT_TASK}
        app.conf.broker_url = app.conf.broker_write_url = redis_server.url(0)
        old = make_learner(acme)
        grade_event(old, letter="")
        assert broker.llen(ENRICHMENT) == 0, "the broker is left alone for half a minute"
        wake_up.broker._circuit.reset()  # half a minute later
        grade_event(old, letter="")
        assert (broker.llen(ENRICHMENT), wake_up.broker.missed) == (1, set())


@pytest.mark.redis
def test_a_task_waits_for_a_broker_that_does_not_take_its_successor(acme, tmp_path, receiver):
    """A site without cron depends on the one wake-up that circulates."""
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("no", status=500)
    server = Redis(tmp_path)
    with broker_at(server.url(0)):
        complete(acme)
        wake_up.broker.missed.clear()
        later, started = threading.Timer(3, server.start), time.monotonic()
        later.start()
        try:
            process_webhook_queue()
            assert time.monotonic() - started < 15, "it has the patience that its circuit lacks"
            assert WebhookTransmissionQueue.objects.get().status == WebhookStatus.PENDING
            with redis_client.Redis(port=server.port) as client:
                assert client.llen(DELIVERY) == 1
        finally:
            later.join()
            server.kill()


@pytest.mark.redis
def test_a_worker_that_is_killed_leaves_the_next_wake_up_behind(acme, broker, receiver):
    """On its way before the first POST, whoever called: an event, or the wake-up that circulates."""
    left_behind = []

    def fail(request):
        left_behind.append(broker.llen(DELIVERY))
        return Response("no", status=500)

    receiver.clear()
    receiver.expect_request("/hook").respond_with_handler(fail)
    complete(acme)
    broker.flushdb()
    process_webhook_queue()
    broker.flushdb()
    WebhookTransmissionQueue.objects.update(due_at=timezone.now())
    process_webhook_queue(str(WebhookLease.objects.get(pk=sweep.CIRCULATING).token))
    assert left_behind == [1, 1]


@pytest.mark.redis
def test_no_countdown_is_longer_than_a_minute(acme, broker):
    """Redis would deliver one of two hours over and over: what is due then is looked for every minute."""
    complete(acme)
    broker.flushdb()
    WebhookTransmissionQueue.objects.update(due_at=timezone.now() + timedelta(hours=2))
    process_webhook_queue()
    (message,) = broker.lrange(DELIVERY, 0, -1)
    countdown = datetime.fromisoformat(json.loads(message)["headers"]["eta"]) - timezone.now()
    assert timedelta(seconds=50) < countdown <= timedelta(seconds=60)


@pytest.mark.redis
def test_a_broker_that_stays_away_is_told_to_the_operator(acme, caplog, monkeypatch):
    monkeypatch.setattr(sweep, "PATIENCE", 3.0)
    with broker_at(f"redis://127.0.0.1:{free_port()}/0"):
        complete(acme)
        WebhookTransmissionQueue.objects.update(due_at=timezone.now() + sweep.LOST_AFTER)
        started = time.monotonic()
        process_webhook_queue()
    assert time.monotonic() - started < 8
    assert "send_due_webhooks" in caplog.text
    assert WebhookLease.acquire(sweep.CIRCULATING, sweep.LOST_AFTER), "the licence is free for the next one"


@pytest.mark.redis
def test_lookups_due_later_are_called_for_again(acme, broker, snowflake):
    """Another worker was killed with the row: its lease has minutes to go."""
    complete(acme)
    broker.flushdb()
    WebhookTransmissionQueue.objects.update(due_at=timezone.now() + sweep.LOST_AFTER)
    for _ in range(5):
        enrich_and_send_completion_webhook()
    assert broker.llen(ENRICHMENT) == 1, "however often it is looked"


@pytest.mark.redis
def test_a_message_of_an_earlier_release_is_understood(acme, broker, snowflake):
    complete(acme)
    webhook = WebhookTransmissionQueue.objects.get()
    enrich_and_send_completion_webhook(str(webhook.webhook_id))
    webhook.refresh_from_db()
    assert webhook.status == WebhookStatus.RECORDED
    assert DELIVERY_TASK in app.tasks and broker.llen(DELIVERY) >= 1


# The order of steps, checked for every interleaving

PRODUCER = ("commit", "mark", "publish")
#: of whoever has the slot; "look" serves every row there is, "last look" goes on where it finds one
CONSUMER = ("look", "give back", "unmark", "last look")
DONE, IDLE = len(PRODUCER), -1


class World(NamedTuple):
    """Producers, a queue of calls, two consumers, one slot, and so many things that may still go wrong."""

    producers: tuple[int, ...] = (0, 0)
    consumers: tuple[int, ...] = (IDLE, IDLE)
    marked: bool = False
    slot_taken: bool = False
    calls: int = 0
    rows: int = 0
    faults: int = 0

    def steps(self, consumer: tuple[str, ...]) -> "Iterator[World]":
        """What may happen next."""
        for number, at in enumerate(self.producers):
            if at < DONE:
                yield self._produce(number, PRODUCER[at])
        for number, at in enumerate(self.consumers):
            if at != IDLE:
                yield self._consume(number, at, consumer)
            elif self.calls:
                taken = {"consumers": moved(self.consumers, number, 0), "slot_taken": True}
                yield self._replace(calls=self.calls - 1, **({} if self.slot_taken else taken))

    def wrongs(self) -> "Iterator[World]":
        """What may go wrong next: a process is killed, a call is lost, or the mark is lost or ends by itself."""
        if not self.faults:
            return
        left = self.faults - 1
        for number, at in enumerate(self.producers):
            if at < DONE:
                yield self._replace(producers=moved(self.producers, number, DONE), faults=left)
        for number, at in enumerate(self.consumers):
            if at != IDLE:  # the lease of its slot ends in time
                yield self._replace(consumers=moved(self.consumers, number, IDLE), slot_taken=False, faults=left)
        if self.calls:
            yield self._replace(calls=self.calls - 1, faults=left)
        if self.marked:
            yield self._replace(marked=False, faults=left)

    def _produce(self, number: int, step: str) -> "World":
        on = {"producers": moved(self.producers, number, self.producers[number] + 1)}
        if step == "commit":
            return self._replace(rows=self.rows + 1, **on)
        if step == "publish":
            return self._replace(calls=self.calls + 1, **on)
        return (
            self._replace(producers=moved(self.producers, number, DONE))
            if self.marked
            else self._replace(marked=True, **on)
        )

    def _consume(self, number: int, at: int, consumer: tuple[str, ...]) -> "World":
        last = at == len(consumer) - 1
        on = {"consumers": moved(self.consumers, number, IDLE if last else at + 1)}
        step = consumer[at]
        if step == "look":
            return self._replace(rows=0, **on)
        if step == "give back":
            return self._replace(slot_taken=False, **on)
        if step == "unmark":
            return self._replace(marked=False, **on)
        if self.rows and not self.slot_taken:  # "last look"
            return self._replace(slot_taken=True, consumers=moved(self.consumers, number, 0))
        return self._replace(**on)


def moved(positions, number, to):
    return tuple(to if index == number else at for index, at in enumerate(positions))


def ends(world, consumer=CONSUMER):
    """The worlds in which nothing is left to happen by itself, over all interleavings."""
    seen, pending, found = set(), [world], set()
    while pending:
        here = pending.pop()
        if here in seen:
            continue
        seen.add(here)
        after = list(here.steps(consumer))
        if not after:
            found.add(here)
        pending += [*after, *here.wrongs()]
    assert len(seen) > 10
    return found


@pytest.mark.parametrize("producers", [2, 3])
def test_without_a_fault_no_order_of_steps_strands_a_row(producers):
    assert {world for world in ends(World(producers=(0,) * producers)) if world.rows} == set()


@pytest.mark.parametrize(
    "order",
    [
        ("unmark", "look", "give back"),
        ("look", "unmark", "give back"),
        ("look", "give back", "last look", "unmark"),
        ("look", "unmark", "last look", "give back"),
    ],
)
def test_the_check_sees_a_wrong_order(order):
    assert any(world.rows for world in ends(World(producers=(0, 0, 0)), order))


@pytest.mark.parametrize("faults", [1, 2])
def test_what_faults_strand_the_next_event_or_the_sweep_brings_on_its_way(faults):
    """
    What is left is a committed row without a call, just what the sweep looks for; once the mark has ended by itself,
    the next event calls for it as well.
    """
    stranded = {world for world in ends(World(faults=faults)) if world.rows}
    assert stranded, "a fault can strand a row: that is what the sweep is for"
    for world in stranded:
        assert (world.calls, world.slot_taken, set(world.consumers)) == (0, False, {IDLE})
        later = world._replace(producers=(0,), marked=False, faults=0)
        assert not any(end.rows for end in ends(later))


# The same with the real code

STRESS_SECONDS = 6


@pytest.mark.redis
@pytest.mark.mariadb
def test_producers_consumers_and_losses_at_once_strand_nothing(acme, broker, snowflake, receiver):
    """Threads that complete courses and threads that consume calls, while calls and marks are thrown away."""
    from django.db import connections

    stop, errors, made = threading.Event(), [], []

    def run(step):
        try:
            while not stop.is_set():
                step()
        except Exception as err:
            errors.append(err)
        finally:
            connections.close_all()

    def produce():
        complete(acme)
        made.append(1)

    def consume():
        if broker.lpop(ENRICHMENT):
            enrich_and_send_completion_webhook()
        else:
            time.sleep(0.005)

    def lose():
        time.sleep(0.3)
        broker.lpop(ENRICHMENT)
        wake_up.served(ENRICHMENT_TASK)

    threads = [threading.Thread(target=run, args=(step,)) for step in (produce, produce, consume, consume, lose)]
    for thread in threads:
        thread.start()
    time.sleep(STRESS_SECONDS)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    waiting = WebhookTransmissionQueue.objects.filter(status=WebhookStatus.AWAITING_ENRICHMENT)
    waiting.filter(lease_token=None).update(due_at=timezone.now() - sweep.LOST_AFTER)
    deadline = time.monotonic() + 15
    while waiting.exists() and time.monotonic() < deadline:  # the sweep, every few seconds
        sweep.tidy()
        while broker.lpop(ENRICHMENT):
            enrich_and_send_completion_webhook()
        wake_up.served(ENRICHMENT_TASK)
    assert not waiting.exists(), list(waiting.values("due_at", "lease_token"))
    assert WebhookTransmissionQueue.objects.count() == len(made) > 10


def test_every_task_has_a_mark_of_its_own():
    marks = {wake_up._mark(task) for task in (ENRICHMENT_TASK, DELIVERY_TASK)}
    assert len(marks) == 2 and all(set(mark) <= set("abcdefghijklmnopqrstuvwxyz_.") for mark in marks)


def test_the_circuit_and_the_marks_are_as_short_as_promised():
    assert max(MAX_COUNTDOWN, OPEN_SECONDS) <= 60
    assert 2 * STEP_TIMEOUT <= 0.5


@pytest.mark.redis
def test_a_request_served_by_a_thread_reaches_the_lmss_own_broker(acme, broker, snowflake):
    """Celery's current app is the main thread's alone."""
    from django.db import connections

    def request():
        complete(acme)
        connections.close_all()

    thread = threading.Thread(target=request)
    thread.start()
    thread.join()
    assert broker.llen(ENRICHMENT) == 1


def test_a_celery_that_runs_tasks_inside_the_call_is_sent_nothing(acme):
    """Devstacks do: the round of deliveries would run in the learner's request, and call for itself."""
    app.conf.task_always_eager = True
    try:
        started = time.monotonic()
        complete(acme)
        assert time.monotonic() - started < 2
    finally:
        app.conf.task_always_eager = False
        wake_up.broker.reset()
    assert WebhookTransmissionQueue.objects.get().status == WebhookStatus.RECORDED
