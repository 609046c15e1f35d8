# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whatever is killed, stopped or flushed under load: every completion's webhook arrives, and nothing else does."""

import itertools
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
import redis

from tests.chaos.fleet import QUEUES, ROOT, Fleet
from tests.chaos.ledger import Comparison, Ledger, answers_of, bodies_of, learning_time_of
from tests.chaos.lms import COMPLETIONS, LIMITS
from tests.chaos.receiver import ANSWERS, Receiver
from tests.factories import COURSE
from tests.servers import Daemon, MariaDB, Redis
from tests.snowflake_server import TABLE

pytestmark = [pytest.mark.chaos, pytest.mark.mariadb, pytest.mark.redis]

SEED = 2026
WORKERS = 3
#: completions that are looked up in Snowflake
LOOKED_UP = 120
EVENTS_SECONDS = 60
#: seconds after the first event
FLUSH_AT, BROKER_STOPS_AT, BROKER_STARTS_AT, DATABASE_DIES_AT, DATABASE_STARTS_AT, LAST_KILL_AT = 20, 32, 42, 50, 54, 96
KILL_EVERY = 4
#: Seconds after the first event until everything must have arrived. What a killed worker had claimed is leased for
#: 180 s, and an endpoint that takes one at a time waits for it; breakers are open for five minutes at most.
PATIENCE = 500


class Lms(Daemon):
    """One of the LMS's own processes, whose last line is JSON."""

    def __init__(self, folder, environment, name, task, *arguments):
        command = [sys.executable, "-m", "tests.chaos.lms", task, *map(str, arguments)]
        super().__init__(command, folder / f"{name}.log", env={**os.environ, **environment}, cwd=ROOT)

    def result(self):
        output = "the process has not ended"
        if self.process.wait(timeout=120) == 0:
            output = self.log.read_text()
            return json.loads(output.splitlines()[-1])
        raise AssertionError(self.log.read_text())


class Site:
    """The servers, what is done to them, and when."""

    def __init__(self, folder, snowflake, running):
        self.folder, self.snowflake = folder, snowflake
        # Durable, since it is killed like everything else.
        self.database = MariaDB("--innodb-flush-log-at-trx-commit=1")
        self.broker = Redis(folder)
        for server in (self.database, self.broker):
            running.callback(server.kill)
            server.start()
        self.receiver = Receiver(SEED)
        running.callback(self.receiver.close)
        self.ledger = Ledger(self.database.port)
        self.flushed, self.broker_stops, self.database_kills = 0, 0, 0
        #: what every process gets; the flag is on where Snowflake's port is told
        self.environment = {
            **self.database.environment(),
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
            "LMS_BROKER_URL": self.broker.url(0),
            "LMS_CACHE_URL": self.broker.url(1),
            "LMS_ALLOW_PRIVATE_ADDRESSES": "1",
        }
        self.with_flag = {**self.environment, "LMS_SNOWFLAKE_PORT": str(snowflake.port)}

    def set_up(self):
        """Tables, customers, endpoints, learners and a rollup; returns the user ids without and with a lookup."""
        self.ledger.create()
        migrate = [sys.executable, "manage.py", "migrate", "--run-syncdb", "--verbosity", "0"]
        subprocess.run(migrate, cwd=ROOT, env={**os.environ, **self.environment}, check=True, timeout=120)
        urls = [self.receiver.url(number) for number in range(len(LIMITS))]
        learners = Lms(self.folder, self.environment, "prepare", "prepare", *urls).start().result()
        looked_up = learners[:LOOKED_UP]
        rows = (
            f"({each['user_id']}, '{COURSE}', '{each['customer']}', '2026-11-20', {seconds_of(each['user_id'])})"
            for each in looked_up
        )
        self.snowflake.execute(f"INSERT INTO {TABLE} VALUES {', '.join(rows)}")
        user_ids = [each["user_id"] for each in learners]
        return user_ids[LOOKED_UP:], user_ids[:LOOKED_UP]

    def grade(self, name, user_ids, environment):
        """A process that grades these learners."""
        names = self.folder / f"{name}.json"
        names.write_text(json.dumps(user_ids))
        return Lms(self.folder, environment, name, "grade", EVENTS_SECONDS, names).start()

    def flush_broker(self):
        """All messages gone: those that wait, and those that workers hold until their time has come."""
        with redis.Redis(port=self.broker.port) as client:
            while not self._messages(client):
                time.sleep(0.05)
            with client.pipeline(transaction=True) as together:
                self._ask_for_messages(together)
                *counts, _ = together.flushall().execute()
        self.flushed += sum(counts)

    def stop_broker(self):
        self.broker.kill()
        self.broker_stops += 1

    def kill_database(self):
        self.database.kill()
        self.database_kills += 1

    def _messages(self, client):
        with client.pipeline() as together:
            self._ask_for_messages(together)
            return sum(together.execute())

    @staticmethod
    def _ask_for_messages(pipeline):
        for queue in QUEUES.split(","):
            pipeline.llen(queue)
        pipeline.hlen("unacked")


