# SPDX-License-Identifier: AGPL-3.0-or-later
"""Workers and the sidecar: killed at random, started again at once, as a supervisor does."""

import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from tests.servers import CeleryWorker, Daemon

ROOT = Path(__file__).parent.parent.parent
QUEUES = "edx.lms.core.webhook_enrichment,edx.lms.core.default"
ATTEMPT = "source=webhook_delivery status="


class Worker(CeleryWorker):
    """A Celery worker whose readiness nobody waits for."""

    def start(self) -> "Worker":
        Daemon.start(self)
        return self

    def is_ready(self) -> bool:
        return " ready." in self.log.read_text()

    def pool_processes(self) -> list[int]:
        """The ids of the processes that run tasks, which this one has forked."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]


class Sidecar(Daemon):
    """``send_due_webhooks --loop``."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        super().__init__(
            [sys.executable, "manage.py", "send_due_webhooks", "--loop", "--interval", "5"],
            folder / "sidecar.log",
            env={**os.environ, **environment},
            cwd=ROOT,
        )

    def is_ready(self) -> bool:
        return "attempts made" in self.log.read_text()


class Fleet:
    """
    So many workers and a sidecar.

    ``kills`` counts by kind; ``workers_that_ended`` are the logs of those that ended without having been killed (kombu
    sometimes does not get over the loss of its broker). A sidecar must never do so.
    """

    def __init__(self, workers: int, environment: dict[str, str], folder: Path, seed: int) -> None:
        self.kills: Counter[str] = Counter()
        self.workers_that_ended: list[Path] = []
        self._environment, self._folder = environment, folder
        self._random = random.Random(seed)
        self._generations = 0
        self._workers = [self._new(Worker) for _ in range(workers)]
        self._sidecar = self._new(Sidecar)

    def wait_until_ready(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not (self._sidecar.is_ready() and all(worker.is_ready() for worker in self._workers)):
            assert time.monotonic() < deadline, "workers and sidecar did not start"
            time.sleep(0.2)

    def tend(self) -> None:
        """Start again what has ended by itself."""
        for number, worker in enumerate(self._workers):
            if worker.process.poll() is not None:
                self.workers_that_ended.append(worker.log)
                self._workers[number] = self._new(Worker)
        assert self._sidecar.process.poll() is None, self._sidecar.log.read_text()

    def kill_worker(self) -> None:
        """A whole worker, as when its container goes."""
        ready = [number for number, worker in enumerate(self._workers) if worker.is_ready()]
        if ready:
            number = self._random.choice(ready)
            self._workers[number].kill()
            self._workers[number] = self._new(Worker)
            self.kills["workers"] += 1

    def kill_pool_process(self) -> None:
        """The process that runs a worker's tasks, as the kernel does when memory runs out."""
        running = [pid for worker in self._workers if worker.is_ready() for pid in worker.pool_processes()]
        if running:
            os.kill(self._random.choice(running), signal.SIGKILL)
            self.kills["pool processes"] += 1

    def kill_sidecar(self) -> None:
        if self._sidecar.is_ready():
            self._sidecar.kill()
            self._sidecar = self._new(Sidecar)
            self.kills["sidecars"] += 1

    def stop(self) -> None:
        for process in (*self._workers, self._sidecar):
            process.kill()

    def attempts_logged(self) -> tuple[int, int]:
        """By all the workers, and by all the sidecars."""
        workers, sidecars = (
            sum(log.read_text().count(ATTEMPT) for log in self._folder.glob(f"*/{name}.log"))
            for name in ("worker", "sidecar")
        )
        return workers, sidecars

    def _new(self, kind: type) -> "Worker | Sidecar":
        self._generations += 1
        folder = self._folder / str(self._generations)
        folder.mkdir(parents=True)
        process = kind(QUEUES, self._environment, folder) if kind is Worker else kind(self._environment, folder)
        process.log.touch()
        return process.start()
