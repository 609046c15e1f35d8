# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the processes share: the cache, the broker, and the workers behind it."""

import uuid
from collections.abc import Iterable
from functools import partial
from urllib.parse import urlsplit

from celery.app.control import Control
from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.utils import timezone
from kombu import Connection

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.models import WebhookHeartbeat
from channel_integrations.integrated_channel.services import heartbeat
from channel_integrations.integrated_channel.services.doctor.findings import Findings, ok, problem, warning
from channel_integrations.integrated_channel.services.doctor.installation import queue_of
from channel_integrations.integrated_channel.services.doctor.moments import ago
from channel_integrations.integrated_channel.services.doctor.time_limit import NoAnswer, within
from channel_integrations.integrated_channel.settings.common import DELIVERY_TASK, ENRICHMENT_TASK

CACHE_SECONDS = 5.0
BROKER_SECONDS = 5.0
#: how long workers are waited for; an idle one takes some milliseconds
REPLY_SECONDS = 2.0


def cache() -> Findings:
    """Whether what one worker has looked up is there for the others."""
    backend = type(caches[DEFAULT_CACHE_ALIAS])
    name = f"{backend.__module__}.{backend.__qualname__}"
    if issubclass(backend, (LocMemCache, DummyCache)):
        yield warning(
            f"{name} is not shared by the workers: each repeats the others' lookups (no webhook is lost by that)",
            'Use a server: CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", '
            '"LOCATION": "redis://HOST:6379/1"}}',
        )
        return
    try:
        kept = within(CACHE_SECONDS, _round_trip)
    except Exception as err:  # Every backend raises its own.
        reason = f"no answer in {CACHE_SECONDS:g} s" if isinstance(err, NoAnswer) else type(err).__name__
        yield problem(
            f"{name} fails ({reason}): every lookup goes to Snowflake, and waits for the cache first",
            "Start the cache server, or correct CACHES['default']['LOCATION']; with django-redis set "
            "SOCKET_CONNECT_TIMEOUT and SOCKET_TIMEOUT to 1.",
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
    try:
        where = within(BROKER_SECONDS, _reach_broker, wake_up.broker.open_connection())
    except Exception as err:  # Each transport raises its own.
        reason = f"no answer in {BROKER_SECONDS:g} s" if isinstance(err, NoAnswer) else type(err).__name__
        yield problem(
            f"the broker cannot be reached in {wake_up.STEP_TIMEOUT:g} s a step ({reason}): webhooks wait for the "
            "sweep, and go out without learning time",
            "Start the broker, or correct its address in BROKER_URL; meanwhile ./manage.py lms send_due_webhooks sends "
            "what is due",
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
    start = f"celery -A lms.celery worker -Q {queue} -c 2 -n webhooks@%h"
    try:
        control, connection = wake_up.broker.app.control, wake_up.broker.open_connection()
        consumers, knowing = within(2 * REPLY_SECONDS + BROKER_SECONDS, _consumers, control, connection, queue, task)
    except Exception as err:  # Each transport raises its own.
        yield problem(
            f"the workers cannot be asked ({type(err).__name__}); {ran}",
            "See whether they answer from this host: celery -A lms.celery inspect ping",
        )
        return
    if not consumers:
        yield problem(
            f"no worker that answers consumes {queue}: {without}; {ran}",
            f"Start one, or add the queue to the -Q of one that runs: {start}",
        )
    elif set(consumers) - set(knowing):
        yield problem(
            f"{_names(set(consumers) - set(knowing))} consumes {queue} but does not know the task, and throws its "
            f"messages away: {without}; {ran}",
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


def _reach_broker(connection: Connection) -> str:
    with connection:
        connection.default_channel  # noqa: B018  (connects, and has the broker answer)
        where = urlsplit(connection.as_uri())
        return f"{where.scheme}://{where.hostname or ''}{f':{where.port}' if where.port else ''}"


def _consumers(control: Control, connection: Connection, queue: str, task: str) -> tuple[list[str], list[str]]:
    """The workers that consume the queue, and those that know the task."""
    with connection:
        ask = partial(control.inspect, timeout=REPLY_SECONDS, connection=connection)
        consuming = [
            worker
            for worker, queues in (ask().active_queues() or {}).items()
            if queue in (each["name"] for each in queues)
        ]
        known = (ask(destination=consuming, limit=len(consuming)).registered() or {}) if consuming else {}
    return consuming, [worker for worker, tasks in known.items() if any(each.split(" ")[0] == task for each in tasks)]


def _names(workers: Iterable[str]) -> str:
    first, *others = sorted(workers)
    return f"{first} and {len(others)} more" if others else first
