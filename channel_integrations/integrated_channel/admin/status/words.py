# SPDX-License-Identifier: AGPL-3.0-or-later
"""Codes and durations as the status page says them."""

from datetime import timedelta
from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel.services.figures import endpoints

STATES = {
    endpoints.OFF_BY_SENDER: _("switched off by the sender"),
    endpoints.BREAKER_OPEN: _("breaker open: it has failed too often in a row"),
    endpoints.PAUSED: _("paused: it has asked for a rest, or the sender gives it one"),
    endpoints.FAILING: _("failing"),
    endpoints.RATE_LIMITED: _("on, at its rate limit"),
    endpoints.CATCHING_UP: _("on, catching up with what was parked"),
    endpoints.ON: _("on"),
    endpoints.OFF_BY_OPERATOR: _("switched off by its operator"),
}
#: why a webhook went out with or without its learning time, by ``learning_time_status``
LEARNING_TIME = {
    "found": _("enriched: with its learning time"),
    "no_row": _("plain: Snowflake has no learning time for it"),
    "overdue": _("plain: it waited too long for a lookup"),
    "flag_off": _("plain: learning time is switched off"),
    "paused": _("plain: the rollout was paused"),
    "endpoint_never": _("plain: its endpoint takes none"),
    "not_rolled_out": _("plain: its learner is not among the rollout's percentage"),
    "not_configured": _("plain: Snowflake's settings or its package do not allow a lookup"),
    "unreachable": _("plain: Snowflake could not be reached"),
    "left_alone": _("plain: Snowflake had just failed and was left alone"),
    "query_failed": _("plain: Snowflake refused the statement"),
    "invalid_value": _("plain: what Snowflake said is no number of seconds"),
    "error": _("plain: the lookup failed"),
    "": _("plain: no reason was kept"),
}
#: what came of attempts that got no HTTP answer, by ``error_code``; the others are told by the class of their status
ANSWERS = {
    "address_refused": _("none: the sender refuses the address"),
    "connection": _("none: no connection"),
    "timeout": _("none in time"),
    "sign_in": _("none: no access token to sign in with"),
    "internal": _("none: the sender itself failed"),
}
HEARTBEATS = {
    "sweep": _("sweep (send_due_webhooks)"),
    "enrichment": _("enrichment worker"),
    "delivery": _("delivery worker"),
}
ROWS, SECONDS, PERCENT = "rows", "s", "%"


def named(words: dict[str, Any], code: str) -> str:
    """What is said for a code; the code itself where a later release has added one."""
    return str(words.get(code, code))


def lasted(duration: timedelta | None) -> str:
    """A duration, rounded down, such as "12 seconds", "5 minutes" or "2 days"; empty for None."""
    if duration is None:
        return ""
    seconds = max(int(duration.total_seconds()), 0)
    if seconds < 2 * 60:
        return ngettext("%(count)s second", "%(count)s seconds", seconds) % {"count": seconds}
    if seconds < 2 * 3600:
        return ngettext("%(count)s minute", "%(count)s minutes", seconds // 60) % {"count": seconds // 60}
    if seconds < 2 * 86_400:
        return ngettext("%(count)s hour", "%(count)s hours", seconds // 3600) % {"count": seconds // 3600}
    return ngettext("%(count)s day", "%(count)s days", seconds // 86_400) % {"count": number(seconds // 86_400)}


def number(value: float, places: int = 0) -> str:
    """As the site's language writes numbers."""
    return number_format(round(value, places) if places else round(value), decimal_pos=places)


def seconds(value: float | None) -> str:
    """A time of seconds and parts of them; empty for None."""
    if value is None:
        return ""
    return gettext("%(seconds)s s") % {"seconds": number(value, 2 if value < 10 else 0)}


def measured(value: float | None, unit: str) -> str:
    """A target's value, or its limit, with its unit."""
    if value is None:
        return gettext("nothing to judge by")
    if unit == SECONDS:
        return seconds(value)
    if unit == PERCENT:
        return gettext("%(percentage)s %%") % {"percentage": number(value, 0 if value == round(value) else 1)}
    return number(value)
