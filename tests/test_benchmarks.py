# SPDX-License-Identifier: AGPL-3.0-or-later
"""The benchmarks run and tell right from wrong; how fast anything is is none of a test's business."""

import json
import math
import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from benchmarks.limits import Limits
from benchmarks.measure import AT_MOST, Figure, Load, Outcome, Post, percentile, wakes
from benchmarks.parts import Part, PartFailed
from benchmarks.proxy import Requests
from benchmarks.report import QUICK_WARNING, Report, thinned
from benchmarks.scenarios import OPT_IN, SCENARIOS, select

ROOT = Path(__file__).parent.parent
#: all that is quick enough for a test
RUN = ("burst", "latency", "finished", "steady", "idle", "repeated")


# ---- the whole


@pytest.mark.mariadb
@pytest.mark.redis
def test_a_quick_run_measures_everything_and_every_webhook_is_right(tmp_path):
    pytest.importorskip("matplotlib", reason="the plot's library is not installed (make bench installs it)")
    environment = {key: text for key, text in os.environ.items() if not key.startswith(("LMS_", "DJANGO_"))}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *RUN, "--quick", "--results", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert QUICK_WARNING in done.stdout
    told = json.loads((tmp_path / "quick.json").read_text())
    assert told["quick"] is True
    assert list(told["scenarios"]) == list(RUN)
    for name, scenario in told["scenarios"].items():
        assert scenario["failed"] == [], name
        for figure in scenario["figures"]:
            assert figure["value"] > 0, (name, figure)
            assert figure["what"] in done.stdout
    for name in RUN[:-1]:
        details = told["scenarios"][name]["details"]
        assert details["webhooks"] == details["completions"] > 0
        assert details["statements"] > 0 and details["cpu_seconds"]["workers"] > 0
    assert told["scenarios"]["latency"]["details"]["latency_seconds"]["median"] > 0.3, "the proxy added nothing"
    assert told["scenarios"]["finished"]["details"]["finished_rows"] >= 500
    assert all(limit > 0 for limit in told["limits"].values())
    table = (tmp_path / "quick.md").read_text()
    assert QUICK_WARNING in table and table.count("\n| ") > 20
    assert (tmp_path / "quick.png").read_bytes().startswith(b"\x89PNG")


def test_a_selection_brings_what_it_compares_with_and_all_leaves_out_what_takes_too_long():
    assert select(["idle", "finished"]) == ["burst", "finished", "idle"]
    assert set(select([])) == set(select(["all"])) == SCENARIOS.keys() - OPT_IN
    assert select(["all", *OPT_IN]) == list(SCENARIOS)
    with pytest.raises(SystemExit, match="no scenario brust; there are: burst"):
        select(["brust"])


# ---- what is right


def load(*posts: Post) -> Load:
    """Two completions at 100 s and 101 s; the first is to tell 60 s of learning, the second none."""
    sent = [{"user_id": user_id, "began": 99.0 + user_id, "committed": 99.5 + user_id} for user_id in (1, 2)]
    return Load({1: 60, 2: None}, [{**each, "event": 1.0, "publish": 1.0} for each in sent], list(posts), [])


GOOD = (Post(102.0, "a", 1, 60), Post(104.0, "b", 2, None))


def test_a_load_is_timed_from_the_first_event_to_the_last_arrival():
    good = load(*GOOD)
    assert good.faults() == []
    assert (good.seconds(), good.rate(), good.latencies(), good.arrivals()) == (4.0, 0.5, [1.5, 2.5], [2.0, 4.0])


@pytest.mark.parametrize(
    ("posts", "fault"),
    [
        (GOOD[:1], "1 of 2 webhooks did not arrive"),
        ((*GOOD, Post(105.0, "c", 1, 60)), "1 of 2 webhooks arrived more than once"),
        ((*GOOD, Post(105.0, "c", 3, None)), "1 of 2 webhooks arrived for somebody else"),
        ((GOOD[0], GOOD[1]._replace(webhook_id="a")), "1 of 2 webhooks share a webhook-id"),
        ((GOOD[0], GOOD[1]._replace(learning_time=0)), "1 of 2 webhooks tell a wrong learning time"),
        ((GOOD[0]._replace(learning_time=None), GOOD[1]), "1 of 2 webhooks tell a wrong learning time"),
    ],
)
def test_what_is_wrong_with_webhooks_is_found(posts, fault):
    assert load(*posts).faults() == [fault]


def test_nothing_that_arrived_is_no_rate_and_no_crash():
    assert load().rate() == 0
    assert math.isnan(load().summary()["latency_seconds"]["median"])


# ---- arithmetic


def test_percentiles_are_values_that_were_measured():
    assert [percentile([3, 1, 2, 4], percent) for percent in (0, 25, 50, 95, 100)] == [1, 1, 2, 4, 4]
    assert math.isnan(percentile([], 95))


@pytest.mark.parametrize(
    ("statements", "count"),
    [
        ([], 0),
        ([(10.0, 10.5)], 1),
        ([(10.0, 10.5), (11.4, 11.5)], 1),
        ([(10.0, 10.5), (11.6, 11.7)], 2),
        # The long one keeps the warehouse awake, though a short one has ended meanwhile.
        ([(10.0, 15.0), (10.1, 10.2), (15.5, 15.6)], 1),
        ([(20.0, 20.1), (10.0, 10.1)], 2),
    ],
)
def test_a_statement_after_the_suspension_wakes_the_warehouse(statements, count):
    assert wakes(statements, auto_suspend=1.0) == count


