# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether claimed webhooks are still owed: what was checked when they were made, checked again hours later."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from enterprise.models import EnterpriseCustomer

from channel_integrations.integrated_channel.enrollments import COURSE_ENROLLMENT
from channel_integrations.integrated_channel.exceptions import WebhookNotOwed
from channel_integrations.integrated_channel.models.webhook import ENDPOINT_DELETED
from channel_integrations.integrated_channel.passes import CoursePass
from channel_integrations.integrated_channel.services.audit_reporting import without_audit_reporting
from channel_integrations.integrated_channel.services.recipients import Recipient, find_recipients


class Owed(NamedTuple):
    """What a webhook that is still owed is built from; ``endpoints`` are all of the customer's."""

    learner: Any
    customer: EnterpriseCustomer
    endpoints: Sequence[Any]
    recipient: Recipient


def owed_for(webhooks: Sequence[Any]) -> dict[int, Owed | WebhookNotOwed]:
    """
    Check again, when rows are claimed, what was checked when they were made: hours may have passed.

    Endpoints that are switched off count here: their webhooks are parked, not cancelled. Three queries, and two for
    each course run.

    :param webhooks: rows of completions and enrolments; what an erasure is owed by is not asked here
    :returns: by primary key, what the row is built from, or why it is no longer owed
    """
    learners = get_user_model().objects.in_bulk({webhook.user_id for webhook in webhooks} - {None})
    customers = (
        EnterpriseCustomer.objects.filter(active=True)
        .prefetch_related("webhook_endpoints")
        .in_bulk({webhook.enterprise_customer_uuid for webhook in webhooks})
    )
    found: dict[int, Owed | WebhookNotOwed] = {}
    for course_id, of_course in _by_course(webhooks).items():
        recipients = {
            (recipient.user_id, recipient.enterprise_customer_uuid): recipient
            for recipient in find_recipients(
                course_id, {each.user_id for each in of_course} - {None}, with_switched_off=True
            )
        }
        audit = without_audit_reporting(course_id, recipients.values())
        for webhook in of_course:
            recipient = recipients.get((webhook.user_id, webhook.enterprise_customer_uuid))
            try:
                found[webhook.pk] = _owed(webhook, learners, customers, recipient)
                if (webhook.user_id, webhook.enterprise_customer_uuid) in audit:
                    raise WebhookNotOwed("the customer does not report audit enrolments")
            except WebhookNotOwed as reason:
                found[webhook.pk] = reason
    return found


def _owed(webhook: Any, learners: dict, customers: dict, recipient: Recipient | None) -> Owed:
    learner = learners.get(webhook.user_id)
    if learner is None:
        raise WebhookNotOwed("the learner's account is gone")
    customer = customers.get(webhook.enterprise_customer_uuid)
    if customer is None:
        raise WebhookNotOwed("the customer is gone or inactive")
    endpoints = customer.webhook_endpoints.all()
    if not endpoints:
        raise WebhookNotOwed(ENDPOINT_DELETED)
    if recipient is None:
        raise WebhookNotOwed("the learner is no longer linked to the customer")
    if webhook.event_type == COURSE_ENROLLMENT:
        reason = recipient.reason_against_enrolment(webhook.occurred_at)
    else:
        reason = recipient.reason_against(CoursePass.from_row(webhook), backfilled=webhook.backfilled)
    if reason:
        raise WebhookNotOwed(reason)
    return Owed(learner, customer, endpoints, recipient)


def _by_course(webhooks: Iterable[Any]) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = defaultdict(list)
    for webhook in webhooks:
        grouped[webhook.course_id].append(webhook)
    return grouped
