# SPDX-License-Identifier: AGPL-3.0-or-later
"""From learner, customer and course run to their story; reads only."""

from typing import Any

from django.utils.translation import gettext as _
from enterprise.models import EnterpriseCustomer

from channel_integrations.integrated_channel.models import WebhookSuppression, WebhookTransmissionQueue
from channel_integrations.integrated_channel.passes import COURSE_COMPLETION
from channel_integrations.integrated_channel.services.explanation.conditions import conditions
from channel_integrations.integrated_channel.services.explanation.outcome import what_became_of
from channel_integrations.integrated_channel.services.explanation.passing import Passing, read_passing
from channel_integrations.integrated_channel.services.explanation.story import STEPS, Answer, Explanation, Step


def explain(learner: Any, customer: EnterpriseCustomer, course_id: str) -> Explanation:
    """Walk every condition. Where there is a webhook, a no does not end the walk: it may be newer."""
    story = Explanation(learner, customer, course_id)
    passing = read_passing(learner.pk, course_id)
    story.webhook = _webhook(story, passing)
    story.noted = _noted(story, passing)
    story.passed_at = (
        passing.passed_at
        or (story.webhook.occurred_at if story.webhook else None)
        or (story.noted.passed_at if story.noted else None)
    )
    for step in conditions(story, passing):
        story.steps.append(step)
        if story.first_no and not story.webhook:
            break
    if not story.first_no or story.webhook:
        story.steps += what_became_of(story)
    reached = {step.name: step for step in story.steps}
    story.steps = [reached.get(name) or Step(name, Answer.NOT_REACHED, _("not reached")) for name in STEPS]
    return story


def _webhook(story: Explanation, passing: Passing) -> WebhookTransmissionQueue | None:
    """That of the pass (found by its key even when it is scrubbed); where no pass is known, the newest."""
    rows = WebhookTransmissionQueue.objects
    if passing.course_pass:
        return rows.filter(deduplication_key=passing.course_pass.deduplication_key(story.customer.uuid)).first()
    theirs = rows.filter(
        user_id=story.learner.pk, enterprise_customer_uuid=story.customer.uuid, course_id=story.course_id
    )
    return theirs.filter(event_type=COURSE_COMPLETION).order_by("-occurred_at").first()


def _noted(story: Explanation, passing: Passing) -> WebhookSuppression | None:
    """Why a pass made no webhook: this pass, and before the webhook was made after all."""
    noted = WebhookSuppression.objects.filter(
        enterprise_customer_uuid=story.customer.uuid, user_id=story.learner.pk, course_id=story.course_id
    ).first()
    if noted is None or (passing.passed_at and passing.passed_at != noted.passed_at):
        return None
    webhook = story.webhook
    if webhook and (webhook.occurred_at != noted.passed_at or webhook.created < noted.noted_at):
        return None
    return noted
