# SPDX-License-Identifier: AGPL-3.0-or-later
"""The status page, through Django's test client: what it says, who may see it, and its button."""

import html
import json
import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone, translation

from channel_integrations.integrated_channel.admin.status import sections, words
from channel_integrations.integrated_channel.admin.status.page import ASSETS
from channel_integrations.integrated_channel.exceptions import DeliveryFailed, LearningTimeUnavailable
from channel_integrations.integrated_channel.models import (
    WebhookEndpointHealth,
    WebhookHeartbeat,
    WebhookStatus,
    WebhookSuppression,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import delivery, enrichment, heartbeat, rollout
from channel_integrations.integrated_channel.services.figures import endpoints
from tests.factories import COURSE, grade_event, make_customer, make_endpoint, make_learner

pytestmark = pytest.mark.django_db
VIEW, OPERATE = "view_webhooktransmissionqueue", "operate_webhooks"
PAGE = "admin:channel_webhooks_webhookheartbeat_changelist"
RECOVER = "admin:channel_webhooks_webhookheartbeat_recover"
LISTS = "view_enterprisewebhookconfiguration", "view_webhookrollout"


@pytest.fixture
def operator(staff):
    return staff(VIEW, OPERATE, *LISTS)


@pytest.fixture
def endpoint(receiver):
    return make_endpoint(make_customer("Acme Corp"), receiver.url_for("/hook"))


def read(markup):
    markup = re.sub(r"</?(span|wbr)\b[^>]*>", "", markup)
    return " ".join(
        html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<script.*?</script>", "", markup, flags=re.S))).split()
    )


def look(client):
    """The page's HTML."""
    answer = client.get(reverse(PAGE))
    assert answer.status_code == 200
    return answer.content.decode()


def section(page, name):
    """What is read of one section."""
    [found] = re.findall(rf'<section class="module[^"]*" aria-labelledby="{name}">.*?</section>', page, re.S)
    return read(found)


def verdicts(page):
    """In words, by target."""
    rows = re.findall(r'<tr data-target="(\w+)">(.*?)</tr>', page, re.S)
    return {name: read(re.search(r'<span class="status-verdict.*?</span>', row, re.S)[0]) for name, row in rows}


def complete(endpoint, count=1, **learner):
    """So many learners of the endpoint's customer complete a course."""
    learners = [make_learner(endpoint.enterprise_customer, **learner) for _ in range(count)]
    for each in learners:
        grade_event(each)
    return learners


def answer(receiver, status):
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("no", status=status)


def recover(client, endpoint, **fields):
    return client.post(reverse(RECOVER), {"endpoint": endpoint.pk, **fields})


# What it says


def test_a_site_where_nothing_has_happened(operator):
    page = look(operator)
    assert "no sweep has ever run" in section(page, "processes")
    assert "There is no endpoint: nobody gets a webhook." in section(page, "endpoints")
    assert "Nothing was delivered." in section(page, "latency")
    assert "No webhook has come to its end." in section(page, "outcomes")
    assert set(verdicts(page).values()) == {"not known", "met"} and verdicts(page)["queue_depth"] == "met"
    assert "<canvas" not in page


def test_sections_stand_in_their_order_under_headings_in_order(operator):
    page = look(operator)
    assert re.findall(r'<section class="module[^"]*" aria-labelledby="([\w-]+)">', page) == [
        "owed", "targets", "endpoints", "outcomes", "learning-time", "latency", "snowflake", "processes", "rollout",
    ]  # fmt: skip
    assert re.findall(r'<h2 id="([\w-]+)">', page) == re.findall(r'aria-labelledby="([\w-]+)">\s*<h2', page)
    tables = re.findall(r"<table>.*?</table>", page.partition('id="content-main"')[2], re.S)
    assert len(tables) >= 4
    for table in tables:
        assert "<caption>" in table and 'scope="col"' in table and 'scope="row"' in table
        assert not re.findall(r"<th(?![^>]*scope)[ >]", table)


def test_a_day_of_deliveries(operator, endpoint, snowflake, receiver):
    heartbeat.beat(heartbeat.SWEEP)
    maria, _zoe = complete(endpoint, 2)
    snowflake.add(maria.id, COURSE, endpoint.enterprise_customer.uuid, 1800)
    enrichment.enrich_in_slot(hand_over=lambda: None)
    delivery.deliver_due()
    assert len(receiver.log) == 2
    page = look(operator)
    assert "on their way 0 due now 0" in section(page, "owed")
    assert "webhooks due for more than 60 s 0 < 100 met" in section(page, "targets")
    assert verdicts(page) == {
        "completion_to_webhook_p95": "met",
        "snowflake_lookup_p95": "met",
        "task_error_rate": "met",
        "cache_hit_rate": "missed",
        "queue_depth": "met",
    }
    assert "Acme Corp, Other on 0 to be sent" in section(page, "endpoints")
    assert "delivered 2 failed for good 0 cancelled 0" in section(page, "outcomes")
    assert "2xx 2" in section(page, "outcomes")
    assert "enriched: with its learning time 1" in section(page, "learning-time")
    assert "plain: Snowflake has no learning time for it 1" in section(page, "learning-time")
    assert "Of 2 deliveries" in section(page, "latency") and "lookup: the statement" in section(page, "latency")
    assert "statements in the last hour 1 of these failed 0" in section(page, "snowflake")
    assert "sweep (send_due_webhooks) 0 seconds ago" in section(page, "processes")
    assert "flag on of each customer's learners 100 % kill switch not paused" in section(page, "rollout")
    assert page.count("<canvas") == 2 and page.count('role="img" aria-label="Bar chart') == 2
    assert "Nothing here needs anybody." in read(page)


def test_a_failing_endpoint_and_what_waits_for_it(operator, endpoint, receiver):
    answer(receiver, 500)
    complete(endpoint, 8)
    delivery.deliver_due()
    page = look(operator)
    assert "on their way 8" in section(page, "owed") and "to be sent 8" in section(page, "owed")
    shown = section(page, "endpoints")
    assert "breaker open" in shown and "8 to be sent" in shown and "HTTP 500 5 since the last success" in shown
    health = WebhookEndpointHealth.objects.get()
    for moment in (health.breaker_open_until, health.failing_since + timedelta(days=5)):
        assert timezone.localtime(moment).strftime("%Y-%m-%d %H:%M:%S") in shown
    assert "Try again now: Acme Corp, Other" in shown
    assert "1 endpoint is held back or failing." in read(page)
    assert "5xx 5" in section(page, "outcomes")


def test_the_links_of_owed_webhooks_lead_to_the_list_of_them(operator, endpoint, receiver):
    answer(receiver, 500)
    complete(endpoint)
    delivery.deliver_due()
    links = re.findall(r'href="([^"]*webhooktransmissionqueue[^"]*)"', look(operator))
    assert links
    for link in {html.unescape(link) for link in links if "status" in link}:
        answered = operator.get(link)
        assert answered.status_code == 200, link
        assert ("1 webhook" in read(answered.content.decode())) is ("pending" in link)


def test_a_missed_target_comes_with_the_advice(operator, endpoint):
    complete(endpoint, 3)
    WebhookTransmissionQueue.objects.update(due_at=timezone.now() - timedelta(minutes=7))
    page = look(operator)
    assert "due for more than 60 seconds 3 the oldest is due for 7 minutes" in section(page, "owed")
    assert "delivery worker never - silent, while webhooks wait for it: is it running?" in section(page, "processes")
    assert "delivery worker: silent, while webhooks wait for it: is it running?." in read(page)
    row = WebhookTransmissionQueue.objects.first()
    WebhookTransmissionQueue.objects.bulk_create(_copy(row, number) for number in range(97))
    page = look(operator)
    assert (
        "webhooks due for more than 60 s 100 < 100 missed Start the worker that is missing, else add workers."
        in section(page, "targets")
    )
    assert "Target missed: webhooks due for more than 60 s is 100." in read(page)


def _copy(row, number, **changes):
    names = ("event_type", "enterprise_customer_uuid", "user_id", "course_id", "occurred_at", "status", "due_at")
    fields = {name: getattr(row, name) for name in names}
    return WebhookTransmissionQueue(deduplication_key=f"copy {number}", **{**fields, **changes})


def test_a_sweep_that_has_stopped_and_one_that_runs(operator):
    WebhookHeartbeat.record(heartbeat.SWEEP, "sweep-0:7")
    assert "0 seconds ago sweep-0:7 -" in section(look(operator), "processes")
    WebhookHeartbeat.objects.update(beat_at=timezone.now() - timedelta(minutes=4))
    assert "4 minutes ago sweep-0:7 the sweep has stopped" in section(look(operator), "processes")


def test_suppressed_passes_are_told_by_reason(operator):
    for user_id, reason in ((7, "no data-sharing consent"), (8, "no data-sharing consent"), (9, "too old")):
        WebhookSuppression.objects.create(
            enterprise_customer_uuid=make_customer().uuid,
            user_id=user_id,
            course_id=COURSE,
            passed_at=timezone.now(),
            reason=reason,
        )
    assert "no data-sharing consent 2 too old 1" in section(look(operator), "outcomes")


def test_the_rollout_as_it_stands(operator, endpoint, settings):
    assert "flag off" in section(look(operator), "rollout")
    settings.FEATURES = {**settings.FEATURES, "ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT": True}
    rollout.decide(percentage=25, paused=True)
    rollout.switch_endpoint(endpoint, "always")
    page = look(operator)
    assert "flag on of each customer's learners 25 % kill switch paused" in section(page, "rollout")
    assert "endpoints with a switch of their own 1 No completion in the last 24 hours." in section(page, "rollout")
    assert "The rollout is paused: no webhook carries learning time." in read(page)


def test_both_sides_of_the_rollout(operator, endpoint, receiver, snowflake):
    rollout.decide(percentage=0)
    complete(make_endpoint(make_customer("Pilot"), receiver.url_for("/hook"), learning_time="always"))
    complete(endpoint, 2)
    enrichment.enrich_in_slot(hand_over=lambda: None)
    delivery.deliver_due()
    WebhookTransmissionQueue.objects.update(finished_at=F("occurred_at") + timedelta(seconds=3))
    shown = section(look(operator), "rollout")
    assert "inside: learning time is looked up 1 1 0 0 3.00 s 3.00 s" in shown
    assert "outside: left out by the percentage 2 2 0 0 3.00 s 3.00 s" in shown
    assert "plain: Snowflake has no learning time for it 1" in shown


def test_every_code_has_its_words():
    def codes(error):
        return {error.code}.union(*map(codes, error.__subclasses__()))

    ours = {enrichment.FOUND, enrichment.NO_ROW, enrichment.OVERDUE, "", *codes(LearningTimeUnavailable)}
    ours |= {rollout.FLAG_OFF, rollout.PAUSED, rollout.ENDPOINT_NEVER, rollout.NOT_ROLLED_OUT}
    assert set(words.LEARNING_TIME) == ours
    assert set(words.ANSWERS) == {"internal", *(error.code for error in DeliveryFailed.__subclasses__())}
    assert set(words.STATES) == set(endpoints.STATES)
    assert set(words.HEARTBEATS) == set(heartbeat.NAMES)
    assert words.named(words.STATES, "of a later release") == "of a later release"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 seconds"), (-3, "0 seconds"), (1, "1 second"), (119, "119 seconds"), (120, "2 minutes"),
     (7199, "119 minutes"), (7200, "2 hours"), (172_800, "2 days")],
)  # fmt: skip
def test_a_duration_is_said_in_whole_units_rounded_down(seconds, said):
    assert words.lasted(timedelta(seconds=seconds)) == said


