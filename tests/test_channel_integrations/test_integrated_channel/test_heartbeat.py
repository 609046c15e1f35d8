# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signs of life, in the database and in a file."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction
from django.utils import timezone
from werkzeug import Response

from channel_integrations.integrated_channel import tasks
from channel_integrations.integrated_channel.models import WebhookHeartbeat, WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.services import heartbeat
from tests.factories import grade_event, make_customer, make_endpoint, make_learner
from tests.servers import CeleryWorker, Daemon, Redis, free_port

REPOSITORY = Path(__file__).parents[3]


def age_of(name):
    return (timezone.now() - WebhookHeartbeat.objects.get(pk=name).beat_at).total_seconds()


def set_age(name, seconds):
    beat = {"beat_at": timezone.now() - timedelta(seconds=seconds), "worker": "host:1"}
    WebhookHeartbeat.objects.update_or_create(pk=name, defaults=beat)


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


# ---- in the database


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("enrichment", lambda: tasks.enrich_and_send_completion_webhook(str(uuid.uuid4()))),
        ("delivery", tasks.process_webhook_queue),
        ("sweep", lambda: call_command("send_due_webhooks", stdout=io.StringIO())),
    ],
)
def test_whatever_runs_is_seen(committed_db, name, run):
    run()
    (beat,) = WebhookHeartbeat.objects.all()
    assert beat.name == name
    assert age_of(name) < 5
    assert beat.worker.endswith(f":{os.getpid()}")


def test_a_delivery_is_no_sweep(committed_db):
    """It does most of what a sweep does, and must not hide that nobody runs one."""
    tasks.process_webhook_queue()
    assert not WebhookHeartbeat.objects.filter(pk=heartbeat.SWEEP).exists()


def test_a_process_writes_once_in_ten_seconds(db, django_assert_num_queries):
    heartbeat.beat("sweep")
    set_age("sweep", 300)
    with django_assert_num_queries(0):
        heartbeat.beat("sweep")
    assert age_of("sweep") > 299
    heartbeat.beat("delivery")  # each at its own pace
    heartbeat.forget()
    heartbeat.beat("sweep")
    assert age_of("sweep") < 5


def test_a_database_that_fails_is_not_the_callers_concern(committed_db, caplog):
    """The table is not there yet, say; what the caller's transaction has done before stays."""
    table = connection.ops.quote_name(WebhookHeartbeat._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
    try:
        with transaction.atomic():
            customer = make_customer("Kept")
            heartbeat.beat("sweep")
        customer.refresh_from_db()
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE elsewhere RENAME TO {table}")
    assert "source=webhook_heartbeat status=failure heartbeat=sweep" in caplog.text


def test_first_beats_at_the_same_moment(committed_db, caplog):
    start, failures = threading.Barrier(8), []

    def first():
        try:
            start.wait()
            with transaction.atomic():
                WebhookHeartbeat.record("delivery", "host:1")
        except Exception as err:
            failures.append(err)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=first) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert WebhookHeartbeat.objects.count() == 1


# ---- the command


def command(*args):
    out = io.StringIO()
    try:
        call_command("webhook_heartbeat", *args, stdout=out)
    except SystemExit as end:
        return end.code, out.getvalue()
    return 0, out.getvalue()


@pytest.mark.parametrize(("age", "status"), [(60, 0), (119, 0), (125, 1)])
def test_a_probe_asks_how_long_ago(db, age, status):
    set_age("sweep", age)
    code, said = command("--check", "sweep", "--within", "120")
    assert code == status
    assert said.startswith("sweep: alive, last heartbeat" if status == 0 else "sweep: not alive, last heartbeat")
    assert said.count("\n") == 1


def test_what_has_never_run_is_not_alive(db):
    assert command("--check", "sweep") == (1, "sweep: not alive, no heartbeat so far\n")


def test_three_minutes_unless_told_otherwise(db):
    set_age("sweep", 170)
    assert command("--check", "sweep")[0] == 0
    set_age("sweep", 190)
    assert command("--check", "sweep")[0] == 1


def test_without_a_question_it_lists_them_all(db):
    set_age("sweep", 30)
    code, said = command()
    assert code == 0
    assert "sweep: last heartbeat 30 s ago, by host:1" in said
    assert "delivery: no heartbeat so far" in said


def test_one_that_is_no_longer_to_run_is_forgotten(db):
    set_age("sweep", 30)
    assert command("--forget", "sweep") == (0, "sweep: forgotten\n")
    assert not WebhookHeartbeat.objects.exists()


@pytest.mark.parametrize("args", [["--check", "nobody"], ["--within", "5"], ["--check", "sweep", "--within", "0"]])
def test_nonsense_is_refused(db, args):
    with pytest.raises(CommandError):
        command(*args)


def test_a_database_that_is_down_is_not_alive():
    pytest.importorskip("MySQLdb")
    run = manage("webhook_heartbeat", "--check", "sweep", **unreachable_database())
    assert (run.returncode, run.stdout) == (1, "the database cannot be asked: OperationalError\n")