def test_a_series_is_thinned_and_keeps_its_end():
    assert thinned([1.23456789]) == [1.2346]
    assert thinned([]) == []
    many = thinned([float(number) for number in range(2000)])
    assert len(many) <= 401 and many[0] == 0 and many[-1] == 1999


# ---- the parts


@pytest.mark.parametrize("size", [1, 7, 10_000], ids=["byte by byte", "in pieces", "at once"])
def test_requests_are_found_however_the_bytes_come(size):
    sent = b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyzGET /b HTTP/1.1\r\nHost: h\r\n\r\n"
    parser = Requests()
    found = [one for start in range(0, len(sent), size) for one in parser.feed(sent[start : start + size])]
    assert found == [(b"/a", b"xyz"), (b"/b", b"")]


def test_the_receiver_keeps_what_came_over_one_connection(tmp_path):
    with ExitStack() as running:
        receiver = Part("receiver", tmp_path)
        running.callback(receiver.kill)
        url = f"http://127.0.0.1:{receiver.start().hello['port']}/hook"
        session = running.enter_context(requests.Session())
        body = {"learner": {"user_id": 7}, "completion": {"learning_time": 60}}
        for webhook_id in ("one", "two"):
            assert session.post(url, json=body, headers={"webhook-id": webhook_id}, timeout=5).status_code == 200
        assert [post[1:] for post in receiver.ask("posts")] == [["one", 7, 60], ["two", 7, 60]]
        receiver.ask("forget")
        assert receiver.ask("count") == 0
        with pytest.raises(PartFailed, match="KeyError: 'unknown'"):
            receiver.ask("unknown")


def test_the_proxy_delays_each_round_trip_and_counts_the_statements_alone(tmp_path, httpserver):
    httpserver.expect_request("/queries/v1/query-request").respond_with_data("ok")
    httpserver.expect_request("/session/v1/login-request").respond_with_data("ok")
    with ExitStack() as running:
        proxy = Part("proxy", tmp_path, {"UPSTREAM_PORT": str(httpserver.port)})
        running.callback(proxy.kill)
        url = f"http://127.0.0.1:{proxy.start().hello['port']}"
        session = running.enter_context(requests.Session())
        session.post(f"{url}/session/v1/login-request?x=1", json={}, timeout=5)
        proxy.ask("latency", seconds=0.2)
        for statement in ("SELECT 1 FROM LEARNING_TIME", "ALTER SESSION SET A = 1", "select 1 from learning_time"):
            answer = session.post(f"{url}/queries/v1/query-request?x=1", json={"sqlText": statement}, timeout=5)
            assert answer.text == "ok" and answer.elapsed.total_seconds() > 0.2
        seen = proxy.ask("seen")
    assert (len(seen["statements"]), seen["logins"], seen["requests"]) == (2, 1, 4)
    assert all(ended - began >= 0.2 for began, ended in seen["statements"])


def test_a_part_that_says_nothing_or_ends_is_not_waited_for(tmp_path):
    part = Part("receiver", tmp_path).start()
    ender = threading.Timer(0.2, part.process.kill)
    ender.start()
    with pytest.raises(PartFailed, match="receiver"):
        for _ in range(1000):
            part.ask("count")
            ender.join(0.01)
    part.kill()


# ---- the report


def report(outcome: Outcome) -> Report:
    limits = Limits(100, 200, 50, 3, 5000, 0.004, 0.001, 0.01)
    return Report(
        {"date": "2026-11-24", "cpu": "a CPU"},
        {"Python": "3"},
        "plain",
        limits,
        {"idle": "title"},
        {"idle": outcome},
        quick=False,
    )


@pytest.mark.parametrize(
    ("figure", "cells"),
    [
        (Figure("a", 151.0, "/s", 150), ("≥ 150/s", "151/s", "met")),
        (Figure("a", 149.0, "/s", 150), ("≥ 150/s", "149/s", "missed")),
        (Figure("a", 0.25, "s", 0.25, AT_MOST), ("≤ 0.25 s", "0.25 s", "met")),
        (Figure("a", 0.26, "s", 0.25, AT_MOST), ("≤ 0.25 s", "0.26 s", "missed")),
        (Figure("a", 20, ""), ("", "20", "")),
        (Figure("a", math.nan, "s", 0.25, AT_MOST), ("≤ 0.25 s", "nan s", "missed")),
    ],
)
def test_the_table_says_met_or_missed(figure, cells):
    assert report(Outcome([figure])).rows()[0][2:5] == cells


def test_the_figures_of_a_failed_scenario_are_not_met(tmp_path):
    failed = report(Outcome([Figure("a", 151.0, "/s", 150)], faults=["1 of 2 webhooks did not arrive"]))
    assert failed.rows()[0][4] == "FAILED"
    for text in (failed.terminal(), failed.markdown()):
        assert "FAILED idle: 1 of 2 webhooks did not arrive" in text
        assert "Measured on 2026-11-24, a CPU." in text and "Set-up: plain." in text
    failed.write(tmp_path, "latest")
    assert json.loads((tmp_path / "latest.json").read_text())["scenarios"]["idle"]["failed"]


def test_a_scenario_that_was_stopped_has_a_line(tmp_path):
    stopped = report(Outcome(faults=["lms has ended"]))
    assert [row[4] for row in stopped.rows()] == ["FAILED"]
    stopped.write(tmp_path, "latest")
    [scenario] = json.loads((tmp_path / "latest.json").read_text())["scenarios"].values()
    assert scenario["figures"] == []
