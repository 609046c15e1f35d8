# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signing in to endpoints, against a partner's real token server: one token for many, renewed, refused, unreadable."""

import io
import threading
import time
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.utils import timezone
from pytest_httpserver import HTTPServer
from standardwebhooks import Webhook

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    SignIn,
    WebhookDeliveryAttempt,
    WebhookEndpointCredential,
    WebhookEndpointHealth,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import delivery
from channel_integrations.integrated_channel.services.doctor import Status, examine
from channel_integrations.integrated_channel.services.sign_in import sign_in_to
from channel_integrations.integrated_channel.services.test_event import send_test_event
from tests.factories import grade_event, make_customer, make_endpoint, make_learner
from tests.other_keys import written_with_another_key
from tests.token_server import CLIENT_ID, CLIENT_SECRET, Partner


@pytest.fixture(scope="module")
def server():
    with HTTPServer(threaded=True) as server:
        yield server


@pytest.fixture
def partner(server, settings):
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = True
    server.clear()
    return Partner(server)


def oauth_endpoint(partner, secret=CLIENT_SECRET, **fields):
    fields = {"sign_in": SignIn.OAUTH, "token_url": partner.token_url, "client_id": CLIENT_ID, **fields}
    endpoint = make_endpoint(make_customer(), partner.hook_url, **fields)
    WebhookEndpointCredential.keep(endpoint, secret)
    return endpoint


def make_due(endpoint, count=1):
    for _ in range(count):
        grade_event(make_learner(endpoint.enterprise_customer))


def again():
    """An hour later."""
    WebhookTransmissionQueue.objects.update(due_at=timezone.now())
    WebhookEndpointHealth.objects.update(breaker_open_until=None, paused_until=None, failures_in_a_row=0)


def rows():
    return list(WebhookTransmissionQueue.objects.order_by("pk"))


def attempts():
    return list(WebhookDeliveryAttempt.objects.order_by("pk").values_list("number", "status_code", "error_code"))


@pytest.mark.django_db
def test_a_bearer_token_is_shown_beside_the_signature(partner):
    endpoint = make_endpoint(make_customer(), partner.hook_url, sign_in=SignIn.BEARER)
    WebhookEndpointCredential.keep(endpoint, "given-by-hand")
    partner.valid.add("given-by-hand")
    make_due(endpoint)
    assert delivery.deliver_due() == 1
    ((request, _response),) = partner.server.log
    assert request.headers["Authorization"] == "Bearer given-by-hand"
    Webhook(endpoint.signing_secrets()[0]).verify(request.get_data(), dict(request.headers))
    assert partner.asked == []


@pytest.mark.django_db
def test_without_sign_in_nothing_is_shown(partner):
    endpoint = make_endpoint(make_customer(), partner.hook_url)
    EnterpriseWebhookConfiguration.objects.update(sign_in=None)  # as the release before writes it
    make_due(endpoint)
    delivery.deliver_due()
    assert partner.shown == [""]


@pytest.mark.django_db
@pytest.mark.parametrize("where", ["basic", "body", "json"])
def test_a_token_is_asked_for_once_and_shown_by_every_webhook(partner, where):
    endpoint = oauth_endpoint(partner, client_authentication=where, scope="hooks.write courses.read")
    make_due(endpoint, 5)
    delivery.deliver_due()
    make_due(endpoint)
    delivery.deliver_due()
    assert partner.shown == ["Bearer access-token-1"] * 6
    assert {row.status for row in rows()} == {WebhookStatus.DELIVERED}
    shown = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET} if where != "basic" else {}
    basic = [] if where != "basic" else [CLIENT_ID, CLIENT_SECRET]
    form = {"grant_type": "client_credentials", "scope": "hooks.write courses.read", **shown}
    assert partner.asked == [{"basic": basic, **form}]
    assert attempts() == [(1, 200, "")] * 6
    (hook, _response) = partner.server.log[-1]
    Webhook(endpoint.signing_secrets()[0]).verify(hook.get_data(), dict(hook.headers))


def work_until_all_is_delivered():
    done = time.monotonic() + 10
    try:
        while time.monotonic() < done and any(row.status != WebhookStatus.DELIVERED for row in rows()):
            delivery.deliver_due(1.0)
    finally:
        connections.close_all()


