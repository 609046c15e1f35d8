# SPDX-License-Identifier: AGPL-3.0-or-later
"""The part of an endpoint's form that says how it is signed in to. Secrets are typed in and never shown again."""

import re
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext

from channel_integrations.integrated_channel.admin.nullable_choices import NullableChoices
from channel_integrations.integrated_channel.models import ClientAuthentication, SignIn, WebhookEndpointCredential
from channel_integrations.integrated_channel.models.credential import SECRET_OF

KEPT = _("kept, and never shown")
SECRETS = tuple(SECRET_OF.values())
#: what an access token was got with, or is shown to
GOES_WITH = ("sign_in", "token_url", "client_id", "scope", "client_authentication", "webhook_url", *SECRETS)
#: where each secret goes: somebody who may change that, and does not know the secret, must not have it sent elsewhere
_GOES_TO = {"bearer_token": ("webhook_url",), "client_secret": ("token_url", "webhook_url")}

HELP_TEXTS = {
    "sign_in": _(
        "What each webhook carries in its Authorization header, beside the signature, which is always there. By "
        "default nothing. Choose what the partner's gateway asks for, and fill in what belongs to it below."
    ),
    "token_url": _(
        "For OAuth: where access tokens are asked for. https on a public address, as the URL above; the CA "
        "certificates below count here too. Example: https://login.partner.example.com/oauth2/token"
    ),
    "client_id": _("For OAuth: the client id that the partner has given you. No secret. Example: lms-completions"),
    "scope": _(
        "For OAuth: the scopes that the partner has named, with single spaces between them; empty, the default: none "
        "is asked for. Example: hooks.write courses.read"
    ),
    "client_authentication": _(
        "For OAuth: where client id and secret are sent. By default in the Authorization header, which every token "
        "server has to take; in the form, or in a JSON object, only where the partner says so."
    ),
}
NULL_MEANS = {"sign_in": str(SignIn.NONE), "client_authentication": str(ClientAuthentication.BASIC)}
_WRITE_ONLY = forms.PasswordInput(attrs={"autocomplete": "new-password", "class": "vTextField"})
# RFC 6750, 2.1, without its alphabet, which not every partner keeps to; RFC 6749, A.2
_BEARER_TOKEN, _CLIENT_SECRET = re.compile(r"[!-~]{1,4000}\Z"), re.compile(r"[ -~]{1,4000}\Z")


class SignInFields(NullableChoices):
    """The secrets' fields, and what has to be there for each choice."""

    bearer_token = forms.CharField(
        label=_("Bearer token"),
        required=False,
        widget=_WRITE_ONLY,
        help_text=_(
            "For a bearer token: what the partner has given you, without the word Bearer. It is kept encrypted and "
            "never shown again; leave this empty to keep the one that is there."
        ),
    )
    client_secret = forms.CharField(
        label=_("Client secret"),
        required=False,
        strip=False,
        widget=_WRITE_ONLY,
        help_text=_(
            "For OAuth: the secret that the partner has given you with the client id. It is kept encrypted and never "
            "shown again; leave this empty to keep the one that is there."
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.fields.keys() & set(SECRETS):
            if WebhookEndpointCredential.has_secret(self.instance.pk, name):
                self.fields[name].widget.attrs["placeholder"] = KEPT

    def clean_bearer_token(self) -> str:
        return self._checked("bearer_token", _BEARER_TOKEN)

    def clean_client_secret(self) -> str:
        return self._checked("client_secret", _CLIENT_SECRET)

    def clean(self) -> dict[str, Any] | None:
        """The secret of the choice is typed in, or is there and goes where it went before."""
        cleaned = super().clean()
        name = SECRET_OF.get(self.cleaned_data.get("sign_in") or SignIn.NONE)
        if name and name not in self.errors and not self.cleaned_data.get(name):
            if not WebhookEndpointCredential.has_secret(self.instance.pk, name):
                self.add_error(name, _("Type in what the partner has given you: there is none yet."))
            elif any(self._moved(url) for url in _GOES_TO[name]):
                self.add_error(name, _("Type it in again: what is kept is not sent to another host."))
        return cleaned

    def keep_secrets(self) -> None:
        """Keep what was typed in for the choice; what belongs to another choice is deleted."""
        if set(self.changed_data) & set(GOES_WITH):
            name = SECRET_OF.get(self.instance.sign_in or SignIn.NONE, "")
            WebhookEndpointCredential.keep(self.instance, self.cleaned_data.get(name) or "")

    def _checked(self, name: str, allowed: re.Pattern) -> str:
        given = self.cleaned_data.get(name) or ""
        if given and not allowed.match(given):
            raise forms.ValidationError(
                _("Printable ASCII characters alone, and in a token no spaces: paste it again as a whole.")
            )
        return given

    def _moved(self, url: str) -> bool:
        before, after = self.initial.get(url), self.cleaned_data.get(url)
        return bool(before) and _origin(before) != _origin(after or "")


def secret_state(endpoint: Any, name: str) -> str:
    """For those who may look at an endpoint, but not change it."""
    if WebhookEndpointCredential.has_secret(endpoint.pk, name):
        return str(KEPT)
    return pgettext("secret", "none")


def _origin(url: str) -> tuple[Any, ...]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port
    except ValueError:  # refused by the model, with its own words
        return ()
