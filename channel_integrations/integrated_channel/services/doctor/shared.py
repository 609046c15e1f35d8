# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the processes share: the cache, the broker, and the workers behind it."""

import uuid
from collections.abc import Iterable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from celery.app.control import Control
from django.core.cache import DEFAULT_CACHE_ALIAS, InvalidCacheBackendError, caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.utils import timezone
from kombu import Connection

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.broker import STEP_TIMEOUT
from channel_integrations.integrated_channel.models import WebhookHeartbeat
from channel_integrations.integrated_channel.services import heartbeat
from channel_integrations.integrated_channel.services.doctor.findings import Findings, ok, problem, warning
from channel_integrations.integrated_channel.services.doctor.installation import queue_of
from channel_integrations.integrated_channel.services.doctor.moments import ago
from channel_integrations.integrated_channel.services.doctor.time_limit import NoAnswer, within
from channel_integrations.integrated_channel.settings.common import DELIVERY_TASK, ENRICHMENT_TASK

CACHE_SECONDS = 5.0
BROKER_SECONDS = 5.0
#: how long workers are waited for: an idle one takes some milliseconds. Where none of those that are sought has
#: answered, all are asked once more, and given the time that a loaded host takes.
REPLY_SECONDS, PATIENCE_SECONDS = 1.0, 3.0


def cache() -> Findings:
    """Whether what one worker has looked up is there for the others."""
    name = "CACHES['default']"
    try:
        backend = type(caches[DEFAULT_CACHE_ALIAS])
        name = f"{backend.__module__}.{backend.__qualname__}"
        if issubclass(backend, (LocMemCache, DummyCache)):
            yield warning(
                f"{name} is not shared by the workers: each repeats the others' lookups (no webhook is lost by that)",
                'Use a server, and restart LMS and workers: CACHES = {"default": {"BACKEND": '
                '"django_redis.cache.RedisCache", "LOCATION": "redis://HOST:6379/1"}}',
            )
            return
        kept = within(CACHE_SECONDS, _round_trip)
    except Exception as err:  # Every backend raises its own, some when they are made.
        reason = f"no answer in {CACHE_SECONDS:g} s" if isinstance(err, NoAnswer) else type(err).__name__
        if isinstance(err, (ImportError, InvalidCacheBackendError)):
            yield problem(
                f"{name} cannot be imported ({err}): every lookup goes to Snowflake",
                "Install what is missing, or correct BACKEND in CACHES['default'], and restart LMS and workers",
            )
            return
        yield problem(
            f"{name} fails ({reason}): every lookup goes to Snowflake, and waits for the cache first",
            "Start the cache server, or correct CACHES['default'] (BACKEND, LOCATION); with django-redis set "
            "SOCKET_CONNECT_TIMEOUT and SOCKET_TIMEOUT to 1. What it says: redis-cli -u redis://HOST:6379/1 ping",
        )
        return
    if kept:
        yield ok(f"{name} keeps what it is given")
    else:
        yield problem(
            f"{name} forgets what it is given: every lookup goes to Snowflake",
            "Start the cache server that CACHES['default']['LOCATION'] names, and see what it says: redis-cli -u "
            "redis://HOST:6379/1 INFO memory (IGNORE_EXCEPTIONS of django-redis hides a server that is down)",
        )


def broker() -> Findings:
    """Whether wake-up calls get through, in the time that an LMS request gives them."""
    connection = wake_up.broker.open_connection()
    where = _address(connection)
    try:
        within(BROKER_SECONDS, _reach_broker, connection)
    except Exception as err:  # Each transport raises its own, and kombu another one over it.
        reason = f"no answer in {BROKER_SECONDS:g} s" if isinstance(err, NoAnswer) else _innermost(err)
        yield problem(
            f"{where} cannot be reached in {STEP_TIMEOUT:g} s a step ({reason}): webhooks wait for the sweep, "
            "and go out without learning time",
            "Start the broker, or correct BROKER_URL (an LMS makes it of CELERY_BROKER_HOSTNAME, CELERY_BROKER_USER, "
            "CELERY_BROKER_PASSWORD and the like in lms.yml) and restart LMS and workers; meanwhile ./manage.py lms "
            "send_due_webhooks sends what is due",
        )
    else:
        yield ok(f"{where} takes messages")


