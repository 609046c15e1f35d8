# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The story of one completion: every condition in order, as it is now, and what became of the webhook.

Facts name no person: who was asked about is in ``Explanation.learner`` and ``operator_fact`` alone, which the version
for a partner leaves out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils import timezone
from enterprise.models import EnterpriseCustomer, EnterpriseCustomerUser

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.exceptions import MalformedEvent
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.passes import COURSE_COMPLETION, CoursePass
from channel_integrations.integrated_channel.services import endpoint_gate, rollout
from channel_integrations.integrated_channel.services.outbox import is_too_old
from channel_integrations.integrated_channel.services.recipients import (
    Recipient,
    find_recipients,
    without_audit_reporting,
)
from channel_integrations.integrated_channel.services.reconciliation import grade_model
from channel_integrations.integrated_channel.services.region_service import get_user_region
from channel_integrations.integrated_channel.services.webhook_routing import NoWebhookConfigured, endpoint_for

MAKE_ROW = "./manage.py lms send_due_webhooks, or once CHANNEL_WEBHOOKS_RECONCILE_DAYS are over backfill_webhooks"
ENDPOINT_PAGE = "Django admin: Completion webhooks → Webhook endpoints"
STEPS = (
    "customer", "link", "endpoints", "sponsorship", "audit", "consent", "passed", "linked_before", "age", "region",
    "switched_on", "send_from", "rollout", "row", "lookup", "attempts",
)  # fmt: skip
#: a no here is no reason against the webhook itself
NOT_DECISIVE = ("rollout", "lookup")
#: what is checked again before a webhook is looked up and before it is addressed
CHECKED_AGAIN = ("customer", "link", "endpoints", "sponsorship", "audit", "consent", "linked_before", "send_from")


@dataclass
class Step:
    """One condition: whether it holds (None: not reached, or not known), the fact, and at a no what changes it."""

    name: str
    holds: bool | None
    fact: str
    change: str = ""
    operator_fact: str = ""


@dataclass
class Explanation:
    """The walk, and what it comes to."""

    learner: Any
    customer: EnterpriseCustomer
    course_id: str
    steps: list[Step] = field(default_factory=list)
    webhook: WebhookTransmissionQueue | None = None
    conclusion: str = ""

    @property
    def first_no(self) -> Step | None:
        """The first condition that stands against the webhook."""
        against = (step for step in self.steps if step.holds is False and step.name not in NOT_DECISIVE)
        return next(against, None)

    def as_dict(self, *, for_partner: bool = False) -> dict[str, Any]:
        """A stable structure; for a partner without the learner, and without what only an operator can do."""
        story: dict[str, Any] = {
            "conclusion": self.conclusion,
            "customer": str(self.customer.uuid),
            "course": self.course_id,
            "webhook_id": str(self.webhook.webhook_id) if self.webhook else None,
            "steps": [self._step(step, for_partner) for step in self.steps],
        }
        if not for_partner:
            names = {"user_id": self.learner.pk, "username": self.learner.username, "email": self.learner.email}
            story["learner"] = names
        return story

    @staticmethod
    def _step(step: Step, for_partner: bool) -> dict[str, Any]:
        shown = {"name": step.name, "holds": step.holds, "fact": step.fact}
        if for_partner:
            return shown
        return {**shown, "fact": " ".join(filter(None, (step.fact, step.operator_fact))), "change": step.change}


def explain(learner: Any, customer: EnterpriseCustomer, course_id: str) -> Explanation:
    """Walk every condition; reads only. Where there is a webhook, a no does not end the walk: it may be newer."""
    story = Explanation(learner, customer, course_id)
    course_pass = _pass_of(learner, course_id)
    story.webhook = _webhook(learner, customer, course_id, course_pass)
    for step in _conditions(story, course_pass):
        story.steps.append(step)
        if story.first_no and not story.webhook:
            break
    if not story.first_no or story.webhook:
        story.steps += _what_became_of(story.webhook)
    reached = {step.name for step in story.steps}
    story.steps += [Step(name, None, "not reached") for name in STEPS if name not in reached]
    story.steps.sort(key=lambda step: STEPS.index(step.name))
    story.conclusion = _conclusion(story)
    return story


def _pass_of(learner: Any, course_id: str) -> CoursePass | None:
    grades = grade_model()
    grade = grades.objects.filter(user_id=learner.pk, course_id=course_id).first() if grades else None
    try:
        return CoursePass.from_grade(grade, course_id) if grade else None
    except MalformedEvent:
        return None


