# SPDX-License-Identifier: AGPL-3.0-or-later
"""
From rows to POSTs: claim what its endpoint takes now, send in threads, write back.

One thread, the caller's, talks to the database; the sender threads do nothing but HTTP. Since no endpoint gets more of
them than it takes at once, one that hangs holds up nobody else.
"""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from django.utils import timezone

from channel_integrations.integrated_channel import conf, wake_up
from channel_integrations.integrated_channel.exceptions import SecretUnreadable
from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookEndpointHealth,
    WebhookSigningSecret,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import endpoint_gate
from channel_integrations.integrated_channel.services.addressing import BATCH as ADDRESSED_AT_ONCE
from channel_integrations.integrated_channel.services.addressing import address_due, still_owed
from channel_integrations.integrated_channel.services.finished import Finished
from channel_integrations.integrated_channel.services.sending import SENDERS, submit
from channel_integrations.integrated_channel.services.sign_in import SignedIn, SignIns, TokenRequest
from channel_integrations.integrated_channel.services.slots import LeasedSlot, Slot, Unlimited
from channel_integrations.integrated_channel.services.write_back import write_back
from channel_integrations.integrated_channel.settings.common import DELIVERY_TASK

lines = LogLines(__name__)

#: seconds of a task after which no further row is claimed: with the longest endpoint timeout (60 s) it ends, answers
#: written back, before its soft limit (90 s)
CLAIM_SECONDS = 25.0
#: seconds until a round with attempts under way, or one that has had some, looks for new rows again
LOOK_AGAIN_SECONDS = 0.05
#: seconds given to the attempts that end together with another one
GATHER_SECONDS = 0.005
#: rounds without anything to do before a holder of a slot leaves what is due to the next wake-up
LOOKS = 2
#: how long an endpoint whose secret cannot be read is left alone before it is looked at again
SECRET_PAUSE = timedelta(minutes=1)
SIGNING_UNREADABLE, SIGN_IN_UNREADABLE = "signing secret cannot be read", "sign-in secret cannot be read"


class Attempt(NamedTuple):
    """A POST that is under way."""

    webhook: WebhookTransmissionQueue
    endpoint: EnterpriseWebhookConfiguration