def enrichment_worker() -> Findings:
    """Whether somebody looks learning time up."""
    return _worker(ENRICHMENT_TASK, heartbeat.ENRICHMENT, "completions wait, then go out without learning time")


def delivery_worker() -> Findings:
    """Whether somebody sends."""
    return _worker(DELIVERY_TASK, heartbeat.DELIVERY, "webhooks wait for one, or for the sweep")


def _worker(task: str, beat: str, without: str) -> Findings:
    queue = queue_of(task)
    last = WebhookHeartbeat.objects.filter(pk=beat).first()
    ran = f"last run {ago(timezone.now() - last.beat_at)}" if last else "no run so far"
    # A name of its own: of two workers with one name, a command to one reaches both.
    start = f"celery -A lms.celery worker -Q {queue} -c 2 -n webhook-{beat}@%h"
    try:
        control, connection = wake_up.broker.app.control, wake_up.broker.open_connection()
        patience = REPLY_SECONDS + 2 * PATIENCE_SECONDS + BROKER_SECONDS
        consumers, ignorant = within(patience, _consumers, control, connection, queue, task)
    except Exception as err:  # Each transport raises its own.
        yield problem(
            f"the workers cannot be asked ({type(err).__name__}); {ran}",
            "See whether they answer from this host: celery -A lms.celery inspect ping",
        )
        return
    if not consumers:
        is_the_lms_own = queue == wake_up.broker.app.conf.task_default_queue
        who = "the LMS's own worker, which consumes that queue, or another" if is_the_lms_own else "one"
        yield problem(
            f"no worker that answers consumes {queue}: {without}; {ran}",
            f"Start {who}, or add the queue to the -Q of one that runs: {start}",
        )
    elif ignorant:
        yield problem(
            f"{_names(ignorant)} consumes {queue} but does not know the task, and throws its messages away: {without}; "
            f"{ran}",
            f"Install this package where that worker runs (the LMS's own image), and restart it: {start}",
        )
    else:
        yield ok(f"{_names(consumers)} consumes {queue}; {ran}")


def _round_trip() -> bool:
    key, value = f"channel_webhooks.doctor.{uuid.uuid4()}", uuid.uuid4().hex
    store = caches[DEFAULT_CACHE_ALIAS]
    store.set(key, value, 30)
    kept = store.get(key) == value
    store.delete(key)
    return kept


def _reach_broker(connection: Connection) -> None:
    with connection:
        connection.default_channel  # noqa: B018  (connects, and has the broker answer)


def _address(connection: Connection) -> str:
    """Of the broker, without user and password."""
    where = urlsplit(connection.as_uri())
    return f"{where.scheme}://{where.hostname or ''}{f':{where.port}' if where.port else ''}"


def _innermost(err: BaseException) -> str:
    while err.__cause__:
        err = err.__cause__
    return type(err).__name__


def _consumers(control: Control, connection: Connection, queue: str, task: str) -> tuple[set[str], set[str]]:
    """
    The workers that consume the queue, and those of them that do not know the task.

    By broadcast, which tells two workers of one name apart; ``control.inspect`` keeps the answer of one of them.
    """
    with connection:
        ask = partial(control.broadcast, reply=True, connection=connection)
        for seconds in (REPLY_SECONDS, PATIENCE_SECONDS):
            answers = _each(ask("active_queues", timeout=seconds))
            consuming = {worker for worker, queues in answers if queue in (each["name"] for each in queues)}
            if consuming:
                break
        else:
            return set(), set()
        asked = [worker for worker, _queues in answers if worker in consuming]
        known = _each(ask("registered", timeout=PATIENCE_SECONDS, destination=sorted(consuming), limit=len(asked)))
    knowing = {worker for worker, tasks in known if any(each.split(" ")[0] == task for each in tasks)}
    return consuming, {worker for worker, _tasks in known} - knowing


def _each(replies: list[dict[str, Any]] | None) -> list[tuple[str, list[Any]]]:
    """The name and the answer of each worker; none of those that answer with an error."""
    given = [(worker, answer) for reply in replies or () for worker, answer in reply.items()]
    return [(worker, answer) for worker, answer in given if isinstance(answer, list)]


def _names(workers: Iterable[str]) -> str:
    first, *others = sorted(workers)
    return f"{first} and {len(others)} more" if others else first
