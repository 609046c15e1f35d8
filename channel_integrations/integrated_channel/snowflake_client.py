# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long a learner spent learning in a course run, from Snowflake through the cache."""

import hashlib
import json
import logging
import time
from decimal import Decimal
from typing import Any

from django.core.cache import cache

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.exceptions import InvalidLearningTime, LearningTimeUnavailable
from channel_integrations.integrated_channel.snowflake_connection import fetch_one

logger = logging.getLogger(__name__)

#: a longer sum is a fault of the rollup: ten years
MAX_SECONDS = 10 * 366 * 24 * 3600


class SnowflakeLearningTimeClient:
    """
    Looks learning time up.

    Zero, no row and an error are three things: ``0``, ``None`` and an exception. The first two are cached, under keys
    that memcached takes; an error never is. A cache that fails is passed by.
    """

    def get_learning_time(self, user_id: int, course_id: str, enterprise_customer_uuid: str) -> int | None:
        """
        The seconds that the learner spent in the course run for the customer; None where there is no number.

        :raises LearningTimeUnavailable: one of its subclasses, with the cause
        """
        key = _cache_key(user_id, course_id, enterprise_customer_uuid)
        cached = _cached(key)
        if cached is not None:
            return cached["seconds"]
        seconds = _look_up(user_id, course_id, enterprise_customer_uuid)
        _keep(key, {"seconds": seconds})
        return seconds


def _look_up(user_id: int, course_id: str, enterprise_customer_uuid: str) -> int | None:
    started, status = time.monotonic(), "ok"
    columns = conf.learning_time_columns()
    try:
        row = fetch_one(
            # Names cannot be bound; these are validated identifiers. Values are bound on the server.
            f"SELECT SUM({columns['seconds']}) FROM {conf.learning_time_table()} "  # noqa: S608
            f"WHERE {columns['user']} = ? AND {columns['course']} = ? AND {columns['customer']} = ?",
            (user_id, course_id, str(enterprise_customer_uuid)),
        )
        return _whole_seconds(row[0]) if row else None
    except LearningTimeUnavailable as err:
        status = err.code
        raise
    finally:
        duration_ms = round((time.monotonic() - started) * 1000, 1)
        logger.info(
            "source=snowflake_client status=%s duration_ms=%s",
            status,
            duration_ms,
            extra={"source": "snowflake_client", "status": status, "duration_ms": duration_ms},
        )


def _whole_seconds(total: Any) -> int | None:
    """
    A SUM as whole seconds; None stays None.

    :raises InvalidLearningTime: negative, absurdly large or not a number
    """
    if total is None:
        return None
    is_nan = total != total  # noqa: PLR0124  (nothing else differs from itself, be it a float or a Decimal)
    if is_nan or isinstance(total, bool) or not isinstance(total, int | float | Decimal):
        raise InvalidLearningTime("the sum is not a number")
    if not 0 <= total <= MAX_SECONDS:
        raise InvalidLearningTime("the sum is negative or absurdly large")
    return int(total)


def _cache_key(user_id: int, course_id: str, enterprise_customer_uuid: str) -> str:
    facts = json.dumps([user_id, course_id, str(enterprise_customer_uuid)])  # ASCII, whatever a course is called
    return f"channel_webhooks.learning_time.1.{hashlib.sha256(facts.encode()).hexdigest()}"


def _cached(key: str) -> dict[str, Any] | None:
    if not conf.learning_time_cache_seconds():
        return None
    try:
        found = cache.get(key)
        if not (isinstance(found, dict) and "seconds" in found):
            found = None
        status = "miss" if found is None else "hit"
    except Exception as err:  # Every backend raises its own; without a cache Snowflake is asked.
        found, status = None, "error"
        logger.warning("source=django_cache operation=get error=%s", type(err).__name__)
    logger.info(
        "source=django_cache operation=get status=%s",
        status,
        extra={"source": "django_cache", "operation": "get", "status": status},
    )
    return found


def _keep(key: str, value: dict[str, Any]) -> None:
    seconds = conf.learning_time_cache_seconds()
    if not seconds:
        return
    try:
        cache.set(key, value, seconds)
    except Exception as err:  # As above: the answer is there, and goes out.
        logger.warning("source=django_cache operation=set error=%s", type(err).__name__)
