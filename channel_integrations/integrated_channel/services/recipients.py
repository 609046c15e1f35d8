# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Who gets a webhook for a pass or an enrolment: the customers that sponsor the course run for the learner.

A link counts while it is linked; its ``active`` says only which customer the learner is looking at. Whether what was
made for them is still owed when it is claimed, is in ``owed``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from consent.models import DataSharingConsent
from django.contrib.auth import get_user_model
from django.db.models import FilteredRelation, Q
from enterprise.models import EnterpriseCustomer, EnterpriseCustomerUser

from channel_integrations.integrated_channel.models.endpoint_choices import LearningTimeTiming
from channel_integrations.integrated_channel.models.learning_time_options import waits
from channel_integrations.integrated_channel.passes import CoursePass
from channel_integrations.integrated_channel.services import reasons


class Wants(NamedTuple):
    """What one endpoint wants, and whether its operator has it switched on; the names are those of its columns."""

    send_from: datetime
    all_completions: bool
    learning_time: str | None
    active: bool
    #: NULL where a release wrote the endpoint that did not know of them
    sends_completions: bool | None
    sends_enrollments: bool | None
    learning_time_timing: str | None
    hold_hours: int | None

    @property
    def completions(self) -> bool:
        """Whether it takes them."""
        return self.sends_completions is not False

    @property
    def enrollments(self) -> bool:
        """Whether it takes them."""
        return self.sends_enrollments is True


@dataclass
class Recipient:
    """One customer that a learner is linked to, with what decides whether it gets the learner's completion."""

    enterprise_customer_uuid: UUID
    user_id: int
    linked_at: datetime
    is_sponsor: bool
    requires_consent: bool
    has_consent: bool = False
    #: of each endpoint asked for
    endpoints: set[Wants] = field(default_factory=set)

    def reason_against(self, course_pass: CoursePass, *, backfilled: bool = False) -> str:
        """Why this customer gets no webhook for this pass; empty where it gets one. A backfill ignores send_from."""
        if self.lacks_consent:
            return reasons.NO_CONSENT
        if course_pass.passed_at < self.linked_at:
            return reasons.PASSED_BEFORE_LINK
        if not any(endpoint.completions for endpoint in self.endpoints):
            return reasons.NO_SUCH_EVENTS
        if self.wanted_from is None:
            return reasons.NOT_SPONSORED
        if course_pass.passed_at < self.wanted_from and not backfilled:
            return reasons.PASSED_BEFORE_SEND_FROM
        return ""

    def reason_against_enrolment(self, enrolled_at: datetime) -> str:
        """The same for an enrolment; those that the customer does not sponsor are not the customer's to know."""
        if self.lacks_consent:
            return reasons.NO_CONSENT
        if enrolled_at < self.linked_at:
            return reasons.ENROLLED_BEFORE_LINK
        wanted = [endpoint.send_from for endpoint in self.endpoints if endpoint.enrollments]
        if not wanted:
            return reasons.NO_SUCH_EVENTS
        if not self.is_sponsor:
            return reasons.NOT_SPONSORED
        if enrolled_at < min(wanted):
            return reasons.ENROLLED_BEFORE_SEND_FROM
        return ""

    def reason_against_making(self, course_pass: CoursePass) -> str:
        """The same when the pass comes in: an endpoint that is switched off then makes no webhook."""
        on = {endpoint for endpoint in self.endpoints if endpoint.active}
        return replace(self, endpoints=on).reason_against(course_pass) if on else reasons.ENDPOINT_OFF

    @property
    def lacks_consent(self) -> bool:
        """Whether the customer requires a consent that the learner has not given."""
        return self.requires_consent and not self.has_consent

    @property
    def basis(self) -> str:
        """Why a webhook that is owed is owed, in the words of the register of disclosures."""
        owed_by = "sponsored" if self.is_sponsor else "all completions"
        return f"{owed_by}, {'consent given' if self.requires_consent else 'no consent required'}"

    @property
    def wanted_from(self) -> datetime | None:
        """Since when an endpoint wants completions of this course run; None where none does."""
        taking = [endpoint for endpoint in self.endpoints if endpoint.completions]
        wanting = [endpoint.send_from for endpoint in taking if self.is_sponsor or endpoint.all_completions]
        return min(wanting, default=None)

    @property
    def switches(self) -> set[str | None]:
        """Those for learning time that are on; which endpoint gets the webhook is decided when it is addressed."""
        return {endpoint.learning_time for endpoint in self.endpoints if endpoint.active}

    @property
    def hold(self) -> timedelta | None:
        """How long each endpoint that is on waits for a final learning time; None where one does not wait."""
        on = [endpoint for endpoint in self.endpoints if endpoint.active and endpoint.completions]
        if any(endpoint.learning_time_timing != LearningTimeTiming.HOLD for endpoint in on):
            return None
        return min((waits(endpoint.hold_hours) for endpoint in on), default=None)