@pytest.mark.mariadb
def test_many_workers_ask_once_and_renew_once(committed_db, partner):
    endpoint = oauth_endpoint(partner)
    partner.seconds = 0.3
    for made in (1, 2):
        make_due(endpoint, 8)
        workers = [threading.Thread(target=work_until_all_is_delivered) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(partner.asked) == made
        assert partner.shown.count(f"Bearer access-token-{made}") == 8
        assert {(row.status, row.tries) for row in rows()} == {(WebhookStatus.DELIVERED, 1)}
        assert max(row.attempts_made for row in rows()) == made
        partner.revoke()


@pytest.mark.django_db
def test_a_slow_token_server_holds_up_its_own_endpoint_alone(partner):
    slow = oauth_endpoint(partner)
    plain = make_endpoint(make_customer(), partner.hook_url, sign_in=SignIn.BEARER)
    WebhookEndpointCredential.keep(plain, "given-by-hand")
    partner.valid.add("given-by-hand")
    partner.seconds = 1.0
    make_due(slow, 2)
    make_due(plain, 2)
    delivery.deliver_due()
    assert partner.shown == ["Bearer given-by-hand"] * 2 + ["Bearer access-token-1"] * 2


@pytest.mark.django_db
def test_others_go_on_while_the_attempt_that_has_asked_still_waits_for_its_answer(partner):
    endpoint = oauth_endpoint(partner)
    make_due(endpoint, 3)
    partner.hook_seconds = 0.5
    started = time.monotonic()
    delivery.deliver_due()
    assert len(partner.shown) == 3 and len(partner.asked) == 1
    assert time.monotonic() - started < 1.0


@pytest.mark.django_db
def test_a_token_is_renewed_shortly_before_it_expires(partner):
    endpoint = oauth_endpoint(partner)
    make_due(endpoint)
    before = timezone.now()
    delivery.deliver_due()
    kept = WebhookEndpointCredential.objects.get()
    assert timedelta(minutes=58) < kept.expires_at - before < timedelta(minutes=59, seconds=30)
    WebhookEndpointCredential.objects.update(expires_at=timezone.now())
    make_due(endpoint)
    delivery.deliver_due()
    assert partner.shown == ["Bearer access-token-1", "Bearer access-token-2"]


@pytest.mark.django_db
def test_a_token_that_lives_for_no_time_serves_one_attempt(partner):
    endpoint = oauth_endpoint(partner)
    partner.facts["expires_in"] = 0
    make_due(endpoint, 3)
    delivery.deliver_due()
    assert partner.shown == [f"Bearer access-token-{number}" for number in (1, 2, 3)]


@pytest.mark.django_db
def test_a_refused_token_is_renewed_once_and_at_once(partner):
    endpoint = oauth_endpoint(partner)
    make_due(endpoint)
    delivery.deliver_due()
    partner.revoke()
    make_due(endpoint, 3)
    delivery.deliver_due()
    assert len(partner.asked) == 2
    assert {(row.status, row.tries) for row in rows()} == {(WebhookStatus.DELIVERED, 1)}
    assert {row.attempts_made for row in rows()} == {1, 2}
    assert (1, 401, "") in attempts() and (2, 200, "") in attempts()
    health = WebhookEndpointHealth.objects.get()
    assert (health.failures, health.failures_in_a_row) == (0, 0)


@pytest.mark.django_db
def test_an_endpoint_that_takes_no_token_fails_as_any_other(partner):
    endpoint = oauth_endpoint(partner)
    partner.takes_none = True
    make_due(endpoint)
    delivery.deliver_due()
    (row,) = rows()
    assert (row.status, row.reason, row.tries, row.attempts_made) == (WebhookStatus.PENDING, "HTTP 401", 1, 2)
    assert attempts() == [(1, 401, ""), (2, 401, "")] and len(partner.asked) == 2
    assert row.due_at > timezone.now() + timedelta(seconds=1)
    health = WebhookEndpointHealth.objects.get()
    assert (health.failures, health.last_failure) == (1, "HTTP 401")


@pytest.mark.django_db
def test_a_failing_token_server_counts_like_a_failing_endpoint_and_loses_nothing(partner):
    endpoint = oauth_endpoint(partner)
    partner.status, partner.facts = 401, {"error": "invalid_client", "error_description": "client:1 is unknown"}
    make_due(endpoint)
    for _ in range(2):
        again()
        delivery.deliver_due()
    (row,) = rows()
    said = "sign_in: token server: HTTP 401 invalid_client"
    assert (row.status, row.tries, row.reason) == (WebhookStatus.PENDING, 2, said)
    assert attempts() == [(1, None, "sign_in"), (2, None, "sign_in")] and partner.shown == []
    assert WebhookEndpointHealth.objects.get().last_failure == said
    partner.status, partner.facts = 200, {}
    again()
    delivery.deliver_due()
    assert [row.status for row in rows()] == [WebhookStatus.DELIVERED]


@pytest.mark.django_db
def test_the_breaker_opens_on_a_failing_token_server(partner):
    endpoint = oauth_endpoint(partner)
    partner.status = 503
    make_due(endpoint, 12)
    delivery.deliver_due()
    assert WebhookEndpointHealth.objects.get().breaker_open_until > timezone.now()
    assert len(partner.asked) < 12 and partner.shown == []


@pytest.mark.django_db
def test_sign_in_and_webhook_share_the_time_of_the_attempt(partner):
    endpoint = oauth_endpoint(partner, webhook_timeout_seconds=1)
    partner.seconds = 3.0
    make_due(endpoint)
    started = time.monotonic()
    delivery.deliver_due()
    assert time.monotonic() - started < 2.0
    assert rows()[0].reason == "sign_in: token server: timeout"
    partner.seconds, partner.hook_seconds = 0.7, 0.7
    again()
    delivery.deliver_due()
    assert rows()[0].reason == "timeout"
    partner.seconds = partner.hook_seconds = 0.0
    again()
    delivery.deliver_due()
    assert rows()[0].status == WebhookStatus.DELIVERED and len(partner.asked) == 2


@pytest.mark.django_db
def test_a_worker_that_died_while_it_asked_blocks_nobody_for_long(partner):
    endpoint = oauth_endpoint(partner)
    make_due(endpoint)
    assert sign_in_to(endpoint).fetch_id
    assert delivery.deliver_due(0.5) == 0 and partner.asked == []
    WebhookEndpointCredential.objects.update(fetch_until=timezone.now())
    assert delivery.deliver_due() == 1 and len(partner.asked) == 1


@pytest.mark.django_db
def test_a_token_that_was_asked_for_with_the_former_secret_is_not_kept(partner):
    endpoint = oauth_endpoint(partner)
    request = sign_in_to(endpoint)
    request.within(5.0)
    WebhookEndpointCredential.keep(endpoint, "newer")
    request.settle()
    assert WebhookEndpointCredential.kept_token(endpoint.pk) is None
    assert WebhookEndpointCredential.secret_of(endpoint) == "newer"


@pytest.mark.django_db
def test_a_refused_token_does_not_take_its_successor_with_it(partner):
    endpoint = oauth_endpoint(partner)
    first, second = sign_in_to(endpoint), sign_in_to(endpoint, by_force=True)
    former = first.within(5.0)
    first.settle()
    assert WebhookEndpointCredential.kept_token(endpoint.pk) is None
    newer = second.within(5.0)
    second.settle()
    WebhookEndpointCredential.drop_token(endpoint.pk, former.token_id)
    assert sign_in_to(endpoint).token_id == newer.token_id


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [SignIn.BEARER, SignIn.OAUTH])
@pytest.mark.parametrize("missing", [True, False])
def test_a_secret_that_cannot_be_read_stops_its_endpoint_alone(partner, kind, missing, caplog):
    endpoint = oauth_endpoint(partner, sign_in=kind)
    make_due(endpoint)
    if missing:
        WebhookEndpointCredential.objects.all().delete()
    else:
        written_with_another_key(
            WebhookEndpointCredential, endpoint.pk, "bearer_token" if kind == SignIn.BEARER else "client_secret"
        )
    assert delivery.deliver_due() == 0
    (row,) = rows()
    assert (row.status, row.attempts_made) == (WebhookStatus.PENDING, 0)
    health = WebhookEndpointHealth.objects.get()
    assert health.paused_until > timezone.now() and health.last_failure == "sign-in secret cannot be read"
    assert "status=secret_unreadable" in caplog.text and "type it in" in caplog.text
    with pytest.raises(CommandError, match="type it in"):
        call_command("send_test_webhook", endpoint=endpoint.pk, stdout=io.StringIO())
    WebhookEndpointCredential.keep(endpoint, "given-by-hand")
    partner.valid.add("given-by-hand")
    again()
    assert delivery.deliver_due() == 1


