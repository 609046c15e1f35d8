# SPDX-License-Identifier: AGPL-3.0-or-later
"""The demo: that it succeeds, and that it would not if a webhook were missing, wrong or too many."""

import os
import subprocess
import sys
from pathlib import Path

import django
import pytest

from demo.people import NO_WEBHOOK
from demo.receiver import COMPLETION_KEYS, KEYS, Received, judge


def post(**completion):
    return Received({**dict.fromkeys(KEYS, ""), "completion": {**dict.fromkeys(COMPLETION_KEYS, 1), **completion}}, 0.0)


@pytest.mark.parametrize(
    ("expected", "posts", "verdict"),
    [
        (60, [post(learning_time=60)], "ok"),
        (0, [post(learning_time=0)], "ok"),
        (None, [post()], "ok"),
        (NO_WEBHOOK, [], "ok"),
        (60, [], "MISSING"),
        (60, [post(learning_time=60), post(learning_time=60)], "TOO MANY"),
        (NO_WEBHOOK, [post()], "TOO MANY"),
        (60, [post(learning_time=61)], "WRONG"),
        (0, [post()], "WRONG"),
        (None, [post(learning_time=0)], "WRONG"),
        (60, [post(learning_time=60, surprise=1)], "WRONG"),
    ],
)
def test_the_verdict(expected, posts, verdict):
    assert judge(expected, posts).startswith(verdict)


@pytest.mark.skipif(django.VERSION < (5, 1), reason="`make demo` runs on Django 5.2: its SQLite needs transaction_mode")
def test_the_demo_succeeds_and_shows_a_table():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LMS_")}
    done = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=Path(__file__).parents[1],
        env={**environment, "BROKER": "", "KEEP": ""},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9900 s" in done.stdout and '"learning_time": 9900' in done.stdout
    assert "All webhooks are as they must be." in done.stdout