def manage(*args, **environment):
    return subprocess.run(
        [sys.executable, "manage.py", *args],
        env={**os.environ, **environment},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def unreachable_database():
    return {"LMS_DB_ENGINE": "django.db.backends.mysql", "LMS_DB_HOST": "127.0.0.1", "LMS_DB_PORT": str(free_port())}


# ---- the file


@pytest.mark.redis
def test_an_idle_worker_keeps_its_file_fresh_and_one_that_hangs_does_not(committed_db, start_worker, tmp_path):
    file = tmp_path / "alive"
    worker = start_worker("edx.lms.core.webhook_enrichment", CHANNEL_WEBHOOKS_HEARTBEAT_FILE=str(file))
    ages = []
    for _ in range(24):
        time.sleep(0.25)
        ages.append(time.time() - file.stat().st_mtime)
    assert max(ages) < 5
    assert "--without-heartbeat" not in worker.log.read_text()

    os.kill(worker.process.pid, 19)  # SIGSTOP: its main process stands still
    time.sleep(5.5)
    assert time.time() - file.stat().st_mtime > 5


@pytest.mark.redis
def test_a_worker_without_a_broker_keeps_its_file_fresh(committed_db, tmp_path):
    """A probe must not ask the broker: that one is away would else have every worker restarted, for nothing."""
    file, broker = tmp_path / "alive", Redis(tmp_path)
    environment = {
        "LMS_BROKER_URL": broker.url(),
        "LMS_DB_NAME": str(connection.settings_dict["NAME"]),
        "CHANNEL_WEBHOOKS_HEARTBEAT_FILE": str(file),
    }
    worker = CeleryWorker("nobody.sends.here", environment, tmp_path)
    Daemon.start(worker)
    try:
        until(file.exists, 40)
        until(lambda: "Cannot connect to redis" in worker.log.read_text())
        assert_stays_fresh(file)
        broker.start()
        until(lambda: " ready." in worker.log.read_text(), 40)
        assert_stays_fresh(file)  # its event loop has taken over
        broker.kill()
        until(lambda: "Connection to broker lost" in worker.log.read_text())
        assert_stays_fresh(file)
        assert worker.process.poll() is None
    finally:
        worker.kill()
        broker.kill()


def assert_stays_fresh(file):
    """For longer than a file may be old."""
    ends = time.monotonic() + 5.5
    while time.monotonic() < ends:
        assert time.time() - file.stat().st_mtime < 5
        time.sleep(0.25)


@pytest.mark.redis
def test_a_worker_that_cannot_keep_its_file_fresh_says_so(committed_db, redis_server, tmp_path):
    environment = {
        "LMS_BROKER_URL": redis_server.url(0),
        "LMS_DB_NAME": str(connection.settings_dict["NAME"]),
        "CHANNEL_WEBHOOKS_HEARTBEAT_FILE": str(tmp_path / "alive"),
    }
    worker = CeleryWorker("nobody.sends.here", environment, tmp_path)
    worker.command.append("--without-heartbeat")
    worker.start()
    until(lambda: "the worker was started --without-heartbeat" in worker.log.read_text())
    worker.kill()


def test_the_loop_of_the_sweep_keeps_its_file_fresh_while_it_waits(committed_db, tmp_path):
    file = tmp_path / "alive"
    environment = {
        "LMS_DB_NAME": str(connection.settings_dict["NAME"]),
        "CHANNEL_WEBHOOKS_HEARTBEAT_FILE": str(file),
    }
    loop = Daemon(
        [sys.executable, "manage.py", "send_due_webhooks", "--loop", "--interval", "3600"],
        tmp_path / "log",
        env={**os.environ, **environment},
        cwd=REPOSITORY,
    ).start()
    until(lambda: WebhookHeartbeat.objects.filter(pk="sweep").exists(), 40)
    os.utime(file, (1, 1))
    until(lambda: time.time() - file.stat().st_mtime < 5, 15)
    loop.kill()


def test_a_loop_that_is_told_to_end_finishes_what_it_sends(committed_db, receiver, tmp_path):
    """A stopped container: nothing is left in mid-send, to be sent a second time by somebody else."""
    asked = threading.Event()

    def slowly(request):
        asked.set()
        time.sleep(1)
        return Response("ok")

    receiver.clear()
    receiver.expect_request("/hook").respond_with_handler(slowly)
    customer = make_customer()
    make_endpoint(customer, receiver.url_for("/hook"))
    grade_event(make_learner(customer))
    environment = {"LMS_DB_NAME": str(connection.settings_dict["NAME"]), "LMS_ALLOW_PRIVATE_ADDRESSES": "1"}
    loop = Daemon(
        [sys.executable, "manage.py", "send_due_webhooks", "--loop", "--interval", "3600"],
        tmp_path / "log",
        env={**os.environ, **environment},
        cwd=REPOSITORY,
    ).start()
    assert asked.wait(40), loop.log.read_text()
    loop.process.send_signal(signal.SIGTERM)
    assert loop.process.wait(20) == 0, loop.log.read_text()
    (webhook,) = WebhookTransmissionQueue.objects.all()
    assert webhook.status == WebhookStatus.DELIVERED
    assert webhook.attempts.count() == 1


def test_without_a_file_nothing_is_touched(monkeypatch):
    monkeypatch.delenv("CHANNEL_WEBHOOKS_HEARTBEAT_FILE", raising=False)
    heartbeat.touch_file()


def test_a_file_that_cannot_be_written_is_told_of_once(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("CHANNEL_WEBHOOKS_HEARTBEAT_FILE", str(tmp_path / "nowhere" / "alive"))
    heartbeat.touch_file()
    heartbeat.touch_file()
    assert caplog.text.count("cannot be written") == 1
