# SPDX-License-Identifier: AGPL-3.0-or-later
"""The register of disclosures: what counts as told, what is kept of it, for how long, and what it costs."""

import csv
import io
import json
import socket
import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from enterprise.models import EnterpriseCustomerUser

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookDisclosure,
    WebhookEndpointHealth,
    WebhookLease,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import delivery, retention, sweep
from channel_integrations.integrated_channel.services.cancellation import CANCELLABLE, cancel
from channel_integrations.integrated_channel.services.replay import Selection, replay
from tests.factories import COURSE, give_consent, grade_event, make_customer, make_endpoint, make_learner
from tests.servers import free_port

pytestmark = pytest.mark.django_db


@pytest.fixture
def learner(endpoint):
    """Maria, who has completed a course."""
    learner = make_learner(endpoint.enterprise_customer, username="maria", email="maria@example.com")
    grade_event(learner)
    return learner


def deliver():
    """All that is due, an hour later."""
    WebhookTransmissionQueue.objects.filter(status=WebhookStatus.PENDING).update(due_at=timezone.now())
    WebhookEndpointHealth.objects.update(breaker_open_until=None, paused_until=None)
    delivery.deliver_due()


def answer(receiver, *statuses):
    """Answer with these, one after the other."""
    receiver.clear()
    for status in statuses:
        receiver.expect_ordered_request("/hook").respond_with_data("maria@example.com", status=status)


@contextmanager
def silent_server():
    """Takes a request, and says nothing before it hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        received = []

        def serve():
            client, _ = server.accept()
            received.append(client.recv(65536))
            if received[0].startswith(b"POST"):  # Headers and body may come apart.
                while not received[0].endswith(b"}"):
                    received[0] += client.recv(65536)
            client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/hook", received
        thread.join(5)


def export(*arguments, stderr=None):
    out = io.StringIO()
    call_command("export_disclosures", *map(str, arguments), stdout=out, stderr=stderr)
    return out.getvalue()


def test_a_delivery_is_registered(learner, endpoint):
    deliver()
    webhook, told = WebhookTransmissionQueue.objects.get(), WebhookDisclosure.objects.get()
    assert (told.webhook_id, told.user_id, told.endpoint_id, told.host, told.times) == (
        webhook.webhook_id,
        learner.pk,
        endpoint.pk,
        "localhost",
        1,
    )
    assert told.data == [
        "completion.completed",
        "completion.completion_date",
        "completion.is_passing",
        "completion.letter_grade",
        "completion.percent_grade",
        "course.course_key",
        "learner.email",
        "learner.user_id",
        "learner.username",
    ]
    assert told.basis == "sponsored, no consent required"
    assert told.enterprise_customer_uuid == webhook.enterprise_customer_uuid
    known = {"user_id": learner.pk, "username": "maria", "email": "maria@example.com"}
    assert json.loads(told.identifier) == known


def test_it_names_what_was_told_and_tells_none_of_it(learner):
    """As the database has it: only what is encrypted names the learner."""
    deliver()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {WebhookDisclosure._meta.db_table}")
        stored = " ".join(map(str, cursor.fetchone()))
    assert "maria" not in stored and COURSE not in stored and "0.92" not in stored


@pytest.mark.parametrize(
    ("all_completions", "consent", "basis"),
    [
        (False, True, "sponsored, consent given"),
        (True, True, "all completions, consent given"),
        (True, False, "all completions, no consent required"),
    ],
)
def test_the_register_says_on_what_basis_it_was_owed(receiver, all_completions, consent, basis):
    customer = make_customer(enable_data_sharing_consent=consent)
    make_endpoint(customer, receiver.url_for("/hook"), all_completions=all_completions)
    learner = make_learner(customer, sponsored=not all_completions)
    if consent:
        give_consent(customer, learner)
    grade_event(learner)
    deliver()
    assert WebhookDisclosure.objects.get().basis == basis


@pytest.mark.parametrize("status", [200, 302, 400, 401, 410, 500])
def test_any_answer_means_that_it_was_told(learner, receiver, status):
    answer(receiver, status)
    deliver()
    assert WebhookDisclosure.objects.get().times == 1


def test_a_request_that_was_sent_and_got_no_answer_counts(learner):
    with silent_server() as (url, received):
        EnterpriseWebhookConfiguration.objects.update(webhook_url=url)
        deliver()
    assert b"maria" in received[0]
    assert WebhookTransmissionQueue.objects.get().reason == "connection"
    assert WebhookDisclosure.objects.get().times == 1


def test_an_answer_that_is_too_slow_counts(learner, receiver):
    receiver.clear()
    let_go = threading.Event()
    receiver.expect_request("/hook").respond_with_handler(lambda request: let_go.wait(5))
    EnterpriseWebhookConfiguration.objects.update(webhook_timeout_seconds=1)
    deliver()
    let_go.set()
    assert WebhookTransmissionQueue.objects.get().reason == "timeout"
    assert WebhookDisclosure.objects.get().times == 1


def refused_connection(settings):
    return f"http://127.0.0.1:{free_port()}/hook"


def no_such_host(settings):
    return "http://nowhere.invalid/hook"


def no_tls(settings):
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"https://127.0.0.1:{server.getsockname()[1]}/hook"


def private_address(settings):
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = False
    return "https://10.0.0.1/hook"


@pytest.mark.parametrize("broken", [refused_connection, no_such_host, no_tls, private_address])
def test_what_never_left_was_told_to_nobody(learner, receiver, settings, broken):
    EnterpriseWebhookConfiguration.objects.update(webhook_url=broken(settings))
    deliver()
    assert WebhookTransmissionQueue.objects.get().attempts_made == 1
    assert not WebhookDisclosure.objects.exists()
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = True
    EnterpriseWebhookConfiguration.objects.update(webhook_url=receiver.url_for("/hook"))
    deliver()
    assert WebhookDisclosure.objects.get().times == 1


def test_a_handshake_is_no_request(learner):
    """Bytes have been exchanged, but none of the webhook's."""
    with silent_server() as (url, received):
        EnterpriseWebhookConfiguration.objects.update(webhook_url=url.replace("http:", "https:"))
        deliver()
    assert received and not WebhookDisclosure.objects.exists()


