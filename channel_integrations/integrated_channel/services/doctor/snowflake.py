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
from channel_integrations.integrated_channel.snowflake_client import AHEAD
from channel_integrations.integrated_channel.snowflake_connection import fetch_all

SIGN_IN_SECONDS = 15.0
STATEMENT_SECONDS = 10.0
#: the rollup is a daily one
STALE_AFTER = timedelta(days=2)
#: what a lookup asks for
LOOKED_UP = ("user", "course", "customer", "seconds", "date")
#: Snowflake's numbers for a sign-in that it refuses, and for a session without a warehouse
REFUSED = range(390_000, 400_000)
KEY_REFUSED, NAME_REFUSED = 390_144, 390_201
NO_WAREHOUSE = 606


def sign_in() -> Findings:
    """Whether Snowflake lets us in."""
    started = time.monotonic()
    try:
        _ask(SIGN_IN_SECONDS, "SELECT 1")
    except SnowflakeNotConfigured as err:
        yield problem(
            f"{err}: webhooks go out without learning time",
            "Do what this line says, and restart the workers. A complete SNOWFLAKE_CONFIG is under 'Before' in "
            "webhook_learning_time_feature_flag.md; where the connector cannot be imported, see first what it lacks: "
            "python -c 'import snowflake.connector'",
        )
    except (LearningTimeUnavailable, NoAnswer) as err:
        yield problem(f"{err}: webhooks go out without learning time", _sign_in_advice(_number(err)))
    else:
        yield ok(f"signed in and answered in {time.monotonic() - started:.1f} s")


def table() -> Findings:
    """Whether a lookup may read what it reads."""
    columns, name = conf.learning_time_columns(), conf.learning_time_table()
    asked = ", ".join(columns[key] for key in LOOKED_UP if columns[key])
    try:
        _ask(STATEMENT_SECONDS, f"SELECT {asked} FROM {name} WHERE 1 = 0")  # noqa: S608  (validated identifiers)
    except SnowflakeQueryFailed as err:
        no_warehouse = _number(err) == NO_WAREHOUSE
        yield problem(
            f"{err}: {asked} of {name} cannot be read, and webhooks go out without learning time",
            f"Let the role use the warehouse: {_grant_warehouse()}" if no_warehouse else _table_advice(),
        )
    except (LearningTimeUnavailable, NoAnswer) as err:
        yield problem(f"{name}: {err}", _warehouse_advice())
    else:
        yield ok(f"{name} has the columns that lookups ask for")


def freshness() -> Findings:
    """How old the rollup's latest day is."""
    column, name = conf.learning_time_columns()["date"], conf.learning_time_table()
    if column is None:
        yield warning(
            f"{name} has no days: how fresh it is cannot be said, and learning time is never final",
            "Ask the rollup's owners for a row for each day, and name its column: "
            'CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS = {"date": "THE_COLUMN"}',
        )
        return
    statement = f"SELECT MAX({column}) FROM {name}"  # noqa: S608  (as above)
    try:
        row = _ask(STATEMENT_SECONDS, statement)
    except (LearningTimeUnavailable, NoAnswer) as err:
        yield warning(f"{name}: {err}", _warehouse_advice())
        return
    latest = _day(row[0] if row else None)
    if latest is None:
        yield warning(
            f"{name} is empty, or {column} is no date: webhooks go out without learning time",
            f"See which, in Snowflake: {_latest_day(column)} -- nothing: have the rollup's owners load it, or name the "
            "right one in CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE; no date: name the right column, "
            'CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS = {"date": "THE_COLUMN"}',
        )
    elif timezone.now().date() - latest > STALE_AFTER:
        yield warning(
            f"the latest day in {name} is {latest}: learning time of the days since is missing from webhooks",
            f"Ask the rollup's owners why its daily load has stopped; what they see, in Snowflake: "
            f"{_latest_day(column)}",
        )
    elif latest > timezone.now().date() + AHEAD:
        yield warning(
            f"the latest day in {name} is {latest}, which is yet to come: how far it reaches cannot be told, and no "
            "learning time is final",
            "Have the rollup's owners correct these rows, in Snowflake: SELECT * FROM "  # noqa: S608  (to be typed)
            f"{_full_name()} WHERE {column} > CURRENT_DATE + {AHEAD.days};",
        )
    else:
        yield ok(f"the latest day in {name} is {latest}")


def _ask(seconds: float, statement: str) -> Sequence[Any] | None:
    rows = within(seconds, fetch_all, statement, ())
    return rows[0] if rows else None


def _latest_day(column: str) -> str:
    """To be typed by a person."""
    return f"SELECT MAX({column}) FROM {_full_name()};"  # noqa: S608  (as above)


def _day(found: Any) -> date | None:
    if isinstance(found, datetime):
        return found.date()
    return found if isinstance(found, date) else None


def _number(err: Exception) -> int | None:
    """Snowflake's own number of the error, or the connector's."""
    return getattr(err.__cause__, "errno", None)


def _sign_in_advice(number: int | None) -> str:
    if number not in REFUSED:
        return (
            f"See whether the network lets this host through: curl -sSI {_address()} -- no such host, or 404: "
            "correct 'account' (or 'host') in SNOWFLAKE_CONFIG; no answer: have the firewall opened; else see https://status.snowflake.com"
        )
    user = conf.snowflake_config().get("user")
    hints = {
        KEY_REFUSED: "It does not know the key (or this host's clock is wrong), in Snowflake: ALTER USER "
        f"{user} SET RSA_PUBLIC_KEY = '...';",
        NAME_REFUSED: "It does not know what SNOWFLAKE_CONFIG names, or the role may not use it, in Snowflake: "
        f"{_grant_warehouse()}",
    }
    hint = hints.get(number or 0, "It answers, and refuses: user, password, role, or its network policy.")
    history = f"{conf.snowflake_config().get('database')}.INFORMATION_SCHEMA.LOGIN_HISTORY_BY_USER"
    reason = f"SELECT * FROM TABLE({history}(USER_NAME => '{user}', RESULT_LIMIT => 5));"  # noqa: S608  (to be typed)
    return f"{hint} Its reason, in Snowflake: {reason} -- then correct SNOWFLAKE_CONFIG, and restart the workers"


def _table_advice() -> str:
    table, role = _full_name(), _role()
    schema = table.rpartition(".")[0]
    return (
        f"See what the role sees, in Snowflake: USE ROLE {role}; DESCRIBE TABLE {table}; -- names that differ go into "
        "CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE and CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS, those of database and schema "
        "into SNOWFLAKE_CONFIG; if it sees nothing: "
        f"GRANT USAGE ON DATABASE {schema.partition('.')[0]} TO ROLE {role}; GRANT USAGE ON SCHEMA {schema} TO ROLE "
        f"{role}; GRANT SELECT ON TABLE {table} TO ROLE {role};"
    )


def _full_name() -> str:
    """Database, schema and table, as a person in another session must type them."""
    config, named = conf.snowflake_config(), conf.learning_time_table().split(".")
    return ".".join([*[str(config.get("database")), str(config.get("schema"))][: 3 - len(named)], *named])


def _grant_warehouse() -> str:
    return f"GRANT USAGE ON WAREHOUSE {conf.snowflake_config().get('warehouse')} TO ROLE {_role()};"


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
