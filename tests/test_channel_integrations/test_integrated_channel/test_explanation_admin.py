# SPDX-License-Identifier: AGPL-3.0-or-later
"""The explanation in the admin: who may ask, that a look is kept, and that nothing happens on a GET."""

import html
import re
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.views.debug import ExceptionReporter

from channel_integrations.integrated_channel.admin.capped_paginator import CappedPaginator
from channel_integrations.integrated_channel.models import WebhookSuppression, WebhookTransmissionQueue
from channel_integrations.integrated_channel.services import retention
from channel_integrations.integrated_channel.services.explanation.story import STEPS
from tests.factories import COURSE, make_learner
from tests.test_channel_integrations.test_integrated_channel import stories
from tests.test_channel_integrations.test_integrated_channel.stories import Story

pytestmark = pytest.mark.django_db
MAY_EXPLAIN = "view_webhook_personal_data"
ALL = (MAY_EXPLAIN, "view_webhooksuppression", "view_webhooktransmissionqueue", "view_enterprisewebhookconfiguration")


def url(page, *arguments, model="webhooksuppression"):
    return reverse(f"admin:channel_webhooks_{model}_{page}", args=arguments)


def text_of(response):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode())).split())


@pytest.fixture
def story(receiver):
    return Story(receiver)


@pytest.fixture
def operator(staff):
    return staff(*ALL)


def ask(client, **changes):
    return client.post(url("explain"), {"learner": "maria", "customer": "Acme", "course": COURSE, **changes})


def note(story):
    stories.without_consent(story)
    story.passes()
    return WebhookSuppression.objects.get()


# The explanation


def test_the_answer_comes_first_then_every_step(operator, story):
    stories.unlinked(story)
    page = ask(operator)
    text = text_of(page)
    places = [text.index(words) for words in ("Not sent: the learner is no longer linked", *map(str, STEPS.values()))]
    assert places == sorted(places)
    assert "Is the learner linked to it? no the learner is no longer linked to the customer What changes it:" in text
    assert "What changes it: Django admin: Enterprise → Enterprise Customer Learners" in text
    assert page.content.decode().count('class="decides"') == 1
    assert 'icon-no.svg" alt=""' in page.content.decode()
    assert page.headers["Cache-Control"].startswith("max-age=0") and "no-store" in page.headers["Cache-Control"]


@pytest.mark.parametrize("what", [stories.delivered, stories.failed, stories.consent_came_late, stories.nowhere_to_go])
def test_any_story_is_shown(operator, story, what):
    what(story)
    assert ask(operator).context["told"]["conclusion"] in text_of(ask(operator))


def test_the_version_for_the_partner_names_nobody(operator, story):
    stories.delivered(story)
    page = ask(operator).content.decode()
    (copied,) = re.findall(r"<textarea readonly[^>]*>(.*?)</textarea>", page, re.S)
    assert "Delivered at " in copied and str(story.webhook.webhook_id) in copied
    assert not any(word in copied for word in (*stories.PERSONAL, str(story.learner.pk), "manage.py"))


def test_links_lead_to_what_one_may_see(operator, staff, story):
    stories.delivered(story)
    webhook = url("change", story.webhook.pk, model="webhooktransmissionqueue")
    endpoint = url("change", story.endpoint.pk, model="enterprisewebhookconfiguration")
    page = ask(operator).content.decode()
    assert f'href="{webhook}"' in page and f'href="{endpoint}"' in page
    page = ask(staff(MAY_EXPLAIN)).content.decode()
    assert webhook not in page and endpoint not in page


@pytest.mark.parametrize("name", ["username", "email", "pk"])
def test_the_learner_by_any_name(operator, story, name):
    assert "Not sent: " in text_of(ask(operator, learner=f" {getattr(story.learner, name)} "))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learner": "nobody"}, "There is no such learner"),
        ({"learner": ""}, "This field is required"),
        ({"customer": "Nobody"}, "There is no such customer"),
        ({"course": "Demo"}, "Type the key of a course run"),
        ({"course": "course-v1:a+b+c\x00"}, "Null characters are not allowed"),
    ],
)
def test_what_is_not_there_is_told_in_the_form(operator, story, changes, said):
    page = ask(operator, **changes)
    assert page.status_code == 200 and said in text_of(page) and "told" not in page.context
    assert not LogEntry.objects.exists()


def test_what_is_typed_is_shown_as_text(operator, story):
    page = ask(operator, learner="<script>alert(1)</script>").content.decode()
    assert "<script>alert" not in page


# Who may, and what is kept of it


def test_a_look_is_kept_in_the_learners_history_by_ids(operator, story):
    ask(operator)
    entry = LogEntry.objects.get()
    assert entry.user == get_user_model().objects.get(username__startswith="staff")
    assert (entry.content_type.model_class(), entry.object_id) == (get_user_model(), str(story.learner.pk))
    assert str(story.customer.uuid) in entry.change_message and COURSE in entry.change_message
    assert not any(word in entry.change_message + entry.object_repr for word in stories.PERSONAL)


def test_nothing_is_told_or_kept_on_a_get(operator, story):
    stories.delivered(story)
    asked = {"learner": "maria", "customer": "Acme", "course": COURSE}
    page = operator.get(url("explain"), asked)
    assert page.status_code == 200 and "Delivered" not in text_of(page) and "maria" not in page.content.decode()
    assert not LogEntry.objects.exists()
    assert operator.put(url("explain"), asked).status_code == 405


