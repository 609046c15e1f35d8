# SPDX-License-Identifier: AGPL-3.0-or-later
"""A server that speaks Snowflake's protocol, with the rollup in it."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import snowflake.connector

from tests.servers import Daemon, free_port, wait_for_port

TABLE = "PROD.BUSINESS_INTELLIGENCE.LEARNING_TIME"


class SnowflakeServer(Daemon):
    """fakesnow as a process of its own: the wire is Snowflake's, the engine behind it DuckDB."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        super().__init__(
            [str(Path(sys.executable).with_name("fakesnow")), "-s", "-p", str(self.port)], folder / "snowflake.log"
        )

    def start(self) -> "SnowflakeServer":
        super().start()
        wait_for_port(self.port, self.process)
        self.connection = snowflake.connector.connect(**self.config(), paramstyle="qmark")
        self.execute("CREATE DATABASE IF NOT EXISTS PROD")
        self.execute("CREATE SCHEMA IF NOT EXISTS PROD.BUSINESS_INTELLIGENCE")
        self.empty()
        return self

    def config(self) -> dict[str, Any]:
        """SNOWFLAKE_CONFIG for this server."""
        return {
            "account": "fakesnow",
            "host": "127.0.0.1",
            "port": self.port,
            "protocol": "http",
            "user": "lms",
            "password": "not-a-secret",
            "warehouse": "WH",
            "database": "PROD",
            "schema": "BUSINESS_INTELLIGENCE",
            "role": "READER",
        }

    def execute(self, statement: str, parameters: tuple = ()) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)

    def empty(self) -> None:
        """The rollup, with no row in it."""
        self.execute(
            f"CREATE OR REPLACE TABLE {TABLE} (USER_ID INT, COURSERUN_KEY VARCHAR, ENTERPRISE_CUSTOMER_UUID VARCHAR, "
            "DATE DATE, LEARNING_TIME_SECONDS INT)"
        )

    def add(self, user_id: int, course: str, customer: Any, seconds: int | None, date: str = "") -> None:
        """One day of one learner; yesterday unless told so."""
        date = date or str(datetime.now(UTC).date() - timedelta(days=1))
        self.execute(f"INSERT INTO {TABLE} VALUES (?, ?, ?, ?, ?)", (user_id, course, str(customer), date, seconds))
