# SPDX-License-Identifier: AGPL-3.0-or-later
"""Celery tasks that do next to nothing: what the broker and the worker cost by themselves."""

import time

import redis
from celery import shared_task
from django.conf import settings


@shared_task(ignore_result=True)
def noop() -> None:
    """Nothing."""


@shared_task(ignore_result=True)
def stamp(key: str) -> None:
    """Write down when this ran: the Unix time, at the end of a Redis list."""
    moment = time.time()
    with redis.Redis.from_url(settings.BROKER_URL) as client:
        client.rpush(key, repr(moment))
