# SPDX-License-Identifier: AGPL-3.0-or-later
"""The client against a server that speaks Snowflake's protocol."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from uuid import UUID

import pytest
import redis as redis_client
from django.core.cache import cache
from django.utils import timezone

from channel_integrations.integrated_channel import exceptions, snowflake_client, snowflake_connection
from channel_integrations.integrated_channel.circuit import Circuit
from channel_integrations.integrated_channel.learning_time_cache import cache_key
from channel_integrations.integrated_channel.snowflake_client import (
    BATCH,
    DAYS,
    LearningTimeKey,
    SnowflakeLearningTimeClient,
    _whole_seconds,
)
from tests.servers import free_port

CUSTOMER = UUID("0f6c2a52-8d6d-4b31-9b5a-000000000001")
COURSE = "course-v1:edX+Demo+2026"


def ask(user_id=7, course=COURSE, customer=CUSTOMER):
    return SnowflakeLearningTimeClient().get_learning_time(user_id, course, str(customer))


class Wire:
    """A TCP proxy before the server: counts logins and statements, and can cut, swallow or delay what goes through."""

    def __init__(self, target_port):
        self.target_port, self.logins, self.statements, self.silent, self.delay = target_port, 0, 0, False, 0.0
        # A statement that comes before is never answered, as by a warehouse that takes longer to wake than a socket
        # waits. Held back, it would run beside its repetition: the server here does not know that by its id.
        self.wakes_at = 0.0
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
                self.statements += b"/queries/v1/query-request" in data
                if b"/queries/v1/query-request" in data:
                    time.sleep(self.delay)
                if not self.silent and time.monotonic() >= self.wakes_at:
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


@pytest.mark.parametrize("total", [float("nan"), Decimal("NaN"), float("inf"), 10**400, "many", "12", True, object()])
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
        "CREATE OR REPLACE TABLE PROD.BUSINESS_INTELLIGENCE.OURS "
        "(WHO INT, RUN VARCHAR, PAYER VARCHAR, SECS INT, DAY DATE)"
    )
    for day, seconds in (("2026-11-20", 99), ("2026-11-21", 1)):
        row = (7, COURSE, str(CUSTOMER), seconds, day)
        snowflake.execute("INSERT INTO PROD.BUSINESS_INTELLIGENCE.OURS VALUES (?, ?, ?, ?, ?)", row)
    settings.CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE = "PROD.BUSINESS_INTELLIGENCE.OURS"
    settings.CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS = {
        "user": "WHO",
        "course": "RUN",
        "customer": "PAYER",
        "seconds": "SECS",
        "date": "DAY",
    }
    times = ask_for([key(7, through=date(2026, 11, 20)), key(7)])
    assert list(times.seconds.values()) == [99, 100]
    assert times.as_of == date(2026, 11, 21)


@pytest.mark.parametrize("kind", ["TIMESTAMP", "VARCHAR"])
def test_a_day_that_is_no_date_counts_as_a_whole(snowflake, kind):
    snowflake.execute(
        "CREATE OR REPLACE TABLE PROD.BUSINESS_INTELLIGENCE.LEARNING_TIME (USER_ID INT, COURSERUN_KEY VARCHAR, "
        f"ENTERPRISE_CUSTOMER_UUID VARCHAR, DATE {kind}, LEARNING_TIME_SECONDS INT)"
    )
    snowflake.add(7, COURSE, CUSTOMER, 90, "2026-11-20 18:30:00" if kind == "TIMESTAMP" else "2026-11-20")
    snowflake.add(7, COURSE, CUSTOMER, 5, "2026-11-21")
    times = ask_for([key(7, through=date(2026, 11, 20))])
    assert list(times.seconds.values()) == [90] and times.as_of == date(2026, 11, 21)


def test_a_rollup_without_days_is_summed_as_a_whole(snowflake, settings):
    snowflake.add(7, COURSE, CUSTOMER, 60)
    snowflake.execute("ALTER TABLE PROD.BUSINESS_INTELLIGENCE.LEARNING_TIME DROP COLUMN DATE")
    settings.CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS = {"date": None}
    times = ask_for([key(7, through=date(2026, 1, 1)), key(8, through=date(2026, 1, 1))])
    assert list(times.seconds.values()) == [60, None]
    assert times.as_of is None


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
        "try:\n    c.fetch_all('SELECT 1', ())\n"
        "except e.SnowflakeNotConfigured as err:\n    print('ours:', type(err.__cause__).__name__)\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}.", "DJANGO_SETTINGS_MODULE": "test_settings"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "ours: RuntimeError"


@pytest.mark.parametrize(
    ("flag", "queue", "is_imported"),
    [
        (True, "edx.lms.core.webhook_enrichment", True),
        (True, "edx.lms.core.default", False),
        (False, "edx.lms.core.webhook_enrichment", False),
    ],
)
def test_a_worker_that_will_look_up_imports_the_connector_before_it_forks(flag, queue, is_imported):
    """In a process of its own, told by Celery that it is set up."""
    code = (
        "import sys, types, django; django.setup()\n"
        "from celery.signals import celeryd_after_setup\n"
        "from django.conf import settings\n"
        "from tests.lms_host.celery import app\n"
        f"settings.FEATURES = {{'ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT': {flag}}}\n"
        f"app.amqp.queues.select(['{queue}'])\n"
        "celeryd_after_setup.send(sender='worker', instance=types.SimpleNamespace(app=app), conf=app.conf)\n"
        "print('snowflake.connector' in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": ".", "DJANGO_SETTINGS_MODULE": "test_settings"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == str(is_imported)


def test_a_broken_cache_is_passed_by(snowflake, settings, caplog):
    settings.CACHES = {
        "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"redis://127.0.0.1:{free_port()}/0"}
    }
    snowflake.add(7, COURSE, CUSTOMER, 60)
    assert ask() == 60
    assert "source=django_cache status=error operation=get count=1 error=" in caplog.text


def test_the_log_has_durations_and_cache_results_but_no_people(snowflake, caplog):
    caplog.set_level("INFO", "channel_integrations")
    ask()
    ask()
    records = [record for record in caplog.records if record.name.startswith("channel_integrations")]
    lines = [record.getMessage() for record in records]
    assert sum("source=snowflake_client status=ok duration_ms=" in line for line in lines) == 1
    of_cache = [record for record in records if getattr(record, "operation", "") == "get"]
    assert [(record.source, record.status, record.count) for record in of_cache] == [
        ("django_cache", "miss", 1),
        ("django_cache", "hit", 1),
    ]
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


def end_session(server, connection):
    """Log a session out at the server, behind the connection's back."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/session?delete=true",
        data=b"{}",
        headers={"Authorization": f'Snowflake Token="{connection.rest.token}"'},
    )
    urllib.request.urlopen(request).close()


