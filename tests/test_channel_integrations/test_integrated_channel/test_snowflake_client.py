# SPDX-License-Identifier: AGPL-3.0-or-later
"""The client against a server that speaks Snowflake's protocol."""

import os
import socket
import subprocess
import sys
import threading
import time
from uuid import UUID

import pytest
from django.core.cache import cache

from channel_integrations.integrated_channel import exceptions, snowflake_connection
from channel_integrations.integrated_channel.snowflake_client import SnowflakeLearningTimeClient, _whole_seconds
from tests.servers import free_port

CUSTOMER = UUID("0f6c2a52-8d6d-4b31-9b5a-000000000001")
COURSE = "course-v1:edX+Demo+2026"


def ask(user_id=7, course=COURSE, customer=CUSTOMER):
    return SnowflakeLearningTimeClient().get_learning_time(user_id, course, str(customer))


class Wire:
    """A TCP proxy before the server: counts logins, and can cut or swallow what goes through it."""

    def __init__(self, target_port):
        self.target_port, self.logins, self.silent = target_port, 0, False
        self.pairs = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.target_port))
            self.pairs += [near, far]
            threading.Thread(target=self._pump, args=(near, far), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near), daemon=True).start()

    def _pump(self, source, sink):
        try:
            while data := source.recv(65536):
                self.logins += b"/session/v1/login-request" in data
                if not self.silent:
                    sink.sendall(data)
        except OSError:
            pass
        finally:
            source.close()
            sink.close()

    def cut(self):
        """Break every connection there is."""
        for end in self.pairs:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.pairs.clear()

    def close(self):
        self.cut()
        self.listener.close()


@pytest.fixture
def wire(snowflake, settings):
    proxy = Wire(snowflake.port)
    settings.SNOWFLAKE_CONFIG = {**snowflake.config(), "port": proxy.port}
    yield proxy
    proxy.close()


def test_the_days_are_summed(snowflake):
    snowflake.add(7, COURSE, CUSTOMER, 3600, "2026-11-19")
    snowflake.add(7, COURSE, CUSTOMER, 600, "2026-11-20")
    assert ask() == 4200


def test_the_answer_is_a_whole_number(snowflake):
    snowflake.add(7, COURSE, CUSTOMER, 3600)
    assert type(ask()) is int


def test_zero_is_zero_the_first_time_and_from_the_cache(snowflake):
    snowflake.add(7, COURSE, CUSTOMER, 0)
    assert ask() == 0
    snowflake.empty()
    assert ask() == 0


def test_no_row_is_none_the_first_time_and_from_the_cache(snowflake):
    assert ask() is None
    snowflake.add(7, COURSE, CUSTOMER, 60)
    assert ask() is None


def test_a_null_sum_is_none(snowflake):
    snowflake.add(7, COURSE, CUSTOMER, None)
    assert ask() is None


@pytest.mark.parametrize(
    "other", [{"user_id": 8}, {"course": "course-v1:edX+Other+2026"}, {"customer": UUID(int=5)}], ids=str
)
def test_rows_of_others_do_not_count(snowflake, other):
    snowflake.add(7, COURSE, CUSTOMER, 3600)
    assert ask(**other) is None


def test_an_answer_is_kept(snowflake):
    snowflake.add(7, COURSE, CUSTOMER, 60)
    assert ask() == 60
    snowflake.add(7, COURSE, CUSTOMER, 60)
    assert ask() == 60
    cache.clear()
    assert ask() == 120


def test_a_cache_time_of_zero_asks_every_time(snowflake, settings):
    settings.CHANNEL_WEBHOOKS_LEARNING_TIME_CACHE_SECONDS = 0
    snowflake.add(7, COURSE, CUSTOMER, 60)
    assert ask() == 60
    snowflake.add(7, COURSE, CUSTOMER, 60)
    assert ask() == 120


@pytest.mark.parametrize("course", ['course-v1:O\'Reilly+"X"+2026', "course-v1:Ünï+🎓+2026", "c'; DROP TABLE x; --"])
def test_course_keys_are_bound_not_pasted(snowflake, course):
    snowflake.add(7, course, CUSTOMER, 42)
    assert ask(course=course) == 42


@pytest.mark.parametrize("seconds", [-1, -3600, 10**12])
def test_a_negative_or_absurd_sum_is_an_error(snowflake, seconds):
    snowflake.execute("ALTER TABLE PROD.BUSINESS_INTELLIGENCE.LEARNING_TIME ALTER LEARNING_TIME_SECONDS TYPE BIGINT")
    snowflake.add(7, COURSE, CUSTOMER, seconds)
    with pytest.raises(exceptions.InvalidLearningTime):
        ask()


