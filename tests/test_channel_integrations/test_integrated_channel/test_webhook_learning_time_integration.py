# SPDX-License-Identifier: AGPL-3.0-or-later
"""End to end: grade event → database → Redis → worker process → Snowflake's protocol → POST."""

import json
import os
import signal
import threading
import time
from contextlib import closing
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connections, transaction
from django.utils import timezone
from enterprise.models import EnterpriseCourseEnrollment, EnterpriseCustomerUser
from werkzeug import Response

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.models import WebhookStatus, WebhookTransmissionQueue
from tests.brokers import broker_at
from tests.factories import (
    COURSE,
    enrollment_event,
    grade_event,
    make_customer,
    make_endpoint,
    make_learner,
    write_grade,
)
from tests.servers import free_port

pytestmark = [pytest.mark.redis]
ENRICHMENT, DEFAULT = "edx.lms.core.webhook_enrichment", "edx.lms.core.default"


@pytest.fixture
def broker(redis_server):
    """This process publishes to the real Redis, as an LMS does."""
    with broker_at(redis_server.url(0)):
        yield redis_server


@pytest.fixture
def acme(committed_db, receiver):
    customer = make_customer("Acme")
    make_endpoint(customer, receiver.url_for("/hook"))
    return customer


def pass_course(learner, **grade):
    """As the LMS does it: the grade and the event in one transaction."""
    passed_at = timezone.now()
    with transaction.atomic():
        write_grade(learner, passed_at=passed_at, **grade)
        grade_event(learner, passed_at=passed_at, **grade)


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, list(
            WebhookTransmissionQueue.objects.values("status", "reason", "learning_time_status", "due_at")
        )
        time.sleep(0.05)


def delivered(count):
    return lambda: WebhookTransmissionQueue.objects.filter(status=WebhookStatus.DELIVERED).count() == count


def received(receiver):
    return {body["learner"]["user_id"]: body for body in (json.loads(r.get_data()) for r, _ in receiver.log)}


def test_number_zero_and_none_each_arrive_as_what_they_are(acme, snowflake, broker, receiver, start_worker):
    start_worker(ENRICHMENT, LMS_SNOWFLAKE_PORT=str(snowflake.port))
    start_worker(DEFAULT, LMS_SNOWFLAKE_PORT=str(snowflake.port))
    busy, idle, unknown = (make_learner(acme) for _ in range(3))
    snowflake.add(busy.id, "course-v1:edX+Demo+2026", acme.uuid, 5400)
    snowflake.add(idle.id, "course-v1:edX+Demo+2026", acme.uuid, 0)
    for learner in (busy, idle, unknown):
        pass_course(learner)
    wait_for(delivered(3))
    bodies = received(receiver)
    assert bodies[busy.id]["completion"]["learning_time"] == 5400
    assert bodies[idle.id]["completion"]["learning_time"] == 0
    assert "learning_time" not in bodies[unknown.id]["completion"]
    assert len(receiver.log) == 3


def test_snowflake_down_the_webhook_arrives_plain(acme, snowflake, broker, receiver, start_worker):
    start_worker(f"{ENRICHMENT},{DEFAULT}", LMS_SNOWFLAKE_PORT=str(free_port()))
    learner = make_learner(acme)
    pass_course(learner)
    wait_for(delivered(1), seconds=60)
    assert "learning_time" not in received(receiver)[learner.id]["completion"]
    assert WebhookTransmissionQueue.objects.get().learning_time_status == "unreachable"


def test_an_enrolment_whose_sponsorship_comes_a_moment_later(acme, broker, receiver, start_worker):
    """No sweep: the event's wake-up alone brings it on its way."""
    acme.webhook_endpoints.update(sends_enrollments=True)
    start_worker(DEFAULT)
    learner = make_learner(acme, sponsored=False)
    with transaction.atomic():
        enrollment_event(learner)
    time.sleep(1)
    link = EnterpriseCustomerUser.objects.get(user_id=learner.pk)
    EnterpriseCourseEnrollment.objects.create(enterprise_customer_user=link, course_id=COURSE)
    wait_for(delivered(1), seconds=30)
    assert received(receiver)[learner.id]["enrollment"]["mode"] == "verified"


