# SPDX-License-Identifier: AGPL-3.0-or-later
"""What was installed and configured: settings, events, tables, routes, the flag."""

from collections.abc import Iterable, Mapping
from typing import Any

from celery.exceptions import QueueNotFound
from django.apps import apps
from django.core import checks
from django.core.checks.registry import registry
from django.db import connections, router
from django.db.migrations.loader import MigrationLoader
from enterprise.models import EnterpriseCustomer
from openedx_events.learning.signals import COURSE_ENROLLMENT_CREATED, PERSISTENT_GRADE_SUMMARY_CHANGED
from openedx_events.tooling import OpenEdxPublicSignal

from channel_integrations.integrated_channel import conf, routers, wake_up
from channel_integrations.integrated_channel.models import WebhookTransmissionQueue
from channel_integrations.integrated_channel.services.doctor.findings import Findings, ok, problem, warning
from channel_integrations.integrated_channel.services.incumbent import foreign_keys
from channel_integrations.integrated_channel.services.reconciliation import grade_model
from channel_integrations.integrated_channel.settings.common import DELIVERY_TASK, ENRICHMENT_TASK, ROUTER

PACKAGE = "channel_integrations."
REINSTALL = (
    "Install the package so that its entry point is found, and restart the LMS: "
    "pip install --force-reinstall --no-deps channel-integrations (or the wheel that you install from)"
)
OUR_ROUTER = (ROUTER, routers.route_task)
LMS_ROUTER = "openedx.core.lib.celery.routers.route_task"
#: for tables of the incumbent's; both leave them and their rows as they are
MOVE = (
    "Copy what is still of use, ./manage.py lms import_webhook_endpoints --from-incumbent --dry-run first, then take "
    "their foreign keys away: ./manage.py lms drop_incumbent_foreign_keys. "
)
#: other tables of theirs may refer to those that refer to customers
DROP = {
    "mysql": ("SET FOREIGN_KEY_CHECKS = 0;", "DROP TABLE {};", "SET FOREIGN_KEY_CHECKS = 1;"),
    "postgresql": ("", "DROP TABLE {} CASCADE;", ""),
}
UNDECLARED = "no queue that is declared"


def settings() -> Findings:
    """This package's system checks."""
    ours = [check for check in registry.get_checks() if check.__module__.startswith(PACKAGE)]
    errors = [error for check in ours for error in check(app_configs=None)]
    for error in errors:
        say = problem if error.level >= checks.ERROR else warning
        yield say(f"{error.id}: {error.msg}", error.hint or "Type ./manage.py lms check.")
    if not errors:
        yield ok("every setting of this app can be used as it is")


def events() -> Findings:
    """Whether grades reach us, by event and by comparison."""
    if not _listens_to(PERSISTENT_GRADE_SUMMARY_CHANGED, "channel_webhooks.handle_grade_change_for_webhooks"):
        yield problem(
            "nobody listens to the LMS's grade events: new completions make no webhook",
            REINSTALL,
        )
    elif not _listens_to(COURSE_ENROLLMENT_CREATED, "channel_webhooks.handle_enrollment_for_webhooks"):
        yield problem(
            "nobody listens to the LMS's enrolment events: new enrolments make no webhook",
            REINSTALL,
        )
    elif conf.grade_source() and grade_model() is None:
        yield warning(
            f"grade events are listened to, but {conf.grade_source()} is not installed: a completion whose event was "
            "lost is never found again",
            'Name the model of the LMS\'s grades: CHANNEL_WEBHOOKS_GRADE_SOURCE = "grades.PersistentCourseGrade"',
        )
    else:
        yield ok("grade events and enrolment events are listened to")


def _listens_to(signal: OpenEdxPublicSignal, uid: str) -> bool:
    return any(key[0] == uid for key, *_ in signal.receivers)


def migrations() -> Findings:
    """Whether this app's tables are those that its code expects."""
    connection = connections[router.db_for_write(WebhookTransmissionQueue)]
    loader = MigrationLoader(connection)
    ours = [key for key in loader.graph.nodes if key[0] == "channel_webhooks"]
    missing = sorted(name for label, name in ours if (label, name) not in loader.applied_migrations)
    if missing:
        yield problem(
            f"not applied: {', '.join(missing)}",
            "Bring the tables up to this release: ./manage.py lms migrate channel_webhooks",
        )
    elif lost := sorted(_tables() - set(connection.introspection.table_names())):
        yield problem(
            f"all {len(ours)} are recorded as applied, but tables are not there: {', '.join(lost)}",
            "Restore them from a backup. Where all are missing, and nothing is to be restored: ./manage.py lms migrate "
            "--fake channel_webhooks zero && ./manage.py lms migrate channel_webhooks",
        )
    else:
        yield ok(f"all {len(ours)} are applied")


