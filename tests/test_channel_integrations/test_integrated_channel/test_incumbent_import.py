# SPDX-License-Identifier: AGPL-3.0-or-later
"""Moving over: the incumbent's own tables, filled as its code fills them, and what the command makes of them."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from common.djangoapps.student.models import CourseEnrollment
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from enterprise.models import EnterpriseCustomer
from social_django.models import UserSocialAuth
from standardwebhooks import Webhook

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    SignIn,
    WebhookEndpointCredential,
    WebhookSigningSecret,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import delivery, reconciliation
from channel_integrations.integrated_channel.services.incumbent import tables
from tests.conftest import foreign_keys_ignored
from tests.factories import (
    COURSE,
    enrollment_event,
    grade_event,
    make_customer,
    make_endpoint,
    make_learner,
    write_grade,
)

# Sent two days ago: a regrade would still make a webhook of such a pass.
PASSED = (timezone.now() - timedelta(days=2)).replace(microsecond=123456)
RELEASES = ("0.1.30", "0.1.36", "0.1.41", "0.2.0")


def run(*arguments):
    """What the command prints."""
    out = StringIO()
    call_command("import_webhook_endpoints", "--from-incumbent", *map(str, arguments), stdout=out)
    return out.getvalue()


def facts(*arguments):
    """The same as JSON."""
    return json.loads(run(*arguments, "--json"))


def rows():
    return WebhookTransmissionQueue.objects.order_by("pk")


@pytest.fixture
def acme(committed_db):
    return make_customer("Acme")


@pytest.fixture
def learner(acme):
    """With the ids that Percipio's format names learners by."""
    ids = {"PercipioUserUUID": "6f1c", "percipioOrganizationUuid": "9a2e"}
    learner = make_learner(acme)
    UserSocialAuth.objects.create(user=learner, provider="tpa-saml", uid="acme:1", extra_data=ids)
    yield learner
    UserSocialAuth.objects.all().delete()


# ---- endpoints


def test_an_endpoint_with_all_that_it_had(incumbent, acme):
    theirs = incumbent("0.2.0")
    configured = theirs.endpoint(
        acme,
        "https://hooks.partner.example.com/lms",
        region="US",
        webhook_timeout_seconds=20,
        max_requests_per_minute=70,
        enable_enrollment_events_processing=False,
        client_id="lms",
        decrypted_client_secret="s3cret",
        webhook_token_url="https://login.partner.example.com/token",
    )
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT decrypted_client_secret FROM {theirs.Endpoint._meta.db_table}")
        assert bytes(cursor.fetchone()[0]).startswith(b"gAAAA")  # Fernet's, as the incumbent's own field writes it
    out = run()
    ours = EnterpriseWebhookConfiguration.objects.get()
    assert f"Acme, US: imported as endpoint {ours.pk}, on" in out
    assert ours.webhook_url == configured.webhook_url
    assert (ours.region, ours.active, ours.webhook_timeout_seconds, ours.max_requests_per_minute) == (
        "US",
        True,
        20,
        70,
    )
    assert (ours.sends_completions, ours.sends_enrollments, ours.all_completions) == (True, False, True)
    assert (ours.sign_in, ours.client_id, ours.scope) == (SignIn.OAUTH, "lms", "api")
    assert ours.token_url == "https://login.partner.example.com/token"
    assert WebhookEndpointCredential.secret_of(ours) == "s3cret"
    assert ours.send_from == configured.created
    assert len(ours.signing_secrets()) == 1
    ours.full_clean()
    assert "s3cret" not in out


def test_an_endpoint_without_sign_in(incumbent, acme):
    incumbent("0.2.0").endpoint(acme)
    run()
    ours = EnterpriseWebhookConfiguration.objects.get()
    assert ours.sign_in == SignIn.NONE
    assert not WebhookEndpointCredential.objects.exists()
    assert ours.sends_enrollments


