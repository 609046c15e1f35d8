# SPDX-License-Identifier: AGPL-3.0-or-later
"""From rows to POSTs against a real receiver: routing, freezing, outcomes, leases, slots."""

import json
import threading
import time
import uuid
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from common.djangoapps.student.models import CourseEnrollment
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.utils import timezone
from enterprise.models import EnterpriseCourseEnrollment, EnterpriseCustomer, EnterpriseCustomerUser
from social_django.models import UserSocialAuth
from werkzeug import Response

from channel_integrations.integrated_channel.http_client import HttpAnswer
from channel_integrations.integrated_channel.management.commands.send_due_webhooks import Command
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookDeliveryAttempt,
    WebhookEndpointHealth,
    WebhookLease,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.models.attempt import AttemptResult
from channel_integrations.integrated_channel.models.webhook_queryset import EnrichmentOutcome
from channel_integrations.integrated_channel.services import delivery, endpoint_gate, enrichment, sweep
from channel_integrations.integrated_channel.services.addressing import address_due, still_owed
from channel_integrations.integrated_channel.services.finished import Finished
from channel_integrations.integrated_channel.services.reconciliation import record_missing_passes
from channel_integrations.integrated_channel.services.write_back import write_back
from channel_integrations.integrated_channel.tasks import process_webhook_queue
from tests.factories import COURSE, give_consent, grade_event, make_customer, make_endpoint, make_learner, write_grade
from tests.servers import free_port

pytestmark = pytest.mark.django_db


@pytest.fixture
def webhook(receiver):
    """One webhook that is due, of a learner whose course Acme sponsors."""
    customer = make_customer("Acme")
    make_endpoint(customer, receiver.url_for("/hook"))
    learner = make_learner(customer)
    grade_event(learner)
    return WebhookTransmissionQueue.objects.get()


def deliver():
    return delivery.deliver_due()


def enrich():
    return enrichment.enrich_in_slot(hand_over=lambda: None)


def make_due(webhook):
    """An hour later."""
    WebhookTransmissionQueue.objects.filter(pk=webhook.pk).update(due_at=timezone.now())
    WebhookEndpointHealth.objects.update(breaker_open_until=None, paused_until=None)


def test_a_due_webhook_is_delivered(webhook, receiver):
    assert deliver() == 1
    webhook.refresh_from_db()
    assert (webhook.status, webhook.attempts_made, webhook.lease_token) == (WebhookStatus.DELIVERED, 1, None)
    sent = json.loads(receiver.log[0][0].get_data())
    assert sent["learner"]["user_id"] == webhook.user_id and "learning_time" not in sent["completion"]
    (attempt,) = webhook.attempts.all()
    assert (attempt.number, attempt.status_code, attempt.response_start) == (1, 200, "ok")
    assert deliver() == 0


@pytest.mark.parametrize(
    ("status", "after"), [(500, "pending"), (429, "pending"), (404, "pending"), (400, "failed"), (302, "failed")]
)
def test_what_becomes_of_it(webhook, receiver, status, after):
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("no", status=status)
    deliver()
    webhook.refresh_from_db()
    assert (webhook.status, webhook.attempts_made, webhook.reason) == (after, 1, f"HTTP {status}")
    assert after == "failed" or timezone.now() < webhook.due_at < timezone.now() + timedelta(seconds=7)


def test_every_attempt_sends_the_same_bytes(webhook, receiver):
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("no", status=500)
    deliver()
    get_user_model().objects.filter(pk=webhook.user_id).update(email="changed@example.com")
    make_due(webhook)
    deliver()
    first, second = (request for request, _ in receiver.log)
    assert first.get_data() == second.get_data()
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == str(webhook.webhook_id)


def test_after_the_tenth_attempt_it_has_failed(webhook, receiver):
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("no", status=503)
    for _ in range(12):
        make_due(webhook)
        deliver()
    webhook.refresh_from_db()
    assert (webhook.status, webhook.attempts_made) == (WebhookStatus.FAILED, 10)
    assert len(receiver.log) == 10


