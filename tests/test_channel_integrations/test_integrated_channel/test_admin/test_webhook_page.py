# SPDX-License-Identifier: AGPL-3.0-or-later
"""The page of one webhook."""

import json
import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from channel_integrations.integrated_channel.admin.timeline import LOOKUPS
from channel_integrations.integrated_channel.models import WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.services import delivery
from docs.generate import codes
from tests.factories import grade_event, make_learner
from tests.test_channel_integrations.test_integrated_channel.test_admin.pages import (
    ENDPOINT,
    WEBHOOK,
    attempt,
    make_webhook,
    read,
    text_of,
    url,
    written_down,
)

pytestmark = pytest.mark.django_db


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


PAYLOAD = {"learner": {"username": "maria", "email": "maria@example.com"}, "completion": {"letter_grade": "B-minus"}}


def test_the_payload_is_shown_after_a_click_that_is_written_down(staff, endpoint):
    webhook = make_webhook(endpoint, body=json.dumps(PAYLOAD))
    attempt(webhook, response_start="hello <maria>", status_code=503)
    browser = staff(f"view_{WEBHOOK}", "view_webhook_personal_data")
    page = browser.get(url(WEBHOOK, "change", webhook.pk))
    assert b"maria" not in page.content and b'value="Show payload"' in page.content
    for times in (1, 2):
        response = browser.post(url(WEBHOOK, "payload", webhook.pk))
        said = text_of(response)
        assert '"username": "maria", "email": "maria@example.com"' in said and "hello <maria>" in said
        assert b"hello &lt;maria&gt;" in response.content and b"  &quot;learner&quot;: {\n" in response.content
        assert "no-store" in response["Cache-Control"]
        assert LogEntry.objects.count() == times
    entry = LogEntry.objects.first()
    assert (entry.object_id, entry.object_repr) == (str(webhook.pk), str(webhook.webhook_id))
    assert entry.get_change_message() == "Viewed the payload." and entry.user.username.startswith("staff")
    assert "Viewed the payload." in text_of(browser.get(url(WEBHOOK, "history", webhook.pk)))
    assert "maria" not in written_down()


def test_a_payload_that_is_not_there(operator, endpoint):
    waiting = make_webhook(endpoint, status=WebhookStatus.RECORDED)
    purged = make_webhook(endpoint, user_id=None, purged_at=timezone.now())
    broken = make_webhook(endpoint, body="{no json")
    for webhook, said in ((waiting, "There is none yet"), (purged, "It was purged."), (broken, "{no json")):
        assert said in text_of(operator.post(url(WEBHOOK, "payload", webhook.pk)))


def events(page):
    """The lines of the timeline, as they are read."""
    table = re.search(r'<table class="timeline">.*?</table>', page.content.decode(), re.S)[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.S)[1:]
    return [[read(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)] for row in rows]


def test_the_timeline_is_in_order(operator, endpoint):
    began = timezone.now() - timedelta(days=3)
    webhook = make_webhook(
        endpoint,
        occurred_at=began,
        created=began + timedelta(seconds=2),
        finished_at=began + timedelta(days=2, hours=3),
        delivered_at=began + timedelta(days=2, hours=3),
        learning_time_status="found",
        lookup_ms=130,
        attempts_made=3,
    )
    headers = {"server": "nginx", "x-request-id": "7"}
    attempt(webhook, started_at=began + timedelta(seconds=3), status_code=503, response_headers=headers)
    attempt(
        webhook, 2, started_at=began + timedelta(minutes=7), status_code=None, error_code="timeout", duration_ms=15000
    )
    attempt(webhook, 3, started_at=began + timedelta(days=2, hours=3))
    page = operator.get(url(WEBHOOK, "change", webhook.pk))
    assert [line[1:] for line in events(page)] == [
        ["", "The learner passed.", "", ""],
        ["+ 2.0 s", "The webhook was made.", "", ""],
        ["", "Learning time: There is a number.", "130 ms", ""],
        ["+ 1.0 s", "Attempt 1: HTTP 503, to be tried again", "12 ms", "server: nginx x-request-id: 7"],
        [
            "+ 6 min 57 s",
            "Attempt 2: timeout: There was no whole answer within the endpoint's timeout.",
            "15000 ms",
            "-",
        ],
        ["+ 2 d 2 h", "Attempt 3: HTTP 200, taken", "12 ms", "-"],
        ["+ 0.0 s", "The end: delivered.", "", ""],
    ]
    assert "Learning time: There is a number." in text_of(page)
    webhook.lookup_ms, webhook.finished_at, webhook.status = 0, None, WebhookStatus.RECORDED
    webhook.save()
    lines = events(operator.get(url(WEBHOOK, "change", webhook.pk)))
    assert lines[2] == ["-", "", "Learning time: There is a number.", "cache", ""]
    assert lines[-1][2] == "It was delivered, before it was replayed."


