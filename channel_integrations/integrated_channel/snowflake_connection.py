# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Connections to Snowflake: a pool for each process, opened when first needed and forgotten after a fork.

A login costs far more than a statement, so connections are kept. The connector itself is imported with the first
lookup only, or by a worker that will make some: it is large, and no LMS process that makes no lookups should pay for it
or break with it.
"""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import exc as pool_errors
from sqlalchemy.pool import QueuePool

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.exceptions import (
    SnowflakeNotConfigured,
    SnowflakeQueryFailed,
    SnowflakeUnreachable,
)
from channel_integrations.integrated_channel.routers import route_task
from channel_integrations.integrated_channel.settings.common import ENRICHMENT_TASK
from channel_integrations.integrated_channel.snowflake_sign_in import connect_arguments

QUERY_TAG = "channel_integrations.webhook_learning_time"
#: seconds after which a connection is replaced; a session left idle ends after four hours
RECYCLE_SECONDS = 3 * 3600
#: connections kept, and opened beyond that for a moment, in a process with threads; a prefork child uses one
POOL_SIZE, POOL_OVERFLOW = 2, 6
#: seconds between two tries of the same request, at most
MAX_BACKOFF_SECONDS = 2
#: the session or its token has expired, or the session is gone
EXPIRED_SESSION = frozenset({390104, 390110, 390111, 390112, 390113, 390114, 390115, 390195})
#: cancelled in the warehouse: by its timeout, or by somebody
STATEMENT_CANCELLED = frozenset({604, 630})

_pool: QueuePool | None = None
_query_tag = QUERY_TAG
_pool_lock = threading.Lock()


def fetch_all(statement: str, parameters: Sequence[Any]) -> Sequence[Sequence[Any]]:
    """
    The rows of a statement, with its parameters bound on the server.

    A connection that turns out to be dead or expired is dropped and the statement repeated once, on one opened for it.
    A loss that took as long as a login to show is a slow network: repeating would only double the wait.

    :raises SnowflakeNotConfigured: settings or connector package
    :raises SnowflakeUnreachable: login, network or timeout
    :raises SnowflakeQueryFailed: the statement was refused
    """
    started = time.monotonic()
    try:
        return _fetch_all(statement, parameters)
    except _ConnectionLost as lost:
        if time.monotonic() - started >= conf.snowflake_login_timeout():
            raise SnowflakeUnreachable("Snowflake did not answer in time") from lost.__cause__
    try:
        return _fetch_all(statement, parameters, unused=True)
    except _ConnectionLost as lost:
        raise SnowflakeUnreachable("Snowflake broke the connection twice") from lost.__cause__


def forget_pool() -> None:
    """Have the next lookup open connections anew, with the settings as they are then."""
    global _pool  # noqa: PLW0603  (one pool for each process)
    _pool = None


@contextmanager
def tagged(query_tag: str) -> Iterator[None]:
    """
    Within, statements of this process run on connections of their own that carry another QUERY_TAG.

    For what the warehouse's owner should tell apart from lookups, in a process that does nothing else meanwhile.
    """
    global _pool, _query_tag
    lookups, _pool, _query_tag = _pool, None, query_tag
    try:
        yield
    finally:
        if _pool:
            _pool.dispose()
        _pool, _query_tag = lookups, QUERY_TAG


def import_before_fork(sender: str, instance: Any, **kwargs: Any) -> None:
    """
    Celery's ``celeryd_after_setup``: in a worker that will look up, import the connector once for all its children.

    It takes most of a second, which each child would else spend with its first lookup, and again whenever
    ``--max-tasks-per-child`` replaces it. No connection is opened.
    """
    route = route_task(ENRICHMENT_TASK) or {}
    if conf.enrichment_enabled() and route.get("queue") in instance.app.amqp.queues.consume_from:
        with suppress(SnowflakeNotConfigured):  # said with the first lookup
            _connector()


def _leave_pool_to_parent() -> None:
    """
    After a fork the connections are the parent's: a child that wrote to one would garble the parent's session.

    The reference is kept, so that no connection is collected, and thereby closed, in the child. The lock is made anew
    because another thread of the parent may have held it.
    """
    global _pool_lock  # noqa: PLW0603  (as above)
    _pools_of_parents.append(_pool)
    _pool_lock = threading.Lock()
    forget_pool()


_pools_of_parents: list[QueuePool | None] = []
os.register_at_fork(after_in_child=_leave_pool_to_parent)


class _ConnectionLost(Exception):
    """A connection could not be used; a new one may. The cause is the connector's error."""


