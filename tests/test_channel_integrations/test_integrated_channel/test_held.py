# SPDX-License-Identifier: AGPL-3.0-or-later
"""Learners without the ids that an endpoint wants, on a real receiver: held, skipped, or sent as null."""

import json
from datetime import timedelta
from importlib import import_module
from uuid import UUID

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from enterprise.models import EnterpriseCourseEnrollment
from social_django.models import UserSocialAuth

from channel_integrations.integrated_channel import handlers, tasks
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookEndpointHealth,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import addressing, delivery, held, retention, sweep
from channel_integrations.integrated_channel.services.doctor.findings import Status
from channel_integrations.integrated_channel.services.doctor.held import held as doctor_held
from channel_integrations.integrated_channel.services.figures import backlog
from channel_integrations.integrated_channel.services.reasons import NO_PSEUDONYM_KEY
from channel_integrations.integrated_channel.services.replay import Selection, replay
from channel_integrations.integrated_channel.services.whereabouts import whereabouts
from tests.factories import enrollment_event, grade_event, make_customer, make_endpoint, make_learner

USER, ORG = "5b1f0c9e-77aa-4c7e-9d55-2f4b8a6e1c30", "c0a8012e-1111-4222-8333-944455566677"
IDS = {"PercipioUserUUID": USER, "percipioOrganizationUuid": ORG}
LACKING = "the learner has no sign-on record"

pytestmark = pytest.mark.django_db


@pytest.fixture
def endpoint(receiver):
    return make_endpoint(make_customer(), receiver.url_for("/hook"), payload_format="percipio", sends_enrollments=True)


@pytest.fixture
def learner(endpoint):
    return make_learner(endpoint.enterprise_customer)


def sign_on(learner, uid="acme:7", **extra_data):
    return UserSocialAuth.objects.create(user=learner, provider="tpa-saml", uid=uid, extra_data=extra_data)


def make_due():
    WebhookTransmissionQueue.objects.update(due_at=timezone.now())


def passes(learner):
    grade_event(learner)
    delivery.deliver_due()
    return WebhookTransmissionQueue.objects.get()


def bodies(receiver):
    return [json.loads(request.get_data()) for request, _answer in receiver.log]


def test_a_webhook_is_held_and_goes_out_when_the_ids_appear(
    endpoint, learner, receiver, django_capture_on_commit_callbacks
):
    webhook = passes(learner)
    assert (webhook.status, webhook.reason, webhook.lease_token) == (WebhookStatus.AWAITING_IDS, LACKING, None)
    assert (webhook.endpoint_id, webhook.body) == (endpoint.pk, "") and not bodies(receiver)
    assert webhook.due_at > timezone.now() + held.SOON - timedelta(seconds=5)
    delivery.deliver_due()
    assert not bodies(receiver)
    with django_capture_on_commit_callbacks(execute=True):
        sign_on(learner, **IDS)
    tasks.process_webhook_queue()
    (body,) = bodies(receiver)
    assert (body["user"], body["orgid"], body["status"]) == (USER, ORG, "completed")
    assert WebhookTransmissionQueue.objects.get().status == WebhookStatus.DELIVERED


def test_without_that_call_the_next_look_finds_them(learner, receiver):
    passes(learner)
    sign_on(learner, country="DE")
    make_due()
    delivery.deliver_due()
    webhook = WebhookTransmissionQueue.objects.get()
    assert webhook.reason == "no endpoint for EU" and webhook.status == WebhookStatus.NO_ENDPOINT
    UserSocialAuth.objects.update(extra_data=IDS)
    replay(Selection())
    delivery.deliver_due()
    assert len(bodies(receiver)) == 1


def test_skipped_by_choice_and_replayed(endpoint, learner, receiver):
    EnterpriseWebhookConfiguration.objects.update(missing_ids="skip")
    webhook = passes(learner)
    assert (webhook.status, webhook.reason) == (WebhookStatus.CANCELLED, LACKING) and webhook.finished_at
    sign_on(learner, **IDS)
    replay(Selection())
    delivery.deliver_due()
    assert [body["user"] for body in bodies(receiver)] == [USER]


