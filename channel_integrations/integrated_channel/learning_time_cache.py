# SPDX-License-Identifier: AGPL-3.0-or-later
"""
What Snowflake has answered, kept in Django's default cache, and whose turn it is to ask.

A cache that fails is passed by: every backend raises errors of its own.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any, NamedTuple

from django.core.cache import cache

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.log_lines import LogLines, chain_of

lines = LogLines(__name__)

#: seconds between two looks for the answer that somebody else is waiting for
POLL_SECONDS = 0.02


class LearningTimeKey(NamedTuple):
    """Whose time in which course run, sponsored by whom; ``through`` is the last day that counts, None for all days."""

    user_id: int
    course_id: str
    enterprise_customer_uuid: str
    through: date | None = None


class KnownTime(NamedTuple):
    """
    An answer: the seconds, None where there is no number, and the last day that the rollup had then.

    ``as_of`` is None of a rollup without days, or with no row.
    """

    seconds: int | None
    as_of: date | None = None


@contextmanager
def one_at_a_time(key: LearningTimeKey) -> Iterator[bool]:
    """
    Wait while somebody else asks for the same, in whatever process; True where the answer may now be in the cache.

    Without a cache, or with one that fails, everybody asks. An asker that fails leaves the next one to ask.
    """
    turn = f"{cache_key(key)}.asking"
    longest = conf.snowflake_login_timeout() + conf.snowflake_query_timeout()
    deadline = time.monotonic() + longest
    mine = waited = False
    try:
        while conf.learning_time_cache_seconds() and time.monotonic() < deadline:
            mine = cache.add(turn, 1, longest)
            if mine:
                break
            waited = True
            if cache.get(turn) is None:  # over in this very moment, or the cache is down and says no to everything
                break
            time.sleep(POLL_SECONDS)
    except Exception as err:  # Every backend raises its own; without a cache Snowflake is asked.
        lines.warning("django_cache", "error", operation="add", error=chain_of(err))
    try:
        yield waited
    finally:
        if mine:
            _give_turn_back(turn)


def _give_turn_back(turn: str) -> None:
    try:
        cache.delete(turn)
    except Exception as err:  # As above; it ends by itself.
        lines.warning("django_cache", "error", operation="delete", error=chain_of(err))


def cache_key(key: LearningTimeKey) -> str:
    """Its name in the cache, one that memcached takes; the number in it changes with the shape of what is kept."""
    facts = json.dumps(list(key), default=date.isoformat)
    return f"channel_webhooks.learning_time.2.{hashlib.sha256(facts.encode()).hexdigest()}"


def cached(keys: Sequence[LearningTimeKey]) -> dict[LearningTimeKey, KnownTime]:
    """What the cache knows, asked for all at once."""
    if not keys or not conf.learning_time_cache_seconds():
        return {}
    names = {cache_key(key): key for key in keys}
    try:
        entries = cache.get_many(list(names))
        found = {
            names[name]: KnownTime(entry["seconds"], entry["as_of"])
            for name, entry in entries.items()
            if _is_entry(entry)
        }
        counts = {"hit": len(found), "miss": len(keys) - len(found)}
    except Exception as err:  # Every backend raises its own; without a cache Snowflake is asked.
        lines.warning("django_cache", "error", operation="get", count=len(keys), error=chain_of(err))
        return {}
    for status, count in counts.items():
        if count:
            lines.info("django_cache", status, operation="get", count=count)
    return found


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and {"seconds", "as_of"} <= set(entry)


def keep(found: Mapping[LearningTimeKey, KnownTime]) -> None:
    """Let the cache know answers, for ``conf.learning_time_cache_seconds()``."""
    seconds = conf.learning_time_cache_seconds()
    if not found or not seconds:
        return
    try:
        cache.set_many({cache_key(key): known._asdict() for key, known in found.items()}, seconds)
    except Exception as err:  # As above: the answers are there, and go out.
        lines.warning("django_cache", "error", operation="set", count=len(found), error=chain_of(err))
