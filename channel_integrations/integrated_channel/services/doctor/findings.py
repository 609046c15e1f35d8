# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a check says."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

ADMIN_LIST = "/admin/channel_webhooks/enterprisewebhookconfiguration/"


class Status(StrEnum):
    """
    How it is.

    A warning: webhooks go out, but something is worse than it should be, or will be. A problem: webhooks or their
    learning time are late or missing until somebody acts.
    """

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """
    One line: what was found, and what to do where it is not in order.

    Written for whoever reads a terminal or a monitoring system: no secret, no personal data, no URL with its path.
    """

    status: Status
    fact: str
    advice: str = ""
    #: the name of the check; the examination fills it in where it is empty
    check: str = ""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        found = asdict(self)
        return {"check": found.pop("check"), **found, "status": str(self.status)}


Findings = Iterator[Finding]


def admin_page(endpoint: Any) -> str:
    """Where an endpoint can be changed."""
    return f"{ADMIN_LIST}{endpoint.pk}/change/"


def ok(fact: str, check: str = "") -> Finding:
    """In order."""
    return Finding(Status.OK, fact, check=check)


def warning(fact: str, advice: str, check: str = "") -> Finding:
    """Worse than it should be."""
    return Finding(Status.WARNING, fact, advice, check)


def problem(fact: str, advice: str, check: str = "") -> Finding:
    """Somebody has to act."""
    return Finding(Status.PROBLEM, fact, advice, check)


def skipped(fact: str, check: str = "") -> Finding:
    """Not looked at, and why."""
    return Finding(Status.SKIPPED, fact, check=check)
