# SPDX-License-Identifier: AGPL-3.0-or-later
"""The schedule and the reading of answers: arithmetic."""

from datetime import timedelta

import pytest

from channel_integrations.integrated_channel.services.retry import SCHEDULE, Outcome, classify, delay_after


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(status, Outcome.DELIVERED) for status in (200, 201, 202, 204, 299)]
    + [
        (status, Outcome.RETRY)
        for status in (401, 403, 404, 407, 408, 409, 410, 421, 423, 425, 429, 500, 502, 503, 504, 599)
    ]
    + [
        (status, Outcome.FAILED)
        for status in (300, 301, 302, 304, 307, 308, 400, 402, 405, 406, 411, 413, 415, 418, 422)
    ],
)
def test_what_an_answer_means(status, outcome):
    assert classify(status) is outcome


def test_ten_attempts_over_75_hours_and_35_minutes():
    assert len(SCHEDULE) + 1 == 10
    assert sum(SCHEDULE, timedelta()) == timedelta(hours=75, minutes=35, seconds=5)


def test_after_the_tenth_attempt_there_is_none():
    assert delay_after(9) is not None
    assert delay_after(10) is None


@pytest.mark.parametrize(("jitter", "seconds"), [(-1, 240), (0, 300), (1, 360)])
def test_jitter_is_a_fifth_either_way(jitter, seconds):
    assert delay_after(2, jitter) == timedelta(seconds=seconds)


def test_random_jitter_stays_in_bounds_and_varies():
    delays = {delay_after(2) for _ in range(200)}
    assert len(delays) > 100
    assert timedelta(seconds=240) <= min(delays) and max(delays) <= timedelta(seconds=360)
