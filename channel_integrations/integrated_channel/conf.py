# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The only reader of Django's settings.

Accessors never raise: a value of the wrong type or out of bounds is reported by a system check (``problems()``) and
read as its default, so that a typing error in a settings file cannot stop a worker or a grade.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import time as clock_time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from edx_toggles.toggles import SettingDictToggle

from channel_integrations.integrated_channel.settings.common import (
    DEFAULTS,
    DELIVERY_TASK,
    ENRICHMENT_QUEUE,
    ENRICHMENT_TASK,
)

# .. toggle_name: FEATURES['ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT']
# .. toggle_implementation: SettingDictToggle
# .. toggle_default: False
# .. toggle_description: Look up in Snowflake how long the learner spent learning and add it to completion webhooks.
# .. toggle_use_cases: open_edx
# .. toggle_creation_date: 2026-11-24
ENRICHMENT_FLAG = SettingDictToggle(
    "FEATURES", "ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT", default=False, module_name=__name__
)

#: how long a claimed row belongs to its claimer; above the hard limit of a task (120 s)
ROW_LEASE = timedelta(seconds=180)

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,254}\Z")


@dataclass(frozen=True)
class Problem:
    """A setting that cannot be used as it is: its name, what is wrong, what to type."""

    setting: str
    message: str
    hint: str


@dataclass(frozen=True)
class _Whole:
    """A whole-number setting and its bounds, both inclusive."""

    name: str
    minimum: int
    maximum: int
    unit: str

    def value(self) -> int:
        given = getattr(settings, self.name, DEFAULTS[self.name])
        return given if self._fits(given) else DEFAULTS[self.name]  # type: ignore[return-value]

    def problems(self) -> Iterator[Problem]:
        given = getattr(settings, self.name, DEFAULTS[self.name])
        if not self._fits(given):
            yield Problem(
                self.name,
                f"{self.name} must be a whole number of {self.unit} from {self.minimum} to {self.maximum}.",
                f"Type for example {self.name} = {DEFAULTS[self.name]}. Until then {DEFAULTS[self.name]} is used.",
            )

    def _fits(self, given: Any) -> bool:
        return isinstance(given, int) and not isinstance(given, bool) and self.minimum <= given <= self.maximum


_CACHE = _Whole("CHANNEL_WEBHOOKS_LEARNING_TIME_CACHE_SECONDS", 0, 86_400, "seconds")
_LOOKUP_WAIT = _Whole("CHANNEL_WEBHOOKS_LOOKUP_WAIT_SECONDS", 0, 86_400, "seconds")
_AUTO_SUSPEND = _Whole("CHANNEL_WEBHOOKS_WAREHOUSE_AUTO_SUSPEND_SECONDS", 1, 86_400, "seconds")
_LOGIN = _Whole("CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS", 1, 30, "seconds")
_QUERY = _Whole("CHANNEL_WEBHOOKS_SNOWFLAKE_QUERY_TIMEOUT_SECONDS", 1, 60, "seconds")
_WAIT = _Whole("CHANNEL_WEBHOOKS_ENRICHMENT_WAIT_SECONDS", 1, 86_400, "seconds")
_MAX_AGE = _Whole("CHANNEL_WEBHOOKS_MAX_PASS_AGE_DAYS", 1, 365, "days")
_RETENTION = _Whole("CHANNEL_WEBHOOKS_RETENTION_DAYS", 1, 3650, "days")
_DISCLOSURES = _Whole("CHANNEL_WEBHOOKS_DISCLOSURE_RETENTION_DAYS", 1, 36_500, "days")
_KEPT_ANSWER = _Whole("CHANNEL_WEBHOOKS_KEPT_ANSWER_CHARACTERS", 0, 65_536, "characters")
_WORKERS = _Whole("CHANNEL_WEBHOOKS_DELIVERY_WORKERS", 1, 64, "workers")
_RECONCILE = _Whole("CHANNEL_WEBHOOKS_RECONCILE_DAYS", 1, 365, "days")
_WHOLE_NUMBERS = (
    _CACHE,
    _LOOKUP_WAIT,
    _AUTO_SUSPEND,
    _LOGIN,
    _QUERY,
    _WAIT,
    _MAX_AGE,
    _RETENTION,
    _DISCLOSURES,
    _KEPT_ANSWER,
    _WORKERS,
    _RECONCILE,
)


def enrichment_enabled() -> bool:
    """Whether completions are looked up in Snowflake."""
    return ENRICHMENT_FLAG.is_enabled()


def learning_time_cache_seconds() -> int:
    """Seconds that an answer is cached; 0 for none."""
    return _CACHE.value()


def lookup_wait() -> timedelta:
    """How long a lookup waits for others to share its statement."""
    return timedelta(seconds=_LOOKUP_WAIT.value())


def warehouse_auto_suspend() -> timedelta:
    """After how long without a statement the warehouse falls asleep."""
    return timedelta(seconds=_AUTO_SUSPEND.value())


