# SPDX-License-Identifier: AGPL-3.0-or-later
"""
How attempts sign in: by what is kept, or by asking for an access token, once for all workers.

The first attempt that finds no token leases the right to ask and asks in its own sender thread, within its own time: a
slow token server holds up its endpoint alone, and one that fails has failed that attempt. Meanwhile nobody claims
webhooks for the endpoint; as soon as the token is there, everybody goes on with it.
"""

from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.utils import timezone

from channel_integrations.integrated_channel.exceptions import SecretUnreadable, SignInFailed
from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models import (
    ClientAuthentication,
    EnterpriseWebhookConfiguration,
    SignIn,
    WebhookEndpointCredential,
)
from channel_integrations.integrated_channel.models.credential import KeptToken
from channel_integrations.integrated_channel.oauth import Client, ask_for_token

lines = LogLines(__name__)

#: what a fetch may take beyond the endpoint's timeout before another worker asks in its place
GRACE = timedelta(seconds=15)


@dataclass(frozen=True)
class SignedIn:
    """What an attempt shows of who we are; ``token_id`` is that of an access token, which can be renewed."""

    headers: dict[str, str] = field(repr=False)
    token_id: UUID | None = None
    until: datetime | None = None

    def within(self, seconds: float) -> "SignedIn":
        """As it is."""
        return self


NOTHING_TO_SHOW = SignedIn({})


@dataclass(frozen=True)
class TokenRequest:
    """The right to ask for an access token, to be used in a thread that does not touch the database."""

    endpoint_id: int
    fetch_id: UUID
    client: Client
    answer: Future = field(default_factory=Future, compare=False)

    def within(self, seconds: float) -> SignedIn:
        """
        Ask, for so long at most, and sign in with what was got.

        :raises SignInFailed: there was no token to be had
        """
        asked_at = timezone.now()
        try:
            token = ask_for_token(self.client, seconds)
        except BaseException as err:
            self.answer.set_exception(err)
            raise
        kept = KeptToken(token.value, self.fetch_id, asked_at + timedelta(seconds=token.seconds))
        self.answer.set_result(kept)
        return _with_token(kept)

    def settle(self) -> None:
        """Back in the thread that has the database: keep what was got, and let others ask where that is nothing."""
        err = self.answer.exception(timeout=0)
        if err is None:
            WebhookEndpointCredential.keep_token(self.endpoint_id, self.answer.result())
            lines.info("webhook_sign_in", "success", endpoint_id=self.endpoint_id)
            return
        self.give_back()
        reason = err if isinstance(err, SignInFailed) else None
        lines.warning("webhook_sign_in", "failure", endpoint_id=self.endpoint_id, reason=reason)

    def give_back(self) -> None:
        """Nothing was got."""
        WebhookEndpointCredential.end_fetch(self.endpoint_id, self.fetch_id)


def sign_in_to(endpoint: EnterpriseWebhookConfiguration, by_force: bool = False) -> SignedIn | TokenRequest | None:
    """
    How the next attempt signs in; None while another worker asks for a token.

    :param by_force: ask, whoever else does and whatever is kept
    :raises SecretUnreadable: what it signs in with is missing or cannot be decrypted
    """
    if (endpoint.sign_in or SignIn.NONE) == SignIn.NONE:
        return NOTHING_TO_SHOW
    if endpoint.sign_in == SignIn.BEARER:
        return SignedIn(_bearer(WebhookEndpointCredential.secret_of(endpoint)))
    if not by_force and (kept := WebhookEndpointCredential.kept_token(endpoint.pk)):
        return _with_token(kept)
    client = _client(endpoint)
    duration = timedelta(seconds=endpoint.timeout_seconds) + GRACE
    fetch_id = WebhookEndpointCredential.lease_fetch(endpoint.pk, duration, by_force)
    if fetch_id is None:
        return None
    if not by_force and (kept := WebhookEndpointCredential.kept_token(endpoint.pk)):
        # Between the look and the lease somebody else has been and gone.
        WebhookEndpointCredential.end_fetch(endpoint.pk, fetch_id)
        return _with_token(kept)
    return TokenRequest(endpoint.pk, fetch_id, client)


@dataclass
class SignIns:
    """One round's: those that hold, and the tokens that are being asked for."""

    known: dict[int, SignedIn] = field(default_factory=dict)
    asked: dict[int, TokenRequest] = field(default_factory=dict)

    def to(self, endpoint: EnterpriseWebhookConfiguration) -> SignedIn | TokenRequest | None:
        """As ``sign_in_to``; None also while this round itself asks."""
        known = self.known.get(endpoint.pk)
        if known and (known.until is None or timezone.now() < known.until):
            return known
        if endpoint.pk in self.asked:
            return None
        found = sign_in_to(endpoint)
        if isinstance(found, SignedIn):
            self.known[endpoint.pk] = found
        return found

    def under_way(self, request: TokenRequest) -> None:
        """An attempt has been started that asks."""
        self.asked[request.endpoint_id] = request

    def answers(self) -> list[Future]:
        """What to wait for."""
        return [request.answer for request in self.asked.values()]

    def settle(self) -> None:
        """Keep the tokens that have come."""
        for request in [request for request in self.asked.values() if request.answer.done()]:
            del self.asked[request.endpoint_id]
            try:
                request.settle()
            except Exception as err:  # The attempt goes on with its token; the lease ends by itself.
                lines.failure("webhook_sign_in", err, endpoint_id=request.endpoint_id)

    def refused(self, endpoint_id: int, token_id: UUID) -> None:
        """The endpoint has answered 401 to this token: the next attempt asks for another, unless one is there."""
        known = self.known.get(endpoint_id)
        if known and known.token_id == token_id:
            del self.known[endpoint_id]
        try:
            WebhookEndpointCredential.drop_token(endpoint_id, token_id)
        except Exception as err:  # What came of the attempts beside it has still to be written down.
            lines.failure("webhook_sign_in", err, endpoint_id=endpoint_id)


def _client(endpoint: EnterpriseWebhookConfiguration) -> Client:
    if not (endpoint.token_url and endpoint.client_id):  # a row that was written past the form
        raise SecretUnreadable(
            f"Endpoint {endpoint.pk} has no token URL or client id: type them in on the endpoint's page in the admin"
        )
    return Client(
        endpoint.token_url,
        endpoint.client_id,
        WebhookEndpointCredential.secret_of(endpoint),
        endpoint.scope or "",
        endpoint.client_authentication or str(ClientAuthentication.BASIC),
        endpoint.ca_bundle,
    )


def _with_token(kept: KeptToken) -> SignedIn:
    return SignedIn(_bearer(kept.value), kept.id, kept.expires_at)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
