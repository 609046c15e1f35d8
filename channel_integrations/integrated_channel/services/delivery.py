# SPDX-License-Identifier: AGPL-3.0-or-later
"""
From rows to POSTs: claim what its endpoint takes now, send in threads, write back.

One thread, the caller's, talks to the database; the sender threads do nothing but HTTP. Since no endpoint gets more of
them than it takes at once, one that hangs holds up nobody else.
"""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.exceptions import SecretUnreadable
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookDeliveryAttempt,
    WebhookEndpointHealth,
    WebhookLease,
    WebhookSigningSecret,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.models.attempt import AttemptResult
from channel_integrations.integrated_channel.models.health import Failure
from channel_integrations.integrated_channel.services import endpoint_gate
from channel_integrations.integrated_channel.services.addressing import address_due
from channel_integrations.integrated_channel.services.retry import Outcome, classify, delay_after, retry_after
from channel_integrations.integrated_channel.services.sending import send_signed

logger = logging.getLogger(__name__)

#: seconds of a task after which no further row is claimed: with the longest endpoint timeout (60 s) it ends, answers
#: written back, before its soft limit (90 s)
CLAIM_SECONDS = 25.0
#: attempts under way at once in one process
SENDERS = 32
#: seconds until a round with attempts under way looks for new rows again
LOOK_AGAIN_SECONDS = 0.05
#: rounds without anything to do before a holder of a slot leaves what is due to the next wake-up
LOOKS = 2
#: how long a delivery slot is held, and how often the holder says that it is alive
SLOT_HOLD = timedelta(seconds=15)
SLOT_RENEWED_EVERY = 5.0

#: how long an endpoint whose secret cannot be read is left alone before it is looked at again
SECRET_PAUSE = timedelta(minutes=1)

_pool: tuple[int, ThreadPoolExecutor] | None = None


class Slot(Protocol):
    """What a round asks before it claims, and gives back once it claims no more."""

    def is_held(self) -> bool: ...

    def give_back(self) -> None: ...


class Unlimited:
    """The slot of a command that a person or cron has started: beside all others."""

    def is_held(self) -> bool:
        return True

    def give_back(self) -> None:
        """Nothing was taken."""


class DeliverySlot:
    """One of the ``CHANNEL_WEBHOOKS_DELIVERY_WORKERS`` that may claim at the same time."""

    def __init__(self, name: str, token: UUID) -> None:
        self._name, self._token, self._renewed = name, token, time.monotonic()

    @classmethod
    def acquire(cls) -> "DeliverySlot | None":
        """The first slot that is free."""
        for number in range(conf.delivery_workers()):
            name = f"delivery:{number}"
            token = WebhookLease.acquire(name, SLOT_HOLD)
            if token:
                return cls(name, token)
        return None

    def is_held(self) -> bool:
        if time.monotonic() - self._renewed < SLOT_RENEWED_EVERY:
            return True
        self._renewed = time.monotonic()
        return WebhookLease.renew(self._name, self._token, SLOT_HOLD)

    def give_back(self) -> None:
        WebhookLease.release(self._name, self._token)


class Attempt(NamedTuple):
    """A POST that is under way."""

    webhook: WebhookTransmissionQueue
    endpoint: EnterpriseWebhookConfiguration


@dataclass
class Round:
    """One caller's deliveries: what it has under way, and when each endpoint was last served."""

    under_way: dict[Future, Attempt] = field(default_factory=dict)
    served: dict[int, float] = field(default_factory=dict)
    attempts: int = 0

    def claim_until(self, deadline: float, slot: Slot) -> bool:
        """
        Address, claim and send until nothing is left to do or the monotonic deadline has passed.

        :returns: whether there was anything to do
        """
        moved_any = False
        try:
            endpoint_gate.take_up_parked()
            while time.monotonic() < deadline and slot.is_held():
                moved = address_due() + self._start()
                moved_any = moved_any or bool(moved)
                if not moved and not self.under_way:
                    break
                self._finish(0 if moved else LOOK_AGAIN_SECONDS)
        finally:
            slot.give_back()
        return moved_any

    def wait_for_stragglers(self) -> None:
        """Write back what is still under way; each attempt has its own deadline."""
        while self.under_way:
            self._finish(None)

    def _start(self) -> int:
        """Send what may go now, the endpoint that was served longest ago first; returns how many were started."""
        room = SENDERS - len(self.under_way)
        if room <= 0:
            return 0
        busy = Counter(attempt.endpoint.pk for attempt in self.under_way.values())
        started = 0
        waiting = endpoint_gate.sendable_endpoints()
        for endpoint in sorted(waiting, key=lambda endpoint: self.served.get(endpoint.pk, 0.0)):
            wanted = min(room - started, endpoint.concurrent_requests - busy[endpoint.pk])
            if wanted > 0:
                self.served[endpoint.pk] = time.monotonic()
                started += self._send_safely(endpoint, wanted)
        return started

    def _send_safely(self, endpoint: EnterpriseWebhookConfiguration, wanted: int) -> int:
        """What is wrong with one endpoint must not hold up the others."""
        try:
            return self._send(endpoint, wanted)
        except Exception:
            logger.exception("source=webhook_delivery status=failure endpoint=%s", endpoint.pk)
            return 0

    def _send(self, endpoint: EnterpriseWebhookConfiguration, wanted: int) -> int:
        secrets = _secrets_of(endpoint)
        webhooks = endpoint_gate.admit(endpoint, wanted) if secrets else []
        for webhook in webhooks:
            job = _senders().submit(send_signed, endpoint, str(webhook.webhook_id), webhook.body, secrets)
            self.under_way[job] = Attempt(webhook, endpoint)
        return len(webhooks)

    def _finish(self, seconds: float | None) -> None:
        """Write back what has come to its end, waiting so long for the first of it."""
        done, _ = wait(self.under_way, timeout=seconds, return_when=FIRST_COMPLETED)
        for job in done:
            attempt = self.under_way.pop(job)
            try:
                _write_back(attempt, job.result())
            except Exception:  # A locked row, say: its lease ends and it is sent again; the other answers are kept.
                logger.exception("source=webhook_delivery status=failure webhook=%s", attempt.webhook.webhook_id)
            self.attempts += 1