@pytest.mark.parametrize("release", ["0.1.30", "0.1.36", "0.1.41"])
def test_a_bearer_token_of_an_early_release_is_encrypted(incumbent, acme, release):
    incumbent(release).endpoint(acme, webhook_auth_token="t0ken")
    out = run()
    ours = EnterpriseWebhookConfiguration.objects.get()
    assert ours.sign_in == SignIn.BEARER
    assert WebhookEndpointCredential.secret_of(ours) == "t0ken"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT bearer_token FROM {WebhookEndpointCredential._meta.db_table}")
        assert b"t0ken" not in bytes(cursor.fetchone()[0])
    assert "t0ken" not in out
    assert ours.sends_enrollments


@pytest.mark.parametrize("wants", [True, False])
def test_enrolments_as_the_column_of_its_first_name_says(incumbent, acme, wants):
    incumbent("0.1.36").endpoint(acme, enrollment_events_processing=wants)
    run()
    assert EnterpriseWebhookConfiguration.objects.get().sends_enrollments is wants


def test_an_over_long_timeout_is_cut_and_that_is_said(incumbent, acme):
    incumbent().endpoint(acme, webhook_timeout_seconds=300)
    assert "timeout 300 s becomes 60 s" in run()
    assert EnterpriseWebhookConfiguration.objects.get().webhook_timeout_seconds == 60


@pytest.mark.parametrize(
    "url",
    [
        "https://169.254.169.254/latest",
        "http://hooks.partner.example.com/",
        "https://hooks.internal/x",
        "https://u:p@a.example.com/",
    ],
)
def test_a_url_that_the_sender_refuses_is_switched_off(incumbent, acme, url):
    incumbent().endpoint(acme, url)
    out = run()
    ours = EnterpriseWebhookConfiguration.objects.get()
    assert (ours.active, ours.webhook_url) == (False, url)
    assert "Acme, OTHER: imported" in out
    assert "switched off: webhook_url: " in out
    assert url not in out


def test_a_secret_that_cannot_be_decrypted(incumbent, acme):
    theirs = incumbent()
    made = theirs.endpoint(
        acme, client_id="lms", decrypted_client_secret="s3cret", webhook_token_url="https://login.example.com/token"
    )
    with connection.cursor() as cursor:
        table = theirs.Endpoint._meta.db_table
        cursor.execute(f"UPDATE {table} SET decrypted_client_secret = %s WHERE id = %s", [b"gAAAA", made.pk])
    assert "its client secret cannot be decrypted" in run()
    ours = EnterpriseWebhookConfiguration.objects.get()
    assert (ours.active, ours.sign_in, ours.client_id) == (False, SignIn.OAUTH, "lms")


def test_the_regions_of_a_customer(incumbent, acme):
    theirs = incumbent("0.1.36")
    for region in ("US", "EU", "UK", "OTHER"):
        theirs.endpoint(acme, f"https://{region.lower()}.partner.example.com/", region=region)
    beta = make_customer("Beta")
    theirs.endpoint(beta)
    out = run()
    ours = {each.region: each for each in EnterpriseWebhookConfiguration.objects.filter(enterprise_customer=acme)}
    assert set(ours) == {"US", "EU", "OTHER"}
    assert ours["EU"].webhook_url == "https://eu.partner.example.com/"
    assert "Acme, UK: not imported\n        UK is no region here" in out
    # Where there is no endpoint for the EU, the incumbent sends its learners to the one for OTHER.
    assert not ours["OTHER"].accepts_eu
    assert EnterpriseWebhookConfiguration.objects.get(enterprise_customer=beta).accepts_eu


def test_an_endpoint_that_is_switched_off_stays_so(incumbent, acme):
    theirs = incumbent()
    theirs.endpoint(acme, region="EU", active=False)
    theirs.endpoint(acme, "https://other.example.com/", region="OTHER")
    out = run()
    assert not EnterpriseWebhookConfiguration.objects.get(region="EU").active
    assert "they went to OTHER's" in out


def test_only_what_a_customer_sponsors_where_that_is_wanted(incumbent, acme):
    incumbent().endpoint(acme)
    run("--sponsored-only")
    assert not EnterpriseWebhookConfiguration.objects.get().all_completions


