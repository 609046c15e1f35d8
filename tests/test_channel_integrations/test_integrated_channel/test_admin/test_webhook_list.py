# SPDX-License-Identifier: AGPL-3.0-or-later
"""The list of webhooks: filters and search."""

import html
import re
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from channel_integrations.integrated_channel.admin.capped_paginator import CappedPaginator
from channel_integrations.integrated_channel.admin.webhook_filters import MAX_CHOICES
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from tests.factories import make_customer, make_endpoint, make_learner
from tests.test_channel_integrations.test_integrated_channel.test_admin.pages import (
    ENDPOINT,
    WEBHOOK,
    make_webhook,
    text_of,
    url,
    written_down,
)

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "lookup",
    [
        *("body__contains", "body", "letter_grade", "attempts__response_start__contains"),
        *("percent_grade__gt", "reason__contains", "learning_time", "status__contains", "created__gte", "_facets__x"),
    ],
)
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
    of_nobody = make_webhook(status=WebhookStatus.PENDING)
    said = text_of(operator.get(url(WEBHOOK, "changelist")))
    assert f"completion failed for good: HTTP 422 Acme {endpoint.pk} 1234 course-v1:edX+Demo+2026 0 - 20" in said
    assert f"parked: the endpoint is switched off Acme {endpoint.pk} 7 course" in said
    assert re.search(
        rf"to be sent {of_nobody.enterprise_customer_uuid} - 7 course-v1:edX\+Demo\+2026 0 20\S+ \S+ UTC 20\S+ \S+ UTC",
        said,
    )


def test_the_list_names_the_event(operator, endpoint):
    for event_type, named in (
        ("course_completion.revised", "revision"),
        ("course_enrollment", "enrolment"),
        ("learner.erased", "erasure"),
        ("of.a.later.release", "of.a.later.release"),
    ):
        webhook = make_webhook(endpoint, event_type=event_type)
        assert f"{webhook.webhook_id} {named} delivered" in text_of(operator.get(url(WEBHOOK, "changelist")))


def found(client, **only):
    return set(client.get(url(WEBHOOK, "changelist"), only).context["cl"].queryset)


def test_webhooks_are_filtered(operator, endpoint, receiver):
    other = make_endpoint(make_customer("Bolt"), receiver.url_for("/hook"), region="EU")
    now = timezone.now()
    long_ago = make_webhook(endpoint, created=now - timedelta(days=60), finished_at=now - timedelta(days=59))
    last_week = make_webhook(other, created=now - timedelta(days=6), finished_at=now - timedelta(hours=20))
    failed = make_webhook(endpoint, status=WebhookStatus.FAILED, finished_at=now - timedelta(minutes=5), user_id=41)
    WebhookTransmissionQueue.objects.filter(pk=failed.pk).update(event_type="course_enrollment")
    parked = make_webhook(other, status=WebhookStatus.PARKED, backfilled=True, course_id="course-v1:edX+Two+2026")
    everything = {failed, long_ago, last_week, parked}
    for only, expected in (
        ({}, everything),
        ({"status__exact": "failed"}, {failed}),
        ({"status__exact": "recorded"}, set()),
        ({"status__exact": "no such"}, set()),
        ({"created": "24h"}, {failed, parked}),
        ({"created": "7d"}, {failed, parked, last_week}),
        ({"created": "30d"}, {failed, parked, last_week}),
        ({"created": "no such"}, set()),
        ({"finished": "1h"}, {failed}),
        ({"finished": "24h"}, {failed, last_week}),
        ({"customer": str(endpoint.enterprise_customer_id)}, {failed, long_ago}),
        ({"customer": "no such"}, set()),
        ({"endpoint": str(other.pk)}, {last_week, parked}),
        ({"endpoint": "no such"}, set()),
        ({"user_id": "41"}, {failed}),
        ({"user_id": "maria"}, set()),
        ({"user_id": ""}, everything),
        ({"status__exact": ""}, everything),
        # PostgreSQL refuses to be asked for a NUL.
        ({"status__exact": "failed\0"}, set()),
        ({"course_id": "course-v1:edX+Two\0+2026"}, set()),
        ({"course_id": "course-v1:edX+Two+2026"}, {parked}),
        ({"backfilled__exact": "1"}, {parked}),
        ({"event_type__exact": "course_enrollment"}, {failed}),
        ({"status__exact": "delivered", "endpoint": str(other.pk), "created": "7d"}, {last_week}),
        ({"status__exact": "failed", "q": "41"}, {failed}),
        ({"status__exact": "failed", "q": "7"}, set()),
        ({"customer": str(other.enterprise_customer_id), "q": "course-v1:edX+Two+2026"}, {parked}),
    ):
        assert found(operator, **only) == expected, only


def test_what_no_index_knows_is_looked_for_among_the_latest(operator, endpoint):
    """Unless a learner or a time says where to look."""
    course = {"course_id": "course-v1:edX+One+2026"}
    old = make_webhook(endpoint, created=timezone.now() - timedelta(days=40), backfilled=True, **course)
    new = make_webhook(endpoint, backfilled=True, **course)
    assert found(operator, **course) == found(operator, q=course["course_id"]) == {new}
    assert found(operator, backfilled__exact="1") == {new}
    assert found(operator, **course, user_id="7") == found(operator, q=f"7 {course['course_id']}") == {old, new}
    assert found(operator, **course, created="24h") == {new}
    assert found(operator, **course, user_id=" ") == {new}, "nobody is chosen by a blank"
    assert "Of the last 30 days" in text_of(operator.get(url(WEBHOOK, "changelist")))


