# SPDX-License-Identifier: AGPL-3.0-or-later
"""``webhook_rollout``, as an operator types it."""

import json
import re
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from channel_integrations.integrated_channel.management.commands.webhook_rollout import Command
from channel_integrations.integrated_channel.models import WebhookRollout
from channel_integrations.integrated_channel.services import rollout
from tests.factories import make_customer, make_endpoint

pytestmark = pytest.mark.django_db


def run(*arguments):
    """What the command prints, line by line, with single spaces."""
    out = StringIO()
    call_command("webhook_rollout", *map(str, arguments), stdout=out)
    return [re.sub(r" +", " ", line).strip() for line in out.getvalue().splitlines()]


@pytest.fixture
def flag_on(settings):
    settings.FEATURES = {**settings.FEATURES, "ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT": True}


@pytest.fixture
def endpoint():
    return make_endpoint(make_customer("Acme"), "https://partner.example.com/hook", region="EU")


def test_without_arguments_it_shows_what_holds_and_changes_nothing(flag_on):
    assert run() == [
        "Flag on",
        "Kill switch not paused",
        "Percentage 100 % of each customer's learners",
        "",
        "Endpoints with a switch of their own",
        "none",
        "",
        "Last decisions",
        "none: everyone, not paused",
        "",
        "Completions of the last 24 hours",
        "none",
    ]
    assert not WebhookRollout.objects.exists()


def test_with_the_flag_off_it_says_that_nothing_else_counts():
    assert run()[0] == "Flag off: no learning time for anybody, whatever follows"


def test_the_steps_of_a_rollout(flag_on, endpoint, django_user_model):
    ola = django_user_model.objects.create(username="ola")
    assert run("--percentage", 5, "--note", "first step")[0] == "Decided: #1."
    run("--endpoint", endpoint.pk, "--learning-time", "always", "--note", "pilot")
    rollout.decide(percentage=25, by=ola.pk)
    run("--pause")
    lines = run("--percentage", 50)
    assert "Kill switch PAUSED: no learning time for anybody" in lines, "a percentage does not end a pause"
    run("--resume")
    lines = run()
    assert lines[1:3] == ["Kill switch not paused", "Percentage 50 % of each customer's learners"]
    assert f"{endpoint.pk} always Acme, EU" in lines
    decisions = [re.sub(r" \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", "", line) for line in lines if line.startswith("#")]
    assert decisions == [
        "#6 50 % command",
        "#5 50 %, paused command",
        "#4 25 %, paused command",
        "#3 25 % ola",
        f"#2 endpoint {endpoint.pk}: always command pilot",
        "#1 5 % command first step",
    ]


def test_one_command_may_resume_at_another_percentage():
    run("--pause")
    run("--resume", "--percentage", 5)
    newest = WebhookRollout.newest()
    assert (newest.number, newest.percentage, newest.paused) == (2, 5, False)


def test_what_holds_already_is_said_and_not_repeated(endpoint):
    assert run("--percentage", 100)[0] == "That holds already. Nothing was changed."
    assert run("--endpoint", endpoint.pk, "--learning-time", "rollout")[0] == "That holds already. Nothing was changed."
    assert not WebhookRollout.objects.exists()


def test_it_shows_the_last_ten():
    for percentage in range(12):
        run("--percentage", percentage)
    numbers = [line.split(" ")[0] for line in run() if line.startswith("#")]
    assert numbers == [f"#{number}" for number in range(12, 2, -1)]


def test_json_has_what_holds_and_the_last_decisions(flag_on, endpoint):
    run("--endpoint", endpoint.pk, "--learning-time", "never")
    state = json.loads("\n".join(run("--percentage", 25, "--note", "“step” 2", "--json")))
    for decision in state["decisions"]:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", decision.pop("decided_at"))
    by_command = {"paused": False, "decided_by": "command"}
    assert state == {
        "flag": True,
        "percentage": 25,
        "paused": False,
        "endpoints": [{"id": endpoint.pk, "customer": "Acme", "region": "EU", "learning_time": "never"}],
        "decisions": [
            {**by_command, "number": 2, "percentage": 25, "endpoint": None, "learning_time": None, "note": "“step” 2"},
            {
                **by_command,
                "number": 1,
                "percentage": 100,
                "endpoint": endpoint.pk,
                "learning_time": "never",
                "note": "",
            },
        ],
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--percentage", "101"], "argument --percentage: type a whole number from 0 to 100"),
        (["--percentage", "-1"], "type a whole number from 0 to 100"),
        (["--percentage", "a quarter"], "type a whole number from 0 to 100"),
        (["--pause", "--resume"], "not allowed with argument"),
        (["--note", "why"], "A note goes with a change"),
        (["--percentage", "5", "--note", "x" * 201], "at most 200 characters"),
        (["--endpoint", "1"], "go together"),
        (["--learning-time", "always"], "go together"),
        (["--endpoint", "1", "--learning-time", "sometimes"], "choose from"),
        (["--endpoint", "1", "--learning-time", "always", "--pause"], "two commands"),
        (["--endpoint", "987654", "--learning-time", "always"], "There is no endpoint 987654. There are:"),
    ],
)
def test_bad_input_is_told_and_changes_nothing(arguments, said):
    with pytest.raises(CommandError, match=re.escape(said)):
        run(*arguments)
    assert not WebhookRollout.objects.exists()


def test_the_help_says_what_a_newcomer_must_know():
    text = " ".join(Command().create_parser("manage.py", "webhook_rollout").format_help().split())
    for said in ("ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT", "within five seconds", "kill switch", "--pause", "never"):
        assert said in text