def test_a_customer_that_is_gone(incumbent, acme):
    theirs = incumbent()
    theirs.endpoint(acme)
    theirs.webhook(acme, make_learner(acme), COURSE, PASSED, "pending")
    theirs.webhook(acme, make_learner(acme), COURSE, PASSED)
    with foreign_keys_ignored(connection):
        EnterpriseCustomer.objects.filter(pk=acme.pk)._raw_delete("default")
    found = facts()
    assert found["endpoints"][0]["outcome"] == "not imported"
    assert found["not_done"]["customer gone"] == 2
    assert not EnterpriseWebhookConfiguration.objects.exists()
    assert not rows().exists()
    theirs.QueueItem.objects.all().delete()
    theirs.Endpoint.objects.all().delete()


def test_what_an_operator_has_made_or_changed_stays(incumbent, acme):
    theirs = incumbent()
    theirs.endpoint(acme, region="US")
    theirs.endpoint(acme, region="OTHER")
    mine = make_endpoint(acme, "https://mine.example.com/", region="US")
    run()
    EnterpriseWebhookConfiguration.objects.filter(region="OTHER").update(webhook_url="https://changed.example.com/")
    secrets = set(WebhookSigningSecret.objects.values_list("pk", flat=True))
    out = run()
    assert out.count("there already") >= 2
    assert EnterpriseWebhookConfiguration.objects.get(region="US") == mine
    assert EnterpriseWebhookConfiguration.objects.get(region="US").webhook_url == "https://mine.example.com/"
    assert EnterpriseWebhookConfiguration.objects.get(region="OTHER").webhook_url == "https://changed.example.com/"
    assert set(WebhookSigningSecret.objects.values_list("pk", flat=True)) == secrets


# ---- what it has sent


@pytest.mark.parametrize("release", RELEASES)
def test_what_it_has_sent_does_not_go_out_again(incumbent, receiver, acme, learner, release):
    """Neither by a regrade's event nor by the sweep's comparison, whether or not the payload has the microseconds."""
    theirs = incumbent(release)
    theirs.endpoint(acme, receiver.url_for("/hook"))
    write_grade(learner, passed_at=PASSED)
    theirs.webhook(acme, learner, COURSE, PASSED)
    theirs.webhook(acme, learner, COURSE, PASSED, created=PASSED + timedelta(days=1))  # as each day's regrade does
    found = facts()
    assert (found["webhooks"]["made"]["sent"], found["webhooks"]["there_already"]) == (1, 1)
    grade_event(learner, passed_at=PASSED)
    assert reconciliation.record_missing_passes() == []
    delivery.deliver_due()
    assert not receiver.log
    assert rows().count() == 1
    # A learner who was reset and passes again has passed anew.
    grade_event(learner)
    delivery.deliver_due()
    assert len(receiver.log) == 1


def test_nothing_personal_is_kept_of_what_it_has_sent(incumbent, acme):
    theirs = incumbent("0.1.36")
    learner = make_learner(acme)
    sent = theirs.webhook(acme, learner, COURSE, PASSED, completed_at=PASSED + timedelta(seconds=9))
    run()
    row = rows().get()
    assert (row.status, row.user_id, row.body, row.letter_grade, row.percent_grade) == ("delivered", None, "", "", None)
    assert row.purged_at
    assert (row.created, row.delivered_at) == (sent.created, PASSED + timedelta(seconds=9))
    assert row.reason == "sent by enterprise-integrated-channels"


def test_an_enrolment_that_it_has_sent(incumbent, receiver, acme):
    theirs = incumbent()
    theirs.endpoint(acme, receiver.url_for("/hook"))
    learner = make_learner(acme)
    enrolment = CourseEnrollment.objects.create(user=learner, course_id=COURSE, mode="verified")
    CourseEnrollment.objects.filter(pk=enrolment.pk).update(created=PASSED)
    theirs.webhook(acme, learner, COURSE, PASSED, event_type="course_enrollment")
    assert facts()["webhooks"]["made"]["sent"] == 1
    enrollment_event(learner, enrolled_at=PASSED)
    assert rows().count() == 1


