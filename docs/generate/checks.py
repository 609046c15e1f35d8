# SPDX-License-Identifier: AGPL-3.0-or-later
"""System checks: each is provoked, and says here what it says to an operator."""

import textwrap
from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage
from django.test import override_settings

from channel_integrations.integrated_channel import checks
from channel_integrations.integrated_channel.settings.common import DEFAULTS

INTRODUCTION = """\
# System checks

For operators. `./manage.py lms check` prints them. All are errors: `check` exits with 1, and so does `migrate`, which
then migrates nothing. None of them stops the sending: until you have mended it, what the hint says holds.

"""
TITLES = {
    "channel_webhooks.E001": "`SNOWFLAKE_CONFIG` is missing or incomplete",
    "channel_webhooks.E002": "`SNOWFLAKE_CONFIG` has no way, or several ways, to sign in",
    "channel_webhooks.E003": "a setting is of the wrong type or out of bounds",
}
FLAG = {"FEATURES": {"ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT": True}}
_ACCOUNT = dict.fromkeys(("account", "user", "warehouse", "database", "schema", "role"), "…")
_NO_ROUTE = {"channel_integrations.integrated_channel.tasks.enrich_and_send_completion_webhook": 1}
PROVOCATIONS: tuple[dict[str, Any], ...] = (
    {**FLAG, "SNOWFLAKE_CONFIG": {}},
    {**FLAG, "SNOWFLAKE_CONFIG": _ACCOUNT},
    {**FLAG, "SNOWFLAKE_CONFIG": {**_ACCOUNT, "password": "…", "private_key_file": "…"}},
    *({name: object()} for name in DEFAULTS if name != "SNOWFLAKE_CONFIG"),
    {"CELERY_TASK_ROUTES": _NO_ROUTE},
    {"CHANNEL_WEBHOOKS_RETENTION_DAYS": 5, "CHANNEL_WEBHOOKS_MAX_PASS_AGE_DAYS": 7},
)


def page() -> str:
    """The page."""
    found: dict[str, list[CheckMessage]] = {check_id: [] for check_id in TITLES}
    for message in provoked():
        found[message.id].append(message)
    parts = [INTRODUCTION]
    for check_id, messages in found.items():
        anchor = check_id.replace("_", "-").replace(".", "-").lower()
        said = "\n\n".join(_as_printed(message) for message in messages)
        parts.append(f"({anchor})=\n\n## {check_id}: {TITLES[check_id]}\n\n```text\n{said}\n```\n\n")
    return "".join(parts)[:-1]


def provoked() -> Iterator[CheckMessage]:
    """What the checks say to each provocation."""
    for settings in PROVOCATIONS:
        with override_settings(**settings):
            yield from checks.check_settings(None)
            yield from checks.check_snowflake(None)


def _as_printed(message: CheckMessage) -> str:
    """As Django prints it, in lines of 90."""
    said = textwrap.fill(f"({message.id}) {message.msg}", 90, subsequent_indent="    ", break_on_hyphens=False)
    indent = {"initial_indent": "    ", "subsequent_indent": "    "}
    return said + "\n" + textwrap.fill(f"HINT: {message.hint}", 90, break_on_hyphens=False, **indent)
