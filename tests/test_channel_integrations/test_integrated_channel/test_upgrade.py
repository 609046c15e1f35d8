# SPDX-License-Identifier: AGPL-3.0-or-later
"""
While a release is rolled out, the one before runs on the new schema, and after a rollback it does again.

What an earlier release knew of the tables is what the migrations say up to its last one: their models, rendered by
Django, send the SQL that the earlier code sends. Hence a new column is nullable or has its default in the database, and
what a release no longer uses is dropped by the one after it.

Each test has a database of its own, with no other table in it: a migration that needs another app's fails here.
"""

import datetime
import io
import itertools
import uuid
from contextlib import nullcontext
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, models, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from channel_integrations.integrated_channel.models import WebhookStatus, WebhookTransmissionQueue
from tests.factories import grade_event, make_customer, make_endpoint, make_learner, write_grade
from tests.lms_host.grades.models import PersistentCourseGrade

APP = "channel_webhooks"
OTHER = "other_release"
NAMES = sorted(name for app, name in MigrationLoader(None).disk_migrations if app == APP)
#: what no release ended with, so that it never runs beside a newer one: its INSERTs leave out what 0002 demands
NEVER_BESIDE_ANOTHER = {"0001_initial"}
_number = itertools.count(1)


@pytest.fixture
def other_database(django_db_setup, django_db_blocker, tmp_path):
    """An empty database beside the test database, on the same server; its alias."""
    own = connections["default"].settings_dict
    name = str(tmp_path / "other.sqlite3") if "sqlite3" in own["ENGINE"] else f"{own['NAME']}_{OTHER}"
    connections.settings[OTHER] = {**own, "NAME": name, "TEST": {**own["TEST"], "NAME": name}}
    with django_db_blocker.unblock():
        creation = connections[OTHER].creation
        creation._create_test_db(verbosity=0, autoclobber=True)
        connections[OTHER].settings_dict["NAME"] = name
        yield OTHER
        connections[OTHER].close()
        creation._destroy_test_db(name, verbosity=0)
    del connections[OTHER], connections.settings[OTHER]


def migrate(migration: str | None, alias: str = OTHER) -> None:
    """Forward or backward to this migration of ours; None is before the first."""
    executor = MigrationExecutor(connections[alias])
    executor.migrate([(APP, migration)])


def models_at(migration: str) -> list[type[models.Model]]:
    """The tables of this app as a release knew them whose last migration that was."""
    apps = MigrationLoader(connections[OTHER]).project_state((APP, migration)).apps
    return sorted(apps.get_app_config(APP).get_models(), key=lambda model: model._meta.model_name)


def filled(model: type[models.Model]) -> models.Model:
    """A row with a value of its own in every column, as INSERT sends it."""
    values = {
        field.attname: value_for(field)
        for field in model._meta.concrete_fields
        if not isinstance(field, models.AutoField | models.BigAutoField)
    }
    return model._base_manager.using(OTHER).create(**values)


def sparse(model: type[models.Model]) -> models.Model:
    """A row with nothing in it but what must be there."""
    values = {
        field.attname: value_for(field)
        for field in model._meta.concrete_fields
        if not (field.null or field.has_default() or field.blank or isinstance(field, models.AutoField))
    }
    return model._base_manager.using(OTHER).create(**values)


def value_for(field: models.Field) -> Any:
    """One that no other row has."""
    number = next(_number)
    if field.choices:
        return str(field.choices[-1][0])
    for kind, value in (
        (models.ForeignKey, uuid.uuid4() if "customer" in field.name else number),
        (models.UUIDField, uuid.uuid4()),
        (models.DateTimeField, timezone.now() - datetime.timedelta(minutes=number)),
        (models.DateField, datetime.date(2026, 1, 1) + datetime.timedelta(days=number)),
        (models.BooleanField, True),
        (models.FloatField, number / 1024),
        (models.JSONField, {"date": str(number)}),
        (models.IntegerField, number),
        (models.CharField, f"value-{number}"),
        (models.TextField, f"text {number}"),
    ):
        if isinstance(field, kind):
            return value
    raise AssertionError(f"{field}: say what a value looks like")