def test_numbers_are_written_as_the_language_writes_them():
    with translation.override("de"):
        assert words.measured(1.25, "s") == "1,25 s" and words.measured(12.5, "%") == "12,5 %"
    assert words.measured(None, "s") == "nothing to judge by" and words.measured(100, "rows") == "100"


# Who may see it


def test_it_is_reached_from_the_index_and_from_both_lists(operator):
    here = f'href="{reverse(PAGE)}"'
    for name in ("index", "app_list", *(f"channel_webhooks_{each}_changelist" for each in _MODELS)):
        arguments = ["channel_webhooks"] if name == "app_list" else []
        assert here in operator.get(reverse(f"admin:{name}", args=arguments)).content.decode(), name
    index = read(operator.get(reverse("admin:app_list", args=["channel_webhooks"])).content.decode())
    assert "Status View" in index and "Heartbeat" not in index


_MODELS = ("enterprisewebhookconfiguration", "webhooktransmissionqueue")


def test_looking_needs_the_permission_to_look_at_webhooks(staff):
    assert staff(VIEW).get(reverse(PAGE)).status_code == 200
    outsider = staff(OPERATE, *LISTS)
    assert outsider.get(reverse(PAGE)).status_code == 403
    assert reverse(PAGE) not in outsider.get(reverse("admin:index")).content.decode()
    assert Client().get(reverse(PAGE)).status_code == 302


