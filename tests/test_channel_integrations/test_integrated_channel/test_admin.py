# SPDX-License-Identifier: AGPL-3.0-or-later
"""The admin, through Django's test client: what an operator sees, what each button does, and who may press it."""

import html
import json
import re
import uuid
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.urls import resolve, reverse
from django.utils import timezone
from standardwebhooks import Webhook

from channel_integrations.integrated_channel.admin import webhook_views
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookDeliveryAttempt,
    WebhookEndpointHealth,
    WebhookSigningSecret,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.models.health import Failure
from channel_integrations.integrated_channel.services import delivery, retention
from tests.factories import grade_event, make_customer, make_endpoint, make_learner
from tests.lms_host.celery import app as celery_app

pytestmark = pytest.mark.django_db

ENDPOINT = "enterprisewebhookconfiguration"
WEBHOOK = "webhooktransmissionqueue"
BUTTONS = ("test_event", "signing_secret", "switch_on")
SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]+")


def url(model, page, *arguments):
    return reverse(f"admin:channel_webhooks_{model}_{page}", args=arguments)


def press(client, button, endpoint, **fields):
    return client.post(url(ENDPOINT, button, endpoint.pk), fields)


def read(markup):
    """What is read of some HTML."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"</?(span|wbr)\b[^>]*>", "", markup))).split())


def text_of(response):
    return read(response.content.decode())


def alerts(response):
    return [read(found) for found in re.findall(r'<div role="alert">(.*?)</div>', response.content.decode(), re.S)]


def written_down():
    """All that the log of actions and the sessions hold, as text."""
    entries = [f"{entry.object_repr} {entry.change_message}" for entry in LogEntry.objects.all()]
    return "\n".join([*entries, *(json.dumps(session.get_decoded()) for session in Session.objects.all())])


def make_webhook(endpoint=None, **fields):
    fields = {
        "deduplication_key": uuid.uuid4().hex,
        "event_type": "course_completion",
        "enterprise_customer_uuid": endpoint.enterprise_customer_id if endpoint else uuid.uuid4(),
        "endpoint_id": endpoint.pk if endpoint else None,
        "user_id": 7,
        "course_id": "course-v1:edX+Demo+2026",
        "occurred_at": timezone.now(),
        "status": WebhookStatus.DELIVERED,
        **fields,
    }
    return WebhookTransmissionQueue.objects.create(**fields)


def attempt(webhook, number=1, **fields):
    fields = {"started_at": timezone.now(), "duration_ms": 12, "status_code": 200, **fields}
    return WebhookDeliveryAttempt.objects.create(webhook=webhook, number=number, **fields)


def switch_off(endpoint, reason="HTTP 410"):
    assert WebhookEndpointHealth.objects.get(pk=endpoint.pk).disable(reason)


def form_of(endpoint=None, **fields):
    """The endpoint's form as a browser posts it."""
    send_from = timezone.localtime(timezone.now() - timedelta(days=30))
    form = {
        "enterprise_customer": str(endpoint.enterprise_customer_id) if endpoint else "",
        "region": endpoint.region if endpoint else "OTHER",
        "webhook_url": endpoint.webhook_url if endpoint else "https://hooks.example.com/hook",
        "active": "on",
        "webhook_timeout_seconds": "15",
        "max_concurrent_requests": "4",
        "learning_time": "rollout",
        "send_from_0": send_from.strftime("%Y-%m-%d"),
        "send_from_1": send_from.strftime("%H:%M:%S"),
        **fields,
    }
    return {name: value for name, value in form.items() if value is not None}


@pytest.fixture(autouse=True)
def no_call_of_the_test_before():
    """The broker is the process's own and outlives a test."""
    deliveries_asked_for()


def deliveries_asked_for():
    """How many calls for a round of deliveries lie in the broker."""
    with celery_app.connection_for_write() as broker:
        queue = celery_app.amqp.queues["edx.lms.core.default"](broker.default_channel)
        queue.declare()
        calls = 0
        while message := queue.get(no_ack=True):
            calls += message.headers["task"].endswith("process_webhook_queue")
        return calls


@pytest.fixture
def superuser():
    return get_user_model().objects.create_superuser("operator", "operator@example.com", "not-a-secret")


@pytest.fixture
def operator(superuser):
    """A browser that a superuser has signed in with; CSRF tokens are not asked for."""
    client = Client()
    client.force_login(superuser)
    return client


