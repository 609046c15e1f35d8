# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an endpoint's webhooks are signed with."""

from datetime import timedelta

from cryptography.fernet import InvalidToken
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from fernet_fields import EncryptedTextField

from channel_integrations.integrated_channel.exceptions import SecretUnreadable
from channel_integrations.integrated_channel.models.endpoint import EnterpriseWebhookConfiguration
from channel_integrations.integrated_channel.signing import Kind, generate_secret, kind_of, public_key

#: how long a secret that was replaced goes on signing beside the new one
ROTATION_OVERLAP = timedelta(hours=24)
#: signatures in one header at most: the current secret's, and those of the latest that it replaced
MAX_SECRETS = 10


class WebhookSigningSecret(models.Model):
    """
    One secret of one endpoint, encrypted with the site's FERNET_KEYS (or, without those, its SECRET_KEY).

    .. no_pii:
    """

    endpoint = models.ForeignKey(
        EnterpriseWebhookConfiguration, on_delete=models.CASCADE, db_constraint=False, related_name="secrets"
    )
    secret = EncryptedTextField(editable=False)
    created = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, help_text=_("Empty for the current secret."))

    class Meta:
        app_label = "channel_webhooks"
        verbose_name = _("signing secret")

    def __str__(self) -> str:
        return f"secret {self.pk} of endpoint {self.endpoint_id}"

    @classmethod
    def rotate(cls, endpoint: EnterpriseWebhookConfiguration, kind: Kind | None = None) -> str:
        """
        Give the endpoint a new secret and return what the partner verifies with: the secret itself, the only time that
        it is shown, or a public key.

        What it replaces signs beside it for ``ROTATION_OVERLAP``; what has expired is deleted.

        :param kind: None for that of the current secret
        :raises SecretUnreadable: no kind is given, and that of the current secret cannot be told
        :raises EnterpriseWebhookConfiguration.DoesNotExist: the endpoint has been deleted meanwhile
        """
        now, secret = timezone.now(), generate_secret(kind or cls.kind_of(endpoint))
        theirs = cls.objects.filter(endpoint_id=endpoint.pk)
        with transaction.atomic():
            # Locked, so that a deletion either finds the new secret or is found here.
            if not EnterpriseWebhookConfiguration.objects.filter(pk=endpoint.pk).update(modified=now):
                raise EnterpriseWebhookConfiguration.DoesNotExist(f"endpoint {endpoint.pk} has been deleted")
            theirs.filter(expires_at=None).update(expires_at=now + ROTATION_OVERLAP)
            theirs.filter(expires_at__lte=now).delete()
            cls.objects.create(endpoint_id=endpoint.pk, secret=secret, created=now)
        return public_key(secret) or secret

    @classmethod
    def kind_of(cls, endpoint: EnterpriseWebhookConfiguration) -> Kind:
        """
        What the endpoint's current secret signs with; HMAC where there is none.

        :raises SecretUnreadable: as ``of``
        """
        secrets = cls.of(endpoint)
        return kind_of(secrets[0]) if secrets else Kind.HMAC

    @classmethod
    def has_former(cls, endpoint: EnterpriseWebhookConfiguration) -> bool:
        """Whether one that was replaced signs beside the current one."""
        return len(cls.of(endpoint)) > 1

    @classmethod
    def of(cls, endpoint: EnterpriseWebhookConfiguration) -> list[str]:
        """
        The secrets that sign now, the current one first.

        :raises SecretUnreadable: the site's keys have changed since the secret was written
        """
        valid = cls.objects.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), endpoint_id=endpoint.pk)
        pks = list(valid.order_by("-created", "-pk").values_list("pk", flat=True)[:MAX_SECRETS])
        secrets: list[str] = []
        try:
            for pk in pks:
                secrets.append(cls.objects.get(pk=pk).secret)
        except InvalidToken as err:
            if secrets:  # A former one, which the current one has replaced for this very reason.
                return secrets
            raise SecretUnreadable(
                f"The signing secret of endpoint {endpoint.pk} was encrypted with another key: put the former "
                "SECRET_KEY at the end of FERNET_KEYS, or rotate the endpoint's secret"
            ) from err
        return secrets


def give_first_secret(sender, instance: EnterpriseWebhookConfiguration, created: bool, raw: bool, **kwargs) -> None:
    """Nothing goes out unsigned: every endpoint has a secret from its first moment."""
    if created and not raw:
        WebhookSigningSecret.rotate(instance)


def delete_secrets_of_deleted_endpoint(sender, instance: EnterpriseWebhookConfiguration, **kwargs) -> None:
    """Once more, now that the row is locked and gone: a rotation may have come in after Django collected them."""
    secrets = WebhookSigningSecret.objects.filter(endpoint_id=instance.pk)
    secrets.filter(pk__in=list(secrets.values_list("pk", flat=True))).delete()
