# SPDX-License-Identifier: AGPL-3.0-or-later
"""Snowflake: sign-in, the rollup's columns, and how fresh it is. The statements go the way that lookups go."""

import time
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from django.utils import timezone

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.exceptions import (
    LearningTimeUnavailable,
    SnowflakeNotConfigured,
    SnowflakeQueryFailed,
)
from channel_integrations.integrated_channel.services.doctor.findings import Findings, ok, problem, warning
from channel_integrations.integrated_channel.services.doctor.time_limit import NoAnswer, within
from channel_integrations.integrated_channel.snowflake_connection import fetch_all

SIGN_IN_SECONDS = 15.0
STATEMENT_SECONDS = 10.0
#: the rollup is a daily one
STALE_AFTER = timedelta(days=2)
#: what a lookup asks for
LOOKED_UP = ("user", "course", "customer", "seconds")


def sign_in() -> Findings:
    """Whether Snowflake lets us in."""
    started = time.monotonic()
    try:
        _ask(SIGN_IN_SECONDS, "SELECT 1")
    except SnowflakeNotConfigured as err:
        yield problem(
            f"{err}: webhooks go out without learning time",
            "Correct SNOWFLAKE_CONFIG ('Before' in webhook_learning_time_feature_flag.md has a complete one), restart "
            "the workers, and try python -c 'import snowflake.connector'",
        )
    except (LearningTimeUnavailable, NoAnswer) as err:
        yield problem(
            f"{err}: webhooks go out without learning time",
            f"See whether the network lets this host through: curl -sSI {_address()} -- if that answers, it is the "
            "account, the user, its key or its network policy: SNOWFLAKE_CONFIG",
        )
    else:
        yield ok(f"signed in and answered in {time.monotonic() - started:.1f} s")


def table() -> Findings:
    """Whether a lookup may read what it reads."""
    columns, name = conf.learning_time_columns(), conf.learning_time_table()
    asked = ", ".join(columns[key] for key in LOOKED_UP)
    try:
        _ask(STATEMENT_SECONDS, f"SELECT {asked} FROM {name} WHERE 1 = 0")  # noqa: S608  (validated identifiers)
    except SnowflakeQueryFailed as err:
        yield problem(
            f"{err}: {asked} of {name} cannot be read, and webhooks go out without learning time",
            "Correct CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE and CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS, or let the role "
            f"read it, in Snowflake: GRANT SELECT ON TABLE {name} TO ROLE {_role()};",
        )
    except (LearningTimeUnavailable, NoAnswer) as err:
        yield problem(f"{name}: {err}", _warehouse_advice())
    else:
        yield ok(f"{name} has the columns that lookups ask for")


def freshness() -> Findings:
    """How old the rollup's latest day is."""
    column, name = conf.learning_time_columns()["date"], conf.learning_time_table()
    statement = f"SELECT MAX({column}) FROM {name}"  # noqa: S608  (as above)
    try:
        row = _ask(STATEMENT_SECONDS, statement)
    except SnowflakeQueryFailed:
        yield warning(
            f"{name} has no column {column} that can be read: how fresh it is cannot be said (lookups do without it)",
            f'Name the date column: CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS = {{"date": "{column}"}}',
        )
        return
    except (LearningTimeUnavailable, NoAnswer) as err:
        yield warning(f"{name}: {err}", _warehouse_advice())
        return
    latest = _day(row[0] if row else None)
    if latest is None:
        yield warning(
            f"{name} is empty, or {column} is no date: webhooks go out without learning time",
            "Ask the rollup's owners to load it, and point CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE at the right table.",
        )
    elif timezone.now().date() - latest > STALE_AFTER:
        yield warning(
            f"the latest day in {name} is {latest}: learning time of the days since is missing from webhooks",
            f"Ask the rollup's owners why its daily load has stopped; what they see, in Snowflake: {statement};",
        )
    else:
        yield ok(f"the latest day in {name} is {latest}")


def _ask(seconds: float, statement: str) -> Sequence[Any] | None:
    rows = within(seconds, fetch_all, statement, ())
    return rows[0] if rows else None


def _day(found: Any) -> date | None:
    if isinstance(found, datetime):
        return found.date()
    return found if isinstance(found, date) else None


def _address() -> str:
    config = conf.snowflake_config()
    host = config.get("host") or f"{config.get('account')}.snowflakecomputing.com"
    port = config.get("port")
    return f"{config.get('protocol') or 'https'}://{host}{f':{port}' if port else ''}/"


def _role() -> str:
    return str(conf.snowflake_config().get("role"))


def _warehouse_advice() -> str:
    warehouse = conf.snowflake_config().get("warehouse")
    return (
        f"See whether the warehouse runs and how long its queue is, in Snowflake: SHOW WAREHOUSES LIKE '{warehouse}';"
    )
