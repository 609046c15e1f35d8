# SPDX-License-Identifier: AGPL-3.0-or-later
"""A story as plain text: what the command prints, and what is copied into a mail to a partner."""

import textwrap
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from channel_integrations.integrated_channel.services.explanation.story import Answer

#: an answer as it is printed
PRINTED = {Answer.YES: "yes", Answer.NO: "no", Answer.UNKNOWN: "?", Answer.NOT_REACHED: "-"}
WIDTH = 14


def as_text(told: dict[str, Any]) -> str:
    """What ``tell`` has told; steps that were not reached for the same reason share a line."""
    return "\n".join(_lines(told))


def _lines(told: dict[str, Any]) -> Iterator[str]:
    yield told["conclusion"]
    if told["webhook_id"]:
        yield f"Webhook {told['webhook_id']}"
    yield f"Course run {told['course']}, customer {told['customer']}"
    yield ""
    for (answer, fact), steps in groupby(told["steps"], key=lambda step: (step["answer"], step["fact"])):
        if answer == Answer.NOT_REACHED:
            names = ", ".join(step["name"] for step in steps)
            yield from textwrap.wrap(f"-   {fact}: {names}", 120, subsequent_indent=" " * 4)
            continue
        for step in steps:
            yield f"{PRINTED[answer]:<4}{step['name']:<{WIDTH}} {fact}"
            if step.get("change"):
                yield f"{'':<{WIDTH + 5}}→ {step['change']}"
