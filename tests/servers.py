# SPDX-License-Identifier: AGPL-3.0-or-later
"""
A pytest plugin (``-p tests.servers``) that gives the run its real servers, on private ports.

The database is started before Django reads its settings, so that the whole suite runs on it: MariaDB where that is
installed, else SQLite, or what ``TEST_DATABASE`` asks for (mariadb, postgresql, sqlite). What had to be left out is
said at the end, with the reason.
"""

import atexit
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

MARKERS = {
    "mariadb": "needs a real MariaDB",
    "redis": "needs a real Redis",
    "node": "needs Node.js",
    "java": "needs a Java compiler",
    "chromium": "needs a real browser",
    "tutor": "needs Tutor, in the environment that make tutor makes",
    "chaos": "takes minutes: kills and restarts whatever the delivery rests on",
}
#: what a marker needs on the PATH, and what Debian calls it
PROGRAMS = {
    "redis": ("redis-server", "redis-server"),
    "node": ("node", "nodejs npm"),
    "java": ("java", "default-jdk-headless"),
    "chromium": ("chromium", "chromium"),
}
#: Tutor has an environment of its own, within that of the tests
TUTOR = Path(sys.prefix) / "tutor"
LEFT_OUT: dict[str, str] = {}
_database = ""


def free_port() -> int:
    """A port of the loopback interface that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port: int, process: subprocess.Popen, seconds: float = 30) -> None:
    """Until somebody listens; RuntimeError where the process ends before, or takes longer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args[0]} does not listen on port {port}")


class Daemon:
    """
    A server process in a process group of its own, which ends with the run, however that ends.

    Its output goes into the log, but for what ``popen`` takes elsewhere.
    """

    def __init__(self, command: list[str], log: Path, **popen) -> None:
        self.command, self.log, self.popen = command, log, popen
        self.process: subprocess.Popen | None = None

    def start(self) -> "Daemon":
        with self.log.open("ab") as log:
            popen = {"stdout": log, "stderr": log, "start_new_session": True, **self.popen}
            self.process = subprocess.Popen(self.command, **popen)
        _at_exit(self.kill)
        return self

    def kill(self, how: int = signal.SIGKILL) -> None:
        """End the whole group."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, how)
        if self.process:
            self.process.wait(timeout=20)


def _at_exit(clean_up: Callable[[], None]) -> None:
    """Clean up when this process ends, and not when a child that a test has forked does."""
    owner = os.getpid()
    atexit.register(lambda: clean_up() if os.getpid() == owner else None)


def _temporary_folder(prefix: str) -> Path:
    """A folder that is gone after the run; what is started in it later is ended earlier."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    _at_exit(partial(shutil.rmtree, folder, ignore_errors=True))
    return folder


class MariaDB(Daemon):
    """A private MariaDB server; fast rather than durable, unless ``options`` say otherwise."""

    def __init__(self, *options: str) -> None:
        self.folder = _temporary_folder("mariadb-")
        self.port = free_port()
        data = self.folder / "data"
        user = ["--user=root"] if os.geteuid() == 0 else []
        subprocess.run(
            [
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={data}",
                "--auth-root-authentication-method=normal",
                *user,
            ],
            check=True,
            capture_output=True,
        )
        super().__init__(
            [
                shutil.which("mariadbd") or "/usr/sbin/mariadbd",
                "--no-defaults",
                f"--datadir={data}",
                f"--port={self.port}",
                f"--socket={self.folder}/sock",
                f"--pid-file={self.folder}/pid",
                "--bind-address=127.0.0.1",
                "--innodb-flush-log-at-trx-commit=0",
                "--skip-log-bin",
                *user,
                *options,
            ],
            self.folder / "log",
        )

    def start(self) -> "MariaDB":
        super().start()
        wait_for_port(self.port, self.process)
        return self

    def environment(self) -> dict[str, str]:
        """What the stand-in LMS's settings read."""
        return {
            "LMS_DB_ENGINE": "django.db.backends.mysql",
            "LMS_DB_HOST": "127.0.0.1",
            "LMS_DB_PORT": str(self.port),
            "LMS_DB_USER": "root",
            "LMS_DB_NAME": "lms",
        }


