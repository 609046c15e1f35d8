# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Signs of life: in the database, for whoever asks what runs, and in a file, for a probe that must not wait for Django.

A heartbeat costs next to nothing and never fails its caller.
"""

import os
import socket
import time

from celery.signals import heartbeat_sent, worker_init, worker_ready
from django.db import Error, router, transaction

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.log_lines import LogLines, chain_of
from channel_integrations.integrated_channel.models import WebhookHeartbeat

lines = LogLines(__name__)

#: what beats: the command that sweeps, and the two tasks
NAMES = SWEEP, ENRICHMENT, DELIVERY = ("sweep", "enrichment", "delivery")
#: a process writes each heartbeat once in so many seconds
BEAT_SECONDS = 10.0

_last_beats: dict[str, float] = {}
_unwritable: set[str] = set()


def beat(name: str) -> None:
    """Write down that this is alive. A database that fails is the caller's to notice, with its own next statement."""
    now = time.monotonic()
    if now - _last_beats.get(name, -BEAT_SECONDS) < BEAT_SECONDS:
        return
    _last_beats[name] = now
    try:
        # Of its own, or a savepoint: an error outside of one would spoil a caller's transaction.
        with transaction.atomic(using=router.db_for_write(WebhookHeartbeat)):
            WebhookHeartbeat.record(name, f"{socket.gethostname()[:80]}:{os.getpid()}")
    except Error as err:
        lines.warning("webhook_heartbeat", "failure", heartbeat=name, error=chain_of(err))


def touch_file() -> None:
    """Make the file of this process, where ``CHANNEL_WEBHOOKS_HEARTBEAT_FILE`` names one, as old as this moment."""
    path = conf.heartbeat_file()
    if path is None:
        return
    try:
        path.touch()
        _unwritable.discard(str(path))
    except OSError as err:
        if str(path) not in _unwritable:  # once, not every two seconds
            words = "CHANNEL_WEBHOOKS_HEARTBEAT_FILE cannot be written, and a probe of it will fail"
            lines.error("webhook_heartbeat", "failure", words, file=path, error=chain_of(err))
        _unwritable.add(str(path))


def forget() -> None:
    """Write the next heartbeat whenever the last one was."""
    _last_beats.clear()
    _unwritable.clear()


@worker_init.connect(dispatch_uid="channel_webhooks.worker_init")
def _on_worker_init(sender=None, **kwargs) -> None:
    """A worker starts. While it looks for its broker, for the first time or again, no event loop turns."""
    if conf.heartbeat_file() is None or sender is None:
        return
    touch_file()
    from channel_integrations.integrated_channel.worker_steps import AliveWhileConnecting

    sender.app.steps["consumer"].add(AliveWhileConnecting)


@worker_ready.connect(dispatch_uid="channel_webhooks.worker_ready")
def _on_worker_ready(sender=None, **kwargs) -> None:
    """A worker's main process has begun to consume."""
    touch_file()
    if conf.heartbeat_file() and getattr(sender, "heart", None) is None:
        words = (
            "the worker was started --without-heartbeat, so that CHANNEL_WEBHOOKS_HEARTBEAT_FILE grows old; leave that "
            "option out, or the probe"
        )
        lines.error("webhook_heartbeat", "failure", words)


@heartbeat_sent.connect(dispatch_uid="channel_webhooks.heartbeat_sent")
def _on_heartbeat_sent(**kwargs) -> None:
    """Every two seconds in a worker's main process, from its event loop: one that hangs falls silent."""
    touch_file()
