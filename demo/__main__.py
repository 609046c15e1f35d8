# SPDX-License-Identifier: AGPL-3.0-or-later
"""
``python -m demo``: start everything, send events, wait, judge, print.

Exit status 0 when every webhook is as it must be, 1 otherwise. ``BROKER=redis://...`` runs it on a Redis server,
``KEEP=1`` leaves it running with the admin open.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ENRICHMENT_QUEUE, DEFAULT_QUEUE = "edx.lms.core.webhook_enrichment", "edx.lms.core.default"
#: longest wait for the webhooks, seconds; and for one too many after the last
PATIENCE, AFTERWARDS = 30, 2


def say(text: str) -> None:
    """One line of progress."""
    print(f"  {text}", flush=True)


def main() -> int:
    """Run the demo; the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell has it ignored in the background
    folder = Path(tempfile.mkdtemp(prefix="channel-webhooks-demo-"))
    try:
        with ExitStack() as running:
            return run(folder, running)
    except KeyboardInterrupt:
        print("\n  interrupted; everything that was started has been stopped")
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(folder: Path, running: ExitStack) -> int:
    """One demo in ``folder``; what it starts is stopped when ``running`` is closed."""
    for name in ("broker", "control", "cache"):
        (folder / name).mkdir()
    os.environ.update({"DEMO_FOLDER": str(folder), "DJANGO_SETTINGS_MODULE": "demo.settings"})

    from tests.servers import CeleryWorker
    from tests.snowflake_server import SnowflakeServer

    print("\nFrom a passing grade to an enriched webhook\n")
    say("starting a server that speaks Snowflake's protocol")
    snowflake = SnowflakeServer(folder)
    running.callback(snowflake.kill)
    snowflake.start()
    os.environ["LMS_SNOWFLAKE_PORT"] = str(snowflake.port)

    say("setting up an LMS with edx-enterprise and this plugin")
    boot_lms()

    from demo import people, receiver

    for queue in (ENRICHMENT_QUEUE, DEFAULT_QUEUE):
        say(f"starting a Celery worker on {queue}")
        workplace = folder / queue
        workplace.mkdir()
        worker = CeleryWorker(queue, {}, workplace)
        running.callback(worker.kill)
        worker.start()
    partner = receiver.Receiver()
    running.callback(partner.server.shutdown)

    expectations = people.enrol(partner.url, snowflake.add)
    say("grading: every event comes twice, as after a regrade")
    graded_at = time.time()
    people.grade(expectations)
    wait_for(partner, sum(expected.learning_time != people.NO_WEBHOOK for expected in expectations))
    good = print_table(expectations, partner, graded_at)
    if os.environ.get("KEEP"):
        keep(folder, running)
    return 0 if good else 1


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


def wait_for(partner: Any, count: int) -> None:
    """Until the partner has ``count`` webhooks, and a little longer for one that should not come."""
    deadline = time.monotonic() + PATIENCE
    seen = -1
    while partner.count() < count and time.monotonic() < deadline:
        if partner.count() != seen:
            seen = partner.count()
            say(f"{seen} of {count} webhooks have arrived")
        time.sleep(0.05)
    say(f"{partner.count()} of {count} webhooks have arrived; waiting {AFTERWARDS} s for any that should not come")
    time.sleep(AFTERWARDS)


def print_table(expectations: list[Any], partner: Any, graded_at: float) -> bool:
    """The table and one webhook; whether all is as it must be."""
    from demo.people import NO_WEBHOOK
    from demo.receiver import judge

    heads = ("learner", "customer", "story", "learning time", "latency", "verdict")
    rows, verdicts = [], []
    for expected in expectations:
        posts = partner.posts.get((expected.learner.id, str(expected.customer.uuid)), [])
        verdicts.append(judge(expected.learning_time, posts))
        told = posts[0].body["completion"].get("learning_time") if posts else None
        shown = "no webhook" if not posts else "not known" if told is None else f"{told} s"
        latency = f"{posts[0].at - graded_at:.2f} s" if posts else "–"
        rows.append((expected.learner.username, expected.customer.name, expected.story, shown, latency, verdicts[-1]))
    strangers = set(partner.posts) - {(e.learner.id, str(e.customer.uuid)) for e in expectations}
    widths = [max(len(str(row[column])) for row in [heads, *rows]) for column in range(len(heads))]
    print()
    for row in [heads, tuple("─" * width for width in widths), *rows]:
        print("  " + "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    example = next((e for e in expectations if e.learning_time not in (None, NO_WEBHOOK)), None)
    posts = partner.posts.get((example.learner.id, str(example.customer.uuid))) if example else None
    if posts:
        print(f"\nThe webhook about {example.learner.username}, as {example.customer.name} received it:\n")
        print(json.dumps(posts[0].body, indent=2, ensure_ascii=False))
    good = set(verdicts) == {"ok"} and not strangers
    print("\nAll webhooks are as they must be.\n" if good else "\nSomething is missing, wrong or too many.\n")
    return good


def keep(folder: Path, running: ExitStack) -> None:
    """Leave everything running, with the admin open, until Ctrl-C."""
    from django.contrib.auth import get_user_model

    from tests.servers import free_port

    password, port = secrets.token_urlsafe(9), free_port()
    get_user_model().objects.create_superuser("operator", "operator@example.com", password)
    command = [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"]
    with (folder / "admin.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    running.callback(server.wait)
    running.callback(server.terminate)
    print(f"The admin is open: http://127.0.0.1:{port}/admin/channel_webhooks/")
    print(f"Sign in as operator with the password {password}")
    print("Ctrl-C stops everything.", flush=True)
    server.wait()


if __name__ == "__main__":
    sys.exit(main())