def test_what_is_sent_again_is_one_line(learner, receiver):
    answer(receiver, 500, 200, 200)
    deliver()
    first = WebhookDisclosure.objects.get()
    deliver()
    replay(Selection())
    deliver()
    told = WebhookDisclosure.objects.get()
    assert len(receiver.log) == 3 and told.times == 3
    assert told.first_at == first.first_at < told.last_at


def test_what_a_killed_worker_had_sent_is_registered_when_it_is_sent_again(learner, receiver):
    """Killed between the answer and the write-back: the row is leased, and nothing else tells of it."""
    round_ = delivery.Round()
    delivery.address_due()
    round_._start()
    round_.under_way.popitem()[0].result()  # The answer came; whoever waited for it is gone.
    assert len(receiver.log) == 1 and not WebhookDisclosure.objects.exists()
    deliver()
    assert len(receiver.log) == 2 and WebhookDisclosure.objects.count() == 1


@pytest.mark.parametrize("was_killed", [True, False])
def test_what_a_killed_worker_may_have_sent_is_registered_when_it_is_not_sent_again(learner, receiver, was_killed):
    """The learner is no longer linked when the webhook is taken up anew."""
    delivery.address_due()
    if was_killed:
        (webhook,) = WebhookTransmissionQueue.objects.all()
        WebhookTransmissionQueue.objects.claim([webhook.pk], WebhookStatus.PENDING, timezone.now())
    WebhookTransmissionQueue.objects.update(created=timezone.now() - timedelta(hours=1))
    EnterpriseCustomerUser.objects.all().delete()
    deliver()
    assert receiver.log == [] and WebhookTransmissionQueue.objects.get().status == WebhookStatus.CANCELLED
    assert WebhookDisclosure.objects.count() == was_killed


def abandoned():
    """A webhook that a killed worker may have sent, whose lease has ended."""
    delivery.address_due()
    (webhook,) = WebhookTransmissionQueue.objects.all()
    WebhookTransmissionQueue.objects.claim([webhook.pk], WebhookStatus.PENDING, timezone.now())
    WebhookTransmissionQueue.objects.update(due_at=timezone.now())


