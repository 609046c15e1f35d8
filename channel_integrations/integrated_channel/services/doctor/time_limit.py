# SPDX-License-Identifier: AGPL-3.0-or-later
"""A bound on calls that have none of their own, or one that a setting makes longer than a person waits."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class NoAnswer(Exception):
    """The call has not ended in its time."""


def within(seconds: float, call: Callable[..., T], *args: Any) -> T:
    """
    What the call returns or raises, or NoAnswer after so many seconds.

    The call runs in a thread that is left behind where it does not end, and that keeps nobody from leaving. Django's
    database connections are each thread's own: a call that uses one closes it.
    """
    answer: Future = Future()

    def run() -> None:
        try:
            answer.set_result(call(*args))
        except BaseException as err:  # Carried over to whoever waits.
            answer.set_exception(err)

    threading.Thread(target=run, name="webhook-doctor", daemon=True).start()
    try:
        return answer.result(timeout=seconds)
    except TimeoutError as err:
        if answer.done():  # It was the call's own.
            raise
        raise NoAnswer(f"no answer in {seconds:g} s") from err