def test_what_its_operator_has_cancelled_is_not_sent(incumbent, receiver, acme):
    theirs = incumbent("0.1.36")
    theirs.endpoint(acme, receiver.url_for("/hook"))
    learner = make_learner(acme)
    theirs.webhook(acme, learner, COURSE, PASSED, "cancelled")
    assert facts()["webhooks"]["made"]["cancelled"] == 1
    grade_event(learner, passed_at=PASSED)
    delivery.deliver_due()
    assert not receiver.log


@pytest.mark.parametrize(("options", "sent"), [((), 0), (("--resend-unclear",), 1)])
def test_where_the_pass_cannot_be_told_the_safe_side_is_chosen(
    incumbent, receiver, settings, acme, learner, options, sent
):
    """To the second alone, and no grades to look it up in: the same pass has another key with us."""
    theirs = incumbent("0.2.0")
    theirs.endpoint(acme, receiver.url_for("/hook"))
    theirs.webhook(acme, learner, COURSE, PASSED)
    settings.CHANNEL_WEBHOOKS_GRADE_SOURCE = None
    out = run(*options)
    assert "1  already sent, but of which pass or enrolment cannot be told exactly" in out
    assert ("gets nothing passed before now" in out) is not bool(sent)
    grade_event(learner, passed_at=PASSED)
    delivery.deliver_due()
    assert len(receiver.log) == sent


@pytest.mark.parametrize(
    "payload",
    ["{", "[]", "null", '{"completion": 1, "event_date": "yesterday"}', '{"event_date": "2026-13-77T00:00:00Z"}'],
)
def test_a_payload_that_cannot_be_read(incumbent, acme, payload):
    """The LMS's grade tells the pass then, or nothing does."""
    theirs = incumbent()
    known, unknown = make_learner(acme), make_learner(acme)
    write_grade(known, passed_at=PASSED)
    for learner in (known, unknown):
        theirs.webhook(acme, learner, COURSE, PASSED, payload=payload)
    found = facts()
    assert (found["webhooks"]["made"]["sent"], found["not_done"]["unclear"]) == (1, 1)
    grade_event(known, passed_at=PASSED)
    assert rows().count() == 1


def test_a_course_key_that_is_none(incumbent, acme):
    """Whatever was written there, it stops nothing."""
    theirs = incumbent()
    theirs.webhook(acme, make_learner(acme), "no course key", PASSED)
    assert facts()["webhooks"]["made"]["sent"] == 1


# ---- what it still owes


FAILED_LATELY = {"last_attempt_at": timezone.now() - timedelta(hours=1), "attempt_count": 4}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("status", "fields"),
    [
        ("pending", {}),
        ("processing", {"attempt_count": 1, "last_attempt_at": timezone.now()}),
        ("failed", {**FAILED_LATELY, "error_message": "HTTP 503"}),
        ("failed", {**FAILED_LATELY, "error_message": "No active webhook configuration found during processing"}),
    ],
)
def test_what_it_owes_goes_out_once(incumbent, receiver, acme, learner, release, status, fields):
    """Over real HTTP, signed, built anew, to the right learner's customer, whatever comes in and is run beside it."""
    theirs = incumbent(release)
    theirs.endpoint(acme, receiver.url_for("/hook"))
    write_grade(learner, passed_at=PASSED, percent=0.81, letter="B")
    theirs.webhook(acme, learner, COURSE, PASSED, status, **fields)
    assert facts()["webhooks"]["made"]["owed"] == 1
    facts()
    grade_event(learner, passed_at=PASSED)
    reconciliation.record_missing_passes()
    delivery.deliver_due()
    delivery.deliver_due()
    (request, _answer) = receiver.log[0]
    assert len(receiver.log) == 1
    endpoint = EnterpriseWebhookConfiguration.objects.get()
    body = Webhook(endpoint.signing_secrets()[0]).verify(request.get_data(), dict(request.headers))
    if getattr(endpoint, "payload_format", None) in (None, "standard"):
        assert body["learner"]["user_id"] == learner.pk
        assert body["completion"]["completion_date"] == PASSED.isoformat()
        assert (body["completion"]["percent_grade"], body["completion"]["letter_grade"]) == (0.81, "B")


