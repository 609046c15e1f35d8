# SPDX-License-Identifier: AGPL-3.0-or-later
"""Why a customer did or did not get a completion: each condition as the first no, and what became of the webhook."""

import json
import re
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command, get_commands
from django.utils import timezone, translation
from jsonschema import Draft202012Validator, FormatChecker

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookEndpointHealth,
    WebhookPseudonymKey,
    WebhookStatus,
    WebhookSuppression,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import delivery, reasons, revisions, rollout
from channel_integrations.integrated_channel.services.explanation import Answer, explain, tell
from channel_integrations.integrated_channel.services.explanation.story import STEPS
from channel_integrations.integrated_channel.settings.common import DEFAULTS
from docs.generate import DOCS
from tests.factories import COURSE, make_customer
from tests.test_channel_integrations.test_integrated_channel import stories
from tests.test_channel_integrations.test_integrated_channel.stories import Story

pytestmark = pytest.mark.django_db
SCHEMA = json.loads((DOCS / "references/webhook_explain.json").read_text())
FLAG = "ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT"


@pytest.fixture
def story(receiver):
    return Story(receiver)


@pytest.fixture
def happen(story):
    """``happen(what)``: the explanation after it has happened."""

    def run(what):
        what(story)
        return story.explain()

    return run


def command(*arguments):
    out = StringIO()
    call_command("webhook_explain", *map(str, arguments), stdout=out)
    return out.getvalue()


def ask(*more):
    return command("--learner", "maria", "--customer", "Acme", "--course", COURSE, *more)


def step_of(told, name):
    return next(step for step in told.steps if step.name == name)


def check_change(change):
    """It names commands and settings that there are."""
    for word in change.replace(",", " ").replace("=", " ").split():
        assert not word.startswith("CHANNEL_") or word in DEFAULTS
    for after in change.split("manage.py lms ")[1:]:
        assert after.split()[0].rstrip(",:;") in get_commands()


# Without a webhook


@pytest.mark.parametrize("what", stories.WITHOUT_WEBHOOK)
def test_each_condition_as_the_first_no(happen, what):
    name, said = stories.WITHOUT_WEBHOOK[what]
    told = happen(what)
    first = told.first_no
    assert first.name == name and said in f"{first.fact} {first.operator_fact}"
    assert tell(told)["conclusion"] == f"Not sent: {first.fact}."
    assert tell(told)["decided_by"] == name
    assert [step.name for step in told.steps] == list(STEPS)
    later = told.steps[told.steps.index(first) + 1 :]
    assert {step.answer for step in later} <= {Answer.NOT_REACHED}
    assert first.change
    check_change(first.change)


@pytest.mark.parametrize(
    ("reason", "undo"),
    [
        ("no data-sharing consent", lambda story: story.change_customer(enable_data_sharing_consent=False)),
        ("endpoint switched off by its operator", lambda s: s.update(EnterpriseWebhookConfiguration, active=True)),
    ],
)
def test_the_past_is_told_though_the_condition_holds_by_now(happen, reason, undo):
    breaks = {"no data": stories.without_consent, "endpoint": stories.switched_off_by_operator}
    happen(next(what for start, what in breaks.items() if reason.startswith(start)))
    happen(Story.passes)
    noted = WebhookSuppression.objects.get()
    told = tell(happen(undo))
    day, when = noted.noted_at.date().isoformat(), noted.noted_at.isoformat(timespec="seconds")
    past = f"on {day} no webhook was made: {reason} (noted {when})"
    assert told["conclusion"] == f"Not sent: {past}. As things are now, nothing stands against it."
    assert told["noted"]["reason"] == reason
    row = next(step for step in told["steps"] if step["name"] == "row")
    assert reason in row["fact"] and "send_due_webhooks" in row["change"]


