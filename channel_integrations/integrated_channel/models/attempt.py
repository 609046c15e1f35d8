# SPDX-License-Identifier: AGPL-3.0-or-later
"""What came of each POST."""

from collections.abc import Iterable
from datetime import datetime
from http import HTTPStatus
from typing import NamedTuple
from uuid import UUID

from django.db import models
from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel.http_client import HttpAnswer
from channel_integrations.integrated_channel.models.webhook import WebhookTransmissionQueue

#: what helps to find a request in the partner's logs, or tells who answered; nothing that a session hangs on
KEPT_HEADERS = (
    "cf-ray",
    "content-length",
    "content-type",
    "date",
    "retry-after",
    "server",
    "traceparent",
    "via",
    "x-amzn-requestid",
    "x-amzn-trace-id",
    "x-correlation-id",
    "x-request-id",
)
KEPT_HEADER_CHARACTERS = 200


class AttemptResult(NamedTuple):
    """
    What came of a POST: an answer, or the code of the error; ``duration_ms`` is milliseconds.

    ``detail`` says more about the error, in words of ours. ``token_id`` is that of the access token that was shown.
    ``may_have_arrived``: whether the endpoint got the body, or may have.
    """

    started_at: datetime
    answer: HttpAnswer | None
    error: str
    duration_ms: int
    detail: str = ""
    token_id: UUID | None = None
    may_have_arrived: bool = False

    @property
    def error_told(self) -> str:
        """The code of the error, with its detail."""
        return f"{self.error}: {self.detail}" if self.detail else self.error

    @property
    def token_refused(self) -> bool:
        """Whether another access token may mend it."""
        return self.token_id is not None and self.answer is not None and self.answer.status == HTTPStatus.UNAUTHORIZED


class WebhookDeliveryAttempt(models.Model):
    """
    One POST: when, how long, and what came back. Nothing of what was sent is kept here.

    .. pii: The start of the endpoint's answer may repeat what was sent.
    .. pii_types: other
    .. pii_retirement: local_api
    """

    webhook = models.ForeignKey(
        WebhookTransmissionQueue, on_delete=models.CASCADE, db_constraint=False, related_name="attempts"
    )
    number = models.PositiveSmallIntegerField()
    started_at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    status_code = models.PositiveSmallIntegerField(null=True)
    error_code = models.CharField(max_length=40, blank=True)
    response_start = models.TextField(blank=True)
    response_headers = models.JSONField(default=dict, blank=True)

    class Meta:
        app_label = "channel_webhooks"
        verbose_name = _("delivery attempt")
        indexes = [models.Index(fields=["started_at"], name="channel_webhooks_attempted")]

    def __str__(self) -> str:
        return f"{self.webhook_id} #{self.number}"

    @classmethod
    def record(cls, tries: Iterable[tuple[int, int, AttemptResult]]) -> None:
        """Keep these tries: the webhook's primary key, the try's number, and what came of it."""
        cls.objects.bulk_create([cls._of(*each) for each in tries])

    @classmethod
    def _of(cls, webhook_pk: int, number: int, result: AttemptResult) -> "WebhookDeliveryAttempt":
        """With the headers of the answer that are on the allow list."""
        answer = result.answer
        headers = answer.headers if answer else {}
        return cls(
            webhook_id=webhook_pk,
            number=number,
            started_at=result.started_at,
            duration_ms=result.duration_ms,
            status_code=answer.status if answer else None,
            error_code=result.error,
            response_start=_ascii(answer.body_start) if answer else "",
            response_headers={
                name: _ascii(headers[name][:KEPT_HEADER_CHARACTERS]) for name in KEPT_HEADERS if name in headers
            },
        )


def _ascii(text: str) -> str:
    """Some sites' tables are utf8mb3, which has no room for astral characters; PostgreSQL's have none for a NUL."""
    return text.replace("\0", "").encode("ascii", "backslashreplace").decode("ascii")
