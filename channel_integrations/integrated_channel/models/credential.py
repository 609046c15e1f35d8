# SPDX-License-Identifier: AGPL-3.0-or-later
"""What we sign in to an endpoint with, and the access token that this has got us."""

import uuid
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from cryptography.fernet import InvalidToken
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from fernet_fields import EncryptedTextField

from channel_integrations.integrated_channel.exceptions import SecretUnreadable
from channel_integrations.integrated_channel.models.endpoint import EnterpriseWebhookConfiguration
from channel_integrations.integrated_channel.models.endpoint_choices import SignIn

#: the secret of each choice
SECRET_OF = {SignIn.BEARER: "bearer_token", SignIn.OAUTH: "client_secret"}
#: how each is called in messages
_IN_WORDS = {"bearer_token": "bearer token", "client_secret": "client secret"}


class KeptToken(NamedTuple):
    """An access token that may be used; the id tells it from those before and after it."""

    value: str
    id: uuid.UUID
    expires_at: datetime


class WebhookEndpointCredential(models.Model):
    """
    The sign-in secrets of one endpoint, encrypted as its signing secrets are.

    An access token is a secret like any other, hence it is here and not in the cache. ``fetch_id`` is a lease: whoever
    has it asks the token server, for all workers; what comes back is kept under its id.

    .. no_pii:
    """

    endpoint = models.OneToOneField(
        EnterpriseWebhookConfiguration,
        on_delete=models.CASCADE,
        db_constraint=False,
        primary_key=True,
        related_name="credential",
    )
    bearer_token = EncryptedTextField(null=True, editable=False)
    client_secret = EncryptedTextField(null=True, editable=False)
    access_token = EncryptedTextField(null=True, editable=False)
    access_token_id = models.UUIDField(null=True, editable=False)
    expires_at = models.DateTimeField(
        null=True, help_text=_("Until when the access token is used: shortly before the token server lets it expire.")
    )
    fetch_id = models.UUIDField(null=True, editable=False)
    fetch_until = models.DateTimeField(null=True)

    class Meta:
        app_label = "channel_webhooks"
        verbose_name = _("endpoint credential")

    def __str__(self) -> str:
        return f"credential of endpoint {self.endpoint_id}"

    @classmethod
    def keep(cls, endpoint: EnterpriseWebhookConfiguration, secret: str = "") -> None:
        """
        Keep the secret of the endpoint's choice (the one that is there, where none is given), and nothing else.

        What has been got with the former ones is forgotten, even if it is still on its way.
        """
        mine = SECRET_OF.get(endpoint.sign_in or SignIn.NONE)
        changes: dict[str, Any] = {name: None for name in SECRET_OF.values() if name != mine}
        if mine and secret:
            changes[mine] = secret
        nothing = dict.fromkeys(("access_token", "access_token_id", "expires_at", "fetch_id", "fetch_until"))
        changed = cls.objects.filter(pk=endpoint.pk).update(**changes, **nothing)
        if mine and not changed:  # The first of this endpoint.
            cls.objects.create(pk=endpoint.pk, **changes)

    @classmethod
    def has_secret(cls, endpoint_id: int | None, name: str) -> bool:
        """Whether there is one, readable or not."""
        return cls.objects.filter(pk=endpoint_id, **{f"{name}__isnull": False}).exists()

    @classmethod
    def secret_of(cls, endpoint: EnterpriseWebhookConfiguration) -> str:
        """
        The secret of the endpoint's choice.

        :raises SecretUnreadable: there is none, or the site's keys have changed since it was written
        """
        name = SECRET_OF[SignIn(endpoint.sign_in)]
        try:
            secret = cls.objects.filter(pk=endpoint.pk).values_list(name, flat=True).first()
        except InvalidToken as err:
            raise SecretUnreadable(
                f"The {_IN_WORDS[name]} of endpoint {endpoint.pk} was encrypted with another key: put the former "
                "SECRET_KEY at the end of FERNET_KEYS, or type it in again on the endpoint's page"
            ) from err
        if not secret:
            raise SecretUnreadable(
                f"Endpoint {endpoint.pk} has no {_IN_WORDS[name]}: type it in on the endpoint's page in the admin"
            )
        return secret

    @classmethod
    def kept_token(cls, endpoint_id: int) -> KeptToken | None:
        """The access token, while it may be used; one that cannot be read is asked for anew."""
        usable = cls.objects.filter(pk=endpoint_id, expires_at__gt=timezone.now(), access_token__isnull=False)
        try:
            found = usable.values_list("access_token", "access_token_id", "expires_at").first()
        except InvalidToken:
            return None
        return KeptToken(*found) if found else None

    @classmethod
    def lease_fetch(cls, endpoint_id: int, duration: timedelta, by_force: bool = False) -> uuid.UUID | None:
        """
        The right to ask the token server, for so long; None while another worker has it.

        :param by_force: take it away from whoever has it; what that one gets is then used, but not kept
        """
        now, fetch_id = timezone.now(), uuid.uuid4()
        mine = cls.objects.filter(pk=endpoint_id)
        if not by_force:
            mine = mine.filter(models.Q(fetch_id=None) | models.Q(fetch_until__lte=now))
        return fetch_id if mine.update(fetch_id=fetch_id, fetch_until=now + duration) else None

    @classmethod
    def end_fetch(cls, endpoint_id: int, fetch_id: uuid.UUID, **kept: Any) -> None:
        """Give the right back, and keep what it has got; nothing happens where it was lost."""
        mine = cls.objects.filter(pk=endpoint_id, fetch_id=fetch_id)
        mine.update(fetch_id=None, fetch_until=None, **kept)

    @classmethod
    def keep_token(cls, endpoint_id: int, token: KeptToken) -> None:
        """Keep what a fetch has got, under its id."""
        kept = {"access_token": token.value, "access_token_id": token.id, "expires_at": token.expires_at}
        cls.end_fetch(endpoint_id, token.id, **kept)

    @classmethod
    def drop_token(cls, endpoint_id: int, token_id: uuid.UUID) -> None:
        """Forget a token that the endpoint has refused; one that has replaced it stays."""
        refused = cls.objects.filter(pk=endpoint_id, access_token_id=token_id)
        refused.update(access_token=None, access_token_id=None, expires_at=None)
