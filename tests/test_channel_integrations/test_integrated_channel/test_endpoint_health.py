# SPDX-License-Identifier: AGPL-3.0-or-later
"""Breaker, pauses, limits, switching off and on, and that endpoints do not hold each other up."""

import itertools
import threading
import time
from concurrent.futures import wait
from datetime import timedelta

import pytest
from django.db import connections
from django.db.models.signals import post_delete
from django.utils import timezone
from pytest_httpserver import HTTPServer
from werkzeug import Response

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookDeliveryAttempt,
    WebhookEndpointHealth,
    WebhookSigningSecret,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import delivery, endpoint_gate, sweep
from channel_integrations.integrated_channel.services.addressing import address_due
from channel_integrations.integrated_channel.services.retry import RETRY_AFTER_CAP
from channel_integrations.integrated_channel.signals import webhook_endpoint_disabled
from channel_integrations.integrated_channel.signing import Kind
from tests.factories import grade_event, make_customer, make_endpoint, make_learner

pytestmark = pytest.mark.django_db


def complete(endpoint, count=1):
    """So many learners of the endpoint's customer complete a course."""
    for _ in range(count):
        grade_event(make_learner(endpoint.enterprise_customer))


def statuses():
    return list(WebhookTransmissionQueue.objects.order_by("pk").values_list("status", flat=True))


def health_of(endpoint):
    return WebhookEndpointHealth.objects.get(pk=endpoint.pk)


def answer(receiver, status, **headers):
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("no", status=status, headers=headers)


def an_hour_later():
    """Every gate is open again and every row is due."""
    WebhookEndpointHealth.objects.update(breaker_open_until=None, paused_until=None)
    WebhookTransmissionQueue.objects.filter(status=WebhookStatus.PENDING).update(due_at=timezone.now())


def test_five_failures_open_the_breaker_and_the_others_wait_without_an_attempt(endpoint, receiver, caplog):
    answer(receiver, 500)
    complete(endpoint, 8)
    delivery.deliver_due()
    assert len(receiver.log) == 5
    assert sorted(WebhookTransmissionQueue.objects.values_list("attempts_made", flat=True)) == [0, 0, 0, 1, 1, 1, 1, 1]
    assert set(statuses()) == {WebhookStatus.PENDING}
    assert health_of(endpoint).breaker_open_until > timezone.now() + timedelta(seconds=25)
    assert "status=breaker_open" in caplog.text
    opening = endpoint_gate.next_opening()
    assert opening == health_of(endpoint).breaker_open_until, "nobody looks before that"


def test_half_open_lets_one_probe_through_and_its_failure_opens_for_longer(endpoint, receiver):
    answer(receiver, 500)
    complete(endpoint, 8)
    delivery.deliver_due()
    WebhookEndpointHealth.objects.update(breaker_open_until=timezone.now())
    delivery.deliver_due()
    assert len(receiver.log) == 6
    assert health_of(endpoint).breaker_open_until > timezone.now() + timedelta(seconds=55)


def test_a_probe_that_is_taken_closes_the_breaker(endpoint, receiver):
    answer(receiver, 500)
    complete(endpoint, 8)
    delivery.deliver_due()
    answer(receiver, 200)
    an_hour_later()
    delivery.deliver_due()
    assert set(statuses()) == {WebhookStatus.DELIVERED}
    health = health_of(endpoint)
    assert (health.failures, health.failures_in_a_row, health.failing_since) == (0, 0, None)
    assert health.last_success_at


def test_a_refused_webhook_says_nothing_about_the_breaker(endpoint, receiver):
    answer(receiver, 400)
    complete(endpoint, 8)
    delivery.deliver_due()
    assert set(statuses()) == {WebhookStatus.FAILED}
    assert (health_of(endpoint).failures, health_of(endpoint).failures_in_a_row) == (8, 0)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured_for_the_webhook_and_for_the_others(endpoint, receiver, status):
    answer(receiver, status, **{"Retry-After": "600"})
    endpoint.max_concurrent_requests = 1
    endpoint.save()
    complete(endpoint, 3)
    delivery.deliver_due()
    assert len(receiver.log) == 1
    webhook = WebhookTransmissionQueue.objects.get(attempts_made=1)
    for moment in (webhook.due_at, health_of(endpoint).paused_until):
        assert timedelta(seconds=590) < moment - timezone.now() < timedelta(seconds=610)
    assert webhook.attempts.get().response_headers["retry-after"] == "600"


