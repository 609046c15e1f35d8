# SPDX-License-Identifier: AGPL-3.0-or-later
"""The rollout in the admin: what is shown, who may decide, and that a decision stays as it was made."""

import html
import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from channel_integrations.integrated_channel.models import WebhookRollout
from channel_integrations.integrated_channel.services import rollout
from tests.factories import make_customer, make_endpoint

pytestmark = pytest.mark.django_db


def url(page, *arguments, model="webhookrollout"):
    return reverse(f"admin:channel_webhooks_{model}_{page}", args=arguments)


def text_of(response):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode())).split())


def decisions():
    return list(
        WebhookRollout.objects.order_by("number").values_list("number", "percentage", "paused", "decided_by_id", "note")
    )


@pytest.fixture
def staff(staff):
    """``staff("add_…", …)``: the browser, and the user's id."""

    def sign_in(*codenames):
        client = staff(*codenames)
        return client, int(client.session[SESSION_KEY])

    return sign_in


@pytest.fixture
def operator(staff):
    return staff("add_webhookrollout", "view_webhookrollout")


def form(**changes):
    newest = WebhookRollout.newest()
    fields = {"percentage": newest.percentage, "paused": "on" if newest.paused else "", "note": "", **changes}
    return {"seen": newest.number, **{name: value for name, value in fields.items() if value is not None}}


def test_the_list_says_what_holds(operator, settings):
    client, _ = operator
    page = text_of(client.get(url("changelist")))
    assert "No webhook carries learning time: the flag is off." in page
    settings.FEATURES = {**settings.FEATURES, "ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT": True}
    page = text_of(client.get(url("changelist")))
    assert "the flag is off" not in page and "Learning time for 100 % of each customer's learners." in page
    endpoint = make_endpoint(make_customer("Acme <b>"), "https://partner.example.com/hook")
    rollout.switch_endpoint(endpoint, "always", note="pilot")
    rollout.decide(percentage=25, paused=True)
    page = text_of(client.get(url("changelist")))
    assert "Paused: no webhook carries learning time." in page and "those about 25 %" in page
    assert "Acme <b>, Other : always" in page
    assert f"endpoint {endpoint.pk} : always" in page and "pilot" in page and "command" in page


def test_the_form_begins_with_what_holds_and_adds_a_decision(operator):
    client, user_id = operator
    rollout.decide(percentage=5)
    page = client.get(url("add")).content.decode()
    assert 'name="percentage" value="5"' in page and "Save and add another" not in page
    answer = client.post(url("add"), form(percentage=25, note="two quiet days"), follow=True)
    assert "was added successfully" in text_of(answer)
    assert decisions() == [(1, 5, False, None, ""), (2, 25, False, user_id, "two quiet days")]
    entry = LogEntry.objects.get()
    assert (entry.user_id, entry.object_id, entry.object_repr) == (user_id, "2", "#2")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"percentage": "101"}, "less than or equal to 100"),
        ({"percentage": "-1"}, "greater than or equal to 0"),
        ({"percentage": ""}, "This field is required"),
        ({"percentage": "50 %"}, "Enter a whole number"),
        ({"note": "why not"}, "That holds already"),
        ({"percentage": "5", "note": "x" * 201}, "at most 200 characters"),
        ({"percentage": "5", "seen": "7"}, "Somebody decided in the meantime: 100 %, not paused."),
        ({"percentage": "5", "seen": ""}, "Somebody decided in the meantime"),
    ],
)
def test_what_cannot_be_decided_is_told(operator, changes, said):
    client, _ = operator
    answer = client.post(url("add"), form(**changes))
    assert answer.status_code == 200 and said in text_of(answer)
    assert decisions() == []


def test_a_form_that_was_open_while_somebody_paused_does_not_undo_the_pause(operator):
    client, _ = operator
    opened = form(percentage=50)
    rollout.decide(paused=True)
    assert "Somebody decided in the meantime: 100 %, paused." in text_of(client.post(url("add"), opened))
    assert WebhookRollout.newest().paused


def test_the_kill_switch_is_one_button(operator):
    client, user_id = operator
    rollout.decide(percentage=25)
    page = text_of(client.post(url("pause"), follow=True))
    assert "Paused. In a few seconds no webhook carries learning time" in page
    assert "Paused: no webhook carries learning time." in page
    client.post(url("pause"))
    assert decisions()[1:] == [(2, 25, True, user_id, "")]
    assert "Resumed." in text_of(client.post(url("resume"), follow=True))
    assert decisions()[2:] == [(3, 25, False, user_id, "")]
    assert list(LogEntry.objects.order_by("pk").values_list("object_repr", flat=True)) == ["#2", "#3"]


@pytest.mark.parametrize("page", ["pause", "resume"])
def test_nothing_is_decided_by_a_get(operator, page):
    client, _ = operator
    assert client.get(url(page)).status_code == 405
    assert decisions() == []