def test_who_may_only_look_gets_no_button_and_no_link_that_leads_nowhere(staff, endpoint):
    WebhookEndpointHealth.objects.get().disable("HTTP 410")
    page = look(staff(VIEW))
    assert "Acme Corp, Other switched off by the sender HTTP 410" in section(page, "endpoints")
    assert "<form" not in page.partition('id="content-main"')[2]
    for model in ("enterprisewebhookconfiguration", "webhookrollout"):
        assert f"/{model}/" not in page


def test_it_names_no_learner(operator, endpoint, snowflake, receiver):
    learners = complete(endpoint, username="maria.secret", email="maria@learners.example.com")
    enrichment.enrich_in_slot(hand_over=lambda: None)
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data(f"I know {learners[0].email}", status=422)
    delivery.deliver_due()
    page = look(operator)
    assert "failed for good 1" in section(page, "outcomes")
    webhook = WebhookTransmissionQueue.objects.get()
    for personal in ("maria", "learners.example.com", str(webhook.webhook_id), "0.92", COURSE):
        assert personal not in page


def test_nothing_but_the_page_hangs_on_the_heartbeats(operator):
    WebhookHeartbeat.record(heartbeat.SWEEP, "sweep-0:7")
    for rest in ("add/", "sweep/change/", "sweep/delete/", "sweep/history/"):
        assert operator.get(f"{reverse(PAGE)}{rest}").status_code == 404
    assert operator.post(reverse(PAGE), {"action": "delete_selected"}).status_code == 405