def _fetch_all(statement: str, parameters: Sequence[Any], *, unused: bool = False) -> Sequence[Sequence[Any]]:
    errors = _connector().errors
    with _connection(unused) as connection:
        try:
            cursor = connection.cursor()
            # In place of network_timeout: how long to wait and retry. The connector then asks for a cancellation, in a
            # thread of its own, for which closing the cursor would wait: one that fails goes with its connection.
            cursor.execute(statement, tuple(parameters), timeout=conf.snowflake_query_timeout())
            rows = cursor.fetchall()
            cursor.close()
            return rows
        except errors.ProgrammingError as err:
            if err.errno in EXPIRED_SESSION:
                connection.invalidate()
                raise _ConnectionLost from err
            if err.errno in STATEMENT_CANCELLED:
                raise SnowflakeUnreachable("The statement took longer than it is given") from err
            raise SnowflakeQueryFailed(f"Snowflake refused the statement (error {err.errno})") from err
        except errors.Error as err:
            connection.invalidate()
            raise _ConnectionLost from err
        except Exception as err:  # The connector lets errors of its HTTP, JSON and Arrow layers through.
            connection.invalidate()
            raise SnowflakeUnreachable(f"The answer cannot be read ({type(err).__name__})") from err
        except BaseException:  # Stopped in the middle: nobody knows what the connection still has to say.
            connection.invalidate()
            raise


@contextmanager
def _connection(unused: bool) -> Iterator[Any]:
    pool = _get_pool()
    try:
        connection = pool.connect()
        while unused and connection.info.get("used"):
            # What outdated one connection has most likely outdated those that were opened with it.
            connection.invalidate()
            connection = pool.connect()
    except pool_errors.TimeoutError as err:
        raise SnowflakeUnreachable("Every connection of this process is in use") from err
    connection.info["used"] = True
    try:
        yield connection
    finally:
        connection.close()  # back into the pool


def _get_pool() -> QueuePool:
    global _pool  # noqa: PLW0603  (as above)
    with _pool_lock:
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
        return _pool


def _connect() -> Any:
    connector = _connector()
    config = connect_arguments(conf.snowflake_config())
    try:
        connection = connector.connect(**_with_defaults(config))
        connection.telemetry_enabled = False  # else closing posts usage figures, over a network that may be down
        return connection
    except (connector.errors.ProgrammingError, FileNotFoundError, PermissionError) as err:
        raise SnowflakeNotConfigured(f"The connector does not take SNOWFLAKE_CONFIG ({type(err).__name__})") from err
    except (connector.errors.Error, OSError) as err:
        raise SnowflakeUnreachable(f"Snowflake did not let us in (error {getattr(err, 'errno', None)})") from err
    except Exception as err:  # The connector lets errors of its key, token and JSON libraries through.
        raise SnowflakeNotConfigured(f"The connector does not take SNOWFLAKE_CONFIG ({type(err).__name__})") from err


def _with_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """The connector's arguments: what the site has written goes first, except for the style of parameters."""
    login, query = conf.snowflake_login_timeout(), conf.snowflake_query_timeout()
    return {
        "login_timeout": login,
        "network_timeout": query,
        # Bounds each request of the login too; a longer one would hold a silent login up for as long.
        "socket_timeout": min(login, query),
        # Between two tries of a request: else up to 16 s, also after the last second in which one may be made.
        "backoff_policy": _connector().backoff_policies.exponential_backoff(cap=MAX_BACKOFF_SECONDS),
        # Closing then asks nothing of the server: a dead connection costs no wait, and a forked child that ends does
        # not end its parent's session. Snowflake drops idle sessions by itself.
        "server_session_keep_alive": True,
        # Else the first login asks the metadata services of three clouds where it runs, for statistics.
        "platform_detection_timeout_seconds": 0.0,
        **config,
        "paramstyle": "qmark",
        "session_parameters": {
            "QUERY_TAG": _query_tag,
            "STATEMENT_TIMEOUT_IN_SECONDS": query,
            **(config.get("session_parameters") or {}),
        },
    }


def _connector() -> Any:
    try:
        import snowflake.connector
    except Exception as err:  # A broken package fails in its own ways, and a webhook must not fail with it.
        raise SnowflakeNotConfigured(
            "snowflake-connector-python cannot be imported: type pip install 'snowflake-connector-python>=3.7,<5'"
        ) from err
    return snowflake.connector