@dataclass
class Round:
    """One caller's deliveries: what is under way, when each endpoint was last served, and what signs for it."""

    under_way: dict[Future, Attempt] = field(default_factory=dict)
    served: dict[int, float] = field(default_factory=dict)
    secrets: dict[int, list[str]] = field(default_factory=dict)
    sign_ins: SignIns = field(default_factory=SignIns)
    attempts: int = 0

    def claim_until(self, deadline: float, slot: Slot) -> bool:
        """
        Address, claim and send until nothing is left to do or the monotonic deadline has passed.

        :returns: whether there was anything to do
        """
        moved_any = moved_lately = False
        try:
            endpoint_gate.take_up_parked()
            while time.monotonic() < deadline and slot.keep():
                addressed, started = address_due(), self._start()
                if addressed or started or self.under_way:
                    moved_any = moved_lately = True
                    # Each endpoint has now as many as it takes: the next answer makes room, or new rows come in.
                    self._finish(0 if addressed == ADDRESSED_AT_ONCE else LOOK_AGAIN_SECONDS)
                elif moved_lately:
                    # What comes in a stream is served by one round, where a round for each would cost ten times that.
                    moved_lately = False
                    time.sleep(LOOK_AGAIN_SECONDS)
                else:
                    break
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
            takes = 1 if endpoint_gate.is_cautious(endpoint) else endpoint.concurrent_requests
            wanted = min(room - started, takes - busy[endpoint.pk])
            if wanted > 0:
                self.served[endpoint.pk] = time.monotonic()
                started += self._send_safely(endpoint, wanted)
        return started

    def _send_safely(self, endpoint: EnterpriseWebhookConfiguration, wanted: int) -> int:
        """What is wrong with one endpoint must not hold up the others."""
        try:
            return self._send(endpoint, wanted)
        except Exception as err:
            lines.failure("webhook_delivery", err, endpoint_id=endpoint.pk)
            return 0

    def _send(self, endpoint: EnterpriseWebhookConfiguration, wanted: int) -> int:
        if endpoint.pk not in self.secrets:
            self.secrets[endpoint.pk] = _secrets_of(endpoint)
        secrets = self.secrets[endpoint.pk]
        sign_in = self._sign_in_to(endpoint) if secrets else None
        if sign_in is None:
            return 0
        if isinstance(sign_in, SignedIn):
            return self._submit(endpoint, wanted, secrets, sign_in)[0]
        started = 0
        try:
            # One attempt asks; the others go out with what it gets.
            admitted, started = self._submit(endpoint, 1, secrets, sign_in)
            return admitted
        finally:
            if started:
                self.sign_ins.under_way(sign_in)
            else:
                sign_in.give_back()

    def _submit(
        self,
        endpoint: EnterpriseWebhookConfiguration,
        wanted: int,
        secrets: list[str],
        sign_in: SignedIn | TokenRequest,
    ) -> tuple[int, int]:
        """How many were admitted, and how many of those are still owed and on their way."""
        webhooks = endpoint_gate.admit(endpoint, wanted)
        with WebhookTransmissionQueue.objects.given_back_on_error(webhooks):
            owed = still_owed(webhooks)
        for webhook in owed:
            job = submit(endpoint, str(webhook.webhook_id), webhook.body, secrets, sign_in)
            self.under_way[job] = Attempt(webhook, endpoint)
        return len(webhooks), len(owed)

    def _sign_in_to(self, endpoint: EnterpriseWebhookConfiguration) -> SignedIn | TokenRequest | None:
        """None where nothing can be sent now."""
        try:
            return self.sign_ins.to(endpoint)
        except SecretUnreadable as err:
            lines.error("webhook_endpoint", "secret_unreadable", endpoint_id=endpoint.pk, reason=err)
            WebhookEndpointHealth.pause(endpoint.pk, SECRET_PAUSE, SIGN_IN_UNREADABLE)
            return None

    def _finish(self, seconds: float | None) -> None:
        """Write back what has come to its end, waiting so long for the first of it."""
        if wait([*self.under_way, *self.sign_ins.answers()], timeout=seconds, return_when=FIRST_COMPLETED).done:
            # Others are about to: what is written back together costs little more than one.
            done = wait(self.under_way, timeout=GATHER_SECONDS).done
            self.sign_ins.settle()
            self.attempts += len(done)
            write_back([self._finished(job) for job in done])

    def _finished(self, job: Future) -> Finished:
        webhook, endpoint = self.under_way.pop(job)
        finished = Finished.of(webhook, endpoint, job.result())
        if finished.is_renewed and finished.result.token_id:
            self.sign_ins.refused(endpoint.pk, finished.result.token_id)
        return finished


def free_slot() -> LeasedSlot | None:
    """
    One of the delivery slots, or None where all are taken.

    They keep deliveries from occupying more workers of a shared queue than ``CHANNEL_WEBHOOKS_DELIVERY_WORKERS``.
    """
    return LeasedSlot.acquire("delivery", conf.delivery_workers())


def deliver_in_slot(slot: LeasedSlot | None, hand_over: Callable[[], None]) -> int:
    """
    Deliver what is due while the slot is held; returns how many attempts were made.

    :param hand_over: called once, as soon as no more rows are claimed here: others may have to go on while this round
        waits for its last answers
    """
    round_ = Round()
    deadline = time.monotonic() + CLAIM_SECONDS
    try:
        looked_in_vain = 0  # What is due may have to wait for somebody else's answer: that is no reason to spin.
        while slot is not None:
            looked_in_vain = 0 if round_.claim_until(deadline, slot) else looked_in_vain + 1
            wake_up.served(DELIVERY_TASK)
            if looked_in_vain == LOOKS or time.monotonic() > deadline or not _something_is_due():
                break
            slot = free_slot()
    finally:
        try:
            hand_over()
        finally:
            round_.wait_for_stragglers()
    return round_.attempts


def deliver_due(seconds: float = CLAIM_SECONDS) -> int:
    """Deliver what is due, claiming for so many seconds at most; returns how many attempts were made."""
    round_ = Round()
    try:
        round_.claim_until(time.monotonic() + seconds, Unlimited())
    finally:
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
        secrets = endpoint.signing_secrets()
        if not secrets:
            WebhookSigningSecret.rotate(endpoint)
            secrets = endpoint.signing_secrets()
        return secrets
    except EnterpriseWebhookConfiguration.DoesNotExist:
        return []
    except SecretUnreadable as err:
        lines.error("webhook_endpoint", "secret_unreadable", endpoint_id=endpoint.pk, reason=err)
        WebhookEndpointHealth.pause(endpoint.pk, SECRET_PAUSE, SIGNING_UNREADABLE)
        return []