def test_the_past_comes_before_another_reason_of_today(story, happen):
    happen(stories.without_consent)
    happen(Story.passes)
    told = tell(happen(stories.unlinked))
    assert told["conclusion"].startswith("Not sent: on ") and "no data-sharing consent" in told["conclusion"]
    assert told["conclusion"].endswith("Now: the learner is no longer linked to the customer.")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (stories.without_consent, "no data-sharing consent"),
        (stories.not_sponsored, "the customer does not sponsor this course run"),
        (stories.switched_off_by_operator, "endpoint switched off by its operator"),
        (stories.before_send_from, "passed before the endpoint's send_from"),
    ],
)
def test_the_same_reason_now_as_then_is_told_once(happen, what, reason):
    happen(what)
    conclusion = tell(happen(Story.passes))["conclusion"]
    assert conclusion.endswith("It is still so.")
    assert conclusion.count(reason) == 1 and "(noted " in conclusion


def test_what_was_noted_of_an_older_pass_is_not_of_this_one(story, happen):
    happen(stories.consent_came_late)
    type(story.grade).objects.update(passed_timestamp=timezone.now())
    told = tell(story.explain())
    assert told["noted"] is None and told["conclusion"] == "Not sent: no webhook has been made."


def test_an_old_pass_that_nothing_stands_against_is_backfilled(story, happen):
    """The sweep compares with the grades of three days."""
    past = timezone.now() - timedelta(days=5)
    type(story.grade).objects.update(passed_timestamp=past)
    row = step_of(story.explain(), "row")
    assert row.change == (
        f"./manage.py lms backfill_webhooks --endpoint {story.endpoint.pk} --since {past.isoformat(timespec='seconds')}"
    )


# The LMS's grades are not read


@pytest.mark.parametrize("source", [None, "grades.NoSuchModel"])
def test_without_the_grades_it_is_not_known_whether_the_learner_has_passed(story, settings, source):
    settings.CHANNEL_WEBHOOKS_GRADE_SOURCE = source
    told = story.explain()
    passed = step_of(told, "passed")
    assert passed.answer == Answer.UNKNOWN and "CHANNEL_WEBHOOKS_GRADE_SOURCE" in passed.change
    assert step_of(told, "age").answer == Answer.NOT_REACHED
    unknown = "whether the learner has passed is not known: the LMS's grades are not read"
    assert tell(told)["conclusion"] == f"Not sent: no webhook has been made; {unknown}."
    assert "regrade" in step_of(told, "row").change


def test_a_model_that_holds_no_grades(story, settings):
    settings.CHANNEL_WEBHOOKS_GRADE_SOURCE = "auth.Group"
    passed = step_of(story.explain(), "passed")
    assert passed.answer == Answer.UNKNOWN and "lacks a field" in passed.fact


def test_without_the_grades_a_webhook_tells_of_the_pass(story, happen, settings):
    happen(stories.delivered)
    settings.CHANNEL_WEBHOOKS_GRADE_SOURCE = None
    told = story.explain()
    assert step_of(told, "passed").answer == Answer.YES
    assert tell(told)["outcome"] == "delivered" and step_of(told, "send_from").answer == Answer.YES


# With a webhook


@pytest.mark.parametrize("what", stories.WITH_WEBHOOK)
def test_what_became_of_it(happen, what):
    told = tell(happen(what))
    assert told["conclusion"].startswith(stories.WITH_WEBHOOK[what])
    assert told["webhook_id"] == str(WebhookTransmissionQueue.objects.get().webhook_id)
    outcome = {"D": "delivered", "O": "on_its_way", "N": "not_sent"}[told["conclusion"][0]]
    assert told["outcome"] == outcome
    decided_by = {
        stories.to_be_cancelled: "link",
        stories.accepted_no_longer: "region",
        stories.left_behind: "next",
        stories.held_without_ids: "ids",
    }
    assert told["decided_by"] == decided_by.get(what, "row" if outcome == "not_sent" else None)
    for step in told["steps"]:
        check_change(step["change"])
        assert step["answer"] != "no" or step["change"], step


@pytest.mark.parametrize(
    ("what", "change"),
    [
        (stories.failed, "./manage.py lms replay_webhooks "),
        (stories.cancelled, ", once its reason no longer holds"),
        (stories.parked, ": switch it on; it then goes out"),
        (stories.nowhere_to_go, ": add one for EU; then ./manage.py lms replay_webhooks "),
    ],
)
def test_what_moves_what_does_not_move_by_itself(happen, what, change):
    told = happen(what)
    assert step_of(told, "row").answer == Answer.NO and change in step_of(told, "row").change
    assert step_of(told, "next").answer == Answer.NO and told.next_move_at is None