@pytest.mark.django_db
def test_an_access_token_that_cannot_be_read_is_asked_for_anew(partner):
    endpoint = oauth_endpoint(partner)
    make_due(endpoint)
    delivery.deliver_due()
    written_with_another_key(WebhookEndpointCredential, endpoint.pk, "access_token")
    make_due(endpoint)
    delivery.deliver_due()
    assert partner.shown == ["Bearer access-token-1", "Bearer access-token-2"]


@pytest.mark.django_db
def test_a_test_event_signs_in_and_renews_a_refused_token(partner):
    endpoint = oauth_endpoint(partner)
    assert send_test_event(endpoint).answer.status == 200
    partner.revoke()
    assert send_test_event(endpoint).answer.status == 200
    assert partner.shown == ["Bearer access-token-1"] * 2 + ["Bearer access-token-2"]
    make_due(endpoint)
    delivery.deliver_due()
    assert len(partner.asked) == 2
    partner.status = 500
    WebhookEndpointCredential.objects.update(expires_at=None)
    result = send_test_event(endpoint)
    assert (result.answer, result.error, result.detail) == (None, "sign_in", "token server: HTTP 500")


def doctor_on(endpoint):
    return [found for found in examine(only=["endpoints"]) if found.check == f"endpoint {endpoint.pk}"]


