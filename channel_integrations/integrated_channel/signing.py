# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Signatures of webhooks as in Standard Webhooks 1.0 (https://www.standardwebhooks.com), symmetric: HMAC-SHA256, "v1".

What is signed is ``<id>.<seconds>.<body>``. Partners read how to verify it in docs/partners/receiving_webhooks.md.
"""

import base64
import hashlib
import hmac
import re
import secrets as random_source
from collections.abc import Sequence
from datetime import datetime

PREFIX = "whsec_"
#: bytes of a secret, decoded
MIN_BYTES, MAX_BYTES = 24, 64
#: bytes of the secrets made here
MADE_BYTES = 32

# A full stop would let what belongs to the id be read as the timestamp, and a line break would end the header.
_ID = re.compile(r"[A-Za-z0-9_-]+\Z")


class InvalidSecret(ValueError):
    """A secret that nothing is signed with; the text says what to type instead and never repeats the secret."""


def generate_secret() -> str:
    """A new secret: ``whsec_`` and the base64 of 32 random bytes."""
    return PREFIX + base64.b64encode(random_source.token_bytes(MADE_BYTES)).decode()


def decode_secret(secret: str) -> bytes:
    """
    The key, 24 to 64 bytes, that a secret stands for.

    :raises InvalidSecret: without ``whsec_`` in front, not base64 (RFC 4648, section 4, padded), too short or too long
    """
    if not secret.startswith(PREFIX):
        raise InvalidSecret(f'A secret starts with "{PREFIX}": paste it as a whole, with these six characters.')
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        raise InvalidSecret(
            f'After "{PREFIX}" a secret is base64, with its "=" at the end and no spaces: paste it again as a whole.'
        ) from None
    if not MIN_BYTES <= len(key) <= MAX_BYTES:
        raise InvalidSecret(
            f"This secret stands for {len(key)} bytes: use one of {MIN_BYTES} to {MAX_BYTES} bytes, best "
            f'"{PREFIX}" and the base64 of {MADE_BYTES} random bytes.'
        )
    return key


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
    signatures = (base64.b64encode(hmac.digest(decode_secret(each), signed, hashlib.sha256)) for each in secrets)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(f"v1,{signature.decode()}" for signature in signatures),
    }