@pytest.mark.parametrize("total", [float("nan"), float("inf"), "many", object()])
def test_what_is_no_number_is_an_error(total):
    with pytest.raises(exceptions.InvalidLearningTime):
        _whole_seconds(total)


def test_an_error_is_not_cached(snowflake, settings):
    settings.CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE = "NOT_THERE"
    with pytest.raises(exceptions.SnowflakeQueryFailed) as failure:
        ask()
    assert failure.value.__cause__ is not None
    settings.CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE = "LEARNING_TIME"
    snowflake.add(7, COURSE, CUSTOMER, 60)
    assert ask() == 60


def test_table_and_columns_are_settings(snowflake, settings):
    snowflake.execute(
        "CREATE OR REPLACE TABLE PROD.BUSINESS_INTELLIGENCE.OURS (WHO INT, RUN VARCHAR, PAYER VARCHAR, SECS INT)"
    )
    snowflake.execute("INSERT INTO PROD.BUSINESS_INTELLIGENCE.OURS VALUES (?, ?, ?, ?)", (7, COURSE, str(CUSTOMER), 99))
    settings.CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE = "PROD.BUSINESS_INTELLIGENCE.OURS"
    settings.CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS = {
        "user": "WHO",
        "course": "RUN",
        "customer": "PAYER",
        "seconds": "SECS",
    }
    assert ask() == 99


def test_one_login_serves_many_lookups(wire):
    for user_id in range(5):
        ask(user_id=user_id + 1)
    assert wire.logins == 1


def test_a_dead_connection_is_replaced_once_and_nobody_notices(snowflake, wire):
    snowflake.add(7, COURSE, CUSTOMER, 60)
    ask(user_id=1)
    wire.cut()
    assert ask() == 60


def test_a_forked_child_opens_a_connection_of_its_own(wire):
    ask(user_id=1)
    child = os.fork()
    if child == 0:  # pragma: no cover (another process)
        try:
            ask(user_id=2)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert wire.logins == 2
    ask(user_id=3)
    assert wire.logins == 2, "the child has ended the parent's session"


def test_nobody_listening_is_unreachable(snowflake, settings):
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS = 2
    settings.SNOWFLAKE_CONFIG = {**snowflake.config(), "port": free_port()}
    started = time.monotonic()
    with pytest.raises(exceptions.SnowflakeUnreachable) as failure:
        ask()
    assert failure.value.__cause__ is not None
    assert time.monotonic() - started < 12


def test_a_login_that_is_never_answered_is_bounded(wire, settings):
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS = 2
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_QUERY_TIMEOUT_SECONDS = 2
    wire.silent = True
    started = time.monotonic()
    with pytest.raises(exceptions.SnowflakeUnreachable):
        ask()
    assert time.monotonic() - started < 12


@pytest.mark.parametrize("config", [None, {}, "text", {"account": "a"}])
def test_without_a_config_there_is_no_lookup(snowflake, settings, config):
    settings.SNOWFLAKE_CONFIG = config
    with pytest.raises(exceptions.SnowflakeNotConfigured):
        ask()


def test_a_connector_that_cannot_be_imported_is_our_error(tmp_path):
    """In a process of its own, where a broken package comes first on the path."""
    package = tmp_path / "snowflake" / "connector"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('built for another platform')")
    code = (
        "import django; django.setup()\n"
        "from channel_integrations.integrated_channel import snowflake_connection as c, exceptions as e\n"
        "try:\n    c.fetch_one('SELECT 1', ())\n"
        "except e.SnowflakeNotConfigured as err:\n    print('ours:', type(err.__cause__).__name__)\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}.", "DJANGO_SETTINGS_MODULE": "test_settings"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "ours: RuntimeError"


def test_a_broken_cache_is_passed_by(snowflake, settings, caplog):
    settings.CACHES = {
        "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"redis://127.0.0.1:{free_port()}/0"}
    }
    snowflake.add(7, COURSE, CUSTOMER, 60)
    assert ask() == 60
    assert "source=django_cache operation=get error=" in caplog.text


def test_the_log_has_durations_and_cache_results_but_no_people(snowflake, caplog):
    caplog.set_level("INFO", "channel_integrations")
    ask()
    ask()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("channel_integrations")]
    assert sum("source=snowflake_client status=ok duration_ms=" in line for line in lines) == 1
    assert [line.split("status=")[1] for line in lines if "operation=get" in line] == ["miss", "hit"]
    assert not any(COURSE in line for line in lines)


def test_a_full_pool_waits_no_longer_than_a_login(snowflake, settings):
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS = 1
    ask()
    pool = snowflake_connection._pool
    held = [pool.connect() for _ in range(snowflake_connection.POOL_SIZE + snowflake_connection.POOL_OVERFLOW)]
    with pytest.raises(exceptions.SnowflakeUnreachable):
        ask(user_id=8)
    for connection in held:
        connection.close()
