# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The real code stopped before each single thing that it asks of database and cache, while something else happens.

What the model in ``test_wake_up`` says of the order of steps is shown here of the steps themselves.
"""

import json
import threading
from collections.abc import Callable
from contextlib import contextmanager
from itertools import count

import pytest
import redis as redis_client
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.db import connection, connections, transaction
from django.utils import timezone

from channel_integrations.integrated_channel.models import WebhookLease, WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.services import sweep
from channel_integrations.integrated_channel.tasks import enrich_and_send_completion_webhook, process_webhook_queue
from tests.brokers import broker_at
from tests.factories import grade_event, make_customer, make_endpoint, make_learner
from tests.test_channel_integrations.test_integrated_channel.caches import Tapped

pytestmark = [pytest.mark.redis, pytest.mark.mariadb]
ENRICHMENT, DELIVERY = "edx.lms.core.webhook_enrichment", "edx.lms.core.default"
TASKS = {ENRICHMENT: enrich_and_send_completion_webhook, DELIVERY: process_webhook_queue}
WAITING = WebhookTransmissionQueue.objects.filter(status=WebhookStatus.AWAITING_ENRICHMENT)
UNDELIVERED = WebhookTransmissionQueue.objects.exclude(status=WebhookStatus.DELIVERED)


class Killed(BaseException):
    """The process is gone: nothing that it would still do is done."""


@pytest.fixture
def site(committed_db, receiver, snowflake, redis_server, settings):
    """A customer, an empty broker, and marks in a cache that can be tapped; returns what completes a course."""
    location = {"LOCATION": redis_server.url(1)}
    settings.CACHES = {"default": {"BACKEND": f"{Tapped.__module__}.{Tapped.__qualname__}", **location}}
    customer = make_customer("Acme")
    make_endpoint(customer, receiver.url_for("/hook"))

    def complete():
        learner = make_learner(customer)
        with transaction.atomic():
            grade_event(learner)
            get_user_model().objects.filter(pk=learner.pk).exists()  # the LMS's transaction goes on

    with redis_client.Redis(port=redis_server.port) as client, broker_at(redis_server.url(0)):
        client.flushall()
        complete.broker = client
        yield complete
        client.flushall()


def consume(broker, queue=ENRICHMENT):
    """All calls that are in the queue, as a worker; those for later are not for now."""
    while message := broker.lpop(queue):
        if json.loads(message)["headers"]["eta"] is None:
            TASKS[queue]()


@contextmanager
def before_each_step(tap: Callable[[], None]):
    """Of what this thread asks of the database, and of the cache."""
    mine = threading.get_ident()

    def before_command():
        if threading.get_ident() == mine:
            tap()

    def before_statement(execute, sql, params, many, context):
        tap()
        return execute(sql, params, many, context)

    Tapped.before = before_command
    try:
        with connection.execute_wrapper(before_statement):
            yield
    finally:
        Tapped.before = None


def interrupted(work: Callable[[], object], at: int, between: Callable[[], object]) -> bool:
    """
    Do the work; before its step of this number another process does something from beginning to end.

    Returns whether the work has so many steps.
    """
    step = 0

    def other_process():
        try:
            between()
        finally:
            connections.close_all()

    def tap():
        nonlocal step
        step += 1
        if step == at:
            thread = threading.Thread(target=other_process)
            thread.start()
            thread.join()

    with before_each_step(tap):
        work()
    return step >= at


def killed(work: Callable[[], object], at: int) -> bool:
    """Do the work up to its step of this number; returns whether it has so many."""
    step = 0

    def tap():
        nonlocal step
        step += 1
        if step >= at:
            raise Killed

    try:
        with before_each_step(tap):
            work()
    except Killed:
        return True
    return False


@pytest.mark.parametrize("queue", TASKS)
def test_a_completion_between_two_steps_of_a_worker_is_not_left_behind(site, settings, queue):
    """Where it makes a call, another worker takes that, and may find that somebody is at work."""
    if queue == DELIVERY:
        settings.FEATURES = {}

    def between():
        site()
        consume(site.broker, queue)

    for at in count(1):
        site()
        came_between = interrupted(lambda: consume(site.broker, queue), at, between)
        consume(site.broker, queue)
        assert not (WAITING if queue == ENRICHMENT else UNDELIVERED).exists(), f"left behind at step {at}"
        if not came_between:
            break
    assert WebhookTransmissionQueue.objects.count() == 2 * at - 1 > 20


def test_so_is_one_between_whose_own_steps_a_worker_serves_the_call_before(site):
    for at in count(1):
        site()
        came_between = interrupted(site, at, lambda: consume(site.broker))
        consume(site.broker)
        assert not WAITING.exists(), f"left behind at step {at}"
        if not came_between:
            break
    assert WebhookTransmissionQueue.objects.count() == 2 * at > 20


def test_what_a_worker_killed_at_any_step_leaves_behind_the_sweep_finds(site):
    for at in count(1):
        site()
        was_killed = killed(lambda: consume(site.broker), at)
        # Some minutes later: what it had leased has ended, and so has the mark.
        WAITING.update(due_at=timezone.now() - sweep.LOST_AFTER)
        WebhookLease.objects.update(expires_at=timezone.now())
        cache.clear()
        sweep.tidy()
        consume(site.broker)
        assert not WAITING.exists(), f"left behind at step {at}"
        if not was_killed:
            break
    assert at > 10
