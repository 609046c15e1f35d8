# SPDX-License-Identifier: AGPL-3.0-or-later
"""
What is told, and to whom.

A partner is told neither who the learner is nor what is not the partner's to know: beyond a missing link, sponsorship
or consent, and of what was passed before the link, nothing.
"""

from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _

from channel_integrations.integrated_channel.models import WebhookSuppression
from channel_integrations.integrated_channel.services import reasons
from channel_integrations.integrated_channel.services.explanation.outcome import conclude
from channel_integrations.integrated_channel.services.explanation.story import (
    OF_WEBHOOK,
    Answer,
    Explanation,
    Step,
    at,
)

#: after a no here, the learner's completions are not the customer's to know
NOT_THEIRS = ("link", "sponsorship", "audit", "consent")


def tell(story: Explanation, *, for_partner: bool = False) -> dict[str, Any]:
    """A stable structure, described by a JSON Schema in ``docs/references``."""
    told = _for_partner(story) if for_partner else story
    conclusion = conclude(told)
    found: dict[str, Any] = {
        "conclusion": conclusion.sentence,
        "outcome": conclusion.outcome,
        "decided_by": conclusion.decided_by,
        "customer": str(told.customer.uuid),
        "course": told.course_id,
        "webhook_id": str(told.webhook.webhook_id) if told.webhook else None,
        "next_move_at": at(told.next_move_at) if told.next_move_at else None,
        "noted": _noted(told.noted) if told.noted else None,
        "steps": [_step(step, for_partner) for step in told.steps],
    }
    if not for_partner:
        learner = story.learner
        found["learner"] = {"user_id": learner.pk, "username": learner.username, "email": learner.email}
    return found


def _for_partner(story: Explanation) -> Explanation:
    """What the customer may know of it."""
    last = _last_that_is_theirs(story)
    if last is None:
        noted = story.noted if story.noted and story.noted.reason != reasons.PASSED_BEFORE_LINK else None
        return replace(story, steps=[_as_theirs(step) for step in story.steps], noted=noted)
    place = story.steps.index(last)
    steps = [_as_theirs(step) for step in story.steps[:place]]
    if last.name == "passed":
        last = Step(last.name, Answer.NO, _("no completion since the learner was linked"))
    steps.append(_as_theirs(last))
    # What was sent, the partner may have seen.
    seen = bool(story.webhook and story.webhook.attempts_made)
    for step in story.steps[place + 1 :]:
        steps.append(_as_theirs(step) if seen and step.name in OF_WEBHOOK else _kept_back(step))
    if seen:
        return replace(story, steps=steps, noted=None)
    return replace(story, steps=steps, noted=None, webhook=None, next_move_at=None)


def _last_that_is_theirs(story: Explanation) -> Step | None:
    """The step beyond which the completion is not the customer's to know; None where it is."""
    answers = {step.name: step.answer for step in story.steps}
    for step in story.steps:
        before_link = step.name == "passed" and answers["linked_before"] == Answer.NO
        if before_link or (step.name in NOT_THEIRS and step.answer == Answer.NO):
            return step
    return None


def _as_theirs(step: Step) -> Step:
    return replace(step, fact=step.partner_fact or step.fact)


def _kept_back(step: Step) -> Step:
    return Step(step.name, Answer.NOT_REACHED, _("not told"))


def _step(step: Step, for_partner: bool) -> dict[str, str]:
    shown = {"name": step.name, "answer": str(step.answer), "fact": step.fact}
    if for_partner:
        return shown
    change = step.change if step.answer in (Answer.NO, Answer.UNKNOWN) else ""
    return {**shown, "fact": " ".join(filter(None, (step.fact, step.operator_fact))), "change": change}


def _noted(noted: WebhookSuppression) -> dict[str, str]:
    return {"reason": noted.reason, "passed_at": at(noted.passed_at), "noted_at": at(noted.noted_at)}
