# SPDX-License-Identifier: AGPL-3.0-or-later
"""The register of disclosures in the admin: what it shows to whom, and its export."""

import csv
import io
import json

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from channel_integrations.integrated_channel.models import Erasure, WebhookDisclosure, WebhookStatus
from tests.test_channel_integrations.test_integrated_channel.test_admin.pages import (
    ENDPOINT,
    WEBHOOK,
    form_of,
    make_webhook,
    text_of,
    url,
)

pytestmark = pytest.mark.django_db

DISCLOSURE = "webhookdisclosure"
VIEW = f"view_{DISCLOSURE}"


def make_disclosure(endpoint, **fields):
    now = timezone.now()
    webhook = make_webhook(endpoint)
    known = {
        "webhook_id": webhook.webhook_id,
        "event_type": webhook.event_type,
        "enterprise_customer_uuid": webhook.enterprise_customer_uuid,
        "endpoint_id": endpoint.pk,
        "host": "hooks.example.com",
        "user_id": 4711,
        "data": ["learner.email", "learner.username"],
        "basis": "sponsored, consent given",
        "first_at": now,
        "last_at": now,
        "identifier": '{"username":"maria"}',
    }
    return WebhookDisclosure.objects.create(**{**known, **fields})


def export(browser, query="", kind="json"):
    response = browser.post(url(DISCLOSURE, "export") + query, {"format": kind})
    return response, b"".join(response.streaming_content).decode() if response.streaming else ""


def test_the_list_says_who_was_told_what(staff, endpoint):
    make_disclosure(endpoint, erasure=Erasure.TOLD)
    page = text_of(staff(VIEW, "view_webhook_personal_data").get(url(DISCLOSURE, "changelist")))
    for shown in (
        "4711",
        "hooks.example.com",
        "course_completion (learner: email, username)",
        "Acme",
        "sponsored",
        "was told to erase it",
    ):
        assert shown in page
    assert "maria" not in page


def test_whose_they_are_is_for_those_who_may_see_it(staff, endpoint):
    make_disclosure(endpoint)
    browser = staff(VIEW)
    page = text_of(browser.get(url(DISCLOSURE, "changelist")))
    assert "hooks.example.com" in page and "4711" not in page and "Export" not in page
    assert "0 disclosures" in text_of(browser.get(url(DISCLOSURE, "changelist") + "?q=4711"))
    assert export(browser)[0].status_code == 403
    assert not LogEntry.objects.exists()


def test_an_export_is_written_down(staff, endpoint):
    told = make_disclosure(endpoint)
    make_disclosure(endpoint, user_id=1)
    response, text = export(staff(VIEW, "view_webhook_personal_data"), "?q=4711")
    assert [fact["webhook"] for fact in json.loads(text)] == [str(told.webhook_id)]
    assert "maria" not in text
    assert "no-store" in response["Cache-Control"] and "attachment" in response["Content-Disposition"]
    entry = LogEntry.objects.get()
    assert "as json" in entry.change_message and "q=4711" in entry.change_message


def test_an_export_as_csv(staff, endpoint):
    make_disclosure(endpoint)
    response, text = export(staff(VIEW, "view_webhook_personal_data"), kind="csv")
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["user_id"] == "4711" and response["Content-Type"].startswith("text/csv")


def test_an_export_of_one_state(staff, endpoint):
    make_disclosure(endpoint)
    owed = make_disclosure(endpoint, erasure=Erasure.OWED)
    browser = staff(VIEW, "view_webhook_personal_data")
    assert [fact["webhook"] for fact in json.loads(export(browser, "?erasure=owed")[1])] == [str(owed.webhook_id)]
    assert json.loads(export(browser, "?erasure=nonsense")[1]) == []


def test_to_export_is_no_get(staff):
    assert staff(VIEW, "view_webhook_personal_data").get(url(DISCLOSURE, "export")).status_code == 405


def test_personal_data_alone_does_not_open_it(staff):
    browser = staff("view_webhook_personal_data")
    assert browser.get(url(DISCLOSURE, "changelist")).status_code == 403
    assert export(browser)[0].status_code == 403


def test_erasures_are_ticked_for_an_endpoint_that_is_added(operator, endpoint):
    added = operator.get(url(ENDPOINT, "add")).context["adminform"].form
    there = operator.get(url(ENDPOINT, "change", endpoint.pk)).context["adminform"].form
    assert (added["sends_erasures"].value(), there["sends_erasures"].value()) == (True, False)
    operator.post(url(ENDPOINT, "change", endpoint.pk), form_of(endpoint))
    endpoint.refresh_from_db()
    assert not endpoint.sends_erasures


def test_to_cancel_an_erasure_is_warned_of(operator, endpoint):
    plain = make_webhook(endpoint, status=WebhookStatus.PARKED)
    erasure = make_webhook(endpoint, status=WebhookStatus.PARKED, event_type="learner.erased", user_id=None)
    warning = "you owe that partner the word yourself"
    assert warning in text_of(operator.post(url(WEBHOOK, "cancel_one", erasure.pk)))
    assert warning not in text_of(operator.post(url(WEBHOOK, "cancel_one", plain.pk)))


def test_an_erasure_on_its_page(operator, endpoint):
    erasure = make_webhook(endpoint, event_type="learner.erased", user_id=None, purged_at=timezone.now())
    page = text_of(operator.get(url(WEBHOOK, "change", erasure.pk)))
    assert "The learner was retired." in page and "has confirmed the erasure" in page
    assert "?event_type__exact=learner.erased" in operator.get(url(WEBHOOK, "changelist")).content.decode()