def test_sent_with_nulls_by_choice(endpoint, learner, receiver):
    EnterpriseWebhookConfiguration.objects.update(missing_ids="nulls")
    assert passes(learner).status == WebhookStatus.DELIVERED
    (body,) = bodies(receiver)
    assert body["user"] is None and body["orgid"] is None


def test_nobody_without_a_sign_on_id_is_named_otherwise(endpoint, learner, receiver):
    EnterpriseWebhookConfiguration.objects.update(payload_format=None, learner_naming="sign_on_id")
    assert passes(learner).status == WebhookStatus.AWAITING_IDS
    sign_on(learner)
    make_due()
    delivery.deliver_due()
    (body,) = bodies(receiver)
    assert body["learner"] == {"sign_on_id": "acme:7"}
    assert learner.username not in json.dumps(body) and learner.email not in json.dumps(body)


def test_an_enrolment_is_held_as_well(learner, receiver):
    enrollment_event(learner)
    make_due()
    delivery.deliver_due()
    assert WebhookTransmissionQueue.objects.get().status == WebhookStatus.AWAITING_IDS
    sign_on(learner, **IDS)
    make_due()
    delivery.deliver_due()
    (body,) = bodies(receiver)
    assert (body["status"], body["completion_percentage"], body["duration_spent"]) == ("started", 0, None)


def test_the_looks_are_ever_further_apart(learner):
    webhook, waits = passes(learner), []
    for age in (timedelta(0), timedelta(minutes=10), timedelta(hours=1), timedelta(days=3)):
        now = timezone.now()
        WebhookTransmissionQueue.objects.update(created=now - age, due_at=now)
        assert addressing.address_due() == 1
        webhook.refresh_from_db()
        waits.append((webhook.due_at - now).total_seconds())
    assert waits == pytest.approx([60, 600, 3600, 4 * 3600], abs=10)


def test_what_is_held_is_asked_whether_it_is_still_owed(learner):
    passes(learner)
    EnterpriseCourseEnrollment.objects.all().delete()
    make_due()
    delivery.deliver_due()
    webhook = WebhookTransmissionQueue.objects.get()
    assert (webhook.status, webhook.reason) == (
        WebhookStatus.CANCELLED,
        "the customer does not sponsor this course run",
    )


def test_switched_off_it_is_parked_and_held_again(endpoint, learner):
    passes(learner)
    for active, status in ((False, WebhookStatus.PARKED), (True, WebhookStatus.AWAITING_IDS)):
        EnterpriseWebhookConfiguration.objects.update(active=active)
        make_due()
        delivery.deliver_due()
        assert WebhookTransmissionQueue.objects.get().status == status
    WebhookEndpointHealth.objects.get().disable("410")
    make_due()
    delivery.deliver_due()
    assert WebhookTransmissionQueue.objects.get().status == WebhookStatus.AWAITING_IDS


def test_it_is_given_up_with_its_endpoint_its_learner_or_its_retention(endpoint, learner):
    ends = {
        "endpoint deleted": endpoint.delete,
        "learner retired": lambda: handlers.handle_learner_retirement(None, learner),
        "past its retention": lambda: retention.purge(timedelta(0)),
    }
    passes(learner)
    for reason, end in ends.items():
        with transaction.atomic():
            end()
            webhook = WebhookTransmissionQueue.objects.get()
            assert (webhook.status, webhook.reason) == (WebhookStatus.CANCELLED, reason)
            transaction.set_rollback(True)


def test_it_counts_as_waiting_and_never_as_late(learner):
    passes(learner)
    WebhookTransmissionQueue.objects.update(due_at=timezone.now() - timedelta(hours=1))
    owed = backlog.owed()
    assert owed.by_status[WebhookStatus.AWAITING_IDS] == 1
    assert owed.count == 0 and sum(owed.due.values()) == 0 and not owed.late and owed.oldest_due_at is None