# What it costs


def test_the_queries_hang_neither_on_rows_nor_on_endpoints(operator, endpoint):
    complete(endpoint)
    delivery.deliver_due()
    look(operator)
    with CaptureQueriesContext(connection) as few:
        look(operator)
    row = WebhookTransmissionQueue.objects.get()
    for number in range(25):
        other = make_endpoint(make_customer(f"Customer {number}"), "https://partner.example.com/hook")
        states = (WebhookStatus.PENDING, WebhookStatus.DELIVERED, WebhookStatus.PARKED)
        WebhookTransmissionQueue.objects.bulk_create(
            _copy(row, f"{number} {state}", endpoint_id=other.pk, status=state, finished_at=timezone.now())
            for state in states
        )
        WebhookEndpointHealth.objects.filter(pk=other.pk).update(failures=number, failing_since=timezone.now())
    with CaptureQueriesContext(connection) as many:
        page = look(operator)
    assert len(many) <= len(few) + 1, "the endpoints' names for what is late"
    assert len(many) <= 50
    assert section(page, "endpoints").count("failing") == sections.ENDPOINTS_SHOWN + 1
    assert "6 more endpoints fare better. All endpoints" in section(page, "endpoints")


# Its button


def test_an_endpoint_that_the_sender_has_switched_off_is_recovered(
    operator, endpoint, receiver, django_capture_on_commit_callbacks
):
    answer(receiver, 410)
    complete(endpoint, 2)
    delivery.deliver_due()
    assert "switched off by the sender HTTP 410" in section(look(operator), "endpoints")
    asked = recover(operator, endpoint)
    assert "Switch the endpoint on again?" in read(asked.content.decode()) and "HTTP 410" in read(
        asked.content.decode()
    )
    assert WebhookEndpointHealth.objects.get().disabled_at and not LogEntry.objects.exists(), "only asked"
    with django_capture_on_commit_callbacks() as called:
        done = recover(operator, endpoint, confirmed="yes")
    assert done.status_code == 302 and done["Location"] == f"{reverse(PAGE)}#endpoints"
    assert len(called) == 1, "the delivery is woken"
    assert WebhookEndpointHealth.objects.get().disabled_at is None
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.content_type.model) == (str(endpoint.pk), "enterprisewebhookconfiguration")
    assert entry.change_message == "Switched on again."
    page = look(operator)
    assert "The endpoint is on: what waits for it goes out now" in read(page)
    answer(receiver, 200)
    delivery.deliver_due()
    assert len(receiver.log) == 2


