# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Who may do what: Django's own permission to view webhooks, and two beyond those that it has for each model.

To operate presupposes to view what it is about; personal data without it opens the page that explains a completion.
"""

from typing import Any

VIEW = "channel_webhooks.view_webhooktransmissionqueue"
OPERATE = "channel_webhooks.operate_webhooks"
PERSONAL_DATA = "channel_webhooks.view_webhook_personal_data"


def may_view(request: Any) -> bool:
    """Webhooks, where they stand, and the figures made of them."""
    return request.user.has_perm(VIEW)


def may_operate(request: Any) -> bool:
    """Replay and cancel webhooks, test endpoints and switch them on again."""
    return request.user.has_perm(OPERATE)


def may_see_personal_data(request: Any) -> bool:
    """Who a webhook is about and what it says: usernames, addresses, grades, bodies, answers. Ids are no part of it."""
    return request.user.has_perm(PERSONAL_DATA)
