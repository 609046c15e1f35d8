# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which broker the processes of a test talk to."""

from collections.abc import Iterator
from contextlib import contextmanager

from channel_integrations.integrated_channel import wake_up
from tests.lms_host.celery import app


def talk_to(url: str) -> None:
    """From here on this process publishes to, and asks its workers over, the broker at this URL."""
    app.conf.broker_url = app.conf.broker_write_url = url
    app.amqp._producer_pool = None  # Celery's own connections, which would lead to the former one
    wake_up.broker.reset()


@contextmanager
def broker_at(url: str) -> Iterator[None]:
    """The same for a while."""
    before = app.conf.broker_url
    talk_to(url)
    try:
        yield
    finally:
        talk_to(before)
