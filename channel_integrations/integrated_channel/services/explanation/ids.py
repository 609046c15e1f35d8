# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether an endpoint can be told who a webhook is about."""

from typing import Any

from django.utils.translation import gettext as _

from channel_integrations.integrated_channel.exceptions import IdsMissing, WebhookNotWritable
from channel_integrations.integrated_channel.formats import format_of
from channel_integrations.integrated_channel.models import LearnerNaming, MissingIds, WebhookPseudonymKey
from channel_integrations.integrated_channel.services import reasons
from channel_integrations.integrated_channel.services.explanation.story import Answer, Step, endpoint_page
from channel_integrations.integrated_channel.services.naming import named


def ids_step(endpoint: Any, customer: Any, learner: Any) -> Step:
    """The step; it makes no pseudonym, since the first one would make the customer's key."""
    page = endpoint_page(endpoint)
    try:
        own_ids = format_of(endpoint).learner_ids
        if not own_ids and endpoint.naming == LearnerNaming.PSEUDONYM:
            if WebhookPseudonymKey.is_unreadable(customer.uuid):
                raise WebhookNotWritable(reasons.NO_PSEUDONYM_KEY)
        else:
            named(endpoint, customer, learner)
    except IdsMissing as err:
        told = _("%(why)s: the webhook is %(what)s") % {"why": err, "what": _consequence(endpoint)}
        change = _("the learner signs on anew, once the identity provider sends them; or %(page)s: “without those ids”")
        return Step("ids", Answer.NO, told, change % {"page": page})
    except WebhookNotWritable as err:
        change = _("%(page)s: “format”; or the former key at the end of FERNET_KEYS") % {"page": page}
        return Step("ids", Answer.NO, _("%(why)s: the webhook is held") % {"why": err}, change)
    by = ", ".join(own_ids) or LearnerNaming(endpoint.naming).label
    return Step("ids", Answer.YES, _("named by: %(what)s") % {"what": by})


def _consequence(endpoint: Any) -> str:
    return _("cancelled") if endpoint.missing_ids == MissingIds.SKIP else _("held until they come")
