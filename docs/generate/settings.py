# SPDX-License-Identifier: AGPL-3.0-or-later
"""Settings: names and words from the annotations, defaults from DEFAULTS, bounds from ``conf``."""

import re

from channel_integrations.integrated_channel.settings.common import DEFAULTS
from channel_integrations.integrated_channel.settings.rules import WHOLE_NUMBERS
from docs.generate import PACKAGE, prose

APP = PACKAGE / "integrated_channel"
INTRODUCTION = """\
# Settings

For operators. Set them where your site keeps the LMS's settings (Tutor: a plugin's patch
`openedx-lms-common-settings`; otherwise `lms.yml`), and restart LMS and workers. A value that cannot be used is
reported by the check [`channel_webhooks.E003`](checks.md#channel-webhooks-e003) and read as its default: it never
stops a worker.

"""
OF_THE_LMS = """\
## The LMS's own settings that count here

| setting | what for |
|---|---|
| `CACHES` | learning time is kept in the `default` cache |
| `CELERY_TASK_ROUTES`, `EXPLICIT_QUEUES` | [which queue a task goes to](../how-tos/celery_queue_configuration.md) |
| `FERNET_KEYS`, or `SECRET_KEY` | [secrets](../how-tos/rotate_a_secret.md#the-key-that-encrypts-them) |
"""


def annotations(source: str, kind: str) -> dict[str, dict[str, str]]:
    """The ``.. setting_name:`` (or ``toggle_``) annotations of a module: facts by name, continuation lines joined."""
    text = re.sub(r"\n *#     ", " ", source)
    found: dict[str, dict[str, str]] = {}
    for fact, value in re.findall(rf"# \.\. {kind}_(\w+): (.*)", text):
        if fact == "name":
            current = found.setdefault(value, {})
        else:
            current[fact] = value
    return found


def page() -> str:
    """The page."""
    parts = [INTRODUCTION]
    for name, facts in annotations((APP / "conf.py").read_text(), "toggle").items():
        parts.append(_entry(name, facts["description"], facts["default"], "`True` or `False`", of_toggle=True))
    settings = annotations((APP / "settings/common.py").read_text(), "setting")
    if list(settings) != list(DEFAULTS):
        raise SystemExit("settings/common.py: annotations and DEFAULTS do not name the same settings in the same order")
    for name, facts in settings.items():
        parts.append(_entry(name, facts["description"], repr(DEFAULTS[name]), _bounds(name)))
    return "".join([*parts, OF_THE_LMS])


def _entry(name: str, description: str, default: str, bounds: str, of_toggle: bool = False) -> str:
    lines = [f"## `{name}`", "", prose(description), "", f"- Default: `{default.replace(chr(39), chr(34))}`"]
    if bounds:
        lines.append(f"- Takes: {bounds}")
    if of_toggle:
        lines.append("- How to: [Switch learning time on](../how-tos/webhook_learning_time_feature_flag.md)")
    return "\n".join(lines) + "\n\n"


def _bounds(name: str) -> str:
    if name in WHOLE_NUMBERS:
        number = WHOLE_NUMBERS[name]
        return f"a whole number of {number.unit}, {number.minimum} to {number.maximum}"
    return "`True` or `False`" if isinstance(DEFAULTS[name], bool) else ""