def deliver_in_slot(hand_over: Callable[[], None]) -> int:
    """
    Deliver what is due if one of the delivery slots is free; returns how many attempts were made.

    The slots keep deliveries from occupying more workers of a shared queue than ``CHANNEL_WEBHOOKS_DELIVERY_WORKERS``.
    Whoever finds them taken leaves its rows to the holder, who therefore looks once more after giving its slot back.

    :param hand_over: called once, as soon as no more rows are claimed here: others may have to go on while this round
        waits for its last answers
    """
    round_ = Round()
    deadline = time.monotonic() + CLAIM_SECONDS
    try:
        looked_in_vain = 0  # What is due may have to wait for somebody else's answer: that is no reason to spin.
        while looked_in_vain < LOOKS and time.monotonic() < deadline:
            slot = DeliverySlot.acquire()
            if slot is None:
                break
            looked_in_vain = 0 if round_.claim_until(deadline, slot) else looked_in_vain + 1
            if not _something_is_due():
                break
    finally:
        try:
            hand_over()
        finally:
            round_.wait_for_stragglers()
    return round_.attempts


def deliver_due(seconds: float = CLAIM_SECONDS) -> int:
    """Deliver what is due, claiming for so many seconds at most; returns how many attempts were made."""
    round_ = Round()
    round_.claim_until(time.monotonic() + seconds, Unlimited())
    round_.wait_for_stragglers()
    return round_.attempts


def _something_is_due() -> bool:
    now = timezone.now()
    if WebhookTransmissionQueue.objects.due(WebhookStatus.RECORDED, now).exists():
        return True
    opening = endpoint_gate.next_opening()
    return opening is not None and opening <= now


def _secrets_of(endpoint: EnterpriseWebhookConfiguration) -> list[str]:
    """What to sign with; where the secrets cannot be read nothing is sent until somebody has seen to it."""
    try:
        return endpoint.signing_secrets() or [WebhookSigningSecret.rotate(endpoint)]
    except SecretUnreadable as err:
        logger.error("source=webhook_endpoint status=secret_unreadable endpoint=%s: %s", endpoint.pk, err)
        WebhookEndpointHealth.pause(endpoint.pk, SECRET_PAUSE, "secret cannot be decrypted")
        return []


def _senders() -> ThreadPoolExecutor:
    """This process's sender threads, made after the fork. They are kept, as are their connections to endpoints."""
    global _pool  # noqa: PLW0603  (one pool for each process)
    if _pool is None or _pool[0] != os.getpid():
        _pool = (os.getpid(), ThreadPoolExecutor(SENDERS, thread_name_prefix="webhook-sender"))
    return _pool[1]


def _write_back(attempt: Attempt, result: AttemptResult) -> None:
    webhook, answer = attempt.webhook, result.answer
    number = webhook.attempts_made + 1
    with transaction.atomic():
        held = _move(attempt, result)
        if answer and not held:  # Whoever has the row now may have scrubbed it.
            result = result._replace(answer=replace(answer, body_start=""))
        WebhookDeliveryAttempt.record(webhook.pk, number, result)
    # Apart from the row: the gate locks them in the other order.
    _note(attempt.endpoint, result)
    logger.info(
        "source=webhook_delivery status=%s webhook=%s endpoint=%s attempt=%s http_status=%s error=%s duration_ms=%s",
        webhook.status if held else "lease_lost",
        webhook.webhook_id,
        attempt.endpoint.pk,
        number,
        answer.status if answer else None,
        result.error,
        result.duration_ms,
        extra={"source": "webhook_delivery", "duration_ms": result.duration_ms, "status": webhook.status},
    )


def _move(attempt: Attempt, result: AttemptResult) -> bool:
    """Where the row goes from here; False where its lease was lost."""
    webhook = attempt.webhook
    outcome, reason = _outcome(result)
    if outcome is Outcome.DELIVERED:
        return webhook.mark_delivered()
    if outcome is Outcome.GONE:
        return webhook.mark_refused(reason)
    delay = delay_after(webhook.tries + 1, attempt.endpoint.schedule)
    if outcome is Outcome.FAILED or delay is None:
        return webhook.mark_failed(reason)
    return webhook.mark_to_be_retried(max(delay, _asked_pause(result) or delay), reason)


def _note(endpoint: EnterpriseWebhookConfiguration, result: AttemptResult) -> None:
    """What the attempt says about the endpoint."""
    outcome, reason = _outcome(result)
    if outcome is Outcome.DELIVERED:
        WebhookEndpointHealth.note_success(endpoint.pk, timezone.now())
        return
    failure = Failure(
        reason, for_breaker=outcome is Outcome.RETRY, pause=_asked_pause(result), gone=outcome is Outcome.GONE
    )
    WebhookEndpointHealth.note_failure(endpoint.pk, timezone.now(), failure)


def _outcome(result: AttemptResult) -> tuple[Outcome, str]:
    if result.answer is None:
        return Outcome.RETRY, result.error
    return classify(result.answer.status), f"HTTP {result.answer.status}"


def _asked_pause(result: AttemptResult) -> timedelta | None:
    if result.answer is None:
        return None
    return retry_after(result.answer.status, result.answer.headers.get("retry-after"), timezone.now())
