# SPDX-License-Identifier: AGPL-3.0-or-later
"""A circuit breaker for what one process asks of another service."""

import threading
import time


class Circuit:
    """
    Closed while the service answers; open for a while after failures in a row; then one caller may try.

    Each process has its own. Its state is a wish to be spared, not a fact about the service: losing it costs a few
    failures more.
    """

    def __init__(self, failures: int, open_seconds: float, at_most: float | None = None) -> None:
        """
        :param failures: in a row, that open it
        :param open_seconds: how long it stays open at first; twice as long after each failed try, up to ``at_most``
        """
        self._limit, self._open_seconds, self._at_most = failures, open_seconds, at_most or open_seconds
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Closed, as if nothing had ever failed."""
        self._failures = 0
        self._closed_again_at = 0.0

    def is_open(self) -> bool:
        """Whether nobody is to ask now."""
        return time.monotonic() < self._closed_again_at

    def admits(self) -> bool:
        """
        Whether to ask now. Once the time is over, one caller in ``open_seconds`` is told to; it should then report
        with ``note_success`` or ``note_failure``.
        """
        with self._lock:
            now = time.monotonic()
            if now < self._closed_again_at:
                return False
            if self._failures >= self._limit:
                self._closed_again_at = now + self._open_seconds
            return True

    def note_success(self) -> None:
        """The service has answered."""
        with self._lock:
            self.reset()

    def note_failure(self) -> float:
        """The service has not answered; returns the seconds for which it is not asked (0 while it is closed)."""
        with self._lock:
            self._failures += 1
            beyond = self._failures - self._limit
            if beyond < 0:
                return 0.0
            seconds = min(self._open_seconds * 2 ** min(beyond, 20), self._at_most)
            self._closed_again_at = time.monotonic() + seconds
            return seconds
