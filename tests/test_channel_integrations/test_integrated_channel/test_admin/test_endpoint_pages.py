# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pages of endpoints: what an operator sees."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookEndpointHealth,
    WebhookStatus,
)
from channel_integrations.integrated_channel.models.health import Failure
from tests.factories import make_customer, make_endpoint
from tests.test_channel_integrations.test_integrated_channel.test_admin.pages import (
    ENDPOINT,
    WEBHOOK,
    alerts,
    attempt,
    make_webhook,
    press,
    read,
    switch_off,
    text_of,
    url,
)

pytestmark = pytest.mark.django_db


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