def test_an_endpoint_that_nobody_listens_on_is_retried(webhook, receiver):
    EnterpriseWebhookConfiguration.objects.update(webhook_url="http://127.0.0.1:9/")
    deliver()
    webhook.refresh_from_db()
    assert (webhook.status, webhook.reason) == (WebhookStatus.PENDING, "connection")


def test_a_private_address_is_refused_when_it_is_dialled(webhook, receiver, settings):
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = False
    EnterpriseWebhookConfiguration.objects.update(webhook_url="https://10.0.0.1/")
    deliver()
    webhook.refresh_from_db()
    assert webhook.reason == "address_refused" and receiver.log == []


def claim(webhook, status=WebhookStatus.RECORDED):
    return WebhookTransmissionQueue.objects.claim([webhook.pk], status, timezone.now())


def test_two_claimers_one_claim(webhook):
    assert len(claim(webhook)) == 1
    assert claim(webhook) == []


def test_who_has_lost_the_lease_writes_nothing(webhook):
    (slow,) = claim(webhook)
    make_due(webhook)
    assert claim(webhook)
    assert slow.mark_failed("too late") is False
    slow.endpoint_id, slow.region, slow.body = 1, "US", "{}"
    assert WebhookTransmissionQueue.objects.mark_addressed([slow]) == set()
    assert WebhookTransmissionQueue.objects.mark_delivered([slow]) == set()
    webhook.refresh_from_db()
    assert (webhook.status, webhook.body) == (WebhookStatus.RECORDED, "")


def test_what_a_killed_worker_left_is_due_again_when_its_lease_ends(webhook, receiver):
    claim(webhook)
    assert deliver() == 0
    make_due(webhook)
    assert deliver() == 1
    assert len(receiver.log) == 1


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (lambda w: get_user_model().objects.filter(pk=w.user_id).delete(), "the learner's account is gone"),
        (
            lambda w: EnterpriseCustomerUser.objects.update(linked=False),
            "the learner is no longer linked to the customer",
        ),
        (lambda w: EnterpriseWebhookConfiguration.objects.all().delete(), "endpoint deleted"),
        (
            lambda w: EnterpriseWebhookConfiguration.objects.update(send_from=timezone.now() + timedelta(hours=1)),
            "passed before the endpoint's send_from",
        ),
    ],
)
def test_what_is_no_longer_owed_is_cancelled(webhook, receiver, event, reason):
    event(webhook)
    deliver()
    webhook.refresh_from_db()
    assert (webhook.status, webhook.reason) == (WebhookStatus.CANCELLED, reason)
    assert receiver.log == []


@pytest.mark.parametrize(
    ("mode", "reports_audit", "status"),
    [("audit", False, "cancelled"), ("audit", True, "delivered"), ("verified", False, "delivered")],
)
def test_audit_enrolments_go_out_where_the_customer_reports_them(webhook, receiver, mode, reports_audit, status):
    # In bulk, since edx-enterprise's receivers of single enrolments ask other services.
    CourseEnrollment.objects.bulk_create(
        [CourseEnrollment(user_id=webhook.user_id, course_id=webhook.course_id, mode=mode)]
    )
    EnterpriseCustomer.objects.update(enable_audit_enrollment=True, enable_audit_data_reporting=reports_audit)
    deliver()
    webhook.refresh_from_db()
    assert webhook.status == status
    assert webhook.reason == ("the customer does not report audit enrolments" if status == "cancelled" else "")


def test_consent_withdrawn_in_between(receiver):
    customer = make_customer(enable_data_sharing_consent=True)
    make_endpoint(customer, receiver.url_for("/hook"))
    learner = make_learner(customer)
    give_consent(customer, learner)
    grade_event(learner)
    customer.enterprise_customer_consent.update(granted=False)
    deliver()
    assert WebhookTransmissionQueue.objects.get().reason == "no data-sharing consent"


def test_an_inactive_customer_in_between(webhook, receiver):
    EnterpriseCustomer.objects.update(active=False)
    deliver()
    webhook.refresh_from_db()
    assert webhook.reason == "the customer is gone or inactive"


