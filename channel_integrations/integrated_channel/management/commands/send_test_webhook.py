# SPDX-License-Identifier: AGPL-3.0-or-later
"""A test event, from the command line."""

from http import HTTPStatus

from django.core.management.base import BaseCommand, CommandError

from channel_integrations.integrated_channel.exceptions import AddressRefused, SecretUnreadable, SignInFailed
from channel_integrations.integrated_channel.management.arguments import (
    add_endpoint,
    add_json,
    endpoint_with,
    text_or_json,
)
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration, SignIn
from channel_integrations.integrated_channel.services.retry import Outcome, classify
from channel_integrations.integrated_channel.services.test_event import send_test_event
from channel_integrations.integrated_channel.signing import public_key


class Command(BaseCommand):
    """Send a signed test event and show what came of it."""

    help = (
        "Sends a signed event of the type 'test', without a learner, to an endpoint and shows the answer. It is sent "
        "at once, by this command: no worker, broker or Snowflake is needed. Ends with 1 unless the answer was 2xx."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        add_endpoint(parser, "the endpoint", required=True)
        add_json(parser)

    def handle(self, *args, **options) -> None:
        endpoint = endpoint_with(options["endpoint"])
        try:
            result = send_test_event(endpoint)
        except SecretUnreadable as err:
            raise CommandError(str(err)) from err
        answer = result.answer
        taken = answer is not None and classify(answer.status) is Outcome.DELIVERED
        facts = {
            "endpoint": endpoint.pk,
            "url": endpoint.webhook_url,
            "taken": taken,
            "status": answer.status if answer else None,
            "error": result.error,
            "detail": result.detail,
            "duration_ms": result.duration_ms,
            "answer": answer.body_start if answer else "",
        }
        came = f"HTTP {answer.status}" if answer else f"no answer ({result.error_told})"
        text = f"{endpoint.webhook_url}: {came} after {result.duration_ms} ms"
        self.stdout.write(text_or_json(options, "\n".join(filter(None, [text, facts["answer"]])), facts))
        if not taken:
            raise CommandError(_advice(answer.status if answer else None, result.error, endpoint))


def _advice(status: int | None, error: str, endpoint: EnterpriseWebhookConfiguration) -> str:
    """What to do about an event that was not taken."""
    if status is None:
        if error == AddressRefused.code:
            return (
                "Give the endpoint a URL that is https, on a host whose addresses are public: nothing else is called."
            )
        if error == SignInFailed.code:
            return (
                "Compare the endpoint's token URL, client id, client secret and scope with what the partner has given "
                "you; it is the token server that did not give us an access token."
            )
        return "To see where it ends, type ./manage.py lms webhook_doctor --only endpoints"
    told = "The endpoint did not take it: webhooks are taken by an answer of 200 to 299."
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        public = public_key(endpoint.signing_secrets()[0])
        key = f"public key, {public}" if public else "secret"
        told += (
            f" Does the partner verify with this endpoint's {key}? A new one: ./manage.py lms rotate_webhook_secret "
            f"--endpoint {endpoint.pk}"
        )
        if (endpoint.sign_in or SignIn.NONE) != SignIn.NONE:
            told += " Does it take the token that the endpoint is signed in to with?"
    return told
