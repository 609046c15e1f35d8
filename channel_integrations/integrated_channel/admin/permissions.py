# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Who may do what, beyond Django's own permissions to view webhooks and to view, add, change and delete endpoints.

To operate presupposes to view what it is about; personal data without it opens the page that explains a completion.
"""

from typing import Any

OPERATE = "channel_webhooks.operate_webhooks"
PERSONAL_DATA = "channel_webhooks.view_webhook_personal_data"


def may_operate(request: Any) -> bool:
    """Replay and cancel webhooks, test endpoints and switch them on again."""
    return request.user.has_perm(OPERATE)


def may_see_personal_data(request: Any) -> bool:
    """Who a webhook is about and what it says: usernames, addresses, grades, bodies, answers. Ids are no part of it."""
    return request.user.has_perm(PERSONAL_DATA)