def test_what_is_parked_for_an_endpoint_that_is_on_again(story, happen):
    happen(stories.parked)
    story.update(EnterpriseWebhookConfiguration, active=True)
    assert "send_due_webhooks: its endpoint is on again" in step_of(story.explain(), "row").change


def test_what_is_scrubbed_cannot_be_sent_again(story, happen):
    happen(stories.failed)
    story.update(WebhookTransmissionQueue, purged_at=timezone.now(), body="", user_id=None)
    assert step_of(story.explain(), "row").change == "nothing: nothing is left to send"


def test_why_it_came_late(happen):
    row = step_of(happen(stories.delivered_late), "row")
    assert row.answer == Answer.YES and "no webhook was made: no data-sharing consent (noted " in row.operator_fact


def test_what_is_held_until_its_number_is_final(story, settings):
    settings.FEATURES = {**settings.FEATURES, FLAG: True}
    story.update(EnterpriseWebhookConfiguration, learning_time_timing="hold")
    story.passes()
    told, webhook = tell(story.explain()), WebhookTransmissionQueue.objects.get()
    assert (webhook.status, told["outcome"], told["decided_by"]) == ("awaiting_final", "on_its_way", None)
    assert told["conclusion"].startswith("On its way. Its learning time is not final yet: ")
    assert told["next_move_at"] == webhook.due_at.isoformat(timespec="seconds")


def test_its_revision_is_named(story, happen):
    """Of a partner that asks why it was told twice."""
    happen(stories.delivered)
    completion = WebhookTransmissionQueue.objects.get()
    revision = revisions.row_for(completion, story.endpoint)
    revision.status, revision.reason = WebhookStatus.CANCELLED, reasons.NUMBER_STANDS
    revision.save()
    told = tell(story.explain(), for_partner=True)
    [row] = [step for step in told["steps"] if step["name"] == "row"]
    assert f"; revised by {revision.webhook_id}: cancelled: {reasons.NUMBER_STANDS})" in row["fact"]
    assert (told["webhook_id"], told["outcome"]) == (str(completion.webhook_id), "delivered")


def test_attempts_that_failed_say_how_to_try_the_endpoint(happen):
    attempts = step_of(happen(stories.to_be_retried), "attempts")
    assert attempts.answer == Answer.NO and " HTTP 503 in " in attempts.fact
    assert "send_test_webhook --endpoint" in attempts.change


# When it moves next


def in_an_hour():
    return timezone.now() + timedelta(hours=1)


@pytest.mark.parametrize(
    ("health", "endpoint", "said"),
    [
        (
            {"breaker_open_until": in_an_hour, "failures_in_a_row": 5, "last_failure": "HTTP 503"},
            {},
            "its breaker is open until",
        ),
        (
            {"paused_until": in_an_hour, "last_failure": "HTTP 429"},
            {},
            "has asked to be left alone until",
        ),
        (
            {"next_request_at": in_an_hour},
            {"max_requests_per_minute": 6},
            "limit of requests per minute lets",
        ),
    ],
)
def test_an_endpoint_that_is_closed_for_a_while(story, happen, health, endpoint, said):
    happen(stories.to_be_retried)
    moment = in_an_hour()
    values = {name: moment if value is in_an_hour else value for name, value in health.items()}
    story.update(WebhookEndpointHealth, **values)
    story.update(EnterpriseWebhookConfiguration, **endpoint)
    told, last = story.explain(), health.get("last_failure", "HTTP 503")
    waits = step_of(told, "next")
    assert waits.answer == Answer.YES and said in waits.fact
    assert told.next_move_at == WebhookEndpointHealth.objects.get().__dict__[next(iter(health))]
    assert tell(told)["conclusion"] == f"On its way. {waits.fact}"
    assert (
        waits.operator_fact
        == f"(the endpoint: {health.get('failures_in_a_row', 1)} failures in a row, the last {last})"
    )