def snowflake_login_timeout() -> int:
    """Seconds for one sign-in."""
    return _LOGIN.value()


def snowflake_query_timeout() -> int:
    """Seconds for one statement."""
    return _QUERY.value()


def enrichment_wait() -> timedelta:
    """How long a completion waits for its learning time at most, beyond ``lookup_wait``."""
    return timedelta(seconds=_WAIT.value())


def rollup_ready_at() -> clock_time:
    """The time of the day, in UTC, from which the rollup of the day before is expected."""
    name = "CHANNEL_WEBHOOKS_ROLLUP_READY_AT"
    return _clock(_given(name)) or _clock(DEFAULTS[name])  # type: ignore[return-value]


def max_pass_age() -> timedelta:
    """Passes older than this make no webhook."""
    return timedelta(days=_MAX_AGE.value())


def retention() -> timedelta:
    """How long what can no longer move is kept before it is purged."""
    return timedelta(days=_RETENTION.value())


def disclosure_retention() -> timedelta:
    """How long the register keeps what was told, from when it was told for the last time."""
    return timedelta(days=_DISCLOSURES.value())


def kept_answer_characters() -> int:
    """How much of an endpoint's answer is kept."""
    return _KEPT_ANSWER.value()


def delivery_workers() -> int:
    """How many workers may deliver at once."""
    return _WORKERS.value()


def reconcile_window() -> timedelta:
    """How far back the sweep compares with the LMS's grades."""
    return timedelta(days=_RECONCILE.value())


def grade_source() -> str | None:
    """``app_label.Model`` of the LMS's persistent grades, or None where the comparison is off."""
    given = getattr(settings, "CHANNEL_WEBHOOKS_GRADE_SOURCE", DEFAULTS["CHANNEL_WEBHOOKS_GRADE_SOURCE"])
    return given if isinstance(given, str) and given else None


def heartbeat_file() -> Path | None:
    """
    The file that this process keeps fresh while it is alive, or None.

    From the environment, in place of a setting: all processes of a site share its settings, and each needs a file of
    its own.
    """
    given = os.environ.get("CHANNEL_WEBHOOKS_HEARTBEAT_FILE")
    return Path(given) if given else None


def allow_private_addresses() -> bool:
    """Whether endpoints may be http and on private addresses (development). Anything but True is no."""
    return getattr(settings, "CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES", False) is True


def proxy_url() -> str | None:
    """The proxy that webhooks go through, or None."""
    given = getattr(settings, "CHANNEL_WEBHOOKS_PROXY_URL", None)
    return given if _is_proxy_url(given) else None


def metrics_token() -> str | None:
    """What a monitoring system has to bring; None where there is none that can be used: nobody can then bring it."""
    file = getattr(settings, "CHANNEL_WEBHOOKS_METRICS_TOKEN_FILE", None)
    if not file:
        given = getattr(settings, "CHANNEL_WEBHOOKS_METRICS_TOKEN", None)
        return given if _is_token(given) else None
    try:
        given = Path(file).read_text().strip()
    except (OSError, TypeError, ValueError):
        return None
    return given if _is_token(given) else None


def snowflake_config() -> dict[str, Any]:
    """SNOWFLAKE_CONFIG, or an empty dict where it is missing or no dict."""
    given = getattr(settings, "SNOWFLAKE_CONFIG", None)
    return dict(given) if isinstance(given, dict) else {}


def learning_time_table() -> str:
    """The validated, dotted name of the rollup."""
    given = _given("CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE")
    return given if _is_table_name(given) else DEFAULTS["CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE"]  # type: ignore


def learning_time_columns() -> dict[str, Any]:
    """Validated column names under the keys user, course, customer, seconds and date, the last of which may be None."""
    default: dict[str, Any] = DEFAULTS["CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS"]  # type: ignore[assignment]
    given = _given("CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS")
    return {**default, **given} if _are_column_names(given) else dict(default)


def celery_task_routes() -> dict[str, Any]:
    """CELERY_TASK_ROUTES where it is a dict."""
    routes = getattr(settings, "CELERY_TASK_ROUTES", None)
    return routes if isinstance(routes, dict) else {}


def explicit_queues() -> dict[str, Any]:
    """The LMS's own routing table."""
    queues = getattr(settings, "EXPLICIT_QUEUES", None)
    return queues if isinstance(queues, dict) else {}


def default_queue_of(task_name: str) -> str | None:
    """The queue of one of our tasks where no route names one; None is the LMS's default queue."""
    if task_name == ENRICHMENT_TASK:
        return ENRICHMENT_QUEUE
    queue = getattr(settings, "CHANNEL_WEBHOOKS_DELIVERY_QUEUE", None)
    return queue if task_name == DELIVERY_TASK and isinstance(queue, str) and queue else None


