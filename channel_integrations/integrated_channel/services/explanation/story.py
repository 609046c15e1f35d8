# SPDX-License-Identifier: AGPL-3.0-or-later
"""
What a story is made of: the questions, their answers, and what was found on the way.

Facts name no person: who was asked about is in ``Explanation.learner`` and ``Step.operator_fact`` alone.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from enterprise.models import EnterpriseCustomer

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookSuppression,
    WebhookTransmissionQueue,
)

#: every step in its order, and the question that it answers
STEPS = {
    "customer": gettext_lazy("Is the customer active?"),
    "link": gettext_lazy("Is the learner linked to it?"),
    "endpoints": gettext_lazy("Does the customer have an endpoint?"),
    "sponsorship": gettext_lazy("Does the customer sponsor the course run?"),
    "audit": gettext_lazy("Is this kind of enrolment reported?"),
    "consent": gettext_lazy("Is there consent, where it is required?"),
    "passed": gettext_lazy("Has the learner passed?"),
    "linked_before": gettext_lazy("Was the learner linked by then?"),
    "age": gettext_lazy("Is the pass recent enough?"),
    "region": gettext_lazy("Is there an endpoint for the learner's region?"),
    "switched_on": gettext_lazy("Is that endpoint switched on?"),
    "send_from": gettext_lazy("Does it want completions of that time?"),
    "ids": gettext_lazy("Does the learner have the ids that it wants?"),
    "rollout": gettext_lazy("Is learning time looked up?"),
    "row": gettext_lazy("Is a webhook on its way, or delivered?"),
    "lookup": gettext_lazy("Was learning time found?"),
    "attempts": gettext_lazy("Has the endpoint taken it?"),
    "next": gettext_lazy("Does it move by itself?"),
}
#: what became of a webhook
OF_WEBHOOK = ("row", "lookup", "attempts", "next")
#: a no here is no reason against the webhook itself
NOT_DECISIVE = ("ids", "rollout", "lookup", "attempts", "next")


class Answer(StrEnum):
    """What a step comes to. Not reached: what came before has settled it. Unknown: it cannot be told from here."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    NOT_REACHED = "not_reached"

    @classmethod
    def of(cls, holds: bool) -> "Answer":
        """Yes where it holds, else no."""
        return cls.YES if holds else cls.NO


@dataclass(frozen=True)
class Step:
    """One question: the answer, the fact behind it, and at a no what changes it."""

    name: str
    answer: Answer
    fact: str
    change: str = ""
    #: beside the fact, for operators
    operator_fact: str = ""
    #: in place of the fact, for a partner
    partner_fact: str = ""

    @property
    def question(self) -> str:
        """The question that it answers, translated."""
        return str(STEPS[self.name])


@dataclass
class Explanation:
    """The walk, and what it comes to; times are aware."""

    learner: Any
    customer: EnterpriseCustomer
    course_id: str
    #: of this pass, where the LMS's grades or the webhook tell of one
    passed_at: datetime | None = None
    webhook: WebhookTransmissionQueue | None = None
    #: why this pass made no webhook, as it was noted then
    noted: WebhookSuppression | None = None
    #: where the webhook goes, or would go
    endpoint: EnterpriseWebhookConfiguration | None = None
    steps: list[Step] = field(default_factory=list)
    next_move_at: datetime | None = None

    @property
    def first_no(self) -> Step | None:
        """The first condition that stands against a webhook that is not there."""
        against = (step for step in self.steps if step.answer == Answer.NO and step.name not in NOT_DECISIVE)
        return next(against, None)


def at(moment: datetime) -> str:
    """A moment as it is told: ISO 8601, to be compared with logs, ours and the partner's."""
    return moment.isoformat(timespec="seconds")


def endpoint_page(endpoint: EnterpriseWebhookConfiguration | None = None) -> str:
    """Where it is in the admin."""
    page = _("Django admin: Completion webhooks → Webhook endpoints")
    return f"{page} → {endpoint.pk}" if endpoint else page
