# SPDX-License-Identifier: AGPL-3.0-or-later
"""A retired learner: who was told of them is told to erase it, once, and the register says so."""

import html
import json
import re
import threading
import time
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.urls import reverse
from django.utils import timezone
from enterprise.models import EnterpriseCustomerUser
from openedx.core.djangoapps.user_api.accounts.signals import USER_RETIRE_LMS_CRITICAL, USER_RETIRE_LMS_MISC
from social_django.models import UserSocialAuth
from standardwebhooks import Webhook
from werkzeug import Response

from channel_integrations.integrated_channel.admin.status import sections
from channel_integrations.integrated_channel.conf import ROW_LEASE
from channel_integrations.integrated_channel.exceptions import SecretUnreadable
from channel_integrations.integrated_channel.metrics import collector
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    Erasure,
    WebhookDisclosure,
    WebhookEndpointHealth,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import delivery, endpoint_gate, retention
from channel_integrations.integrated_channel.services.cancellation import CANCELLABLE, cancel
from channel_integrations.integrated_channel.services.figures import erasures as figures
from channel_integrations.integrated_channel.services.replay import Selection, replay
from channel_integrations.integrated_channel.services.whereabouts import whereabouts
from tests.factories import grade_event, make_customer, make_endpoint, make_learner

pytestmark = pytest.mark.django_db


@pytest.fixture
def endpoint(receiver):
    """An endpoint of Acme that wants to know of erasures."""
    return make_endpoint(make_customer("Acme"), receiver.url_for("/hook"), sends_erasures=True)


@pytest.fixture
def learner(endpoint):
    """Maria, whose completion Acme was told."""
    learner = make_learner(endpoint.enterprise_customer, username="maria", email="maria@example.com")
    grade_event(learner)
    delivery.deliver_due()
    return learner


def retire(learner):
    """As the LMS does: the email is gone before the signals come, the username is still there."""
    learner.email = f"retired-{learner.pk}@retired.invalid"
    learner.save()
    for signal in (USER_RETIRE_LMS_MISC, USER_RETIRE_LMS_CRITICAL):
        signal.send(sender=type(learner), user=learner, retired_username="retired", retired_email=learner.email)


def deliver():
    """All that is due, an hour later."""
    WebhookTransmissionQueue.objects.filter(status=WebhookStatus.PENDING).update(due_at=timezone.now())
    WebhookEndpointHealth.objects.update(breaker_open_until=None, paused_until=None)
    delivery.deliver_due()


def erasures():
    return WebhookTransmissionQueue.objects.filter(event_type="learner.erased").order_by("pk")


def received(receiver):
    """The erasures that the receiver got."""
    bodies = [json.loads(request.get_data()) for request, _ in receiver.log]
    return [body for body in bodies if body.get("event_type") == "learner.erased"]


def states():
    return sorted(WebhookDisclosure.objects.values_list("erasure", flat=True))


def traces():
    """Every value of our tables that names Maria, decrypted."""
    tables = (WebhookTransmissionQueue, WebhookDisclosure)
    return [
        name
        for table in tables
        for row in table.objects.values()
        for name, value in row.items()
        if "maria" in str(value)
    ]


def test_the_endpoint_is_told_whom_to_erase_and_nothing_else(learner, endpoint, receiver):
    retire(learner)
    deliver()
    request, _ = receiver.log[-1]
    body = Webhook(endpoint.signing_secrets()[0]).verify(request.get_data(), dict(request.headers))
    assert body.pop("timestamp")
    assert body == {
        "event_type": "learner.erased",
        "event_version": "2.0",
        "event_source": "openedx_events",
        "enterprise_customer": {"uuid": str(endpoint.enterprise_customer_id)},
        "learner": {"user_id": learner.pk, "username": "maria", "email": "maria@example.com"},
    }
    assert len(received(receiver)) == 1


def test_once_it_is_told_nobody_here_knows_whom(learner, receiver):
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("erased maria@example.com")
    retire(learner)
    assert set(traces()) == {"body", "identifier"}
    deliver()
    (erasure,), told = erasures(), WebhookDisclosure.objects.get()
    assert traces() == [] and list(erasure.attempts.values_list("status_code", "response_start")) == [(200, "")]
    assert (erasure.status, erasure.user_id, erasure.body) == (WebhookStatus.DELIVERED, None, "")
    assert whereabouts(erasure).code == "erased"
    assert (told.erasure, told.erasure_webhook_id, told.user_id) == (Erasure.TOLD, erasure.webhook_id, learner.pk)
    assert told.retired_at < told.erasure_told_at
    replay(Selection())
    deliver()
    assert len(received(receiver)) == 1