def test_retry_after_has_a_cap(endpoint, receiver):
    answer(receiver, 503, **{"Retry-After": "99999999"})
    complete(endpoint)
    delivery.deliver_due()
    assert health_of(endpoint).paused_until - timezone.now() < RETRY_AFTER_CAP


def test_the_endpoints_own_schedule(endpoint, receiver):
    answer(receiver, 500)
    EnterpriseWebhookConfiguration.objects.update(retry_schedule="1h")
    complete(endpoint)
    delivery.deliver_due()
    due_in = WebhookTransmissionQueue.objects.get().due_at - timezone.now()
    assert timedelta(minutes=47) < due_in < timedelta(minutes=73)
    an_hour_later()
    delivery.deliver_due()
    assert statuses() == [WebhookStatus.FAILED]


def test_a_schedule_written_past_the_form_does_not_stop_anything(endpoint, receiver):
    answer(receiver, 500)
    EnterpriseWebhookConfiguration.objects.update(retry_schedule="whenever", webhook_timeout_seconds=999)
    complete(endpoint)
    delivery.deliver_due()
    assert statuses() == [WebhookStatus.PENDING]
    assert EnterpriseWebhookConfiguration.objects.get().timeout_seconds == 60


def test_410_switches_the_endpoint_off_and_tells(endpoint, receiver, caplog, django_capture_on_commit_callbacks):
    told = []

    def tell(sender, endpoint_id, reason, **kwargs):
        told.append((endpoint_id, reason))
        raise RuntimeError("a receiver of the site's")

    webhook_endpoint_disabled.connect(tell, weak=False)
    try:
        answer(receiver, 410)
        complete(endpoint, 6)
        with django_capture_on_commit_callbacks(execute=True):
            delivery.deliver_due()
    finally:
        webhook_endpoint_disabled.disconnect(tell)
    assert told == [(endpoint.pk, "HTTP 410")]
    assert "status=disabled" in caplog.text
    assert set(statuses()) == {WebhookStatus.PARKED}
    assert len(receiver.log) <= 4, "no more than were under way at once"


def test_while_it_is_off_rows_are_made_and_parked_and_then_go_out_in_order(endpoint, receiver):
    answer(receiver, 410)
    complete(endpoint, 1)
    delivery.deliver_due()
    complete(endpoint, 9)
    delivery.deliver_due()
    assert statuses() == [WebhookStatus.PARKED] * 10
    assert len(receiver.log) == 1
    answer(receiver, 200)
    WebhookEndpointHealth.enable(endpoint.pk)
    delivery.deliver_due()
    assert statuses() == [WebhookStatus.DELIVERED] * 10
    in_order = [str(pk) for pk in WebhookTransmissionQueue.objects.order_by("pk").values_list("webhook_id", flat=True)]
    assert [request.headers["webhook-id"] for request, _ in receiver.log] == in_order
    assert health_of(endpoint).catching_up is False


def test_what_was_parked_keeps_to_the_rate_limit(endpoint, receiver):
    EnterpriseWebhookConfiguration.objects.update(max_requests_per_minute=2)
    complete(endpoint, 5)
    EnterpriseWebhookConfiguration.objects.update(active=False)
    delivery.deliver_due()
    assert statuses() == [WebhookStatus.PARKED] * 5
    EnterpriseWebhookConfiguration.objects.update(active=True)
    delivery.deliver_due()
    assert len(receiver.log) == 1
    assert endpoint_gate.next_opening() > timezone.now() + timedelta(seconds=20)