def test_switched_off_is_parked_and_goes_out_when_it_is_on_again(webhook, receiver):
    EnterpriseWebhookConfiguration.objects.update(active=False)
    deliver()
    webhook.refresh_from_db()
    assert webhook.status == WebhookStatus.PARKED and receiver.log == []
    EnterpriseWebhookConfiguration.objects.update(active=True)
    deliver()
    webhook.refresh_from_db()
    assert webhook.status == WebhookStatus.DELIVERED


def test_deleting_an_endpoint_cancels_what_is_parked_for_it(webhook):
    EnterpriseWebhookConfiguration.objects.update(active=False)
    deliver()
    EnterpriseWebhookConfiguration.objects.get().delete()
    webhook.refresh_from_db()
    assert (webhook.status, webhook.reason) == (WebhookStatus.CANCELLED, "endpoint deleted")


def test_an_endpoint_deleted_between_two_attempts(webhook, receiver):
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("no", status=500)
    deliver()
    EnterpriseWebhookConfiguration.objects.all()._raw_delete("default")
    make_due(webhook)
    sweep.tidy()
    webhook.refresh_from_db()
    assert (webhook.status, webhook.reason) == (WebhookStatus.CANCELLED, "endpoint deleted")


def sign_on(webhook, country):
    learner = get_user_model().objects.get(pk=webhook.user_id)
    UserSocialAuth.objects.create(user=learner, provider="saml", uid=str(uuid.uuid4()), extra_data={"country": country})
    return learner


def test_a_learner_of_the_eu_does_not_fall_back_to_other_by_itself(webhook, receiver):
    sign_on(webhook, "DE")
    deliver()
    webhook.refresh_from_db()
    assert (webhook.status, webhook.region) == (WebhookStatus.NO_ENDPOINT, "EU")
    assert receiver.log == []


def test_the_regions_own_endpoint_comes_first(webhook, receiver):
    receiver.expect_request("/us").respond_with_data("ok")
    endpoint = EnterpriseWebhookConfiguration.objects.get()
    make_endpoint(endpoint.enterprise_customer, receiver.url_for("/us"), region="US")
    sign_on(webhook, "US")
    deliver()
    webhook.refresh_from_db()
    assert webhook.region == "US" and receiver.log[0][0].path == "/us"


@pytest.mark.parametrize("name", ['He said "hi"', "Ünïcode 🎓", "שלום עולם"])
def test_awkward_customer_names_arrive_as_they_are(receiver, name):
    customer = make_customer(name)
    make_endpoint(customer, receiver.url_for("/hook"))
    grade_event(make_learner(customer))
    deliver()
    assert json.loads(receiver.log[0][0].get_data())["enterprise_customer"]["name"] == name


def test_an_answer_with_astral_characters_and_the_log_without_people(webhook, receiver, caplog):
    caplog.set_level("DEBUG", "channel_integrations")
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("🎓 thanks")
    deliver()
    assert "thanks" in webhook.attempts.get().response_start
    ours = "".join(r.getMessage() for r in caplog.records if r.name.startswith("channel_integrations"))
    assert "status=delivered" in ours
    assert "@example.com" not in ours and "learner" not in ours


def test_of_an_answers_headers_those_on_the_list_are_kept(webhook, receiver):
    """Not what a session hangs on, nor more of any than helps."""
    headers = {"X-Request-Id": "r" * 999, "Server": "nginx", "Set-Cookie": "session=1", "X-Api-Key": "key"}
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("ok", headers=headers)
    deliver()
    kept = webhook.attempts.get().response_headers
    assert kept["x-request-id"] == "r" * 200 and kept["server"]
    assert set(kept) == {"x-request-id", "server", "date", "content-type", "content-length"}


def test_no_more_deliveries_at_once_than_slots(webhook, receiver):
    token = WebhookLease.acquire("delivery:0", timedelta(minutes=1))
    assert delivery.free_slot() is None
    process_webhook_queue()
    assert receiver.log == []
    WebhookLease.release("delivery:0", token)
    handed_over = []
    assert delivery.deliver_in_slot(delivery.free_slot(), lambda: handed_over.append(True)) == 1
    assert handed_over == [True], "whatever became of the round, the next one is called for"