def other_tables() -> Findings:
    """Tables of no installed app that keep customers from being deleted."""
    connection = connections[router.db_for_write(EnterpriseCustomer)]
    customers = EnterpriseCustomer._meta.db_table
    with connection.cursor() as cursor:
        orphans = set(connection.introspection.table_names(cursor)) - set(connection.introspection.django_table_names())
        left_over = [
            table
            for table in sorted(orphans)
            if any(
                referred[1] == customers for referred in connection.introspection.get_relations(cursor, table).values()
            )
        ]
    if left_over:
        yield warning(
            f"tables of no installed app refer to customers, which therefore cannot be deleted: {', '.join(left_over)}",
            (MOVE if any(map(foreign_keys.is_theirs, left_over)) else "")
            + "If nobody needs their data (make a dump first), drop them: type into ./manage.py lms dbshell: "
            + _to_drop(left_over, connection.vendor),
        )
    else:
        yield ok("nothing that an uninstalled app left behind refers to customers")


def routes() -> Findings:
    """Whether Celery sends the two tasks where they should go, asked of the router that sends them."""
    expected = {task: _expected_queue(task) for task in (ENRICHMENT_TASK, DELIVERY_TASK)}
    try:
        found = {task: queue_of(task) for task in expected}
    except (ImportError, AttributeError) as err:
        yield problem(
            f"CELERY_ROUTES names what cannot be imported ({err}): no task can be sent, those of the LMS included",
            f"Correct it, and restart LMS and workers. Where it stands in no setting of yours, remove it; an LMS's own "
            f"is {_to_type([LMS_ROUTER])}",
        )
        return
    wrong = [
        f"{_short(task)} goes to {queue}, not to {expected[task]}"
        for task, queue in found.items()
        if queue != expected[task]
    ]
    if wrong or not _is_first():
        yield problem(
            "; ".join(wrong) or "another router is asked before this app's", _to_route_rightly(found, expected)
        )
    else:
        yield ok(", ".join(f"{_short(task)} goes to {queue}" for task, queue in expected.items()))


def _to_route_rightly(found: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """What is first wrong, mended."""
    if not _is_first():
        return f"Put this app's router first, and restart LMS and workers: {_to_type(_given_routes())}"
    if UNDECLARED in found.values():
        declared = ", ".join(f'"{expected[task]}": {{}}' for task, queue in found.items() if queue == UNDECLARED)
        return f"Declare it, and restart LMS and workers: CELERY_QUEUES = {{**CELERY_QUEUES, {declared}}}"
    task = next(task for task, queue in found.items() if queue != expected[task])
    if routers.route_task(task):
        return f'Name a "queue" for {task} in CELERY_TASK_ROUTES or EXPLICIT_QUEUES, and restart LMS and workers'
    return (
        "Name the queue, since another entry of CELERY_ROUTES answers for it, and restart LMS and workers: "
        f'CHANNEL_WEBHOOKS_DELIVERY_QUEUE = "{expected[DELIVERY_TASK]}"'
    )


def flag() -> Findings:
    """Whether completions get their learning time."""
    yield ok("learning time is switched " + ("on" if conf.enrichment_enabled() else "off"))


def queue_of(task: str) -> str:
    """The queue that Celery would send this task to now."""
    try:
        queue = wake_up.broker.app.amqp.router.route({}, task).get("queue")
    except QueueNotFound:
        return UNDECLARED
    return getattr(queue, "name", queue) or "no queue by name"


def _expected_queue(task: str) -> str:
    return (routers.route_task(task) or {}).get("queue") or wake_up.broker.app.conf.task_default_queue


def _is_first() -> bool:
    return next(iter(_given_routes()), None) in OUR_ROUTER


def _given_routes() -> list[Any]:
    """What ``CELERY_ROUTES`` says: names, functions and dicts."""
    given = wake_up.broker.app.conf.task_routes or ()
    return list(given) if isinstance(given, (list, tuple)) else [given]


def _to_type(others: Iterable[Any]) -> str:
    """``CELERY_ROUTES`` with this app's router before the others."""
    names = [f"{each.__module__}.{each.__qualname__}" if callable(each) else each for each in others]
    return f"CELERY_ROUTES = {[ROUTER, *(each for each in names if each not in OUR_ROUTER)]}"


def _to_drop(tables: Iterable[str], vendor: str) -> str:
    before, each, after = DROP.get(vendor, ("", "DROP TABLE {};", ""))
    return " ".join([before, *(each.format(table) for table in tables), after]).strip()


def _tables() -> set[str]:
    return {model._meta.db_table for model in apps.get_app_config("channel_webhooks").get_models()}


def _short(task: str) -> str:
    return task.rsplit(".", 1)[-1]