def test_sessions_that_the_server_has_ended_are_replaced_all_of_them(snowflake, wire):
    """Both connections that the pool keeps are outdated: the repetition must not take the other one."""
    snowflake.add(7, COURSE, CUSTOMER, 60)
    ask(user_id=1)
    held = [snowflake_connection._pool.connect() for _ in range(2)]
    for connection in held:
        connection.info["used"] = True
        end_session(snowflake, connection.dbapi_connection)
    for connection in held:
        connection.close()
    assert ask() == 60
    assert wire.logins == 3


class OneAnswer:
    """An HTTP server between client and server that answers statements itself, as long as ``bodies`` lasts."""

    def __init__(self, target_port):
        self.statements, self.bodies = 0, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                is_statement = "query-request" in self.path
                outer.statements += is_statement
                if is_statement and outer.bodies:
                    answer = outer.bodies.pop(0)
                else:
                    headers = {k: v for k, v in self.headers.items() if k not in ("Host", "Accept-Encoding")}
                    url = f"http://127.0.0.1:{target_port}{self.path}"
                    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as onward:
                        answer = onward.read()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def refuse(self, code, times=1):
        refusal = {"success": False, "code": code, "message": "no", "data": {"errorCode": code, "sqlState": "08001"}}
        self.bodies += [json.dumps(refusal).encode()] * times