def test_an_enrolment_that_it_owes(incumbent, receiver, acme):
    theirs = incumbent("0.1.36")
    theirs.endpoint(acme, receiver.url_for("/hook"))
    learner = make_learner(acme)
    theirs.webhook(acme, learner, COURSE, PASSED, "pending", event_type="course_enrollment")
    assert facts()["webhooks"]["made"]["owed"] == 1
    delivery.deliver_due()
    body = json.loads(receiver.log[0][0].get_data())
    assert body["enrollment"] == {"mode": "verified", "is_active": True, "enrollment_date": PASSED.isoformat()}
    enrollment_event(learner, enrolled_at=PASSED)
    assert rows().count() == 1


def test_a_pass_of_long_ago_that_it_owes_goes_out(incumbent, receiver, acme):
    """Older than an event's pass may be, and from before the endpoint: it is owed all the same."""
    long_ago = timezone.now() - timedelta(days=20)
    theirs = incumbent("0.1.36")
    theirs.endpoint(acme, receiver.url_for("/hook"), created=timezone.now())
    theirs.webhook(acme, make_learner(acme), COURSE, long_ago, "pending")
    assert facts("--owed-since", "2026-11-20", "--dry-run")["webhooks"]["made"]["owed"] == 0
    run()
    delivery.deliver_due()
    assert len(receiver.log) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {**FAILED_LATELY, "error_message": "HTTP 400"},
        {"last_attempt_at": timezone.now() - timedelta(days=5), "attempt_count": 4, "error_message": "HTTP 503"},
        {
            "last_attempt_at": timezone.now() - timedelta(days=5),
            "attempt_count": 4,
            "error_message": "maria@example.com",
        },
    ],
)
def test_what_it_has_given_up_can_be_replayed(incumbent, receiver, acme, fields):
    theirs = incumbent("0.1.36")
    theirs.endpoint(acme, receiver.url_for("/hook"))
    theirs.webhook(acme, make_learner(acme), COURSE, PASSED, "failed", **fields)
    assert facts()["webhooks"]["made"] == {"sent": 0, "cancelled": 0, "withdrawn": 0, "owed": 0, "failed": 1}
    row = rows().get()
    assert row.status == WebhookStatus.FAILED
    assert "maria" not in row.reason
    delivery.deliver_due()
    assert not receiver.log
    call_command("replay_webhooks", "--status", "failed", stdout=StringIO())
    delivery.deliver_due()
    assert len(receiver.log) == 1


def test_what_waits_wins_over_what_has_failed_and_what_was_sent_over_both(incumbent, acme):
    theirs = incumbent("0.1.36")
    theirs.endpoint(acme)
    once, never = make_learner(acme), make_learner(acme)
    for learner, statuses in ((once, ("failed", "pending", "success")), (never, ("failed", "pending"))):
        for day, status in enumerate(statuses):
            theirs.webhook(acme, learner, COURSE, PASSED, status, created=PASSED + timedelta(minutes=day))
    run()
    assert {(row.user_id, row.status) for row in rows()} == {(None, "delivered"), (never.pk, "recorded")}


def test_a_completion_that_was_none_is_not_sent(incumbent, acme):
    """The incumbent sends one for each grade that was ever passed, also while it is failing."""
    theirs = incumbent("0.2.0")
    theirs.endpoint(acme)
    learner = make_learner(acme)
    write_grade(learner, passed_at=PASSED, letter="")
    theirs.webhook(acme, learner, COURSE, PASSED, "pending")
    assert facts()["not_done"]["no pass"] == 1
    assert not rows().exists()


