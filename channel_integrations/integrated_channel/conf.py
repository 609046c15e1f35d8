# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The only reader of Django's settings.

Accessors never raise: a value that breaks its rule (``settings/rules.py``) is reported by a system check
(``problems()``) and read as its default, so that a typing error in a settings file cannot stop a worker or a grade.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import time, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from edx_toggles.toggles import SettingDictToggle

from channel_integrations.integrated_channel.settings.common import (
    DEFAULTS,
    DELIVERY_TASK,
    ENRICHMENT_QUEUE,
    ENRICHMENT_TASK,
)
from channel_integrations.integrated_channel.settings.rules import RULES, clock, is_token

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


@dataclass(frozen=True)
class Problem:
    """A setting that cannot be used as it is: its name, what is wrong, what to type."""

    setting: str
    message: str
    hint: str


def enrichment_enabled() -> bool:
    """Whether completions are looked up in Snowflake."""
    return ENRICHMENT_FLAG.is_enabled()


def learning_time_cache_seconds() -> int:
    """Seconds that an answer is cached; 0 for none."""
    return _usable("CHANNEL_WEBHOOKS_LEARNING_TIME_CACHE_SECONDS")


def lookup_wait() -> timedelta:
    """How long a lookup waits for others to share its statement."""
    return timedelta(seconds=_usable("CHANNEL_WEBHOOKS_LOOKUP_WAIT_SECONDS"))


def warehouse_auto_suspend() -> timedelta:
    """After how long without a statement the warehouse falls asleep."""
    return timedelta(seconds=_usable("CHANNEL_WEBHOOKS_WAREHOUSE_AUTO_SUSPEND_SECONDS"))


def snowflake_login_timeout() -> int:
    """Seconds for one sign-in."""
    return _usable("CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS")


def snowflake_query_timeout() -> int:
    """Seconds for one statement."""
    return _usable("CHANNEL_WEBHOOKS_SNOWFLAKE_QUERY_TIMEOUT_SECONDS")


def enrichment_wait() -> timedelta:
    """How long a completion waits for its learning time at most, beyond ``lookup_wait``."""
    return timedelta(seconds=_usable("CHANNEL_WEBHOOKS_ENRICHMENT_WAIT_SECONDS"))


def rollup_ready_at() -> time:
    """The time of the day, in UTC, from which the rollup of the day before is expected."""
    return clock(_usable("CHANNEL_WEBHOOKS_ROLLUP_READY_AT"))  # type: ignore[return-value]


def max_pass_age() -> timedelta:
    """Passes older than this make no webhook."""
    return timedelta(days=_usable("CHANNEL_WEBHOOKS_MAX_PASS_AGE_DAYS"))


def retention() -> timedelta:
    """How long what can no longer move is kept before it is purged."""
    return timedelta(days=_usable("CHANNEL_WEBHOOKS_RETENTION_DAYS"))


def disclosure_retention() -> timedelta:
    """How long the register keeps what was told, from when it was told for the last time."""
    return timedelta(days=_usable("CHANNEL_WEBHOOKS_DISCLOSURE_RETENTION_DAYS"))


def kept_answer_characters() -> int:
    """How much of an endpoint's answer is kept."""
    return _usable("CHANNEL_WEBHOOKS_KEPT_ANSWER_CHARACTERS")


def delivery_workers() -> int:
    """How many workers may deliver at once."""
    return _usable("CHANNEL_WEBHOOKS_DELIVERY_WORKERS")


def reconcile_window() -> timedelta:
    """How far back the sweep compares with the LMS's grades."""
    return timedelta(days=_usable("CHANNEL_WEBHOOKS_RECONCILE_DAYS"))


def grade_source() -> str | None:
    """``app_label.Model`` of the LMS's persistent grades, or None where the comparison is off."""
    return _text("CHANNEL_WEBHOOKS_GRADE_SOURCE")


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
    return _given("CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES") is True


def proxy_url() -> str | None:
    """The proxy that webhooks go through, or None."""
    return _usable("CHANNEL_WEBHOOKS_PROXY_URL")


def metrics_token() -> str | None:
    """What a monitoring system has to bring; None where there is none that can be used: nobody can then bring it."""
    file = _given("CHANNEL_WEBHOOKS_METRICS_TOKEN_FILE")
    if not file:
        return _usable("CHANNEL_WEBHOOKS_METRICS_TOKEN")
    try:
        token = Path(file).read_text().strip()
    except (OSError, TypeError, ValueError):
        return None
    return token if is_token(token) else None


def snowflake_config() -> dict[str, Any]:
    """SNOWFLAKE_CONFIG, or an empty dict where it is missing or no dict."""
    given = getattr(settings, "SNOWFLAKE_CONFIG", None)
    return dict(given) if isinstance(given, dict) else {}


def learning_time_table() -> str:
    """The validated, dotted name of the rollup."""
    return _usable("CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE")


def learning_time_columns() -> dict[str, Any]:
    """Validated column names under the keys user, course, customer, seconds and date, the last of which may be None."""
    name = "CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS"
    return {**DEFAULTS[name], **_usable(name)}  # type: ignore[dict-item]


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
    return _text("CHANNEL_WEBHOOKS_DELIVERY_QUEUE") if task_name == DELIVERY_TASK else None


def problems() -> Iterator[Problem]:
    """Every setting that breaks its rule (Snowflake's sign-in is ``snowflake_sign_in``'s to judge)."""
    for rule in RULES.values():
        if not rule.fits(_given(rule.name)):
            yield Problem(rule.name, f"{rule.name} must {rule.must}.", rule.hint)
    for task in (ENRICHMENT_TASK, DELIVERY_TASK):
        route = celery_task_routes().get(task, {})
        if not isinstance(route, (str, dict)):
            yield Problem(
                "CELERY_TASK_ROUTES",
                f"CELERY_TASK_ROUTES has an entry for {task} that is neither a queue's name nor a dict.",
                f"Type CELERY_TASK_ROUTES = {{'{task}': {{'queue': '{ENRICHMENT_QUEUE}'}}}}. Until then it is ignored.",
            )
    if retention() <= max_pass_age():
        yield Problem(
            "CHANNEL_WEBHOOKS_RETENTION_DAYS",
            "CHANNEL_WEBHOOKS_RETENTION_DAYS must be longer than CHANNEL_WEBHOOKS_MAX_PASS_AGE_DAYS.",
            "A purged row no longer keeps its pass from going out twice: type CHANNEL_WEBHOOKS_RETENTION_DAYS = "
            f"{max(90, 2 * max_pass_age().days)}.",
        )


def _given(name: str) -> Any:
    """What the site has set, be it nonsense; the default where it has set nothing."""
    return getattr(settings, name, DEFAULTS[name])


def _usable(name: str) -> Any:
    """The same where it fits the setting's rule; else the default."""
    given = _given(name)
    return given if RULES[name].fits(given) else DEFAULTS[name]


def _text(name: str) -> str | None:
    """Of a setting that switches something off by None: what is no name does so, too."""
    given = _given(name)
    return given if isinstance(given, str) and given else None
