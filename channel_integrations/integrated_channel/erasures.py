# SPDX-License-Identifier: AGPL-3.0-or-later
"""The event that tells an endpoint to erase what it was told about a learner; the same in every payload format."""

import hashlib
import json
from datetime import datetime
from typing import Any

from channel_integrations.integrated_channel.formats import iso_utc, to_body

LEARNER_ERASED = "learner.erased"


def erasure_body(enterprise_customer_uuid: Any, identifier: str, now: datetime) -> str:
    """
    The body: whose learner, and how the endpoint knows this one; nothing else.

    :param identifier: the object that named the learner in what was sent, as JSON
    """
    return to_body(
        {
            "event_type": LEARNER_ERASED,
            "event_version": "2.0",
            "event_source": "openedx_events",
            "timestamp": iso_utc(now),
            "enterprise_customer": {"uuid": str(enterprise_customer_uuid)},
            "learner": json.loads(identifier),
        }
    )


def erasure_key(endpoint_id: int, user_id: int, last_disclosure: int) -> str:
    """
    SHA-256 (hex) of what makes two erasures the same: endpoint, learner, and the last disclosure that it is about.

    What the endpoint is told after that makes another one.
    """
    facts = (LEARNER_ERASED, str(endpoint_id), str(user_id), str(last_disclosure))
    return hashlib.sha256("\x1f".join(facts).encode()).hexdigest()