def test_what_no_partner_has_confirmed_is_counted(learner, endpoint, receiver, django_assert_max_num_queries):
    retire(learner)
    assert figures.erasures() == (1, 0)
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("no", status=400)
    deliver()
    with django_assert_max_num_queries(3):
        assert figures.erasures() == (1, 1)
    alarms = [str(alarm.said) for alarm in sections.page()["alarms"]]
    assert alarms[0] == "1 erasure failed for good: the partner has not been told."
    scraped = {sample.metric.name: sample.value for sample in collector.samples()}
    assert (scraped["erasures_owed"], scraped["erasures_stuck"]) == (1, 1)
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("ok")
    replay(Selection())
    deliver()
    assert figures.erasures() == (0, 0)


def test_one_that_somebody_cancels_is_unconfirmed_and_settled(learner, endpoint):
    retire(learner)
    assert cancel(Selection(statuses=CANCELLABLE)).cancelled == 1
    assert figures.erasures() == (1, 0)


def test_the_count_of_them_leads_to_their_lines_in_the_register(learner, endpoint, staff):
    retire(learner)
    WebhookTransmissionQueue.objects.update(created=timezone.now() - timedelta(days=40))
    page = (
        staff("view_webhooktransmissionqueue", "view_webhookdisclosure")
        .get(reverse("admin:channel_webhooks_webhookheartbeat_changelist"))
        .content.decode()
    )
    (link,) = re.findall(r'<a href="([^"]+)">erasures that partners have not confirmed', page)
    listed = staff("view_webhookdisclosure").get(html.unescape(link))
    assert WebhookDisclosure.objects.get() in listed.context["cl"].result_list
    page = (
        staff("view_webhooktransmissionqueue")
        .get(reverse("admin:channel_webhooks_webhookheartbeat_changelist"))
        .content.decode()
    )
    assert "erasures that partners have not confirmed" in page and link not in html.unescape(page)


@pytest.mark.parametrize(
    ("choice", "named"),
    [
        ({"learner_naming": "sign_on_id"}, {"sign_on_id": "acme:4711"}),
        ({"payload_format": "percipio"}, {"user": "u-1", "orgid": "o-1"}),
    ],
)
def test_each_endpoint_is_told_the_name_that_it_knows(endpoint, receiver, choice, named):
    EnterpriseWebhookConfiguration.objects.update(**choice)
    learner = make_learner(endpoint.enterprise_customer, username="maria", email="maria@example.com")
    ids = {"PercipioUserUUID": ["u-1"], "percipioOrganizationUuid": "o-1"}
    UserSocialAuth.objects.create(user=learner, provider="tpa-saml", uid="acme:4711", extra_data=ids)
    grade_event(learner)
    deliver()
    UserSocialAuth.objects.all().delete()
    retire(learner)
    deliver()
    (body,) = received(receiver)
    assert body["learner"] == named and "maria" not in json.dumps(body)
    assert states() == [Erasure.TOLD]


def test_who_was_told_no_name_is_told_none(endpoint, receiver):
    EnterpriseWebhookConfiguration.objects.update(payload_format="percipio", missing_ids="nulls")
    learner = make_learner(endpoint.enterprise_customer)
    grade_event(learner)
    deliver()
    assert len(receiver.log) == 1
    retire(learner)
    deliver()
    assert len(receiver.log) == 1 and states() == [Erasure.NAMELESS]


def test_two_endpoints_of_different_wishes(learner, endpoint, receiver):
    other = make_endpoint(make_customer("Globex"), receiver.url_for("/hook"))
    make_learner(other.enterprise_customer, user=learner)
    grade_event(learner)
    deliver()
    assert WebhookDisclosure.objects.count() == 3
    retire(learner)
    assert WebhookDisclosure.objects.get(endpoint_id=other.pk).identifier is None
    deliver()
    assert len(received(receiver)) == 1
    assert states() == [Erasure.NOT_WANTED, Erasure.TOLD, Erasure.TOLD] and traces() == []


@pytest.mark.parametrize("wish", [None, False])
def test_an_endpoint_of_before_is_told_nothing(learner, receiver, wish):
    EnterpriseWebhookConfiguration.objects.update(sends_erasures=wish)
    retire(learner)
    deliver()
    assert received(receiver) == [] and states() == [Erasure.NOT_WANTED] and traces() == []


def test_twice_retired_is_once_erased(learner, receiver):
    retire(learner)
    retire(learner)
    deliver()
    retire(learner)
    deliver()
    assert len(received(receiver)) == 1 and erasures().count() == 1


def test_a_learner_of_whom_nothing_was_told(endpoint, receiver):
    retire(make_learner(endpoint.enterprise_customer))
    deliver()
    assert receiver.log == [] and not erasures().exists()


