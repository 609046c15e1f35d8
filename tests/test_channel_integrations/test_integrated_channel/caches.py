# SPDX-License-Identifier: AGPL-3.0-or-later
"""A cache that behaves as one whose server is down."""

from django.core.cache.backends.base import BaseCache


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
