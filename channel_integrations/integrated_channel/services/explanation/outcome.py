# SPDX-License-Identifier: AGPL-3.0-or-later
"""What became of the webhook, and the answer that all of it comes to."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.utils import timezone
from django.utils.translation import gettext as _

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.models import HELD, UNFINISHED, WebhookStatus
from channel_integrations.integrated_channel.services import reasons
from channel_integrations.integrated_channel.services.addressing import ADDRESSED_LATELY
from channel_integrations.integrated_channel.services.endpoint_gate import is_on
from channel_integrations.integrated_channel.services.explanation.conditions import backfill_command
from channel_integrations.integrated_channel.services.explanation.learning_time import (
    Side,
    no_learning_time,
    why_plain,
)
from channel_integrations.integrated_channel.services.explanation.movement import next_movement
from channel_integrations.integrated_channel.services.explanation.story import (
    Answer,
    Explanation,
    Step,
    at,
    endpoint_page,
)
from channel_integrations.integrated_channel.services.reconciliation import grade_model

DELIVERED, ON_ITS_WAY, NOT_SENT = "delivered", "on_its_way", "not_sent"
#: what is checked again before a webhook is addressed, and before it is sent where time has gone by
CHECKED_AGAIN = ("customer", "link", "endpoints", "sponsorship", "audit", "consent", "linked_before", "send_from")
#: reasons that the steps tell in other words
STEPS_OF_REASONS = {reasons.ENDPOINT_OFF: "switched_on", reasons.PASSED_BEFORE_SEND_FROM: "send_from"}
SEND_DUE = "./manage.py lms send_due_webhooks"


def what_became_of(story: Explanation) -> Iterator[Step]:
    """The steps about the webhook; the first of them alone where there is none."""
    webhook = story.webhook
    if webhook is None:
        none = _("no webhook has been made")
        told = "; ".join(filter(None, (none, _past(story))))
        yield Step("row", Answer.NO, told, _what_makes_it(story), partner_fact=none)
        return
    yield _row(story, webhook)
    yield from _lookup(story, webhook)
    attempts = list(webhook.attempts.order_by("pk"))
    if attempts:
        yield _attempts(webhook, attempts)
    movement = next_movement(webhook, story.endpoint if webhook.endpoint_id else None)
    if movement:
        story.next_move_at = movement.at
        by_itself, change = movement.at is not None, movement.change or _what_moves(story, webhook)
        yield Step("next", Answer.of(by_itself), movement.fact, change, movement.operator_fact)


class Conclusion(NamedTuple):
    """One of the three outcomes, the answer in a sentence or two, and the name of the step that decides it, if any."""

    outcome: str
    sentence: str
    decided_by: str | None = None


def conclude(story: Explanation) -> Conclusion:
    """What all of it comes to."""
    webhook = story.webhook
    if webhook is None:
        return Conclusion(NOT_SENT, _without_webhook(story), story.first_no.name if story.first_no else None)
    if webhook.status == WebhookStatus.DELIVERED:
        when = webhook.delivered_at or webhook.modified
        return Conclusion(DELIVERED, _("Delivered at %(when)s.") % {"when": at(when)})
    if webhook.status not in UNFINISHED:
        said = f"{webhook.status}, {webhook.reason}" if webhook.reason else webhook.status
        lacking = any(step.name == "ids" and step.answer == Answer.NO for step in story.steps)
        by = "ids" if webhook.status in HELD and lacking else "row"
        return Conclusion(NOT_SENT, _("Not sent: %(what)s.") % {"what": said}, by)
    again = (*CHECKED_AGAIN, "region") if webhook.endpoint_id else CHECKED_AGAIN
    lost = next((step for step in story.steps if step.answer == Answer.NO and step.name in again), None)
    if lost and _is_checked_again(webhook):
        return Conclusion(NOT_SENT, _("Not sent: it will be cancelled: %(why)s.") % {"why": lost.fact}, lost.name)
    waits = next(step for step in story.steps if step.name == "next")
    said = _("On its way. %(what)s") % {"what": waits.fact}
    return Conclusion(ON_ITS_WAY, said, "next" if waits.answer == Answer.NO else None)


def _without_webhook(story: Explanation) -> str:
    against, past = story.first_no, _past(story)
    if past and (against is None or against.name == "row"):
        return _("Not sent: %(past)s. As things are now, nothing stands against it.") % {"past": past}
    now = against.fact if against else _("no webhook has been made")
    if past and story.noted and story.noted.reason != now and not _is_still_so(story.noted.reason, against):
        return _("Not sent: %(past)s. Now: %(now)s.") % {"past": past, "now": now}
    if past:
        return _("Not sent: %(past)s. It is still so.") % {"past": past}
    unknown = next((step for step in story.steps if step.answer == Answer.UNKNOWN), None)
    if unknown:
        return _("Not sent: %(now)s; whether the learner has passed is %(unknown)s.") % {
            "now": now,
            "unknown": unknown.fact,
        }
    return _("Not sent: %(what)s.") % {"what": now}


def _is_still_so(reason: str, against: Step | None) -> bool:
    """Whether what was noted then is what stands against it now, in the words of another place."""
    return against is not None and STEPS_OF_REASONS.get(reason) == against.name


def _past(story: Explanation) -> str:
    """What was noted when a grade event made no webhook."""
    if story.noted is None:
        return ""
    return _("on %(day)s no webhook was made: %(reason)s (noted %(when)s)") % {
        "day": story.noted.noted_at.date().isoformat(),
        "reason": story.noted.reason,
        "when": at(story.noted.noted_at),
    }


def _what_makes_it(story: Explanation) -> str:
    if grade_model() is None or story.passed_at is None:
        days = conf.max_pass_age().days
        return _("a regrade of the learner within %(days)s days of the pass makes it") % {"days": days}
    at_once = backfill_command(story.endpoint, story.passed_at)
    if story.passed_at > timezone.now() - min(conf.reconcile_window(), conf.max_pass_age()):
        return _("the sweep makes it within ten minutes (%(sweep)s is one); at once: %(at_once)s") % {
            "sweep": SEND_DUE,
            "at_once": at_once,
        }
    return at_once


def _row(story: Explanation, webhook: Any) -> Step:
    made = [_("made %(when)s") % {"when": at(webhook.created)}]
    made += [_("by a backfill")] if webhook.backfilled else []
    made += [_("personal data removed %(when)s") % {"when": at(webhook.purged_at)}] if webhook.purged_at else []
    revision = webhook.revision
    if revision:
        made.append(_("revised by %(id)s: %(status)s") % {"id": revision.webhook_id, "status": _status(revision)})
    fact, change = _status(webhook), _what_moves(story, webhook)
    past = _("before that: %(past)s") % {"past": _past(story)} if story.noted else ""
    return Step("row", Answer.of(not change), f"{fact} ({'; '.join(made)})", change, operator_fact=past)


def _status(webhook: Any) -> str:
    return f"{webhook.status}: {webhook.reason}" if webhook.reason else str(webhook.status)


def _what_moves(story: Explanation, webhook: Any) -> str:
    """What somebody has to do for it; empty for what moves by itself or has arrived."""
    if webhook.status in (*UNFINISHED, WebhookStatus.DELIVERED):
        return ""
    if webhook.purged_at:
        return _("nothing: nothing is left to send")
    if webhook.status == WebhookStatus.PARKED and story.endpoint and is_on(story.endpoint):
        return _("%(command)s: its endpoint is on again") % {"command": SEND_DUE}
    told = {
        WebhookStatus.AWAITING_IDS: _("what “ids” says; it then goes out"),
        WebhookStatus.PARKED: _("%(page)s: switch it on; it then goes out"),
        WebhookStatus.NO_ENDPOINT: _("%(page)s: add one for %(region)s; then %(replay)s"),
        WebhookStatus.CANCELLED: _("%(replay)s, once its reason no longer holds"),
        WebhookStatus.FAILED: _("%(replay)s, once the partner has mended what the last attempt says"),
    }[WebhookStatus(webhook.status)]
    return told % {
        "page": endpoint_page(story.endpoint),
        "region": webhook.region,
        "replay": f"./manage.py lms replay_webhooks {webhook.webhook_id}",
    }


def _lookup(story: Explanation, webhook: Any) -> Iterator[Step]:
    code = webhook.learning_time_status
    if code and webhook.learning_time is not None:
        yield Step("lookup", Answer.YES, _("found"), operator_fact=_seconds(webhook))
    elif code == "found":
        yield Step("lookup", Answer.YES, _("found"))
    elif code:
        words, change = why_plain(code, Side(story.customer, story.learner, story.endpoint))
        yield Step("lookup", Answer.NO, f"{code}: {words}", change, partner_fact=no_learning_time())


def _seconds(webhook: Any) -> str:
    if webhook.learning_time_as_of is None:
        return _("(%(seconds)s seconds)") % {"seconds": webhook.learning_time}
    told = _("(%(seconds)s seconds as of %(day)s: %(is_final)s)")
    is_final = _("final") if webhook.learning_time_is_final else _("not final")
    day = webhook.learning_time_as_of.isoformat()
    return told % {"seconds": webhook.learning_time, "day": day, "is_final": is_final}


def _attempts(webhook: Any, attempts: list[Any]) -> Step:
    told = [
        _("%(when)s %(answer)s in %(milliseconds)s ms")
        % {
            "when": at(each.started_at),
            "answer": f"HTTP {each.status_code}" if each.status_code else each.error_code,
            "milliseconds": each.duration_ms,
        }
        for each in attempts
    ]
    taken = webhook.status == WebhookStatus.DELIVERED
    test = f"./manage.py lms send_test_webhook --endpoint {webhook.endpoint_id}"
    change = "" if taken else _("%(command)s shows what the endpoint answers now") % {"command": test}
    return Step("attempts", Answer.of(taken), "; ".join(told), change)


def _is_checked_again(webhook: Any) -> bool:
    """Whether its conditions are looked at before it is sent: not where that was done a moment ago."""
    if webhook.status != WebhookStatus.PENDING or webhook.attempts_made:
        return True
    return timezone.now() - webhook.created > ADDRESSED_LATELY
