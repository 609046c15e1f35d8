# SPDX-License-Identifier: AGPL-3.0-or-later
"""
``python -m demo``: start everything, send events, wait, judge, print.

Exit status: 0 when every webhook is as it must be, 1 otherwise, 130 after Ctrl-C. ``BROKER=redis://...`` runs it on a
Redis server, ``KEEP=1`` leaves it running with the admin open. ``DAYS=2`` shows what becomes of a learning time that is
not final yet: the rollup moves by a day meanwhile.
"""

import os
import secrets
import shlex
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demo.processes import Snowflake
    from demo.receiver import Receiver

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "demo" / ".run"
ENRICHMENT_QUEUE, DEFAULT_QUEUE = "edx.lms.core.webhook_enrichment", "edx.lms.core.default"
#: seconds: longest wait for the webhooks, and after the last for one that should not come
PATIENCE, AFTERWARDS = 30, 2
#: how long it takes at the most until the first of two days is over
FIRST_DAY = timedelta(seconds=35)


def say(text: str) -> None:
    """One line of progress."""
    print(f"  {text}", flush=True)


def main() -> int:
    """Run the demo; returns the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell has it ignored in the background
    RUNS.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"channel-webhooks-demo-{os.getpid()}-", dir=RUNS))
    good = None
    try:
        with ExitStack() as running:
            good = run(folder, running)
            if os.environ.get("KEEP") not in (None, "", "0"):
                keep_running(folder, running)
    except KeyboardInterrupt:
        print("\n  everything that was started has been stopped")
        if good is None:
            return 130
    finally:
        if good is False:
            print(f"  the logs of its processes are in {folder.relative_to(ROOT)}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if good else 1


def run(folder: Path, running: ExitStack) -> bool:
    """
    One demo in ``folder``; what it starts is stopped when ``running`` is closed.

    :returns: whether every webhook is as it must be
    """
    started = time.monotonic()
    for name in ("broker", "control", "cache", ENRICHMENT_QUEUE, DEFAULT_QUEUE):
        (folder / name).mkdir()
    os.environ.update({"DEMO_FOLDER": str(folder), "DJANGO_SETTINGS_MODULE": "demo.settings"})
    days = days_asked_for()
    if days == 2:
        os.environ["DEMO_ROLLUP_READY_AT"] = in_a_moment().strftime("%H:%M")

    from demo.processes import Snowflake, Worker  # takes a moment: not before the signal handlers

    print("\nFrom a passing grade to an enriched webhook\n")
    say("starting a server that speaks Snowflake's protocol")
    snowflake = Snowflake(folder)
    running.callback(snowflake.kill)
    snowflake.start()
    os.environ["LMS_SNOWFLAKE_PORT"] = str(snowflake.port)

    say("setting up an LMS with edx-enterprise and this plugin")
    boot_lms()
    check_broker(running)

    for queue in (ENRICHMENT_QUEUE, DEFAULT_QUEUE):
        say(f"starting a Celery worker on {queue}")
        worker = Worker(queue, {}, folder / queue)
        running.callback(worker.kill)
        worker.start()
    good = (two_days if days == 2 else one_day)(snowflake, folder, running)
    print(f"\n{'All webhooks are as they must be' if good else 'A webhook is missing, wrong or too many'}", end="")
    print(f" ({time.monotonic() - started:.0f} s).\n", flush=True)
    return good


def one_day(snowflake: "Snowflake", folder: Path, running: ExitStack) -> bool:
    """Seven learners are graded, and what arrives is judged."""
    from demo import people, receiver, table

    partner = receiver.Receiver()
    running.callback(partner.close)
    expectations = people.enrol(partner.url, snowflake.add)
    say(f"the partners' receiver listens on {partner.url}")
    say("grading seven learners; every event comes twice, as it does after a regrade")
    people.grade(expectations)
    wait_for(partner, sum(expectation.body is not None for expectation in expectations))
    return table.report(expectations, partner.requests)


def two_days(snowflake: "Snowflake", folder: Path, running: ExitStack) -> bool:
    """The rollup moves by a day, with the sweep that looks for what waits for it; then a learner is retired."""
    from demo.processes import Undisturbed
    from demo.two_days import TwoDays

    say("starting the sweep, every second")
    command = [sys.executable, "manage.py", "send_due_webhooks", "--loop", "--interval", "1"]
    sweep = Undisturbed(command, folder / "sweep.log", cwd=ROOT)
    running.callback(sweep.kill)
    sweep.start()
    return TwoDays(snowflake.add, say, running).play()


def days_asked_for() -> int:
    """``DAYS``: 1 or 2."""
    given = os.environ.get("DAYS") or "1"
    if given not in ("1", "2"):
        raise SystemExit(f"DAYS={given}: the demo has 1 day or 2.")
    return int(given)


def in_a_moment() -> datetime:
    """A full minute, in UTC, that is not over before the first day is; of the same day, if need be of tomorrow."""
    now = datetime.now(UTC)
    moment = (now + FIRST_DAY + timedelta(minutes=1)).replace(second=0, microsecond=0)
    if moment.date() != now.date():
        say("waiting for midnight (UTC): the days would change on their own")
        time.sleep((moment.replace(hour=0, minute=0) - now).total_seconds())
        return in_a_moment()
    return moment


def boot_lms() -> None:
    """Django, the tables, and SQLite in the mode in which readers do not wait for writers."""
    import django
    from django.core.management import call_command
    from django.db import connection

    django.setup()
    import tests.lms_host.celery  # noqa: F401  (the Celery app that this process publishes through)

    call_command("migrate", run_syncdb=True, verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode=WAL")


def check_broker(running: ExitStack) -> None:
    """Stop with one line where the broker does not answer; leave nothing behind on one that is a server."""
    from django.conf import settings
    from kombu import Connection
    from kombu.exceptions import OperationalError

    connection = Connection(settings.BROKER_URL, connect_timeout=3)
    try:
        connection.ensure_connection(max_retries=1, interval_start=0.5)
    except OperationalError as err:
        raise SystemExit(f"No broker answers at {connection.as_uri()}: {err}") from err
    finally:
        connection.release()
    if settings.BROKER_URL.startswith("redis"):
        running.callback(forget_messages, settings.BROKER_URL, settings.KEY_PREFIX)


def forget_messages(url: str, prefix: str) -> None:
    """Delete this run's keys from a Redis server."""
    from redis import Redis

    with Redis.from_url(url) as server:
        for key in server.scan_iter(match=f"*{prefix}*"):
            server.delete(key)


