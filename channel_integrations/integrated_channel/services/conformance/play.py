# SPDX-License-Identifier: AGPL-3.0-or-later
"""Play the cases against a receiver, one request after the other. Nothing of it is written down anywhere."""

import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.utils import timezone

from channel_integrations.integrated_channel.exceptions import DeliveryFailed
from channel_integrations.integrated_channel.formats import format_of, to_body
from channel_integrations.integrated_channel.http_client import post_json
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration
from channel_integrations.integrated_channel.services.conformance.cases import Case, Request, Signed
from channel_integrations.integrated_channel.services.conformance.samples import (
    CUSTOMER,
    PLAIN,
    Scene,
    Wording,
    course_key,
)
from channel_integrations.integrated_channel.services.sign_in import TokenRequest, sign_in_to
from channel_integrations.integrated_channel.signing import (
    PREFIXES,
    PUBLIC_PREFIX,
    Kind,
    generate_secret,
    kind_of,
    public_key,
    signature_headers,
)

#: requests in a minute, where the endpoint has no lower limit of its own
PER_MINUTE = 300
#: requests in a row without an answer after which the rest is not played
ENOUGH = 2
#: of an endpoint that is none of ours
TIMEOUT_SECONDS = 15


@dataclass(frozen=True)
class Target:
    """A receiver: where it is, and all that a sender knows of it. ``pause`` is seconds between two requests."""

    url: str
    secrets: list[str] = field(repr=False)
    customer: Any = CUSTOMER
    timeout_seconds: int = TIMEOUT_SECONDS
    ca_bundle: str = ""
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    pause: float = 60 / PER_MINUTE
    wording: Wording = PLAIN

    @classmethod
    def of(cls, endpoint: EnterpriseWebhookConfiguration, per_minute: int = PER_MINUTE) -> "Target":
        """
        An endpoint's, signed in to as for its webhooks and within its own limit of requests.

        :raises SecretUnreadable: a secret of the endpoint is missing or cannot be decrypted
        :raises SignInFailed: the token server gave no access token
        :raises WebhookNotWritable: the endpoint has a payload format that there is not
        """
        sign_in = sign_in_to(endpoint) or sign_in_to(endpoint, by_force=True)
        try:
            signed_in = sign_in.within(endpoint.timeout_seconds) if sign_in else None
        finally:
            if isinstance(sign_in, TokenRequest):
                sign_in.settle()
        return cls(
            endpoint.webhook_url,
            endpoint.signing_secrets(),
            endpoint.enterprise_customer,
            endpoint.timeout_seconds,
            endpoint.ca_bundle,
            signed_in.headers if signed_in else {},
            60 / min(per_minute, endpoint.max_requests_per_minute or per_minute),
            Wording(format_of(endpoint), endpoint.naming, endpoint.omitted),
        )


class Came(NamedTuple):
    """What came of one request: a status, or the code of the error; ``ms`` is milliseconds."""

    status: int | None
    error: str
    ms: int


class Played(NamedTuple):
    """A case and what came of its requests; fewer than it has where the receiver no longer answers."""

    case: Case
    came: list[Came]


def play(target: Target, cases: Sequence[Case]) -> Iterator[Played]:
    """Send every request of every case; once the receiver has fallen silent, none."""
    silent, first = 0, True
    for case in cases:
        came: list[Came] = []
        sending = _Sending(target, case)
        for request in case.requests:
            if silent >= ENOUGH:
                break
            if not first:
                time.sleep(target.pause)
            first = False
            came.append(sending.send(request))
            silent = silent + 1 if came[-1].status is None else 0
        yield Played(case, came)


class _Sending:
    """One case being played: the ids and the bodies of its webhooks."""

    def __init__(self, target: Target, case: Case) -> None:
        self.target = target
        ids = [uuid.uuid4() for _ in case.webhooks]
        scene = Scene(target.customer, timezone.now(), course_key(case.name), ids[0], target.wording)
        bodies = [to_body(build(scene)).encode() for build in case.webhooks]
        self.webhooks = list(zip(map(str, ids), bodies, strict=True))

    def send(self, request: Request) -> Came:
        """One request, signed now."""
        webhook_id, body = self.webhooks[request.webhook]
        headers = _headers(request.signed, webhook_id, body, self.target.secrets, timezone.now() - request.age)
        if request.signed is Signed.OVER_ANOTHER_BODY:
            body = body.removesuffix(b"}") + b',"altered":true}'
        started, status, error = time.monotonic(), None, ""
        try:
            answer = post_json(
                self.target.url,
                body,
                {**headers, **self.target.headers},
                self.target.timeout_seconds,
                self.target.ca_bundle,
            )
            status = answer.status
        except DeliveryFailed as err:
            error = err.code
        return Came(status, error, round((time.monotonic() - started) * 1000))


def _headers(signed: Signed, webhook_id: str, body: bytes, secrets: list[str], at: datetime) -> dict[str, str]:
    """The three of Standard Webhooks, as the case wants them."""
    kind = kind_of(secrets[0])
    (other,) = set(Kind) - {kind}
    signing = {
        Signed.UNKNOWN_KEY_FIRST: [generate_secret(kind), *secrets],
        Signed.UNKNOWN_KEY_LAST: [*secrets, generate_secret(kind)],
        Signed.OTHER_VERSION_FIRST: [generate_secret(other), *secrets],
        Signed.WITH_ANOTHER_KEY: _forgers(secrets[0]),
    }.get(signed, secrets)
    headers = signature_headers(webhook_id, body, signing, at)
    if signed is Signed.NOT_AT_ALL:
        del headers["webhook-signature"]
    return headers


def _forgers(secret: str) -> list[str]:
    """What a forger has: a key of their own, and perhaps the public key, which a receiver may take for a secret."""
    public = public_key(secret)
    as_secret = [public.replace(PUBLIC_PREFIX, PREFIXES[Kind.HMAC])] if public else []
    return [generate_secret(kind_of(secret)), *as_secret]


def duration(target: Target, cases: Sequence[Case]) -> timedelta:
    """How long the pauses alone take."""
    return timedelta(seconds=target.pause * (sum(len(case.requests) for case in cases) - 1))
