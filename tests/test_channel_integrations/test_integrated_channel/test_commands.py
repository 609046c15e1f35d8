# SPDX-License-Identifier: AGPL-3.0-or-later
"""What all commands have in common: the same words for the same things, JSON, and exit status."""

import io
import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command, get_commands, load_command_class
from django.db import connection
from django.utils import timezone

from channel_integrations.integrated_channel.models import WebhookSigningSecret, WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.services import delivery
from channel_integrations.integrated_channel.signing import Kind, public_key
from tests.factories import grade_event, make_customer, make_endpoint, make_learner
from tests.test_channel_integrations.test_integrated_channel.test_admin.pages import with_another_key

APP = "channel_integrations.integrated_channel"
NAMES = sorted(name for name, app in get_commands().items() if app == APP)
REPOSITORY = Path(__file__).parents[3]


def options_of(name):
    """By its first spelling, what a command's parser knows of each of its arguments."""
    parser = load_command_class(APP, name).create_parser("manage.py", name)
    return {(action.option_strings or [action.dest])[-1]: action for action in parser._actions}


def run(name, *args):
    """What a command prints on standard output."""
    out = io.StringIO()
    call_command(name, *map(str, args), stdout=out, stderr=io.StringIO())
    return out.getvalue()


def answer(name, *args):
    """The JSON that a command prints, and nothing else beside it."""
    return json.loads(run(name, *args, "--json"))


@pytest.fixture
def endpoint(receiver, db):
    """An endpoint of Acme."""
    return make_endpoint(make_customer("Acme"), receiver.url_for("/hook"))


@pytest.fixture
def webhook(endpoint):
    """One that is to be addressed."""
    grade_event(make_learner(endpoint.enterprise_customer))
    return WebhookTransmissionQueue.objects.get()


