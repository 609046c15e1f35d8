# SPDX-License-Identifier: AGPL-3.0-or-later
"""A whole site on servers of its own: database, broker and cache, workers, LMS, partner, and the way to Snowflake."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

from benchmarks import processes
from benchmarks.measure import Load, Post
from benchmarks.parts import ROOT, Part
from tests.chaos.fleet import QUEUES
from tests.chaos.ledger import Ledger
from tests.servers import CeleryWorker, Daemon, MariaDB, Redis
from tests.snowflake_server import TABLE, SnowflakeServer

#: as an LMS's worker is started; how many of its processes run tasks
WORKER_OPTIONS = ("--max-tasks-per-child=100",)
WORKER_PROCESSES = 2
#: as a site runs its database, where tests prefer speed
DURABLE = ("--innodb-flush-log-at-trx-commit=1",)
#: one learner in so many has no learning time
WITHOUT_ROW = 10
#: days of learning that the rollup has of each of the others
DAYS = 3
#: seconds after the last webhook for one that should not come
AFTERWARDS = 1.0
#: tables whose rows stay between two scenarios
KEPT = ("channel_webhooks_enterprisewebhookconfiguration", "channel_webhooks_webhooksigningsecret")


class Site:
    """
    One customer, one endpoint with the default limits, and learners.

    :param warm_up: completions that a fresh worker is warmed up with
    :param settings: of the package, by their names in Django's settings; workers and LMS read them
    """

    def __init__(self, folder: Path, snowflake: SnowflakeServer, learners: int, warm_up: int, **settings: int) -> None:
        folder.mkdir()
        self.folder, self.snowflake, self.settings = folder, snowflake, settings
        self._learners, self._warm_up, self._workers = learners, warm_up, 0
        self._running = ExitStack()

    def __enter__(self) -> "Site":
        with ExitStack() as running:
            self.database = self._start(running, MariaDB(*DURABLE))
            self.broker = self._start(running, Redis(self.folder))
            self.receiver = self._start(running, Part("receiver", self.folder))
            upstream = {"UPSTREAM_PORT": str(self.snowflake.port)}
            self.proxy = self._start(running, Part("proxy", self.folder, upstream))
            self.url = f"http://127.0.0.1:{self.receiver.hello['port']}/hook"
            self.environment = self._environment()
            self.ledger = Ledger(self.database.port)
            self.ledger.create()
            migrate = [sys.executable, "manage.py", "migrate", "--run-syncdb", "--verbosity", "0"]
            subprocess.run(migrate, cwd=ROOT, env={**os.environ, **self.environment}, check=True, timeout=120)
            self.lms = self._start(running, Part("lms", self.folder, self.environment))
            made = self.lms.ask("prepare", within=120, url=self.url, learners=self._learners + self._warm_up)
            self.customer, self.course, user_ids = made["customer"], made["course"], made["user_ids"]
            self._warm_up_ids, self.user_ids = user_ids[: self._warm_up], user_ids[self._warm_up :]
            self.fill_rollup(self.course)
            self._running = running.pop_all()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._running.close()

    @staticmethod
    def _start(running: ExitStack, daemon: Daemon) -> Daemon:
        running.callback(daemon.kill)
        return daemon.start()

    def _environment(self) -> dict[str, str]:
        """What every process of the LMS gets; Snowflake is where the proxy listens."""
        return {
            **self.database.environment(),
            **{name: str(value) for name, value in self.settings.items()},
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
            "LMS_BROKER_URL": self.broker.url(0),
            "LMS_CACHE_URL": self.broker.url(1),
            "LMS_ALLOW_PRIVATE_ADDRESSES": "1",
            "LMS_SNOWFLAKE_PORT": str(self.proxy.hello["port"]),
        }

    def learning_time(self, user_id: int) -> int | None:
        """What a learner's webhook must tell."""
        return None if user_id % WITHOUT_ROW == 0 else 60 * user_id * DAYS

    def fill_rollup(self, course: str) -> None:
        """The learning time of every learner who has some, for one course run."""
        rows = [
            f"({user_id}, '{course}', '{self.customer}', '2026-11-{20 + day}', {60 * user_id})"
            for user_id in (*self._warm_up_ids, *self.user_ids)
            if user_id % WITHOUT_ROW
            for day in range(DAYS)
        ]
        for start in range(0, len(rows), 1000):
            self.snowflake.execute(f"INSERT INTO {TABLE} VALUES {', '.join(rows[start : start + 1000])}")

    @contextmanager
    def worker(self, options: Sequence[str] = WORKER_OPTIONS) -> Iterator[CeleryWorker]:
        """A fresh worker on empty tables, an empty broker and an empty cache, warmed up with a few completions."""
        self.empty()
        with self.cold_worker(options) as worker:
            self.load(self._warm_up_ids, per_second=10)
            yield worker

    @contextmanager
    def cold_worker(self, options: Sequence[str] = WORKER_OPTIONS) -> Iterator[CeleryWorker]:
        """A fresh worker, and nothing else."""
        self._workers += 1
        folder = self.folder / f"worker{self._workers}"
        folder.mkdir()
        worker = CeleryWorker(QUEUES, self.environment, folder, *options, concurrency=WORKER_PROCESSES)
        try:
            self._worker = worker.start()
            yield worker
        finally:
            worker.kill(signal.SIGKILL)

    def empty(self) -> None:
        """As on the first day; customers, learners and the endpoint stay."""
        tables = [name for (name,) in self.ledger.ask(r"SHOW TABLES LIKE 'channel\_webhooks\_%'") if name not in KEPT]
        for table in (*tables, "grades_persistentcoursegrade"):
            self.ledger.ask(f"TRUNCATE TABLE {table}")
        with redis.Redis(port=self.broker.port) as client:
            client.flushall()
        self.proxy.ask("latency", seconds=0)

    def load(
        self,
        user_ids: Sequence[int],
        per_second: float | None = None,
        patience: float = 600.0,
        course: str = "",
        send: Callable[[], list[dict[str, float]]] | None = None,
    ) -> Load:
        """
        Have these learners pass the course and wait for their webhooks.

        :param patience: seconds after the first event until they must be there
        :param send: what grades them, where that is not simply one after the other
        """
        self.receiver.ask("forget")
        self.proxy.ask("forget")
        cpu, deadline = self.cpu(), time.monotonic() + patience
        if send:
            sent = send()
        else:
            how = {"user_ids": user_ids, "per_second": per_second, "course": course or self.course}
            sent = self.lms.ask("grade", within=patience, **how)
        self.wait_for_posts(len(user_ids), deadline)
        used = {name: seconds - cpu.get(name, 0.0) for name, seconds in self.cpu().items()}
        time.sleep(AFTERWARDS)
        wire = self.proxy.ask("seen")
        return Load(
            expected={user_id: self.learning_time(user_id) for user_id in user_ids},
            sent=sent,
            posts=[Post(*post) for post in self.receiver.ask("posts")],
            statements=wire["statements"],
            logins=wire["logins"],
            cpu=used,
        )

    def wait_for_posts(self, count: int, deadline: float) -> bool:
        """Until so many have come, or the monotonic deadline has passed; whether they have come."""
        while self.receiver.ask("count") < count:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def messages(self) -> int:
        """How many messages lie in the workers' queues."""
        with redis.Redis(port=self.broker.port) as client:
            return sum(client.llen(queue) for queue in QUEUES.split(","))

    def cpu(self) -> dict[str, float]:
        """CPU seconds of each part since its start."""
        parts = {
            "LMS": self.lms,
            "workers": self._worker,
            "MariaDB": self.database,
            "Redis": self.broker,
            "Snowflake": self.snowflake,
            "proxy": self.proxy,
            "receiver": self.receiver,
        }
        used = {name: processes.cpu_seconds(daemon.process.pid) for name, daemon in parts.items()}
        return {**used, "harness": time.process_time()}