def test_deciding_needs_the_permission_to_add(staff):
    onlooker, _ = staff("view_webhookrollout", "change_enterprisewebhookconfiguration")
    page = onlooker.get(url("changelist"))
    assert page.status_code == 200 and b"Pause now" not in page.content and b"/add/" not in page.content
    for answer in (onlooker.get(url("add")), onlooker.post(url("add"), form(percentage=5))):
        assert answer.status_code == 403
    for page in ("pause", "resume"):
        assert onlooker.post(url(page)).status_code == 403
    outsider, _ = staff("view_webhooktransmissionqueue")
    assert outsider.get(url("changelist")).status_code == 403
    assert decisions() == []


def test_csrf_is_asked_for(operator):
    _, user_id = operator
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(get_user_model().objects.get(pk=user_id))
    assert strict.post(url("pause")).status_code == 403
    assert decisions() == []


def test_nobody_edits_or_deletes_a_decision():
    """Not even a superuser; and nobody can be given a permission for it."""
    get_user_model().objects.create_superuser("root", "root@example.com", "not-a-secret")
    client = Client()
    client.force_login(get_user_model().objects.get(username="root"))
    rollout.decide(percentage=5)
    page = client.get(url("change", 1))
    assert page.status_code == 200 and "5 %" in text_of(page) and 'name="percentage"' not in page.content.decode()
    assert client.post(url("change", 1), form(percentage=50)).status_code == 403
    assert client.post(url("delete", 1), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": "1", "post": "yes"}
    client.post(url("changelist"), chosen)
    assert client.get(url("history", 1)).status_code == 200
    assert decisions() == [(1, 5, False, None, "")]
    codenames = Permission.objects.filter(content_type__model="webhookrollout").values_list("codename", flat=True)
    assert sorted(codenames) == ["add_webhookrollout", "view_webhookrollout"]


def test_the_list_costs_the_same_for_many_decisions(operator, django_assert_max_num_queries):
    client, user_id = operator
    for percentage in range(40):
        rollout.decide(percentage=percentage, by=user_id)
    with django_assert_max_num_queries(12):
        page = client.get(url("changelist"))
    assert text_of(page).count("staff") >= 40


# The endpoint's switch


def endpoint_form(endpoint, **changes):
    send_from = timezone.localtime(endpoint.send_from)
    return {
        "enterprise_customer": str(endpoint.enterprise_customer_id),
        "region": endpoint.region,
        "webhook_url": endpoint.webhook_url,
        "active": "on",
        "accepts_us": "on",
        "sends_completions": "on",
        "webhook_timeout_seconds": "15",
        "max_concurrent_requests": "4",
        "send_from_0": send_from.strftime("%Y-%m-%d"),
        "send_from_1": send_from.strftime("%H:%M:%S"),
        "learning_time": "rollout",
        **changes,
    }


@pytest.fixture
def configurer(staff):
    return staff("view_enterprisewebhookconfiguration", "change_enterprisewebhookconfiguration")


def test_an_endpoints_switch_is_changed_in_its_form_and_kept_with_who_did_it(configurer, endpoint):
    client, user_id = configurer
    page = url("change", endpoint.pk, model="enterprisewebhookconfiguration")
    assert "“Always” lets a pilot customer go first." in text_of(client.get(page))
    client.post(page, endpoint_form(endpoint, learning_time="always"))
    client.post(page, endpoint_form(endpoint, learning_time="always", webhook_timeout_seconds="20"))
    endpoint.refresh_from_db()
    assert (endpoint.learning_time, endpoint.webhook_timeout_seconds) == ("always", 20)
    made = WebhookRollout.objects.get()
    assert (made.endpoint_id, made.learning_time, made.decided_by_id) == (endpoint.pk, "always", user_id)
    assert "Learning time" in LogEntry.objects.order_by("pk").first().get_change_message()


def test_an_endpoint_that_the_previous_release_has_added_is_saved_without_a_decision(configurer, endpoint):
    client, _ = configurer
    type(endpoint).objects.update(learning_time=None)
    page = url("change", endpoint.pk, model="enterprisewebhookconfiguration")
    shown = client.get(page).content.decode()
    options = re.search(r'<select name="learning_time".*?</select>', shown, re.S)[0]
    assert re.findall(r'value="(\w*)"', options) == ["rollout", "always", "never"] and "selected" not in options
    client.post(page, endpoint_form(endpoint, send_from_0=(timezone.now() - timedelta(days=1)).strftime("%Y-%m-%d")))
    endpoint.refresh_from_db()
    assert endpoint.learning_time == "rollout"
    assert decisions() == []


def test_a_switch_that_does_not_exist_is_refused(configurer, endpoint):
    client, _ = configurer
    page = url("change", endpoint.pk, model="enterprisewebhookconfiguration")
    for given in ("sometimes", ""):
        assert client.post(page, endpoint_form(endpoint, learning_time=given)).status_code == 200
    endpoint.refresh_from_db()
    assert endpoint.learning_time == "rollout"


def test_the_links_of_the_list_lead_somewhere(operator, endpoint):
    client, _ = operator
    rollout.switch_endpoint(endpoint, "never")
    links = re.findall(r'href="(/admin/channel_webhooks/[^"]+)"', client.get(url("changelist")).content.decode())
    expected = url("change", endpoint.pk, model="enterprisewebhookconfiguration")
    assert links.count(expected) == 2
