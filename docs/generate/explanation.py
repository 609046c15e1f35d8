# SPDX-License-Identifier: AGPL-3.0-or-later
"""What ``webhook_explain --json`` prints: a page, and a JSON Schema that tests hold every story against."""

import json
from collections.abc import Mapping
from typing import Any

from channel_integrations.integrated_channel.services.explanation.outcome import DELIVERED, NOT_SENT, ON_ITS_WAY
from channel_integrations.integrated_channel.services.explanation.story import NOT_DECISIVE, STEPS, Answer
from docs.generate import table

ANSWERS = {
    Answer.YES: "it holds",
    Answer.NO: "it does not; `change` says what changes that",
    Answer.UNKNOWN: "it cannot be told from here: the LMS's grades are not read; `change` says how they are",
    Answer.NOT_REACHED: "not asked: what came before has settled it, or there is nothing to ask about",
}
OUTCOMES = {
    DELIVERED: "the partner has answered an attempt with 2xx",
    ON_ITS_WAY: "there is a webhook that moves by itself; where `next` is `no`, it is overdue",
    NOT_SENT: "there is none, or it does not move by itself, or it will be cancelled; `conclusion` says why",
}
INTRODUCTION = """\
# An explanation as JSON

For operators. What `webhook_explain --json` prints, and {download}`a JSON Schema <webhook_explain.json>` of it (draft
2020-12). Every release is tested to print nothing else. Names and answers stay as they are from release to release; the
sentences in `conclusion`, `fact` and `change` are for people, and may be worded anew. Times are ISO 8601, in UTC.

[The partner got nothing](../how-tos/the_partner_got_nothing.md) shows how it is used.

"""
FIELDS = (
    ("`conclusion`", "the answer, in a sentence or two"),
    ("`outcome`", "one of the three below"),
    ("`decided_by`", "the name of the step that is the answer; null where nothing stands against the webhook"),
    ("`customer`, `course`", "UUID and key of the course run that were asked about"),
    ("`webhook_id`", "the webhook's id, as the partner sees it; null where there is none"),
    ("`next_move_at`", "when it moves next, as far as that is known; null where somebody has to act"),
    (
        "`noted`",
        "why a grade event made no webhook of this pass, as it was noted then (`reason`, `passed_at`, `noted_at`); "
        "null where nothing was. [The reasons](codes.md#reason-of-a-suppressed-webhook)",
    ),
    (
        "`steps`",
        "all of the steps below, in their order: `name`, `answer`, `fact`, and `change`, which may be empty",
    ),
    ("`learner`", "`user_id`, `username`, `email`; personal data"),
)
FOR_PARTNER = """\
## `--for-partner`

Without `learner` and `change`, and without what is not the partner's to know. Where the learner is not linked to the
customer, the customer does not sponsor the run, there is no consent, or the pass came before the link, the steps beyond
it are `not_reached` (“not told”), and so is the webhook, unless it has been sent. A grade is never told, nor that it
fails.
"""


def page() -> str:
    """The page."""
    steps = [(f"`{name}`", str(question), "" if name in NOT_DECISIVE else "yes") for name, question in STEPS.items()]
    return (
        f"{INTRODUCTION}{table(('field', 'what it says'), FIELDS)}\n"
        f"## `outcome`\n\n{_meanings('outcome', OUTCOMES)}\n"
        f"## `answer`\n\n{_meanings('answer', ANSWERS)}\n"
        f"## `steps`\n\nWithout a webhook, the first `no` of a step that stops it is the answer.\n\n"
        f"{table(('name', 'question', 'stops it'), steps)}\n{FOR_PARTNER}"
    )


def _meanings(head: str, meanings: Mapping[str, str]) -> str:
    return table((head, "what it means"), [(f"`{name}`", text) for name, text in meanings.items()])


def schema() -> str:
    """The JSON Schema, as JSON."""
    text = {"type": "string"}
    moment = {"type": "string", "format": "date-time"}
    step = _object({"name": {"enum": list(STEPS)}, "answer": {"enum": list(ANSWERS)}, "fact": text, "change": text})
    step["required"] = ["name", "answer", "fact"]
    whole = _object(
        {
            "conclusion": {**text, "minLength": 1},
            "outcome": {"enum": list(OUTCOMES)},
            "decided_by": {"enum": [*STEPS, None]},
            "customer": {**text, "format": "uuid"},
            "course": text,
            "webhook_id": {"type": ["string", "null"], "format": "uuid"},
            "next_move_at": {"type": ["string", "null"], "format": "date-time"},
            "noted": {"anyOf": [{"type": "null"}, _object({"reason": text, "passed_at": moment, "noted_at": moment})]},
            "steps": {"type": "array", "items": step, "minItems": len(STEPS), "maxItems": len(STEPS)},
            "learner": _object({"user_id": {"type": "integer"}, "username": text, "email": text}),
        }
    )
    whole["required"].remove("learner")
    whole["dependentSchemas"] = {
        "learner": {"properties": {"steps": {"items": {"required": ["name", "answer", "fact", "change"]}}}}
    }
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What webhook_explain --json prints",
        "$comment": "Without learner and change: --for-partner.",
        **whole,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
