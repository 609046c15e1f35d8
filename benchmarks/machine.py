# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where figures come from: the machine and the versions. No names of hosts, people or folders."""

import os
import platform
import re
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("Django", "celery", "kombu", "redis", "django-redis", "snowflake-connector-python", "fakesnow", "requests")


def machine() -> dict[str, str]:
    """CPU, cores that this process may use, memory, kernel, and how busy it was before."""
    cpu = _first(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo")) or platform.machine()
    kilobytes = int(_first(r"MemTotal:\s*(\d+)", Path("/proc/meminfo")) or 0)
    return {
        "cpu": cpu,
        "cores": f"{len(os.sched_getaffinity(0))} cores shared by everything",
        "memory": f"{kilobytes / 1024**2:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "load": f"load before the run {os.getloadavg()[0]:.2f}",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def versions() -> dict[str, str]:
    """Of everything that takes part."""
    return {
        "Python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "redis-server": _version_of("redis-server"),
        "MariaDB": _version_of(shutil.which("mariadbd") or "/usr/sbin/mariadbd"),
    }


def _version_of(program: str) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+\.\d+(\.\d+)?", said)
    return found.group() if found else "unknown"


def _first(pattern: str, path: Path) -> str:
    found = re.search(pattern, path.read_text()) if path.exists() else None
    return found.group(1) if found else ""