@pytest.fixture
def staff():
    """``staff("view_…", …)``: a browser of a staff user with these permissions of the app."""

    def sign_in(*codenames):
        number = get_user_model().objects.count()
        user = get_user_model().objects.create_user(f"staff{number}", is_staff=True)
        user.user_permissions.set(
            Permission.objects.filter(content_type__app_label="channel_webhooks", codename__in=codenames)
        )
        client = Client()
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def endpoint(receiver):
    """An endpoint of Acme."""
    return make_endpoint(make_customer("Acme"), receiver.url_for("/hook"))


@pytest.fixture
def delivered(endpoint):
    """Three webhooks that Acme has had."""
    for _ in range(3):
        grade_event(make_learner(endpoint.enterprise_customer))
    delivery.deliver_due()
    webhooks = list(WebhookTransmissionQueue.objects.order_by("pk"))
    assert [webhook.status for webhook in webhooks] == [WebhookStatus.DELIVERED] * 3
    return webhooks


# Pages


def test_every_page_renders(operator, endpoint):
    webhook = make_webhook(endpoint, body='{"learner": "maria"}', letter_grade="A-")
    attempt(webhook)
    for page in (
        url(ENDPOINT, "changelist"),
        url(ENDPOINT, "add"),
        url(ENDPOINT, "change", endpoint.pk),
        url(ENDPOINT, "history", endpoint.pk),
        url(ENDPOINT, "delete", endpoint.pk),
        url(WEBHOOK, "changelist"),
        url(WEBHOOK, "change", webhook.pk),
        url(WEBHOOK, "history", webhook.pk),
    ):
        assert operator.get(page).status_code == 200, page


def test_the_list_tells_the_states_apart(operator, receiver):
    customer = make_customer("Acme")
    now = timezone.now()
    endpoints = {
        region: make_endpoint(
            customer, f"https://{region.lower()}.example.com/hook", region=region, active=region != "EU"
        )
        for region in ("US", "EU", "OTHER")
    }
    paused = make_endpoint(make_customer("Bolt"), "https://bolt.example.com/hook")
    broken = make_endpoint(make_customer("Cord"), "https://cord.example.com/hook")
    catching_up = make_endpoint(make_customer("Dash"), "https://dash.example.com/hook")
    both = make_endpoint(make_customer("Echo"), "https://echo.example.com/hook", active=False)
    switch_off(endpoints["OTHER"])
    switch_off(both, "no success in 5 days and 12 attempts")
    WebhookEndpointHealth.note_success(endpoints["US"].pk, now)
    WebhookEndpointHealth.note_failure(paused.pk, now, Failure("HTTP 429", now, pause=timedelta(hours=1)))
    for _ in range(5):
        WebhookEndpointHealth.note_failure(broken.pk, now, Failure("HTTP 500", now))
    WebhookEndpointHealth.objects.filter(pk=catching_up.pk).update(catching_up=True)
    response = operator.get(url(ENDPOINT, "changelist"))
    rows = {
        re.search(r"\w+\.example\.com", row)[0]: row
        for row in map(read, re.findall(r"<tr>.*?</tr>", response.content.decode(), re.S))
        if "example.com" in row
    }
    assert re.search(r"us.example.com on 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC -$", rows["us.example.com"])
    assert rows["eu.example.com"].endswith("switched off by its operator - -")
    assert re.search(r"switched off by the sender since 20\S+ \S+ UTC: HTTP 410 - -$", rows["other.example.com"])
    assert re.search(r"paused until 20\S+ \S+ UTC - 20\S+ \S+ UTC: HTTP 429$", rows["bolt.example.com"])
    assert re.search(r"breaker open until 20\S+ \S+ UTC - 20\S+ \S+ UTC: HTTP 500$", rows["cord.example.com"])
    assert rows["dash.example.com"].endswith("on, catching up - -")
    assert re.search(r"its operator; switched off by the sender since .* 12 attempts", rows["echo.example.com"])
    assert "Acme" in rows["us.example.com"] and "United States" in rows["us.example.com"]
    for state, hosts in {
        "on": {"us", "bolt", "cord", "dash"},
        "operator": {"eu", "echo"},
        "sender": {"other", "echo"},
    }.items():
        listed = operator.get(url(ENDPOINT, "changelist"), {"state": state}).context["cl"].queryset
        assert {row.webhook_url.split("//")[1].partition(".")[0] for row in listed} == hosts
    assert operator.get(url(ENDPOINT, "changelist"), {"state": "other"}).status_code == 200


