# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fixtures: real servers, and a database whose rows other processes can see."""

from contextlib import contextmanager

import pytest
from common.djangoapps.student.models import CourseEnrollment
from consent.models import DataSharingConsent
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connections
from django.test import Client
from django.test.utils import setup_databases, teardown_databases
from enterprise.models import EnterpriseCourseEnrollment, EnterpriseCustomer, EnterpriseCustomerUser
from pytest_django.live_server_helper import LiveServer

from channel_integrations.integrated_channel import models, snowflake_client, snowflake_connection, wake_up
from channel_integrations.integrated_channel.services import heartbeat, rollout
from tests.browser import Browser
from tests.factories import make_customer, make_endpoint
from tests.incumbent import Incumbent
from tests.lms_host.celery import app as celery_app  # noqa: F401  (the app that the tasks of this process belong to)
from tests.lms_host.grades.models import PersistentCourseGrade
from tests.servers import CeleryWorker
from tests.snowflake_server import SnowflakeServer

TABLES = (
    LogEntry,
    Session,
    models.WebhookDeliveryAttempt,
    models.WebhookDisclosure,
    models.WebhookSigningSecret,
    models.WebhookEndpointCredential,
    models.WebhookEndpointHealth,
    models.WebhookTransmissionQueue,
    models.WebhookLease,
    models.WebhookLookupStatement,
    models.WebhookPseudonymKey,
    models.WebhookRollout,
    models.WebhookHeartbeat,
    models.WebhookSuppression,
    models.EnterpriseWebhookConfiguration,
    PersistentCourseGrade,
    CourseEnrollment,
    DataSharingConsent,
    EnterpriseCourseEnrollment,
    EnterpriseCustomerUser,
    EnterpriseCustomer,
    get_user_model(),
)


@pytest.fixture(autouse=True)
def fresh_process():
    """No circuit, pool or cache of the test before."""
    wake_up.broker.reset()
    snowflake_connection.forget_pool()
    snowflake_client.circuit.reset()
    rollout.decision.forget()
    heartbeat.forget()
    cache.clear()


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment, django_db_blocker):
    """The test database, also for a run of nothing but tests that use ``committed_db`` (which carries no mark)."""
    with django_db_blocker.unblock():
        databases = setup_databases(verbosity=0, interactive=False)
    yield
    with django_db_blocker.unblock():
        teardown_databases(databases, verbosity=0)


@contextmanager
def foreign_keys_ignored(connection):
    """Django's own switch does nothing on PostgreSQL, where only triggers can be switched off, by a superuser."""
    if connection.vendor != "postgresql":
        with connection.constraint_checks_disabled():
            yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        yield
        cursor.execute("SET session_replication_role = DEFAULT")


@pytest.fixture
def committed_db(django_db_setup, django_db_blocker):
    """The test database without a transaction around the test; the rows are deleted afterwards."""
    with django_db_blocker.unblock():
        yield connections["default"]
        # edx-enterprise's own receivers write rows around these; the checks are off so that they may stay.
        with foreign_keys_ignored(connections["default"]):
            for table in TABLES:
                table._base_manager.all()._raw_delete("default")
        if connections["default"].vendor == "sqlite":
            _delete_orphans(connections["default"])


def _delete_orphans(connection):
    """What those receivers wrote; SQLite would refuse to migrate while there is a row that leads to none."""
    with connection.cursor() as cursor:
        for table, rowid, *_ in cursor.execute("PRAGMA foreign_key_check").fetchall():
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)} WHERE rowid = %s", [rowid])


@pytest.fixture
def incumbent(committed_db):
    """``incumbent("0.2.0")``: the tables that this release of the other distribution has left behind."""
    made = []

    def make(release: str = "0.2.0") -> Incumbent:
        made.append(Incumbent(release).make())
        return made[-1]

    yield make
    for each in made:
        each.drop()


@pytest.fixture(scope="session")
def snowflake_server(tmp_path_factory):
    """A Snowflake-protocol server for the whole run."""
    server = SnowflakeServer(tmp_path_factory.mktemp("snowflake")).start()
    yield server
    server.kill()


@pytest.fixture
def snowflake(snowflake_server, settings):
    """The server with an empty rollup, and settings that lead to it, flag included."""
    snowflake_server.empty()
    settings.SNOWFLAKE_CONFIG = snowflake_server.config()
    settings.FEATURES = {**settings.FEATURES, "ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT": True}
    return snowflake_server


@pytest.fixture
def receiver(httpserver, settings):
    """A partner's endpoint: a real HTTP server on loopback that takes what is posted to ``/hook``."""
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = True
    httpserver.expect_request("/hook").respond_with_data("ok")
    return httpserver


@pytest.fixture
def endpoint(receiver):
    """An endpoint of Acme; nothing has been sent to it."""
    return make_endpoint(make_customer("Acme"), receiver.url_for("/hook"))


@pytest.fixture
def staff():
    """``staff("view_…", …)``: a browser of a staff user with these permissions of the app."""

    def sign_in(*codenames):
        user = get_user_model().objects.create_user(f"staff{get_user_model().objects.count()}", is_staff=True)
        permissions = Permission.objects.filter(content_type__app_label="channel_webhooks", codename__in=codenames)
        assert len(permissions) == len(codenames)
        user.user_permissions.set(permissions)
        client = Client()
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """A real browser for the whole run: ``open()`` a page."""
    browser = Browser(tmp_path_factory.mktemp("chromium")).start()
    yield browser
    browser.kill()


@pytest.fixture
def site(committed_db):
    """The address of the stand-in LMS, served by a thread of this process."""
    server = LiveServer("127.0.0.1")
    yield server.url
    server.stop()


@pytest.fixture
def start_worker(tmp_path, redis_server, settings):
    """``start_worker(queues, **environment)``: a real worker process on the test's database and Redis."""
    workers = []

    def start(queues: str, **environment: str) -> CeleryWorker:
        database = connections["default"].settings_dict
        folder = tmp_path / f"worker{len(workers)}"
        folder.mkdir()
        environment = {
            "LMS_DB_NAME": str(database["NAME"]),
            "LMS_BROKER_URL": redis_server.url(0),
            "LMS_CACHE_URL": redis_server.url(1),
            "LMS_ALLOW_PRIVATE_ADDRESSES": "1",
            **environment,
        }
        workers.append(CeleryWorker(queues, environment, folder))
        return workers[-1].start()

    yield start
    for worker in workers:
        worker.kill()
