"""
Verify a webhook with a public key: exit 0 when it is genuine, otherwise 1 with the reason.

    WEBHOOK_PUBLIC_KEY=whpk_… WEBHOOK_ID=… WEBHOOK_TIMESTAMP=… WEBHOOK_SIGNATURE=… python verify_v1a.py body.json
"""

# begin: verify
import base64
import time
from collections.abc import Mapping
from contextlib import suppress

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def verify(public_key: str, headers: Mapping[str, str], body: bytes, now: float | None = None) -> None:
    """
    Raise ValueError unless the webhook is genuine and less than five minutes off.

    ``headers`` is your framework's own, or has its names in lower case; ``body`` is the raw one.
    """
    webhook_id = headers.get("webhook-id", "")
    seconds = headers.get("webhook-timestamp", "")
    signatures = headers.get("webhook-signature", "")
    if not (webhook_id and seconds and signatures):
        raise ValueError("a webhook header is missing")
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 12):
        raise ValueError("the timestamp is no number")
    if abs((time.time() if now is None else now) - int(seconds)) > 300:
        raise ValueError("the timestamp is more than five minutes off")
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key.removeprefix("whpk_")))
    signed = f"{webhook_id}.{seconds}.".encode() + body
    for each in signatures.split():
        version, _, signature = each.partition(",")
        if version == "v1a":
            with suppress(InvalidSignature, ValueError):
                key.verify(base64.b64decode(signature), signed)
                return
    raise ValueError("no signature matches")


# end: verify
if __name__ == "__main__":
    import os
    import sys
    from pathlib import Path

    try:
        verify(
            os.environ.get("WEBHOOK_PUBLIC_KEY", ""),
            {name.lower().replace("_", "-"): value for name, value in os.environ.items()},
            Path(sys.argv[1]).read_bytes(),
            float(os.environ.get("WEBHOOK_NOW") or time.time()),
        )
    except ValueError as err:
        sys.exit(f"refused: {err}")
