# SPDX-License-Identifier: AGPL-3.0-or-later
"""The buttons of an endpoint: what each does, and who may press it."""

import html
import re
import uuid

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import resolve
from standardwebhooks import Webhook

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookEndpointHealth,
    WebhookSigningSecret,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import delivery
from channel_integrations.integrated_channel.signing import Kind, kind_of, public_key
from tests.factories import grade_event, make_learner
from tests.test_channel_integrations.test_integrated_channel.test_admin.pages import (
    BUTTONS,
    ENDPOINT,
    SECRET,
    WEBHOOK,
    alerts,
    assert_shown_nowhere,
    deliveries_asked_for,
    form_of,
    press,
    switch_off,
    text_of,
    url,
    with_another_key,
)

pytestmark = pytest.mark.django_db


def test_a_get_changes_nothing(operator, endpoint, receiver):
    switch_off(endpoint)
    for button in BUTTONS:
        assert operator.get(url(ENDPOINT, button, endpoint.pk)).status_code == 405
    assert operator.get(url(WEBHOOK, "replay")).status_code == 405
    assert WebhookEndpointHealth.objects.get(pk=endpoint.pk).disabled_at
    assert WebhookSigningSecret.objects.count() == 1
    assert not receiver.log and not LogEntry.objects.exists()


def test_buttons_need_the_token_of_their_forms(superuser, endpoint, receiver):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(superuser)
    switch_off(endpoint)
    for button in BUTTONS:
        assert press(browser, button, endpoint).status_code == 403
    assert browser.post(url(WEBHOOK, "replay"), {"webhooks": uuid.uuid4().hex}).status_code == 403
    page = browser.get(url(ENDPOINT, "change", endpoint.pk)).content.decode()
    forms = re.findall(
        r'<form action="([^"]+)" method="post"><input type="hidden" name="csrfmiddlewaretoken" value="([^"]+)">', page
    )
    assert [action for action, _ in forms] == [url(ENDPOINT, button, endpoint.pk) for button in BUTTONS]
    for action, token in forms:
        assert browser.post(action, {"csrfmiddlewaretoken": token}).status_code in (200, 302)
    assert len(receiver.log) == 1


@pytest.mark.parametrize("permission", [None, f"view_{ENDPOINT}", f"add_{ENDPOINT}", f"change_{WEBHOOK}"])
def test_buttons_need_permissions(staff, endpoint, receiver, permission):
    browser = staff(*filter(None, [permission]))
    switch_off(endpoint)
    for button in BUTTONS:
        assert press(browser, button, endpoint, confirmed="yes").status_code == 403
        assert browser.post(url(ENDPOINT, button, 999)).status_code == 403
    assert WebhookEndpointHealth.objects.get(pk=endpoint.pk).disabled_at
    assert WebhookSigningSecret.objects.count() == 1
    assert not receiver.log and not LogEntry.objects.exists()


def test_somebody_who_has_not_signed_in_is_asked_to(endpoint, receiver):
    for button in BUTTONS:
        response = press(Client(), button, endpoint, confirmed="yes")
        assert response.status_code == 302 and "/login/" in response["Location"]
    assert not receiver.log and WebhookSigningSecret.objects.count() == 1


@pytest.mark.parametrize("button", BUTTONS)
@pytest.mark.parametrize("number", [999, "none"])
def test_there_is_no_such_endpoint(operator, button, number):
    assert operator.post(url(ENDPOINT, button, number)).status_code == 404


def test_a_test_event_shows_the_answer(operator, endpoint, receiver):
    response = press(operator, "test_event", endpoint)
    said = text_of(response)
    assert "has taken the test event" in said and "Status HTTP 200" in said and "Start of the answer ok" in said
    assert re.search(r"Duration \d+ ms", said)
    (request, _), (secret,) = receiver.log[0], endpoint.signing_secrets()
    assert Webhook(secret).verify(request.get_data(), dict(request.headers))["event_type"] == "test"
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.get_change_message()) == (str(endpoint.pk), "Sent a test event: HTTP 200.")
    assert not WebhookTransmissionQueue.objects.exists()


