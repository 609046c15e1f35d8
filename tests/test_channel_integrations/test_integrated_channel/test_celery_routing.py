# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which queue a task goes to, asked of the router of a Celery app that is configured as the LMS's is."""

import pytest
from celery.app.task import Context
from django.conf import settings as django_settings

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.routers import route_task
from channel_integrations.integrated_channel.settings.common import (
    DELIVERY_TASK,
    ENRICHMENT_QUEUE,
    ENRICHMENT_TASK,
    ROUTER,
    put_router_first,
)
from channel_integrations.integrated_channel.tasks import enrich_and_send_completion_webhook, process_webhook_queue
from tests.lms_host.celery import app

LMS_DEFAULT = "edx.lms.core.default"


def queue_of(task_name, **options):
    """The name of the queue that a message would be published to."""
    return app.amqp.router.route(options, task_name)["queue"].name


def test_the_tasks_bear_the_names_that_routes_are_written_for():
    assert enrich_and_send_completion_webhook.name == ENRICHMENT_TASK
    assert process_webhook_queue.name == DELIVERY_TASK


def test_tasks_go_through_the_broker():
    """Everything below would be void if calls ran in place."""
    assert app.conf.task_always_eager is False


def test_enrichment_has_its_own_queue_and_delivery_the_lms_default():
    assert queue_of(ENRICHMENT_TASK) == ENRICHMENT_QUEUE == "edx.lms.core.webhook_enrichment"
    assert queue_of(DELIVERY_TASK) == LMS_DEFAULT


def test_the_delivery_queue_can_be_chosen(settings):
    settings.CHANNEL_WEBHOOKS_DELIVERY_QUEUE = "edx.lms.core.high_mem"
    assert queue_of(DELIVERY_TASK) == "edx.lms.core.high_mem"
    assert queue_of(ENRICHMENT_TASK) == ENRICHMENT_QUEUE


@pytest.mark.parametrize("given", ["", 7, ["edx.lms.core.high"]])
def test_a_delivery_queue_of_the_wrong_type_is_the_lms_default(settings, given):
    settings.CHANNEL_WEBHOOKS_DELIVERY_QUEUE = given
    assert queue_of(DELIVERY_TASK) == LMS_DEFAULT


@pytest.mark.parametrize("task", [ENRICHMENT_TASK, DELIVERY_TASK])
@pytest.mark.parametrize("route", [{"queue": "site.webhooks"}, "site.webhooks"])
def test_celery_task_routes_does_what_it_says(settings, task, route):
    settings.CELERY_TASK_ROUTES = {task: route}
    assert queue_of(task) == "site.webhooks"


@pytest.mark.parametrize("task", [ENRICHMENT_TASK, DELIVERY_TASK])
def test_explicit_queues_beats_the_default(settings, task):
    settings.EXPLICIT_QUEUES = {task: {"queue": "edx.lms.core.high"}}
    settings.CHANNEL_WEBHOOKS_DELIVERY_QUEUE = "site.webhooks"
    assert queue_of(task) == "edx.lms.core.high"


def test_celery_task_routes_beats_explicit_queues(settings):
    settings.EXPLICIT_QUEUES = {ENRICHMENT_TASK: {"queue": "edx.lms.core.high"}}
    settings.CELERY_TASK_ROUTES = {ENRICHMENT_TASK: {"queue": "site.webhooks"}}
    assert queue_of(ENRICHMENT_TASK) == "site.webhooks"


@pytest.mark.parametrize("nonsense", [None, "nowhere", 5, {ENRICHMENT_TASK: None}, {ENRICHMENT_TASK: {}}])
def test_routes_that_say_nothing_leave_the_default(settings, nonsense):
    settings.CELERY_TASK_ROUTES = nonsense
    assert queue_of(ENRICHMENT_TASK) == ENRICHMENT_QUEUE


def test_other_tasks_keep_the_routing_of_the_lms(settings):
    settings.CELERY_TASK_ROUTES = {"lms.other_task": {"queue": "site.webhooks"}}
    assert queue_of("lms.other_task") == "edx.lms.core.high"
    assert queue_of("lms.unknown_task") == LMS_DEFAULT


def test_a_queue_named_in_the_call_wins():
    assert queue_of(ENRICHMENT_TASK, queue="edx.lms.core.high") == "edx.lms.core.high"


@pytest.mark.parametrize("name", ["CELERY_TASK_ROUTES", "EXPLICIT_QUEUES"])
def test_the_operators_table_survives_what_celery_does_to_a_route(settings, name):
    """Celery takes the queue out of the dict that a router returns."""
    table = {ENRICHMENT_TASK: {"queue": "site.webhooks"}}
    setattr(settings, name, table)
    for _ in range(3):
        assert queue_of(ENRICHMENT_TASK) == "site.webhooks"
    assert table == {ENRICHMENT_TASK: {"queue": "site.webhooks"}}
    assert route_task(ENRICHMENT_TASK) is not table[ENRICHMENT_TASK]


def test_a_retry_stays_on_the_queue_of_its_first_try():
    """Retries are published with the delivery info of the message that is being retried."""
    message = Context(
        id="1", args=[], kwargs={}, retries=0, delivery_info={"exchange": "", "routing_key": "edx.lms.core.high"}
    )
    again = enrich_and_send_completion_webhook.signature_from_request(message, args=["x"], kwargs={}, retries=1)
    assert queue_of(ENRICHMENT_TASK, queue=again.options["queue"]) == "edx.lms.core.high"


def test_our_router_comes_first_and_once():
    assert django_settings.CELERY_ROUTES == [ROUTER, "openedx.core.lib.celery.routers.route_task"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, [ROUTER]),
        ("lms.route", [ROUTER, "lms.route"]),
        (["lms.route", ROUTER], [ROUTER, "lms.route"]),
        (("lms.route",), [ROUTER, "lms.route"]),
        ({"a": {"queue": "b"}}, [ROUTER, {"a": {"queue": "b"}}]),
    ],
)
def test_whatever_the_lms_routes_by_comes_second(given, expected):
    class Settings:
        CELERY_ROUTES = given

    put_router_first(Settings)
    assert expected == Settings.CELERY_ROUTES
    assert Settings.CELERY_ROUTES is not given


@pytest.mark.parametrize("nonsense", [5, ["a"], object()])
def test_a_nonsense_route_is_ignored_and_reported(settings, nonsense):
    settings.CELERY_TASK_ROUTES = {ENRICHMENT_TASK: nonsense}
    assert route_task(ENRICHMENT_TASK) == {"queue": "edx.lms.core.webhook_enrichment"}
    assert "CELERY_TASK_ROUTES" in [problem.setting for problem in conf.problems()]
