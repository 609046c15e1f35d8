# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the incumbent's tables keep from being deleted, and the command that ends that."""

import json
import threading
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, connections, transaction
from enterprise.models import EnterpriseCourseEnrollment, EnterpriseCustomer, EnterpriseCustomerUser

from channel_integrations.integrated_channel.services.incumbent import foreign_keys
from tests.factories import COURSE, make_customer, make_learner
from tests.test_channel_integrations.test_integrated_channel.test_incumbent_import import PASSED

CONSTRAINTS = 5  # of endpoint, queue (two), content, statement; the one within is left


def run(*arguments):
    """What the command prints."""
    out = StringIO()
    call_command("drop_incumbent_foreign_keys", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def left_behind(incumbent):
    """Its tables, with rows that refer to Acme and to a learner of Acme's."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite cannot drop a foreign key")
    theirs, acme = incumbent(), make_customer("Acme")
    learner = make_learner(acme)
    theirs.endpoint(acme)
    theirs.webhook(acme, learner, COURSE, PASSED)
    theirs.Content.objects.create(
        enterprise_customer_id=acme.pk, api_response_status=theirs.ApiResponse.objects.create()
    )
    theirs.Statement.objects.create(user_id=learner.pk)
    return theirs, acme, learner


def delete(instance):
    """As the admin does; PostgreSQL looks at the end of the transaction."""
    with transaction.atomic():
        instance.delete()


def test_customers_and_users_can_be_deleted_again(left_behind):
    theirs, acme, learner = left_behind
    EnterpriseCourseEnrollment.objects.all().delete()
    EnterpriseCustomerUser.objects.all().delete()
    for instance in (acme, learner):
        with pytest.raises(IntegrityError):
            delete(type(instance).objects.get(pk=instance.pk))
    before = [list(model.objects.values()) for model in theirs.models]
    out = run()
    assert out.count("dropped  ") == CONSTRAINTS
    assert "channel_integration_webhooktransmissionqueue.user_id -> auth_user" in out
    assert "xapi_channel_xapilearnerdatatransmissionaudit.user_id -> auth_user" in out
    assert [list(model.objects.values()) for model in theirs.models] == before
    delete(acme)
    delete(learner)
    assert not EnterpriseCustomer.objects.filter(pk=acme.pk).exists()
    assert [list(model.objects.values()) for model in theirs.models] == before


def test_it_may_be_run_again(left_behind):
    run()
    assert "nothing to do" in run()
    # What leads from one of its tables to another stays: it harms nobody.
    theirs = left_behind[0]
    with connection.cursor() as cursor:
        assert connection.introspection.get_relations(cursor, theirs.Content._meta.db_table)


def test_a_dry_run_drops_nothing(left_behind):
    said = json.loads(run("--dry-run", "--json"))
    assert len(said["foreign_keys"]) == CONSTRAINTS
    assert not any(key["dropped"] for key in said["foreign_keys"])
    assert run("--dry-run").endswith(f"{CONSTRAINTS} foreign keys would be dropped. Nothing was done.\n")
    assert len(foreign_keys.foreign_keys()) == CONSTRAINTS


def test_one_alone_is_no_plural(left_behind):
    assert not foreign_keys.drop(foreign_keys.foreign_keys()[1:])
    assert run("--dry-run").endswith("1 foreign key would be dropped. Nothing was done.\n")
    assert run().endswith("1 foreign key dropped; the tables and their rows are as they were.\n")


def test_a_table_in_use_is_not_waited_for(left_behind, monkeypatch):
    """Whoever waits there holds up the LMS's own requests behind it."""
    monkeypatch.setattr(foreign_keys, "WAIT_SECONDS", 1)
    theirs = left_behind[0]
    reading, done = threading.Event(), threading.Event()

    def read():
        with transaction.atomic():
            theirs.QueueItem.objects.count()
            reading.set()
            done.wait(30)
        connections.close_all()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert reading.wait(10)
        with pytest.raises(CommandError, match="2 of 5 are still there"):
            run()
    finally:
        done.set()
        reader.join()
    assert run().count("dropped  ") == 2


def test_it_refuses_while_the_incumbent_is_installed(committed_db):
    """Its tables are in use; here by another app of that label."""
    apps.app_configs["channel_integration"] = apps.get_app_config("grades")
    try:
        with pytest.raises(CommandError, match=r"is installed here \(channel_integration\)"):
            run()
    finally:
        del apps.app_configs["channel_integration"]


def test_without_its_tables_there_is_nothing_to_do(committed_db):
    assert "nothing to do" in run()


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="says what SQLite cannot do")
def test_sqlite_cannot_drop_a_foreign_key_and_says_so(incumbent):
    incumbent()
    assert "would be dropped" in run("--dry-run")
    with pytest.raises(CommandError, match="SQLite cannot drop a foreign key"):
        run()