def test_it_is_tried_again_on_the_schedule(learner, receiver):
    receiver.clear()
    for status in (500, 429, 200):
        receiver.expect_ordered_request("/hook").respond_with_data("maria", status=status)
    retire(learner)
    deliver()
    (erasure,) = erasures()
    assert (erasure.status, erasure.reason) == (WebhookStatus.PENDING, "HTTP 500") and erasure.due_at > timezone.now()
    assert states() == [Erasure.OWED] and "response_start" not in traces()
    deliver()
    deliver()
    bodies = {request.get_data() for request, _ in receiver.log}
    assert len(receiver.log) == 3 and len(bodies) == 1
    assert states() == [Erasure.TOLD]


def test_it_is_owed_without_link_consent_or_sponsorship(learner, endpoint, receiver):
    EnterpriseCustomerUser.objects.all().delete()
    retire(learner)
    type(learner).objects.filter(pk=learner.pk).delete()
    WebhookTransmissionQueue.objects.update(created=timezone.now() - timedelta(hours=1))
    endpoint.enterprise_customer.active = False
    endpoint.enterprise_customer.save()
    deliver()
    assert len(received(receiver)) == 1


def test_who_is_switched_off_is_told_when_it_is_on_again(learner, endpoint, receiver):
    endpoint.active = False
    endpoint.save()
    retire(learner)
    deliver()
    assert erasures().get().status == WebhookStatus.PARKED and states() == [Erasure.OWED]
    endpoint.active = True
    endpoint.save()
    deliver()
    assert len(received(receiver)) == 1


def test_a_deleted_endpoint_cannot_be_told(learner, endpoint):
    endpoint.delete()
    retire(learner)
    assert states() == [Erasure.NO_ENDPOINT] and traces() == []


def test_an_endpoint_that_is_deleted_meanwhile(learner, endpoint):
    retire(learner)
    endpoint.delete()
    assert erasures().get().status == WebhookStatus.CANCELLED
    assert states() == [Erasure.NO_ENDPOINT]
    assert WebhookDisclosure.objects.get().identifier is None


def test_what_nobody_took_within_the_retention_is_given_up(learner, receiver):
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("no", status=400)
    retire(learner)
    deliver()
    assert erasures().get().status == WebhookStatus.FAILED and states() == [Erasure.OWED]
    WebhookTransmissionQueue.objects.update(created=timezone.now() - timedelta(days=91))
    retention.purge(timedelta(days=90))
    assert states() == [Erasure.GIVEN_UP] and traces() == []


def test_a_replay_of_one_that_failed(learner, receiver):
    receiver.clear()
    receiver.expect_ordered_request("/hook").respond_with_data("no", status=400)
    receiver.expect_ordered_request("/hook").respond_with_data("ok")
    retire(learner)
    deliver()
    replay(Selection())
    WebhookTransmissionQueue.objects.filter(status=WebhookStatus.RECORDED).update(due_at=timezone.now())
    deliver()
    assert len(received(receiver)) == 2 and states() == [Erasure.TOLD]


def test_an_operator_may_cancel_it_and_it_stays_owed(learner, receiver):
    retire(learner)
    assert cancel(Selection(statuses=CANCELLABLE)).cancelled == 1
    deliver()
    assert received(receiver) == [] and states() == [Erasure.OWED]


def test_another_name_is_another_erasure(learner, receiver, endpoint):
    """Both names are known there."""
    learner.email = "maria@new.example.com"
    learner.save()
    grade_event(learner, passed_at=timezone.now() - timedelta(minutes=1))
    deliver()
    retire(learner)
    deliver()
    emails = [body["learner"]["email"] for body in received(receiver)]
    assert sorted(emails) == ["maria@example.com", "maria@new.example.com"]
    assert states() == [Erasure.TOLD, Erasure.TOLD]


class Meanwhile(delivery.Unlimited):
    """Held for one turn of the round, in which the webhook is sent; then something else happens."""

    def __init__(self, happens):
        self.happens, self.turns = happens, 0

    def keep(self):
        self.turns += 1
        return self.turns == 1

    def give_back(self):
        self.happens()


@pytest.fixture
def slow(receiver):
    """The receiver answers when it is let go."""
    let_go = threading.Event()

    def answer(request):
        let_go.wait(10)
        return Response("thank you, maria")

    receiver.clear()
    receiver.expect_request("/hook").respond_with_handler(answer)
    yield let_go
    let_go.set()


