# SPDX-License-Identifier: AGPL-3.0-or-later
"""Calls to the workers: few, never too late, and cheap for the LMS whatever broker and cache do."""

import threading
import time
from itertools import product

import pytest
import redis as redis_client
from django.db import transaction
from django.utils import timezone

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.models import WebhookLease, WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.services import sweep
from channel_integrations.integrated_channel.settings.common import DELIVERY_TASK, ENRICHMENT_TASK
from channel_integrations.integrated_channel.tasks import enrich_and_send_completion_webhook, process_webhook_queue
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
        yield from publishing_to(redis_server.url(0), client)
        client.flushall()


def publishing_to(url, client=None):
    before = app.conf.broker_url
    app.conf.broker_url = app.conf.broker_write_url = url
    wake_up.broker.reset()
    yield client
    app.conf.broker_url = app.conf.broker_write_url = before
    wake_up.broker.reset()


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
def test_what_is_committed_after_a_call_has_arrived_calls_again(acme, broker, snowflake):
    complete(acme)
    wake_up.received(ENRICHMENT_TASK)
    complete(acme)
    complete(acme)
    assert broker.llen(ENRICHMENT) == 2


@pytest.mark.redis
@pytest.mark.parametrize("lost", ["call", "mark", "both"])
def test_a_lost_call_or_mark_keeps_nobody_waiting_for_long(acme, broker, snowflake, settings, lost):
    complete(acme)
    if lost in ("call", "both"):
        broker.delete(ENRICHMENT)
    if lost in ("mark", "both"):
        wake_up.received(ENRICHMENT_TASK)
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
    for _ in publishing_to(f"redis://127.0.0.1:{free_port()}/0"):
        complete(acme)
        assert wake_up.broker.owed == {ENRICHMENT_TASK}
        app.conf.broker_url = app.conf.broker_write_url = redis_server.url(0)
        old = make_learner(acme)
        grade_event(old, letter="")
        assert broker.llen(ENRICHMENT) == 0, "the broker is left alone for half a minute"
        wake_up.broker._circuit.reset()  # half a minute later
        grade_event(old, letter="")
        assert (broker.llen(ENRICHMENT), wake_up.broker.owed) == (1, set())


@pytest.mark.redis
def test_a_task_waits_for_a_broker_that_does_not_take_its_successor(acme, tmp_path, receiver):
    """A site without cron depends on the one wake-up that circulates."""
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("no", status=500)
    server = Redis(tmp_path)
    for _ in publishing_to(server.url(0)):
        complete(acme)
        wake_up.broker.owed.clear()
        later = threading.Timer(3, server.start)
        later.start()
        try:
            process_webhook_queue()
            assert WebhookTransmissionQueue.objects.get().status == WebhookStatus.PENDING
            with redis_client.Redis(port=server.port) as client:
                assert client.llen(DELIVERY) == 1
        finally:
            later.join()
            server.kill()


@pytest.mark.redis
def test_a_broker_that_stays_away_is_told_to_the_operator(acme, caplog, monkeypatch):
    monkeypatch.setattr(sweep, "PATIENCE", 3.0)
    for _ in publishing_to(f"redis://127.0.0.1:{free_port()}/0"):
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
CONSUMER = ("unmark", "look")


