# SPDX-License-Identifier: AGPL-3.0-or-later
"""The report: Markdown, to be pasted into a ticket, or the same as facts. It holds no secret and no body."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import channel_integrations
from channel_integrations.integrated_channel.services.conformance.play import Came, Target
from channel_integrations.integrated_channel.services.conformance.samples import LEARNER, course_key
from channel_integrations.integrated_channel.services.conformance.verdict import Judged, Verdict

PAGE = "docs/partners/check_your_receiver.md"


class Report(NamedTuple):
    """A run; ``secret_of`` says whose secret signed."""

    target: Target
    secret_of: str
    played_at: datetime
    judged: Sequence[Judged]

    @property
    def all_handled(self) -> bool:
        """Whether nothing is left to be mended."""
        return len(self._with(Verdict.HANDLED)) == len(self.judged)

    def _with(self, verdict: Verdict) -> list[str]:
        return [each.case.name for each in self.judged if each.verdict is verdict]

    @property
    def summary(self) -> str:
        """The line to look at first."""
        handled, wrong, open_ = (
            self._with(each) for each in (Verdict.HANDLED, Verdict.NOT_HANDLED, Verdict.NOT_JUDGED)
        )
        parts = [f"{len(handled)} of {len(self.judged)} cases handled"]
        parts += [f"not: {', '.join(wrong)}"] * bool(wrong) + [f"{len(open_)} not judged"] * bool(open_)
        return "; ".join(parts) + "."

    def text(self) -> str:
        """Markdown."""
        parts = [
            self._head(),
            _table(self.judged),
            _section("What to mend", _grouped((_to_mend(each), each) for each in self.judged)),
            _section("What would be better", _grouped((each.note, each) for each in self.judged)),
            _section("What the partner has to look up", _to_check(self.judged)),
        ]
        return "\n\n".join(filter(None, [*parts, f"**{self.summary}**"]))

    def facts(self) -> dict[str, Any]:
        """The same, for programs."""
        return {
            "url": shown(self.target.url),
            "secret_of": self.secret_of,
            "format": self.target.wording.format.name,
            "customer": str(self.target.customer.uuid),
            "learner": LEARNER.username,
            "played_at": self.played_at.isoformat(),
            "version": channel_integrations.__version__,
            "all_handled": self.all_handled,
            "cases": [_facts(each) for each in self.judged],
        }

    def _head(self) -> str:
        came = [each.ms for judged in self.judged for each in judged.came]
        version, limit = channel_integrations.__version__, self.target.timeout_seconds
        return "\n".join(
            [
                f"# Conformance of {shown(self.target.url)}",
                "",
                f"- Played {self.played_at:%Y-%m-%d %H:%M} UTC by channel-integrations {version}: {len(came)} "
                f"requests, the slowest took {max(came, default=0)} ms of the {limit * 1000} ms that it may",
                f"- Signed with {self.secret_of}; payload format: {self.target.wording.format.name}",
                f"- Test data: customer {self.target.customer.uuid}; learner {LEARNER.username}, {LEARNER.email}, and "
                f"two others; course runs `{course_key('…')}`. Nothing in it is real: delete it afterwards",
            ]
        )


def shown(url: str) -> str:
    """A URL without its query, which may hold a token."""
    parts = urlsplit(url)
    return parts._replace(query="…" if parts.query else "").geturl()


def came_told(came: Sequence[Came]) -> str:
    """Statuses and milliseconds, in the order of the requests."""
    return ", ".join(f"{each.status or each.error} ({each.ms} ms)" for each in came) or "–"


def _table(judged: Sequence[Judged]) -> str:
    rows = ["| case | sent | must be | came | verdict |", "|---|---|---|---|---|"]
    for each in judged:
        must_be = ", ".join(request.must_be.value for request in each.case.requests)
        cells = (each.case.name, each.case.sent, must_be, came_told(each.came), each.verdict)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"## {title}", "", *lines]) if lines else ""


def _to_mend(judged: Judged) -> str:
    """With where the partner reads more about the case, where it is the case that is not handled."""
    where = f" ({PAGE}#{judged.case.anchor})" if judged.verdict is Verdict.NOT_HANDLED else ""
    return judged.advice and judged.advice + where


def _grouped(told: Iterable[tuple[str, Judged]]) -> list[str]:
    """Each text once, with the cases that it is about."""
    names: dict[str, list[str]] = {}
    for text, judged in told:
        if text:
            names.setdefault(text, []).append(judged.case.name)
    return [f"- {', '.join(about)}: {text}" for text, about in names.items()]


def _to_check(judged: Sequence[Judged]) -> list[str]:
    """What was answered rightly, yet may have been done wrongly."""
    rows = [
        f"| `{course_key(each.case.name)}` | {each.case.to_check} |"
        for each in judged
        if each.verdict is Verdict.HANDLED and each.case.to_check
    ]
    told = "A sender sees statuses alone. That all is recorded as it must be can be seen only at the receiver:"
    return [told, "", "| course run | what must be there |", "|---|---|", *rows] if rows else []


def _facts(judged: Judged) -> dict[str, Any]:
    case = judged.case
    return {
        "case": case.name,
        "sent": case.sent,
        "must_be": [request.must_be.value for request in case.requests],
        "came": [{"status": each.status, "error": each.error, "ms": each.ms} for each in judged.came],
        "handled": judged.verdict is Verdict.HANDLED,
        "verdict": judged.verdict.lower(),
        "advice": judged.advice,
        "note": judged.note,
        "course_key": course_key(case.name),
        "to_check": case.to_check,
        "page": f"{PAGE}#{case.anchor}",
    }