@pytest.fixture
def one_answer(snowflake, settings):
    proxy = OneAnswer(snowflake.port)
    settings.SNOWFLAKE_CONFIG = {**snowflake.config(), "port": proxy.server.server_port}
    yield proxy
    proxy.server.shutdown()
    proxy.server.server_close()


@pytest.mark.parametrize("code", ["390111", "390114", "390195"])
def test_an_expired_session_is_replaced_and_the_statement_repeated(snowflake, one_answer, code):
    snowflake.add(7, COURSE, CUSTOMER, 60)
    one_answer.refuse(code)
    assert ask() == 60
    assert one_answer.statements == 2


def test_it_is_repeated_once_and_no_more(one_answer):
    one_answer.refuse("390114", times=5)
    with pytest.raises(exceptions.SnowflakeUnreachable) as failure:
        ask()
    assert failure.value.__cause__.errno == 390114
    assert one_answer.statements == 2


@pytest.mark.parametrize(
    ("code", "error"),
    [("002003", exceptions.SnowflakeQueryFailed), ("000604", exceptions.SnowflakeUnreachable)],
    ids=["no such table", "cancelled by the timeout"],
)
def test_a_refused_statement_is_not_repeated(one_answer, code, error):
    one_answer.refuse(code)
    with pytest.raises(error):
        ask()
    assert one_answer.statements == 1


def test_an_answer_that_is_not_snowflakes_is_our_error(one_answer):
    one_answer.bodies.append(json.dumps({"success": True, "data": {"rowset": "?"}}).encode())
    with pytest.raises(exceptions.SnowflakeUnreachable) as failure:
        ask()
    assert failure.value.__cause__ is not None


def test_a_silent_login_takes_no_longer_than_a_login_may(wire, settings):
    """The bound of a statement, which is longer, must not become that of the login."""
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS = 1
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_QUERY_TIMEOUT_SECONDS = 20
    wire.silent = True
    started = time.monotonic()
    with pytest.raises(exceptions.SnowflakeUnreachable):
        ask()
    assert time.monotonic() - started < 5


# The connector asks for the cancellation in a thread of its own, which no more gets an answer than the statement does.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_statement_that_is_never_answered_is_bounded_and_not_repeated(wire, settings):
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS = 1
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_QUERY_TIMEOUT_SECONDS = 4
    ask(user_id=1)
    wire.silent = True
    started = time.monotonic()
    with pytest.raises(exceptions.SnowflakeUnreachable):
        ask()
    assert time.monotonic() - started < 4 + snowflake_connection.MAX_BACKOFF_SECONDS + 1 + 0.7, "the last try included"
    assert wire.logins == 1
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join()


def test_a_child_that_ends_as_scripts_end_leaves_the_session_to_its_parent(wire):
    ask(user_id=1)
    child = os.fork()
    if child == 0:  # pragma: no cover (another process)
        atexit._run_exitfuncs()
        os._exit(0)
    os.waitpid(child, 0)
    ask(user_id=2)
    assert wire.logins == 1