def test_a_learner_who_is_gone(incumbent, acme):
    theirs = incumbent("0.1.36")
    theirs.endpoint(acme)
    learner = make_learner(acme)
    theirs.webhook(acme, learner, COURSE, PASSED, "pending")
    with foreign_keys_ignored(connection):
        type(learner).objects.filter(pk=learner.pk)._raw_delete("default")
    assert facts()["not_done"]["learner gone"] == 1
    assert not rows().exists()
    theirs.QueueItem.objects.all().delete()


def test_a_customer_without_an_endpoint(incumbent, acme):
    theirs = incumbent("0.1.36")
    theirs.webhook(acme, make_learner(acme), COURSE, PASSED, "pending")
    assert facts()["not_done"]["no endpoint"] == 1
    assert not rows().exists()


def test_what_it_owes_is_spread_over_time(incumbent, acme):
    theirs = incumbent("0.1.36")
    theirs.endpoint(acme)
    for _ in range(3):
        theirs.webhook(acme, make_learner(acme), COURSE, PASSED, "pending")
    run("--per-minute", "1")
    first, second, third = rows().values_list("due_at", flat=True)
    assert second - first == third - second == timedelta(minutes=1)


# ---- the whole


def fill(theirs, customer, sent=0, owed=0):
    theirs.endpoint(customer)
    for number in range(sent + owed):
        theirs.webhook(customer, make_learner(customer), COURSE, PASSED, "success" if number < sent else "pending")


def test_a_dry_run_says_the_same_and_writes_nothing(incumbent, acme):
    theirs = incumbent("0.1.36")
    fill(theirs, acme, sent=3, owed=2)
    theirs.webhook(acme, make_learner(acme), COURSE, PASSED, "failed", error_message="HTTP 400")
    again = theirs.QueueItem.objects.filter(status="success").first()
    again.pk = None
    again.save()
    before = [list(model.objects.values()) for model in theirs.models]
    dry = facts("--dry-run")
    assert "Nothing was done" in run("--dry-run")
    assert not rows().exists()
    assert not EnterpriseWebhookConfiguration.objects.exists()
    assert not WebhookSigningSecret.objects.exists()
    assert not WebhookEndpointCredential.objects.exists()
    wet = facts()
    assert dry["webhooks"] == wet["webhooks"]
    assert dry["not_done"] == wet["not_done"]
    assert [list(model.objects.values()) for model in theirs.models] == before


def test_it_may_be_run_again(incumbent, acme):
    fill(incumbent("0.1.36"), acme, sent=3, owed=2)
    run()
    before = list(rows().values("pk", "status", "due_at", "modified"))
    found = facts()
    assert found["webhooks"] == {
        "made": {"sent": 0, "cancelled": 0, "withdrawn": 0, "owed": 0, "failed": 0},
        "there_already": 5,
    }
    assert list(rows().values("pk", "status", "due_at", "modified")) == before


class Killed(BaseException):
    """Whatever ends a process."""


@pytest.mark.parametrize("after", range(5))
def test_killed_at_any_point_and_run_again(incumbent, receiver, acme, monkeypatch, after):
    """After so many INSERTs of five: nothing has gone out twice in the end, and nothing is missing."""
    monkeypatch.setattr(tables, "BATCH", 2)
    theirs = incumbent("0.1.36")
    theirs.endpoint(acme, receiver.url_for("/hook"), max_requests_per_minute=1000)
    learners = [make_learner(acme) for _ in range(5)]
    for number, learner in enumerate(learners):
        write_grade(learner, passed_at=PASSED)
        theirs.webhook(acme, learner, COURSE, PASSED, "success" if number < 3 else "pending")
    writes = iter(range(after))

    def kill(execute, sql, params, many, context):
        if sql.lstrip().startswith("INSERT") and next(writes, None) is None:
            raise Killed
        return execute(sql, params, many, context)

    with connection.execute_wrapper(kill), pytest.raises(Killed):
        run()
    # In between: a bulk regrade and a sweep, with what is there so far.
    for learner in learners:
        grade_event(learner, passed_at=PASSED)
    reconciliation.record_missing_passes()
    delivery.deliver_due()
    run()
    rows().filter(status=WebhookStatus.RECORDED).update(due_at=timezone.now())  # They are spread over time.
    delivery.deliver_due()
    sent_to = [json.loads(request.get_data())["learner"]["user_id"] for request, _ in receiver.log]
    assert sorted(sent_to) == sorted(learner.pk for learner in learners[3:])


