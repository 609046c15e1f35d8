# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether webhooks can sign in to an endpoint: the secret can be read, and an access token can be had for it."""

from collections.abc import Sequence

from channel_integrations.integrated_channel.exceptions import SecretUnreadable
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration
from channel_integrations.integrated_channel.services.doctor.findings import Findings, admin_page, problem, warning
from channel_integrations.integrated_channel.services.sign_in import SignedIn, TokenRequest, sign_in_to

#: how an endpoint is signed in to, or why it cannot be
Found = SignedIn | TokenRequest | SecretUnreadable | None


def ways_to_sign_in(every: Sequence[EnterpriseWebhookConfiguration]) -> dict[int, Found]:
    """
    By endpoint; the requests are still to be made.

    A new access token is asked for whatever is kept, and kept in its place: some servers let the former end with it.
    """
    found: dict[int, Found] = {}
    for endpoint in every:
        try:
            found[endpoint.pk] = sign_in_to(endpoint, by_force=True)
        except SecretUnreadable as err:
            found[endpoint.pk] = err
    return found


def sign_in(endpoint: EnterpriseWebhookConfiguration, name: str, who: str, found: Found) -> Findings:
    """What is wrong with it; nothing where it is in order, or where the endpoint wants none."""
    page = admin_page(endpoint)
    test = f"./manage.py lms send_test_webhook --endpoint {endpoint.pk}"
    if isinstance(found, SecretUnreadable):
        yield problem(
            f"{who}: it cannot be signed in to, and nothing is sent to it. {found}",
            f"Put the former key back (FERNET_KEYS), or type in what is missing: {page}",
            name,
        )
    elif isinstance(found, TokenRequest) and not found.answer.done():
        found.give_back()
        yield warning(f"{who}: its token server was not heard in time", f"Try it alone: {test}", name)
    elif isinstance(found, TokenRequest):
        found.settle()
        if err := found.answer.exception():
            yield problem(
                f"{who}: no access token to sign in with ({err})",
                f"Compare token URL, client id, secret and scope with what the partner has given you: {page} (a token "
                f"URL on another host wants the client secret typed in again) -- where "
                f"they are right, its token server is the partner's to mend. Webhooks are kept and tried "
                f"again. Then type {test}",
                name,
            )
