# SPDX-License-Identifier: AGPL-3.0-or-later
"""What came of attempts, written to rows, attempts, the register of disclosures and endpoints' health."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models import (
    WebhookDeliveryAttempt,
    WebhookEndpointHealth,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.models.attempt import AttemptResult
from channel_integrations.integrated_channel.models.health import Failure
from channel_integrations.integrated_channel.services import disclosures, erasure
from channel_integrations.integrated_channel.services.finished import Finished
from channel_integrations.integrated_channel.services.retry import Outcome, delay_after, retry_after
from channel_integrations.integrated_channel.tracing import span

lines = LogLines(__name__)


def write_back(finished: Sequence[Finished]) -> None:
    """Write everything down: what was taken together, the rest one by one; then what it says of the endpoints."""
    with span("write_back", webhooks=len(finished)):
        _write_back(finished)


def _write_back(finished: Sequence[Finished]) -> None:
    taken = [each for each in finished if each.outcome is Outcome.DELIVERED]
    others = [each for each in finished if each.outcome is not Outcome.DELIVERED]
    written = []
    for some in [taken, *([each] for each in others)]:
        if some and _write_safely(some):
            written += some
        elif len(some) > 1:
            # A locked row, say, must not take its neighbours with it.
            written += [each for each in some if _write_safely([each])]
    # Apart from the rows: the gate locks them in the other order.
    _note_all(written)


def _write_safely(finished: Sequence[Finished]) -> bool:
    """Where it fails, the leases end and the webhooks are sent again; False then."""
    try:
        with transaction.atomic():
            held = _move(finished)
            WebhookDeliveryAttempt.record((each.webhook.pk, each.number, _kept(each, held)) for each in finished)
            disclosures.register(finished, held)
            erasure.follow_up(finished, held)
    except Exception as err:
        webhook_id = finished[0].webhook.webhook_id if len(finished) == 1 else None  # Others follow one by one.
        lines.failure("webhook_delivery", err, webhook_id=webhook_id, count=len(finished), status="not_written")
        return False
    for each in finished:
        _log(each, each.webhook.pk in held)
    return True


def _move(finished: Sequence[Finished]) -> set[int]:
    """Where the rows go from here; returns the primary keys of those whose lease had not been lost."""
    if finished[0].outcome is Outcome.DELIVERED:
        return WebhookTransmissionQueue.objects.mark_delivered([each.webhook for each in finished])
    return {each.webhook.pk for each in finished if _move_failed(each)}


def _move_failed(each: Finished) -> bool:
    webhook = each.webhook
    if each.is_renewed:
        return webhook.mark_to_be_signed_in_anew(each.reason)
    if each.outcome is Outcome.GONE:
        return webhook.mark_refused(each.reason)
    delay = delay_after(webhook.tries + 1, each.endpoint.schedule)
    if each.outcome is Outcome.FAILED or delay is None:
        return webhook.mark_failed(each.reason)
    return webhook.mark_to_be_retried(max(delay, _asked_pause(each.result) or delay), each.reason)


def _kept(each: Finished, held: set[int]) -> AttemptResult:
    """
    Of some answers no text is kept, since it may repeat what was sent.

    Whoever has a row now that lost its lease may have scrubbed it; and what names a learner in order to have them
    erased must not outlive that.
    """
    answer = each.result.answer
    if answer is None or (each.webhook.pk in held and not each.is_erasure):
        return each.result
    return each.result._replace(answer=replace(answer, body_start=""))


def _note_all(written: Sequence[Finished]) -> None:
    """
    Each failure, then one success for each endpoint that took something; that also before its failures.

    What ended together has no order. An endpoint that took some of it is alive: told only first, its success would
    leave the failures beside it in a row, and a handful of answers could open the breaker; told only last, it would
    come too late for an endpoint that has failed for days, and that these failures switch off.
    """
    failed = [each for each in written if each.outcome is not Outcome.DELIVERED]
    taken = {each.endpoint.pk: each for each in written if each.outcome is Outcome.DELIVERED}
    both = [taken[pk] for pk in {each.endpoint.pk for each in failed} & taken.keys()]
    for each in (*both, *failed, *taken.values()):
        _note_safely(each)


def _note_safely(each: Finished) -> None:
    """A health row that is locked for too long costs a count, not what came of the attempts."""
    try:
        _note(each.endpoint.pk, each)
    except Exception as err:
        lines.failure("webhook_endpoint", err, endpoint_id=each.endpoint.pk, webhook_id=each.webhook.webhook_id)


def _note(endpoint_id: int, each: Finished) -> None:
    """What the attempt says about its endpoint."""
    if each.outcome is Outcome.DELIVERED:
        WebhookEndpointHealth.note_success(endpoint_id, timezone.now())
        return
    if each.is_renewed:  # Tokens end; it says nothing of the endpoint yet.
        return
    failure = Failure(
        each.reason,
        began_at=each.result.started_at,
        for_breaker=each.outcome is Outcome.RETRY,
        pause=_asked_pause(each.result),
        gone=each.outcome is Outcome.GONE,
    )
    WebhookEndpointHealth.note_failure(endpoint_id, timezone.now(), failure)


def _asked_pause(result: AttemptResult) -> timedelta | None:
    if result.answer is None:
        return None
    return retry_after(result.answer.status, result.answer.headers.get("retry-after"), timezone.now())


def _log(each: Finished, held: bool) -> None:
    status = ("token_refused" if each.is_renewed else each.outcome.value) if held else "lease_lost"
    answer = each.result.answer
    lines.info(
        "webhook_delivery",
        status,
        webhook_id=each.webhook.webhook_id,
        endpoint_id=each.endpoint.pk,
        attempt=each.number,
        http_status=answer.status if answer else None,
        error=each.result.error,
        reason=each.result.detail,
        duration_ms=each.result.duration_ms,
    )
