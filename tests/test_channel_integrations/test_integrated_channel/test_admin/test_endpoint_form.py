# SPDX-License-Identifier: AGPL-3.0-or-later
"""The form of an endpoint, and its deletion."""

import html
import uuid
from datetime import timedelta

import pytest
import trustme
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookEndpointHealth,
    WebhookRollout,
    WebhookSigningSecret,
    WebhookStatus,
)
from channel_integrations.integrated_channel.services import delivery
from tests.factories import make_customer
from tests.test_channel_integrations.test_integrated_channel.test_admin.pages import (
    ENDPOINT,
    SECRET,
    assert_shown_nowhere,
    deliveries_asked_for,
    form_of,
    make_webhook,
    switch_off,
    text_of,
    url,
    written_down,
)

pytestmark = pytest.mark.django_db


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


def test_every_field_is_explained_and_the_form_says_what_to_type(operator, endpoint, settings):
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = False
    valid = {"webhook_url": "https://hooks.example.com/hook"}
    fields = operator.get(url(ENDPOINT, "add")).context["adminform"].form.fields
    assert [name for name, field in fields.items() if len(str(field.help_text)) < 80] == []
    for changes, said in (
        ({"webhook_url": "http://hooks.example.com/"}, "The URL must begin with https://."),
        ({"webhook_url": "hooks"}, "Type an https URL, for example https://partner.example.com/webhooks."),
        ({"webhook_url": "https://10.0.0.1/hook"}, "public"),
        ({"webhook_timeout_seconds": "0"}, "Type a whole number from 1 to 60."),
        ({"webhook_timeout_seconds": "61"}, "Type a whole number from 1 to 60."),
        ({"webhook_timeout_seconds": "soon"}, "Type a whole number from 1 to 60."),
        ({"max_concurrent_requests": "33"}, "Type a whole number from 1 to 32."),
        ({"max_requests_per_minute": "0"}, "Type a whole number of 1 or more, or leave it empty."),
        ({"retry_schedule": "5 minutes"}, "Type waits of 1 s to 72 h, with s, m or h, separated by spaces"),
        ({"ca_bundle": "certificate"}, "Paste certificates in PEM form"),
        ({"enterprise_customer": "Acme"}, "Choose a customer"),
        ({"sends_completions": None}, "Tick completions, enrolments or both"),
        ({"region": "US", "accepts_eu": "on"}, "Only the endpoint for Other can accept learners of another region"),
        ({"send_from_0": "yesterday"}, "Enter a valid date"),
    ):
        response = operator.post(url(ENDPOINT, "change", endpoint.pk), form_of(endpoint, **{**valid, **changes}))
        errors = response.context["adminform"].form.errors
        assert len(errors) == 1 and said in str(errors), (changes, errors)


def test_the_history_has_the_values_before_and_after(operator, endpoint, receiver):
    EnterpriseWebhookConfiguration.objects.update(webhook_url="https://hooks.example.com/a?token=former")
    endpoint.refresh_from_db()
    authority = trustme.CA().cert_pem.bytes().decode()
    changes = {
        "webhook_url": "https://hooks.example.com/b?token=sesame",
        "active": None,
        "max_requests_per_minute": "30",
        "retry_schedule": "5s 5m",
        "learning_time": "always",
        "ca_bundle": authority,
    }
    response = operator.post(url(ENDPOINT, "change", endpoint.pk), form_of(endpoint, **changes))
    assert response.status_code == 302
    said = LogEntry.objects.get().get_change_message()
    for change in (
        "URL (https://hooks.example.com/a?… → https://hooks.example.com/b?…)",
        "Active (yes → no)",
        "Requests per minute (empty → 30)",
        "Retry schedule (empty → 5s 5m)",
        "Learning time (as the site's rollout says → always: for every learner, whatever the percentage)",
        "CA certificates",
    ):
        assert change in said
    assert "sesame" not in written_down() and "former" not in written_down() and "CERTIFICATE---" not in written_down()
    assert "Active (yes → no)" in text_of(operator.get(url(ENDPOINT, "history", endpoint.pk)))
    decided = WebhookRollout.newest()
    assert (decided.endpoint_id, decided.learning_time) == (endpoint.pk, "always")


