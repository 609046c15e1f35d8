# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The story of one completion: every condition in order, as it is now, what became of the webhook, and what comes next.

``subject`` finds who is asked about and ``walk`` goes through it: ``conditions`` for making and sending the webhook
(``passing`` and ``learning_time`` are two of them), ``outcome`` of it, ``movement`` to come. They make a ``story``;
``telling`` says what of it is told, and to whom, ``text`` how it is printed.
"""

from channel_integrations.integrated_channel.services.explanation.story import Answer, Explanation, Step
from channel_integrations.integrated_channel.services.explanation.telling import tell
from channel_integrations.integrated_channel.services.explanation.walk import explain

__all__ = ["Answer", "Explanation", "Step", "explain", "tell"]
