# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every secret is written anew, so that a key can be taken out of FERNET_KEYS."""

import io
import json
import re
import threading
import time
import uuid
from datetime import timedelta

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.utils import timezone
from fernet_fields import EncryptedField

from channel_integrations.integrated_channel.models import (
    SignIn,
    WebhookDisclosure,
    WebhookEndpointCredential,
    WebhookPseudonymKey,
    WebhookSigningSecret,
)
from channel_integrations.integrated_channel.services import reencryption
from channel_integrations.integrated_channel.services.reencryption import reencrypt
from tests.factories import make_customer, make_endpoint
from tests.other_keys import written_with_another_key

ENCRYPTED = (
    (WebhookSigningSecret, "secret"),
    (WebhookEndpointCredential, "bearer_token"),
    (WebhookEndpointCredential, "client_secret"),
    (WebhookEndpointCredential, "access_token"),
    (WebhookPseudonymKey, "key"),
    (WebhookDisclosure, "identifier"),
)


@pytest.fixture
def endpoints():
    """Of one customer: with a bearer token, and with a client secret."""
    customer = make_customer("Acme")
    bearer = make_endpoint(customer, "https://one.example.com/hook", region="US", sign_in=SignIn.BEARER)
    oauth = make_endpoint(customer, "https://two.example.com/hook", sign_in=SignIn.OAUTH)
    WebhookEndpointCredential.keep(bearer, "the bearer token")
    WebhookEndpointCredential.keep(oauth, "the client secret")
    return bearer, oauth


def told_of(endpoint, identifier):
    """A line of the register: the endpoint knows some learner so."""
    now = timezone.now()
    return WebhookDisclosure.objects.create(
        webhook_id=uuid.uuid4(),
        event_type="course_completion",
        enterprise_customer_uuid=endpoint.enterprise_customer_id,
        endpoint_id=endpoint.pk,
        host="one.example.com",
        user_id=7,
        first_at=now,
        last_at=now,
        identifier=identifier,
    )


@pytest.fixture
def site_keys(settings):
    """``site_keys("new", "former")`` sets the site's; fields, which remember them, read them anew."""

    def forget():
        for model, column in ENCRYPTED:
            for name in ("keys", "fernet_keys", "fernet"):
                model._meta.get_field(column).__dict__.pop(name, None)

    def change(*keys):
        settings.FERNET_KEYS = list(keys)
        forget()

    yield change
    forget()


def secrets_of(endpoints):
    """All that must outlive a change of keys."""
    bearer, oauth = endpoints
    credential = WebhookEndpointCredential.secret_of
    signing = [endpoint.signing_secrets() for endpoint in endpoints]
    return signing, credential(bearer), credential(oauth), WebhookPseudonymKey.of([bearer.enterprise_customer_id])