def test_the_doctor_asks_for_a_token_and_keeps_it(committed_db, partner):
    endpoint = oauth_endpoint(partner)
    (found,) = doctor_on(endpoint)
    assert found.status is Status.OK and "an access token can be had" in found.fact
    make_due(endpoint)
    delivery.deliver_due()
    assert (len(partner.asked), partner.shown) == (1, ["Bearer access-token-1"])
    partner.status, partner.facts = 401, {"error": "invalid_client"}
    (found,) = doctor_on(endpoint)
    assert found.status is Status.PROBLEM and "token server: HTTP 401 invalid_client" in found.fact
    assert "client id, secret and scope" in found.advice
    partner.status, partner.facts = 200, {}
    EnterpriseWebhookConfiguration.objects.update(webhook_timeout_seconds=1)
    partner.seconds = 2.0
    (found,) = doctor_on(endpoint)
    assert found.status is Status.PROBLEM and "token server: timeout" in found.fact
    written_with_another_key(WebhookEndpointCredential, endpoint.pk, "client_secret")
    (found,) = doctor_on(endpoint)
    assert found.status is Status.PROBLEM and "FERNET_KEYS" in found.fact


@pytest.mark.django_db
def test_the_command_and_the_story_of_a_webhook_say_why(partner):
    endpoint = oauth_endpoint(partner)
    partner.status, partner.facts = 401, {"error": "invalid_client"}
    out = io.StringIO()
    with pytest.raises(CommandError, match="the token server that did not give us"):
        call_command("send_test_webhook", endpoint=endpoint.pk, stdout=out)
    assert "no answer (sign_in: token server: HTTP 401 invalid_client)" in out.getvalue()
    make_due(endpoint)
    delivery.deliver_due()
    out = io.StringIO()
    (row,), customer = rows(), endpoint.enterprise_customer
    whose = {"learner": str(row.user_id), "customer": customer.slug, "course": row.course_id}
    call_command("webhook_explain", **whose, stdout=out)
    assert "token server: HTTP 401 invalid_client" in out.getvalue()


@pytest.mark.django_db
def test_nothing_secret_is_kept_readable_or_logged(partner, caplog):
    caplog.set_level("DEBUG")
    endpoint = oauth_endpoint(partner)
    make_due(endpoint)
    delivery.deliver_due()
    partner.status, partner.facts = 400, {"error": CLIENT_SECRET}
    WebhookEndpointCredential.objects.update(expires_at=None)
    make_due(endpoint)
    delivery.deliver_due()
    credential = WebhookEndpointCredential.objects.get()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {WebhookEndpointCredential._meta.db_table}")
        stored = b"|".join(bytes(value) for value in cursor.fetchone() if isinstance(value, bytes | memoryview))
    kept = [
        str(value) for table in (WebhookDeliveryAttempt, WebhookTransmissionQueue) for value in table.objects.values()
    ]
    shown = sign_in_to(endpoint, by_force=True)
    told = "\n".join([caplog.text, *kept, repr(shown), repr(credential), str(credential), stored.decode("latin-1")])
    assert stored.startswith(b"gAAAA") and "source=webhook_sign_in status=failure" in caplog.text
    for secret in (CLIENT_SECRET, "access-token-1"):
        assert secret not in told


@pytest.mark.django_db
def test_what_a_deleted_endpoint_signed_in_with_is_deleted(partner):
    oauth_endpoint(partner).delete()
    assert not WebhookEndpointCredential.objects.exists()