@pytest.mark.parametrize("name", NAMES)
def test_a_command_speaks_json_and_explains_every_argument(name):
    options = options_of(name)
    assert "--json" in options
    assert len(load_command_class(APP, name).help.split()) > 20
    assert all(action.help for action in options.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_same_argument_is_the_same_everywhere(name):
    """Numbers, times and places are typed in one way, whatever the command."""
    shared = {"--endpoint": "ID", "--since": "TIME", "--until": "TIME", "--per-minute": "N", "--days": "N"}
    for option, action in options_of(name).items():
        if action.nargs != 0 and not action.choices and option in shared:
            assert action.metavar == shared[option]


@pytest.mark.parametrize("name", [name for name in NAMES if "--endpoint" in options_of(name)])
@pytest.mark.parametrize(("number", "said"), [("0", "type the number of an endpoint"), ("99999999", "There are:\n")])
def test_an_endpoint_that_is_none(endpoint, name, number, said):
    needed = {"backfill_webhooks": ["--since", "2026-01-01"], "webhook_rollout": ["--learning-time", "never"]}
    with pytest.raises(CommandError, match=said) as refused:
        run(name, "--endpoint", number, *needed.get(name, []))
    assert getattr(refused.value, "returncode", 1) == (
        2 if said.startswith("There") else 1
    )  # argparse's own ends with 2


@pytest.mark.parametrize(
    "typed",
    [
        ["replay_webhooks"],
        ["cancel_webhooks"],
        ["replay_webhooks", "--since", "2026-11-24", "--until", "2026-11-24"],
        ["replay_webhooks", str(uuid.UUID(int=1))],
        ["send_due_webhooks", "--interval", "5"],
        ["webhook_heartbeat", "--within", "5"],
        ["webhook_rollout", "--note", "without a change"],
        ["webhook_rollout", "--learning-time", "never"],
    ],
)
def test_what_is_typed_wrongly_ends_with_two(db, typed):
    with pytest.raises(CommandError) as refused:
        run(*typed)
    assert refused.value.returncode == 2


def test_the_exit_status_of_a_process(tmp_path):
    """As cron and monitoring see it; an empty file is a database without tables."""
    environment = {"LMS_DB_ENGINE": "django.db.backends.sqlite3", "LMS_DB_NAME": str(tmp_path / "empty.sqlite3")}
    wrong = subprocess.run(
        [sys.executable, "manage.py", "send_due_webhooks", "--interval", "5"],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("CommandError: --interval goes with --loop")


def test_a_webhook_that_is_not_there_is_named(webhook):
    with pytest.raises(CommandError, match=f"There is no webhook {uuid.UUID(int=7)}"):
        run("replay_webhooks", webhook.webhook_id, uuid.UUID(int=7))


def test_what_a_replay_leaves_alone_is_told(webhook):
    assert f"{webhook.webhook_id} is left alone: it is recorded" in run("replay_webhooks", webhook.webhook_id)
    delivery.deliver_due()
    assert "alone: it is delivered\n" in run("replay_webhooks", webhook.webhook_id, "--status", "failed")
    said = run("replay_webhooks", webhook.webhook_id, "--until", "2026-01-01")
    assert "it is delivered, but outside the rest of what you typed" in said
    run("purge_webhooks", "--older-than", 0)
    assert "its personal data has been removed" in run("replay_webhooks", webhook.webhook_id)


def test_a_replay_and_a_purge_in_json(webhook, endpoint):
    delivery.deliver_due()
    group = {"status": "delivered", "endpoint": endpoint.pk, "count": 1}
    told = {"selected": [group], "left_alone": [], "dry_run": True}
    assert answer("replay_webhooks", "--endpoint", endpoint.pk, "--dry-run") == told
    assert answer("replay_webhooks", webhook.webhook_id) == {
        **told,
        "dry_run": False,
        "replayed": 1,
        "per_minute": 60,
    }
    left = {"webhook": str(webhook.webhook_id), "why": "it is recorded"}
    assert answer("replay_webhooks", webhook.webhook_id)["left_alone"] == [left]
    assert answer("cancel_webhooks", "--status", "pending", "--dry-run")["selected"] == []
    assert answer("send_due_webhooks") == {"attempts": 1}
    purged = {"webhooks": 1, "older_than_days": 0}
    assert answer("purge_webhooks", "--older-than", 0, "--dry-run") == {**purged, "dry_run": True}
    assert answer("purge_webhooks", "--older-than", 0) == {**purged, "dry_run": False}


def test_a_backfill_in_json(endpoint):
    told = {"endpoint": endpoint.pk, "webhooks": 0, "dry_run": True}
    assert answer("backfill_webhooks", "--endpoint", endpoint.pk, "--since", "2026-01-01", "--dry-run") == told


def test_a_new_secret_in_json_and_alone_on_standard_output(endpoint):
    told = answer("rotate_webhook_secret", "--endpoint", endpoint.pk)
    assert told == {"endpoint": endpoint.pk, "secret": endpoint.signing_secrets()[0]}
    out, err = io.StringIO(), io.StringIO()
    call_command("rotate_webhook_secret", endpoint=endpoint.pk, stdout=out, stderr=err)
    assert out.getvalue() == f"{endpoint.signing_secrets()[0]}\n"
    assert f"Endpoint {endpoint.pk} (Acme, OTHER) has a new secret" in err.getvalue()
    assert "For 24 hours the former one signs beside it" in err.getvalue()
    assert "whsec_" not in err.getvalue()


def test_of_a_key_pair_the_public_key_alone_is_printed(endpoint):
    told = answer("rotate_webhook_secret", "--endpoint", endpoint.pk, "--kind", "ed25519")
    assert told == {"endpoint": endpoint.pk, "public_key": public_key(endpoint.signing_secrets()[0])}
    out, err = io.StringIO(), io.StringIO()
    call_command("rotate_webhook_secret", endpoint=endpoint.pk, stdout=out, stderr=err)
    assert out.getvalue() == f"{public_key(endpoint.signing_secrets()[0])}\n", "the kind is kept"
    assert f"Endpoint {endpoint.pk} (Acme, OTHER) has a new public key. For 24 hours" in err.getvalue()
    assert "secret" in answer("rotate_webhook_secret", "--endpoint", endpoint.pk, "--kind", "hmac")


def test_a_new_secret_promises_no_overlap_where_the_former_one_is_lost(endpoint):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE channel_webhooks_webhooksigningsecret SET secret = %s", [b"gAAAAA-not-ours"])
    err = io.StringIO()
    call_command("rotate_webhook_secret", endpoint=endpoint.pk, kind="hmac", stdout=io.StringIO(), stderr=err)
    assert "No former one signs beside it" in err.getvalue() and "24 hours" not in err.getvalue()


def test_a_test_event_in_json(endpoint, receiver):
    told = answer("send_test_webhook", "--endpoint", endpoint.pk)
    assert told.pop("duration_ms") >= 0
    url = receiver.url_for("/hook")
    taken = {
        "endpoint": endpoint.pk,
        "url": url,
        "taken": True,
        "status": 200,
        "error": "",
        "detail": "",
        "answer": "ok",
    }
    assert told == taken


@pytest.mark.parametrize(
    ("url", "status", "advice"),
    [("/hook", 401, "rotate_webhook_secret --endpoint"), ("/hook", 404, "taken by an answer of 200 to 299")],
)
def test_what_to_do_about_a_test_event_that_is_not_taken(endpoint, receiver, url, status, advice):
    receiver.clear()
    receiver.expect_request(url).respond_with_data("no", status=status)
    out = io.StringIO()
    with pytest.raises(CommandError, match=advice):
        call_command("send_test_webhook", "--json", endpoint=endpoint.pk, stdout=out)
    assert json.loads(out.getvalue())["status"] == status


def test_a_partner_that_refuses_is_asked_for_its_public_key(endpoint, receiver):
    key = WebhookSigningSecret.rotate(endpoint, Kind.ED25519)
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("no", status=401)
    with pytest.raises(CommandError, match=f"verify with this endpoint's public key, {re.escape(key)}?"):
        run("send_test_webhook", "--endpoint", endpoint.pk)


def test_a_rotation_asks_for_the_kind_of_a_secret_that_cannot_be_read(endpoint):
    WebhookSigningSecret.rotate(endpoint, Kind.ED25519)
    with_another_key(endpoint)
    with pytest.raises(CommandError, match="say what the partner is to verify with"):
        run("rotate_webhook_secret", "--endpoint", endpoint.pk)
    assert run("rotate_webhook_secret", "--endpoint", endpoint.pk, "--kind", "ed25519").startswith("whpk_")


def test_what_to_do_about_a_url_that_is_not_called(endpoint, settings):
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = False
    out = io.StringIO()
    with pytest.raises(CommandError, match="Give the endpoint a URL that is https"):
        call_command("send_test_webhook", endpoint=endpoint.pk, stdout=out)
    assert re.search(r"no answer \(address_refused\) after \d+ ms", out.getvalue())


def test_heartbeats_in_json(endpoint):
    run("send_due_webhooks")
    sweep, *others = answer("webhook_heartbeat")
    assert (sweep["name"], sweep["age_seconds"], [each["age_seconds"] for each in others]) == ("sweep", 0, [None, None])
    assert answer("webhook_heartbeat", "--check", "sweep") == {**sweep, "alive": True}
    assert answer("webhook_heartbeat", "--forget", "sweep") == {"forgotten": "sweep"}


def test_a_backfill_for_an_endpoint_that_is_off_says_what_to_do(endpoint):
    endpoint.active = False
    endpoint.save()
    with pytest.raises(CommandError, match="Tick 'active' on its page") as refused:
        run("backfill_webhooks", "--endpoint", endpoint.pk, "--since", timezone.now().isoformat())
    assert refused.value.returncode == 1
    assert not WebhookTransmissionQueue.objects.exclude(status=WebhookStatus.DELIVERED).exists()