def test_a_real_delivery_has_its_page(operator, endpoint, receiver):
    grade_event(make_learner(endpoint.enterprise_customer))
    delivery.deliver_due()
    webhook = WebhookTransmissionQueue.objects.get()
    page = operator.get(url(WEBHOOK, "change", webhook.pk))
    assert [line[2].partition(":")[0] for line in events(page)] == [
        *("The learner passed.", "The webhook was made.", "Learning time", "Attempt 1", "The end"),
    ]
    assert "Delivered The endpoint has taken it." in text_of(page)


def test_the_page_says_where_the_webhook_stands_and_links_to_what_it_is_about(operator, endpoint):
    endpoint.active = False
    endpoint.save()
    webhook = make_webhook(endpoint, status=WebhookStatus.PARKED)
    page = operator.get(url(WEBHOOK, "change", webhook.pk))
    said = text_of(page)
    assert "Parked: the endpoint is switched off The endpoint was switched off by its operator." in said
    assert f'href="{url(ENDPOINT, "change", endpoint.pk)}"' in page.content.decode()
    assert f"Customer: Acme {endpoint.enterprise_customer_id}" in said
    customer = reverse("admin:enterprise_enterprisecustomer_change", args=[endpoint.enterprise_customer_id])
    assert f'href="{customer}"' in page.content.decode()
    try:
        why = reverse("admin:channel_webhooks_webhooksuppression_explain")
    except NoReverseMatch:
        assert "Why?" not in said
    else:
        assert f'href="{why}?webhook={webhook.pk}"' in page.content.decode()


def test_a_webhook_of_a_customer_and_endpoint_that_are_gone(operator):
    webhook = make_webhook(status=WebhookStatus.CANCELLED, reason="endpoint deleted", endpoint_id=999)
    said = text_of(operator.get(url(WEBHOOK, "change", webhook.pk)))
    assert f"Customer: {webhook.enterprise_customer_uuid}" in said and "It was cancelled (endpoint deleted)." in said


def test_every_outcome_of_a_lookup_has_words():
    assert set(LOOKUPS) == {"", *codes.WITHOUT_ERROR, *codes.LOOKUPS}


def test_the_page_of_an_enrolment(operator, endpoint):
    """It is told as one, and its page does not send people to the explanation of completions."""
    completion = make_webhook(endpoint, user_id=41)
    enrolment = make_webhook(endpoint, user_id=41, event_type="course_enrollment", enrollment_mode="verified")
    for webhook, told, has_why in (
        (completion, "The learner passed.", True),
        (enrolment, "The learner enrolled.", False),
    ):
        page = operator.get(url(WEBHOOK, "change", webhook.pk))
        assert told in text_of(page) and bool(page.context["why_url"]) is has_why


def test_a_revision_names_its_completion_and_as_of_when_its_number_is(operator, endpoint):
    completion = make_webhook(endpoint)
    today = timezone.now()
    revision = make_webhook(
        endpoint,
        event_type="course_completion.revised",
        revises=completion.webhook_id,
        held_at=today,
        learning_time_status="found",
        learning_time_as_of=today.date() - timedelta(days=1),
    )
    page = operator.get(url(WEBHOOK, "change", revision.pk))
    assert f'href="{url(WEBHOOK, "change", completion.pk)}"' in page.content.decode()
    assert f"As of {today.date() - timedelta(days=1)}: not final." in text_of(page)
    assert "It began to wait until its learning time is final." in text_of(page)
    said = text_of(operator.get(url(WEBHOOK, "change", completion.pk)))
    assert f"Revised by: {revision.webhook_id} : delivered" in said
    WebhookTransmissionQueue.objects.filter(pk=completion.pk).delete()
    assert str(completion.webhook_id) in text_of(operator.get(url(WEBHOOK, "change", revision.pk)))