def values_of(row: models.Model) -> dict[str, Any]:
    """What the database has of this row, read by the model of this row's release."""
    return type(row)._base_manager.using(OTHER).values().get(pk=row.pk)


def works_with(known: list[type[models.Model]]) -> None:
    """A release that knows the tables so inserts, reads, changes and deletes rows of each."""
    for model in known:
        for make in (filled, sparse):
            row = make(model)
            before = values_of(row)
            row.save(using=OTHER, force_update=True)
            changed = {name for name, value in values_of(row).items() if value != before[name]}
            assert changed <= {"modified"}  # the database stamps it
            row.delete(using=OTHER)
            assert not type(row)._base_manager.using(OTHER).filter(pk=row.pk).exists()


@pytest.mark.parametrize("migration", NAMES)
def test_rows_stay_when_the_tables_are_migrated_and_back(other_database, migration):
    """And beside them an earlier release goes on working: on the newest schema, and on its own after a rollback."""
    migrate(migration)
    earlier = models_at(migration)
    kept = {row: values_of(row) for model in earlier for row in (filled(model), sparse(model))}
    for step in (NAMES[-1], migration):
        migrate(step)
        assert {row: values_of(row) for row in kept} == kept
        if migration not in NEVER_BESIDE_ANOTHER:
            works_with(earlier)


def test_an_earlier_release_reads_and_keeps_what_the_newest_has_written(other_database):
    """Workers of both work on one table: a row that the earlier one saves keeps what only the newest knows of."""
    migrate(NAMES[-1])
    rows = [make(model) for model in models_at(NAMES[-1]) for make in (filled, sparse)]
    before = [values_of(row) for row in rows]
    for earlier in models_at(NAMES[-2]):
        for row in earlier._base_manager.using(OTHER).all():
            row.save(using=OTHER, force_update=True)
    after = [values_of(row) for row in rows]
    assert [{**row, "modified": 0} for row in after] == [{**row, "modified": 0} for row in before]


@pytest.fixture
def endpoint_of_the_release_before(committed_db, receiver):
    """An endpoint in the test database as an operator finds it who has forgotten to migrate."""
    endpoint = make_endpoint(make_customer(), receiver.url_for("/hook"))
    migrate(NAMES[-2], "default")
    try:
        yield endpoint
    finally:
        migrate(NAMES[-1], "default")


def test_the_newest_release_on_the_tables_of_the_one_before(endpoint_of_the_release_before, receiver, caplog):
    """A grade comes through, inside a transaction and outside; a row that was not made is, after the migration."""
    endpoint = endpoint_of_the_release_before
    for enclosed in (True, False):
        learner = make_learner(endpoint.enterprise_customer)
        with transaction.atomic() if enclosed else nullcontext():
            grade = write_grade(learner)
            grade_event(learner, passed_at=grade.passed_timestamp)
            assert PersistentCourseGrade.objects.filter(user_id=learner.id).exists()
    failed = caplog.text.count("source=webhook_handler status=failure")
    assert PersistentCourseGrade.objects.count() == 2
    migrate(NAMES[-1], "default")
    assert WebhookTransmissionQueue.objects.count() == 2 - failed
    call_command("send_due_webhooks", stdout=io.StringIO())
    assert WebhookTransmissionQueue.objects.filter(status=WebhookStatus.DELIVERED).count() == 2
    assert len(receiver.log) == 2


def test_taken_out_and_put_in_again(other_database):
    """Rows are no hindrance, and what comes back is empty."""
    migrate(NAMES[-1])
    for model in models_at(NAMES[-1]):
        filled(model)
    migrate(None)
    assert [table for table in connections[OTHER].introspection.table_names() if table.startswith(APP)] == []
    migrate(NAMES[-1])
    newest = models_at(NAMES[-1])
    assert not any(model._base_manager.using(OTHER).exists() for model in newest)
    works_with(newest)