def customers_of(user_id: int) -> dict[UUID, bool]:
    """
    The linked, active customers of a learner that have an endpoint, and whether one is switched on.

    It is the question that regrades are answered with: it costs a third of ``find_recipients``, and for most learners
    of an LMS it ends there.
    """
    links = EnterpriseCustomerUser.objects.filter(
        user_id=user_id, enterprise_customer__active=True, enterprise_customer__webhook_endpoints__isnull=False
    )
    found: dict[UUID, bool] = {}
    wanted = links.order_by().values_list("enterprise_customer_id", "enterprise_customer__webhook_endpoints__active")
    for customer, on in wanted:
        found[customer] = on or found.get(customer, False)
    return found


def find_recipients(course_id: str, user_ids: Iterable[int], *, with_switched_off: bool = False) -> list[Recipient]:
    """
    Every linked, active customer with an endpoint of these learners.

    ``Recipient.reason_against`` then tells which of them get a webhook. One query; two more where a customer asks for
    consent.

    :param with_switched_off: take in endpoints that their operators have switched off
    """
    rows = (
        EnterpriseCustomerUser.objects.filter(
            user_id__in=list(user_ids),
            enterprise_customer__active=True,
            enterprise_customer__webhook_endpoints__active__in=(True, False) if with_switched_off else (True,),
        )
        .annotate(
            sponsored=FilteredRelation(
                "enterprise_enrollments", condition=Q(enterprise_enrollments__course_id=course_id)
            ),
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
            *(f"enterprise_customer__webhook_endpoints__{name}" for name in Wants._fields),
        )
    )
    recipients: dict[int, Recipient] = {}
    for link, customer, user_id, linked_at, enrolment, asks, enforcement, *wants in rows:
        recipient = recipients.setdefault(
            link,
            Recipient(
                enterprise_customer_uuid=customer,
                user_id=user_id,
                linked_at=linked_at,
                is_sponsor=enrolment is not None,
                requires_consent=asks and enforcement != EnterpriseCustomer.EXTERNALLY_MANAGED,
            ),
        )
        recipient.endpoints.add(Wants(*wants))
    _note_consent(course_id, [recipient for recipient in recipients.values() if recipient.requires_consent])
    return list(recipients.values())


def _note_consent(course_id: str, recipients: Sequence[Recipient]) -> None:
    """Who of these has agreed to share data of this course run with the customer. Consent is by username."""
    if not recipients:
        return
    learners = get_user_model().objects.filter(pk__in={recipient.user_id for recipient in recipients})
    user_ids = dict(learners.values_list("username", "pk"))
    consents = DataSharingConsent.objects.filter(
        course_id=course_id,
        granted=True,
        username__in=user_ids,
        enterprise_customer__in={recipient.enterprise_customer_uuid for recipient in recipients},
    )
    granted = {
        (customer, user_ids.get(name)) for customer, name in consents.values_list("enterprise_customer_id", "username")
    }
    for recipient in recipients:
        recipient.has_consent = (recipient.enterprise_customer_uuid, recipient.user_id) in granted
