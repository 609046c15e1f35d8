# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Connections to Snowflake: a pool for each process, opened when first needed and forgotten after a fork.

A login costs far more than a statement, so connections are kept. The connector itself is imported with the first
lookup only: it is large, and no LMS process that makes no lookups should pay for it or break with it.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import exc as pool_errors
from sqlalchemy.pool import QueuePool

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.exceptions import (
    LearningTimeUnavailable,
    SnowflakeNotConfigured,
    SnowflakeQueryFailed,
    SnowflakeUnreachable,
)
from channel_integrations.integrated_channel.snowflake_sign_in import connect_arguments

QUERY_TAG = "channel_integrations.webhook_learning_time"
#: seconds after which a connection is replaced; a session left idle ends after four hours
RECYCLE_SECONDS = 3 * 3600
#: connections kept, and opened beyond that for a moment, in a process with threads; a prefork child uses one
POOL_SIZE, POOL_OVERFLOW = 2, 6
#: the session or its token has expired, or the session is gone
EXPIRED_SESSION = frozenset({390104, 390110, 390111, 390112, 390113, 390114, 390115, 390195})

_pool: QueuePool | None = None


def fetch_one(statement: str, parameters: Sequence[Any]) -> Sequence[Any]:
    """
    The first row of a statement, with its parameters bound on the server.

    A connection that turns out to be dead or expired is replaced and the statement repeated, once.

    :raises SnowflakeNotConfigured: settings or connector package
    :raises SnowflakeUnreachable: login, network or timeout
    :raises SnowflakeQueryFailed: the statement was refused
    """
    try:
        return _fetch_one(statement, parameters)
    except _ConnectionLost:
        try:
            return _fetch_one(statement, parameters)
        except _ConnectionLost as err:
            raise SnowflakeUnreachable("Snowflake broke the connection twice") from err


def forget_pool() -> None:
    """Have the next lookup open connections anew, with the settings as they are then."""
    global _pool  # noqa: PLW0603  (one pool for each process)
    _pool = None


def _leave_pool_to_parent() -> None:
    """
    After a fork the connections are the parent's: a child that used one, or closed it, would end the parent's session.

    The reference is kept, since the connector logs out when a connection is collected.
    """
    _pools_of_parents.append(_pool)
    forget_pool()


_pools_of_parents: list[QueuePool | None] = []
os.register_at_fork(after_in_child=_leave_pool_to_parent)


class _ConnectionLost(Exception):
    """A pooled connection could not be used; a fresh one may."""


def _fetch_one(statement: str, parameters: Sequence[Any]) -> Sequence[Any]:
    errors = _connector().errors
    with _connection() as connection:
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, tuple(parameters), timeout=conf.snowflake_query_timeout())
                return cursor.fetchone()
        except errors.Error as err:
            reused = connection.info.setdefault("used", False)
            if isinstance(err, errors.ProgrammingError) and err.errno not in EXPIRED_SESSION:
                if err.errno in (604, 630):  # cancelled by our timeout, or by the warehouse's
                    raise SnowflakeUnreachable("The statement took longer than it is given") from err
                raise SnowflakeQueryFailed(f"Snowflake refused the statement (error {err.errno})") from err
            connection.invalidate()
            if reused:
                raise _ConnectionLost from err
            raise SnowflakeUnreachable(f"Snowflake cannot be reached ({type(err).__name__})") from err
        finally:
            if connection.is_valid:
                connection.info["used"] = True


@contextmanager
def _connection() -> Iterator[Any]:
    global _pool  # noqa: PLW0603  (one pool for each process)
    if _pool is None:
        _pool = QueuePool(
            _connect,
            pool_size=POOL_SIZE,
            max_overflow=POOL_OVERFLOW,
            timeout=conf.snowflake_login_timeout(),
            recycle=RECYCLE_SECONDS,
            reset_on_return=None,
            use_lifo=True,
        )
    try:
        connection = _pool.connect()
    except pool_errors.TimeoutError as err:
        raise SnowflakeUnreachable("Every connection of this process is in use") from err
    try:
        yield connection
    finally:
        connection.close()  # back into the pool


def _connect() -> Any:
    connector = _connector()
    arguments = connect_arguments(conf.snowflake_config())
    query_timeout = conf.snowflake_query_timeout()
    session = {
        "QUERY_TAG": QUERY_TAG,
        "STATEMENT_TIMEOUT_IN_SECONDS": query_timeout,
        **(arguments.pop("session_parameters", None) or {}),
    }
    defaults = {
        "login_timeout": conf.snowflake_login_timeout(),
        "network_timeout": query_timeout,
        "socket_timeout": query_timeout,
    }
    try:
        return connector.connect(**{**defaults, **arguments, "paramstyle": "qmark", "session_parameters": session})
    except connector.errors.Error as err:
        raise SnowflakeUnreachable(f"Snowflake did not let us in (error {err.errno})") from err
    except LearningTimeUnavailable:
        raise
    except Exception as err:  # The connector lets errors of its TLS, JSON and key libraries through.
        raise SnowflakeNotConfigured(f"The connector does not take SNOWFLAKE_CONFIG ({type(err).__name__})") from err


def _connector() -> Any:
    try:
        import snowflake.connector
    except Exception as err:  # A broken package fails in its own ways, and a webhook must not fail with it.
        raise SnowflakeNotConfigured(
            "snowflake-connector-python cannot be imported: type pip install 'snowflake-connector-python>=3.7,<5'"
        ) from err
    return snowflake.connector
