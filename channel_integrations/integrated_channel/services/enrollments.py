# SPDX-License-Identifier: AGPL-3.0-or-later
"""
From enrolments to rows, in the caller's transaction; as careful as ``outbox``, and cheaper.

The LMS's event comes first: edx-enterprise writes down who sponsors the enrolment once it is made, in another
transaction, mostly within the second, by a task of its own some seconds later. So does a learner consent. Hence
neither is asked when the row is made, but when it is addressed, and for a while again.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone
from enterprise.models import EnterpriseCustomerUser

from channel_integrations.integrated_channel.enrollments import COURSE_ENROLLMENT, CourseEnrolment
from channel_integrations.integrated_channel.models import WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.services import reasons
from channel_integrations.integrated_channel.services.outbox import (
    insert_missing,
    is_too_old,
    missing,
    own_savepoint,
)

#: until a row is first looked at; edx-enterprise's task waits for three seconds
FIRST_LOOK = timedelta(seconds=5)
#: for how long, from when the row was made, sponsorship and consent may come; the looks are ever further apart
MAY_COME_FOR = timedelta(hours=1)
#: why a webhook is not owed that may be owed in a moment
MAY_COME = (reasons.NOT_SPONSORED, reasons.NO_CONSENT)


def record_enrolment(enrolment: CourseEnrolment) -> list[WebhookTransmissionQueue]:
    """
    Make the rows that an enrolment may owe: of each linked customer with an endpoint that takes enrolments.

    One query for a learner whom no such customer is linked to, two where every row is there; five for a new row (two
    SELECTs, SAVEPOINT, INSERT, RELEASE). On PostgreSQL two more for a savepoint.

    :returns: the rows made
    """
    if is_too_old(enrolment.enrolled_at):
        return []
    with own_savepoint():
        new = missing([new_row(enrolment, customer) for customer in _customers_of(enrolment)])
        return insert_missing(new, looked=True)


def look_again_at(webhook: WebhookTransmissionQueue, reason: str, now: datetime) -> datetime | None:
    """When to look again at a row that is not owed for this reason; None where it is not to be."""
    age = now - webhook.created
    if webhook.event_type != COURSE_ENROLLMENT or webhook.body or reason not in MAY_COME or age >= MAY_COME_FOR:
        return None
    return min(now + max(age, FIRST_LOOK), webhook.created + MAY_COME_FOR)


def _customers_of(enrolment: CourseEnrolment) -> set[UUID]:
    """The linked, active customers with an endpoint that takes enrolments of that time."""
    links = EnterpriseCustomerUser.objects.filter(
        user_id=enrolment.user_id,
        created__lte=enrolment.enrolled_at,
        enterprise_customer__active=True,
        enterprise_customer__webhook_endpoints__active=True,
        enterprise_customer__webhook_endpoints__sends_enrollments=True,
        enterprise_customer__webhook_endpoints__send_from__lte=enrolment.enrolled_at,
    )
    return set(links.order_by().values_list("enterprise_customer_id", flat=True))


def new_row(enrolment: CourseEnrolment, enterprise_customer_uuid: Any) -> WebhookTransmissionQueue:
    """A row that is not yet in the database."""
    now = timezone.now()
    return WebhookTransmissionQueue(
        deduplication_key=enrolment.deduplication_key(enterprise_customer_uuid),
        event_type=COURSE_ENROLLMENT,
        enterprise_customer_uuid=enterprise_customer_uuid,
        user_id=enrolment.user_id,
        course_id=enrolment.course_id,
        occurred_at=enrolment.enrolled_at,
        enrollment_mode=enrolment.mode,
        enrollment_is_active=enrolment.is_active,
        status=WebhookStatus.RECORDED,
        created=now,
        due_at=now + FIRST_LOOK,
    )