def test_the_next_round_is_called_for_before_the_last_answers_are_in(webhook, receiver, monkeypatch):
    """An endpoint that hangs keeps its own round alone."""
    monkeypatch.setattr(delivery, "CLAIM_SECONDS", 0.3)
    handed_over, in_time = threading.Event(), []

    def answer(request):
        in_time.append(handed_over.wait(5))
        return Response("ok")

    receiver.clear()
    receiver.expect_request("/hook").respond_with_handler(answer)
    assert delivery.deliver_in_slot(delivery.free_slot(), handed_over.set) == 1
    assert in_time == [True]


def test_a_lease_is_one_holders_until_it_ends():
    token = WebhookLease.acquire("x", timedelta(minutes=1))
    assert WebhookLease.acquire("x", timedelta(minutes=1)) is None
    assert WebhookLease.renew("x", token, timedelta(minutes=1)) is True
    assert WebhookLease.renew("x", uuid.uuid4(), timedelta(minutes=1)) is False
    WebhookLease.objects.update(expires_at=timezone.now())
    assert WebhookLease.acquire("x", timedelta(minutes=1)) not in (None, token)


@pytest.fixture
def flag_on(settings):
    settings.FEATURES = {**settings.FEATURES, "ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT": True}


def test_overdue_lookups_go_out_plain(flag_on, webhook, receiver):
    call_command("send_due_webhooks")
    assert receiver.log == []
    WebhookTransmissionQueue.objects.update(enrich_by=timezone.now())
    call_command("send_due_webhooks")
    webhook.refresh_from_db()
    assert (webhook.status, webhook.learning_time_status) == (WebhookStatus.DELIVERED, "overdue")


def test_a_lookup_under_way_is_left_alone(flag_on, webhook):
    WebhookTransmissionQueue.objects.update(enrich_by=timezone.now())
    claim(webhook, WebhookStatus.AWAITING_ENRICHMENT)
    assert enrichment.release_overdue() == 0


def test_the_flag_switched_off_sends_what_waits_at_once(flag_on, webhook, receiver, settings):
    settings.FEATURES = {}
    call_command("send_due_webhooks")
    webhook.refresh_from_db()
    assert (webhook.status, webhook.learning_time_status) == (WebhookStatus.DELIVERED, "flag_off")


def test_the_flag_switched_off_after_the_lookup_sends_plain(flag_on, webhook, receiver, settings):
    rows = claim(webhook, WebhookStatus.AWAITING_ENRICHMENT)
    outcome = EnrichmentOutcome(3600, "found")
    assert WebhookTransmissionQueue.objects.mark_enriched(rows, {webhook.pk: outcome}) == 1
    settings.FEATURES = {}
    deliver()
    assert "learning_time" not in json.loads(receiver.log[0][0].get_data())["completion"]


def test_the_sweep_makes_the_rows_of_passes_that_have_none(receiver):
    customer = make_customer()
    make_endpoint(customer, receiver.url_for("/hook"))
    learner, failing, old = make_learner(customer), make_learner(customer), make_learner(customer)
    write_grade(learner)
    write_grade(failing, letter="")
    write_grade(old, passed_at=timezone.now() - timedelta(days=5))
    write_grade(make_learner())
    call_command("send_due_webhooks")
    assert [row.user_id for row in WebhookTransmissionQueue.objects.all()] == [learner.id]
    assert len(receiver.log) == 1


def test_event_and_sweep_agree_on_one_row(webhook):
    write_grade(get_user_model().objects.get(pk=webhook.user_id), passed_at=webhook.occurred_at)
    sweep.tidy()
    assert WebhookTransmissionQueue.objects.count() == 1


@pytest.mark.parametrize("source", [None, "", "no.SuchModel", "nonsense", 7])
def test_without_a_grade_source_nothing_is_compared(settings, source):
    settings.CHANNEL_WEBHOOKS_GRADE_SOURCE = source
    sweep.tidy()
    assert WebhookTransmissionQueue.objects.count() == 0


