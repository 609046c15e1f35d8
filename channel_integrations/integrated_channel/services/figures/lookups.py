# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the lookups cost: statements, and how often they woke the warehouse."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple, Protocol, TypeVar

from django.utils import timezone

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.models import WebhookLookupStatement
from channel_integrations.integrated_channel.services.figures.percentiles import Percentiles


@dataclass
class DayOfLookups:
    """
    One day of the site's time zone.

    ``asked`` are completions looked up, ``found`` those with a number; ``failed`` are statements. A warehouse bills at
    least a minute for each of its ``wakes``.
    """

    day: date
    statements: int = 0
    asked: int = 0
    found: int = 0
    failed: int = 0
    wakes: int = 0


class SnowflakeFigures(NamedTuple):
    """
    What was asked in a window: statements (with their p50 and p95 in milliseconds), and of these those that failed.

    ``asked`` are completions looked up, ``found`` those with a number. A warehouse bills at least a minute for each of
    its ``wakes``.
    """

    statements: int
    asked: int
    found: int
    failed: int
    wakes: int
    p50_ms: int | None
    p95_ms: int | None


def by_day(days: int) -> list[DayOfLookups]:
    """The last so many days, today included, the latest first; days without a statement are there, with zeros."""
    today = timezone.localdate()
    found = {today - timedelta(days=back): DayOfLookups(today - timedelta(days=back)) for back in range(days)}
    first = timezone.make_aware(datetime.combine(min(found), datetime.min.time()))
    for statement, woke in statements_since(first):
        day = found.get(timezone.localtime(statement.began_at).date())
        if day:
            day.statements += 1
            day.asked += statement.asked
            day.found += statement.found
            day.failed += statement.status != "ok"
            day.wakes += woke
    return list(found.values())


def snowflake_since(window: timedelta) -> SnowflakeFigures:
    """What was asked of Snowflake so lately."""
    lately = list(statements_since(timezone.now() - window))
    durations = Percentiles.of(statement.duration_ms for statement, _woke in lately)
    return SnowflakeFigures(
        statements=len(lately),
        asked=sum(statement.asked for statement, _woke in lately),
        found=sum(statement.found for statement, _woke in lately),
        failed=sum(statement.status != "ok" for statement, _woke in lately),
        wakes=sum(woke for _statement, woke in lately),
        p50_ms=round(durations.p50) if durations else None,
        p95_ms=round(durations.p95) if durations else None,
    )


def statements_since(first: datetime) -> Iterator[tuple[WebhookLookupStatement, bool]]:
    """
    What was asked of Snowflake since then, in order, and whether it woke the warehouse.

    A few from before are read as well: they may have kept it awake.
    """
    auto_suspend = conf.warehouse_auto_suspend()
    since = WebhookLookupStatement.objects.filter(began_at__gte=first - auto_suspend - timedelta(hours=1))
    with_earlier = with_wakes(since.order_by("began_at", "pk").iterator(), auto_suspend)
    return ((statement, woke) for statement, woke in with_earlier if statement.began_at >= first)


class _Statement(Protocol):
    @property
    def began_at(self) -> datetime: ...

    @property
    def ended_at(self) -> datetime: ...


_AnyStatement = TypeVar("_AnyStatement", bound=_Statement)


def with_wakes(statements: Iterable[_AnyStatement], auto_suspend: timedelta) -> Iterator[tuple[_AnyStatement, bool]]:
    """
    Each statement, and whether it woke the warehouse: it began more than ``auto_suspend`` after all before had ended.

    :param statements: in the order in which they began
    """
    awake_until: datetime | None = None
    for statement in statements:
        yield statement, awake_until is None or statement.began_at > awake_until
        ended = statement.ended_at + auto_suspend
        awake_until = max(awake_until or ended, ended)