def test_what_a_killed_worker_may_have_sent_is_registered_when_it_can_be_sent_no_more(learner):
    """Nobody listens there any more: the second attempt never left, the first may have arrived."""
    abandoned()
    EnterpriseWebhookConfiguration.objects.update(webhook_url=f"http://127.0.0.1:{free_port()}/hook")
    deliver()
    assert WebhookTransmissionQueue.objects.get().attempts_made == 1
    assert WebhookDisclosure.objects.count() == 1


def test_what_a_killed_worker_may_have_sent_is_registered_when_a_person_cancels_it(learner):
    abandoned()
    assert cancel(Selection(statuses=CANCELLABLE)).cancelled == 1
    assert WebhookDisclosure.objects.count() == 1


def test_what_a_killed_worker_may_have_sent_is_registered_when_its_endpoint_is_off(learner, receiver):
    abandoned()
    EnterpriseWebhookConfiguration.objects.update(active=False)
    deliver()
    assert receiver.log == [] and WebhookTransmissionQueue.objects.get().status == WebhookStatus.PARKED
    assert WebhookDisclosure.objects.count() == 1


def test_a_batch_costs_one_statement(endpoint):
    for _ in range(4):
        grade_event(make_learner(endpoint.enterprise_customer))
    with CaptureQueriesContext(connection) as queries:
        delivery.deliver_due()
    table = WebhookDisclosure._meta.db_table
    ours = [query["sql"] for query in queries if table in query["sql"]]
    assert WebhookDisclosure.objects.count() == 4
    assert all(sql.startswith("INSERT") for sql in ours) and len(ours) <= 4


def test_a_purge_of_payloads_leaves_the_register(learner):
    deliver()
    WebhookTransmissionQueue.objects.update(created=timezone.now() - timedelta(days=91))
    assert retention.purge(timedelta(days=90)) == 1
    told = WebhookDisclosure.objects.get()
    assert told.user_id == learner.pk and told.identifier


@pytest.mark.parametrize(("days", "left"), [(1094, 1), (1096, 0)])
def test_the_register_ends_too(learner, days, left):
    deliver()
    WebhookDisclosure.objects.update(last_at=timezone.now() - timedelta(days=days))
    WebhookLease.objects.filter(pk=sweep.RETENTION).delete()
    sweep.tidy()
    assert WebhookDisclosure.objects.count() == left


def test_the_export_in_three_forms(learner, endpoint):
    deliver()
    webhook = WebhookTransmissionQueue.objects.get()
    (fact,) = json.loads(export("--json"))
    (row,) = csv.DictReader(io.StringIO(export("--csv")))
    assert list(row) == list(fact)
    assert (fact["webhook"], fact["user_id"], fact["customer_name"]) == (str(webhook.webhook_id), learner.pk, "Acme")
    assert fact["data"] == row["data"].split("; ") and fact["erasure_told_at"] is None
    text = export()
    assert "Acme, endpoint" in text and "learner.email" in text and "erasure: the learner is not retired" in text
    for written in (text, json.dumps(fact), str(row)):
        assert "maria" not in written and COURSE not in written


def test_an_empty_export():
    said, silent = io.StringIO(), io.StringIO()
    assert export(stderr=said) == "" and "Nothing was told" in said.getvalue()
    assert json.loads(export("--json", stderr=silent)) == [] and silent.getvalue() == ""
    assert export("--csv").startswith("first_told_at,")


def test_the_export_is_narrowed(learner, endpoint, receiver):
    other = make_learner(make_endpoint(make_customer("Globex"), receiver.url_for("/hook")).enterprise_customer)
    grade_event(other)
    deliver()
    for narrowed in (["--learner", "maria"], ["--learner", learner.pk], ["--customer", "Acme"]):
        assert [each["user_id"] for each in json.loads(export("--json", *narrowed))] == [learner.pk]
    assert json.loads(export("--json", "--since", "2099-01-01")) == []
    get_user_model().objects.filter(pk=learner.pk).delete()
    assert len(json.loads(export("--json", "--learner", learner.pk))) == 1
    with pytest.raises(CommandError) as refused:
        export("--learner", "nobody")
    assert refused.value.returncode == 2


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=x"])
def test_no_cell_is_a_formula(receiver, name):
    customer = make_customer(name)
    make_endpoint(customer, receiver.url_for("/hook"))
    grade_event(make_learner(customer))
    deliver()
    (row,) = csv.DictReader(io.StringIO(export("--csv"), newline=""))
    assert row["customer_name"] == f"'{name}"
