# SPDX-License-Identifier: AGPL-3.0-or-later
"""The OpenAPI document of what partners receive, made from the JSON Schemas beside it."""

import json
from typing import Any

import channel_integrations
from docs.generate import DOCS

SCHEMAS = DOCS / "partners/schema"
#: file name and the words of each event
EVENTS = {
    "course_completion": "A learner has passed a course run that your company sponsors.",
    "course_completion.revised": "A completion that you have been sent has another, final learning time. By agreement "
    "only.",
    "course_enrollment": "A learner has enrolled in a course run that your company sponsors. By agreement only.",
    "learner.erased": "Erase what you were told about a learner, and answer 2xx. By agreement only.",
    "test": "The operator has asked for a test. Verify it, answer 2xx, and do nothing.",
}
_HEADERS = (
    ("webhook-id", "Names the webhook; the same on every attempt.", {"type": "string", "format": "uuid"}),
    ("webhook-timestamp", "When this attempt was made, in Unix seconds.", {"type": "string", "pattern": "^[0-9]+$"}),
    (
        "webhook-signature",
        "One or more signatures, separated by spaces: `v1,` and base64 of HMAC-SHA256, or by agreement `v1a,` and "
        "base64 of ed25519, over id, timestamp and body.",
        {"type": "string"},
    ),
)
_ANSWERS = {
    "2XX": "Taken: it is not sent again.",
    "410": "Your URL is switched off: nothing more is sent to it until the operator switches it on again.",
    "429": "Tried again on the schedule, and not before `Retry-After`. So is 503; and, whatever `Retry-After` says, "
    "401, 403, 404, 407, 408, 409, 421, 423, 425 and the other 5xx.",
    "default": "Any other 4xx, and 3xx: final; the operator can replay it.",
}


def openapi() -> str:
    """The document, as JSON."""
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Completion webhooks",
            "version": channel_integrations.__version__,
            "summary": "What a site that runs channel-integrations sends to your URL.",
            "description": "Ignore fields that you do not know, and answer 2xx to an event_type that you do not know.",
            "license": {"name": "AGPL-3.0-or-later", "identifier": "AGPL-3.0-or-later"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "webhooks": {name: {"post": _operation(name, words)} for name, words in EVENTS.items()},
        "components": {"schemas": {name: _schema(name) for name in EVENTS}},
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _operation(name: str, words: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    return {
        "operationId": name,
        "summary": words,
        "parameters": [
            {"name": header, "in": "header", "required": True, "description": description, "schema": schema}
            for header, description, schema in _HEADERS
        ],
        "requestBody": {"required": True, "content": content},
        "responses": {status: {"description": meaning} for status, meaning in _ANSWERS.items()},
    }


def _schema(name: str) -> dict[str, Any]:
    """Without what only a document of its own has."""
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    return {key: value for key, value in schema.items() if key not in ("$schema", "$id")}
