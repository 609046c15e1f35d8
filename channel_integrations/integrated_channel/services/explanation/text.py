# SPDX-License-Identifier: AGPL-3.0-or-later
"""A story as plain text: what the command prints, and what is copied into a mail to a partner."""

from collections.abc import Iterator
from typing import Any

from channel_integrations.integrated_channel.services.explanation.story import Answer

#: an answer as it is printed
PRINTED = {Answer.YES: "yes", Answer.NO: "no", Answer.UNKNOWN: "?", Answer.NOT_REACHED: "-"}
WIDTH = 14


def as_text(told: dict[str, Any]) -> str:
    """What ``tell`` has told."""
    return "\n".join(_lines(told))


def _lines(told: dict[str, Any]) -> Iterator[str]:
    yield told["conclusion"]
    if told["webhook_id"]:
        yield f"Webhook {told['webhook_id']}"
    yield f"Course run {told['course']}, customer {told['customer']}"
    yield ""
    for step in told["steps"]:
        yield f"{PRINTED[step['answer']]:<4}{step['name']:<{WIDTH}} {step['fact']}"
        if step["answer"] == Answer.NO and step.get("change"):
            yield f"{'':<{WIDTH + 5}}→ {step['change']}"
