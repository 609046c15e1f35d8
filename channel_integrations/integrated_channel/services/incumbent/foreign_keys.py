# SPDX-License-Identifier: AGPL-3.0-or-later
"""The foreign keys of the incumbent's tables: with its app gone, nothing deletes the rows that they refer from."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from django.apps import apps
from django.db import Error, connections, transaction

from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.services.incumbent.tables import alias

lines = LogLines(__name__)

#: its apps, whose tables begin with these
LABELS = (
    "channel_integration",
    "blackboard_channel",
    "canvas_channel",
    "cornerstone_channel",
    "degreed2_channel",
    "moodle_channel",
    "sap_success_factors_channel",
    "xapi_channel",
)
#: by database, how one is dropped, and how long that may wait for, and hold up, whoever uses the tables
_DROP = {"mysql": "ALTER TABLE {} DROP FOREIGN KEY {}", "postgresql": "ALTER TABLE {} DROP CONSTRAINT {}"}
_WAIT = {"mysql": "SET SESSION lock_wait_timeout = {}", "postgresql": "SET lock_timeout = '{}s'"}
_WAIT_NO_MORE = {"mysql": "SET SESSION lock_wait_timeout = DEFAULT", "postgresql": "RESET lock_timeout"}
WAIT_SECONDS = 5


class ForeignKey(NamedTuple):
    """One constraint, and the table that it refers to."""

    table: str
    name: str
    column: str
    refers_to: str


def installed() -> list[str]:
    """Those of the incumbent's apps that are installed: their tables are in use."""
    return [label for label in LABELS if label in apps.app_configs]


def can_drop() -> bool:
    """Whether this database can drop a constraint; SQLite would have to make the table anew."""
    return connections[alias()].vendor in _DROP


def is_theirs(table: str) -> bool:
    """Whether a table is one of the incumbent's, by its name."""
    return table.startswith(tuple(f"{label}_" for label in LABELS))


def foreign_keys() -> list[ForeignKey]:
    """Those from the incumbent's tables to others; between its own they harm nobody."""
    connection = connections[alias()]
    ours = set(connection.introspection.django_table_names())
    with connection.cursor() as cursor:
        tables = sorted(set(connection.introspection.table_names(cursor)) - ours)
        return [
            ForeignKey(table, name, constraint["columns"][0], constraint["foreign_key"][0])
            for table in filter(is_theirs, tables)
            for name, constraint in sorted(connection.introspection.get_constraints(cursor, table).items())
            if constraint["foreign_key"] and not is_theirs(constraint["foreign_key"][0])
        ]


def drop(keys: list[ForeignKey]) -> list[ForeignKey]:
    """
    Drop them, one at a time; returns those that could not be, since the table was in use for longer than may be waited.

    Whoever drops one holds up everybody who uses the table that it refers to, while waiting too: hence the short wait.
    """
    connection = connections[alias()]
    quote, left = connection.ops.quote_name, []
    with _short_waits(connection), connection.cursor() as cursor:
        for key in keys:
            try:
                with transaction.atomic(using=connection.alias):
                    cursor.execute(_DROP[connection.vendor].format(quote(key.table), quote(key.name)))
            except Error as err:
                lines.failure("webhook_import", err, table=key.table)
                left.append(key)
            else:
                lines.info("webhook_import", "foreign_key_dropped", table=key.table, foreign_key=key.name)
    return left


@contextmanager
def _short_waits(connection) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(_WAIT[connection.vendor].format(WAIT_SECONDS))
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(_WAIT_NO_MORE[connection.vendor])
