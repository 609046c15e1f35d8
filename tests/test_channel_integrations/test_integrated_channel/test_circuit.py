# SPDX-License-Identifier: AGPL-3.0-or-later
"""The circuit breaker of a process."""

import time
from concurrent.futures import ThreadPoolExecutor

from channel_integrations.integrated_channel.circuit import Circuit


def test_it_opens_after_so_many_failures_in_a_row():
    circuit = Circuit(failures=3, open_seconds=60)
    for _ in range(2):
        assert circuit.note_failure() == 0
    circuit.note_success()
    assert [circuit.note_failure() for _ in range(3)] == [0, 0, 60]
    assert (circuit.admits(), circuit.is_open()) == (False, True)


def test_it_stays_open_for_longer_after_each_failed_try():
    circuit = Circuit(failures=1, open_seconds=30, at_most=300)
    assert [circuit.note_failure() for _ in range(6)] == [30, 60, 120, 240, 300, 300]


def test_half_open_lets_one_of_many_try():
    circuit = Circuit(failures=1, open_seconds=0.2)
    circuit.note_failure()
    time.sleep(0.21)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: circuit.admits(), range(8))) == 1


def test_a_try_whose_outcome_nobody_reports_makes_room_for_another():
    circuit = Circuit(failures=1, open_seconds=0.1)
    circuit.note_failure()
    time.sleep(0.11)
    assert circuit.admits() and not circuit.admits()
    time.sleep(0.11)
    assert circuit.admits()


def test_a_success_closes_it():
    circuit = Circuit(failures=1, open_seconds=0.1)
    circuit.note_failure()
    time.sleep(0.11)
    assert circuit.admits()
    circuit.note_success()
    assert all(circuit.admits() for _ in range(5))
    assert circuit.note_failure() == 0.1, "and it begins anew"