def test_a_test_event_that_is_not_taken(operator, endpoint, receiver):
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("<script>no</script>", status=422)
    response = press(operator, "test_event", endpoint)
    assert "did not take the test event" in text_of(response) and "HTTP 422" in text_of(response)
    assert b"&lt;script&gt;no" in response.content and b"<script>no" not in response.content


def test_a_test_event_without_an_answer(operator, endpoint, settings):
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = False
    said = text_of(press(operator, "test_event", endpoint))
    assert "There was no answer. The URL, or an address" in said and "Error address_refused" in said
    assert LogEntry.objects.get().get_change_message() == "Sent a test event: address_refused."


def test_a_test_event_whose_secret_cannot_be_read(operator, endpoint, receiver):
    with_another_key(endpoint)
    said = text_of(press(operator, "test_event", endpoint))
    assert "Nothing was sent." in said and "was encrypted with another key" in said
    assert LogEntry.objects.get().get_change_message() == "Sent a test event: secret_unreadable."
    assert not receiver.log


def test_no_transaction_waits_for_an_endpoint():
    for where in (url(ENDPOINT, "test_event", 1), url(WEBHOOK, "replay")):
        assert resolve(where).func._non_atomic_requests == {"default"}


def test_a_secret_is_replaced_after_a_question_and_shown_once(operator, endpoint, caplog):
    (former,) = endpoint.signing_secrets()
    question = press(operator, "signing_secret", endpoint)
    assert "Replace the signing secret?" in text_of(question) and not SECRET.search(question.content.decode())
    assert endpoint.signing_secrets() == [former]
    response = press(operator, "signing_secret", endpoint, confirmed="yes")
    secrets = endpoint.signing_secrets()
    assert len(secrets) == 2 and secrets[1] == former
    assert SECRET.findall(html.unescape(response.content.decode())) == [secrets[0]]
    assert "no-store" in response["Cache-Control"]
    assert "For 24 hours webhooks are signed with the former secret as well" in text_of(response)
    assert not response.cookies.get("messages")
    assert LogEntry.objects.get().get_change_message() == "Replaced the signing secret (hmac)."
    assert_shown_nowhere(operator, endpoint)
    assert not SECRET.search(caplog.text)


def test_a_key_pair_shows_its_public_key_alone(operator, endpoint, caplog):
    assert checked(press(operator, "signing_secret", endpoint)) == ["hmac"]
    page = press(operator, "signing_secret", endpoint, confirmed="yes", kind="ed25519")
    private_key, _former = endpoint.signing_secrets()
    assert private_key.startswith("whsk_")
    assert f"<pre>{public_key(private_key)}</pre>" in html.unescape(page.content.decode())
    assert "The new public key" in text_of(page) and "shown now and never again" not in text_of(page)
    assert not SECRET.search(html.unescape(page.content.decode()))
    assert LogEntry.objects.get().get_change_message() == "Replaced the signing secret (ed25519)."
    shown = text_of(operator.get(url(ENDPOINT, "change", endpoint.pk)))
    assert f"public key (v1a, ed25519): {public_key(private_key)} a secret that both sides have" in shown
    assert_shown_nowhere(operator, endpoint)
    assert not SECRET.search(caplog.text)


def test_a_replacement_keeps_the_kind_unless_another_is_chosen(operator, endpoint):
    for chosen, kind in (("ed25519", "ed25519"), (None, "ed25519"), ("dsa", "ed25519"), ("hmac", "hmac")):
        press(operator, "signing_secret", endpoint, confirmed="yes", **({"kind": chosen} if chosen else {}))
        assert checked(press(operator, "signing_secret", endpoint)) == [kind]


def checked(page):
    return re.findall(r'<input type="radio" name="kind" value="(\w+)" required checked>', page.content.decode())


def test_the_page_of_an_endpoint_whose_secret_cannot_be_read(operator, endpoint):
    with_another_key(endpoint)
    assert "was encrypted with another key" in text_of(operator.get(url(ENDPOINT, "change", endpoint.pk)))


