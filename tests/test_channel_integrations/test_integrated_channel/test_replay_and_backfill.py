# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is sent again, what is sent belatedly, and test events: by command, as an operator does it."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from consent.models import DataSharingConsent
from django.core.management import CommandError, call_command
from django.utils import timezone
from social_django.models import UserSocialAuth
from standardwebhooks import Webhook, WebhookVerificationError

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookSigningSecret,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import delivery
from docs.partners.verify_v1a import verify as verify_v1a
from tests.factories import COURSE, give_consent, grade_event, make_endpoint, make_learner, write_grade

pytestmark = pytest.mark.django_db


def run(command, *arguments):
    """What a command prints."""
    out = StringIO()
    call_command(command, *map(str, arguments), stdout=out)
    return out.getvalue()


@pytest.fixture
def delivered(endpoint, receiver):
    """Three webhooks that Acme has had."""
    for _ in range(3):
        grade_event(make_learner(endpoint.enterprise_customer))
    delivery.deliver_due()
    webhooks = list(WebhookTransmissionQueue.objects.order_by("pk"))
    assert {webhook.status for webhook in webhooks} == {WebhookStatus.DELIVERED}
    return webhooks


def make_all_due():
    WebhookTransmissionQueue.objects.filter(status=WebhookStatus.RECORDED).update(due_at=timezone.now())


def test_a_replay_sends_the_same_bytes_under_the_same_id(delivered, receiver):
    one = delivered[1]
    assert "1 webhooks are being replayed" in run("replay_webhooks", one.webhook_id)
    delivery.deliver_due()
    first = next(r for r, _ in receiver.log if r.headers["webhook-id"] == str(one.webhook_id))
    again = receiver.log[-1][0]
    assert len(receiver.log) == 4
    assert again.headers["webhook-id"] == first.headers["webhook-id"]
    assert again.get_data() == first.get_data()
    one.refresh_from_db()
    assert (one.status, one.attempts_made, one.tries) == (WebhookStatus.DELIVERED, 2, 1)
    assert list(one.attempts.order_by("pk").values_list("number", flat=True)) == [1, 2]


def test_a_dry_run_counts_and_does_nothing(delivered, endpoint):
    said = run("replay_webhooks", "--endpoint", endpoint.pk, "--dry-run")
    assert "3  delivered, endpoint" in said and "3 webhooks would be replayed" in said
    assert not WebhookTransmissionQueue.objects.exclude(status=WebhookStatus.DELIVERED).exists()


def test_a_replay_is_spread_over_time(delivered, endpoint):
    run("replay_webhooks", "--endpoint", endpoint.pk, "--per-minute", 2)
    due = list(WebhookTransmissionQueue.objects.order_by("pk").values_list("due_at", flat=True))
    assert [due[1] - due[0], due[2] - due[1]] == [timedelta(seconds=30)] * 2
    assert delivery.deliver_due() == 1


def test_a_replay_has_the_whole_schedule_before_it(endpoint, receiver):
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("no", status=422)
    grade_event(make_learner(endpoint.enterprise_customer))
    delivery.deliver_due()
    assert WebhookTransmissionQueue.objects.get().status == WebhookStatus.FAILED
    WebhookTransmissionQueue.objects.update(attempts_made=10, tries=10)
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("no", status=500)
    run("replay_webhooks", "--outcome", "failed")
    delivery.deliver_due()
    webhook = WebhookTransmissionQueue.objects.get()
    assert (webhook.status, webhook.attempts_made, webhook.tries) == (WebhookStatus.PENDING, 11, 1)


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["--since", "2026-01-01"], 3),
        (["--until", "2026-01-01"], 0),
        (["--outcome", "failed"], 0),
        (["--outcome", "failed", "--outcome", "delivered"], 3),
    ],
)
def test_a_range_is_narrowed_by_each_argument(delivered, arguments, count):
    assert f"{count} webhooks would be replayed" in run("replay_webhooks", *arguments, "--dry-run")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "Say which"),
        (["--endpoint", "999"], r"There is no endpoint 999. There are:\n    \d+  Acme, OTHER"),
        (["--since", "yesterday"], "type a date"),
        (["--since", "2026-13-40"], "type a date"),
        (["--outcome", "failed", "--per-minute", "0"], "from 1 to 6000"),
        (["--outcome", "parked"], "invalid choice"),
        (["no-uuid"], "invalid UUID"),
    ],
)
def test_a_replay_that_makes_no_sense_says_what_to_type(endpoint, arguments, text):
    with pytest.raises(CommandError, match=text):
        run("replay_webhooks", *arguments)


def test_what_is_on_its_way_is_not_replayed(endpoint):
    grade_event(make_learner(endpoint.enterprise_customer))
    webhook = WebhookTransmissionQueue.objects.get()
    assert "0 webhooks are being replayed" in run("replay_webhooks", webhook.webhook_id)