def wait_for(partner: "Receiver", count: int) -> None:
    """Until the partner has ``count`` requests, and a little longer for one that should not come."""
    deadline = time.monotonic() + PATIENCE
    seen = -1
    while seen < count and time.monotonic() < deadline:
        if len(partner.requests) != seen:
            seen = len(partner.requests)
            say(f"{seen} of {count} webhooks have arrived")
        time.sleep(0.05)
    say(f"waiting {AFTERWARDS} s more for any that should not come")
    time.sleep(AFTERWARDS)


def keep_running(folder: Path, running: ExitStack) -> None:
    """Open the admin and leave everything running until Ctrl-C."""
    from django.contrib.auth import get_user_model

    from demo.processes import Undisturbed
    from tests.servers import free_port, wait_for_port

    password, port = secrets.token_urlsafe(9), free_port()
    get_user_model().objects.create_superuser("operator", "operator@example.com", password)
    command = [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"]
    host = {"DEMO_FOLDER": str(folder), "DJANGO_SETTINGS_MODULE": "demo.settings"}
    host |= {name: os.environ.get(name, "") for name in ("BROKER", "LMS_SNOWFLAKE_PORT", "DEMO_ROLLUP_READY_AT")}
    host["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    host["PYTHONPATH"] = str(ROOT / "tests" / "lms_host" / "platform")  # celery -A lms.celery
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in host.items())
    (folder / "environment").write_text(exports)
    server = Undisturbed(command, folder / "admin.log", cwd=ROOT)
    running.callback(server.kill)
    server.start()
    wait_for_port(port, server.process)
    print(f"The admin is open: http://127.0.0.1:{port}/admin/channel_webhooks/")
    print(f"Sign in as operator with the password {password}")
    print(f"In another terminal: source {(folder / 'environment').relative_to(ROOT)}")
    print("Ctrl-C stops everything.", flush=True)
    server.process.wait()


if __name__ == "__main__":
    sys.exit(main())