def test_whoever_replaces_a_secret_that_cannot_be_read_says_what_the_partner_has(operator, endpoint):
    WebhookSigningSecret.rotate(endpoint, Kind.ED25519)
    with_another_key(endpoint)
    for page in (
        press(operator, "signing_secret", endpoint),
        press(operator, "signing_secret", endpoint, confirmed="yes"),
    ):
        assert checked(page) == [] and "Replace the signing secret?" in text_of(page)
    assert not LogEntry.objects.exists()
    press(operator, "signing_secret", endpoint, confirmed="yes", kind="ed25519")
    assert kind_of(endpoint.signing_secrets()[0]) is Kind.ED25519


def test_a_new_secret_promises_no_overlap_where_there_is_no_former_one(operator, endpoint):
    WebhookSigningSecret.objects.all().delete()
    told = text_of(press(operator, "signing_secret", endpoint, confirmed="yes"))
    assert "No former secret signs beside it" in told and "24 hours" not in told


def test_what_is_signed_meanwhile_carries_both_signatures(operator, endpoint, receiver):
    (former,) = endpoint.signing_secrets()
    press(operator, "signing_secret", endpoint, confirmed="yes")
    press(operator, "test_event", endpoint)
    request, _ = receiver.log[0]
    for secret in (former, endpoint.signing_secrets()[0]):
        assert Webhook(secret).verify(request.get_data(), dict(request.headers))


def test_switched_on_again_what_was_parked_goes_out(operator, endpoint, receiver, django_capture_on_commit_callbacks):
    switch_off(endpoint)
    for _ in range(2):
        grade_event(make_learner(endpoint.enterprise_customer))
    delivery.deliver_due()
    assert not receiver.log
    with django_capture_on_commit_callbacks(execute=True):
        response = operator.post(url(ENDPOINT, "switch_on", endpoint.pk), follow=True)
    assert "2 parked webhooks go out now" in text_of(response) and alerts(response) == []
    assert deliveries_asked_for() == 1
    delivery.deliver_due()
    assert len(receiver.log) == 2
    assert LogEntry.objects.get().get_change_message() == "Switched on again."
    assert "Switch on again" not in text_of(operator.get(url(ENDPOINT, "change", endpoint.pk)))


def test_switched_on_again_with_nothing_parked(operator, endpoint):
    switch_off(endpoint)
    response = operator.post(url(ENDPOINT, "switch_on", endpoint.pk), follow=True)
    assert "The endpoint is on. Nothing was parked." in text_of(response)


def test_switched_on_twice_the_second_does_nothing(operator, endpoint, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks() as callbacks:
        response = operator.post(url(ENDPOINT, "switch_on", endpoint.pk), follow=True)
    assert "has not switched this endpoint off" in text_of(response)
    assert not callbacks and not LogEntry.objects.exists()


def test_switched_on_again_while_its_operator_has_it_off(operator, endpoint, django_capture_on_commit_callbacks):
    switch_off(endpoint)
    EnterpriseWebhookConfiguration.objects.update(active=False)
    with django_capture_on_commit_callbacks() as callbacks:
        response = operator.post(url(ENDPOINT, "switch_on", endpoint.pk), follow=True)
    assert "it is off here" in text_of(response) and alerts(response) == []
    assert not callbacks and not WebhookEndpointHealth.objects.get(pk=endpoint.pk).disabled_at


def by_its_button(operator, endpoint):
    return operator.post(url(ENDPOINT, "switch_on", endpoint.pk))


def by_active_ticked(operator, endpoint):
    EnterpriseWebhookConfiguration.objects.update(active=False)
    return operator.post(url(ENDPOINT, "change", endpoint.pk), form_of(endpoint))


@pytest.mark.parametrize("switch_on", [by_its_button, by_active_ticked])
def test_switched_on_again_what_it_had_refused_goes_out_with_what_was_parked(operator, endpoint, receiver, switch_on):
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("no", status=500)
    grade_event(make_learner(endpoint.enterprise_customer))
    delivery.deliver_due()
    switch_off(endpoint)
    grade_event(make_learner(endpoint.enterprise_customer))
    delivery.deliver_due()
    assert len(receiver.log) == 1, "which waits for its next try; the other is parked"
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("ok")
    assert switch_on(operator, endpoint).status_code == 302
    delivery.deliver_due()
    assert len(receiver.log) == 2
    assert set(WebhookTransmissionQueue.objects.values_list("status", flat=True)) == {WebhookStatus.DELIVERED}
