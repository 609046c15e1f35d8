# SPDX-License-Identifier: AGPL-3.0-or-later
"""An attempt that has come to its end, and what it says of its webhook."""

from typing import Any, NamedTuple

from channel_integrations.integrated_channel.erasures import LEARNER_ERASED
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration, WebhookTransmissionQueue
from channel_integrations.integrated_channel.models.attempt import AttemptResult
from channel_integrations.integrated_channel.services.retry import Outcome, classify

#: the reason of a webhook whose access token was refused, until it has been sent with another
TO_SIGN_IN_ANEW = "HTTP 401, to be sent again with a new access token"


class Finished(NamedTuple):
    """
    A POST that has come to its end; ``number`` counts the webhook's attempts.

    ``is_renewed``: its access token was refused, and it goes out again at once with another.
    """

    webhook: WebhookTransmissionQueue
    endpoint: EnterpriseWebhookConfiguration
    number: int
    result: AttemptResult
    is_renewed: bool = False

    @classmethod
    def of(cls, webhook: WebhookTransmissionQueue, endpoint: Any, result: AttemptResult) -> "Finished":
        """Before anything of it is written: a webhook that has just been renewed is not renewed once more."""
        is_renewed = result.token_refused and webhook.reason != TO_SIGN_IN_ANEW
        return cls(webhook, endpoint, webhook.attempts_made + 1, result, is_renewed)

    @property
    def outcome(self) -> Outcome:
        """What its answer, or that there was none, means for the webhook."""
        answer = self.result.answer
        return classify(answer.status) if answer else Outcome.RETRY

    @property
    def is_erasure(self) -> bool:
        """Whether it tells the endpoint to forget, and hence tells nothing."""
        return self.webhook.event_type == LEARNER_ERASED

    @property
    def is_disclosure(self) -> bool:
        """Whether the endpoint knows something of a learner by it, or may; also by the attempt of a killed worker."""
        result = self.result
        told = result.answer is not None or result.may_have_arrived or self.webhook.is_abandoned
        return told and not self.is_erasure and self.webhook.user_id is not None

    @property
    def reason(self) -> str:
        """What is kept on the webhook, and of the endpoint, where it was not taken."""
        answer = self.result.answer
        if answer:
            return TO_SIGN_IN_ANEW if self.is_renewed else f"HTTP {answer.status}"
        return self.result.error_told
