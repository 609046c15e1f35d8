# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the lookups cost: statements, and how often they woke the warehouse, by day."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.utils import timezone

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.models import WebhookLookupStatement


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


def by_day(days: int) -> list[DayOfLookups]:
    """The last so many days, today included, the latest first; days without a statement are there, with zeros."""
    today = timezone.localdate()
    found = {today - timedelta(days=back): DayOfLookups(today - timedelta(days=back)) for back in range(days)}
    first = timezone.make_aware(datetime.combine(min(found), datetime.min.time()))
    auto_suspend = conf.warehouse_auto_suspend()
    # The statement before the first decides whether that one woke the warehouse.
    since = WebhookLookupStatement.objects.filter(began_at__gte=first - auto_suspend - timedelta(hours=1))
    for statement, woke in with_wakes(since.order_by("began_at", "pk").iterator(), auto_suspend):
        day = found.get(timezone.localtime(statement.began_at).date())
        if day:
            day.statements += 1
            day.asked += statement.asked
            day.found += statement.found
            day.failed += statement.status != "ok"
            day.wakes += woke
    return list(found.values())


def with_wakes(
    statements: Iterable[WebhookLookupStatement], auto_suspend: timedelta
) -> Iterator[tuple[WebhookLookupStatement, bool]]:
    """
    Each statement, and whether it woke the warehouse: it began more than ``auto_suspend`` after all before had ended.

    :param statements: in the order in which they began
    """
    awake_until: datetime | None = None
    for statement in statements:
        yield statement, awake_until is None or statement.began_at > awake_until
        ended = statement.ended_at + auto_suspend
        awake_until = max(awake_until or ended, ended)
