# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether webhooks can sign in to an endpoint: the secret can be read, and an access token can be had for it."""

from collections.abc import Sequence

from channel_integrations.integrated_channel.exceptions import SecretUnreadable
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration, SignIn
from channel_integrations.integrated_channel.services.doctor.findings import Findings, problem, warning
from channel_integrations.integrated_channel.services.sign_in import TokenRequest, sign_in_to


def token_requests(every: Sequence[EnterpriseWebhookConfiguration]) -> dict[int, TokenRequest]:
    """
    What to ask the token servers, by endpoint.

    A new token is asked for whatever is kept, and kept in its place: some servers let the former one end with it.
    """
    found = {}
    for endpoint in every:
        if endpoint.sign_in == SignIn.OAUTH:
            try:
                request = sign_in_to(endpoint, by_force=True)
            except SecretUnreadable:
                continue  # ``sign_in`` says so
            if isinstance(request, TokenRequest):
                found[endpoint.pk] = request
    return found


def sign_in(endpoint: EnterpriseWebhookConfiguration, name: str, who: str, request: TokenRequest | None) -> Findings:
    """What is wrong with it; nothing where it is in order, or where the endpoint wants none."""
    page = f"/admin/channel_webhooks/enterprisewebhookconfiguration/{endpoint.pk}/change/"
    if request is None:
        try:
            sign_in_to(endpoint)
        except SecretUnreadable as err:
            yield problem(
                f"{who}: it cannot be signed in to, and nothing is sent to it. {err}",
                f"Put the former key back (FERNET_KEYS), or type in what is missing: {page}",
                name,
            )
        return
    if not request.answer.done():
        request.give_back()
        yield warning(
            f"{who}: its token server was not heard in time",
            f"Try it alone: ./manage.py lms send_test_webhook --endpoint {endpoint.pk}",
            name,
        )
        return
    request.settle()
    if request.answer.exception():
        yield problem(
            f"{who}: no access token to sign in with ({request.answer.exception()})",
            f"Compare token URL, client id, secret and scope with what the partner has given you: {page}. Webhooks are "
            f"kept and tried again. Then type ./manage.py lms send_test_webhook --endpoint {endpoint.pk}",
            name,
        )
