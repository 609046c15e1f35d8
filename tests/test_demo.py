# SPDX-License-Identifier: AGPL-3.0-or-later
"""The demo, run as a reader of the README runs it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import requests

from demo.verdict import OK
from tests.servers import free_port

ROOT = Path(__file__).parent.parent
LEARNERS = ("maria", "nour", "zoe", "ben", "felix", "sam", "olga")


class Run:
    """``python -m demo`` as a process; its descendants are known by a mark in their environment."""

    def __init__(self, **environment):
        self.mark = f"DEMO_TEST_MARK={uuid.uuid4()}"
        name, _, value = self.mark.partition("=")
        self.environment = {key: text for key, text in os.environ.items() if not key.startswith(("LMS_", "DJANGO_"))}
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "demo"],
            cwd=ROOT,
            env={**self.environment, "BROKER": "", "KEEP": "", "DAYS": "", name: value, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""

    def read_until(self, text):
        for line in self.process.stdout:
            self.output += line
            if text in line:
                return
        raise AssertionError(f"the demo ended without saying {text!r}:\n{self.output}")

    def end(self):
        self.output += self.process.communicate(timeout=60)[0]
        return self.process.returncode

    def survivors(self):
        """Processes that the demo has left running; zombies, which nobody has reaped yet, have no environment."""
        found = []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            # Kernel threads, and processes that end meanwhile.
            with contextlib.suppress(OSError):
                if self.mark.encode() in environ.read_bytes().split(b"\0"):
                    found.append(environ.parent.name)
        return found

    def folder_is_gone(self):
        return not any((ROOT / "demo" / ".run").glob(f"*-{self.process.pid}-*"))

    def rows(self):
        """The cells of the table's lines, by learner and customer."""
        cells = [re.split(r"\s{2,}", line.strip()) for line in self.output.splitlines()]
        return {(row[0], row[1].split()[0]): row for row in cells if row[0] in LEARNERS}


@pytest.fixture
def start_demo():
    runs = []

    def start(**environment):
        runs.append(Run(**environment))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.send_signal(signal.SIGINT)
        with contextlib.suppress(ValueError):  # its output has been read to the end already
            run.process.communicate(timeout=60)
        assert run.survivors() == []
        assert run.folder_is_gone()


def check_report(run):
    rows = run.rows()
    assert {key: (row[3], row[5]) for key, row in rows.items()} == {
        ("maria", "Acme"): ("9900 s", OK),
        ("nour", "Acme"): ("3000 s", OK),
        ("nour", "Globex"): ("4500 s", OK),
        ("zoe", "Acme"): ("0 s", OK),
        ("ben", "Globex"): ("not known", OK),
        ("felix", "Globex"): ("no webhook", OK),
        ("sam", "Globex"): ("no webhook", OK),
        ("olga", "Acme"): ("no webhook", OK),
    }
    shown = json.loads(run.output[run.output.index("\n{\n") : run.output.index("\n}\n") + 2])
    assert shown["learner"]["username"] == "maria" and shown["completion"]["learning_time"] == 9900


def test_the_demo_on_its_embedded_default(start_demo):
    started = time.monotonic()
    run = start_demo()
    assert run.end() == 0, run.output
    assert time.monotonic() - started < 60
    check_report(run)


@pytest.mark.redis
def test_the_demo_on_redis_leaves_nothing_on_the_server(start_demo, redis_server):
    from redis import Redis

    run = start_demo(BROKER=redis_server.url(7))
    assert run.end() == 0, run.output
    check_report(run)
    with Redis.from_url(redis_server.url(7)) as server:
        assert server.keys("*") == []


def test_a_broker_that_is_not_there_is_one_line(start_demo):
    run = start_demo(BROKER=f"redis://:hidden@127.0.0.1:{free_port()}/0")
    assert run.end() == 1
    assert "No broker answers at redis://" in run.output
    assert "Traceback" not in run.output and "hidden" not in run.output


def test_a_number_of_days_that_there_is_not(start_demo):
    run = start_demo(DAYS="3")
    assert run.end() == 1
    assert "DAYS=3: the demo has 1 day or 2." in run.output and "Traceback" not in run.output


@pytest.mark.parametrize(
    ("how", "moment"),
    [
        # Said just before a process is started: the hardest moment not to lose one.
        (signal.SIGINT, "starting a server that speaks Snowflake's protocol"),
        (signal.SIGINT, "starting a Celery worker on edx.lms.core.webhook_enrichment"),
        (signal.SIGTERM, "starting a Celery worker on edx.lms.core.default"),
        (signal.SIGINT, "0 of 5 webhooks have arrived"),
    ],
)
def test_interrupted_it_stops_what_it_started(start_demo, how, moment):
    run = start_demo()
    run.read_until(moment)
    run.process.send_signal(how)
    assert run.end() == 128 + how
    assert run.survivors() == []
    assert "Traceback" not in run.output


def test_kept_running_the_admin_opens(start_demo):
    run = start_demo(KEEP="1")
    run.read_until("Ctrl-C stops everything")
    check_report(run)
    admin = re.search(r"http://\S+/admin/", run.output)[0]
    password = re.search(r"Sign in as operator with the password (\S+)", run.output)[1]
    with requests.Session() as browser:
        page = browser.get(f"{admin}login/")
        token = re.search(r'csrfmiddlewaretoken" value="([^"]+)', page.text)[1]
        form = {"username": "operator", "password": password, "csrfmiddlewaretoken": token, "next": "/admin/"}
        assert browser.post(f"{admin}login/", data=form).url == admin
        for page in (
            "channel_webhooks/enterprisewebhookconfiguration/",
            "channel_webhooks/enterprisewebhookconfiguration/add/",
            "channel_webhooks/webhooktransmissionqueue/",
            "channel_webhooks/webhooktransmissionqueue/1/change/",
            "enterprise/enterprisecustomer/",
        ):
            answer = browser.get(f"{admin}{page}")
            assert answer.status_code == 200 and "operator" in answer.text, page
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 0
