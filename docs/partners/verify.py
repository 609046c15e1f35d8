"""
Verify a webhook: exit 0 when it is genuine, otherwise 1 with the reason.

    WEBHOOK_SECRET=whsec_… WEBHOOK_ID=… WEBHOOK_TIMESTAMP=… WEBHOOK_SIGNATURE=… python verify.py body.json
"""

# begin: verify
import base64
import hashlib
import hmac
import time
from collections.abc import Mapping


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: float | None = None) -> None:
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
    key = base64.b64decode(secret.removeprefix("whsec_"))
    if len(key) < 24:  # anybody could sign with an empty key
        raise ValueError("the secret is missing or incomplete")
    signed = f"{webhook_id}.{seconds}.".encode() + body
    expected = b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
    if not any(hmac.compare_digest(expected, signature.encode()) for signature in signatures.split()):
        raise ValueError("no signature matches")


# end: verify
if __name__ == "__main__":
    import os
    import sys
    from pathlib import Path

    try:
        verify(
            os.environ.get("WEBHOOK_SECRET", ""),
            {name.lower().replace("_", "-"): value for name, value in os.environ.items()},
            Path(sys.argv[1]).read_bytes(),
            float(os.environ.get("WEBHOOK_NOW") or time.time()),
        )
    except ValueError as err:
        sys.exit(f"refused: {err}")