def test_what_passed_between_the_last_webhook_and_the_move_goes_out_once(incumbent, receiver, acme):
    """Nobody listened at that moment: the sweep's comparison with the grades finds it, and only it."""
    theirs = incumbent("0.1.36")
    theirs.endpoint(acme, receiver.url_for("/hook"))
    before, between = make_learner(acme), make_learner(acme)
    write_grade(before, passed_at=PASSED)
    theirs.webhook(acme, before, COURSE, PASSED)
    write_grade(between, passed_at=timezone.now() - timedelta(minutes=20))
    run()
    assert [row.user_id for row in reconciliation.record_missing_passes()] == [between.pk]
    delivery.deliver_due()
    assert reconciliation.record_missing_passes() == []
    assert len(receiver.log) == 1


def test_gone_back_for_a_while_and_come_again(incumbent, receiver, acme):
    """What waited here when its operator went back has been sent there meanwhile: it is not sent here as well."""
    theirs = incumbent("0.1.36")
    theirs.endpoint(acme, receiver.url_for("/hook"))
    learner = make_learner(acme)
    item = theirs.webhook(acme, learner, COURSE, PASSED, "pending")
    run()
    theirs.QueueItem.objects.filter(pk=item.pk).update(status="success", completed_at=timezone.now())
    assert facts("--dry-run")["webhooks"]["made"]["withdrawn"] == 1
    assert rows().get().status == WebhookStatus.RECORDED
    assert facts()["webhooks"]["made"]["withdrawn"] == 1
    delivery.deliver_due()
    assert not receiver.log
    assert (rows().get().status, rows().get().reason) == ("cancelled", "sent by enterprise-integrated-channels")


def test_what_is_held_here_and_has_been_sent_there_is_withdrawn(incumbent, receiver, acme):
    theirs = incumbent("0.1.36")
    theirs.endpoint(acme, receiver.url_for("/hook"))
    learner = make_learner(acme)
    write_grade(learner, passed_at=PASSED)
    item = theirs.webhook(acme, learner, COURSE, PASSED, "pending")
    run()
    rows().update(status=WebhookStatus.AWAITING_IDS)
    theirs.QueueItem.objects.filter(pk=item.pk).update(status="success", completed_at=timezone.now())
    assert facts()["webhooks"]["made"]["withdrawn"] == 1
    delivery.deliver_due()
    assert not receiver.log and rows().get().status == WebhookStatus.CANCELLED


def test_more_rows_than_a_batch(incumbent, acme, monkeypatch):
    monkeypatch.setattr(tables, "BATCH", 3)
    fill(incumbent("0.1.36"), acme, sent=7, owed=4)
    assert facts()["webhooks"]["made"] == {"sent": 7, "cancelled": 0, "withdrawn": 0, "owed": 4, "failed": 0}


def test_without_its_tables_there_is_nothing_to_copy(committed_db):
    with pytest.raises(CommandError, match="There is nothing to copy") as refused:
        run()
    assert refused.value.returncode == 1


def test_where_from_has_to_be_said(committed_db):
    with pytest.raises(CommandError, match="--from-incumbent"):
        call_command("import_webhook_endpoints")


def test_a_queue_that_is_gone(incumbent, acme):
    """Somebody has dropped it to save room: the endpoints come over."""
    theirs = incumbent()
    theirs.endpoint(acme)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {theirs.QueueItem._meta.db_table}")
    assert facts()["endpoints"][0]["outcome"] == "imported"
