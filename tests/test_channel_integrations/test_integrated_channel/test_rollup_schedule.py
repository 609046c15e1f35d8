# SPDX-License-Identifier: AGPL-3.0-or-later
"""When it is worth asking again whether the rollup has a day."""

from datetime import UTC, date, datetime, time, timedelta

import pytest

from channel_integrations.integrated_channel.services.rollup_schedule import first_look, next_look

DAY, READY_AT = date(2026, 11, 24), time(6)


def at(day, hour, minute=0):
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def test_the_first_look_is_on_the_day_after():
    assert first_look(DAY, READY_AT) == at(25, 6)


@pytest.mark.parametrize(
    ("now", "following"),
    [
        (at(24, 0), at(25, 6)),
        (at(25, 5, 59), at(25, 6)),
        (at(25, 6), at(25, 7)),
        (at(25, 7), at(25, 9)),
        (at(25, 8, 59), at(25, 9)),
        (at(25, 9), at(25, 13)),
        (at(25, 13), at(25, 21)),
        (at(25, 21), at(26, 13)),
        (at(26, 13), at(27, 21)),
    ],
)
def test_the_looks_are_ever_further_apart(now, following):
    assert next_look(DAY, now, READY_AT) == following


def test_a_day_costs_few_looks():
    now, looks = at(24, 12), 0
    while now < at(24, 12) + timedelta(hours=72):
        now, looks = next_look(DAY, now, READY_AT), looks + 1
    assert looks == 7
