# SPDX-License-Identifier: AGPL-3.0-or-later
"""What Prometheus scrapes: by whom, in which form, and whether it says what is so."""

from collections import defaultdict
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from channel_integrations.integrated_channel import tasks
from channel_integrations.integrated_channel.metrics.catalogue import METRICS, Metric
from channel_integrations.integrated_channel.metrics.text_format import Sample, written
from channel_integrations.integrated_channel.models import (
    WebhookEndpointHealth,
    WebhookHeartbeat,
    WebhookSuppression,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import rollout
from tests.factories import COURSE, grade_event, make_customer, make_endpoint, make_learner

TOKEN = "a-token-that-nobody-guesses"
URL = "/channel_webhooks/metrics"


@pytest.fixture(autouse=True)
def token(settings):
    settings.CHANNEL_WEBHOOKS_METRICS_TOKEN = TOKEN


def get(client, token=TOKEN):
    return client.get(URL, headers={"Authorization": f"Bearer {token}"} if token else {})


def scrape(client):
    """By name without prefix, the values by their labels, as Prometheus' own parser reads them."""
    answer = get(client)
    assert answer.status_code == 200
    found = defaultdict(dict)
    for family in text_string_to_metric_families(answer.content.decode()):
        assert family.type == "gauge" and family.documentation
        for sample in family.samples:
            labels = tuple(sample.labels.values())
            name = sample.name.removeprefix("channel_webhooks_")
            assert labels not in found[name]
            found[name][labels] = sample.value
    return found


# ---- by whom


def test_it_is_where_the_lms_puts_plugins_urls():
    assert reverse("channel_webhooks:metrics") == URL


@pytest.mark.parametrize("given", [None, "", "a-token-that-nobody-guesse", TOKEN + "x", TOKEN.upper()])
def test_who_brings_no_token_or_another_sees_nothing(db, client, given):
    answer = get(client, given)
    assert answer.status_code == 403
    assert b"channel_webhooks_" not in answer.content


@pytest.mark.parametrize("unusable", [None, "", "too short", "with spaces in between it", 1234567890123456])
def test_without_a_usable_token_none_opens_it(db, client, settings, unusable):
    settings.CHANNEL_WEBHOOKS_METRICS_TOKEN = unusable
    for given in (str(unusable), "None", TOKEN):
        assert get(client, given).status_code == 403


def test_a_token_in_a_file_is_read_anew_each_time(db, client, settings, tmp_path):
    file = tmp_path / "token"
    settings.CHANNEL_WEBHOOKS_METRICS_TOKEN_FILE = str(file)
    assert get(client).status_code == 403  # the file that is named counts, and it is not there
    file.write_text("the-first-token-of-all\n")
    assert get(client, "the-first-token-of-all").status_code == 200
    file.write_text("the-second-token-of-all")
    assert get(client, "the-first-token-of-all").status_code == 403
    assert get(client, "the-second-token-of-all").status_code == 200
    file.write_bytes(b"\xff" * 20)
    assert get(client, TOKEN).status_code == 403


def test_a_person_needs_the_permission_to_view_webhooks(db, client):
    person = get_user_model().objects.create(username="operator", is_staff=True)
    client.force_login(person)
    assert get(client, None).status_code == 403
    person.user_permissions.add(
        Permission.objects.get(content_type__app_label="channel_webhooks", codename="view_webhooktransmissionqueue")
    )
    client.force_login(get_user_model().objects.get(pk=person.pk))
    assert get(client, None).status_code == 200
    assert get(client, "a wrong token is not made up for").status_code == 403


def test_nothing_but_get(db, client):
    for method in (client.post, client.put, client.delete):
        assert method(URL, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 405


# ---- in which form


def test_neither_cookies_nor_caches_nor_writes(db, client):
    with CaptureQueriesContext(
        connection,
    ) as queries:
        answer = get(client)
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "no-store" in answer.headers["Cache-Control"] and not answer.cookies
    statements = [query["sql"] for query in queries]
    assert all(sql.startswith(("SELECT", "DECLARE")) for sql in statements) and not any(
        "session" in sql for sql in statements
    )
    assert len(statements) < 25


def test_every_metric_is_there_by_name_even_without_a_sample(db, client):
    families = list(text_string_to_metric_families(get(client).content.decode()))
    assert [family.name for family in families] == [metric.full_name for metric in METRICS]
    assert len(METRICS) > 30


def test_names_are_as_prometheus_wants_them():
    for metric in METRICS:
        assert metric.help.endswith(".") and not metric.name.endswith(("_total", "_count", "_sum", "_bucket"))
        # Target labels that Prometheus adds would be renamed by ours.
        assert not {"job", "instance", "endpoint", "service", "pod", "namespace"} & set(metric.labels)


def test_values_and_texts_are_escaped():
    metric = Metric("odd", ("what",), "back\\slash and\nnewline.")
    text = written(
        [metric], [Sample(metric, ('quote " back\\slash\nnewline',), 0.1 + 0.2), Sample(metric, ("b",), True)]
    )
    (family,) = text_string_to_metric_families(text)
    assert family.documentation == metric.help
    assert [(sample.labels["what"], sample.value) for sample in family.samples] == [
        ('quote " back\\slash\nnewline', 0.3),
        ("b", 1),
    ]


def test_a_database_that_fails_is_said_in_a_word(committed_db, client):
    table = WebhookHeartbeat._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
    try:
        answer = get(client)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE elsewhere RENAME TO {table}")
    assert (answer.status_code, answer.content) == (503, b"The database cannot be asked.\n")


# ---- what it says


def test_nothing_has_happened_yet(db, client):
    found = scrape(client)
    assert found["waiting"] == dict.fromkeys(
        [
            *(("awaiting_enrichment",), ("awaiting_final",), ("recorded",), ("pending",), ("awaiting_ids",)),
            *(("no_endpoint",), ("parked",)),
        ],
        0,
    )
    assert found["due"] == {("enrichment",): 0, ("delivery",): 0}
    assert found["oldest_due_age_seconds"] == {(): 0}
    assert found["target_value"] == {("queue_depth", "rows"): 0} and found["target_met"] == {("queue_depth",): 1}
    assert found["target_limit"][("completion_to_webhook_p95", "s")] == 5
    assert found["learning_time_enabled"] == {(): 0} and found["rollout_percent"] == {(): 100}
    assert found["heartbeat_age_seconds"] == {} and found["delivery_seconds"] == {}


def test_a_delivered_webhook_is_in_every_metric_about_it(committed_db, client, receiver, snowflake):
    customer = make_customer()
    endpoint = make_endpoint(customer, receiver.url_for("/hook"), region="EU")
    learner = make_learner(customer)
    snowflake.add(learner.pk, COURSE, customer.uuid, 60)
    make_endpoint(customer, receiver.url_for("/hook"))
    grade_event(learner)
    tasks.enrich_and_send_completion_webhook()
    tasks.process_webhook_queue()
    found = scrape(client)
    assert found["finished"][("delivered", "5m")] == found["finished"][("delivered", "1h")] == 1
    assert found["attempts"] == {("2xx", "5m"): 1}
    assert found["learning_time"] == {("found", "1h"): 1} and found["deliveries"] == {("1h",): 1}
    for part in ("total", "waiting", "lookup", "post"):
        assert 0 <= found["delivery_seconds"][(part, "0.5", "1h")] <= found["delivery_seconds"][(part, "0.95", "1h")]
    assert 0 < found["delivery_seconds"][("total", "0.95", "1h")] < 30
    assert found["lookup_statements"] == found["lookup_asked"] == found["lookup_found"] == {("1h",): 1}
    assert found["warehouse_wakes"] == {("1h",): 1} and found["lookup_failed_statements"] == {("1h",): 0}
    assert 0 < found["lookup_seconds"][("0.95", "1h")] < 30
    assert found["learning_time_enabled"] == {(): 1}
    assert found["endpoint_state"][(str(endpoint.pk), "EU", "on")] == 1
    assert {process for (process,) in found["heartbeat_age_seconds"]} == {"enrichment", "delivery"}
    assert found["target_met"][("task_error_rate",)] == 1


def test_what_waits_and_for_whom(db, client):
    customer = make_customer()
    dead = make_endpoint(customer, "https://dead.example.com/hook", region="EU")
    now = timezone.now()
    WebhookEndpointHealth.objects.filter(pk=dead.pk).update(
        failures=7, failures_in_a_row=7, failing_since=now - timedelta(days=4), last_success_at=now - timedelta(days=4),
        breaker_open_until=now + timedelta(seconds=100),
    )  # fmt: skip
    two_minutes = now - timedelta(minutes=2)
    make_rows(3, status="awaiting_enrichment", due_at=two_minutes)
    make_rows(2, status="recorded", due_at=now)
    make_rows(5, status="pending", due_at=two_minutes, endpoint_id=dead.pk)
    make_rows(1, status="parked", due_at=two_minutes, endpoint_id=dead.pk)
    WebhookHeartbeat.objects.create(pk="sweep", beat_at=two_minutes, worker="host:1")
    WebhookSuppression.objects.create(
        enterprise_customer_uuid=customer.uuid,
        user_id=1,
        course_id=COURSE,
        passed_at=now,
        reason="no data-sharing consent",
    )
    rollout.decide(percentage=25, paused=True)
    found, which = scrape(client), (str(dead.pk), "EU")
    assert found["waiting"][("pending",)] == 5 and found["waiting"][("parked",)] == 1
    assert found["due"] == {("enrichment",): 3, ("delivery",): 2}
    assert found["late"] == {("awaiting_enrichment",): 3, ("awaiting_final",): 0, ("recorded",): 0, ("pending",): 0}
    assert found["held_back"] == {(): 5}
    assert found["oldest_due_age_seconds"][()] == pytest.approx(120, abs=10)
    assert {state: value for (*_, state), value in found["endpoint_state"].items() if value} == {"breaker_open": 1}
    assert found["endpoint_pending"][which] == 5 and found["endpoint_parked"][which] == 1
    assert found["endpoint_oldest_due_age_seconds"][which] == pytest.approx(120, abs=10)
    assert found["endpoint_opens_in_seconds"][which] == pytest.approx(100, abs=10)
    assert found["endpoint_disabled_in_seconds"][which] == pytest.approx(86_400, abs=10)
    assert found["endpoint_failures"][which] == 7
    assert found["endpoint_last_success_age_seconds"][which] == pytest.approx(4 * 86_400, abs=10)
    assert found["heartbeat_age_seconds"] == {("sweep",): pytest.approx(120, abs=10)}
    assert found["suppressed"] == {("no data-sharing consent", "1h"): 1}
    assert found["rollout_percent"] == {(): 25} and found["rollout_paused"] == {(): 1}


def make_rows(count, **fields):
    made = WebhookTransmissionQueue.objects.count()
    WebhookTransmissionQueue.objects.bulk_create(
        WebhookTransmissionQueue(
            deduplication_key=f"{made + number:064d}",
            event_type="course_completion",
            enterprise_customer_uuid="00000000-0000-0000-0000-000000000001",
            user_id=1,
            course_id=COURSE,
            occurred_at=timezone.now(),
            **fields,
        )
        for number in range(count)
    )


def test_no_customer_no_learner_and_no_address_is_named(committed_db, client, receiver):
    customer = make_customer("The Secret Customer")
    make_endpoint(customer, receiver.url_for("/hook"))
    learner = make_learner(customer)
    grade_event(learner)
    tasks.process_webhook_queue()
    text = get(client).content.decode()
    for private in ("Secret", str(customer.uuid), learner.username, learner.email, COURSE, "localhost", "/hook"):
        assert private not in text