def test_threads_share_one_pool(wire):
    threads = [threading.Thread(target=ask, args=(user_id,)) for user_id in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ask(user_id=9)
    assert 1 <= wire.logins <= 4
    assert snowflake_connection._pool.checkedin() == snowflake_connection.POOL_SIZE


def test_an_interrupted_lookup_does_not_reuse_its_connection(wire, settings):
    """As a soft time limit does: the signal comes while the answer is awaited."""
    ask(user_id=1)
    wire.silent = True

    class Interrupted(BaseException):
        """Nothing that the connector would catch."""

    def interrupt(signum, frame):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(Interrupted):
            ask()
    finally:
        signal.signal(signal.SIGALRM, before)
    wire.silent = False
    assert ask(user_id=3) is None
    assert wire.logins == 2


@pytest.mark.parametrize(
    "extra",
    [{"session_parameters": "x"}, {"session_parameters": {"A": object()}}],
)
def test_what_the_connector_cannot_take_is_not_configured(snowflake, settings, extra):
    settings.SNOWFLAKE_CONFIG = {**snowflake.config(), **extra}
    with pytest.raises(exceptions.SnowflakeNotConfigured):
        ask()


def test_what_somebody_else_left_in_the_cache_is_no_answer(snowflake):
    snowflake.add(7, COURSE, CUSTOMER, 60)
    cache.set(cache_key(LearningTimeKey(7, COURSE, str(CUSTOMER))), "rubbish")
    assert ask() == 60


def test_the_warehouse_is_told_who_asks_and_for_how_long(snowflake, settings):
    settings.SNOWFLAKE_CONFIG = {**snowflake.config(), "session_parameters": {"TIMEZONE": "UTC"}}
    arguments = snowflake_connection._with_defaults(settings.SNOWFLAKE_CONFIG)
    assert arguments["paramstyle"] == "qmark"
    assert max(islice(arguments["backoff_policy"](), 50)) == 2, "seconds between two tries"
    assert arguments["session_parameters"] == {
        "QUERY_TAG": "channel_integrations.webhook_learning_time",
        "STATEMENT_TIMEOUT_IN_SECONDS": 20,
        "TIMEZONE": "UTC",
    }


# Many at once


def ask_for(keys):
    return SnowflakeLearningTimeClient().get_learning_times(keys)


def key(user_id, course=COURSE, customer=CUSTOMER, through=None):
    return LearningTimeKey(user_id, course, str(customer), through)


def november(day):
    return date(2026, 11, day)


def test_what_comes_after_the_last_day_does_not_count(snowflake):
    for day, seconds in ((18, 100), (19, 20), (20, 3)):
        snowflake.add(7, COURSE, CUSTOMER, seconds, str(november(day)))
    wanted = [key(7, through=november(day)) for day in (17, 18, 19, 20, 21)] + [key(7)]
    times = ask_for(wanted)
    assert list(map(times.seconds.get, wanted)) == [None, 100, 120, 123, 123, 123]
    assert len(times.statements) == 1


def test_a_day_of_zero_is_a_number_and_a_day_to_come_is_none(snowflake):
    snowflake.add(7, COURSE, CUSTOMER, 0, str(november(19)))
    snowflake.add(7, COURSE, CUSTOMER, 60, str(november(20)))
    wanted = [key(7, through=november(18)), key(7, through=november(19))]
    assert list(map(ask_for(wanted).seconds.get, wanted)) == [None, 0]


def test_how_far_the_rollup_reaches_is_told_with_the_answer_and_from_the_cache(snowflake):
    """Also of a learner whom it does not know."""
    snowflake.add(7, COURSE, CUSTOMER, 60, str(november(19)))
    first = ask_for([key(8, through=november(20))])
    assert (first.as_of, first.statements[0].as_of) == (november(19), november(19))
    snowflake.add(7, COURSE, CUSTOMER, 60, str(november(20)))
    again = ask_for([key(8, through=november(20)), key(7, through=november(20))])
    assert again.days == {key(8, through=november(20)): november(19), key(7, through=november(20)): november(20)}
    assert again.as_of == november(20)


@pytest.mark.parametrize(("days", "is_believed"), [(1, True), (2, False)])
def test_a_day_that_is_still_to_come_does_not_make_numbers_final(snowflake, days, is_believed):
    ahead = timezone.now().astimezone(UTC).date() + timedelta(days=days)
    snowflake.add(7, COURSE, CUSTOMER, 60, str(november(19)))
    snowflake.add(8, COURSE, CUSTOMER, 60, str(ahead))
    times = ask_for([key(7, through=november(20))])
    assert list(times.seconds.values()) == [60]
    assert times.as_of == (ahead if is_believed else None)
    assert times.statements[0].as_of == times.as_of


def test_an_empty_rollup_reaches_nowhere(snowflake):
    times = ask_for([key(7, through=november(20))])
    assert (times.seconds, times.as_of) == ({key(7, through=november(20)): None}, None)


def test_another_last_day_is_another_answer_in_the_cache(snowflake):
    snowflake.add(7, COURSE, CUSTOMER, 60, str(november(20)))
    assert ask_for([key(7, through=november(19))]).seconds == {key(7, through=november(19)): None}
    assert ask() == 60


def test_what_is_asked_anew_is_asked_past_the_cache_and_kept(snowflake):
    wanted = key(7, through=november(20))
    assert ask_for([wanted]).seconds == {wanted: None}
    snowflake.add(7, COURSE, CUSTOMER, 60, str(november(20)))
    assert ask_for([wanted]).seconds == {wanted: None}
    assert SnowflakeLearningTimeClient().get_learning_times([wanted], anew={wanted}).seconds == {wanted: 60}
    assert ask_for([wanted]).seconds == {wanted: 60}


def test_many_last_days_make_more_statements_the_days_in_their_order(snowflake):
    snowflake.add(7, COURSE, CUSTOMER, 60, str(november(1)))
    wanted = [key(user_id, through=november(day)) for user_id in (7, 8) for day in range(2 * DAYS + 1, 0, -1)]
    times = ask_for(wanted)
    assert [report.asked for report in times.statements] == [2 * DAYS, 2 * DAYS, 2]
    assert {each: 60 if each.user_id == 7 else None for each in wanted} == times.seconds


def test_many_are_looked_up_with_one_statement_and_kept_with_one_write(snowflake, wire):
    snowflake.add(1, COURSE, CUSTOMER, 60)
    snowflake.add(1, COURSE, CUSTOMER, 30, date="2026-11-21")
    snowflake.add(2, COURSE, CUSTOMER, 0)
    wanted = [key(1), key(2), key(3), key(1)]
    times = ask_for(wanted)
    assert (times.seconds, times.errors) == ({key(1): 90, key(2): 0, key(3): None}, {})
    assert [(report.asked, report.found, report.status) for report in times.statements] == [(3, 2, "ok")]
    before = wire.statements
    again = ask_for(wanted)
    assert (again.seconds, again.statements, wire.statements) == (times.seconds, [], before)


@pytest.mark.redis
def test_the_cache_is_asked_and_told_once_for_all_of_a_batch(snowflake, settings, redis_server):
    """As Redis itself counts what it reads: some packets for all, where one for each key would be a hundred."""
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis_server.url(2)}}
    cache.clear()
    wanted = [key(user_id) for user_id in range(1, 51)]
    with redis_client.Redis(port=redis_server.port) as client:
        before = client.info("stats")["total_reads_processed"]
        ask_for(wanted)
        assert len(ask_for(wanted).statements) == 0
        assert client.info("stats")["total_reads_processed"] - before < 20


