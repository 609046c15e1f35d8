# SPDX-License-Identifier: AGPL-3.0-or-later
"""Completions from before an endpoint's ``send_from``: nothing else sends those."""

from collections.abc import Iterator
from datetime import datetime

from django.contrib.auth import get_user_model
from enterprise.models import EnterpriseCustomerUser

from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration, WebhookTransmissionQueue
from channel_integrations.integrated_channel.passes import COURSE_COMPLETION, CoursePass
from channel_integrations.integrated_channel.services.outbox import insert_missing, missing, new_row
from channel_integrations.integrated_channel.services.recipients import find_recipients
from channel_integrations.integrated_channel.services.reconciliation import passes_since
from channel_integrations.integrated_channel.services.replay import PER_MINUTE, evenly_spaced
from channel_integrations.integrated_channel.services.webhook_routing import (
    NoWebhookConfigured,
    route_webhook_by_region,
)

lines = LogLines(__name__)


def count_missing(endpoint: EnterpriseWebhookConfiguration, since: datetime) -> int:
    """How many webhooks a backfill would make."""
    return sum(len(missing(rows)) for rows in _owed(endpoint, since, PER_MINUTE))


def backfill(endpoint: EnterpriseWebhookConfiguration, since: datetime, per_minute: int = PER_MINUTE) -> int:
    """
    Make the rows of completions since then that the endpoint has not had, so many due a minute; returns how many.

    Links, sponsorship and consent hold as ever: a completion from before the learner was linked to the customer is not
    the customer's to know. Safe to run again: what is there is left alone.
    """
    made = sum(len(insert_missing(rows)) for rows in _owed(endpoint, since, per_minute))
    lines.info("webhook_backfill", "made", endpoint_id=endpoint.pk, count=made)
    return made


def _owed(
    endpoint: EnterpriseWebhookConfiguration, since: datetime, per_minute: int
) -> Iterator[list[WebhookTransmissionQueue]]:
    moments = evenly_spaced(per_minute)
    links = EnterpriseCustomerUser.objects.filter(enterprise_customer_id=endpoint.enterprise_customer_id)
    for course_id, passes in passes_since(since, links):
        rows = [
            new_row(course_pass, endpoint.enterprise_customer_id, [endpoint.learning_time], backfilled=True)
            for course_pass in _passes_for(endpoint, course_id, passes)
        ]
        for row in missing(rows):
            row.delay_until(next(moments))
        yield rows


def _passes_for(
    endpoint: EnterpriseWebhookConfiguration, course_id: str, passes: list[CoursePass]
) -> Iterator[CoursePass]:
    """The passes that this endpoint is owed, and no other endpoint of the customer."""
    by_user = {course_pass.user_id: course_pass for course_pass in passes}
    learners = get_user_model().objects.in_bulk(list(by_user))
    for recipient in find_recipients(course_id, by_user):
        course_pass = by_user[recipient.user_id]
        learner = learners.get(recipient.user_id)
        theirs = recipient.enterprise_customer_uuid == endpoint.enterprise_customer_id
        if not theirs or learner is None or recipient.reason_against(course_pass, backfilled=True):
            continue
        if not endpoint.sends(COURSE_COMPLETION) or not (recipient.is_sponsor or endpoint.all_completions):
            continue
        try:
            routed = route_webhook_by_region(learner, endpoint.enterprise_customer)
        except NoWebhookConfigured:
            continue
        if routed == endpoint:
            yield course_pass
