# SPDX-License-Identifier: AGPL-3.0-or-later
"""The diagram of states shows what the code does: every operation is tried on a webhook in every state."""

import ast
from collections import defaultdict
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise

import pytest
from django.db import connection, transaction
from django.utils import timezone
from enterprise.models import EnterpriseCustomerUser
from social_django.models import UserSocialAuth

from channel_integrations.integrated_channel import tasks
from channel_integrations.integrated_channel.handlers import handle_learner_retirement
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookEndpointHealth,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import (
    cancellation,
    delivery,
    enrichment,
    final_number,
    replay,
    retention,
    sweep,
)
from docs.generate import PACKAGE
from docs.generate.states import EVENT, TRANSITIONS
from docs.generate.states_picture import BOXES, ROUTES
from tests.factories import grade_event, make_customer, make_endpoint, make_learner
from tests.servers import free_port

TABLE = WebhookTransmissionQueue._meta.db_table
FLAG = "ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT"


class Host:
    """One customer, endpoint and learner, and the states that the learner's webhook has gone through."""

    def __init__(self, receiver, settings):
        self.receiver, self.settings = receiver, settings
        self.switch_flag(False)
        self.answers(200)
        self.endpoint = make_endpoint(make_customer("Acme"), receiver.url_for("/hook"))
        self.learner = make_learner(self.endpoint.enterprise_customer)
        #: (state, attempts) after each statement
        self.seen = [(EVENT, 0)]

    def switch_flag(self, on):
        self.settings.FEATURES[FLAG] = on  # in place: Django's overrides are a chain that each reading walks along

    def answers(self, status):
        self.receiver.clear()
        self.receiver.expect_request("/hook").respond_with_data("", status=status)

    @property
    def webhook(self):
        return WebhookTransmissionQueue.objects.get()

    @contextmanager
    def watched(self):
        """Note the webhook's state after each statement that writes to the table."""

        def note(execute, sql, params, many, context):
            result = execute(sql, params, many, context)
            if sql.startswith(("INSERT", "UPDATE")) and TABLE in sql:
                row = WebhookTransmissionQueue.objects.values_list("status", "attempts_made", "lease_token").get()
                if not row[2]:
                    self.seen.append(row[:2])
            return result

        with connection.execute_wrapper(note):
            yield

    def transitions(self):
        return {(before[0], after[0]) for before, after in pairwise(self.seen) if before != after}


# ---- how a webhook comes into each state


def awaiting_enrichment(host):
    host.switch_flag(True)
    grade_event(host.learner)


def awaiting_final(host):
    EnterpriseWebhookConfiguration.objects.update(learning_time_timing="hold")
    awaiting_enrichment(host)


def recorded(host):
    grade_event(host.learner)


def pending(host):
    grade_event(host.learner)
    fail_for_now(host)


def pending_of_the_former_release(host):
    grade_event(host.learner)
    WebhookTransmissionQueue.objects.update(status=WebhookStatus.PENDING, endpoint_id=None)
    host.seen = [(WebhookStatus.PENDING, 0)]


def parked_without_body(host):
    grade_event(host.learner)
    switch_off_and_deliver(host)


def parked_with_body(host):
    grade_event(host.learner)
    deliver(host, 410)


def awaiting_ids(host):
    EnterpriseWebhookConfiguration.objects.update(payload_format="percipio")
    grade_event(host.learner)
    deliver(host, 200)


def no_endpoint(host):
    UserSocialAuth.objects.create(user=host.learner, provider="saml", uid="1", extra_data={"country": "DE"})
    grade_event(host.learner)
    deliver(host, 200)


def delivered(host):
    grade_event(host.learner)
    deliver(host, 200)


def failed(host):
    grade_event(host.learner)
    deliver(host, 400)


def cancelled(host):
    grade_event(host.learner)
    unlink_and_deliver(host)


def erasure(host):
    """In place of the webhook that it is about."""
    delivered(host)
    WebhookTransmissionQueue.objects.all()._raw_delete("default")
    EnterpriseWebhookConfiguration.objects.update(sends_erasures=True)
    host.seen = [(EVENT, 0)]
    retire_the_learner(host)


# ---- what may happen to it then


def look_up(host):
    host.switch_flag(True)
    tasks.enrich_and_send_completion_webhook(str(host.webhook.webhook_id))


def switch_flag_off(host):
    host.switch_flag(False)
    enrichment.release_overdue()


def look_for_the_final_number(host):
    host.switch_flag(True)
    WebhookTransmissionQueue.objects.update(due_at=timezone.now())
    final_number.release_due()


def find_none_yet(host):
    look_for_the_final_number(host)
    look_up(host)
    deliver(host, 200)


def wait_to_the_end(host):
    host.switch_flag(True)
    WebhookTransmissionQueue.objects.update(due_at=timezone.now(), enrich_by=timezone.now())
    final_number.release_due()


def wait_too_long(host):
    host.switch_flag(True)
    WebhookTransmissionQueue.objects.update(enrich_by=timezone.now())
    enrichment.release_overdue()


def deliver(host, status):
    host.answers(status)
    WebhookTransmissionQueue.objects.update(due_at=timezone.now())
    delivery.deliver_due()


def fail_for_now(host):
    deliver(host, 503)


def use_up_the_schedule(host):
    WebhookTransmissionQueue.objects.update(tries=9)
    deliver(host, 503)


def get_ids_and_deliver(host):
    ids = dict.fromkeys(("PercipioUserUUID", "percipioOrganizationUuid"), "8f14e45f-ceea-467f-a0e6-1d3a5b7c9d02")
    UserSocialAuth.objects.create(user=host.learner, provider="saml", uid="2", extra_data=ids)
    deliver(host, 200)


