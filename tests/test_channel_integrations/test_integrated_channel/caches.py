# SPDX-License-Identifier: AGPL-3.0-or-later
"""Caches that behave as one whose server is down; and one that works, and tells before it is asked."""

from collections.abc import Callable

from django.core.cache.backends.base import BaseCache
from django_redis.cache import RedisCache


class SaysNo(BaseCache):
    """As python clients of memcached do that ignore errors: nothing is ever added, and nothing is found."""

    def __init__(self, *args, **kwargs):
        super().__init__({})

    def add(self, *args, **kwargs):
        return False

    def get(self, key, default=None, version=None):
        return default

    def set(self, *args, **kwargs):
        return None

    def delete(self, *args, **kwargs):
        return False

    def clear(self):
        return None


class QuotesItsKeys(SaysNo):
    """As backends do that name in their errors what they were asked for, and a little more."""

    def get_many(self, keys, version=None):
        raise ValueError(f"no connection for {keys}, asked by maria@private.example")

    set_many = get_many


class Tapped(RedisCache):
    """A real Redis; ``before`` is called before each of those commands that marks are made of."""

    before: Callable[[], None] | None = None

    def get(self, *args, **kwargs):
        return self._after_tap(super().get, *args, **kwargs)

    def add(self, *args, **kwargs):
        return self._after_tap(super().add, *args, **kwargs)

    def delete(self, *args, **kwargs):
        return self._after_tap(super().delete, *args, **kwargs)

    def delete_many(self, *args, **kwargs):
        return self._after_tap(super().delete_many, *args, **kwargs)

    def _after_tap(self, command, *args, **kwargs):
        if Tapped.before:
            Tapped.before()
        return command(*args, **kwargs)