def problems() -> Iterator[Problem]:
    """Every setting of the wrong type or out of bounds (Snowflake's sign-in is ``snowflake_sign_in``'s to judge)."""
    for number in _WHOLE_NUMBERS:
        yield from number.problems()
    if not _is_table_name(_given("CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE")):
        yield Problem(
            "CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE",
            "CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE must be one to three plain identifiers joined by dots.",
            'Type for example CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE = "PROD.BUSINESS_INTELLIGENCE.LEARNING_TIME".',
        )
    if not _are_column_names(_given("CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS")):
        yield Problem(
            "CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS",
            "CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS must map user, course, customer, seconds and date to plain "
            "identifiers.",
            'Type for example CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS = {"user": "USER_ID"}; others keep their default.',
        )
    if _clock(_given("CHANNEL_WEBHOOKS_ROLLUP_READY_AT")) is None:
        yield Problem(
            "CHANNEL_WEBHOOKS_ROLLUP_READY_AT",
            "CHANNEL_WEBHOOKS_ROLLUP_READY_AT must be a time of the day, in UTC, as hours and minutes.",
            'Type for example CHANNEL_WEBHOOKS_ROLLUP_READY_AT = "06:00". Until then 06:00 is used.',
        )
    for task in (ENRICHMENT_TASK, DELIVERY_TASK):
        route = celery_task_routes().get(task, {})
        if not isinstance(route, (str, dict)):
            yield Problem(
                "CELERY_TASK_ROUTES",
                f"CELERY_TASK_ROUTES has an entry for {task} that is neither a queue's name nor a dict.",
                f"Type CELERY_TASK_ROUTES = {{'{task}': {{'queue': '{ENRICHMENT_QUEUE}'}}}}. Until then it is ignored.",
            )
    for name in (
        "CHANNEL_WEBHOOKS_DELIVERY_QUEUE",
        "CHANNEL_WEBHOOKS_GRADE_SOURCE",
        "CHANNEL_WEBHOOKS_METRICS_TOKEN_FILE",
    ):
        given = getattr(settings, name, None)
        if given is not None and (not isinstance(given, str) or not given):
            yield Problem(name, f"{name} must be a string or None.", f"Type for example {name} = {DEFAULTS[name]!r}.")
    token = getattr(settings, "CHANNEL_WEBHOOKS_METRICS_TOKEN", None)
    if token is not None and not _is_token(token):
        yield Problem(
            "CHANNEL_WEBHOOKS_METRICS_TOKEN",
            "CHANNEL_WEBHOOKS_METRICS_TOKEN must be None or 16 characters or more, ASCII, without spaces.",
            "Make one: python -c 'import secrets; print(secrets.token_urlsafe())'. Until then no token opens /metrics.",
        )
    proxy = getattr(settings, "CHANNEL_WEBHOOKS_PROXY_URL", None)
    if proxy is not None and not _is_proxy_url(proxy):
        yield Problem(
            "CHANNEL_WEBHOOKS_PROXY_URL",
            "CHANNEL_WEBHOOKS_PROXY_URL must be None or an http URL of a host and a port.",
            'Type for example CHANNEL_WEBHOOKS_PROXY_URL = "http://proxy.internal:3128". Until then none is used.',
        )
    if not isinstance(getattr(settings, "CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES", False), bool):
        yield Problem(
            "CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES",
            "CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES must be True or False.",
            "Type CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = False; anything but True is read as False.",
        )
    if _RETENTION.value() <= _MAX_AGE.value():
        yield Problem(
            "CHANNEL_WEBHOOKS_RETENTION_DAYS",
            "CHANNEL_WEBHOOKS_RETENTION_DAYS must be longer than CHANNEL_WEBHOOKS_MAX_PASS_AGE_DAYS.",
            "A purged row no longer keeps its pass from going out twice: type CHANNEL_WEBHOOKS_RETENTION_DAYS = "
            f"{max(90, 2 * _MAX_AGE.value())}.",
        )


def _given(name: str) -> Any:
    return getattr(settings, name, DEFAULTS[name])


def _clock(given: Any) -> clock_time | None:
    try:
        return datetime.strptime(given, "%H:%M").time() if isinstance(given, str) else None
    except ValueError:
        return None


def _is_token(given: Any) -> bool:
    return isinstance(given, str) and re.fullmatch(r"[!-~]{16,}", given) is not None


def _is_proxy_url(given: Any) -> bool:
    try:
        parts = urlsplit(given) if isinstance(given, str) else None
        return bool(parts and parts.scheme == "http" and parts.hostname and parts.port)
    except ValueError:
        return False


def _is_table_name(given: Any) -> bool:
    return isinstance(given, str) and 1 <= len(parts := given.split(".")) <= 3 and all(map(IDENTIFIER.match, parts))


def _are_column_names(given: Any) -> bool:
    known = DEFAULTS["CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS"]
    return (
        isinstance(given, dict)
        and set(given) <= set(known)  # type: ignore[call-overload]
        and all(
            (name is None and key == "date") or (isinstance(name, str) and IDENTIFIER.match(name))
            for key, name in given.items()
        )
    )