def move_to_europe_and_deliver(host):
    UserSocialAuth.objects.create(user=host.learner, provider="saml", uid="3", extra_data={"country": "DE"})
    deliver(host, 200)


def switch_off_and_deliver(host):
    EnterpriseWebhookConfiguration.objects.update(active=False)
    deliver(host, 200)


def switch_on_and_deliver(host):
    EnterpriseWebhookConfiguration.objects.update(active=True)
    WebhookEndpointHealth.enable(host.endpoint.pk)
    deliver(host, 200)


def unlink_and_look_up(host):
    EnterpriseCustomerUser.objects.all().delete()
    look_up(host)


def unlink_and_deliver(host):
    EnterpriseCustomerUser.objects.all().delete()
    deliver(host, 200)


def delete_endpoint(host):
    EnterpriseWebhookConfiguration.objects.get().delete()


def lose_endpoint_and_deliver(host):
    """As a raw DELETE would, past the receiver that cancels."""
    EnterpriseWebhookConfiguration.objects.all()._raw_delete("default")
    sweep.tidy()
    deliver(host, 200)


def sweep_it(host):
    sweep.tidy()


def replay_it(host):
    replay.replay(replay.Selection(webhook_ids=[host.webhook.webhook_id]))


def cancel_it(host):
    wanted = replay.Selection(webhook_ids=[host.webhook.webhook_id], statuses=cancellation.CANCELLABLE)
    cancellation.cancel(wanted)


def retire_the_learner(host):
    handle_learner_retirement(sender=None, user=host.learner)


def purge_it(host):
    retention.purge(timedelta(0))


STATES = (
    awaiting_enrichment,
    awaiting_final,
    recorded,
    pending,
    awaiting_ids,
    pending_of_the_former_release,
    parked_without_body,
    parked_with_body,
    no_endpoint,
    delivered,
    failed,
    cancelled,
    erasure,
)
OPERATIONS = (
    look_up,
    look_for_the_final_number,
    find_none_yet,
    wait_to_the_end,
    switch_flag_off,
    wait_too_long,
    lambda host: deliver(host, 200),
    lambda host: deliver(host, 400),
    lambda host: deliver(host, 410),
    get_ids_and_deliver,
    move_to_europe_and_deliver,
    fail_for_now,
    use_up_the_schedule,
    switch_off_and_deliver,
    switch_on_and_deliver,
    unlink_and_look_up,
    unlink_and_deliver,
    delete_endpoint,
    lose_endpoint_and_deliver,
    sweep_it,
    replay_it,
    cancel_it,
    retire_the_learner,
    purge_it,
)


@pytest.mark.django_db
def test_the_diagram_shows_every_transition_there_is_and_no_other(receiver, settings):
    settings.FEATURES = {}
    # Nobody listens there: a lookup ends at once, without a number.
    settings.SNOWFLAKE_CONFIG = {
        **dict.fromkeys(("account", "user", "warehouse", "database", "schema", "role"), "x"),
        **{"password": "x", "host": "127.0.0.1", "port": free_port(), "protocol": "http"},
    }
    settings.CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS = 1
    make_learner(make_customer())  # edx-enterprise keeps the role that it makes for its first learner in memory
    seen = set()
    for state in STATES:
        for operation in OPERATIONS:
            with transaction.atomic():
                host = Host(receiver, settings)
                with host.watched():
                    state(host)
                    operation(host)
                seen |= host.transitions()
                transaction.set_rollback(True)
    declared = {(before, transition.after) for transition in TRANSITIONS for before in transition.before}
    assert seen == declared


def writers():
    """
    The functions of the package that write a webhook's status, with the states that they name.

    The import from the incumbent is left out: it takes place once, and its own page says what becomes of what.
    """
    found = defaultdict(set)
    for path in sorted((PACKAGE / "integrated_channel").rglob("*.py")):
        if {"migrations", "incumbent"} & set(path.parts) or path.stem == "import_webhook_endpoints":
            continue
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
                    states = _states_written(name, call)
                    if states is not None:
                        found[f"{path.stem}.{function.name}"] |= states
    return found


def _states_written(name, call):
    if name == "move":
        return _named(call.args[2:3])
    if name in ("_release", "_release_after_attempt", "_write_back", "update", "WebhookTransmissionQueue"):
        written = [keyword.value for keyword in call.keywords if keyword.arg == "status"]
        return _named(written) if written else None
    return None


def _named(nodes):
    attributes = [node for top in nodes for node in ast.walk(top) if isinstance(node, ast.Attribute)]
    return {node.attr.lower() for node in attributes if node.attr.isupper()}


def test_every_function_that_writes_a_state_is_in_the_table():
    declared = defaultdict(set)
    for transition in TRANSITIONS:
        for writer in transition.writers:
            declared[writer].add(transition.after)
    found = writers()
    assert set(found) == set(declared)
    for writer, states in found.items():
        assert states <= declared[writer], writer


def test_the_picture_has_a_box_for_every_state_and_a_line_for_every_transition():
    assert set(BOXES) == {str(status) for status in WebhookStatus}
    drawn = {number.strip() for numbers, *_ in ROUTES for number in numbers.split(",")}
    assert drawn == {str(transition.number) for transition in TRANSITIONS}
    lines = sum(len(numbers.split(",")) for numbers, *_ in ROUTES)
    assert lines == sum(len(transition.before) for transition in TRANSITIONS)
