# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who may do what: view, see personal data, operate and configure are four things."""

import re

import pytest
from django.contrib.admin.models import LogEntry

from channel_integrations.integrated_channel.models import (
    WebhookEndpointHealth,
    WebhookSigningSecret,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from tests.test_channel_integrations.test_integrated_channel.test_admin.pages import (
    ENDPOINT,
    WEBHOOK,
    attempt,
    form_of,
    make_webhook,
    switch_off,
    text_of,
    url,
)

pytestmark = pytest.mark.django_db

VIEW = (f"view_{WEBHOOK}", f"view_{ENDPOINT}")
VIEWS = {"list", "page", "endpoint"}
OPERATION = {"replay", "cancel", "ask to replay", "ask to cancel", "test event", "switch on"}
#: what each may do, by the permissions that are given
ALLOWED = {
    (): set(),
    VIEW: VIEWS,
    (*VIEW, "view_webhook_personal_data"): {*VIEWS, "payload", "find learner"},
    (*VIEW, "operate_webhooks"): VIEWS | OPERATION,
    (*VIEW, f"change_{ENDPOINT}"): {*VIEWS, "configure", "secret"},
    (f"change_{ENDPOINT}",): {"endpoint", "configure", "secret"},
    # Both presuppose that one may see what they are about.
    ("operate_webhooks", "view_webhook_personal_data"): set(),
    # Django's own, which nothing here hangs on: nobody edits a webhook.
    (*VIEW, *(f"{verb}_{WEBHOOK}" for verb in ("add", "change", "delete"))): VIEWS,
}


@pytest.mark.parametrize("permissions", ALLOWED)
def test_who_may_do_what(staff, endpoint, receiver, permissions):
    browser = staff(*permissions)
    switch_off(endpoint)
    webhook = make_webhook(endpoint, status=WebhookStatus.PARKED)
    ids = {"webhooks": webhook.webhook_id.hex}
    answers = {
        "list": browser.get(url(WEBHOOK, "changelist")),
        "page": browser.get(url(WEBHOOK, "change", webhook.pk)),
        "endpoint": browser.get(url(ENDPOINT, "change", endpoint.pk)),
        "payload": browser.post(url(WEBHOOK, "payload", webhook.pk)),
        "find learner": browser.post(url(WEBHOOK, "learner"), {"learner": "maria"}),
        "ask to replay": browser.post(url(WEBHOOK, "replay_one", webhook.pk)),
        "ask to cancel": browser.post(url(WEBHOOK, "cancel_one", webhook.pk)),
        "replay": browser.post(url(WEBHOOK, "replay"), ids),
        "cancel": browser.post(url(WEBHOOK, "cancel"), ids),
        "test event": browser.post(url(ENDPOINT, "test_event", endpoint.pk)),
        "switch on": browser.post(url(ENDPOINT, "switch_on", endpoint.pk)),
        "secret": browser.post(url(ENDPOINT, "signing_secret", endpoint.pk), {"confirmed": "yes"}),
        "configure": browser.post(url(ENDPOINT, "change", endpoint.pk), form_of(endpoint, active=None)),
    }
    assert {name for name, answer in answers.items() if answer.status_code in (200, 302)} == ALLOWED[permissions]
    assert all(answers[name].status_code == 403 for name in set(answers) - ALLOWED[permissions])
    webhook.refresh_from_db()
    endpoint.refresh_from_db()
    may = ALLOWED[permissions].__contains__
    assert (webhook.status == WebhookStatus.CANCELLED) == may("cancel")
    assert (WebhookEndpointHealth.objects.get(pk=endpoint.pk).disabled_at is None) == may("switch on")
    assert (WebhookSigningSecret.objects.filter(endpoint_id=endpoint.pk).count() == 2) == may("secret")
    assert endpoint.active != may("configure")
    assert bool(receiver.log) == may("test event")
    entries = [name for name in ("payload", "cancel", "test event", "switch on", "secret", "configure") if may(name)]
    assert LogEntry.objects.count() == len(entries)


def buttons(page):
    """What can be pressed, but for signing out and what Django's own forms of a list have."""
    found = re.findall(r'<input type="submit" value="([^"]+)"', page.content.decode())
    return {text for text in found if text not in ("Search", "Filter")}


def test_whoever_may_only_view_sees_no_button(staff, endpoint):
    switch_off(endpoint)
    webhook = make_webhook(endpoint, status=WebhookStatus.FAILED, body="{}")
    attempt(webhook)
    viewer = staff(*VIEW)
    pages = (
        url(WEBHOOK, "changelist"),
        url(WEBHOOK, "change", webhook.pk),
        url(ENDPOINT, "changelist"),
        url(ENDPOINT, "change", endpoint.pk),
    )
    for page in pages:
        response = viewer.get(page)
        assert buttons(response) == set(), page
        assert not re.search("Replay|Cancel selected|Show payload|Test event", text_of(response)), page
    everything = staff(*VIEW, "operate_webhooks", "view_webhook_personal_data", f"change_{ENDPOINT}")
    assert buttons(everything.get(pages[0])) == {"Find"}
    assert {"Replay selected webhooks", "Cancel selected webhooks"} <= set(
        re.findall(r'<option value="\w+_selected">([^<]+)<', everything.get(pages[0]).content.decode())
    )
    assert buttons(everything.get(pages[1])) == {"Replay…", "Show payload"}
    own = {"Send test event", "Replace signing secret", "Switch on again"}
    assert buttons(everything.get(pages[3])) == {*own, "Save", "Save and continue editing"}


def test_a_list_action_needs_the_permission_to_operate(staff, endpoint):
    webhook = make_webhook(endpoint, status=WebhookStatus.FAILED)
    for action in ("replay_selected", "cancel_selected"):
        form = {"action": action, "_selected_action": [webhook.pk], "index": "0"}
        answer = staff(*VIEW, f"change_{WEBHOOK}").post(url(WEBHOOK, "changelist"), form)
        assert b"would be" not in answer.content and b"None of the selected" not in answer.content
        assert staff(*VIEW, "operate_webhooks").post(url(WEBHOOK, "changelist"), form).status_code == 200
    assert not WebhookTransmissionQueue.objects.exclude(status=WebhookStatus.FAILED).exists()