@pytest.mark.parametrize(
    ("changes", "health", "said"),
    [
        ({}, {"failures_in_a_row": 0}, "as many webhooks as the endpoint takes at once are being sent"),
        ({}, {"catching_up": True, "failures_in_a_row": 0}, "gets one webhook at a time"),
        ({}, {"failures_in_a_row": 1}, "gets one webhook at a time"),
    ],
)
def test_an_endpoint_that_is_busy(story, happen, changes, health, said):
    happen(stories.to_be_retried)
    story.update(WebhookEndpointHealth, **health)
    story.update(WebhookTransmissionQueue, due_at=timezone.now())
    for number in range(4):
        WebhookTransmissionQueue.objects.create(
            deduplication_key=str(number),
            enterprise_customer_uuid=story.customer.uuid,
            course_id=COURSE,
            occurred_at=timezone.now(),
            status=WebhookStatus.PENDING,
            endpoint_id=story.endpoint.pk,
            lease_token=story.customer.uuid,
            due_at=in_an_hour(),
        )
    waits = step_of(story.explain(), "next")
    assert waits.answer == Answer.YES and said in waits.fact


def test_a_worker_that_has_it_right_now(story, happen):
    happen(stories.to_be_retried)
    story.update(WebhookTransmissionQueue, lease_token=story.customer.uuid, due_at=in_an_hour())
    assert "A worker is sending it. If that worker has died" in step_of(story.explain(), "next").fact


@pytest.mark.parametrize(
    ("status", "said"),
    [("awaiting_enrichment", "a worker to look up"), ("recorded", "delivery worker"), ("pending", "delivery worker")],
)
def test_what_nobody_has_taken_up_needs_somebody(story, happen, settings, status, said):
    happen(stories.to_be_retried)
    settings.FEATURES = {**settings.FEATURES, FLAG: True}
    story.update(WebhookTransmissionQueue, status=status, due_at=timezone.now() - timedelta(minutes=5))
    story.update(WebhookEndpointHealth, failures_in_a_row=0)
    waits = step_of(story.explain(), "next")
    assert waits.answer == Answer.NO and said in waits.fact and "Due since " in waits.fact
    assert "webhook_doctor" in waits.change


def test_an_endpoint_that_is_gone(story, happen):
    happen(stories.to_be_retried)
    EnterpriseWebhookConfiguration.objects.all()._raw_delete("default")
    assert "Its endpoint is gone" in step_of(story.explain(), "next").fact


# Learning time


@pytest.mark.parametrize(
    ("status", "said", "change"),
    [
        ("no_row", "Snowflake has no row", "webhook_doctor"),
        ("overdue", "nobody had looked it up", "edx.lms.core.webhook_enrichment"),
        ("left_alone", "left alone for a while", "by itself"),
        ("unreachable", "did not answer", "webhook_doctor"),
        ("flag_off", "the flag is off", FLAG),
        ("paused", "the kill switch", "webhook_rollout --resume"),
        ("endpoint_never", "says never", "--learning-time rollout"),
    ],
)
def test_a_lookup_in_words(story, happen, status, said, change):
    happen(stories.delivered)
    story.update(WebhookTransmissionQueue, learning_time_status=status)
    lookup = step_of(story.explain(), "lookup")
    assert lookup.answer == Answer.NO and lookup.fact.startswith(f"{status}: ") and said in lookup.fact
    assert change in lookup.change
    check_change(lookup.change)


@pytest.mark.parametrize("seconds", [0, 5400])
def test_a_lookup_that_found_something(story, happen, seconds):
    happen(stories.delivered)
    story.update(WebhookTransmissionQueue, learning_time_status="found", learning_time=seconds)
    told = story.explain()
    assert step_of(told, "lookup").answer == Answer.YES
    assert f"({seconds} seconds)" in ask() and f"{seconds} seconds" not in ask("--for-partner")


