# SPDX-License-Identifier: AGPL-3.0-or-later
"""What log systems are given: queries find it, one id leads through it, and nothing personal is in it."""

import logging
from contextlib import contextmanager
from datetime import timedelta
from statistics import mean
from uuid import UUID

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from enterprise.models import EnterpriseCustomerUser
from werkzeug import Response

from channel_integrations.integrated_channel import snowflake_connection, tasks
from channel_integrations.integrated_channel.exceptions import TaskFailed
from channel_integrations.integrated_channel.handlers import handle_learner_retirement
from channel_integrations.integrated_channel.log_lines import LogLines, chain_of, way_of
from channel_integrations.integrated_channel.models import WebhookSigningSecret, WebhookTransmissionQueue
from channel_integrations.integrated_channel.services import delivery, replay, retention
from channel_integrations.integrated_channel.services.test_event import send_test_event
from channel_integrations.integrated_channel.signing import Kind
from tests.factories import COURSE, grade_event, make_customer, make_endpoint, make_learner
from tests.servers import free_port

EMAIL, USERNAME, LETTER = "maria@private.example", "maria-the-learner", "a-for-maria@private.example"
SECONDS, PERCENT = 123456789, 0.918273
QUEUE = WebhookTransmissionQueue._meta.db_table
TASK = "enrich_and_send_completion_webhook"


@pytest.fixture
def ours(caplog):
    """The records of this package, at every level."""
    caplog.set_level(logging.DEBUG)
    return lambda: [record for record in caplog.records if record.name.startswith("channel_integrations")]


@pytest.fixture
def host(committed_db, snowflake, receiver):
    return Host(snowflake, receiver)


class Host:
    """A customer, its partner's endpoint, and Maria."""

    def __init__(self, snowflake, receiver):
        self.receiver = receiver
        receiver.expect_request("/echo/200").respond_with_handler(lambda r: Response(r.get_data(), 200))
        receiver.expect_request("/echo/400").respond_with_handler(lambda r: Response(r.get_data(), 400))
        receiver.expect_request("/echo/500").respond_with_handler(lambda r: Response(r.get_data(), 500))
        self.customer = make_customer("The Secret Customer")
        self.endpoint = make_endpoint(self.customer, self.url(200))
        WebhookSigningSecret.rotate(self.endpoint, Kind.ED25519)
        self.secrets = self.endpoint.signing_secrets()
        self.learner = make_learner(self.customer, username=USERNAME, email=EMAIL)
        snowflake.add(self.learner.pk, COURSE, self.customer.uuid, SECONDS)

    def url(self, status):
        return self.receiver.url_for(f"/echo/{status}") + "?key=the-partners-key"

    def complete(self, **grade):
        grade_event(self.learner, letter=LETTER, percent=PERCENT, **grade)

    def deliver(self, url):
        type(self.endpoint).objects.update(webhook_url=url)
        WebhookTransmissionQueue.objects.update(due_at=timezone.now())
        tasks.process_webhook_queue()

    def private(self, password):
        """What must be in no record."""
        bodies = set(WebhookTransmissionQueue.objects.exclude(body="").values_list("body", flat=True))
        return {EMAIL, USERNAME, LETTER, str(SECONDS), str(PERCENT), COURSE, "event_type", *bodies} | {
            *self.secrets,
            *(secret.partition("_")[2] for secret in self.secrets),
            password,
            "the-partners-key",
            self.customer.name,
        }


def enrich():
    tasks.enrich_and_send_completion_webhook()


@contextmanager
def unique_letters():
    """Every INSERT but the first fails, and the database quotes the letter grade."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE UNIQUE INDEX one_letter ON {QUEUE} (letter_grade)")
        yield
        cursor.execute(f"DROP INDEX one_letter{f' ON {QUEUE}' if connection.vendor == 'mysql' else ''}")


@contextmanager
def renamed_queue():
    """Every statement about webhooks fails."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {QUEUE} RENAME TO elsewhere")
        yield
        cursor.execute(f"ALTER TABLE elsewhere RENAME TO {QUEUE}")


def query(records, text):
    """The records that a query finds, such as ``source:celery status:failure``."""
    wanted = dict(term.split(":") for term in text.split())
    return [each for each in records if all(getattr(each, name, None) == value for name, value in wanted.items())]


def test_the_queries_of_the_contract_find_what_they_ask_for(host, snowflake, settings, ours):
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS = 1
    host.complete()
    enrich()
    host.complete()
    enrich()  # the cache knows
    other = make_learner(host.customer)
    grade_event(other)
    settings.SNOWFLAKE_CONFIG = {**snowflake.config(), "port": free_port()}
    snowflake_connection.forget_pool()
    enrich()

    failed = query(ours(), f"source:celery task:{TASK} status:failure")
    assert [record.webhook_id for record in failed] == [str(webhook_of(other).webhook_id)]
    assert mean(record.duration_ms for record in query(ours(), "source:snowflake_client")) > 0
    assert max(record.latency_ms for record in query(ours(), "source:webhook_handler")) > 0
    gets = query(ours(), "source:django_cache operation:get")
    assert [(record.status, record.count) for record in gets] == [("miss", 1), ("hit", 1), ("miss", 1)]