def test_flag_off_there_is_no_enrichment(acme, broker, receiver, start_worker):
    start_worker(DEFAULT)
    learner = make_learner(acme)
    pass_course(learner)
    wait_for(delivered(1))
    assert "learning_time" not in received(receiver)[learner.id]["completion"]


def test_no_worker_on_the_enrichment_queue(acme, snowflake, broker, receiver, start_worker):
    start_worker(DEFAULT, LMS_SNOWFLAKE_PORT=str(snowflake.port))
    learner = make_learner(acme)
    pass_course(learner)
    WebhookTransmissionQueue.objects.update(enrich_by=timezone.now())  # ten minutes later
    wake_up.delivery()
    wait_for(delivered(1))
    assert WebhookTransmissionQueue.objects.get().learning_time_status == "overdue"


def test_nothing_but_ids_passes_through_the_broker(acme, snowflake, broker, redis_server):
    import redis

    learner = make_learner(acme)
    pass_course(learner)
    client = redis.Redis(port=redis_server.port)
    keys = client.keys("*")
    text = b"".join(b"".join(client.lrange(key, 0, -1)) for key in keys if client.type(key) == b"list")
    row = WebhookTransmissionQueue.objects.get()
    assert client.llen(ENRICHMENT) >= 1 and text
    for personal in (learner.email, learner.username, "Acme"):
        assert personal.encode() not in text
    assert _arguments(text) == {"[]"}, "one call serves every row"
    assert str(row.webhook_id).encode() not in text
    client.flushall()


def _arguments(text):
    """The positional arguments of each message."""
    import base64
    import re

    bodies = re.findall(rb'"body": "([^"]+)"', text)
    return {json.dumps(json.loads(base64.b64decode(body))[0]) for body in bodies}


def test_a_flushed_broker_loses_nothing(acme, broker, receiver, redis_server):
    import redis

    pass_course(make_learner(acme))
    redis.Redis(port=redis_server.port).flushall()
    call_command("send_due_webhooks")
    assert delivered(1)()


def test_a_worker_killed_in_mid_send_loses_nothing(acme, broker, receiver, start_worker):
    sending = threading.Event()

    def hang(request):
        sending.set()
        time.sleep(3)
        return Response("late")

    receiver.clear()
    receiver.expect_request("/hook").respond_with_handler(hang)
    worker = start_worker(DEFAULT)
    pass_course(make_learner(acme))
    assert sending.wait(20)
    worker.kill(signal.SIGKILL)
    row = WebhookTransmissionQueue.objects.get()
    assert row.status == WebhookStatus.PENDING and row.lease_token and row.body
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("ok")
    WebhookTransmissionQueue.objects.update(due_at=timezone.now())  # three minutes later, the lease has ended
    call_command("send_due_webhooks")
    row.refresh_from_db()
    assert row.status == WebhookStatus.DELIVERED
    assert receiver.log[-1][0].get_data().decode() == row.body


def test_a_failed_attempt_is_repeated_by_the_circulating_wake_up_alone(acme, broker, receiver, start_worker):
    receiver.clear()
    receiver.expect_ordered_request("/hook").respond_with_data("no", status=503)
    receiver.expect_ordered_request("/hook").respond_with_data("ok")
    start_worker(DEFAULT)
    pass_course(make_learner(acme))
    wait_for(delivered(1), seconds=30)
    assert WebhookTransmissionQueue.objects.get().attempts_made == 2


def test_a_rolled_back_grade_makes_no_webhook(acme, broker):
    learner = make_learner(acme)
    with pytest.raises(RuntimeError), transaction.atomic():
        write_grade(learner)
        grade_event(learner)
        raise RuntimeError("the request failed after the event")
    assert not WebhookTransmissionQueue.objects.exists()


class SilentBroker:
    """Accepts, and never says a word."""

    def __init__(self):
        import socket

        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}/0"


