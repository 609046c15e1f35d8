# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Signatures of webhooks as in Standard Webhooks 1.0 (https://www.standardwebhooks.com), of both kinds: symmetric ("v1",
HMAC-SHA256) and asymmetric ("v1a", ed25519). A secret tells its kind by how it begins.

What is signed is ``<id>.<seconds>.<body>``. Partners read how to verify it in docs/partners/receiving_webhooks.md and
docs/partners/public_key.md.
"""

import base64
import hashlib
import hmac
import re
import secrets as random_source
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.utils.translation import gettext_lazy as _


class Kind(StrEnum):
    """Of secrets and their signatures."""

    HMAC = "hmac"
    ED25519 = "ed25519"

    @property
    def label(self) -> Any:
        """In words, translated when it is shown."""
        return _LABELS[self]


_LABELS = {
    Kind.HMAC: _("a secret that both sides have (v1, HMAC-SHA256)"),
    Kind.ED25519: _("a key pair, of which the partner has the public key (v1a, ed25519)"),
}
#: how secrets begin; those of ed25519 are private keys
PREFIXES = {Kind.HMAC: "whsec_", Kind.ED25519: "whsk_"}
PUBLIC_PREFIX = "whpk_"
#: bytes of a secret, decoded
MIN_BYTES, MAX_BYTES = 24, 64
#: bytes of the secrets made here; of an ed25519 key always
MADE_BYTES = 32

# A full stop would let what belongs to the id be read as the timestamp, and a line break would end the header.
_ID = re.compile(r"[A-Za-z0-9_-]+\Z")


class InvalidSecret(ValueError):
    """A secret that nothing is signed with; the text says what to type instead and never repeats the secret."""


def generate_secret(kind: Kind = Kind.HMAC) -> str:
    """A new secret: the prefix of its kind and the base64 of 32 random bytes."""
    return PREFIXES[kind] + base64.b64encode(random_source.token_bytes(MADE_BYTES)).decode()


def kind_of(secret: str) -> Kind:
    """
    What a secret signs with.

    :raises InvalidSecret: it begins as no secret does
    """
    for kind, prefix in PREFIXES.items():
        if secret.startswith(prefix):
            return kind
    raise InvalidSecret('A secret starts with "whsec_" (a private key: "whsk_"): paste it as a whole, with its prefix.')


def decode_secret(secret: str) -> bytes:
    """
    The key that a secret stands for: 24 to 64 bytes, or the 32 of an ed25519 private key.

    :raises InvalidSecret: as ``kind_of``; not base64 (RFC 4648, section 4, padded), too short or too long
    """
    kind = kind_of(secret)
    prefix = PREFIXES[kind]
    try:
        key = base64.b64decode(secret.removeprefix(prefix), validate=True)
    except ValueError:
        raise InvalidSecret(
            f'After "{prefix}" a secret is base64, with its "=" at the end and no spaces: paste it again as a whole.'
        ) from None
    if kind is Kind.ED25519 and len(key) != MADE_BYTES:
        raise InvalidSecret(f"This private key has {len(key)} bytes: one of ed25519 has {MADE_BYTES}.")
    if not MIN_BYTES <= len(key) <= MAX_BYTES:
        raise InvalidSecret(
            f"This secret stands for {len(key)} bytes: use one of {MIN_BYTES} to {MAX_BYTES} bytes, best "
            f'"{prefix}" and the base64 of {MADE_BYTES} random bytes.'
        )
    return key


def public_key(secret: str) -> str:
    """
    The public half of a private key, which is no secret; empty for a secret that both sides have.

    :raises InvalidSecret: as ``decode_secret``
    """
    if kind_of(secret) is Kind.HMAC:
        return ""
    public = Ed25519PrivateKey.from_private_bytes(decode_secret(secret)).public_key().public_bytes_raw()
    return PUBLIC_PREFIX + base64.b64encode(public).decode()


def in_words(secret: str) -> str:
    """What a secret is, for people: of a key pair with its public half."""
    public = public_key(secret)
    return f"private key (its public half: {public})" if public else "secret"


def signature_headers(webhook_id: str, body: bytes, secrets: Sequence[str], at: datetime) -> dict[str, str]:
    """
    ``webhook-id``, ``webhook-timestamp`` (whole Unix seconds) and ``webhook-signature`` of one attempt.

    :param webhook_id: the same for every attempt; letters, digits, "-" and "_"
    :param body: the very bytes that are sent
    :param secrets: there is one signature for each, in this order; two while a secret is being replaced
    :param at: the moment of the attempt, aware
    :raises ValueError: no secret (nothing goes out unsigned), a naive moment, or another character in the id
    :raises InvalidSecret: as ``decode_secret``
    """
    if isinstance(secrets, str) or not secrets:
        raise ValueError("Pass a list with at least one secret: nothing goes out unsigned.")
    if at.utcoffset() is None:
        raise ValueError("Pass an aware datetime, such as django.utils.timezone.now(): a naive one names no moment.")
    if not _ID.match(webhook_id):
        raise ValueError('Pass an id of letters, digits, "-" and "_" alone, such as a UUID.')
    seconds = str(int(at.timestamp()))
    signed = f"{webhook_id}.{seconds}.".encode() + body
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(_signature(each, signed) for each in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = decode_secret(secret)
    if kind_of(secret) is Kind.ED25519:
        version, signature = "v1a", Ed25519PrivateKey.from_private_bytes(key).sign(signed)
    else:
        version, signature = "v1", hmac.digest(key, signed, hashlib.sha256)
    return f"{version},{base64.b64encode(signature).decode()}"