def test_an_endpoint_made_past_the_form(operator, endpoint):
    """Neither health nor secret, and a URL that cannot be read."""
    customer = make_customer("Bulk")
    EnterpriseWebhookConfiguration.objects.bulk_create(
        [EnterpriseWebhookConfiguration(enterprise_customer=customer, webhook_url="https://[no")]
    )
    bulk = EnterpriseWebhookConfiguration.objects.get(enterprise_customer=customer)
    assert "https://[no" in text_of(operator.get(url(ENDPOINT, "changelist")))
    page = operator.get(url(ENDPOINT, "change", bulk.pk))
    assert page.status_code == 200 and "none since the last success" in text_of(page)
    response = press(operator, "switch_on", bulk)
    assert response.status_code == 302
    assert not hasattr(EnterpriseWebhookConfiguration.objects.get(pk=bulk.pk), "health")
    assert operator.post(url(ENDPOINT, "delete", bulk.pk), {"post": "yes"}).status_code == 302
    assert not EnterpriseWebhookConfiguration.objects.filter(pk=bulk.pk).exists()


def test_the_change_page_shows_how_the_endpoint_fares(operator, endpoint):
    now = timezone.now()
    WebhookEndpointHealth.note_success(endpoint.pk, now - timedelta(hours=1))
    for _ in range(5):
        WebhookEndpointHealth.note_failure(endpoint.pk, now, Failure("timeout", now, pause=timedelta(minutes=5)))
    said = text_of(operator.get(url(ENDPOINT, "change", endpoint.pk)))
    assert "Change webhook endpoint Acme, Other" in said
    moment = r"20\S+ \S+ UTC"
    assert re.search(rf"State: breaker open until {moment}; paused until {moment}", said)
    assert re.search(rf"Failures: 5 since {moment} Failures in a row: 5", said)
    assert re.search(rf"Last success: {moment} Last failure: {moment}: timeout", said)
    assert "How it fares" not in text_of(operator.get(url(ENDPOINT, "add")))


def test_what_the_sender_has_switched_off_is_said_at_the_top(operator, staff, endpoint):
    other = make_endpoint(make_customer("Bolt <b>"), "https://bolt.example.com/hook", region="EU")
    assert alerts(operator.get(url(ENDPOINT, "changelist"))) == []
    assert alerts(operator.get(url(ENDPOINT, "change", endpoint.pk))) == []
    switch_off(endpoint, "no success in 5 days and 12 attempts")
    switch_off(other)
    for _ in range(2):
        make_webhook(endpoint, status=WebhookStatus.PARKED)
    make_webhook(other, status=WebhookStatus.PARKED)
    make_webhook(endpoint, status=WebhookStatus.FAILED)
    (notice,) = alerts(operator.get(url(ENDPOINT, "changelist")))
    assert re.search(r"Acme \(Other\) was switched off by the sender on 20\S+ \S+ UTC: no success in 5 days", notice)
    assert "2 webhooks are parked for it." in notice and f"endpoint {endpoint.pk}" in notice
    assert re.search(r"Bolt <b> \(European Union\) .*: HTTP 410\. 1 webhook is parked for it\.", notice)
    (notice,) = alerts(operator.get(url(ENDPOINT, "change", endpoint.pk)))
    assert "2 webhooks are parked" in notice and "Bolt" not in notice and "press “Switch on again”" in notice
    onlooker = staff(f"view_{ENDPOINT}")
    assert alerts(onlooker.get(url(ENDPOINT, "change", endpoint.pk))) == [notice]
    assert "Send test event" not in text_of(onlooker.get(url(ENDPOINT, "change", endpoint.pk)))


def test_lists_ask_no_more_for_more_rows(operator, django_assert_max_num_queries):
    def rows(count):
        for number in range(count):
            endpoint = make_endpoint(make_customer(f"Customer {number}"), "https://hooks.example.com/hook")
            switch_off(endpoint)
            make_webhook(endpoint, status=WebhookStatus.PARKED, user_id=number)

    def most(page):
        with django_assert_max_num_queries(100) as asked:
            operator.get(page)
        return len(asked)

    pages = [url(ENDPOINT, "changelist"), url(WEBHOOK, "changelist")]
    rows(2)
    before = [most(page) for page in pages]
    rows(12)
    for page, queries in zip(pages, before, strict=True):
        with django_assert_max_num_queries(queries):
            assert operator.get(page).status_code == 200