def test_five_days_of_failures_switch_it_off(endpoint, receiver):
    answer(receiver, 500)
    complete(endpoint)
    delivery.deliver_due()
    WebhookEndpointHealth.objects.update(failing_since=timezone.now() - timedelta(days=5), failures=8)
    an_hour_later()
    delivery.deliver_due()
    assert health_of(endpoint).disabled_at is None, "nine attempts"
    an_hour_later()
    delivery.deliver_due()
    assert health_of(endpoint).disabled_reason == "no success in 5 days and 10 attempts"
    an_hour_later()
    delivery.deliver_due()
    assert statuses() == [WebhookStatus.PARKED]


def test_the_rate_limit_holds_across_rounds(endpoint, receiver):
    EnterpriseWebhookConfiguration.objects.update(max_requests_per_minute=122)
    complete(endpoint, 5)
    started = time.monotonic()
    while WebhookStatus.PENDING in statuses() or WebhookStatus.RECORDED in statuses():
        delivery.deliver_due()
        time.sleep(0.05)
    assert 1.4 < time.monotonic() - started < 15, "two at once, then one every half second"
    assert WebhookDeliveryAttempt.objects.count() == 5


def test_what_waits_for_another_workers_answer_does_not_make_a_round_spin(endpoint, receiver):
    """The other worker was killed a moment ago, with the only webhook that a failing endpoint gets."""
    complete(endpoint, 2)
    while address_due():
        pass
    WebhookEndpointHealth.objects.update(failures_in_a_row=1)
    assert len(endpoint_gate.admit(endpoint, 1)) == 1
    started = time.monotonic()
    assert delivery.deliver_in_slot(delivery.free_slot(), lambda: None) == 0
    assert time.monotonic() - started < 5
    assert receiver.log == []


def test_a_killed_workers_row_keeps_its_place_no_longer_than_an_attempt_takes(endpoint, receiver):
    """Its lease has two minutes to go, which the endpoint's other webhooks do not wait for."""
    complete(endpoint, 2)
    while address_due():
        pass
    WebhookEndpointHealth.objects.update(failures_in_a_row=1)
    [taken] = endpoint_gate.admit(endpoint, 1)
    longest = timedelta(seconds=endpoint.webhook_timeout_seconds) + endpoint_gate.AROUND_AN_ATTEMPT

    _claimed(taken, longest - timedelta(seconds=5))
    assert delivery.deliver_due() == 0
    _claimed(taken, longest + timedelta(seconds=1))
    assert delivery.deliver_due() == 1
    taken.refresh_from_db()
    assert taken.status == WebhookStatus.PENDING and taken.lease_token, "the row itself is still the other worker's"


def _claimed(webhook, ago):
    """Its worker claimed it that long ago."""
    claimed = WebhookTransmissionQueue.objects.filter(pk=webhook.pk)
    claimed.update(due_at=timezone.now() - ago + conf.ROW_LEASE)


def test_a_secret_that_cannot_be_read_sends_nothing_unsigned(endpoint, receiver, settings, caplog):
    complete(endpoint)
    WebhookSigningSecret._meta.get_field("secret").__dict__.pop("fernet", None)
    with connections["default"].cursor() as cursor:
        cursor.execute("UPDATE channel_webhooks_webhooksigningsecret SET secret = %s", [b"gAAAAA-not-ours"])
    delivery.deliver_due()
    assert receiver.log == [] and statuses() == [WebhookStatus.PENDING]
    assert "FERNET_KEYS" in caplog.text
    WebhookSigningSecret.objects.filter(endpoint_id=endpoint.pk).delete()
    an_hour_later()
    delivery.deliver_due()
    assert statuses() == [WebhookStatus.DELIVERED], "an endpoint without a secret is given one"


@pytest.fixture
def threaded_receiver(settings):
    """A receiver that answers many at once."""
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = True
    with HTTPServer(threaded=True) as server:
        yield server


