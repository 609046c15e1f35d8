# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an endpoint's webhooks are signed with, on its page: no secret, but the public half of a private key."""

from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel.admin.moments import NONE
from channel_integrations.integrated_channel.exceptions import SecretUnreadable
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration
from channel_integrations.integrated_channel.signing import kind_of, public_key

FIELDSET = (
    _("Signature"),
    {
        "fields": ("signed_with",),
        "description": _("By it the partner knows who sends. 'Replace signing secret' changes it."),
    },
)


def signed_with(endpoint: EnterpriseWebhookConfiguration) -> str:
    """What signs now, the current one first, as HTML."""
    try:
        secrets = endpoint.signing_secrets()
    except SecretUnreadable as err:
        return str(err)
    return format_html_join(mark_safe("<br>"), "{}", ((_told(secret),) for secret in secrets)) or NONE


def _told(secret: str) -> str:
    public, kind = public_key(secret), kind_of(secret).label
    return format_html("{}: <code>{}</code>", kind, public) if public else str(kind)
