# SPDX-License-Identifier: AGPL-3.0-or-later
"""Each line of webhook_doctor: red where something is broken in earnest, green where it is not."""

import io
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from django.conf import settings as django_settings
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone
from enterprise.models import EnterpriseCustomer
from openedx_events.learning.signals import COURSE_ENROLLMENT_CREATED, PERSISTENT_GRADE_SUMMARY_CHANGED
from pytest_httpserver import HTTPServer

from channel_integrations.integrated_channel import handlers, wake_up
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookDisclosure,
    WebhookEndpointHealth,
    WebhookHeartbeat,
    WebhookSigningSecret,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.models.health import Failure
from channel_integrations.integrated_channel.services import delivery
from channel_integrations.integrated_channel.services.doctor import Status, examine
from channel_integrations.integrated_channel.services.doctor import snowflake as doctor_snowflake
from channel_integrations.integrated_channel.services.doctor.time_limit import NoAnswer, within
from channel_integrations.integrated_channel.settings.common import DELIVERY_TASK, ENRICHMENT_TASK, ROUTER
from channel_integrations.integrated_channel.signing import Kind
from tests import brokers
from tests.factories import grade_event, make_customer, make_endpoint, make_learner
from tests.lms_host.celery import app
from tests.other_keys import written_with_another_key
from tests.servers import free_port

ENRICHMENT, DEFAULT = "edx.lms.core.webhook_enrichment", "edx.lms.core.default"
REPOSITORY = Path(__file__).parents[3]
RIGHT_ROUTES = [ROUTER, "openedx.core.lib.celery.routers.route_task"]
LOCAL_MEMORY = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}


def redis_cache(url, **options):
    return {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url, "OPTIONS": options}}


def findings(*only, **options):
    return {finding.check: finding for finding in examine(only=only, **options)}


def finding(check, **options):
    """One line; only what it rests on is asked as well."""
    return findings(check, **options)[check]


def assert_red(found, status, fact, advice):
    """What is wrong, and what to type."""
    assert found.status is status
    assert fact in found.fact
    assert advice in found.advice


@pytest.fixture
def broker(redis_server):
    """This process asks the real Redis."""
    with brokers.broker_at(redis_server.url(0)):
        yield redis_server


@pytest.fixture
def broker_at():
    """``broker_at(port)``: a broker at this port of the loopback interface."""
    with brokers.broker_at(app.conf.broker_url):
        yield lambda port: brokers.talk_to(f"redis://user:hunter2@127.0.0.1:{port}/0")