def test_an_endpoint_that_hangs_and_a_hundred_healthy_ones(threaded_receiver):
    """None waits for the one that hangs, though it holds all that it may and its webhooks came first."""
    let_go = threading.Event()
    arrived = {}

    def hang(request):
        let_go.wait(25)
        return Response("late", status=500)

    def take(request):
        arrived.setdefault(request.headers["webhook-id"], time.monotonic())
        if len(arrived) == 100:
            let_go.set()
        return Response("ok")

    threaded_receiver.expect_request("/hangs").respond_with_handler(hang)
    threaded_receiver.expect_request("/takes").respond_with_handler(take)
    hanging = make_endpoint(make_customer(), threaded_receiver.url_for("/hangs"), webhook_timeout_seconds=20)
    complete(hanging, 8)
    healthy = [make_endpoint(make_customer(), threaded_receiver.url_for("/takes")) for _ in range(100)]
    for endpoint in healthy:
        complete(endpoint)
    started = time.monotonic()
    delivery.deliver_due(seconds=19)
    let_go.set()
    durations = sorted(moment - started for moment in arrived.values())
    assert len(durations) == 100
    assert durations[-1] < 19, "before the first attempt at the one that hangs has come to its end"
    assert health_of(hanging).failures_in_a_row >= 4
    assert not WebhookTransmissionQueue.objects.filter(status=WebhookStatus.FAILED).exists()


def test_a_senseless_rate_limit_stops_nobody(endpoint, receiver):
    other = make_endpoint(make_customer(), receiver.url_for("/hook"))
    EnterpriseWebhookConfiguration.objects.filter(pk=endpoint.pk).update(max_requests_per_minute=2_000_000_000)
    complete(endpoint, 2)
    complete(other, 2)
    delivery.deliver_due()
    assert statuses() == [WebhookStatus.DELIVERED] * 4


def test_a_pause_outlives_a_siblings_success(endpoint):
    until = timezone.now() + timedelta(hours=1)
    WebhookEndpointHealth.objects.filter(pk=endpoint.pk).update(paused_until=until, failures=1)
    WebhookEndpointHealth.note_success(endpoint.pk, timezone.now())
    assert (health_of(endpoint).paused_until is not None, health_of(endpoint).failures) == (True, 0)


def test_a_pending_row_without_an_endpoint_is_addressed(endpoint, receiver):
    """As a process of the former release writes it: the sweep puts it right, the next round sends it."""
    complete(endpoint)
    WebhookTransmissionQueue.objects.update(status=WebhookStatus.PENDING)
    sweep.tidy()
    delivery.deliver_due()
    assert statuses() == [WebhookStatus.DELIVERED]


def test_a_new_secret_mends_one_that_cannot_be_read(endpoint):
    with connections["default"].cursor() as cursor:
        cursor.execute("UPDATE channel_webhooks_webhooksigningsecret SET secret = %s", [b"gAAAAA-not-ours"])
    new = WebhookSigningSecret.rotate(endpoint, Kind.HMAC)
    assert endpoint.signing_secrets() == [new]


def test_many_failures_at_once_are_one_step_of_the_breakers_ladder(threaded_receiver):
    """What was under way when it opened is no probe."""
    together = threading.Barrier(32)

    def fail(request):
        together.wait(10)
        return Response("no", status=500)

    threaded_receiver.expect_request("/fails").respond_with_handler(fail)
    endpoint = make_endpoint(make_customer(), threaded_receiver.url_for("/fails"), max_concurrent_requests=32)
    complete(endpoint, 40)
    while address_due():
        pass
    delivery.deliver_due()
    assert len(threaded_receiver.log) == 32
    health = health_of(endpoint)
    assert (health.failures, health.failures_in_a_row) == (32, 5)
    assert health.breaker_open_until < timezone.now() + timedelta(seconds=31)


