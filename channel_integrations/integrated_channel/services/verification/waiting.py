# SPDX-License-Identifier: AGPL-3.0-or-later
"""What other waiting times would have cost: completions looked up again as they came, without asking anybody."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.models import WebhookTransmissionQueue
from channel_integrations.integrated_channel.passes import COURSE_COMPLETION
from channel_integrations.integrated_channel.services.enrichment import BATCH
from channel_integrations.integrated_channel.services.figures.lookups import with_wakes
from channel_integrations.integrated_channel.services.verification.billing import Bill, bill

#: tried out besides the one that is set
WAITS = tuple(timedelta(seconds=seconds) for seconds in (0, 60, 300, 900, 3600, 4 * 3600))
#: what a statement takes where none has been recorded
USUAL = timedelta(seconds=1)


class Lookup(NamedTuple):
    """A statement that might have been, for so many completions."""

    began_at: datetime
    ended_at: datetime
    asked: int


class Waited(NamedTuple):
    """A waiting time, and what it would have cost."""

    wait: timedelta
    bill: Bill


def tried_out(arrivals: Sequence[datetime], statement_takes: timedelta) -> list[Waited]:
    """Each waiting time, the one that is set included, the shortest first."""
    auto_suspend = conf.warehouse_auto_suspend()
    return [
        Waited(wait, bill(with_wakes(lookups_of(arrivals, wait, statement_takes), auto_suspend), auto_suspend))
        for wait in sorted({*WAITS, conf.lookup_wait()})
    ]


def lookups_of(arrivals: Sequence[datetime], wait: timedelta, statement_takes: timedelta) -> Iterator[Lookup]:
    """
    The statements for completions that came at these moments, as ``services/enrichment.py`` would make them.

    Who has waited long enough takes along all that are there by then, ``BATCH`` at most; one statement at a time.

    :param arrivals: in order
    """
    place, free_at = 0, None
    while place < len(arrivals):
        began_at = arrivals[place] + wait
        if free_at and free_at > began_at:
            began_at = free_at
        asked = min(bisect_right(arrivals, began_at, place) - place, BATCH)
        place, free_at = place + asked, began_at + statement_takes
        yield Lookup(began_at, free_at, asked)


def arrivals_since(since: datetime) -> list[datetime]:
    """
    When completions that Snowflake was asked about came, in order; scrubbed rows still tell.

    What the cache knew (0 ms) needs no statement however long it waits; a backfill comes at a rate of its own; and what
    waits for its final number is looked up when that is expected.
    """
    asked = WebhookTransmissionQueue.objects.filter(
        created__gte=since, event_type=COURSE_COMPLETION, lookup_ms__gt=0, backfilled=False, held_at=None
    )
    # Both by the index of retention: a row is scrubbed after it was made.
    halves = asked.filter(purged_at=None), asked.filter(purged_at__gte=since)
    return sorted(moment for half in halves for moment in half.order_by().values_list("created", flat=True))
