# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether webhooks for an endpoint are held for so long that what they wait for will hardly come by itself."""

from datetime import timedelta

from django.db.models import Count, Min
from django.utils import timezone

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services.doctor.findings import Findings, admin_page, warning
from channel_integrations.integrated_channel.services.doctor.moments import span
from channel_integrations.integrated_channel.services.reasons import NO_PSEUDONYM_KEY

#: by then a learner who uses the site has signed on again
LONG = timedelta(days=1)


def held(endpoint: EnterpriseWebhookConfiguration, name: str, who: str) -> Findings:
    """A line for each reason."""
    rows = WebhookTransmissionQueue.objects.filter(status=WebhookStatus.AWAITING_IDS, endpoint_id=endpoint.pk)
    for each in rows.order_by("reason").values("reason").annotate(rows=Count("pk"), first=Min("created")):
        waits = timezone.now() - each["first"]
        if waits > LONG:
            advice = (
                "Put the former key at the end of FERNET_KEYS, and restart LMS and workers; they go out by themselves, "
                "within four hours. If it is lost, see 'The key that encrypts them' in rotate_a_secret.md"
                if each["reason"] == NO_PSEUDONYM_KEY
                else "Have the customer's identity provider send what is missing; they go out when the learners have "
                f"signed on again. Or choose otherwise under 'Payload': {admin_page(endpoint)}"
            )
            yield warning(
                f"{who}: {each['rows']} held, the oldest for {span(waits)}: {each['reason']}",
                advice,
                name,
            )