# Buttons


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
def test_buttons_need_the_permission_to_change(staff, endpoint, receiver, permission):
    browser = staff(*filter(None, [permission]))
    switch_off(endpoint)
    for button in BUTTONS:
        assert press(browser, button, endpoint, confirmed="yes").status_code == 403
        assert browser.post(url(ENDPOINT, button, 999)).status_code == 403
    assert WebhookEndpointHealth.objects.get(pk=endpoint.pk).disabled_at
    assert WebhookSigningSecret.objects.count() == 1
    assert not receiver.log and not LogEntry.objects.exists()


def test_buttons_for_whoever_may_change(staff, endpoint, receiver):
    browser = staff(f"change_{ENDPOINT}")
    assert press(browser, "test_event", endpoint).status_code == 200
    assert press(browser, "signing_secret", endpoint, confirmed="yes").status_code == 200
    assert press(browser, "switch_on", endpoint).status_code == 302


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


def with_another_key(endpoint):
    """Have the endpoint's secrets be such as another key's site has written."""
    field = WebhookSigningSecret._meta.get_field("secret")
    token = Fernet(Fernet.generate_key()).encrypt(b"whsec_of-another-key")
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {WebhookSigningSecret._meta.db_table} SET {field.column} = %s WHERE endpoint_id = %s",
            [connection.Database.Binary(token), endpoint.pk],
        )


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
    assert LogEntry.objects.get().get_change_message() == "Replaced the signing secret."
    assert_shown_nowhere(operator, endpoint)
    assert not SECRET.search(caplog.text)


def assert_shown_nowhere(operator, endpoint):
    webhook = make_webhook(endpoint)
    attempt(webhook)
    press(operator, "test_event", endpoint)
    for page in (
        url(ENDPOINT, "change", endpoint.pk),
        url(ENDPOINT, "history", endpoint.pk),
        url(ENDPOINT, "delete", endpoint.pk),
        url(ENDPOINT, "changelist"),
        url(WEBHOOK, "change", webhook.pk),
        reverse("admin:index"),
    ):
        assert not SECRET.search(html.unescape(operator.get(page).content.decode())), page
    assert not SECRET.search(written_down())


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


# The form


@pytest.mark.parametrize("button", ["_save", "_addanother", "_continue"])
def test_a_new_endpoint_shows_its_secret_once(operator, receiver, button):
    form = form_of(enterprise_customer=str(make_customer("Acme").pk), **{button: "Save"})
    response = operator.post(url(ENDPOINT, "add"), form)
    endpoint = EnterpriseWebhookConfiguration.objects.get()
    assert SECRET.findall(html.unescape(response.content.decode())) == endpoint.signing_secrets()
    assert response.status_code == 200 and "no-store" in response["Cache-Control"]
    assert LogEntry.objects.get().is_addition()
    assert_shown_nowhere(operator, endpoint)
    again = operator.post(url(ENDPOINT, "add"), form)
    assert not SECRET.search(again.content.decode()) and "already exists" in text_of(again)


def test_a_form_that_is_refused(operator):
    form = form_of(webhook_url="http://hooks.example.com/", retry_schedule="soon", ca_bundle="none")
    response = operator.post(url(ENDPOINT, "add"), {**form, "enterprise_customer": str(uuid.uuid4())})
    assert response.status_code == 200 and not EnterpriseWebhookConfiguration.objects.exists()
    errors = response.context["adminform"].errors
    assert set(errors) == {"enterprise_customer", "webhook_url", "retry_schedule", "ca_bundle"}


def test_switching_on_by_the_form_begins_anew(operator, endpoint, receiver, django_capture_on_commit_callbacks):
    operator.post(url(ENDPOINT, "change", endpoint.pk), form_of(endpoint, active=None))
    endpoint.refresh_from_db()
    assert not endpoint.active
    make_webhook(endpoint, status=WebhookStatus.PARKED, body="{}")
    switch_off(endpoint)
    with django_capture_on_commit_callbacks(execute=True):
        response = operator.post(url(ENDPOINT, "change", endpoint.pk), form_of(endpoint), follow=True)
    assert "1 parked webhook goes out now" in text_of(response)
    assert deliveries_asked_for() == 1
    assert not WebhookEndpointHealth.objects.get(pk=endpoint.pk).disabled_at
    delivery.deliver_due()
    assert len(receiver.log) == 1


