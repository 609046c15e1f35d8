# SPDX-License-Identifier: AGPL-3.0-or-later
"""All that ``verify_learning_time`` tells, as facts; numbers are not rounded."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from enterprise.models import EnterpriseCustomer

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.services.figures.lookups import statements_since
from channel_integrations.integrated_channel.services.figures.percentiles import Percentiles
from channel_integrations.integrated_channel.services.verification.billing import Bill, Price, bill
from channel_integrations.integrated_channel.services.verification.comparison import Comparison, Tally, compare
from channel_integrations.integrated_channel.services.verification.sample import draw
from channel_integrations.integrated_channel.services.verification.waiting import USUAL, arrivals_since, tried_out

#: webhooks that are named
FARTHEST = 5


@dataclass(frozen=True)
class Question:
    """
    What is to be verified: of what went out since then so many, drawn by a seed; and what may differ.

    ``tolerance`` is in seconds. With ``judge_final`` those alone are judged that were final when they were sent.
    """

    since: datetime
    sample: int
    seed: int
    at_most_percent: float
    tolerance: int = 0
    judge_final: bool = False
    price: Price | None = None


def verify(question: Question) -> dict[str, Any]:
    """
    Compare, and say what lookups cost.

    :raises LearningTimeUnavailable: Snowflake could not be asked
    """
    drawn = draw(question.sample, question.since, question.seed)
    comparison = compare(drawn.rows(), question.tolerance)
    return {
        "since": question.since.isoformat(),
        "sample": question.sample,
        "seed": question.seed,
        "tolerance_seconds": question.tolerance,
        "delivered": {
            "comparable": drawn.of,
            "scrubbed": drawn.scrubbed,
            "not_looked_up": drawn.not_looked_up,
            "too_early": comparison.too_early,
        },
        "as_of": comparison.as_of.isoformat() if comparison.as_of else None,
        "verdict": _verdict(comparison, question),
        **_tally(comparison.total),
        "final": _tally(comparison.final),
        "not_final": _tally(comparison.not_final),
        "customers": _customers(comparison),
        "farthest_off": _farthest_off(comparison.total),
        "asked_now": {
            "statements": len(comparison.statements),
            "duration_ms": sum(statement.duration_ms for statement in comparison.statements),
        },
        **_costs(question.since, question.price),
    }


def _tally(tally: Tally) -> dict[str, Any]:
    drifted = tally.drifted()
    return {
        "compared": tally.compared,
        "share_equal": tally.share_equal(),
        "kinds": {str(kind): count for kind, count in tally.counts().items()},
        "too_low": sum(one.drift > 0 for one in drifted),
        "too_high": sum(one.drift < 0 for one in drifted),
        "drift_seconds": _percentiles(tally.drift_seconds()),
        "drift_relative": _percentiles(tally.drift_relative()),
    }


def _percentiles(found: Percentiles | None) -> dict[str, float] | None:
    return found._asdict() if found else None


def _verdict(comparison: Comparison, question: Question) -> dict[str, Any]:
    judged = comparison.final if question.judge_final else comparison.total
    percent = judged.differing() * 100 / judged.compared if judged.compared else 0.0
    return {
        "ok": percent <= question.at_most_percent,
        "judged": "final" if question.judge_final else "all",
        "compared": judged.compared,
        "differ_percent": percent,
        "at_most_percent": question.at_most_percent,
    }


def _customers(comparison: Comparison) -> list[dict[str, Any]]:
    """The worst first."""
    names = _names(comparison)
    told = [
        {"uuid": str(uuid), "name": names.get(uuid), **_tally(tally)} for uuid, tally in comparison.by_customer.items()
    ]
    return sorted(told, key=lambda each: (each["share_equal"], -each["compared"], each["uuid"]))


def _names(comparison: Comparison) -> dict[UUID, str]:
    return dict(EnterpriseCustomer.objects.filter(pk__in=comparison.by_customer).values_list("pk", "name"))


def _farthest_off(tally: Tally) -> list[dict[str, Any]]:
    return [
        {"webhook": str(one.sent.webhook_id), "sent": one.sent.seconds, "now": one.now}
        for one in tally.drifted()[:FARTHEST]
    ]


def _costs(since: datetime, price: Price | None) -> dict[str, Any]:
    statements = list(statements_since(since))
    durations = Percentiles.of(each.duration_ms for each, _woke in statements if each.status == "ok")
    takes = USUAL if durations is None else durations.p50 * USUAL / 1000
    arrivals = arrivals_since(since)
    waits = tried_out(arrivals, takes)
    as_set = next(each.bill for each in waits if each.wait == conf.lookup_wait())
    return {
        "price": {"per_credit": price.per_credit, "credits_per_hour": price.credits_per_hour} if price else None,
        "lookups": _bill(bill(statements, conf.warehouse_auto_suspend()), price),
        "waiting": {
            "set_seconds": conf.lookup_wait().total_seconds(),
            "auto_suspend_seconds": conf.warehouse_auto_suspend().total_seconds(),
            "statement_seconds": takes.total_seconds(),
            "waits": [
                {
                    "seconds": each.wait.total_seconds(),
                    **_bill(each.bill, price),
                    "saved": each.bill.saved_against(as_set),
                }
                for each in waits
            ],
        },
    }


def _bill(billed: Bill, price: Price | None) -> dict[str, Any]:
    return {
        "statements": billed.statements,
        "completions": billed.completions,
        "wakes": billed.wakes,
        "billed_seconds": billed.running.total_seconds(),
        "cost": price.of(billed.running) if price else None,
        "cost_for_1000": billed.for_1000(price) if price else None,
    }
