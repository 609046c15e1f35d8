# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Who gets a webhook for a pass: the customers that sponsor the course run for the learner.

A link counts while it is linked; its ``active`` says only which customer the learner is looking at.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from consent.models import DataSharingConsent
from django.contrib.auth import get_user_model
from django.db.models import Exists, FilteredRelation, OuterRef, Q, Subquery
from enterprise.models import EnterpriseCourseEnrollment, EnterpriseCustomer, EnterpriseCustomerUser

from channel_integrations.integrated_channel.exceptions import WebhookNotOwed
from channel_integrations.integrated_channel.passes import CoursePass


class Wants(NamedTuple):
    """What one endpoint wants."""

    send_from: datetime
    all_completions: bool
    learning_time: str | None


@dataclass
class Recipient:
    """One customer that a learner is linked to, with what decides whether it gets the learner's completion."""

    enterprise_customer_uuid: UUID
    user_id: int
    linked_at: datetime
    is_sponsor: bool
    requires_consent: bool
    has_consent: bool
    #: of each endpoint asked for
    endpoints: set[Wants] = field(default_factory=set)

    def reason_against(self, course_pass: CoursePass, *, backfilled: bool = False) -> str:
        """Why this customer gets no webhook for this pass; empty where it gets one. A backfill ignores send_from."""
        if self.requires_consent and not self.has_consent:
            return "no data-sharing consent"
        if course_pass.passed_at < self.linked_at:
            return "passed before the learner was linked"
        wanting = [endpoint.send_from for endpoint in self.endpoints if self.is_sponsor or endpoint.all_completions]
        if not wanting:
            return "the customer does not sponsor this course run"
        if course_pass.passed_at < min(wanting) and not backfilled:
            return "passed before the endpoint's send_from"
        return ""

    @property
    def switches(self) -> set[str | None]:
        """Their switches for learning time; which endpoint gets the webhook is decided when it is addressed."""
        return {endpoint.learning_time for endpoint in self.endpoints}


def find_recipients(
    course_id: str, user_ids: Iterable[int], endpoint_states: Sequence[bool] = (True,)
) -> list[Recipient]:
    """
    Every linked, active customer with an endpoint (switched on, unless told otherwise) of these learners; one query.

    ``Recipient.reason_against`` then tells which of them get a webhook.
    """
    username = get_user_model().objects.filter(pk=OuterRef(OuterRef("user_id"))).values("username")
    consent = DataSharingConsent.objects.filter(
        enterprise_customer=OuterRef("enterprise_customer"),
        course_id=course_id,
        granted=True,
        username=Subquery(username),
    )
    rows = (
        EnterpriseCustomerUser.objects.filter(
            user_id__in=list(user_ids),
            enterprise_customer__active=True,
            enterprise_customer__webhook_endpoints__active__in=endpoint_states,
        )
        .annotate(
            sponsored=FilteredRelation(
                "enterprise_enrollments", condition=Q(enterprise_enrollments__course_id=course_id)
            ),
            has_consent=Exists(consent),
        )
        .order_by("pk")
        .values_list(
            "pk",
            "enterprise_customer_id",
            "user_id",
            "created",
            "sponsored__pk",
            "enterprise_customer__enable_data_sharing_consent",
            "enterprise_customer__enforce_data_sharing_consent",
            "has_consent",
            "enterprise_customer__webhook_endpoints__send_from",
            "enterprise_customer__webhook_endpoints__all_completions",
            "enterprise_customer__webhook_endpoints__learning_time",
        )
    )
    recipients: dict[int, Recipient] = {}
    for link, customer, user_id, linked_at, enrolment, asks, enforcement, has_consent, *wants in rows:
        recipient = recipients.setdefault(
            link,
            Recipient(
                enterprise_customer_uuid=customer,
                user_id=user_id,
                linked_at=linked_at,
                is_sponsor=enrolment is not None,
                requires_consent=asks and enforcement != EnterpriseCustomer.EXTERNALLY_MANAGED,
                has_consent=has_consent,
            ),
        )
        recipient.endpoints.add(Wants(*wants))
    return list(recipients.values())


def by_user(recipients: Iterable[Recipient]) -> dict[int, list[Recipient]]:
    """The recipients of each learner."""
    grouped: dict[int, list[Recipient]] = defaultdict(list)
    for recipient in recipients:
        grouped[recipient.user_id].append(recipient)
    return grouped


class Owed(NamedTuple):
    """What a webhook that is still owed is built from."""

    learner: Any
    customer: EnterpriseCustomer
    recipient: Recipient


def require_owed(webhook: Any) -> Owed:
    """
    Check again, when a row is claimed, what was checked when it was made: hours may have passed.

    Endpoints that are switched off count here: their webhooks are parked, not cancelled.

    :raises WebhookNotOwed: with the reason
    """
    learner = get_user_model().objects.filter(pk=webhook.user_id).first()
    if learner is None:
        raise WebhookNotOwed("the learner's account is gone")
    customer = EnterpriseCustomer.objects.filter(pk=webhook.enterprise_customer_uuid, active=True).first()
    if customer is None:
        raise WebhookNotOwed("the customer is gone or inactive")
    if not customer.webhook_endpoints.exists():
        raise WebhookNotOwed("endpoint deleted")
    for recipient in find_recipients(webhook.course_id, [learner.pk], endpoint_states=(True, False)):
        if recipient.enterprise_customer_uuid == customer.pk:
            break
    else:
        raise WebhookNotOwed("the learner is no longer linked to the customer")
    reason = recipient.reason_against(CoursePass.from_row(webhook), backfilled=webhook.backfilled)
    if reason:
        raise WebhookNotOwed(reason)
    enrolment = EnterpriseCourseEnrollment.objects.filter(
        enterprise_customer_user__user_id=learner.pk,
        enterprise_customer_user__enterprise_customer=customer,
        course_id=webhook.course_id,
    ).first()
    if enrolment and enrolment.audit_reporting_disabled:
        raise WebhookNotOwed("the customer does not report audit enrolments")
    return Owed(learner, customer, recipient)