def test_breaker_and_pause_are_ended(operator, endpoint, receiver):
    answer(receiver, 500)
    complete(endpoint, 6)
    delivery.deliver_due()
    WebhookEndpointHealth.objects.update(paused_until=timezone.now() + timedelta(hours=1))
    assert "Try the endpoint again now?" in read(recover(operator, endpoint).content.decode())
    recover(operator, endpoint, confirmed="yes")
    health = WebhookEndpointHealth.objects.get()
    assert (health.breaker_open_until, health.paused_until, health.failures) == (None, None, 0)
    assert LogEntry.objects.get().change_message == "Tried again now: breaker and pause ended."
    recover(operator, endpoint, confirmed="yes")
    assert "does not hold this endpoint back" in read(look(operator)), "pressed twice"
    assert LogEntry.objects.count() == 1
    answer(receiver, 200)
    delivery.deliver_due()
    assert len(receiver.log) == 6, "none waits for its own next attempt"


def test_so_is_the_wait_for_the_next_try_of_one_that_fails_with_its_breaker_closed(operator, endpoint, receiver):
    answer(receiver, 500)
    complete(endpoint, 1)
    delivery.deliver_due()
    assert "failing" in section(look(operator), "endpoints")
    answer(receiver, 200)
    delivery.deliver_due()
    assert not receiver.log
    assert "Try again now" in section(look(operator), "endpoints")
    recover(operator, endpoint, confirmed="yes")
    delivery.deliver_due()
    assert len(receiver.log) == 1


def test_an_endpoint_of_its_operator_s_is_left_to_its_form(operator, endpoint):
    type(endpoint).objects.update(active=False)
    assert "switched off by its operator" in section(look(operator), "endpoints")
    assert recover(operator, endpoint, confirmed="yes").status_code == 302
    endpoint.refresh_from_db()
    assert endpoint.active is False and not LogEntry.objects.exists()


def test_recovering_needs_post_the_permission_to_operate_and_a_token(operator, staff, endpoint):
    WebhookEndpointHealth.objects.get().disable("HTTP 410")
    assert operator.get(reverse(RECOVER)).status_code == 405
    for client in (staff(VIEW, *LISTS, "change_enterprisewebhookconfiguration"), staff(OPERATE)):
        assert recover(client, endpoint, confirmed="yes").status_code == 403
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    assert recover(strict, endpoint, confirmed="yes").status_code == 403
    for nobody in ("999999", "", "x", "²", "9" * 30):
        assert operator.post(reverse(RECOVER), {"endpoint": nobody, "confirmed": "yes"}).status_code == 404
    assert WebhookEndpointHealth.objects.get().disabled_at and not LogEntry.objects.exists()


# What it is drawn with


@pytest.fixture
def hashing_storage(settings, tmp_path):
    """As the LMS has it; nothing of it has been collected."""
    settings.STATIC_ROOT = str(tmp_path)
    kind = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": kind}}
    return tmp_path


def test_its_files_are_found_and_go_through_a_hashing_storage(hashing_storage):
    """A source map that is named but missing would stop the LMS's collectstatic."""
    call_command("collectstatic", interactive=False, verbosity=0)
    found = json.loads((hashing_storage / "staticfiles.json").read_text())["paths"]
    assert set(ASSETS.values()) | {"channel_webhooks/chart.js/LICENSE.md"} <= set(found)


def test_before_its_files_are_collected_the_page_opens_without_them(operator, hashing_storage):
    theirs = {path: path for finder in finders.get_finders() for path, _storage in finder.list([])}
    known = {path: name for path, name in theirs.items() if not path.startswith("channel_webhooks/")}
    (hashing_storage / "staticfiles.json").write_text(json.dumps({"version": "1.1", "paths": known, "hash": ""}))
    page = look(operator)
    assert "channel_webhooks/status." not in page and "collectstatic" in page
    assert section(page, "owed")