def test_what_the_lists_cross_to_is_not_mistaken_for_an_answer(snowflake):
    other_course, other_customer = "course-v1:edX+Other+2026", UUID("0f6c2a52-8d6d-4b31-9b5a-000000000002")
    snowflake.add(1, other_course, CUSTOMER, 11)
    snowflake.add(2, COURSE, CUSTOMER, 22)
    snowflake.add(2, other_course, other_customer, 33)
    wanted = [key(1), key(2, other_course), key(2, other_course, other_customer)]
    assert ask_for(wanted).seconds == {wanted[0]: None, wanted[1]: None, wanted[2]: 33}


def test_more_than_a_batch_makes_more_statements(snowflake):
    for user_id in (1, BATCH + 1, 2 * BATCH + 1):
        snowflake.add(user_id, COURSE, CUSTOMER, user_id)
    times = ask_for(key(user_id) for user_id in range(1, 2 * BATCH + 2))
    assert [report.asked for report in times.statements] == [BATCH, BATCH, 1]
    assert {each.user_id for each, seconds in times.seconds.items() if seconds} == {1, BATCH + 1, 2 * BATCH + 1}


def test_one_absurd_sum_does_not_spoil_the_others(snowflake):
    snowflake.add(1, COURSE, CUSTOMER, -5)
    snowflake.add(2, COURSE, CUSTOMER, 60)
    times = ask_for([key(1), key(2)])
    assert times.seconds == {key(2): 60}
    assert isinstance(times.errors[key(1)], exceptions.InvalidLearningTime)
    assert times.statements[0].status == "invalid_value"
    assert snowflake_client.circuit.is_open() is False