class PostgreSQL(Daemon):
    """A private PostgreSQL server, which refuses to be root's."""

    def __init__(self) -> None:
        self.folder = _temporary_folder("postgresql-")
        self.port = free_port()
        self.programs = _postgresql_programs()
        somebody: dict = {"cwd": self.folder}
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            somebody.update(user=user.pw_uid, group=user.pw_gid, extra_groups=[])
        data = f"{self.folder}/data"
        subprocess.run(
            f"{self.programs}/initdb -D {data} -U lms --auth=trust --encoding=UTF8 --no-locale --no-sync".split(),
            check=True,
            capture_output=True,
            **somebody,
        )
        super().__init__(
            f"{self.programs}/postgres -D {data} -p {self.port} -h 127.0.0.1 -c unix_socket_directories= "
            "-c fsync=off -c synchronous_commit=off -c full_page_writes=off".split(),
            self.folder / "log",
            **somebody,
        )

    def start(self) -> "PostgreSQL":
        super().start()
        wait_for_port(self.port, self.process)
        # It listens before it lets anybody in.
        is_ready = [f"{self.programs}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "30"]
        deadline = time.monotonic() + 30
        while subprocess.run(is_ready, check=False).returncode:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start:\n{self.log.read_text()}")
            time.sleep(0.05)
        return self

    def kill(self, how: int = signal.SIGQUIT) -> None:
        """At once; its children have process groups of their own, and only SIGKILL would leave them behind."""
        super().kill(how)

    def environment(self) -> dict[str, str]:
        """What the stand-in LMS's settings read."""
        return {
            "LMS_DB_ENGINE": "django.db.backends.postgresql",
            "LMS_DB_HOST": "127.0.0.1",
            "LMS_DB_PORT": str(self.port),
            "LMS_DB_USER": "lms",
            "LMS_DB_NAME": "lms",
        }


def _postgresql_programs() -> Path | None:
    """Where the server's programs are; Debian keeps them off the PATH, in a folder for each version."""
    on_path = shutil.which("postgres")
    if on_path:
        return Path(on_path).resolve().parent
    versions = {int(path.parts[-3]): path.parent for path in Path("/usr/lib/postgresql").glob("[0-9]*/bin/postgres")}
    return versions[max(versions)] if versions else None


class Redis(Daemon):
    """A private Redis server that keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        super().__init__(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            folder / "redis.log",
        )

    def start(self) -> "Redis":
        super().start()
        wait_for_port(self.port, self.process)
        return self

    def url(self, database: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"


class CeleryWorker(Daemon):
    """A real worker process of the stand-in LMS; ``options`` are further ones of ``celery worker``."""

    def __init__(
        self, queues: str, environment: dict[str, str], folder: Path, *options: str, concurrency: int = 1
    ) -> None:
        super().__init__(
            [
                *f"{sys.executable} -m celery -A tests.lms_host.celery worker -Q {queues} -c {concurrency}".split(),
                *f"--loglevel INFO -n worker{free_port()}@%h --without-gossip --without-mingle".split(),
                *options,
            ],
            folder / "worker.log",
            env={**os.environ, **environment},
            cwd=Path(__file__).parent.parent,
        )

    def start(self) -> "CeleryWorker":
        super().start()
        deadline = time.monotonic() + 40
        while " ready." not in self.log.read_text():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"the worker did not start:\n{self.log.read_text()}")
            time.sleep(0.1)
        return self


def _missing_for(database: str) -> str:
    """Why tests cannot run on this database; empty where they can."""
    if database == "mariadb":
        server = shutil.which("mariadbd") or Path("/usr/sbin/mariadbd").exists()
        if not server or not shutil.which("mariadb-install-db"):
            return "mariadbd is not installed (Debian: apt-get install mariadb-server)"
        if not find_spec("MySQLdb"):
            return "mysqlclient is not installed (Debian: apt-get install libmariadb-dev pkg-config gcc)"
    if database == "postgresql":
        if not _postgresql_programs():
            return "postgres is not installed (Debian: apt-get install postgresql)"
        if not find_spec("psycopg"):
            return "psycopg is not installed (pip install 'psycopg[binary]')"
    return ""


def _start_database() -> str:
    """Start what TEST_DATABASE asks for, or MariaDB, or make do with SQLite; returns its name."""
    names = {"mariadb": "MariaDB", "postgresql": "PostgreSQL", "sqlite": "SQLite"}
    asked = os.environ.get("TEST_DATABASE", "")
    if asked not in ("", *names):
        raise pytest.UsageError(f"TEST_DATABASE={asked}: name one of {', '.join(names)}")
    missing = _missing_for(asked or "mariadb")
    if asked and missing:
        raise pytest.UsageError(f"TEST_DATABASE={asked}: {missing}")
    if missing or asked not in ("", "mariadb"):
        LEFT_OUT["mariadb"] = missing or f"TEST_DATABASE={asked} was asked for"
    database = "sqlite" if missing else asked or "mariadb"
    if database == "sqlite":
        os.environ["LMS_TEST_DB_NAME"] = str(_temporary_folder("lms-") / "test.sqlite3")
    else:
        server = MariaDB() if database == "mariadb" else PostgreSQL()
        os.environ.update(server.start().environment())
    return names[database]


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config):
    global _database
    # As Ctrl-C: fixtures are torn down and servers ended, where SIGTERM alone would leave them behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for marker, meaning in MARKERS.items():
        early_config.addinivalue_line("markers", f"{marker}: {meaning}")
    for marker, (program, packages) in PROGRAMS.items():
        if not shutil.which(program):
            LEFT_OUT[marker] = f"{program} is not installed (Debian: apt-get install {packages})"
    if not (TUTOR / "installed").exists():
        LEFT_OUT["tutor"] = "Tutor is not installed (make tutor)"
    _database = _start_database()


def pytest_collection_modifyitems(items):
    for item in items:
        for marker, reason in LEFT_OUT.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter):
    terminalreporter.section("servers")
    terminalreporter.line(f"database: {_database}")
    for marker, reason in LEFT_OUT.items():
        skipped = [r.nodeid for r in terminalreporter.stats.get("skipped", []) if reason in str(r.longrepr)]
        terminalreporter.line(f"left out, {marker}: {len(skipped)} tests, because {reason}")
        for nodeid in skipped:
            terminalreporter.line(f"    {nodeid}")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    """A real Redis: ``url(database)``, ``kill()``, ``start()``."""
    server = Redis(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()
