# SPDX-License-Identifier: AGPL-3.0-or-later
"""
A part of the site that is a process of its own and does what it is asked to, one JSON line for each task and answer.

``Part`` is the side that asks, ``serve`` the process itself. It ends with the one who started it: its input then does.
"""

import json
import os
import select
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.servers import Daemon

ROOT = Path(__file__).parent.parent
#: seconds for a part to boot
BOOT_SECONDS = 60.0


class PartFailed(RuntimeError):
    """A part raised, ended, or did not answer in time."""


class Part(Daemon):
    """``python -m benchmarks.NAME``; what it says at its start is in ``hello``."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str] | None = None) -> None:
        super().__init__(
            [sys.executable, "-m", f"benchmarks.{name}"],
            folder / f"{name}.log",
            env={**os.environ, **(environment or {})},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.name = name
        self.hello: dict[str, Any] = {}

    def start(self) -> "Part":
        super().start()
        self.hello = self._answer(BOOT_SECONDS)
        return self

    def ask(self, task: str, within: float = 30.0, **arguments: Any) -> Any:
        """
        Have a task done within so many seconds; returns its answer.

        :raises PartFailed: with the part's own traceback, where it has one
        """
        try:
            self.process.stdin.write(json.dumps([task, arguments]) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as err:
            raise self._has_ended() from err
        return self._answer(within)

    def kill(self, *how: Any) -> None:
        super().kill(*how)
        for pipe in (self.process.stdin, self.process.stdout) if self.process else ():
            with suppress(BrokenPipeError):  # what it was asked last, and did not live to read
                pipe.close()

    def _has_ended(self) -> PartFailed:
        return PartFailed(f"{self.name} has ended:\n{self.log.read_text()[-4000:]}")

    def _answer(self, seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        while not select.select([self.process.stdout], [], [], 0.5)[0]:
            if time.monotonic() > deadline:
                raise PartFailed(f"{self.name} did not answer within {seconds:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            raise self._has_ended()
        answer = json.loads(line)
        if "error" in answer:
            raise PartFailed(f"{self.name}: {answer['error']}")
        return answer["answer"]


def serve(tasks: dict[str, Callable[..., Any]], **hello: Any) -> None:
    """Do what is asked until nobody can ask any more. What others print goes into the log."""
    answers, sys.stdout = sys.stdout, sys.stderr
    _say(answers, answer=hello)
    for line in sys.stdin:
        task, arguments = json.loads(line)
        try:
            _say(answers, answer=tasks[task](**arguments))
        except Exception:  # Told to the one who asked, who decides.
            _say(answers, error=traceback.format_exc())


def _say(stream: Any, **what: Any) -> None:
    stream.write(json.dumps(what) + "\n")
    stream.flush()