def test_the_command_refuses_a_senseless_interval():
    with pytest.raises(CommandError, match="from 1 to 3600"):
        call_command("send_due_webhooks", "--loop", "--interval", "0")


def test_an_interval_goes_with_a_loop():
    with pytest.raises(CommandError, match="--interval goes with --loop"):
        call_command("send_due_webhooks", "--interval", "5")


def test_the_course_of_the_row_is_the_events(webhook):
    assert webhook.course_id == COURSE


def test_the_sweep_runs_under_a_bad_configuration(flag_on, webhook, receiver, settings):
    """Snowflake is not configured, which a check reports as an error."""
    WebhookTransmissionQueue.objects.update(enrich_by=timezone.now())
    settings.CHANNEL_WEBHOOKS_RECONCILE_DAYS = "three"
    Command().execute(loop=False, interval=None, json=False, force_color=False, no_color=False, skip_checks=False)
    webhook.refresh_from_db()
    assert webhook.status == WebhookStatus.DELIVERED


@pytest.mark.parametrize(
    ("port_is_open", "status", "outcome"), [(False, "failure", "unreachable"), (True, "success", "no_row")]
)
def test_a_lookup_in_this_process_is_logged_and_passes_the_row_on(
    snowflake, webhook_awaiting, settings, caplog, port_is_open, status, outcome
):
    caplog.set_level("INFO", "channel_integrations")
    if not port_is_open:
        settings.SNOWFLAKE_CONFIG = {**snowflake.config(), "port": free_port()}
        settings.CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS = 1
    assert enrich() == 1
    webhook_awaiting.refresh_from_db()
    assert (webhook_awaiting.status, webhook_awaiting.learning_time_status) == (WebhookStatus.RECORDED, outcome)
    lines = [r for r in caplog.records if "task=enrich_and_send_completion_webhook" in r.getMessage()]
    assert [line.status for line in lines] == [status]
    assert enrich() == 0, "a repeated wake-up does nothing"


@pytest.fixture
def webhook_awaiting(snowflake, receiver):
    """One webhook that waits for its learning time."""
    customer = make_customer()
    make_endpoint(customer, receiver.url_for("/hook"))
    grade_event(make_learner(customer))
    return WebhookTransmissionQueue.objects.get()


def test_a_learner_gone_before_the_lookup_gets_no_webhook(webhook_awaiting, receiver):
    get_user_model().objects.filter(pk=webhook_awaiting.user_id).delete()
    assert enrich() == 1
    deliver()
    webhook_awaiting.refresh_from_db()
    assert (webhook_awaiting.status, receiver.log) == (WebhookStatus.CANCELLED, [])


def test_a_comparison_within_a_task_ends_in_time(receiver, caplog):
    customer = make_customer()
    make_endpoint(customer, receiver.url_for("/hook"))
    write_grade(make_learner(customer))
    assert record_missing_passes(deadline=time.monotonic() - 1) == []
    assert "send_due_webhooks" in caplog.text
    assert len(record_missing_passes(deadline=time.monotonic() + 60)) == 1


def test_an_endpoint_that_takes_a_webhook_and_breaks_off_gets_it_once(webhook, receiver):
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("thanks", headers={"Content-Length": "1000"})
    deliver()
    make_due(webhook)
    deliver()
    webhook.refresh_from_db()
    assert (webhook.status, len(receiver.log)) == (WebhookStatus.DELIVERED, 1)


def test_what_is_taken_together_is_written_together_and_one_that_is_lost_apart(receiver):
    """One of four has lost its lease while its POST was under way: the others are delivered, it is not touched."""
    customer = make_customer()
    endpoint = make_endpoint(customer, receiver.url_for("/hook"))
    for _ in range(4):
        grade_event(make_learner(customer))
    address_due()
    webhooks = endpoint_gate.admit(endpoint, 4)
    WebhookTransmissionQueue.objects.filter(pk=webhooks[0].pk).update(lease_token=uuid.uuid4())
    result = AttemptResult(timezone.now(), HttpAnswer(200, {}, "maria", 5), "", 5)
    write_back([Finished(each, endpoint, 1, result) for each in webhooks])
    assert [row.status for row in WebhookTransmissionQueue.objects.order_by("pk")] == ["pending"] + ["delivered"] * 3
    kept = WebhookDeliveryAttempt.objects.order_by("webhook_id").values_list("number", "response_start")
    assert list(kept) == [(1, "")] + [(1, "maria")] * 3