def test_an_attempt_that_is_under_way_is_erased_after_it(endpoint, receiver, slow):
    learner = make_learner(endpoint.enterprise_customer, username="maria", email="maria@example.com")
    grade_event(learner)
    round_ = delivery.Round()

    def retired():
        retire(learner)
        endpoint_gate.settle_strays()
        (erasure,) = erasures()
        assert erasure.due_at - timezone.now() > ROW_LEASE - timedelta(seconds=30)  # not before the lease has ended
        assert WebhookDisclosure.objects.get().erasure == Erasure.OWED
        slow.set()

    round_.claim_until(time.monotonic() + 10, Meanwhile(retired))
    round_.wait_for_stragglers()
    assert received(receiver) == []
    assert WebhookDisclosure.objects.get().times == 2 and erasures().count() == 1
    deliver()
    assert [body["event_type"] for body in map(json.loads, (request.get_data() for request, _ in receiver.log))] == [
        "course_completion",
        "learner.erased",
    ]
    assert states() == [Erasure.TOLD] and traces() == []


def test_what_is_registered_after_the_retirement_is_erased_all_the_same(endpoint, receiver, slow):
    """A worker that has lost its lease long ago: nothing told that it was sending when the learner was retired."""
    learner = make_learner(endpoint.enterprise_customer, username="maria", email="maria@example.com")
    grade_event(learner)
    round_ = delivery.Round()

    def retired():
        WebhookTransmissionQueue.objects.update(lease_token=None)
        retire(learner)
        assert not WebhookDisclosure.objects.exists() and not erasures().exists()
        slow.set()

    round_.claim_until(time.monotonic() + 10, Meanwhile(retired))
    round_.wait_for_stragglers()
    assert states() == [Erasure.OWED]
    deliver()
    assert received(receiver)[0]["learner"]["email"] == "maria@example.com"
    assert states() == [Erasure.TOLD] and traces() == []


def test_what_a_former_release_has_sent_is_erased_too(learner, receiver):
    """It kept no register."""
    WebhookDisclosure.objects.all().delete()
    retire(learner)
    deliver()
    assert len(received(receiver)) == 1
    assert WebhookDisclosure.objects.get().basis == "sponsored, no consent required"


@pytest.mark.parametrize("status", [200, 400])
def test_what_a_former_release_has_sent_is_erased_too_once_its_payload_is_purged(endpoint, receiver, status):
    receiver.clear()
    receiver.expect_ordered_request("/hook").respond_with_data("", status=status)
    receiver.expect_request("/hook").respond_with_data("")
    learner = make_learner(endpoint.enterprise_customer)
    grade_event(learner)
    deliver()
    WebhookDisclosure.objects.all().delete()
    long_ago = timezone.now() - timedelta(days=91)
    WebhookTransmissionQueue.objects.update(created=long_ago, finished_at=long_ago)
    retention.purge(timedelta(days=90))
    assert status == 200 or WebhookDisclosure.objects.get().last_at == long_ago
    retire(learner)
    deliver()
    assert len(receiver.log) == 2 and states() == [Erasure.TOLD]


def test_what_only_waited_was_told_to_nobody(endpoint, receiver):
    learner = make_learner(endpoint.enterprise_customer)
    grade_event(learner)
    delivery.address_due()
    retire(learner)
    deliver()
    assert receiver.log == [] and not WebhookDisclosure.objects.exists()


def test_a_key_that_is_gone_is_said_and_nothing_is_lost(learner, settings):
    """The step of the retirement fails, and is repeated once the key is back."""
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {WebhookDisclosure._meta.db_table} SET identifier = %s", [b"not of this key"])
    with pytest.raises(SecretUnreadable, match="FERNET_KEYS"):
        retire(learner)
    assert states() == [""] and not erasures().exists()
    EnterpriseWebhookConfiguration.objects.update(sends_erasures=False)
    retire(learner)
    assert states() == [Erasure.NOT_WANTED]


def test_the_export_proves_it(learner, receiver):
    retire(learner)
    deliver()
    out = StringIO()
    call_command("export_disclosures", "--json", "--learner", str(learner.pk), stdout=out)
    (fact,) = json.loads(out.getvalue())
    (erasure,) = erasures()
    assert (fact["erasure"], fact["erasure_webhook"]) == ("told", str(erasure.webhook_id))
    assert fact["retired_at"] <= fact["erasure_told_at"]
    call_command("export_disclosures", stdout=out)
    assert f"erasure: was told to erase it by {erasure.webhook_id}; retired " in out.getvalue()


def test_nothing_personal_is_logged(learner, caplog):
    caplog.set_level("DEBUG")
    retire(learner)
    deliver()
    call_command("export_disclosures", stdout=StringIO())
    said = [record.getMessage() + str(record.__dict__) for record in caplog.records if "channel" in record.name]
    assert said and not [line for line in said if "maria" in line]
