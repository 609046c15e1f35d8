# SPDX-License-Identifier: AGPL-3.0-or-later
"""
What each setting takes, and what an operator is told whose value does not fit. No I/O: ``conf`` reads the settings.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any
from urllib.parse import urlsplit

from channel_integrations.integrated_channel.settings.common import DEFAULTS

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,254}\Z")
_TOKEN = re.compile(r"[!-~]{16,}\Z")


@dataclass(frozen=True)
class Rule:
    """One setting: whether a value fits, what one must do to fit, and what to type in place of one that does not."""

    name: str
    fits: Callable[[Any], bool]
    must: str
    hint: str


@dataclass(frozen=True)
class WholeNumber:
    """The bounds of a setting that is a whole number, both inclusive; ``unit`` is what it counts, in the plural."""

    minimum: int
    maximum: int
    unit: str

    def fits(self, given: Any) -> bool:
        """Whether it is one, within the bounds."""
        return isinstance(given, int) and not isinstance(given, bool) and self.minimum <= given <= self.maximum

    def rule(self, name: str) -> Rule:
        """The rule of the setting of this name."""
        must = f"be a whole number of {self.unit} from {self.minimum} to {self.maximum}"
        default = DEFAULTS[name]
        return Rule(name, self.fits, must, f"Type for example {name} = {default}. Until then {default} is used.")


def clock(given: Any) -> time | None:
    """The time of the day that a text such as ``06:00`` names; None where it names none."""
    try:
        return datetime.strptime(given, "%H:%M").time() if isinstance(given, str) else None
    except ValueError:
        return None


def is_token(given: Any) -> bool:
    """Whether it can be sent after "Bearer", and is too long to be guessed."""
    return isinstance(given, str) and _TOKEN.match(given) is not None


def _is_text_or_none(given: Any) -> bool:
    return given is None or (isinstance(given, str) and bool(given))


def _is_proxy_url(given: Any) -> bool:
    try:
        parts = urlsplit(given) if isinstance(given, str) else None
        return bool(parts and parts.scheme == "http" and parts.hostname and parts.port)
    except ValueError:
        return False


def _is_table_name(given: Any) -> bool:
    return isinstance(given, str) and 1 <= len(parts := given.split(".")) <= 3 and all(map(_IDENTIFIER.match, parts))


def _are_column_names(given: Any) -> bool:
    known = DEFAULTS["CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS"]
    return (
        isinstance(given, dict)
        and set(given) <= set(known)  # type: ignore[call-overload]
        and all(
            (name is None and key == "date") or (isinstance(name, str) and _IDENTIFIER.match(name))
            for key, name in given.items()
        )
    )


WHOLE_NUMBERS = {
    "CHANNEL_WEBHOOKS_LEARNING_TIME_CACHE_SECONDS": WholeNumber(0, 86_400, "seconds"),
    "CHANNEL_WEBHOOKS_LOOKUP_WAIT_SECONDS": WholeNumber(0, 86_400, "seconds"),
    "CHANNEL_WEBHOOKS_WAREHOUSE_AUTO_SUSPEND_SECONDS": WholeNumber(1, 86_400, "seconds"),
    "CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS": WholeNumber(1, 30, "seconds"),
    "CHANNEL_WEBHOOKS_SNOWFLAKE_QUERY_TIMEOUT_SECONDS": WholeNumber(1, 60, "seconds"),
    "CHANNEL_WEBHOOKS_ENRICHMENT_WAIT_SECONDS": WholeNumber(1, 86_400, "seconds"),
    "CHANNEL_WEBHOOKS_MAX_PASS_AGE_DAYS": WholeNumber(1, 365, "days"),
    "CHANNEL_WEBHOOKS_RETENTION_DAYS": WholeNumber(1, 3650, "days"),
    "CHANNEL_WEBHOOKS_DISCLOSURE_RETENTION_DAYS": WholeNumber(1, 36_500, "days"),
    "CHANNEL_WEBHOOKS_KEPT_ANSWER_CHARACTERS": WholeNumber(0, 65_536, "characters"),
    "CHANNEL_WEBHOOKS_DELIVERY_WORKERS": WholeNumber(1, 64, "workers"),
    "CHANNEL_WEBHOOKS_RECONCILE_DAYS": WholeNumber(1, 365, "days"),
}
_TEXTS = ("CHANNEL_WEBHOOKS_DELIVERY_QUEUE", "CHANNEL_WEBHOOKS_GRADE_SOURCE", "CHANNEL_WEBHOOKS_METRICS_TOKEN_FILE")
_ALL = (
    *(number.rule(name) for name, number in WHOLE_NUMBERS.items()),
    *(
        Rule(name, _is_text_or_none, "be a string or None", f"Type for example {name} = {DEFAULTS[name]!r}.")
        for name in _TEXTS
    ),
    Rule(
        "CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE",
        _is_table_name,
        "be one to three plain identifiers joined by dots",
        'Type for example CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE = "PROD.BUSINESS_INTELLIGENCE.LEARNING_TIME".',
    ),
    Rule(
        "CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS",
        _are_column_names,
        "map user, course, customer, seconds and date to plain identifiers",
        'Type for example CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS = {"user": "USER_ID"}; others keep their default.',
    ),
    Rule(
        "CHANNEL_WEBHOOKS_ROLLUP_READY_AT",
        lambda given: clock(given) is not None,
        "be a time of the day, in UTC, as hours and minutes",
        'Type for example CHANNEL_WEBHOOKS_ROLLUP_READY_AT = "06:00". Until then 06:00 is used.',
    ),
    Rule(
        "CHANNEL_WEBHOOKS_METRICS_TOKEN",
        lambda given: given is None or is_token(given),
        "be None or 16 characters or more, ASCII, without spaces",
        "Make one: python -c 'import secrets; print(secrets.token_urlsafe())'. Until then no token opens /metrics.",
    ),
    Rule(
        "CHANNEL_WEBHOOKS_PROXY_URL",
        lambda given: given is None or _is_proxy_url(given),
        "be None or an http URL of a host and a port",
        'Type for example CHANNEL_WEBHOOKS_PROXY_URL = "http://proxy.internal:3128". Until then none is used.',
    ),
    Rule(
        "CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES",
        lambda given: isinstance(given, bool),
        "be True or False",
        "Type CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = False; anything but True is read as False.",
    ),
)
#: by name; SNOWFLAKE_CONFIG has none: ``snowflake_sign_in`` judges it
RULES = {rule.name: rule for rule in _ALL}