def test_the_circulating_wake_up_knows_of_it(learner):
    webhook = passes(learner)
    assert sweep._next_due() == webhook.due_at


def test_where_it_stands(learner):
    webhook = passes(learner)
    where = whereabouts(webhook)
    assert (where.code, where.next_at, where.detail) == ("held", webhook.due_at, LACKING)
    assert where.in_words(str).startswith(f"It is held ({LACKING}). It is looked at again at ")


# The sign-on record


def test_a_login_of_somebody_about_whom_nothing_is_held_costs_one_query(django_capture_on_commit_callbacks, learner):
    record = sign_on(learner)
    with CaptureQueriesContext(connection) as queries, django_capture_on_commit_callbacks(execute=True):
        record.save()
    ours = [query["sql"] for query in queries if "webhooktransmissionqueue" in query["sql"]]
    assert len(ours) == 1 and ours[0].startswith("SELECT")


def test_a_login_survives_whatever_goes_wrong(learner, django_capture_on_commit_callbacks, caplog):
    passes(learner)
    with connection.execute_wrapper(broken_for_us), django_capture_on_commit_callbacks(execute=True):
        record = sign_on(learner, **IDS)
    assert UserSocialAuth.objects.get(pk=record.pk).extra_data == IDS
    assert "RuntimeError" in caplog.text and "out of order" not in caplog.text


def broken_for_us(execute, sql, params, many, context):
    if "webhooktransmissionqueue" in sql:
        raise RuntimeError("out of order")
    return execute(sql, params, many, context)


def test_what_a_worker_looks_at_is_left_to_it(learner, django_capture_on_commit_callbacks):
    webhook = passes(learner)
    make_due()
    (claimed,) = WebhookTransmissionQueue.objects.claim([webhook.pk], WebhookStatus.AWAITING_IDS, timezone.now())
    with django_capture_on_commit_callbacks(execute=True):
        sign_on(learner, **IDS)
    webhook.refresh_from_db()
    assert (webhook.lease_token, webhook.due_at) == (claimed.lease_token, claimed.due_at)


# Many at once


def test_what_addressing_costs_does_not_depend_on_how_many_they_are(endpoint):
    counts = []
    for number in (2, 10):  # of one alone nothing is written row by row
        WebhookTransmissionQueue.objects.all().delete()
        for each in range(number):
            learner = make_learner(endpoint.enterprise_customer)
            sign_on(learner, f"acme:{number}-{each}", **{**IDS, "PercipioUserUUID": str(UUID(int=each + 1))})
            grade_event(learner)
        with CaptureQueriesContext(connection) as queries:
            assert addressing.address_due() == number
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert set(WebhookTransmissionQueue.objects.values_list("status", flat=True)) == {WebhookStatus.PENDING}


# What operators see


def test_the_doctor_warns_of_what_is_held_for_long(endpoint, learner):
    passes(learner)
    assert not list(doctor_held(endpoint, "endpoint 1", "Acme"))
    WebhookTransmissionQueue.objects.update(created=timezone.now() - timedelta(days=3))
    (finding,) = doctor_held(endpoint, "endpoint 1", "Acme")
    assert finding.status is Status.WARNING and f"1 held, the oldest for 3 days: {LACKING}" in finding.fact
    assert f"/{endpoint.pk}/change/" in finding.advice
    WebhookTransmissionQueue.objects.update(reason=NO_PSEUDONYM_KEY)
    (finding,) = doctor_held(endpoint, "endpoint 1", "Acme")
    assert NO_PSEUDONYM_KEY in finding.fact and "Put the former key at the end of FERNET_KEYS" in finding.advice


def test_what_is_held_is_cancelled_when_the_tables_are_taken_back(learner):
    passes(learner)
    migration = import_module("channel_integrations.integrated_channel.migrations.0009_formats")
    migration.cancel_what_is_held(apps, None)
    webhook = WebhookTransmissionQueue.objects.get()
    assert (webhook.status, webhook.reason) == (WebhookStatus.CANCELLED, LACKING) and webhook.finished_at