@pytest.mark.parametrize("taken", [0, 1])
def test_an_endpoint_that_takes_some_of_what_ends_together_does_not_fail_in_a_row(threaded_receiver, taken):
    together, answered = threading.Barrier(8), itertools.count()

    def answer_some(request):
        together.wait(10)
        return Response("", status=200 if next(answered) < taken else 500)

    threaded_receiver.expect_request("/some").respond_with_handler(answer_some)
    endpoint = make_endpoint(make_customer(), threaded_receiver.url_for("/some"), max_concurrent_requests=8)
    complete(endpoint, 8)
    while address_due():
        pass
    round_ = delivery.Round()
    assert round_._start() == 8
    wait(round_.under_way)
    round_._finish(0)
    assert bool(health_of(endpoint).breaker_open_until) is not bool(taken)


def test_an_endpoint_that_takes_some_of_what_ends_together_has_not_failed_for_days(threaded_receiver):
    """Refusals are no reason to send one at a time: the last of them may end with the first success."""
    together, answered = threading.Barrier(3), itertools.count()

    def answer_some(request):
        together.wait(10)
        return Response("", status=200 if next(answered) else 400)

    threaded_receiver.expect_request("/some").respond_with_handler(answer_some)
    endpoint = make_endpoint(make_customer(), threaded_receiver.url_for("/some"), max_concurrent_requests=3)
    WebhookEndpointHealth.objects.update(failing_since=timezone.now() - timedelta(days=6), failures=20)
    complete(endpoint, 3)
    while address_due():
        pass
    round_ = delivery.Round()
    assert round_._start() == 3
    wait(round_.under_way)
    round_._finish(0)
    assert sorted(statuses()) == [WebhookStatus.DELIVERED, WebhookStatus.DELIVERED, WebhookStatus.FAILED]
    assert health_of(endpoint).disabled_at is None


def test_what_is_parked_for_an_endpoint_switched_on_past_the_admin_is_due(endpoint):
    complete(endpoint, 2)
    EnterpriseWebhookConfiguration.objects.update(active=False)
    delivery.deliver_due()
    assert endpoint_gate.next_opening() is None, "nothing to do while it is off"
    EnterpriseWebhookConfiguration.objects.update(active=True)
    assert endpoint_gate.next_opening() <= timezone.now()


@pytest.mark.parametrize("left", [WebhookStatus.PARKED, WebhookStatus.RECORDED])
def test_the_order_is_kept_until_the_last_parked_webhook_is_pending(endpoint, left):
    """A round sends the first while another one is still taking up the rest."""
    complete(endpoint, 3)
    while address_due():
        pass
    WebhookEndpointHealth.objects.update(catching_up=True)
    last = WebhookTransmissionQueue.objects.order_by("-pk").first()
    WebhookTransmissionQueue.objects.filter(pk=last.pk).update(status=left)
    endpoint_gate.admit(endpoint, 1)
    WebhookTransmissionQueue.objects.filter(lease_token__isnull=False).update(status=WebhookStatus.DELIVERED)
    endpoint_gate.admit(endpoint, 1)
    assert health_of(endpoint).catching_up is True
    WebhookTransmissionQueue.objects.filter(lease_token__isnull=False).update(status=WebhookStatus.DELIVERED)
    WebhookTransmissionQueue.objects.filter(pk=last.pk).update(status=WebhookStatus.PENDING)
    endpoint_gate.admit(endpoint, 1)
    assert health_of(endpoint).catching_up is False


def test_a_deleted_endpoint_is_given_no_secret(endpoint):
    """A round that still has it in hand finds no secret, and makes one."""
    EnterpriseWebhookConfiguration.objects.get().delete()
    assert delivery._secrets_of(endpoint) == []
    assert not WebhookSigningSecret.objects.exists()


def test_a_secret_made_while_its_endpoint_is_deleted_goes_too(endpoint):
    """Django has collected the secrets to delete; then a rotation comes in, and then the endpoint's row goes."""
    in_hand = EnterpriseWebhookConfiguration.objects.get()
    EnterpriseWebhookConfiguration.objects.all()._raw_delete("default")
    assert WebhookSigningSecret.objects.exists()
    post_delete.send(EnterpriseWebhookConfiguration, instance=in_hand, using="default")
    assert not WebhookSigningSecret.objects.exists()