def test_a_task_that_fails_as_a_whole_is_found_too(host, ours):
    with renamed_queue(), pytest.raises(TaskFailed):
        enrich()
    (failed,) = query(ours(), f"source:celery task:{TASK} status:failure")
    assert "enrichment.py" in failed.at and "tasks.py" in failed.at


def test_one_id_leads_from_the_event_to_the_attempt(host, ours):
    host.complete()
    enrich()
    host.deliver(host.url(500))
    host.deliver(host.url(200))
    found = [
        record for record in ours() if getattr(record, "webhook_id", "") == str(webhook_of(host.learner).webhook_id)
    ]
    assert [(record.source, record.status) for record in found] == [
        ("webhook_handler", "queued"),
        ("celery", "success"),
        ("webhook_delivery", "retry"),
        ("webhook_delivery", "delivered"),
    ]
    assert all(f"webhook_id={record.webhook_id}" in record.getMessage() for record in found)


def test_what_ends_without_an_attempt_is_told_too(host, ours):
    host.complete()
    EnterpriseCustomerUser.objects.all().delete()
    enrich()
    delivery.deliver_due()
    (line,) = query(ours(), "source:webhook_addressing status:cancelled")
    assert line.reason == "the learner is no longer linked to the customer"
    assert line.webhook_id == str(WebhookTransmissionQueue.objects.get().webhook_id)


def webhook_of(learner):
    return WebhookTransmissionQueue.objects.get(user_id=learner.pk)


def test_nothing_personal_and_no_secret_is_in_any_record(host, snowflake, settings, ours):
    password = snowflake.config()["password"]
    host.complete()
    enrich()
    host.deliver(host.url(200))
    private = host.private(password)
    with unique_letters():
        host.complete()
    host.complete()
    settings.SNOWFLAKE_CONFIG = {**snowflake.config(), "port": free_port()}
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS = 1
    settings.CACHES = {"default": {"BACKEND": f"{__package__}.caches.QuotesItsKeys"}}
    snowflake_connection.forget_pool()
    enrich()
    host.deliver(f"http://127.0.0.1:{free_port()}/hook?key=the-partners-key")
    for status in (500, 400):
        type(host.endpoint.health).objects.update(breaker_open_until=None)
        host.deliver(host.url(status))
        private |= host.private(password)
    with renamed_queue():
        host.complete()
        with pytest.raises(TaskFailed) as failed:
            tasks.process_webhook_queue()
    send_test_event(host.endpoint)
    ids = list(WebhookTransmissionQueue.objects.values_list("webhook_id", flat=True))
    replay.replay(replay.Selection(webhook_ids=ids))
    handle_learner_retirement(sender=None, user=host.learner)
    retention.purge(timedelta(0))

    records = ours()
    assert {record.source for record in records} >= {
        "webhook_handler",
        "celery",
        "snowflake_client",
        "django_cache",
        "webhook_delivery",
        "webhook_replay",
        "webhook_retention",
    }
    failures = [record.error for record in records if (record.source, record.status) == ("webhook_handler", "failure")]
    assert len(failures) == 2 and failures[0].startswith("IntegrityError")
    for record in records:
        told = f"{record.getMessage()} {vars(record)}"
        assert not [each for each in private if each in told], told
        assert record.exc_info is None and record.exc_text is None and record.stack_info is None
    assert not [each for each in private if each in str(failed.value)]


# ---- one line


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO)
    return LogLines("channel_integrations.test")


def test_each_fact_is_in_the_text_and_in_extra(lines, caplog):
    lines.info("a_source", "done", "100 % of it", count=0, webhook_id=UUID(int=1), reason="", error=None, paused=False)
    (record,) = caplog.records
    told = f"source=a_source status=done count=0 webhook_id={UUID(int=1)} paused=False: 100 % of it"
    assert record.getMessage() == told
    assert (record.source, record.status, record.count, record.paused) == ("a_source", "done", 0, False)
    assert record.webhook_id == str(UUID(int=1))
    assert not hasattr(record, "reason") and not hasattr(record, "error")
    assert record.filename == "test_log_lines.py" and record.funcName == "test_each_fact_is_in_the_text_and_in_extra"


def test_what_is_not_to_be_logged_costs_nothing(lines, caplog):
    class Unspeakable:
        def __str__(self):
            raise AssertionError

    lines.debug("a_source", "done", webhook_id=Unspeakable())
    assert not caplog.records


def test_a_failure_names_kinds_and_places_and_no_words(lines, caplog):
    try:
        raise_from_elsewhere()
    except ValueError as err:
        lines.failure("a_source", err, count=1)
        assert chain_of(err) == "ValueError<OperationalError(1213)<KeyError"
        assert way_of(err).endswith(":raise_from_elsewhere.<locals>.fail") and "test_log_lines.py:" in way_of(err)
    (record,) = caplog.records
    assert record.levelname == "ERROR" and record.status == "failure" and record.error.startswith("ValueError<")
    assert EMAIL not in str(vars(record))


def raise_from_elsewhere():
    def fail():
        raise KeyError(EMAIL)

    try:
        try:
            fail()
        except KeyError as err:
            raise OperationalError(1213, f"Deadlock with {EMAIL}") from err
    except OperationalError as err:
        raise ValueError(EMAIL) from err


def test_what_is_hidden_on_purpose_stays_hidden():
    try:
        try:
            raise KeyError(EMAIL)
        except KeyError:
            raise ValueError from None
    except ValueError as err:
        assert chain_of(err) == "ValueError"