def seconds_of(user_id):
    """What the rollup says about a learner."""
    return 60 * user_id


def plan(site, fleet):
    """(seconds after the first event, what is done then)."""
    kills = itertools.cycle(
        [fleet.kill_worker, fleet.kill_pool_process, fleet.kill_worker, fleet.kill_pool_process, fleet.kill_sidecar]
    )
    steps = [
        (FLUSH_AT, site.flush_broker),
        (BROKER_STOPS_AT, site.stop_broker),
        (BROKER_STARTS_AT, site.broker.start),
        (DATABASE_DIES_AT, site.kill_database),
        (DATABASE_STARTS_AT, site.database.start),
        *zip(range(KILL_EVERY, LAST_KILL_AT + 1, KILL_EVERY), kills, strict=False),
    ]
    return sorted(steps, key=lambda step: step[0])


def wait_for_all(site, fleet, deadline):
    """Until nothing but delivered webhooks is there."""
    while (statuses := site.ledger.statuses()) != {"delivered": COMPLETIONS}:
        fleet.tend()
        assert time.monotonic() < deadline, f"{statuses}: {site.ledger.unfinished()}"
        time.sleep(1)
    time.sleep(5)  # for answers that are being written down, and for webhooks that should not come


class Outcome:
    """What has come of it all."""

    def __init__(self, site, fleet, graded, calm_since):
        self.site, self.fleet, self.calm_since = site, fleet, calm_since
        self.graded = {key: sum(each[key] for each in graded) for key in graded[0]}
        self.passed, self.webhooks = site.ledger.passed(), site.ledger.webhooks()
        self.posts, self.attempts = list(site.receiver.posts), site.ledger.attempts()
        self.answers = answers_of(self.posts)
        self.comparison = Comparison(self.posts, self.attempts)
        self.by_workers, self.by_sidecars = fleet.attempts_logged()

    def numbers(self):
        taken = self.comparison.first_taken
        waits = sorted(
            taken[each.webhook_id].at - each.occurred_at for each in self.webhooks if each.webhook_id in taken
        )
        found = sum(each.learning_time is not None for each in self.webhooks)
        return {
            "completions": f"{len(self.passed)}, of which {found} with learning time; grading: {self.graded}",
            "POSTs": f"{len(self.posts)}, answered {dict(self.answers)}",
            "attempts": f"{len(self.attempts)}; logged by workers {self.by_workers}, by sidecars {self.by_sidecars}",
            "POSTs without attempt": len(self.comparison.unrecorded),
            "repeated deliveries": self.comparison.repeated,
            "killed": dict(self.fleet.kills),
            "ended by themselves": f"{len(self.fleet.workers_that_ended)} workers",
            "messages flushed, stops of the broker": f"{self.site.flushed}, {self.site.broker_stops}",
            "kills of the database": self.site.database_kills,
            "from event to delivery": f"{waits[len(waits) // 2]:.1f} s median, {waits[-1]:.1f} s longest",
        }

    def check_that_it_was_chaos(self):
        assert all(self.answers[answer] for answer in ANSWERS), self.answers
        assert self.fleet.kills["workers"] >= 5 and self.fleet.kills["pool processes"] >= 5, self.fleet.kills
        assert self.fleet.kills["sidecars"] >= 2, self.fleet.kills
        assert self.site.flushed and self.site.broker_stops == 1 and self.site.database_kills == 1
        assert self.graded["failed"], "no grade was interrupted by the database"
        assert self.comparison.unrecorded, "no attempt was interrupted"
        assert self.by_workers and self.by_sidecars

    def check_that_nothing_was_lost(self):
        assert self.graded["committed"] == COMPLETIONS
        assert sorted(self.passed) == sorted(each.user_id for each in self.webhooks)
        assert {each.status for each in self.webhooks} == {"delivered"}
        assert set(self.comparison.first_taken) == {each.webhook_id for each in self.webhooks}

    def check_what_was_said(self, looked_up):
        assert bodies_of(self.posts) == {each.webhook_id: {each.body.encode()} for each in self.webhooks}
        for each in self.webhooks:
            assert json.loads(each.body)["learner"]["user_id"] == each.user_id
            expected = seconds_of(each.user_id) if each.learning_time_status == "found" else None
            assert learning_time_of(each.body) == each.learning_time == expected
        found = {each.user_id for each in self.webhooks if each.learning_time_status == "found"}
        assert found <= set(looked_up) and len(found) >= 100

    def check_the_attempts(self):
        assert self.comparison.unseen == [], "attempts that the receiver knows nothing of"
        assert self.comparison.contradicting == []
        assert [post for post in self.comparison.unrecorded if post.at > self.calm_since] == []
        assert self.site.receiver.faults == []

    def check_the_limits(self):
        for number, limits in enumerate(LIMITS):
            times = sorted(post.at for post in self.posts if post.path.endswith(f"/{number}"))
            allowed = limits.get("max_requests_per_minute", COMPLETIONS)
            assert most_in_a_minute(times) <= allowed * 1.05, "a twentieth for what was held up on its way"