@pytest.fixture
def silent_port():
    """A server that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def endpoint(committed_db, receiver):
    return make_endpoint(make_customer("Acme"), receiver.url_for("/hook"))


# ---- all of it


@pytest.mark.redis
def test_all_is_well(endpoint, snowflake, broker, start_worker, settings):
    settings.CACHES = redis_cache(broker.url(1))
    snowflake.add(1, "course-v1:a+b+c", "customer", 60, date=str(timezone.now().date()))
    start_worker(f"{ENRICHMENT},{DEFAULT}")
    call_command("send_due_webhooks", stdout=io.StringIO())
    found = findings()
    wrong = [one for one in found.values() if one.status is not Status.OK]
    assert [one.check for one in wrong] == ([] if connection.vendor != "sqlite" else ["clock"]), wrong
    assert list(found) == [
        "settings", "events", "routes", "flag", "database", "clock", "migrations", "old tables", "snowflake sign-in",
        "snowflake table", "snowflake data", "cache", "broker", "enrichment worker", "delivery worker", "sweep",
        "overdue", "endpoints", f"endpoint {endpoint.pk}",
    ]  # fmt: skip
    assert run()[0] == run("--strict")[0] == 0


def test_everything_refuses():
    """In a process of its own, since nothing of it may be up: not even the database."""
    pytest.importorskip("MySQLdb")
    check_with_everything_down(free_port())


def test_everything_is_silent(silent_port):
    pytest.importorskip("MySQLdb")
    check_with_everything_down(silent_port)


def check_with_everything_down(port):
    environment = {
        "LMS_DB_ENGINE": "django.db.backends.mysql",
        "LMS_DB_HOST": "127.0.0.1",
        "LMS_DB_PORT": str(port),
        "LMS_BROKER_URL": f"redis://127.0.0.1:{port}/0",
        "LMS_CACHE_URL": f"redis://127.0.0.1:{port}/1",
        "LMS_SNOWFLAKE_PORT": str(port),
    }
    started = time.monotonic()
    doctor = subprocess.run(
        [sys.executable, "manage.py", "webhook_doctor", "--json"],
        env={**os.environ, **environment},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert time.monotonic() - started < 60
    assert doctor.returncode == 1, doctor.stderr
    found = {one["check"]: one for one in json.loads(doctor.stdout)}
    red = [name for name, one in found.items() if one["status"] == "problem"]
    assert red == ["database", "snowflake sign-in", "cache", "broker"]
    assert found["sweep"]["status"] == "skipped"
    assert "not-a-secret" not in doctor.stdout + doctor.stderr


@pytest.mark.redis
def test_all_but_the_database_is_silent(committed_db, silent_port, broker_at, settings):
    """Forty endpoints that accept and say nothing of TLS: more than are dialled at once."""
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = True
    settings.FEATURES = {**settings.FEATURES, "ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT": True}
    settings.SNOWFLAKE_CONFIG = snowflake_at(silent_port)
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS = 30
    settings.CACHES = redis_cache(f"redis://127.0.0.1:{silent_port}/1")
    broker_at(silent_port)
    for number in range(40):
        make_endpoint(make_customer(f"Customer {number}"), f"https://127.0.0.1:{silent_port}/hook")
    started = time.monotonic()
    code, said = run()
    assert time.monotonic() - started < 60
    assert code == 1
    assert len(re.findall(r"^problem +endpoint \d+", said, re.M)) == 40
    for check in ("snowflake sign-in", "cache", "broker"):
        assert re.search(f"^problem +{check}", said, re.M), said


def snowflake_at(port):
    return {
        "account": "fakesnow", "host": "127.0.0.1", "port": port, "protocol": "http", "user": "lms",
        "password": "hunter2", "warehouse": "WH", "database": "PROD", "schema": "S", "role": "READER",
    }  # fmt: skip


# ---- the command


def run(*args):
    out = io.StringIO()
    try:
        call_command("webhook_doctor", *args, stdout=out)
    except SystemExit as end:
        return end.code, out.getvalue()
    return 0, out.getvalue()


def test_a_problem_is_exit_status_1_and_stands_in_the_last_line(committed_db):
    code, said = run("--only", "endpoints", "--only", "sweep")
    assert code == 1
    assert re.search(r"^problem +endpoints +there is none: nobody gets a webhook\n +-> Add ", said, re.M)
    last = said.strip().splitlines()[-1]
    assert re.match(r"1 problem \(endpoints\), 1 warning \(sweep\), \d+ ok, \d+ skipped\.", last)


def test_json_has_the_same(committed_db):
    code, said = run("--json")
    found = json.loads(said)
    assert code == 1
    assert all(list(one) == ["check", "status", "fact", "advice"] for one in found)
    assert [one["status"] for one in found if one["check"] == "sweep"] == [str(finding("sweep").status)]
    assert all(bool(one["advice"]) == (one["status"] in ("problem", "warning")) for one in found)


@pytest.mark.redis
def test_warnings_alone_are_exit_status_0_unless_strict(endpoint, broker, start_worker):
    start_worker(DEFAULT)
    assert finding("sweep").status is Status.WARNING
    assert run()[0] == 0
    assert run("--strict")[0] == 1


@pytest.mark.parametrize("args", [["--jason"], ["--only", "nothing"]])
def test_a_typing_error_is_refused(args):
    with pytest.raises(CommandError):
        run(*args)


def test_one_alone_and_what_it_rests_on(committed_db):
    code, said = run("--only", "sweep", "--json")
    assert [one["check"] for one in json.loads(said)] == ["database", "migrations", "sweep"]
    assert code == 0


def test_no_colour_where_nobody_looks(committed_db):
    assert "\x1b" not in run("--only", "endpoints")[1]


def test_nothing_secret_is_said(endpoint, silent_port, broker_at, settings, caplog):
    settings.FEATURES = {**settings.FEATURES, "ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT": True}
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS = 1
    settings.SNOWFLAKE_CONFIG = snowflake_at(free_port())
    settings.CACHES = redis_cache(f"redis://:hunter2@127.0.0.1:{free_port()}/1")
    broker_at(free_port())
    EnterpriseWebhookConfiguration.objects.update(webhook_url=f"http://127.0.0.1:{free_port()}/hunter2?key=hunter2")
    (secret,) = endpoint.signing_secrets()
    for options in ((), ("--json",)):
        said = run(*options)[1] + caplog.text
        assert "127.0.0.1" in said
        assert "hunter2" not in said
        assert secret not in said and secret.removeprefix("whsec_") not in said


def test_a_check_that_fails_itself_is_a_line_and_the_others_follow(committed_db):
    table = connection.ops.quote_name(WebhookHeartbeat._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME COLUMN beat_at TO elsewhere")
    try:
        found = findings("sweep", "overdue")
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} RENAME COLUMN elsewhere TO beat_at")
    assert_red(found["sweep"], Status.PROBLEM, "this check itself failed (", "its line in the log")
    assert found["overdue"].status is Status.OK


def test_a_call_without_a_bound_is_left_behind():
    with pytest.raises(NoAnswer):
        within(0.1, time.sleep, 1)
    with pytest.raises(TimeoutError, match="its own"):
        within(1, raise_timeout)
    assert within(1, len, "abc") == 3


def raise_timeout():
    raise TimeoutError("its own")


# ---- what was installed and configured


def test_settings(committed_db, settings):
    assert finding("settings").status is Status.OK
    settings.CHANNEL_WEBHOOKS_DELIVERY_WORKERS = "many"
    assert_red(finding("settings"), Status.PROBLEM, "channel_webhooks.E003", "CHANNEL_WEBHOOKS_DELIVERY_WORKERS = 1")


def test_events(committed_db, settings):
    assert finding("events").status is Status.OK
    settings.CHANNEL_WEBHOOKS_GRADE_SOURCE = "nowhere.Grade"
    assert_red(finding("events"), Status.WARNING, "nowhere.Grade", "CHANNEL_WEBHOOKS_GRADE_SOURCE = ")
    settings.CHANNEL_WEBHOOKS_GRADE_SOURCE = "grades.PersistentCourseGrade"
    for event, handler, of in (
        (PERSISTENT_GRADE_SUMMARY_CHANGED, handlers.handle_grade_change_for_webhooks, "grade"),
        (COURSE_ENROLLMENT_CREATED, handlers.handle_enrollment_for_webhooks, "enrolment"),
    ):
        uid = f"channel_webhooks.{handler.__name__}"
        assert event.disconnect(dispatch_uid=uid)
        try:
            assert_red(finding("events"), Status.PROBLEM, f"nobody listens to the LMS's {of} events", "pip install")
        finally:
            event.connect(handler, dispatch_uid=uid)
    assert finding("events").status is Status.OK


@pytest.fixture
def celery_routes():
    """``celery_routes(routes)``: as if CELERY_ROUTES had been this when Celery started."""

    def use(routes):
        app.conf.task_routes = routes
        app.amqp.flush_routes()
        app.amqp.router = app.amqp.Router()

    yield use
    use(django_settings.CELERY_ROUTES)


def test_routes(committed_db, settings, celery_routes):
    found = finding("routes")
    assert found.status is Status.OK and f"goes to {ENRICHMENT}" in found.fact and f"goes to {DEFAULT}" in found.fact
    settings.CELERY_TASK_ROUTES = {ENRICHMENT_TASK: {"queue": "site.webhooks"}}
    assert "goes to site.webhooks" in finding("routes").fact
    celery_routes(["openedx.core.lib.celery.routers.route_task", ROUTER])
    assert_red(finding("routes"), Status.PROBLEM, "another router is asked before", f"CELERY_ROUTES = {RIGHT_ROUTES}")
    celery_routes("openedx.core.lib.celery.routers.route_task")
    assert_red(finding("routes"), Status.PROBLEM, f"goes to {DEFAULT}, not to site.webhooks", f" = {RIGHT_ROUTES}")
    celery_routes(RIGHT_ROUTES)
    assert finding("routes").status is Status.OK
    celery_routes([ROUTER, {DELIVERY_TASK: {"queue": "site.high"}}])
    named = f'CHANNEL_WEBHOOKS_DELIVERY_QUEUE = "{DEFAULT}"'
    assert_red(finding("routes"), Status.PROBLEM, f"process_webhook_queue goes to site.high, not to {DEFAULT}", named)
    settings.CHANNEL_WEBHOOKS_DELIVERY_QUEUE = DEFAULT
    assert finding("routes").status is Status.OK
    settings.CELERY_TASK_ROUTES = {DELIVERY_TASK: {"exchange": "site"}}
    queue = f'Name a "queue" for {DELIVERY_TASK} in CELERY_TASK_ROUTES'
    assert_red(finding("routes"), Status.PROBLEM, "process_webhook_queue goes to no queue by name", queue)
    settings.CELERY_TASK_ROUTES, settings.CHANNEL_WEBHOOKS_DELIVERY_QUEUE = {}, None
    celery_routes([ROUTER, "nowhere.route_task"])
    found = findings("delivery worker")
    assert_red(found["routes"], Status.PROBLEM, "cannot be imported (No module named 'nowhere')", "openedx.core.lib")
    assert found["delivery worker"].fact.endswith("mended: routes")


def test_a_queue_that_is_not_declared(committed_db, settings, celery_routes, monkeypatch):
    monkeypatch.setattr(app.amqp.queues, "create_missing", False)  # as with CELERY_CREATE_MISSING_QUEUES = False
    celery_routes(RIGHT_ROUTES)
    settings.CELERY_TASK_ROUTES = {ENRICHMENT_TASK: {"queue": "site.unknown"}}
    declared = 'CELERY_QUEUES = {**CELERY_QUEUES, "site.unknown": {}}'
    assert_red(finding("routes"), Status.PROBLEM, "goes to no queue that is declared, not to site.unknown", declared)


def test_migrations(committed_db):
    assert finding("migrations").status is Status.OK
    MigrationRecorder(connection).record_unapplied("channel_webhooks", "0005_heartbeat")
    try:
        found = findings("sweep", "endpoints")
    finally:
        MigrationRecorder(connection).record_applied("channel_webhooks", "0005_heartbeat")
    assert_red(found["migrations"], Status.PROBLEM, "not applied: 0005_heartbeat", "migrate channel_webhooks")
    assert found["sweep"].status is found["endpoints"].status is Status.SKIPPED


def test_a_table_that_is_not_there_though_its_migration_is_applied(committed_db):
    table = connection.ops.quote_name(WebhookHeartbeat._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
    try:
        found = findings("sweep")
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE elsewhere RENAME TO {table}")
    assert_red(found["migrations"], Status.PROBLEM, f"not there: {WebhookHeartbeat._meta.db_table}", "--fake")
    assert found["sweep"].status is Status.SKIPPED


def test_tables_that_another_distribution_left_behind(committed_db):
    assert finding("old tables").status is Status.OK
    customer = EnterpriseCustomer._meta
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE unrelated_left_over (id INTEGER PRIMARY KEY)")
        cursor.execute(
            f"CREATE TABLE channel_integration_old (id INTEGER PRIMARY KEY, customer {customer.pk.db_type(connection)} "
            f"NOT NULL, FOREIGN KEY (customer) REFERENCES {customer.db_table} (uuid))"
        )
    try:
        found = finding("old tables")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE channel_integration_old")
            cursor.execute("DROP TABLE unrelated_left_over")
    assert_red(
        found, Status.WARNING, "cannot be deleted: channel_integration_old", "DROP TABLE channel_integration_old"
    )
    assert "unrelated" not in found.fact
    for command in ("import_webhook_endpoints --from-incumbent --dry-run", "drop_incumbent_foreign_keys"):
        assert f"./manage.py lms {command}" in found.advice


@pytest.mark.mariadb
def test_clock(committed_db):
    assert finding("clock").status is Status.OK
    with connection.cursor() as cursor:
        cursor.execute("SET timestamp = UNIX_TIMESTAMP() + 100")
        try:
            found = finding("clock")
        finally:
            cursor.execute("SET timestamp = DEFAULT")
    assert_red(found, Status.WARNING, "behind the database's", "timedatectl")


# ---- learning time


def test_while_learning_time_is_off_nobody_asks_snowflake(committed_db):
    found = findings("flag", "snowflake data", "cache", "enrichment worker")
    for check in ("snowflake sign-in", "snowflake table", "snowflake data", "cache", "enrichment worker"):
        assert found[check].status is Status.SKIPPED
        assert "--learning-time" in found[check].fact
    assert found["flag"].fact == "learning time is switched off"


def test_before_it_is_switched_on_one_can_look_all_the_same(committed_db, snowflake, settings):
    settings.FEATURES = {**settings.FEATURES, "ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT": False}
    assert finding("snowflake table", learning_time=True).status is Status.OK


def test_snowflake_is_not_configured(committed_db, snowflake, settings):
    settings.SNOWFLAKE_CONFIG = {}
    found = findings("settings", "snowflake table")
    assert_red(
        found["snowflake sign-in"], Status.PROBLEM, "SNOWFLAKE_CONFIG lacks: account", "A complete SNOWFLAKE_CONFIG"
    )
    assert_red(found["settings"], Status.PROBLEM, "channel_webhooks.E001", "SNOWFLAKE_CONFIG")
    assert found["snowflake table"].fact.endswith("mended: snowflake sign-in")


def test_snowflake_refuses(committed_db, snowflake, settings):
    settings.SNOWFLAKE_CONFIG = snowflake_at(free_port())
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS = 1
    found = finding("snowflake sign-in")
    assert_red(found, Status.PROBLEM, "without learning time", "curl -sSI http://127.0.0.1:")


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (390100, "It answers, and refuses"),
        (390144, "ALTER USER LMS SET RSA_PUBLIC_KEY"),
        (390201, "GRANT USAGE ON WAREHOUSE WH TO ROLE READER;"),
    ],
)
def test_snowflake_answers_and_refuses(committed_db, snowflake, settings, httpserver, number, advice):
    refusal = {"success": False, "code": str(number), "message": "no", "data": {}}
    httpserver.expect_request("/session/v1/login-request").respond_with_json(refusal)
    settings.SNOWFLAKE_CONFIG = {**snowflake.config(), "port": httpserver.port, "user": "LMS"}
    found = finding("snowflake sign-in")
    assert_red(found, Status.PROBLEM, f"(error {number})", advice)
    assert "PROD.INFORMATION_SCHEMA.LOGIN_HISTORY_BY_USER(USER_NAME => 'LMS'" in found.advice


def test_a_role_that_may_not_use_the_warehouse(committed_db, snowflake, settings, httpserver):
    session = {"token": "t", "masterToken": "m", "parameters": [], "sessionInfo": {}}
    httpserver.expect_request("/session/v1/login-request").respond_with_json({"success": True, "data": session})
    refusal = {"success": False, "code": "000606", "message": "No active warehouse", "data": {"sqlState": "57P03"}}
    httpserver.expect_request("/queries/v1/query-request").respond_with_json(refusal)
    settings.SNOWFLAKE_CONFIG = {**snowflake.config(), "port": httpserver.port}
    (found,) = doctor_snowflake.table()
    assert_red(found, Status.PROBLEM, "(error 606)", "GRANT USAGE ON WAREHOUSE WH TO ROLE READER;")


@pytest.mark.parametrize(
    "wrong",
    [
        {"CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE": "NOWHERE"},
        {"CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS": {"seconds": "NOT_THERE"}},
    ],
)
def test_a_table_or_a_column_that_cannot_be_read(committed_db, snowflake, settings, wrong):
    for name, value in wrong.items():
        setattr(settings, name, value)
    found = findings("snowflake data")
    assert found["snowflake sign-in"].status is Status.OK
    assert_red(found["snowflake table"], Status.PROBLEM, "cannot be read", "DESCRIBE TABLE PROD.BUSINESS_INTELLIGENCE.")
    assert "GRANT USAGE ON SCHEMA PROD.BUSINESS_INTELLIGENCE TO ROLE READER;" in found["snowflake table"].advice
    assert found["snowflake data"].status is Status.SKIPPED


@pytest.mark.parametrize(
    ("days", "status"), [(-30, Status.WARNING), (-1, Status.OK), (0, Status.OK), (2, Status.OK), (3, Status.WARNING)]
)
def test_how_fresh_the_rollup_is(committed_db, snowflake, days, status):
    snowflake.add(1, "course-v1:a+b+c", "customer", 60, date="2026-01-01")
    latest = timezone.now().date() - timedelta(days=days)
    snowflake.add(1, "course-v1:a+b+c", "customer", 60, date=str(latest))
    found = finding("snowflake data")
    assert found.status is status
    assert str(latest) in found.fact


def test_an_empty_rollup(committed_db, snowflake):
    assert_red(finding("snowflake data"), Status.WARNING, "is empty", "CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE")


def test_a_rollup_whose_day_has_another_name(committed_db, snowflake, settings):
    settings.CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS = {"date": "DAY"}
    found = findings("snowflake data")
    assert_red(found["snowflake table"], Status.PROBLEM, "cannot be read", "CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS")


def test_a_rollup_without_days(committed_db, snowflake, settings):
    settings.CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS = {"date": None}
    found = findings("snowflake data")
    assert found["snowflake table"].status is Status.OK
    assert_red(found["snowflake data"], Status.WARNING, "never final", "CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS")


# ---- what the processes share


@pytest.mark.redis
def test_cache(committed_db, redis_server, settings):
    settings.CACHES = redis_cache(redis_server.url(1))
    assert finding("cache", learning_time=True).status is Status.OK
    assert caches["default"].keys("*doctor*") == []
    settings.CACHES = LOCAL_MEMORY
    assert_red(finding("cache", learning_time=True), Status.WARNING, "not shared", "CACHES = ")
    settings.CACHES = {"default": {"BACKEND": "nowhere.Cache"}}
    assert_red(finding("cache", learning_time=True), Status.PROBLEM, "No module named 'nowhere'", "correct BACKEND")
    settings.CACHES = redis_cache(f"redis://127.0.0.1:{free_port()}/1")
    assert_red(finding("cache", learning_time=True), Status.PROBLEM, "fails (", "Start the cache server")
    settings.CACHES = redis_cache(f"redis://127.0.0.1:{free_port()}/1", IGNORE_EXCEPTIONS=True)
    assert_red(finding("cache", learning_time=True), Status.PROBLEM, "forgets", "redis-cli")


@pytest.mark.redis
def test_broker(committed_db, broker, broker_at, silent_port):
    assert finding("broker").fact == f"redis://127.0.0.1:{broker.port} takes messages"
    for port in (free_port(), silent_port):
        broker_at(port)
        found = findings("delivery worker")
        assert_red(found["broker"], Status.PROBLEM, f"redis://127.0.0.1:{port} cannot be reached", "BROKER_URL")
        assert found["delivery worker"].fact.endswith("mended: broker")


@pytest.mark.redis
def test_workers(committed_db, snowflake, broker, start_worker):
    busy = start_worker(ENRICHMENT).process.pid
    os.kill(busy, signal.SIGSTOP)  # for longer than an idle worker takes to answer, but not for long
    threading.Timer(2, os.kill, (busy, signal.SIGCONT)).start()
    found = findings("enrichment worker", "delivery worker")
    assert f"consumes {ENRICHMENT}; no run so far" in found["enrichment worker"].fact
    assert found["enrichment worker"].status is Status.OK
    assert_red(found["delivery worker"], Status.PROBLEM, f"no worker that answers consumes {DEFAULT}", "the LMS's own")
    assert f"-Q {DEFAULT} " in found["delivery worker"].advice
    wake_up.delivery()
    start_worker(DEFAULT)
    deadline = time.monotonic() + 20
    while not WebhookHeartbeat.objects.filter(pk="delivery").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert re.search(r"consumes edx.lms.core.default; last run \d+ s ago", finding("delivery worker").fact)


@pytest.mark.redis
def test_workers_without_this_package(committed_db, broker, tmp_path):
    """An image that was not rebuilt: it takes our messages, and throws them away. Both workers have the same name."""
    (tmp_path / "other.py").write_text("from celery import Celery\napp = Celery('other')\n")
    workers = []
    try:
        for queue in (ENRICHMENT, DEFAULT):
            command = (
                f"{sys.executable} -m celery -b {broker.url(0)} -A other worker -Q {queue} -n one@%h -l INFO -P solo"
            )
            with (tmp_path / queue).open("wb") as log:
                environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
                workers.append(subprocess.Popen(command.split(), stdout=log, stderr=log, cwd=tmp_path, env=environment))
        deadline = time.monotonic() + 30
        while not all(" ready." in (tmp_path / queue).read_text() for queue in (ENRICHMENT, DEFAULT)):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        found = findings("enrichment worker", "delivery worker", learning_time=True)
        for check, queue in (("enrichment worker", ENRICHMENT), ("delivery worker", DEFAULT)):
            assert f"consumes {queue} but does not know the task" in found[check].fact
            assert_red(found[check], Status.PROBLEM, "throws its messages away", "Install this package")
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


# ---- the work


def test_sweep(committed_db):
    assert_red(finding("sweep"), Status.WARNING, "no sweep has ever run", "send_due_webhooks")
    call_command("send_due_webhooks", stdout=io.StringIO())
    assert finding("sweep").status is Status.OK
    WebhookHeartbeat.objects.update(beat_at=timezone.now() - timedelta(minutes=4))
    assert_red(finding("sweep"), Status.PROBLEM, "last round was 4 min ago", "send_due_webhooks --loop")


def make_rows(number, status, age=timedelta(minutes=5), **fields):
    now = timezone.now()
    WebhookTransmissionQueue.objects.bulk_create(
        WebhookTransmissionQueue(
            deduplication_key=os.urandom(32).hex(),
            event_type="course_completion",
            enterprise_customer_uuid=fields.pop("customer", None) or "0" * 32,
            user_id=1,
            course_id="course-v1:a+b+c",
            occurred_at=now,
            status=status,
            due_at=now - age,
            **fields,
        )
        for _ in range(number)
    )


def test_rows_that_wait_for_workers(committed_db):
    make_rows(99, WebhookStatus.RECORDED)
    make_rows(50, WebhookStatus.RECORDED, age=timedelta(seconds=30))
    make_rows(50, WebhookStatus.DELIVERED)
    found = finding("overdue")
    assert found.status is Status.OK
    assert found.fact == "99 webhooks due for more than 60 s, the oldest for 5 min"
    make_rows(1, WebhookStatus.PENDING)
    assert_red(finding("overdue"), Status.PROBLEM, "100 webhooks due", "CHANNEL_WEBHOOKS_DELIVERY_WORKERS")
    make_rows(200, WebhookStatus.AWAITING_ENRICHMENT)
    assert_red(finding("overdue"), Status.PROBLEM, "300 webhooks due", "enrichment worker")


def test_rows_that_wait_for_their_endpoint_need_no_worker(endpoint):
    make_rows(100, WebhookStatus.PENDING, endpoint_id=endpoint.pk)
    assert finding("overdue").status is Status.PROBLEM
    for _ in range(5):
        WebhookEndpointHealth.note_failure(endpoint.pk, timezone.now(), Failure("HTTP 503", timezone.now()))
    found = finding("overdue")
    assert_red(found, Status.WARNING, f"; besides, 100 for endpoint {endpoint.pk}", "No worker helps")
    assert found.fact.startswith("0 webhooks due")


# ---- the endpoints


def line(endpoint):
    return findings("endpoints")[f"endpoint {endpoint.pk}"]


def test_endpoints(endpoint):
    assert finding("endpoints").fact == "1 of 1 switched on"
    assert line(endpoint).status is Status.OK
    EnterpriseWebhookConfiguration.objects.update(active=False)
    assert_red(finding("endpoints"), Status.PROBLEM, "none of 1 is switched on", "Webhook endpoints")
    assert line(endpoint).status is Status.SKIPPED


def test_a_customer_whose_own_country_leads_to_no_endpoint(endpoint):
    customer = endpoint.enterprise_customer
    for country, region, is_warned in (
        *((None, "OTHER", False), ("DE", "OTHER", True), ("US", "OTHER", False)),
        *((None, "EU", True), ("DE", "EU", False), ("US", "EU", True)),
    ):
        type(customer).objects.update(country=country)
        EnterpriseWebhookConfiguration.objects.update(region=region)
        found = finding("endpoints")
        if is_warned:
            named = {"DE": "EU", "US": "US"}.get(country, "OTHER")
            advice = "Add one: " if named == "OTHER" else "Add one, or have that for OTHER accept them: "
            assert_red(found, Status.WARNING, f"{customer.name} has no endpoint for {named}", advice)
            assert (f"its country is {country}" if country else "it has no country") in found.fact
        else:
            assert found.status is Status.OK
    EnterpriseWebhookConfiguration.objects.update(region="OTHER", accepts_eu=True)
    type(customer).objects.update(country="DE")
    assert finding("endpoints").status is Status.OK


def test_nothing_is_sent_to_an_endpoint(endpoint, receiver):
    findings("endpoints")
    assert receiver.log == []


def test_an_endpoint_that_cannot_be_reached(endpoint):
    EnterpriseWebhookConfiguration.objects.update(webhook_url=f"http://127.0.0.1:{free_port()}/hook")
    assert_red(line(endpoint), Status.PROBLEM, "no connection (ConnectionRefusedError", "Compare host and port")


def test_an_endpoint_whose_url_the_sender_refuses(endpoint, settings):
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = False
    assert_red(line(endpoint), Status.PROBLEM, "must begin with https://", f"/{endpoint.pk}/change/")


def test_an_endpoint_with_a_certificate(endpoint):
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with HTTPServer(ssl_context=context) as server:
        EnterpriseWebhookConfiguration.objects.update(webhook_url=f"https://localhost:{server.port}/hook")
        assert_red(line(endpoint), Status.PROBLEM, "SSLCertVerificationError", "'CA certificates'")
        EnterpriseWebhookConfiguration.objects.update(ca_bundle=authority.cert_pem.bytes().decode())
        assert line(endpoint).status is Status.OK
        EnterpriseWebhookConfiguration.objects.update(webhook_url=f"https://127.0.0.1:{server.port}/hook")
        assert_red(line(endpoint), Status.PROBLEM, "SSLCertVerificationError", "The certificate is for another name")


def test_webhooks_that_go_through_a_proxy(endpoint, settings, receiver):
    settings.CHANNEL_WEBHOOKS_PROXY_URL = f"http://127.0.0.1:{receiver.port}"
    EnterpriseWebhookConfiguration.objects.update(webhook_url="https://partner.invalid/hook")
    assert "the proxy answers" in line(endpoint).fact
    settings.CHANNEL_WEBHOOKS_PROXY_URL = f"http://127.0.0.1:{free_port()}"
    assert_red(line(endpoint), Status.PROBLEM, "no connection to the proxy", "Start the proxy")


def test_an_endpoint_whose_secret_cannot_be_read(endpoint):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE channel_webhooks_webhooksigningsecret SET secret = %s", [b"gAAAAA-not-ours"])
    assert_red(line(endpoint), Status.PROBLEM, "encrypted with another key", "FERNET_KEYS = ")
    WebhookSigningSecret.objects.filter(endpoint_id=endpoint.pk).delete()
    assert_red(line(endpoint), Status.WARNING, "no signing secret", "rotate_webhook_secret --endpoint")


def test_an_endpoint_that_cannot_be_told_whom_to_erase(endpoint, receiver):
    EnterpriseWebhookConfiguration.objects.update(sends_erasures=True)
    grade_event(make_learner(endpoint.enterprise_customer))
    delivery.deliver_due()
    assert line(endpoint).status is Status.OK
    written_with_another_key(WebhookDisclosure, WebhookDisclosure.objects.get().pk, "identifier")
    assert_red(line(endpoint), Status.PROBLEM, "the LMS cannot retire them", "reencrypt_webhook_secrets")
    EnterpriseWebhookConfiguration.objects.update(sends_erasures=False)
    assert line(endpoint).status is Status.OK


def test_an_endpoint_with_a_key_pair(endpoint):
    key = WebhookSigningSecret.rotate(endpoint, Kind.ED25519)
    assert f"its private key (its public half: {key}) can be read" in line(endpoint).fact


def test_an_endpoint_that_fails(endpoint):
    for _ in range(5):
        WebhookEndpointHealth.note_failure(endpoint.pk, timezone.now(), Failure("HTTP 503", timezone.now()))
    found = line(endpoint)
    assert_red(found, Status.WARNING, "5 attempts in a row failed", "send_test_webhook")
    assert "HTTP 503; the breaker is open for another" in found.fact


def test_an_endpoint_that_has_asked_for_a_pause(endpoint):
    WebhookEndpointHealth.pause(endpoint.pk, timedelta(minutes=30), "HTTP 429")
    assert_red(line(endpoint), Status.WARNING, "left alone for another 29 min, HTTP 429", "Retry-After")


def test_an_endpoint_that_is_left_alone_since_its_secret_cannot_be_read(endpoint):
    make_rows(1, WebhookStatus.PENDING, endpoint_id=endpoint.pk, body="{}")
    written_with_another_key(WebhookSigningSecret, endpoint.secrets.get().pk, "secret")
    delivery.deliver_due()
    found = [each for each in examine() if each.check == f"endpoint {endpoint.pk}"]
    assert [each.status for each in found] == [Status.PROBLEM, Status.WARNING]
    assert "left alone" in found[1].fact and "Mend what the line about its secret says" in found[1].advice


def test_an_endpoint_that_the_sender_has_switched_off(endpoint):
    WebhookEndpointHealth.objects.get(pk=endpoint.pk).disable("HTTP 410")
    make_rows(3, WebhookStatus.PARKED, endpoint_id=endpoint.pk)
    assert_red(line(endpoint), Status.PROBLEM, "(HTTP 410), 3 parked", "Switch on again")


def test_an_endpoint_made_past_the_form_has_no_health_yet(endpoint):
    WebhookEndpointHealth.objects.all().delete()
    assert line(endpoint).status is Status.OK
