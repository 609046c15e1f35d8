# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Access tokens by OAuth 2.0 client credentials (RFC 6749, 4.4): what is asked, and what of an answer is believed.

Asked over the package's one way out; why by no library, is in docs/decisions/0013. No word of an answer, and none of
what was sent, is in an error's text: of the server's own words only the codes that the RFC knows are repeated.
"""

import base64
import json
import math
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus

from channel_integrations.integrated_channel.exceptions import DeliveryFailed, SignInFailed
from channel_integrations.integrated_channel.http_client import (
    HttpAnswer,
    post_fields_as_json,
    post_form,
)
from channel_integrations.integrated_channel.models.endpoint_choices import ClientAuthentication

#: how long a token is used whose server does not say how long it lives, and any token at most (seconds)
LIFE_UNTOLD, LONGEST_LIFE = 300, 86_400
#: a token is not used in its last minute, or, where it lives for less than ten, in the last tenth of its life
MARGIN_SECONDS, MARGIN_SHARE = 60.0, 0.1
#: RFC 6749, 5.2
ERROR_CODES = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    }
)

# It becomes a header, of which servers take 8 KB or 16 KB in all.
_TOKEN = re.compile(r"[!-~]{1,16000}\Z")


@dataclass(frozen=True)
class Client:
    """Who asks, and where."""

    token_url: str
    client_id: str
    secret: str = field(repr=False)
    scope: str = ""
    authentication: str = str(ClientAuthentication.BASIC)
    ca_bundle: str = ""


@dataclass(frozen=True)
class AccessToken:
    """A token, and for how many seconds from when it was asked for it is to be used."""

    value: str = field(repr=False)
    seconds: float


def ask_for_token(client: Client, timeout_seconds: float) -> AccessToken:
    """
    Ask the token server.

    :raises SignInFailed: it cannot be reached in time, refuses, or answers what is no token
    """
    fields, headers = {"grant_type": "client_credentials"}, {}
    as_json = client.authentication == ClientAuthentication.JSON
    if client.scope:
        fields["scope"] = client.scope
    if client.authentication == ClientAuthentication.BASIC:
        headers["Authorization"] = f"Basic {_basic(client)}"
    else:
        fields.update(client_id=client.client_id, client_secret=client.secret)
    ask = post_fields_as_json if as_json else post_form
    try:
        answer = ask(client.token_url, fields, headers, timeout_seconds, client.ca_bundle)
    except DeliveryFailed as err:
        raise SignInFailed(f"token server: {err.code}") from err
    return token_of(answer, must_name_kind=not as_json)


def token_of(answer: HttpAnswer, must_name_kind: bool = True) -> AccessToken:
    """
    What a token server's answer holds.

    :param must_name_kind: whether it has to say that it is a bearer token, as RFC 6749 wants it; else it may
    :raises SignInFailed: no bearer token that can be sent
    """
    said = _object(answer.body_start)
    if not 200 <= answer.status < 300:
        code = said.get("error")
        known = f" {code}" if isinstance(code, str) and code in ERROR_CODES else ""
        raise SignInFailed(f"token server: HTTP {answer.status}{known}")
    value, kind = said.get("access_token"), said.get("token_type")
    if not (isinstance(value, str) and _TOKEN.match(value)):
        raise SignInFailed("token server: no access_token in its answer")
    named_otherwise = not (isinstance(kind, str) and kind.lower() == "bearer")
    if named_otherwise and (must_name_kind or kind is not None):
        raise SignInFailed("token server: token_type is not bearer")
    return AccessToken(value, seconds_of_use(said.get("expires_in")))


def seconds_of_use(expires_in: Any) -> float:
    """How long a token is used of which its server says that; 0 for this once."""
    try:
        life = float(expires_in)  # Some servers say it as text.
    except (TypeError, ValueError, OverflowError):
        life = LIFE_UNTOLD
    life = LIFE_UNTOLD if math.isnan(life) else min(max(life, 0.0), LONGEST_LIFE)
    return life - min(MARGIN_SECONDS, MARGIN_SHARE * life)


def _basic(client: Client) -> str:
    """Both parts are form-encoded first (2.3.1), which matters where one has a colon or a plus sign in it."""
    return base64.b64encode(f"{quote_plus(client.client_id)}:{quote_plus(client.secret)}".encode()).decode()


def _object(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