class World:
    """Two producers, a queue of calls, consumers, and everything that may be lost, as one immutable state."""

    def __init__(self, producers=(0, 0), marked=False, calls=0, consumer=0, rows=0, faults=1):
        self.state = (producers, marked, calls, consumer, rows, faults)

    def successors(self, consumer_steps):
        producers, marked, calls, consumer, rows, faults = self.state
        for number, at in enumerate(producers):
            if at < len(PRODUCER):
                yield from self._produce(number, PRODUCER[at])
                if faults:  # killed here; what it has committed stays
                    yield self._with(producers=_moved(producers, number, len(PRODUCER)), faults=faults - 1)
        if consumer == 0 and calls:
            yield self._with(calls=calls - 1, consumer=1)
        if consumer:
            step = consumer_steps[consumer - 1]
            after = (consumer + 1) % (len(consumer_steps) + 1)
            yield self._with(consumer=after, marked=marked and step != "unmark", rows=0 if step == "look" else rows)
            if faults:
                yield self._with(consumer=0, faults=faults - 1)
        if faults and calls:
            yield self._with(calls=calls - 1, faults=faults - 1)
        if faults and marked:
            yield self._with(marked=False, faults=faults - 1)

    def _produce(self, number, step):
        producers, marked, calls, _consumer, rows, _faults = self.state
        moved = _moved(producers, number, producers[number] + 1)
        if step == "commit":
            yield self._with(producers=moved, rows=rows + 1)
        elif step == "mark" and marked:
            yield self._with(producers=_moved(producers, number, len(PRODUCER)))
        elif step == "mark":
            yield self._with(producers=moved, marked=True)
        else:
            yield self._with(producers=moved, calls=calls + 1)

    def _with(self, **changes):
        names = ("producers", "marked", "calls", "consumer", "rows", "faults")
        return World(**{**dict(zip(names, self.state, strict=True)), **changes})


def _moved(producers, number, to):
    return tuple(to if index == number else at for index, at in enumerate(producers))


def stranded(consumer_steps, faults):
    """The final states of all interleavings in which a row waits: no step is left, and no call is on its way."""
    seen, pending, found = set(), [World(faults=faults)], []
    while pending:
        world = pending.pop()
        if world.state in seen:
            continue
        seen.add(world.state)
        after = list(world.successors(consumer_steps))
        rows, faults_left = world.state[4], world.state[5]
        if rows and not [each for each in after if each.state[5] == faults_left]:
            found.append(world.state)
        pending += after
    assert len(seen) > 40
    return found


def test_without_a_fault_no_order_of_steps_strands_a_row():
    assert stranded(CONSUMER, faults=0) == []


def test_the_check_sees_a_wrong_order():
    """Unmarked after the look: a row that comes in between believes in a call that has been served."""
    assert stranded(CONSUMER[::-1], faults=0)


def test_what_a_fault_strands_the_sweep_and_the_next_event_find():
    """
    A killed producer or consumer, or a lost call, can strand rows; a lost mark cannot.

    Whatever is left then is a committed row without a call: just what the sweep looks for. And once the mark has ended
    by itself, the next event calls.
    """
    left = stranded(CONSUMER, faults=1)
    assert left, "one fault can strand a row: that is what the sweep is for"
    for producers, _marked, calls, consumer, rows, _faults in left:
        assert (calls, consumer) == (0, 0) and rows
        next_event = World(producers=(0, len(PRODUCER)), marked=False, rows=rows, faults=0)
        assert all(at == len(PRODUCER) for at in producers)
        finals = [state for state in _finals(next_event) if state[4]]
        assert finals == [], "the next event's call serves what was stranded"


def _finals(world):
    seen, pending = set(), [world]
    while pending:
        world = pending.pop()
        if world.state not in seen:
            seen.add(world.state)
            after = list(world.successors(CONSUMER))
            if not after:
                yield world.state
            pending += after


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
        wake_up.received(ENRICHMENT_TASK)

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
        wake_up.received(ENRICHMENT_TASK)
    assert not waiting.exists(), list(waiting.values("due_at", "lease_token"))
    assert WebhookTransmissionQueue.objects.count() == len(made) > 50


def test_every_task_has_a_mark_of_its_own():
    marks = {wake_up._mark(task) for task in (ENRICHMENT_TASK, DELIVERY_TASK)}
    assert len(marks) == 2 and all(set(mark) <= set("abcdefghijklmnopqrstuvwxyz_.") for mark in marks)


def test_the_circuit_and_the_marks_are_as_short_as_promised():
    assert all(seconds <= 60 for seconds, _ in product((wake_up.MAX_COUNTDOWN, wake_up.OPEN_SECONDS), "x"))
    assert 2 * wake_up.STEP_TIMEOUT <= 0.5


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