def test_which_regions_the_endpoint_for_other_accepts(operator, endpoint):
    """By default the US and not the EU, also where a release wrote the row that did not know of the choice."""
    for stored in ({"accepts_us": True, "accepts_eu": False}, {"accepts_us": None, "accepts_eu": None}):
        EnterpriseWebhookConfiguration.objects.update(**stored)
        page = operator.get(url(ENDPOINT, "change", endpoint.pk))
        form = page.context["adminform"].form
        ticked = {name: f'name="{name}"' in str(form[name]) and "checked" in str(form[name]) for name in stored}
        assert ticked == {"accepts_us": True, "accepts_eu": False}
        assert operator.post(url(ENDPOINT, "change", endpoint.pk), form_of(endpoint)).status_code == 302
        endpoint.refresh_from_db()
        assert (endpoint.accepts_us, endpoint.accepts_eu) == (True, False)
    operator.post(url(ENDPOINT, "change", endpoint.pk), form_of(endpoint, accepts_us=None, accepts_eu="on"))
    endpoint.refresh_from_db()
    assert (endpoint.accepts_us, endpoint.accepts_eu) == (False, True)
    said = LogEntry.objects.order_by("pk").last().get_change_message()
    assert "Accepts learners from the US (yes → no)" in said and "Accepts learners from the EU (no → yes)" in said


def test_a_new_endpoint_says_as_of_when_unless_it_is_unticked(operator):
    page = operator.get(url(ENDPOINT, "add"))
    assert page.context["adminform"].form["states_as_of"].initial is True
    operator.post(url(ENDPOINT, "add"), form_of(enterprise_customer=str(make_customer("Acme").pk)))
    endpoint = EnterpriseWebhookConfiguration.objects.get()
    assert endpoint.states_as_of is False
    page = operator.get(url(ENDPOINT, "change", endpoint.pk))
    assert page.context["adminform"].form["states_as_of"].initial is False


def test_how_long_a_final_number_is_waited_for_has_its_bounds(operator, endpoint):
    wrong = form_of(endpoint, hold_hours="169", revise_from_seconds="-1", learning_time_timing="later")
    errors = operator.post(url(ENDPOINT, "change", endpoint.pk), wrong).context["adminform"].errors
    assert set(errors) == {"hold_hours", "revise_from_seconds", "learning_time_timing"}
    assert errors["hold_hours"] == ["Type a whole number from 1 to 168."]
    right = form_of(endpoint, hold_hours="24", revise_from_seconds="0", learning_time_timing="revise")
    operator.post(url(ENDPOINT, "change", endpoint.pk), right)
    endpoint.refresh_from_db()
    assert (endpoint.waits_for_final, endpoint.revised_from) == (timedelta(hours=24), 0)
    assert endpoint.revises and not endpoint.holds


@pytest.mark.parametrize("timing", ["now", "hold", "revise"])
@pytest.mark.parametrize("chosen", [("standard", "learning_time"), ("percipio", "duration_spent")])
def test_there_is_no_waiting_for_a_number_that_is_left_out(operator, endpoint, timing, chosen):
    payload_format, omitted = chosen
    form = form_of(endpoint, learning_time_timing=timing, payload_format=payload_format, omitted_fields=[omitted])
    answer = operator.post(url(ENDPOINT, "change", endpoint.pk), form)
    if timing == "now":
        assert answer.status_code == 302
    else:
        assert set(answer.context["adminform"].errors) == {"learning_time_timing"}


@pytest.mark.parametrize("timing", ["hold", "revise"])
def test_a_format_that_this_release_does_not_know_is_said_to_be_unknown(operator, endpoint, timing):
    EnterpriseWebhookConfiguration.objects.update(payload_format="cloud_events")
    form = form_of(endpoint, payload_format="cloud_events", learning_time_timing=timing)
    answer = operator.post(url(ENDPOINT, "change", endpoint.pk), form)
    assert set(answer.context["adminform"].errors) == {"payload_format"}


def test_a_change_of_when_to_send_has_what_is_held_looked_at_at_once(
    operator, endpoint, django_capture_on_commit_callbacks
):
    tomorrow = timezone.now() + timedelta(days=1)
    held = make_webhook(endpoint, status=WebhookStatus.AWAITING_FINAL, due_at=tomorrow, enrich_by=tomorrow)
    EnterpriseWebhookConfiguration.objects.update(learning_time_timing="hold")
    with django_capture_on_commit_callbacks(execute=True):
        operator.post(url(ENDPOINT, "change", endpoint.pk), form_of(endpoint, learning_time_timing="hold"))
    held.refresh_from_db()
    assert held.due_at == tomorrow
    with django_capture_on_commit_callbacks(execute=True):
        operator.post(url(ENDPOINT, "change", endpoint.pk), form_of(endpoint))
    held.refresh_from_db()
    assert held.due_at <= timezone.now()
    assert deliveries_asked_for() == 1