def test_consent_withdrawn_before_the_replay(endpoint, receiver):
    customer = endpoint.enterprise_customer
    customer.enable_data_sharing_consent = True
    customer.save()
    learner = make_learner(customer)
    give_consent(customer, learner)
    grade_event(learner)
    delivery.deliver_due()
    DataSharingConsent.objects.update(granted=False)
    run("replay_webhooks", "--endpoint", endpoint.pk)
    delivery.deliver_due()
    webhook = WebhookTransmissionQueue.objects.get()
    assert (webhook.status, webhook.reason) == (WebhookStatus.CANCELLED, "no data-sharing consent")
    assert len(receiver.log) == 1


def test_what_had_no_endpoint_is_replayed_to_the_new_one(endpoint, receiver):
    learner = make_learner(endpoint.enterprise_customer)
    UserSocialAuth.objects.create(user=learner, provider="saml", uid="1", extra_data={"country": "DE"})
    grade_event(learner)
    delivery.deliver_due()
    assert WebhookTransmissionQueue.objects.get().status == WebhookStatus.NO_ENDPOINT
    make_endpoint(endpoint.enterprise_customer, receiver.url_for("/hook"), region="EU")
    run("replay_webhooks", "--outcome", "no_endpoint")
    delivery.deliver_due()
    assert WebhookTransmissionQueue.objects.get().status == WebhookStatus.DELIVERED


def test_a_replay_to_an_endpoint_that_is_gone(delivered, endpoint):
    EnterpriseWebhookConfiguration.objects.all().delete()
    make_endpoint(endpoint.enterprise_customer, "https://other.example.com/")
    run("replay_webhooks", "--outcome", "delivered")
    make_all_due()
    delivery.deliver_due()
    assert set(WebhookTransmissionQueue.objects.values_list("status", "reason")) == {("cancelled", "endpoint deleted")}


@pytest.fixture
def last_year(endpoint):
    """A learner who passed before the endpoint's send_from."""
    learner = make_learner(endpoint.enterprise_customer)
    passed_at = timezone.now() - timedelta(days=20)
    EnterpriseWebhookConfiguration.objects.update(send_from=timezone.now() - timedelta(days=1))
    write_grade(learner, passed_at=passed_at)
    grade_event(learner, passed_at=passed_at)
    assert not WebhookTransmissionQueue.objects.exists()
    return learner


def since(days=25):
    return (timezone.now() - timedelta(days=days)).date().isoformat()


def test_a_backfill_sends_what_nothing_else_sends(endpoint, last_year, receiver):
    assert "1 webhooks would be made" in run(
        "backfill_webhooks", "--endpoint", endpoint.pk, "--since", since(), "--dry-run"
    )
    assert not WebhookTransmissionQueue.objects.exists()
    assert "1 webhooks made" in run("backfill_webhooks", "--endpoint", endpoint.pk, "--since", since())
    delivery.deliver_due()
    webhook = WebhookTransmissionQueue.objects.get()
    assert (webhook.status, webhook.backfilled) == (WebhookStatus.DELIVERED, True)
    assert json.loads(receiver.log[0][0].get_data())["learner"]["user_id"] == last_year.id
    assert "0 webhooks made" in run("backfill_webhooks", "--endpoint", endpoint.pk, "--since", since())


def test_a_backfill_does_not_repeat_what_was_purged(endpoint, last_year, receiver):
    run("backfill_webhooks", "--endpoint", endpoint.pk, "--since", since())
    delivery.deliver_due()
    run("purge_webhooks", "--older-than", 0)
    assert "0 webhooks made" in run("backfill_webhooks", "--endpoint", endpoint.pk, "--since", since())


def test_a_backfill_is_spread_over_time_lookups_included(endpoint, last_year, settings):
    settings.FEATURES = {**settings.FEATURES, "ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT": True}
    write_grade(make_learner(endpoint.enterprise_customer), passed_at=timezone.now() - timedelta(days=19))
    run("backfill_webhooks", "--endpoint", endpoint.pk, "--since", since(), "--per-minute", 1)
    first, second = WebhookTransmissionQueue.objects.order_by("due_at")
    assert second.due_at - first.due_at == timedelta(minutes=1)
    assert first.enrich_by - first.due_at == second.enrich_by - second.due_at == timedelta(minutes=10)


@pytest.mark.parametrize(
    "reason", ["not sponsored", "no consent", "linked later", "another region", "before since", "enrolments only"]
)
def test_a_backfill_keeps_to_everything_but_send_from(endpoint, last_year, reason):
    customer, days = endpoint.enterprise_customer, 25
    if reason == "not sponsored":
        customer.enterprise_customer_users.get().enterprise_enrollments.all().delete()
    elif reason == "no consent":
        customer.enable_data_sharing_consent = True
        customer.save()
    elif reason == "linked later":
        customer.enterprise_customer_users.update(created=timezone.now() - timedelta(days=2))
    elif reason == "another region":
        UserSocialAuth.objects.create(user=last_year, provider="saml", uid="1", extra_data={"country": "FR"})
    elif reason == "enrolments only":
        customer.webhook_endpoints.update(sends_completions=False, sends_enrollments=True)
    else:
        days = 19
    assert "0 webhooks made" in run("backfill_webhooks", "--endpoint", endpoint.pk, "--since", since(days))


