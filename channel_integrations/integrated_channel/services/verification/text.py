# SPDX-License-Identifier: AGPL-3.0-or-later
"""The report as a person reads it: the verdict stands last, where a terminal stops."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone

from channel_integrations.integrated_channel.services.verification.comparison import Kind

#: customers that are shown
CUSTOMERS = 20
KINDS = {
    Kind.EQUAL: "the same number",
    Kind.NO_NUMBER: "no number then, none now",
    Kind.DRIFTED: "another number now",
    Kind.MISSING_THEN: "missing then, known now",
    Kind.GONE_NOW: "sent then, gone now",
    Kind.INVALID_NOW: "now a sum that cannot be right",
}
#: the headings of what ``_agreement`` tells
AGREEMENT = ("compared", "agree", "drift p50", "p95")
#: a title, and rows of cells, the headings first
Table = tuple[str, Sequence[Sequence[str]]]


def tables(report: dict[str, Any]) -> Iterator[Table]:
    """What is told in tables."""
    if report["compared"]:
        yield _kinds(report)
        yield _by_finality(report)
        if report["drift_seconds"]:
            yield _drift(report)
            yield _farthest_off(report)
        yield _customers(report["customers"])
    if report["lookups"]["statements"]:
        yield _lookups(report)
    if report["waiting"]["waits"][0]["completions"]:
        yield _waiting(report)


def beginning(report: dict[str, Any]) -> str:
    """What is compared, and what is not."""
    found, since = report["delivered"], timezone.localtime(datetime.fromisoformat(report["since"]))
    left_out = {
        "that were to go out without learning time": found["not_looked_up"],
        "whose personal data has been removed": found["scrubbed"],
        f"of the sample, of days that the warehouse does not have yet (it has {report['as_of']})": found["too_early"],
    }
    said = [f"Left out: {count} {which}." for which, count in left_out.items() if count]
    first = (
        f"{report['compared']} of {found['comparable']} completions delivered since {since:%Y-%m-%d %H:%M}, at random "
        f"(the same again: --seed {report['seed']})."
    )
    return "\n".join([first, *said])


def verdict(report: dict[str, Any]) -> str:
    """Whether all is well."""
    judged = report["verdict"]
    if not judged["compared"]:
        return "Nothing to compare."
    which = " of those that were final" * (judged["judged"] == "final")
    limit = f"{_percent(judged['differ_percent'])}{which} differ; up to {judged['at_most_percent']:g} % may"
    return f"{'All is well' if judged['ok'] else 'TOO MANY'}: {limit}."


def _kinds(report: dict[str, Any]) -> Table:
    counted = {kind: count for kind, count in report["kinds"].items() if count}
    rows = [
        (KINDS[Kind(kind)], str(count), _percent(100 * count / report["compared"])) for kind, count in counted.items()
    ]
    return "What was sent, beside what the warehouse says now", [("", "webhooks", ""), *rows]


def _by_finality(report: dict[str, Any]) -> Table:
    groups = {"final when it was sent": report["final"], "not final, or nobody could say": report["not_final"]}
    rows = [(name, *_agreement(group)) for name, group in groups.items() if group["compared"]]
    return "Whether the warehouse had the day of the pass by then", [("", *AGREEMENT), *rows]


def _agreement(group: dict[str, Any]) -> tuple[str, ...]:
    drift = [f"{seconds:.0f} s" for seconds in (group["drift_seconds"] or {}).values()] or ["-", "-"]
    return str(group["compared"]), _percent(100 * group["share_equal"]), *drift


def _drift(report: dict[str, Any]) -> Table:
    return (
        f"How far apart, where there is another number now (sent too low: {report['too_low']}, too high: "
        f"{report['too_high']})",
        [
            ("", "p50", "p95"),
            ("seconds", *(f"{seconds:.0f}" for seconds in report["drift_seconds"].values())),
            ("of the greater number", *(_percent(100 * share) for share in report["drift_relative"].values())),
        ],
    )


def _farthest_off(report: dict[str, Any]) -> Table:
    rows = [(each["webhook"], f"{each['sent']} s", f"{each['now']} s") for each in report["farthest_off"]]
    return "The farthest apart", [("webhook", "sent", "now"), *rows]


def _customers(customers: Sequence[dict[str, Any]]) -> Table:
    rows = [
        (f"{each['name'] or 'a customer that is gone'} ({each['uuid']})", *_agreement(each))
        for each in customers[:CUSTOMERS]
    ]
    more = f"; {len(customers) - CUSTOMERS} more with --json" * (len(customers) > CUSTOMERS)
    return f"By customer, the worst first{more}", [("", *AGREEMENT), *rows]


def _lookups(report: dict[str, Any]) -> Table:
    lookups = report["lookups"]
    rows = [
        ("statements", str(lookups["statements"])),
        ("completions looked up", str(lookups["completions"])),
        ("wakes", str(lookups["wakes"])),
        ("warehouse billed for", _span(lookups["billed_seconds"])),
    ]
    if report["price"]:
        rows += [("cost", _money(lookups["cost"])), ("cost for 1,000 completions", _money(lookups["cost_for_1000"]))]
    return "What lookups cost since then, as if nobody else used the warehouse", rows


def _waiting(report: dict[str, Any]) -> Table:
    waiting = report["waiting"]
    heads = (
        "CHANNEL_WEBHOOKS_LOOKUP_WAIT_SECONDS",
        "statements",
        "wakes",
        "billed",
        *["for 1,000"] * bool(report["price"]),
        "saved",
    )
    rows = [
        (
            f"{each['seconds']:.0f}" + " (as set)" * (each["seconds"] == waiting["set_seconds"]),
            str(each["statements"]),
            str(each["wakes"]),
            _span(each["billed_seconds"]),
            *[_money(each["cost_for_1000"])] * bool(report["price"]),
            _percent(100 * each["saved"]),
        )
        for each in waiting["waits"]
    ]
    title = (
        f"Had the {waiting['waits'][0]['completions']} that are looked up as they come waited for one another, up to "
        f"so many seconds (AUTO_SUSPEND = {waiting['auto_suspend_seconds']:.0f})"
    )
    return title, [heads, *rows]


def _percent(percent: float) -> str:
    """Neither all nor nothing is said of what is not quite that."""
    rounded = f"{percent:.1f}"
    if rounded == "100.0" and percent < 100:
        rounded = ">99.9"
    elif rounded in ("0.0", "-0.0"):
        rounded = "<0.1" if percent > 0 else "0.0"
    return f"{rounded} %"


def _money(cost: float | None) -> str:
    return "-" if cost is None else f"{cost:.2f}"


def _span(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"
