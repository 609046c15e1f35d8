# SPDX-License-Identifier: AGPL-3.0-or-later
"""How an endpoint is signed in to, on its form: secrets are typed in, kept, and shown nowhere."""

import html

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse
from django.views.debug import SafeExceptionReporterFilter

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    SignIn,
    WebhookEndpointCredential,
)
from channel_integrations.integrated_channel.services import delivery
from channel_integrations.integrated_channel.services.sign_in import sign_in_to
from tests.factories import make_customer
from tests.test_channel_integrations.test_integrated_channel.test_admin.pages import (
    ENDPOINT,
    form_of,
    make_webhook,
    press,
    text_of,
    url,
    written_down,
)
from tests.token_server import CLIENT_ID, CLIENT_SECRET, Partner

pytestmark = pytest.mark.django_db
OAUTH = {
    "sign_in": "oauth",
    "token_url": "https://login.example.com/token",
    "client_id": CLIENT_ID,
    "client_secret": CLIENT_SECRET,
    "scope": "hooks.write",
    "client_authentication": "basic",
}
BEARER = {"sign_in": "bearer", "bearer_token": "given-by-hand"}


@pytest.fixture
def partner(receiver):
    return Partner(receiver)


def change(operator, endpoint, **fields):
    return operator.post(url(ENDPOINT, "change", endpoint.pk), form_of(endpoint, **fields))


def form_page(operator, endpoint):
    return operator.get(url(ENDPOINT, "change", endpoint.pk)).content.decode()


def errors_of(response):
    return response.context["adminform"].form.errors


def test_a_new_endpoint_with_a_client_secret(operator, partner):
    fields = {**OAUTH, "token_url": partner.token_url, "webhook_url": partner.hook_url}
    form = form_of(enterprise_customer=str(make_customer("Acme").pk), **fields)
    assert "The signing secret" in text_of(operator.post(url(ENDPOINT, "add"), form))
    endpoint = EnterpriseWebhookConfiguration.objects.get()
    make_webhook(endpoint, status="pending", body="{}")
    delivery.deliver_due()
    assert partner.shown == ["Bearer access-token-1"]
    assert partner.asked[0]["basic"] == [CLIENT_ID, CLIENT_SECRET] and partner.asked[0]["scope"] == "hooks.write"


def test_what_was_typed_in_is_shown_nowhere(operator, staff, endpoint):
    """Not on the form that is shown again with an error, not in the history, not to those who only look."""
    refused = change(operator, endpoint, **{**OAUTH, "scope": "a  b"})
    assert set(errors_of(refused)) == {"scope"}
    assert change(operator, endpoint, **OAUTH).status_code == 302
    said = LogEntry.objects.get().get_change_message()
    assert "Sign-in (none: the signature alone → OAuth 2.0 client credentials)" in said
    assert "Client secret" in said and "Client id (empty → client:1)" in said
    press(operator, "test_event", endpoint)
    assert form_page(operator, endpoint).count('placeholder="kept, and never shown"') == 1
    looks = staff(f"view_{ENDPOINT}").get(url(ENDPOINT, "change", endpoint.pk))
    assert "kept, and never shown" in text_of(looks)
    pages = [operator.get(url(ENDPOINT, page, endpoint.pk)) for page in ("change", "history", "delete")]
    pages += [operator.get(url(ENDPOINT, "changelist")), operator.get(reverse("admin:index")), looks, refused]
    for page in pages:
        assert CLIENT_SECRET not in html.unescape(page.content.decode())
    assert CLIENT_SECRET not in written_down()


def test_a_report_of_an_error_has_none_of_it(operator, endpoint):
    """Django leaves these out of what it mails when a page fails."""
    request = change(operator, endpoint, **OAUTH).wsgi_request
    reported = SafeExceptionReporterFilter().get_post_parameters(request)
    assert reported["client_id"] == CLIENT_ID and CLIENT_SECRET not in str(dict(reported))


def test_an_empty_field_keeps_what_is_there(operator, endpoint):
    change(operator, endpoint, **OAUTH)
    kept = {**OAUTH, "client_secret": "", "client_id": "another"}
    assert change(operator, endpoint, **kept).status_code == 302
    endpoint.refresh_from_db()
    assert (endpoint.client_id, WebhookEndpointCredential.secret_of(endpoint)) == ("another", CLIENT_SECRET)


def test_what_belongs_to_another_choice_is_deleted(operator, endpoint):
    change(operator, endpoint, **OAUTH)
    change(operator, endpoint, **BEARER)
    credential = WebhookEndpointCredential.objects.get()
    assert (credential.bearer_token, credential.client_secret) == ("given-by-hand", None)
    change(operator, endpoint, sign_in="none")
    credential.refresh_from_db()
    assert (credential.bearer_token, credential.client_secret, credential.access_token) == (None, None, None)
    endpoint.refresh_from_db()
    assert endpoint.sign_in == SignIn.NONE


def test_a_change_forgets_the_access_token_and_another_change_does_not(operator, endpoint, partner):
    fields = {**OAUTH, "token_url": partner.token_url}
    change(operator, endpoint, **fields)
    endpoint.refresh_from_db()
    request = sign_in_to(endpoint)
    request.within(5.0)
    request.settle()
    change(operator, endpoint, **{**fields, "client_secret": "", "max_requests_per_minute": "30"})
    assert WebhookEndpointCredential.kept_token(endpoint.pk)
    change(operator, endpoint, **{**fields, "client_secret": "", "scope": "other"})
    assert WebhookEndpointCredential.kept_token(endpoint.pk) is None


def test_a_secret_that_is_kept_is_not_sent_to_another_host(operator, endpoint):
    change(operator, endpoint, **OAUTH)
    endpoint.refresh_from_db()
    kept = {**OAUTH, "client_secret": ""}
    for moved in ({"token_url": "https://thief.example.com/token"}, {"webhook_url": "https://thief.example.com/"}):
        assert "Type it in again" in str(errors_of(change(operator, endpoint, **{**kept, **moved}))["client_secret"])
    same_host = {**kept, "token_url": "https://login.example.com/v2/token"}
    assert change(operator, endpoint, **same_host).status_code == 302


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({**BEARER, "bearer_token": ""}, "bearer_token", "there is none yet"),
        ({**BEARER, "bearer_token": "Bearer abc"}, "bearer_token", "no spaces"),
        ({**OAUTH, "client_secret": ""}, "client_secret", "there is none yet"),
        ({**OAUTH, "client_secret": "sécret"}, "client_secret", "Printable ASCII"),
        ({**OAUTH, "client_id": ""}, "client_id", "Type the client id"),
        ({**OAUTH, "client_id": "idé"}, "client_id", "printable ASCII"),
        ({**OAUTH, "token_url": ""}, "token_url", "Type the address at which"),
        ({**OAUTH, "token_url": "http://login.example.com/"}, "token_url", "https"),
        ({**OAUTH, "token_url": "https://10.0.0.1/token"}, "token_url", "public"),
        ({**OAUTH, "token_url": "token"}, "token_url", "Type an https URL, for example https://login"),
        ({**OAUTH, "scope": 'a "b"'}, "scope", "single spaces"),
        ({"sign_in": "password"}, "sign_in", "valid choice"),
    ],
)
def test_the_form_says_what_to_type(operator, endpoint, settings, fields, field, said):
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = False
    errors = errors_of(change(operator, endpoint, **{"webhook_url": "https://hooks.example.com/", **fields}))
    assert set(errors) == {field} and said in str(errors[field])
    assert not WebhookEndpointCredential.objects.exists()