def test_another_change_leaves_the_health_alone(operator, endpoint, django_capture_on_commit_callbacks):
    switch_off(endpoint)
    with django_capture_on_commit_callbacks() as callbacks:
        operator.post(url(ENDPOINT, "change", endpoint.pk), form_of(endpoint, max_requests_per_minute="30"))
    endpoint.refresh_from_db()
    assert endpoint.max_requests_per_minute == 30 and endpoint.health.disabled_at
    assert not callbacks


@pytest.mark.parametrize("user", ["superuser", "staff"])
def test_a_deleted_endpoint_takes_what_waits_with_it(operator, staff, endpoint, user):
    waiting = [make_webhook(endpoint, status=status) for status in (WebhookStatus.PENDING, WebhookStatus.PARKED)]
    done = make_webhook(endpoint)
    browser = operator if user == "superuser" else staff(f"view_{ENDPOINT}", f"delete_{ENDPOINT}")
    question = text_of(browser.get(url(ENDPOINT, "delete", endpoint.pk)))
    assert "Are you sure" in question and "permission" not in question
    assert "What waits for this endpoint is cancelled." in question
    assert browser.post(url(ENDPOINT, "delete", endpoint.pk), {"post": "yes"}).status_code == 302
    assert not EnterpriseWebhookConfiguration.objects.exists()
    assert not WebhookSigningSecret.objects.exists() and not WebhookEndpointHealth.objects.exists()
    for webhook in (*waiting, done):
        webhook.refresh_from_db()
    assert {(webhook.status, webhook.reason) for webhook in waiting} == {(WebhookStatus.CANCELLED, "endpoint deleted")}
    assert done.status == WebhookStatus.DELIVERED


def test_endpoints_are_deleted_from_the_list_as_well(operator, endpoint):
    form = {"action": "delete_selected", "_selected_action": [endpoint.pk]}
    assert "Are you sure" in text_of(operator.post(url(ENDPOINT, "changelist"), {**form, "index": "0"}))
    assert operator.post(url(ENDPOINT, "changelist"), {**form, "post": "yes"}).status_code == 302
    assert not EnterpriseWebhookConfiguration.objects.exists()


# Webhooks