def _webhook(learner: Any, customer: Any, course_id: str, course_pass: CoursePass | None) -> Any:
    """That of the pass (found by its key even when it is scrubbed); where no pass is known, the newest."""
    rows = WebhookTransmissionQueue.objects
    if course_pass:
        return rows.filter(deduplication_key=course_pass.deduplication_key(customer.uuid)).first()
    theirs = rows.filter(user_id=learner.pk, enterprise_customer_uuid=customer.uuid, course_id=course_id)
    return theirs.filter(event_type=COURSE_COMPLETION).order_by("-occurred_at").first()


def _conditions(story: Explanation, course_pass: CoursePass | None) -> Iterator[Step]:
    learner, customer, course_id = story.learner, story.customer, story.course_id
    page = "Django admin: Enterprise →"
    yield Step(
        "customer",
        customer.active,
        _either(customer.active, "active", "not active"),
        f"{page} Enterprise Customers: active",
    )
    link = EnterpriseCustomerUser.all_objects.filter(enterprise_customer=customer, user_id=learner.pk).first()
    linked = bool(link and link.linked)
    since = f"linked since {_at(link.created)}" if link else ""
    yield Step(
        "link",
        linked,
        since if linked else "not linked to the customer",
        f"{page} Enterprise Customer Learners: link the learner",
    )
    endpoints = list(customer.webhook_endpoints.select_related("health").order_by("pk"))
    regions = ", ".join(endpoint.region for endpoint in endpoints)
    yield Step(
        "endpoints",
        bool(endpoints),
        f"for {regions}" if endpoints else "the customer has no endpoint",
        f"{ENDPOINT_PAGE}: add one",
    )
    recipient = _recipient(story) if linked and endpoints and customer.active else None
    if recipient is None:
        return
    yield from _sharing(recipient, course_id)
    yield from _timing(recipient, course_pass)
    yield from _destination(story, endpoints, recipient, course_pass)


def _recipient(story: Explanation) -> Recipient | None:
    found = find_recipients(story.course_id, [story.learner.pk], (True, False))
    return next((each for each in found if each.enterprise_customer_uuid == story.customer.uuid), None)


def _sharing(recipient: Recipient, course_id: str) -> Iterator[Step]:
    wanted = recipient.wanted_from is not None
    how = "sponsored by the customer" if recipient.is_sponsor else "the endpoint takes all completions"
    yield Step(
        "sponsorship",
        wanted,
        how if wanted else "the customer does not sponsor this course run",
        f"{ENDPOINT_PAGE}: all completions; or enrol the learner through the customer",
    )
    audit = bool(without_audit_reporting(course_id, [recipient]))
    yield Step(
        "audit",
        not audit,
        _either(audit, "the customer does not report audit enrolments", "reported"),
        "Django admin: Enterprise → Enterprise Customers: enable audit data reporting",
    )
    given = "given" if recipient.has_consent else "not required"
    yield Step(
        "consent",
        not recipient.lacks_consent,
        "no data-sharing consent" if recipient.lacks_consent else given,
        "the learner consents in the LMS (Django admin: Consent → Data Sharing Consents shows it)",
    )


def _timing(recipient: Recipient, course_pass: CoursePass | None) -> Iterator[Step]:
    if course_pass is None:
        known = grade_model() is not None
        yield Step(
            "passed",
            False if known else None,
            _either(known, "the LMS holds no passing grade", "not known: the LMS's grades are not read"),
            "CHANNEL_WEBHOOKS_GRADE_SOURCE names the grades that are read",
        )
        return
    passed = _at(course_pass.passed_at)
    yield Step("passed", True, f"passed at {passed}", operator_fact=f"(letter grade {course_pass.letter_grade})")
    after = course_pass.passed_at >= recipient.linked_at
    yield Step(
        "linked_before",
        after,
        _either(after, "passed while linked", "passed before the learner was linked"),
        "nothing: what came before the link is not the customer's to know",
    )
    old = is_too_old(course_pass)
    days = conf.max_pass_age().days
    yield Step(
        "age",
        not old,
        f"passed at {passed}, {'more' if old else 'less'} than {days} days ago",
        "./manage.py lms backfill_webhooks --endpoint ID --since TIME, or CHANNEL_WEBHOOKS_MAX_PASS_AGE_DAYS",
    )