def test_the_rollout_and_what_takes_the_learner_in(story, settings):
    settings.FEATURES = {**settings.FEATURES, FLAG: True}
    place = rollout.bucket(story.customer.uuid, story.learner.pk)
    rollout.decide(percentage=place * 100 // rollout.BUCKETS)
    told = step_of(story.explain(), "rollout")
    assert told.answer == Answer.NO and f"bucket {place} of 10000" in told.operator_fact
    enough = place * 100 // rollout.BUCKETS + 1
    assert f"webhook_rollout --percentage {enough}, or --endpoint {story.endpoint.pk} " in told.change
    rollout.decide(percentage=enough)
    assert step_of(story.explain(), "rollout").answer == Answer.YES
    rollout.switch_endpoint(story.endpoint, "never")
    told = step_of(story.explain(), "rollout")
    assert f"--endpoint {story.endpoint.pk} --learning-time rollout" in told.change
    rollout.decide(paused=True)
    assert step_of(story.explain(), "rollout").change.endswith("webhook_rollout --resume")


# What is told, and to whom


@pytest.mark.parametrize("what", stories.ALL)
def test_every_story_is_as_the_schema_says_and_none_tells_a_partner_who_it_is_about(happen, what):
    told = happen(what)
    for structure in (tell(told), tell(told, for_partner=True)):
        Draft202012Validator(SCHEMA, format_checker=FormatChecker()).validate(structure)
        assert [step["name"] for step in structure["steps"]] == list(STEPS)
    assert tell(told)["learner"]["username"] == "maria"
    partner = tell(told, for_partner=True)
    assert "learner" not in partner and not any("change" in step for step in partner["steps"])
    for text in (json.dumps(partner), ask("--for-partner")):
        assert not any(word in text for word in (*stories.PERSONAL, str(told.learner.pk), "bucket", "manage.py"))


def test_the_schema_is_one_and_refuses_what_is_not_in_it(story):
    Draft202012Validator.check_schema(SCHEMA)
    told = tell(story.explain())
    for change in (
        {"more": 1},
        {"outcome": "lost"},
        {"decided_by": "fate"},
        {"steps": told["steps"][1:]},
        {"webhook_id": 7},
    ):
        assert not Draft202012Validator(SCHEMA).is_valid({**told, **change})
    without_change = [{key: value for key, value in step.items() if key != "change"} for step in told["steps"]]
    assert not Draft202012Validator(SCHEMA).is_valid({**told, "steps": without_change})


@pytest.mark.parametrize(
    "what",
    [
        stories.unlinked,
        stories.not_sponsored,
        stories.in_audit_mode,
        stories.without_consent,
        stories.linked_afterwards,
        stories.cancelled,
    ],
)
def test_a_partner_is_not_told_of_a_pass_that_is_not_theirs(story, happen, what):
    told = tell(happen(what), for_partner=True)
    text = json.dumps(told)
    assert story.grade.passed_timestamp.isoformat(timespec="seconds") not in text
    assert told["webhook_id"] is None and told["noted"] is None and told["outcome"] == "not_sent"
    refused = next(place for place, step in enumerate(told["steps"]) if step["answer"] == "no")
    assert {(step["answer"], step["fact"]) for step in told["steps"][refused + 1 :]} == {("not_reached", "not told")}


def test_a_partner_is_not_told_that_somebody_passed_before_the_link(happen):
    told = tell(happen(stories.linked_afterwards), for_partner=True)
    assert told["conclusion"] == "Not sent: no completion since the learner was linked."
    assert "before the learner" not in json.dumps(tell(happen(stories.linked_before_is_noted), for_partner=True))


@pytest.mark.parametrize("what", [stories.not_passed, stories.not_graded, stories.withdrawn])
def test_a_partner_is_not_told_of_failing_grades(happen, what):
    told = tell(happen(what), for_partner=True)
    assert told["conclusion"] == "Not sent: no completion so far." and "failing" not in json.dumps(told)


def test_a_partner_is_told_what_was_sent_whatever_holds_by_now(happen):
    told = tell(happen(stories.delivered_and_unlinked), for_partner=True)
    assert told["conclusion"].startswith("Delivered at ") and told["webhook_id"]
    assert " HTTP 200 in " in next(step["fact"] for step in told["steps"] if step["name"] == "attempts")


# The command


def test_the_conclusion_is_printed_first_and_then_each_step(story):
    lines = ask().splitlines()
    assert lines[0] == "Not sent: no webhook has been made."
    assert lines[1] == f"Course run {COURSE}, customer {story.customer.uuid}"
    assert lines[3] == "yes customer       active"
    assert lines[-1] == "-   not reached: lookup, attempts, next"
    assert lines[lines.index(next(line for line in lines if line.startswith("no  row"))) + 1].startswith(
        " " * 19 + "→ "
    )


def test_json_is_what_is_told(story):
    told = json.loads(ask("--json"))
    assert told["steps"] == tell(story.explain())["steps"]


def test_it_is_english_whatever_the_site_speaks(story):
    with translation.override("de"):
        assert ask().startswith("Not sent: ") and translation.get_language() == "de"


@pytest.mark.parametrize("option", ["username", "email", "pk"])
def test_the_learner_by_any_name(story, option):
    by = str(getattr(story.learner, option))
    for customer in (story.customer.uuid, story.customer.slug, story.customer.name):
        assert command("--learner", by, "--customer", customer, "--course", COURSE).startswith("Not sent: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody", "Acme", COURSE), "no such learner"),
        (("1234567890123", "Acme", COURSE), "no such learner"),
        (("maria", "Nobody", COURSE), "no such customer"),
        (("maria", "Twice", COURSE), "Several customers"),
        (("maria", "Acme", "a course"), "Type the key of a course run"),
    ],
)
def test_what_is_not_there_is_told(story, arguments, said):
    make_customer("Twice")
    make_customer("Twice")
    learner, customer, course = arguments
    with pytest.raises(CommandError, match=said):
        command("--learner", learner, "--customer", customer, "--course", course)