def test_it_needs_the_permission_for_personal_data(staff, story):
    for client in (staff(*(name for name in ALL if name != MAY_EXPLAIN)), staff("operate_webhooks")):
        assert client.get(url("explain")).status_code == 403
        assert ask(client).status_code == 403
    assert Client().get(url("explain")).status_code == 302
    assert not LogEntry.objects.exists()


def test_who_was_asked_for_is_in_no_error_report(operator, story):
    """Django mails to the site's ADMINS what was posted to a page that fails, but for what is marked as sensitive."""
    request = ask(operator, learner="maria@example.com").wsgi_request
    report = ExceptionReporter(request, ValueError, ValueError("a failure"), None).get_traceback_text()
    assert f"course = '{COURSE}'" in report
    assert "maria" not in report


def test_csrf_is_asked_for(operator, story):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(get_user_model().objects.get(username__startswith="staff"))
    assert ask(strict).status_code == 403


def test_a_webhook_fills_the_form_in_by_ids(operator, story):
    story.passes()
    page = operator.get(url("explain"), {"webhook": story.webhook.pk}).content.decode()
    for value in (story.learner.pk, story.customer.uuid, COURSE):
        assert f'value="{value}"' in page
    assert "maria" not in page


@pytest.mark.parametrize("webhook", ["", "0", "x", "1e3", "-1", "9" * 30, "١"])
def test_a_webhook_that_is_not_there_fills_nothing_in(operator, story, webhook):
    page = operator.get(url("explain"), {"webhook": webhook})
    assert page.status_code == 200 and not page.context["form"].initial


def test_a_webhook_that_was_scrubbed_leaves_the_learner_to_be_typed(operator, story):
    story.passes()
    retention.scrub_learner(story.learner.pk)
    page = operator.get(url("explain"), {"webhook": WebhookTransmissionQueue.objects.get().pk}).content.decode()
    assert f'value="{COURSE}"' in page and str(story.learner.pk) not in page


# The list


def test_the_list_says_why_and_for_whoever_may_see_it_whose(operator, staff, story):
    noted = note(story)
    page = text_of(operator.get(url("changelist")))
    assert "no data-sharing consent" in page and str(noted.user_id) in page and "Explain a completion" in page
    onlooker = staff("view_webhooksuppression")
    page = text_of(onlooker.get(url("changelist")))
    assert "no data-sharing consent" in page and str(noted.user_id) not in page and "Explain a" not in page
    assert str(noted.user_id) not in text_of(onlooker.get(url("change", noted.pk)))


def test_it_is_searched_by_ids(operator, staff, story):
    noted, onlooker = note(story), staff("view_webhooksuppression")

    def found(client, words):
        return client.get(url("changelist"), {"q": words}).context["cl"].result_count

    assert found(operator, str(noted.user_id)) == 1 and found(operator, "1") == 0
    assert found(onlooker, str(noted.user_id)) == 0 and found(operator, "9" * 30) == 0
    for client in (operator, onlooker):
        assert found(client, f"{COURSE} {noted.enterprise_customer_uuid}") == 1
        assert found(client, "course-v1:edX+Other+2026") == 0


def test_whose_it_is_cannot_be_guessed_at_in_the_address(staff, story):
    noted, onlooker = note(story), staff("view_webhooksuppression")
    for lookup in ("user_id", "user_id__gte", "passed_at__gte"):
        assert onlooker.get(url("changelist"), {lookup: noted.user_id}).status_code == 400
    for reason, count in ((noted.reason, 1), ("passed before the learner was linked", 0), ("no\0reason", 0), ("", 1)):
        assert onlooker.get(url("changelist"), {"reason": reason}).context["cl"].result_count == count


def test_nobody_adds_edits_or_deletes_one(story):
    noted = note(story)
    root = get_user_model().objects.create_superuser("root", "root@example.com", "not-a-secret")
    client = Client()
    client.force_login(root)
    assert client.get(url("add")).status_code == 403
    assert client.post(url("change", noted.pk), {"reason": "none"}).status_code == 403
    assert client.post(url("delete", noted.pk), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": str(noted.pk), "post": "yes"}
    client.post(url("changelist"), chosen)
    assert WebhookSuppression.objects.get().reason == noted.reason


def test_the_list_costs_the_same_for_many(operator, story, django_assert_max_num_queries):
    note(story)
    for number in range(40):
        learner = make_learner()
        WebhookSuppression.objects.create(
            enterprise_customer_uuid=story.customer.uuid,
            user_id=learner.pk,
            course_id=f"{COURSE}-{number}",
            passed_at=story.grade.passed_timestamp,
            reason="no data-sharing consent",
        )
    with django_assert_max_num_queries(8):
        operator.get(url("changelist"))


def test_the_list_counts_no_further_than_it_has_to(operator, story, monkeypatch):
    """There may be millions, and counting them by reason takes the database many seconds."""
    monkeypatch.setattr(CappedPaginator, "cap", 60)
    facets = {"_facets": "True"} if hasattr(admin, "ShowFacets") else {}  # new in Django 5
    noted = note(story)
    assert "1 suppressed webhook" in text_of(operator.get(url("changelist")))
    for number in range(60):
        noted.pk, noted.course_id, noted.noted_at = None, f"{COURSE}-{number}", noted.noted_at + timedelta(seconds=1)
        noted.save()
    with CaptureQueriesContext(connection) as asked:
        page = operator.get(url("changelist"), {"p": "2", **facets})
    assert "more than 60: narrow the list" in text_of(page)
    latest_first = WebhookSuppression.objects.order_by("-noted_at")
    assert list(page.context["cl"].result_list) == list(latest_first[50:])
    counts = [query["sql"] for query in asked if "COUNT(" in query["sql"]]
    assert len(counts) == 1 and "LIMIT 61" in counts[0]