def run(*args):
    out = io.StringIO()
    call_command("reencrypt_webhook_secrets", *args, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_then_the_former_key_can_be_taken_out(endpoints, site_keys):
    site_keys("former")
    WebhookSigningSecret.objects.all().delete()
    for endpoint in endpoints:
        WebhookSigningSecret.rotate(endpoint)
    WebhookEndpointCredential.keep(endpoints[0], "the bearer token")
    WebhookEndpointCredential.keep(endpoints[1], "the client secret")
    told = [told_of(endpoints[0], identifier).pk for identifier in ("maria", None, "ben")]
    before = secrets_of(endpoints)
    site_keys("new", "former")
    assert run() == (
        "7 secrets encrypted anew with the first key (signing secret: 2, bearer token: 1, client secret: 1, "
        "pseudonym key: 1, learner's identifier in the register: 2).\n"
    )
    site_keys("new")
    assert secrets_of(endpoints) == before
    assert list(WebhookDisclosure.identifiers(told)) == [(told[0], "maria"), (told[1], ""), (told[2], "ben")]


@pytest.mark.django_db
def test_access_tokens_are_asked_for_anew(endpoints):
    theirs = WebhookEndpointCredential.objects.filter(pk=endpoints[1].pk)
    theirs.update(access_token="a", access_token_id=uuid.uuid4(), expires_at=timezone.now() + timedelta(hours=1))
    written_with_another_key(WebhookEndpointCredential, endpoints[1].pk, "access_token")
    reencrypt()
    assert WebhookEndpointCredential.kept_token(endpoints[1].pk) is None
    assert theirs.values_list("access_token", "access_token_id", "expires_at").get() == (None, None, None)


@pytest.mark.django_db
def test_more_than_a_page(endpoints, monkeypatch):
    monkeypatch.setattr(reencryption, "PAGE", 2)
    for number in range(5):
        told_of(endpoints[0], f"learner {number}")
    assert reencrypt().written["learner's identifier in the register"] == 5


def test_no_encrypted_column_is_forgotten():
    """An access token is asked for anew."""
    there = {
        (model, field.name)
        for model in apps.get_app_config("channel_webhooks").get_models()
        for field in model._meta.concrete_fields
        if isinstance(field, EncryptedField)
    }
    covered = {(column.model, column.name) for column in reencryption.COLUMNS}
    assert there == covered | {(WebhookEndpointCredential, "access_token")} == set(ENCRYPTED)


@pytest.mark.django_db
def test_what_is_lost_is_named_and_the_rest_is_written(endpoints):
    bearer, oauth = endpoints
    before = secrets_of(endpoints)
    written_with_another_key(WebhookEndpointCredential, bearer.pk, "bearer_token")
    written_with_another_key(WebhookSigningSecret, WebhookSigningSecret.objects.get(endpoint=bearer).pk, "secret")
    found = reencrypt()
    assert dict(found.written) == {"signing secret": 1, "client secret": 1, "pseudonym key": 1}
    assert dict(found.unreadable) == {
        ("signing secret", f"endpoint {bearer.pk}"): 1,
        ("bearer token", f"endpoint {bearer.pk}"): 1,
    }
    assert oauth.signing_secrets() == before[0][1]
    assert WebhookEndpointCredential.secret_of(oauth) == "the client secret"
    for _ in range(2):
        written_with_another_key(WebhookDisclosure, told_of(oauth, "maria").pk, "identifier")
    one, two = f"endpoint {bearer.pk}", f"endpoint {oauth.pk}"
    names = f"signing secret of {one}, bearer token of {one}, learner's identifier in the register of {two}"
    out = io.StringIO()
    with pytest.raises(CommandError, match=re.escape(f"as they were: {names} (2).")):
        call_command("reencrypt_webhook_secrets", "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert told["unreadable"][0] == {"what": "signing secret", "of": one, "count": 1}
    assert told["written"] == {"signing secret": 1, "client secret": 1, "pseudonym key": 1}


@pytest.mark.django_db
def test_a_lost_secret_that_was_replaced_a_day_ago_is_deleted(endpoints):
    lost = WebhookSigningSecret.objects.get(endpoint=endpoints[0])
    new = WebhookSigningSecret.rotate(endpoints[0])
    written_with_another_key(WebhookSigningSecret, lost.pk, "secret")
    WebhookSigningSecret.objects.filter(pk=lost.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert not reencrypt().unreadable
    assert endpoints[0].signing_secrets() == [new] and not WebhookSigningSecret.objects.filter(pk=lost.pk).exists()


@pytest.mark.mariadb
def test_what_somebody_types_in_meanwhile_stays(committed_db, endpoints):
    def write_anew():
        try:
            reencrypt()
        finally:
            connections.close_all()

    oauth = endpoints[1]
    thread = threading.Thread(target=write_anew)
    with transaction.atomic():
        WebhookEndpointCredential.keep(oauth, "another client secret")
        thread.start()
        time.sleep(1)
        assert thread.is_alive(), "it waits for whoever saves the endpoint"
    thread.join(30)
    assert not thread.is_alive()
    assert WebhookEndpointCredential.secret_of(oauth) == "another client secret"