@pytest.mark.parametrize(
    ("prepare", "text"),
    [
        (lambda settings: EnterpriseWebhookConfiguration.objects.update(active=False), "switched off"),
        (lambda settings: setattr(settings, "CHANNEL_WEBHOOKS_GRADE_SOURCE", None), "no grades to read"),
    ],
)
def test_a_backfill_that_cannot_be_says_why(endpoint, settings, prepare, text):
    prepare(settings)
    with pytest.raises(CommandError, match=text):
        run("backfill_webhooks", "--endpoint", endpoint.pk, "--since", since())


def test_a_test_event_is_signed_marked_and_shown_at_once(endpoint, receiver):
    EnterpriseWebhookConfiguration.objects.update(active=False)
    said = run("send_test_webhook", "--endpoint", endpoint.pk)
    assert "HTTP 200 after" in said and "ok" in said
    (request, _) = receiver.log[0]
    event = Webhook(endpoint.signing_secrets()[0]).verify(request.get_data(), dict(request.headers))
    assert (event["event_type"], event["test"]) == ("test", True)
    assert "learner" not in event
    assert not WebhookTransmissionQueue.objects.exists()


@pytest.mark.parametrize(("status", "text"), [(500, "did not take it"), (302, "did not take it")])
def test_a_test_event_that_is_not_taken(endpoint, receiver, status, text):
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("no", status=status)
    with pytest.raises(CommandError, match=text):
        run("send_test_webhook", "--endpoint", endpoint.pk)


def test_a_test_event_without_an_answer(endpoint):
    EnterpriseWebhookConfiguration.objects.update(webhook_url="http://127.0.0.1:9/")
    out = StringIO()
    with pytest.raises(CommandError, match="webhook_doctor --only endpoints"):
        call_command("send_test_webhook", endpoint=endpoint.pk, stdout=out)
    assert "http://127.0.0.1:9/: no answer (connection) after" in out.getvalue()


def test_a_rotated_secret_signs_beside_the_former_one_for_a_day(endpoint, receiver):
    former = endpoint.signing_secrets()
    new = run("rotate_webhook_secret", "--endpoint", endpoint.pk).strip()
    assert endpoint.signing_secrets() == [new, *former]
    run("send_test_webhook", "--endpoint", endpoint.pk)
    for secret in (new, *former):
        Webhook(secret).verify(receiver.log[0][0].get_data(), dict(receiver.log[0][0].headers))
    WebhookSigningSecret.objects.exclude(expires_at=None).update(expires_at=timezone.now())
    assert endpoint.signing_secrets() == [new]
    run("rotate_webhook_secret", "--endpoint", endpoint.pk)
    assert WebhookSigningSecret.objects.count() == 2, "what has expired is deleted"


def test_a_partner_moves_from_a_secret_to_a_public_key_without_a_gap(endpoint, receiver):
    (former,) = endpoint.signing_secrets()
    new = run("rotate_webhook_secret", "--endpoint", endpoint.pk, "--kind", "ed25519").strip()
    run("send_test_webhook", "--endpoint", endpoint.pk)
    WebhookSigningSecret.objects.exclude(expires_at=None).update(expires_at=timezone.now())
    run("send_test_webhook", "--endpoint", endpoint.pk)
    overlap, afterwards = (request for request, _ in receiver.log)
    Webhook(former).verify(overlap.get_data(), dict(overlap.headers))
    for request in (overlap, afterwards):
        verify_v1a(new, request.headers, request.get_data())
    with pytest.raises(WebhookVerificationError):
        Webhook(former).verify(afterwards.get_data(), dict(afterwards.headers))


def test_ten_secrets_sign_at_the_most(endpoint):
    made = [WebhookSigningSecret.rotate(endpoint) for _ in range(11)]
    assert endpoint.signing_secrets() == made[:0:-1], "the latest first; servers take headers of a few kB"


def test_secrets_are_encrypted_in_the_database(endpoint, committed_secret):
    assert endpoint.signing_secrets()[0].encode() not in committed_secret(endpoint)


@pytest.fixture
def committed_secret():
    """The column as the database has it."""
    from django.db import connection

    def read(endpoint):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT secret FROM channel_webhooks_webhooksigningsecret WHERE endpoint_id = %s", [endpoint.pk]
            )
            return bytes(cursor.fetchone()[0])

    return read


def test_the_course_of_a_backfill_is_the_grades(endpoint, last_year):
    run("backfill_webhooks", "--endpoint", endpoint.pk, "--since", since())
    assert WebhookTransmissionQueue.objects.get().course_id == COURSE