def most_in_a_minute(times):
    return max(sum(first <= moment < first + 60 for moment in times) for first in times)


def test_nothing_is_lost_whatever_is_killed(tmp_path, snowflake_server, capsys):
    with ExitStack() as running:
        snowflake_server.empty()
        site = Site(tmp_path, snowflake_server, running)
        plain, looked_up = site.set_up()
        fleet = Fleet(WORKERS, site.with_flag, tmp_path / "fleet", SEED)
        running.callback(fleet.stop)
        fleet.wait_until_ready(seconds=60)
        started = time.monotonic()
        graders = [site.grade("plain", plain, site.environment), site.grade("looked-up", looked_up, site.with_flag)]
        for grader in graders:
            running.callback(grader.kill)
        for at, step in plan(site, fleet):
            time.sleep(max(0.0, started + at - time.monotonic()))
            step()
            fleet.tend()
        calm_since = time.time()
        site.receiver.recovered = True
        graded = [grader.result() for grader in graders]
        wait_for_all(site, fleet, started + PATIENCE)
        took = time.monotonic() - started
        fleet.stop()
        outcome = Outcome(site, fleet, graded, calm_since)
    with capsys.disabled():
        print(f"\nchaos, over after {took:.0f} s:")
        for name, value in outcome.numbers().items():
            print(f"    {name}: {value}")
    outcome.check_that_nothing_was_lost()
    outcome.check_what_was_said(looked_up)
    outcome.check_the_attempts()
    outcome.check_the_limits()
    outcome.check_that_it_was_chaos()