def test_midnight_is_the_sites(operator, endpoint, settings):
    settings.TIME_ZONE = "Pacific/Kiritimati"  # 14 hours ahead of UTC
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    make_webhook(endpoint, created=midnight - timedelta(seconds=1), finished_at=midnight - timedelta(seconds=1))
    today = make_webhook(endpoint, created=midnight, finished_at=midnight)
    assert found(operator, created="today") == found(operator, finished="today") == {today}


def test_a_filter_keeps_the_search_and_the_others(operator, endpoint):
    make_webhook(endpoint, user_id=41)
    page = operator.get(url(WEBHOOK, "changelist"), {"q": "41", "status__exact": "delivered", "endpoint": endpoint.pk})
    forms = re.findall(r'<form method="get" class="filter-form">(.*?)</form>', page.content.decode(), re.S)
    (form,) = (form for form in forms if 'name="course_id"' in form)
    kept = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))
    assert kept == {"q": "41", "status__exact": "delivered", "endpoint": str(endpoint.pk)}
    chosen = re.findall(r'<option value="(\d+)" selected>([^<]+)<', page.content.decode())
    assert chosen == [(str(endpoint.pk), "Acme, Other")]


def test_what_is_chosen_stays_chosen_though_it_is_gone(operator, endpoint):
    gone = make_webhook()
    uuid_of_gone = str(gone.enterprise_customer_uuid)
    assert found(operator, customer=uuid_of_gone) == {gone}
    page = operator.get(url(WEBHOOK, "changelist"), {"customer": uuid_of_gone}).content.decode()
    assert f'<option value="{uuid_of_gone}" selected>' in page and '<option value="999" selected>' not in page
    page = operator.get(url(WEBHOOK, "changelist"), {"endpoint": '"><script>'}).content
    assert b'"><script>' not in page


def test_more_customers_than_a_list_box_offers(operator, endpoint):
    others = [make_customer(f"Customer {number}") for number in range(3)]
    assert b'<select name="customer"' in operator.get(url(WEBHOOK, "changelist")).content
    EnterpriseWebhookConfiguration.objects.bulk_create(
        EnterpriseWebhookConfiguration(enterprise_customer=each, region=region, webhook_url="https://x.example.com")
        for each in others
        for region in (f"R{number}" for number in range(MAX_CHOICES // 3 + 1))
    )
    page = operator.get(url(WEBHOOK, "changelist"), {"endpoint": str(endpoint.pk)})
    assert b'<input type="text" name="endpoint" value="' in page.content and "The number." in text_of(page)
    assert page.content.count(b'<option value="') < 50 and b'<select name="customer"' in page.content


def test_pages_of_a_long_list(operator, endpoint):
    """The newest first; found by an index, then read."""
    webhooks = [make_webhook(endpoint, user_id=number) for number in range(1, 121)]
    assert len(webhooks) > 2 * 50
    with CaptureQueriesContext(connection) as asked:
        second = operator.get(url(WEBHOOK, "changelist"), {"p": "2"}).context["cl"]
    (count,) = (query["sql"] for query in asked if "COUNT(" in query["sql"])
    assert "enterprise_enterprisecustomer" not in count, "ten thousand names would be looked up to count"
    assert list(second.result_list) == webhooks[::-1][50:100]
    assert second.result_count == 120
    assert "120 webhooks" in text_of(operator.get(url(WEBHOOK, "changelist"), {"p": "3"}))


def test_counting_ends_somewhere(endpoint):
    class Short(CappedPaginator):
        cap = 3

    rows = WebhookTransmissionQueue.objects.order_by("-pk")
    counted = []
    for _ in range(5):
        make_webhook(endpoint)
        counted.append((Short(rows, 2).count, Short(rows, 2).is_capped))
    assert counted == [(1, False), (2, False), (3, False), (4, True), (4, True)]
    with CaptureQueriesContext(connection) as asked:
        assert Short(rows, 2).count == 4
    assert "LIMIT 4" in asked[0]["sql"]


# Learners by their names


@pytest.fixture
def maria():
    return make_learner(username="maria", email="maria@example.com")


@pytest.mark.parametrize("name", ["maria", "maria@example.com", " maria "])
def test_a_learner_is_found_by_name_without_a_trace_of_it(staff, maria, endpoint, name, caplog):
    mine = make_webhook(endpoint, user_id=maria.pk)
    make_webhook(endpoint, user_id=maria.pk + 1)
    browser = staff(f"view_{WEBHOOK}", "view_webhook_personal_data")
    page = browser.get(url(WEBHOOK, "changelist"), {"status__exact": "delivered"})
    action = html.unescape(re.search(r'<form action="([^"]+/learner/[^"]*)" method="post"', page.content.decode())[1])
    response = browser.post(action, {"learner": name})
    assert response["Location"] == f"{url(WEBHOOK, 'changelist')}?status__exact=delivered&user_id={maria.pk}"
    page = browser.get(response["Location"])
    assert set(page.context["cl"].queryset) == {mine}
    assert b"maria" not in page.content
    assert "maria" not in written_down() and "maria" not in caplog.text


def test_who_is_not_found_is_not_repeated(operator, maria):
    make_learner(username="maria2", email=maria.email)
    for name, said in (
        ("nobody", "There is no account"),
        ("", "There is no account"),
        ("no\0body", "There is no account"),  # PostgreSQL refuses to be asked for a NUL.
        (maria.email, "Several accounts"),
    ):
        response = operator.post(url(WEBHOOK, "learner"), {"learner": name})
        page = operator.get(response["Location"])
        assert "user_id" not in response["Location"] and said in text_of(page)
        assert b"nobody" not in page.content and b"maria" not in page.content