def test_nothing_asked_is_no_statement(snowflake):
    assert ask_for([]).statements == []


@pytest.mark.parametrize("way", ["threads", "processes"])
def test_a_stampede_on_one_key_makes_one_query(snowflake, wire, settings, redis_server, way):
    settings.CACHES = {
        "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis_server.url(2)},
    }
    cache.clear()
    snowflake.add(7, COURSE, CUSTOMER, 60)
    ask(user_id=8)
    before, wire.delay = wire.statements, 0.3
    found = in_threads(12) if way == "threads" else in_processes(6)
    assert (found, wire.statements - before) == ({60}, 1)


def in_threads(count):
    with ThreadPoolExecutor(count) as pool:
        return set(pool.map(lambda _: ask(), range(count)))


def in_processes(count):
    """Each exits with the minutes that it was told."""
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            os._exit((ask() or 0) // 60)
        children.append(child)
    return {60 * os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}


def test_a_stampede_on_a_key_that_fails_is_bounded(snowflake, settings):
    settings.SNOWFLAKE_CONFIG = {**snowflake.config(), "port": free_port()}
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS = 1

    def attempt(_):
        with pytest.raises(exceptions.SnowflakeUnreachable):
            ask()

    started = time.monotonic()
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(attempt, range(10)))
    assert time.monotonic() - started < 8, "three of them have asked, the others were told to leave it"


# Outages


@pytest.fixture
def short_circuit(monkeypatch):
    """The same circuit, with half a second in place of half a minute."""
    monkeypatch.setattr(snowflake_client, "circuit", Circuit(failures=3, open_seconds=0.5))


def test_an_outage_costs_milliseconds_and_ends_with_one_probe(snowflake, wire, settings, short_circuit):
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS = 1
    wire.silent = True
    for user_id in range(3):
        with pytest.raises(exceptions.SnowflakeUnreachable) as failure:
            ask(user_id)
        assert failure.value.code == "unreachable"
    logins = wire.logins
    started = time.monotonic()
    for user_id in range(20):
        with pytest.raises(exceptions.SnowflakeLeftAlone):
            ask(user_id)
    assert time.monotonic() - started < 0.4
    assert wire.logins == logins, "nobody has asked"
    time.sleep(0.5)
    with pytest.raises(exceptions.SnowflakeUnreachable) as failure:
        ask(4)
    assert failure.value.code == "unreachable", "the probe"
    with pytest.raises(exceptions.SnowflakeLeftAlone):
        ask(5)
    wire.silent = False
    wire.cut()
    time.sleep(0.6)
    assert ask(6) is None
    assert ask(7) is None


def test_a_warehouse_that_takes_seconds_to_wake_is_no_outage(snowflake, wire, settings):
    snowflake.add(7, COURSE, CUSTOMER, 60)
    wire.delay = 2.0
    for user_id in (7, 8, 9):
        assert ask(user_id) == (60 if user_id == 7 else None)
    assert snowflake_client.circuit.is_open() is False


def test_nor_is_one_that_takes_longer_than_a_socket_waits(snowflake, wire, settings):
    """The connector asks again, over a new socket, within the time of one lookup."""
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS = 3
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_QUERY_TIMEOUT_SECONDS = 20
    snowflake.add(7, COURSE, CUSTOMER, 60)
    ask(user_id=8)
    before, wire.wakes_at = wire.statements, time.monotonic() + 3.5
    times = ask_for([key(7)])
    assert [(report.found, report.status) for report in times.statements] == [(1, "ok")]
    assert wire.statements > before + 1
    assert times.statements[0].duration_ms > 3500