def test_a_webhook_is_shown_without_personal_data(operator, staff, endpoint):
    webhook = make_webhook(endpoint, body="maria@example.com", letter_grade="B-minus")
    attempt(webhook, response_start="hello maria@example.com", response_headers={"server": "<nginx>", "via": "1.1 cdn"})
    attempt(webhook, number=2, status_code=None, error_code="timeout")
    for browser in (operator, staff(f"view_{WEBHOOK}")):
        page = browser.get(url(WEBHOOK, "change", webhook.pk))
        assert b"maria" not in page.content and b"B-minus" not in page.content
        assert "server: <nginx> via: 1.1 cdn" in text_of(page) and "timeout" in text_of(page)
        assert "Save" not in text_of(page)
        assert b"maria" not in browser.get(url(WEBHOOK, "changelist")).content
        assert browser.post(url(WEBHOOK, "change", webhook.pk), {"status": "failed"}).status_code == 403
        assert browser.get(url(WEBHOOK, "add")).status_code == 403
        assert browser.post(url(WEBHOOK, "delete", webhook.pk), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("lookup", ["body__contains", "body", "letter_grade", "attempts__response_start__contains"])
def test_what_is_not_shown_cannot_be_asked_for(operator, lookup):
    assert operator.get(url(WEBHOOK, "changelist"), {lookup: "maria"}).status_code == 400


def test_webhooks_are_found_by_their_ids(operator, endpoint):
    one = make_webhook(endpoint, user_id=41, course_id="course-v1:edX+One+2026")
    two = make_webhook(endpoint, user_id=412, course_id="course-v1:edX+Two+2026")
    make_webhook(user_id=5)

    def found(words):
        return list(operator.get(url(WEBHOOK, "changelist"), {"q": words}).context["cl"].queryset)

    assert found("41") == [one]
    assert found(str(one.webhook_id)) == found(one.webhook_id.hex.upper()) == [one]
    assert found("course-v1:edX+Two+2026") == [two]
    assert found(str(endpoint.enterprise_customer_id)) == [two, one]
    assert found(f"41 {endpoint.enterprise_customer_id}") == [one]
    assert found("41 412") == []


@pytest.mark.parametrize(
    "words",
    ["no", "12-34", f"{uuid.UUID(int=1)}0", "9" * 40, "9" * 5000, "²", "'\"%_\\", "\x00", "é 😀", "{}", "-1", "1.5"],
)
def test_a_malformed_search_finds_nothing(operator, endpoint, words):
    make_webhook(endpoint)
    for model in (WEBHOOK, ENDPOINT):
        response = operator.get(url(model, "changelist"), {"q": words})
        assert response.status_code in (200, 302)


def test_the_list_says_why(operator, endpoint):
    make_webhook(endpoint, status=WebhookStatus.FAILED, reason="HTTP 422", user_id=1234)
    make_webhook(endpoint, status=WebhookStatus.PARKED, reason="endpoint switched off")
    make_webhook(status=WebhookStatus.PENDING)
    said = text_of(operator.get(url(WEBHOOK, "changelist")))
    assert f"failed for good: HTTP 422 {endpoint.pk} 1234 course-v1:edX+Demo+2026 0 - 20" in said
    assert f"parked: the endpoint is switched off {endpoint.pk} 7 course" in said
    assert re.search(r"to be sent - 7 course-v1:edX\+Demo\+2026 0 20\S+ \S+ UTC 20\S+ \S+ UTC", said)
    assert str(endpoint.enterprise_customer_id) in said


def test_webhooks_are_filtered(operator, endpoint):
    one = make_webhook(endpoint, status=WebhookStatus.FAILED, backfilled=True)
    make_webhook(endpoint)
    for only in ({"status__exact": "failed"}, {"backfilled__exact": "1"}):
        assert list(operator.get(url(WEBHOOK, "changelist"), only).context["cl"].queryset) == [one]
    response = operator.get(url(WEBHOOK, "changelist"), {"event_type": "course_completion"})
    assert response.context["cl"].queryset.count() == 2


# Replays


def select(client, webhooks, query="", **fields):
    """Choose the action for these rows of the list."""
    form = {"action": "replay_selected", "_selected_action": [row.pk for row in webhooks], "index": "0", **fields}
    return client.post(url(WEBHOOK, "changelist") + query, form)


def confirm(client, question):
    """Press the button of the dry run's page."""
    page = question.content.decode()
    action = html.unescape(re.search(r'<form action="([^"]*replay/[^"]*)"', page)[1])
    ids = re.search(r'name="webhooks" value="([^"]+)"', page)[1]
    return client.post(action, {"webhooks": ids}, follow=True)


def test_a_selection_is_replayed(operator, delivered, receiver, django_capture_on_commit_callbacks):
    chosen = delivered[:2]
    question = select(operator, chosen, "?status__exact=delivered")
    assert "2 webhooks would be sent again" in text_of(question) and "2 × delivered" in text_of(question)
    assert not WebhookTransmissionQueue.objects.exclude(status=WebhookStatus.DELIVERED).exists()
    assert not LogEntry.objects.exists()
    with django_capture_on_commit_callbacks(execute=True):
        response = confirm(operator, question)
    assert "2 webhooks are being replayed, 60 a minute." in text_of(response)
    assert response.request["QUERY_STRING"] == "status__exact=delivered"
    assert deliveries_asked_for() == 1
    WebhookTransmissionQueue.objects.filter(status=WebhookStatus.RECORDED).update(due_at=timezone.now())
    delivery.deliver_due()
    ids = [request.headers["webhook-id"] for request, _ in receiver.log]
    assert len(ids) == 5 and sorted(ids[3:]) == sorted(str(webhook.webhook_id) for webhook in chosen)
    first = {request.headers["webhook-id"]: request.get_data() for request, _ in receiver.log[:3]}
    assert all(request.get_data() == first[request.headers["webhook-id"]] for request, _ in receiver.log[3:])
    entries = LogEntry.objects.order_by("pk")
    assert [(entry.object_id, entry.object_repr, entry.get_change_message()) for entry in entries] == [
        (str(webhook.pk), str(webhook.webhook_id), "Replayed.") for webhook in chosen
    ]
    assert "Replayed." in text_of(operator.get(url(WEBHOOK, "history", chosen[0].pk)))


def test_the_dry_run_says_what_is_left_alone_and_why(operator, endpoint):
    webhooks = [
        make_webhook(endpoint, status=status)
        for status in (
            *(WebhookStatus.DELIVERED, WebhookStatus.FAILED, WebhookStatus.FAILED, WebhookStatus.CANCELLED),
            *(WebhookStatus.NO_ENDPOINT, WebhookStatus.PARKED, WebhookStatus.PENDING, WebhookStatus.RECORDED),
            *(WebhookStatus.AWAITING_ENRICHMENT, WebhookStatus.DELIVERED),
        )
    ]
    WebhookTransmissionQueue.objects.filter(pk=webhooks[-1].pk).update(created=timezone.now() - timedelta(days=99))
    assert retention.purge(timedelta(days=90)) == 1
    said = text_of(select(operator, webhooks))
    assert "5 webhooks would be sent again" in said and "2 × failed for good" in said
    assert "5 of the selected webhooks cannot be replayed" in said
    assert "3 × unfinished" in said and "1 × parked" in said and "1 × purged" in said
    said = select(operator, webhooks[5:6])
    assert "None of the selected webhooks can be replayed." in text_of(said) and b'name="webhooks"' not in said.content


def test_all_pages_of_the_list_are_replayed(operator, delivered):
    question = select(operator, delivered[-1:], select_across="1")
    assert "3 webhooks would be sent again" in text_of(question)
    assert "3 webhooks are being replayed" in text_of(confirm(operator, question))
    assert WebhookTransmissionQueue.objects.filter(status=WebhookStatus.RECORDED).count() == 3


def test_what_is_shown_is_what_is_replayed(operator, delivered, endpoint):
    """Not what fits the list's filter by then."""
    question = select(operator, delivered[:1], "?status__exact=delivered", select_across="1")
    make_webhook(endpoint)
    WebhookTransmissionQueue.objects.filter(pk=delivered[0].pk).update(status=WebhookStatus.PENDING)
    assert "2 webhooks are being replayed" in text_of(confirm(operator, question))


def test_too_many_are_for_the_command(operator, endpoint):
    rows = [
        WebhookTransmissionQueue(
            deduplication_key=f"{number}",
            event_type="course_completion",
            enterprise_customer_uuid=endpoint.enterprise_customer_id,
            course_id="course-v1:edX+Demo+2026",
            occurred_at=timezone.now(),
            status=WebhookStatus.FAILED,
        )
        for number in range(webhook_views.MAX_AT_ONCE)
    ]
    WebhookTransmissionQueue.objects.bulk_create(rows, batch_size=2000)
    one = WebhookTransmissionQueue.objects.first()
    assert "10000 webhooks would be sent again" in text_of(select(operator, [one], select_across="1")).replace(",", "")
    make_webhook(endpoint)
    response = operator.get(select(operator, [one], select_across="1")["Location"])
    assert "more than 10000 webhooks" in text_of(response) and "manage.py replay_webhooks" in text_of(response)
    many = ",".join(uuid.uuid4().hex for _ in range(webhook_views.MAX_AT_ONCE + 1))
    assert operator.post(url(WEBHOOK, "replay"), {"webhooks": many}).status_code == 400


@pytest.mark.parametrize("ids", [None, "", ",", "1", "all", f"{uuid.uuid4().hex},"])
def test_a_replay_of_nothing_replays_nothing(operator, delivered, ids):
    form = {} if ids is None else {"webhooks": ids}
    assert operator.post(url(WEBHOOK, "replay"), form).status_code == 400
    assert not WebhookTransmissionQueue.objects.exclude(status=WebhookStatus.DELIVERED).exists()


def test_replays_need_the_permission_to_change_webhooks(staff, delivered):
    onlooker = staff(f"view_{WEBHOOK}", f"change_{ENDPOINT}")
    page = onlooker.get(url(WEBHOOK, "changelist"))
    assert page.status_code == 200 and "Replay" not in text_of(page)
    assert b"would be sent again" not in select(onlooker, delivered).content
    assert onlooker.post(url(WEBHOOK, "replay"), {"webhooks": delivered[0].webhook_id.hex}).status_code == 403
    assert not WebhookTransmissionQueue.objects.exclude(status=WebhookStatus.DELIVERED).exists()
    operator = staff(f"change_{WEBHOOK}")
    assert "1 webhook is being replayed." in text_of(confirm(operator, select(operator, delivered[:1])))