@pytest.mark.parametrize("waited", ["tried", "parked", "old"])
def test_a_consent_withdrawn_while_a_webhook_waits_stops_it(receiver, waited):
    customer = make_customer(enable_data_sharing_consent=True)
    make_endpoint(customer, receiver.url_for("/hook"))
    learner = make_learner(customer)
    give_consent(customer, learner)
    grade_event(learner)
    webhook = WebhookTransmissionQueue.objects.get()
    if waited == "old":
        WebhookTransmissionQueue.objects.update(created=timezone.now() - timedelta(minutes=11))
        address_due()
    else:
        receiver.clear()
        receiver.expect_request("/hook").respond_with_data("no", status=410 if waited == "parked" else 500)
        deliver()
        WebhookEndpointHealth.enable(customer.webhook_endpoints.get().pk)
    sent = len(receiver.log)
    customer.enterprise_customer_consent.update(granted=False)
    make_due(webhook)
    deliver()
    webhook.refresh_from_db()
    assert (webhook.status, webhook.reason) == (WebhookStatus.CANCELLED, "no data-sharing consent")
    assert len(receiver.log) == sent


def test_a_webhook_addressed_a_moment_ago_is_not_asked_for_twice(webhook, receiver, django_assert_num_queries):
    address_due()
    (claimed,) = endpoint_gate.admit(EnterpriseWebhookConfiguration.objects.get(), 1)
    with django_assert_num_queries(0):
        assert still_owed([claimed]) == [claimed]


def test_a_sponsorship_that_ends_while_a_webhook_waits_stops_it_though_another_endpoint_takes_all(webhook, receiver):
    """What the customer's endpoint for another region takes is no reason to send it to this one."""
    customer = EnterpriseCustomer.objects.get()
    sign_on(webhook, "US")
    us = make_endpoint(customer, receiver.url_for("/us"), region="US")
    EnterpriseWebhookConfiguration.objects.exclude(pk=us.pk).update(all_completions=True)
    receiver.expect_request("/us").respond_with_data("no", status=500)
    deliver()
    EnterpriseCourseEnrollment.objects.all().delete()
    make_due(webhook)
    deliver()
    webhook.refresh_from_db()
    assert (webhook.endpoint_id, webhook.status) == (us.pk, WebhookStatus.CANCELLED)
    assert len(receiver.log) == 1


def test_everything_overdue_is_released_by_one_sweep(flag_on, receiver, monkeypatch):
    monkeypatch.setattr(enrichment, "BATCH", 2)
    customer = make_customer()
    make_endpoint(customer, receiver.url_for("/hook"))
    for _ in range(5):
        grade_event(make_learner(customer))
    WebhookTransmissionQueue.objects.update(enrich_by=timezone.now())
    sweep.tidy()
    assert not WebhookTransmissionQueue.objects.filter(status=WebhookStatus.AWAITING_ENRICHMENT).exists()


class KeepsConnections(BaseHTTPRequestHandler):
    """A partner's HTTP/1.1 server; notes each connection."""

    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.server.accepted.append(1)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


def test_a_batch_goes_out_over_connections_that_are_kept(receiver):
    server = ThreadingHTTPServer(("127.0.0.1", 0), KeepsConnections)
    server.accepted = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    customer = make_customer("Acme")
    make_endpoint(customer, f"http://127.0.0.1:{server.server_port}/hook")
    for _ in range(80):
        grade_event(make_learner(customer))
    try:
        assert deliver() == 80
    finally:
        server.shutdown()
        server.server_close()
    assert len(server.accepted) <= 4, "as many as the endpoint takes requests at once"
