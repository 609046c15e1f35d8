# SPDX-License-Identifier: AGPL-3.0-or-later
"""What has happened to a webhook, in order."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.utils.html import format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel.admin.attempt_errors import ERRORS
from channel_integrations.integrated_channel.admin.moments import NONE, unbroken
from channel_integrations.integrated_channel.enrollments import COURSE_ENROLLMENT
from channel_integrations.integrated_channel.erasures import LEARNER_ERASED
from channel_integrations.integrated_channel.models import (
    WebhookDeliveryAttempt,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services.retry import Outcome, classify

OUTCOMES = {
    Outcome.DELIVERED: _("taken"),
    Outcome.RETRY: _("to be tried again"),
    Outcome.GONE: _("the endpoint wants no more webhooks"),
    Outcome.FAILED: _("final: not to be tried again"),
}
#: ``learning_time_status`` in words; docs/references/codes.md says where to look
LOOKUPS = {
    "": _("Learning time was never meant to be looked up, or has not been yet."),
    "found": _("There is a number."),
    "no_row": _("There is no number for this learner, course run and customer."),
    "overdue": _("It waited too long for a worker, and goes without."),
    "flag_off": _("Learning time is switched off for the site."),
    "paused": _("The rollout was paused."),
    "endpoint_never": _("The endpoint's switch says never."),
    "not_rolled_out": _("The learner is not among the rollout's percentage."),
    "not_configured": _("The settings or the connector do not allow a lookup."),
    "unreachable": _("Snowflake could not be reached in time."),
    "query_failed": _("Snowflake refused the statement."),
    "invalid_value": _("The sum is no sensible number of seconds."),
    "left_alone": _("Snowflake had just failed, and was not asked."),
    "error": _("The lookup failed; the log says how."),
}


#: what made a webhook, but for a pass
_BEGINNINGS = {
    COURSE_ENROLLMENT: _("The learner enrolled."),
    LEARNER_ERASED: _("The learner was retired."),
}


class Event(NamedTuple):
    """One line of the timeline; ``answer`` is the start of what an endpoint answered, which is personal data."""

    at: Any
    waited: str
    what: str
    duration: str = ""
    headers: Any = ""
    answer: str = ""


def timeline(webhook: WebhookTransmissionQueue, with_answers: bool = False) -> list[Event]:
    """From the pass or the enrolment to the end, in order; what has been purged is gone from it."""
    began = str(_BEGINNINGS.get(webhook.event_type, _("The learner passed.")))
    moments: list[tuple[datetime, Event]] = [
        (webhook.occurred_at, Event("", "", began)),
        (webhook.created, Event("", "", _creation(webhook))),
    ]
    if webhook.held_at:
        moments.append((webhook.held_at, Event("", "", gettext("It began to wait until its learning time is final."))))
    if webhook.learning_time_status:  # When it was looked up is not kept.
        moments.append((webhook.created, Event(NONE, "", _lookup(webhook), _lookup_took(webhook))))
    for attempt in webhook.attempts.order_by("pk"):
        moments.append((attempt.started_at, _of(attempt, with_answers)))
    if webhook.delivered_at and webhook.delivered_at != webhook.finished_at:
        moments.append((webhook.delivered_at, Event("", "", gettext("It was delivered, before it was replayed."))))
    if webhook.finished_at:
        ended = WebhookStatus(webhook.status).label
        moments.append((webhook.finished_at, Event("", "", gettext("The end: %(status)s.") % {"status": ended})))
    if webhook.purged_at:
        moments.append((webhook.purged_at, Event("", "", _purge(webhook))))
    moments.sort(key=lambda moment: moment[0])  # stable: what happens at once stays in the order above
    events, before = [], None
    for at, event in moments:
        if event.at == NONE:
            events.append(event)
            continue
        events.append(event._replace(at=unbroken(at), waited=_since(at - before) if before else ""))
        before = at
    return events


def lookup(webhook: WebhookTransmissionQueue) -> str:
    """What came of the lookup, and as of when."""
    said = str(LOOKUPS.get(webhook.learning_time_status, webhook.learning_time_status))
    if webhook.learning_time_as_of is None:
        return said
    is_final = gettext("final") if webhook.learning_time_is_final else gettext("not final")
    day = webhook.learning_time_as_of.isoformat()
    return gettext("%(said)s As of %(day)s: %(is_final)s.") % {"said": said, "day": day, "is_final": is_final}


def _lookup(webhook: WebhookTransmissionQueue) -> str:
    return gettext("Learning time: %(said)s") % {"said": lookup(webhook)}


def _lookup_took(webhook: WebhookTransmissionQueue) -> str:
    if webhook.lookup_ms is None:
        return ""
    return gettext("%(ms)s ms") % {"ms": webhook.lookup_ms} if webhook.lookup_ms else gettext("cache")


def _creation(webhook: WebhookTransmissionQueue) -> str:
    if webhook.revises:
        return gettext("The completion was to be sent with a number that is not final, and this webhook was made.")
    return gettext("The webhook was made by a backfill.") if webhook.backfilled else gettext("The webhook was made.")


def _purge(webhook: WebhookTransmissionQueue) -> str:
    """A confirmed erasure keeps its attempts, without what was answered: they are the proof."""
    is_erasure = webhook.event_type == LEARNER_ERASED
    return gettext("Personal data was removed.") if is_erasure else gettext("Personal data and attempts were removed.")


def _of(attempt: WebhookDeliveryAttempt, with_answers: bool) -> Event:
    if attempt.status_code:
        said = f"HTTP {attempt.status_code}, {OUTCOMES[classify(attempt.status_code)]}"
    else:
        said = f"{attempt.error_code}: {ERRORS.get(attempt.error_code, '')}"
    return Event(
        "",
        "",
        gettext("Attempt %(number)s: %(said)s") % {"number": attempt.number, "said": said},
        gettext("%(ms)s ms") % {"ms": attempt.duration_ms},
        format_html_join("", "<div>{}: {}</div>", sorted(attempt.response_headers.items())) or NONE,
        attempt.response_start if with_answers else "",
    )


def _since(passed: timedelta) -> str:
    """A duration to three places or so: what matters of days are hours."""
    seconds = passed.total_seconds()
    if seconds < 60:
        return gettext("+ %(seconds).1f s") % {"seconds": seconds}
    if seconds < 3600:
        return gettext("+ %(minutes)d min %(seconds)d s") % {"minutes": seconds // 60, "seconds": seconds % 60}
    if seconds < 48 * 3600:
        return gettext("+ %(hours)d h %(minutes)d min") % {"hours": seconds // 3600, "minutes": seconds % 3600 // 60}
    return gettext("+ %(days)d d %(hours)d h") % {"days": seconds // 86400, "hours": seconds % 86400 // 3600}