@pytest.mark.parametrize("kind", ["refusing", "silent"])
def test_a_broken_broker_costs_half_a_second_once_and_no_grade(acme, receiver, kind):
    from tests.lms_host.grades.models import PersistentCourseGrade

    silent = SilentBroker()
    with closing(silent.listener), broker_at(silent.url if kind == "silent" else f"redis://127.0.0.1:{free_port()}/0"):
        learners = [make_learner(acme) for _ in range(20)]
        started = time.monotonic()
        for learner in learners:
            pass_course(learner)
        spent = time.monotonic() - started
    assert PersistentCourseGrade.objects.count() == 20
    assert WebhookTransmissionQueue.objects.count() == 20
    assert spent < 0.5 + 20 * 0.05
    call_command("send_due_webhooks")
    assert delivered(20)()


def test_a_request_that_grades_answers_whatever_the_broker_does(acme, receiver, client):
    """Under ATOMIC_REQUESTS, as a rescoring view of the LMS."""
    from tests.lms_host.grades.models import PersistentCourseGrade

    learner = make_learner(acme)
    with broker_at(f"redis://127.0.0.1:{free_port()}/0"):
        answer = client.post("/grade", {"user_id": learner.id, "passed_at": timezone.now().isoformat()})
    assert answer.status_code == 200
    assert PersistentCourseGrade.objects.filter(user_id=learner.id).exists()
    assert WebhookTransmissionQueue.objects.filter(user_id=learner.id).exists()


@pytest.mark.mariadb
@pytest.mark.parametrize("round_", range(3))
def test_the_same_event_twice_at_once_makes_one_row(acme, round_):
    learner = make_learner(acme)
    passed_at = timezone.now() - timedelta(minutes=1)
    barrier, errors = threading.Barrier(4), []

    def event():
        try:
            barrier.wait()
            with transaction.atomic():
                grade_event(learner, passed_at=passed_at)
        except Exception as err:
            errors.append(err)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=event) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert WebhookTransmissionQueue.objects.count() == 1


@pytest.mark.mariadb
def test_regrades_beside_the_lms_own_transactions_neither_deadlock_nor_lose_a_grade(acme, receiver):
    """The same and neighbouring learners, beside transactions that update users, customers, links and endpoints."""
    from django.contrib.auth import get_user_model
    from enterprise.models import EnterpriseCustomer, EnterpriseCustomerUser

    from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration
    from tests.lms_host.grades.models import PersistentCourseGrade

    learners = [make_learner(acme) for _ in range(8)]
    passes = {learner.id: timezone.now() for learner in learners}
    stop, errors, regrades, updates = threading.Event(), [], [0], [0]

    def run(step):
        try:
            while not stop.is_set():
                step()
        except Exception as err:
            errors.append(err)
        finally:
            connections.close_all()

    def regrade(order):
        for learner in order:
            with transaction.atomic():
                write_grade(learner, passed_at=passes[learner.id])
                grade_event(learner, passed_at=passes[learner.id])
            regrades[0] += 1

    def lms():
        with transaction.atomic():
            get_user_model().objects.filter(pk__in=passes).update(last_name=os.urandom(4).hex())
            EnterpriseCustomerUser.objects.filter(user_id__in=passes).update(active=True)
            EnterpriseCustomer.objects.filter(pk=acme.pk).update(name=os.urandom(4).hex())
            EnterpriseWebhookConfiguration.objects.update(webhook_timeout_seconds=15)
        updates[0] += 1

    def forget():
        for pk in WebhookTransmissionQueue.objects.order_by("pk").values_list("pk", flat=True):
            WebhookTransmissionQueue.objects.filter(pk=pk).delete()

    steps = [
        lambda: regrade(learners),
        lambda: regrade(learners[::-1]),
        lambda: regrade(learners[4:]),
        lms,
        lms,
        forget,
    ]
    threads = [threading.Thread(target=run, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    time.sleep(6)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert PersistentCourseGrade.objects.exclude(letter_grade="").count() == len(learners)
    regrade(learners)
    assert WebhookTransmissionQueue.objects.count() == len(learners)
    print(f"regrades={regrades[0]} other transactions={updates[0]} deadlocks=0")
    assert regrades[0] > 100 and updates[0] > 50