def _destination(
    story: Explanation, endpoints: list, recipient: Recipient, course_pass: CoursePass | None
) -> Iterator[Step]:
    region = get_user_region(story.learner)
    try:
        endpoint = endpoint_for(region, endpoints)
    except NoWebhookConfigured:
        yield Step("region", False, f"no endpoint for {region}", f"{ENDPOINT_PAGE}: add one for {region}")
        return
    yield Step("region", True, f"{region}, which goes to the endpoint for {endpoint.region}")
    on = endpoint_gate.is_on(endpoint)
    by = "the sender" if endpoint.active else "its operator"
    yield Step(
        "switched_on",
        on,
        "switched on" if on else f"the endpoint was switched off by {by}",
        f"{ENDPOINT_PAGE} → {endpoint.pk}: switch it on",
    )
    if course_pass and recipient.wanted_from:
        late = course_pass.passed_at >= recipient.wanted_from or bool(story.webhook and story.webhook.backfilled)
        wanted = _at(recipient.wanted_from)
        yield Step(
            "send_from",
            late,
            f"completions from {wanted} on" + ("" if late else ": passed before that"),
            f"./manage.py lms backfill_webhooks --endpoint {endpoint.pk} --since TIME",
        )
    holds = rollout.latest()
    against = holds.reason_against(story.customer.uuid, story.learner.pk, {endpoint.learning_time})
    place = rollout.bucket(story.customer.uuid, story.learner.pk)
    yield Step(
        "rollout",
        not against,
        f"learning time is not looked up: {against}" if against else "looked up",
        "./manage.py lms webhook_rollout",
        f"(bucket {place} of {rollout.BUCKETS}, percentage {holds.percentage})",
    )


def _what_became_of(webhook: Any) -> Iterator[Step]:
    if webhook is None:
        yield Step("row", False, "no webhook has been made", MAKE_ROW)
        return
    settled = webhook.status not in (
        WebhookStatus.FAILED,
        WebhookStatus.CANCELLED,
        WebhookStatus.NO_ENDPOINT,
        WebhookStatus.PARKED,
    )
    details = [f"made {_at(webhook.created)}"]
    details += [f"due {_at(webhook.due_at)}"] if webhook.status in _MOVING else []
    details += ["backfilled"] if webhook.backfilled else []
    details += [f"personal data removed {_at(webhook.purged_at)}"] if webhook.purged_at else []
    said = f"{webhook.status}: {webhook.reason}" if webhook.reason else webhook.status
    change = (
        f"{ENDPOINT_PAGE}: switch it on"
        if webhook.status == WebhookStatus.PARKED
        else (f"./manage.py lms replay_webhooks {webhook.webhook_id}")
    )
    yield Step("row", settled, f"{said} ({', '.join(details)})", "" if settled else change)
    if webhook.learning_time_status:
        found = webhook.learning_time is not None
        yield Step(
            "lookup",
            found,
            f"learning time: {webhook.learning_time_status}",
            "",
            f"({webhook.learning_time} seconds)" if found else "",
        )
    attempts = [
        f"{_at(each.started_at)} {each.status_code or each.error_code} in {each.duration_ms} ms"
        for each in webhook.attempts.order_by("pk")
    ]
    if attempts:
        yield Step("attempts", webhook.status == WebhookStatus.DELIVERED or None, "; ".join(attempts))


_MOVING = (WebhookStatus.AWAITING_ENRICHMENT, WebhookStatus.RECORDED, WebhookStatus.PENDING)


def _conclusion(story: Explanation) -> str:
    webhook, against = story.webhook, story.first_no
    if webhook is None:
        return f"Not sent: {against.fact}." if against else "Not known: the LMS's grades are not read."
    if webhook.status == WebhookStatus.DELIVERED:
        return f"Delivered at {_at(webhook.delivered_at)}." if webhook.delivered_at else "Delivered."
    if webhook.status not in _MOVING:
        return f"Not sent: {webhook.status}" + (f", {webhook.reason}." if webhook.reason else ".")
    lost = next((step for step in story.steps if step.holds is False and step.name in CHECKED_AGAIN), None)
    if webhook.status != WebhookStatus.PENDING and lost:
        return f"Not sent: it will be cancelled: {lost.fact}."
    return f"On its way: next attempt {_at(_next_attempt(webhook))}."


def _next_attempt(webhook: Any) -> datetime:
    """When it may go: its due time, or later where its endpoint is closed until then; never in the past."""
    endpoints = EnterpriseWebhookConfiguration.objects.filter(pk=webhook.endpoint_id)
    endpoint = endpoints.select_related("health").first() if webhook.endpoint_id else None
    opening = endpoint_gate.opens_at(endpoint) if endpoint else None
    return max(webhook.due_at, opening or webhook.due_at, timezone.now())


def _either(which: bool, yes: str, no: str) -> str:
    return yes if which else no


def _at(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