@pytest.mark.parametrize("what", [stories.not_told, stories.to_be_retried])
def test_it_changes_nothing(story, happen, what, django_assert_max_num_queries):
    happen(what)
    with django_assert_max_num_queries(22) as queries:
        tell(explain(story.learner, story.customer, COURSE))
    assert all(query["sql"].startswith("SELECT") for query in queries.captured_queries)


@pytest.mark.parametrize("way", ["send_due_webhooks", "backfill_webhooks"])
def test_what_is_said_to_make_it_makes_it(story, happen, way):
    happen(stories.consent_came_late)
    advice = step_of(story.explain(), "row").change
    (typed,) = re.findall(rf"manage\.py lms ({way}(?: --\S+ \S+)*)", advice)
    call_command(*typed.split(), stdout=StringIO())
    delivery.deliver_due()
    assert tell(story.explain())["outcome"] == "delivered"


# How the learner is named


@pytest.mark.parametrize(
    ("choices", "answer", "fact"),
    [
        ({}, "yes", "named by: user id, username and email"),
        ({"learner_naming": "pseudonym"}, "yes", "named by: a pseudonym, of this customer alone"),
        (
            {"learner_naming": "sign_on_id"},
            "no",
            "the learner has no sign-on record: the webhook is held until they come",
        ),
        (
            {"payload_format": "percipio", "missing_ids": "skip"},
            "no",
            "the learner has no sign-on record: the webhook is cancelled",
        ),
        ({"payload_format": "percipio", "missing_ids": "nulls"}, "yes", "named by: user, orgid"),
        ({"payload_format": "degreed"}, "no", "no format of this release: degreed: the webhook is held"),
    ],
)
def test_whether_the_learner_has_the_ids_that_the_endpoint_wants(story, choices, answer, fact):
    story.update(EnterpriseWebhookConfiguration, **choices)
    step = step_of(story.explain(), "ids")
    assert (str(step.answer), step.fact) == (answer, fact)
    assert bool(step.change) == (answer == "no")
    check_change(step.change)
    assert not WebhookPseudonymKey.objects.exists()


def test_what_is_held_is_told_with_the_step_that_decides_it(happen):
    told = tell(happen(stories.held_without_ids))
    assert (told["outcome"], told["decided_by"]) == ("not_sent", "ids")
    assert told["next_move_at"] and next(step for step in told["steps"] if step["name"] == "ids")["change"]
