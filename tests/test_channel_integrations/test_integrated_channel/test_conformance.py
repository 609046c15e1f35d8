# SPDX-License-Identifier: AGPL-3.0-or-later
"""webhook_conformance, played against the reference receiver and against receivers that get one thing wrong each."""

import base64
import hashlib
import hmac
import io
import json
import re
import ssl
import time
import uuid
from collections import Counter

import pytest
import trustme
from django.core.management import CommandError, call_command
from django.utils import timezone
from jsonschema import Draft202012Validator, FormatChecker

from channel_integrations.integrated_channel.formats import to_body
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookEndpointHealth,
    WebhookSigningSecret,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services.conformance.cases import CASES, Answer, Case, Request
from channel_integrations.integrated_channel.services.conformance.play import Came, Played, Target, play
from channel_integrations.integrated_channel.services.conformance.samples import CUSTOMER, Scene, course_key
from channel_integrations.integrated_channel.services.conformance.verdict import Verdict, judge
from channel_integrations.integrated_channel.signing import Kind, generate_secret
from demo.reference_receiver import Records, ReferenceReceiver
from docs.generate import DOCS
from tests.factories import make_customer, make_endpoint
from tests.servers import free_port

SECRET = generate_secret()
NAMES = [case.name for case in CASES]


@pytest.fixture(autouse=True)
def loopback(settings):
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = True


@pytest.fixture
def serve():
    """``serve(a receiver's class)``: listening, on records of its own."""
    running = []

    def start(kind=ReferenceReceiver, secret=SECRET, **more):
        running.append(kind([secret], Records(), **more).start())
        return running[-1]

    yield start
    for receiver in running:
        receiver.close()
        receiver.records.close()


def verdicts(url, timeout_seconds=15):
    """By case, what is not handled."""
    target = Target(url, [SECRET], timeout_seconds=timeout_seconds, pause=0)
    return {each.case.name: each for each in judge(play(target, CASES), timeout_seconds)}


def not_handled(judged):
    return {name for name, each in judged.items() if each.verdict is not Verdict.HANDLED}


#: told in the page for partners, and perhaps not by a schema of its own
COMPLETION, ERASED, REVISED = "course_completion", "learner.erased", "course_completion.revised"


def recorded(receiver, case):
    """Learner and seconds of what a receiver has in the run of a case."""
    theirs = [(who, seconds) for who, course, seconds in receiver.records.completions() if course == course_key(case)]
    return [(who and json.loads(who)["username"], seconds) for who, seconds in theirs]


def test_the_reference_receiver_handles_all(serve):
    receiver = serve()
    judged = verdicts(receiver.url)
    assert list(judged) == NAMES
    assert not_handled(judged) == set()
    assert {each.note for each in judged.values()} == {""}


def test_and_has_recorded_what_the_report_tells_the_partner_to_look_up(serve):
    receiver = serve()
    verdicts(receiver.url)
    learner = "conformance-test"
    assert recorded(receiver, "valid") == [(learner, 1800)]
    assert recorded(receiver, "zero") == [(learner, 0)]
    assert recorded(receiver, "missing number") == [(learner, None)]
    assert recorded(receiver, "duplicate id") == [(learner, 1800)]
    assert recorded(receiver, "retry after 500") == [(learner, 1800)]
    assert recorded(receiver, "other alphabets") == [("zoë-学习-🌍", 1800)]
    assert recorded(receiver, "revised") == [(learner, 2700)]
    assert recorded(receiver, "learner erased") == [(None, 1800)]
    assert len(recorded(receiver, "rotated secret")) == 2
    for case in CASES:
        if case.refuses or case.name in ("test event", "enrolment", "unknown event type"):
            assert recorded(receiver, case.name) == [], case.name


@pytest.fixture
def records():
    kept = Records()
    yield kept
    kept.close()


def completed(seconds, learner="maria", **more):
    learner = {"username": learner}
    course = {"course_key": "course"}
    return {
        "event_type": COMPLETION,
        "learner": learner,
        "course": course,
        "completion": {"learning_time": seconds},
        **more,
    }


def test_a_revision_that_overtakes_its_completion_counts(records):
    revision = completed(2700, event_type=REVISED, completion_id="one", revision=1)
    assert records.take("two", revision) and records.take("one", completed(1800, completion_id="one"))
    assert [seconds for *_, seconds in records.completions()] == [2700]
    assert not records.take("two", revision)


def test_who_was_erased_does_not_come_back(records):
    records.take("one", completed(1800))
    records.take("two", completed(900, learner="ben"))
    records.take("three", {"event_type": ERASED, "learner": {"username": "maria"}})
    assert records.take("four", completed(60))
    assert records.completions() == [(None, "course", 1800), ('{"username": "ben"}', "course", 900)]
    assert "maria" not in "\n".join(records.database.iterdump())


def test_a_receiver_with_a_private_authority_is_reached_with_its_certificates_alone(serve):
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    receiver = serve(tls=context)
    target = Target(receiver.url, [SECRET], ca_bundle=authority.cert_pem.bytes().decode(), pause=0)
    assert {each.verdict for each in judge(play(target, CASES[:3]), 15)} == {Verdict.HANDLED}
    (silent, *rest) = judge(play(Target(receiver.url, [SECRET], pause=0), CASES[:3]), 15)
    assert silent.came[0].error == "connection" and "certificate" in silent.advice
    assert [each.verdict for each in rest] == [Verdict.NOT_HANDLED, Verdict.NOT_JUDGED]


def about(predicate, status=422):
    """A receiver that answers some genuine webhooks with an error."""

    class Picky(ReferenceReceiver):
        def answer(self, headers, body):
            genuine = self.is_genuine(headers, body)
            return status if genuine and predicate(headers, json.loads(body)) else super().answer(headers, body)

    return Picky


class RefusesDuplicates(ReferenceReceiver):
    def answer(self, headers, body):
        if not self.is_genuine(headers, body):
            return 401
        return 200 if self.records.take(headers["webhook-id"], json.loads(body)) else 409


class KeepsIdsOfFailures(ReferenceReceiver):
    """Notes the id first and looks afterwards; what it has noted it does not take again."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.seen = Counter()

    def answer(self, headers, body):
        self.seen[headers["webhook-id"]] += 1
        if self.seen[headers["webhook-id"]] > 1 and headers["webhook-id"] not in self.taken():
            return 409
        return super().answer(headers, body)

    def taken(self):
        return {row[0] for row in self.records.database.execute("SELECT id FROM webhook")}


class LooksAtOneSignature(ReferenceReceiver):
    place = 0

    def is_genuine(self, headers, body):
        signatures = [each for each in headers.get("webhook-signature", "").split() if each.startswith("v1,")]
        one = {name.lower(): value for name, value in headers.items()}
        one["webhook-signature"] = signatures[self.place] if signatures else ""
        return super().is_genuine(one, body)


class WantsEveryVersionKnown(ReferenceReceiver):
    def is_genuine(self, headers, body):
        known = all(each.startswith("v1,") for each in headers.get("webhook-signature", "").split())
        return known and super().is_genuine(headers, body)


class TakesForgeries(ReferenceReceiver):
    """Anything fresh in the shape of a signature will do, if the body was not altered."""

    def is_genuine(self, headers, body):
        fresh = abs(int(headers["webhook-timestamp"]) - time.time()) < 30
        return (fresh and "webhook-signature" in headers and b"altered" not in body) or super().is_genuine(
            headers, body
        )


class TakesAlteredBodies(ReferenceReceiver):
    """Verifies what it has picked out of the body, not the bytes."""

    def is_genuine(self, headers, body):
        return super().is_genuine(headers, body.replace(b',"altered":true', b""))


class TakesUnsigned(ReferenceReceiver):
    def is_genuine(self, headers, body):
        return "webhook-signature" not in headers or super().is_genuine(headers, body)


class LooksAtNoClock(ReferenceReceiver):
    """At none for what is ``allowed``: seconds that a timestamp lies ahead."""

    allowed = range(-(10**9), 0)

    def is_genuine(self, headers, body):
        ahead = int(headers["webhook-timestamp"]) - int(time.time())
        if abs(ahead) <= 300 or ahead not in self.allowed:
            return super().is_genuine(headers, body)
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        expected = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        return expected in headers["webhook-signature"].split()


class LooksAtNoFuture(LooksAtNoClock):
    allowed = range(0, 10**9)


def _completion(event):
    return event.get("completion", {})


BROKEN = {
    "test event": about(lambda headers, event: event["event_type"] == "test"),
    "enrolment": about(lambda headers, event: "enrollment" in event),
    "zero": about(lambda headers, event: _completion(event).get("learning_time") == 0, 500),
    "missing number": about(lambda headers, event: _completion(event) and "learning_time" not in _completion(event)),
    "other alphabets": about(
        lambda headers, event: (
            not event.get("learner", {}).get("username", "").isascii()
            and "rotated" not in event["course"]["course_key"]
        )
    ),
    "unknown field": about(lambda headers, event: "added_later" in event, 400),
    "unknown event type": about(lambda headers, event: event["event_type"] == "conformance.unknown", 400),
    "duplicate id": RefusesDuplicates,
    "retry after 500": KeepsIdsOfFailures,
    "revised": about(lambda headers, event: event["event_type"] == "course_completion.revised"),
    "learner erased": about(lambda headers, event: event["event_type"] == "learner.erased"),
    "rotated secret": LooksAtOneSignature,
    "other signature version": WantsEveryVersionKnown,
    "forged signature": TakesForgeries,
    "altered body": TakesAlteredBodies,
    "no signature": TakesUnsigned,
    "old timestamp": LooksAtNoClock,
    "future timestamp": LooksAtNoFuture,
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_a_receiver_gets_wrong_is_the_one_line_that_fails(serve, name):
    judged = verdicts(serve(BROKEN[name]).url)
    assert not_handled(judged) == {name}
    assert judged[name].advice == next(case.advice for case in CASES if case.name == name)


def test_every_case_can_fail():
    assert {"valid", *BROKEN} == set(NAMES)


def test_the_second_signature_counts_as_well(serve):
    class LooksAtTheLast(LooksAtOneSignature):
        place = -1

    assert not_handled(verdicts(serve(LooksAtTheLast).url)) == {"rotated secret"}


def test_a_wrong_secret_fails_what_must_be_taken_and_proves_no_refusal(serve):
    judged = verdicts(serve(secret=generate_secret()).url)
    by_verdict = {verdict: {n for n, each in judged.items() if each.verdict is verdict} for verdict in Verdict}
    assert by_verdict[Verdict.HANDLED] == set()
    assert by_verdict[Verdict.NOT_JUDGED] == {case.name for case in CASES if case.refuses}


def test_nobody_there_is_asked_twice_and_no_more():
    judged = verdicts(f"http://127.0.0.1:{free_port()}/")
    assert [len(each.came) for each in judged.values()] == [1, 1] + [0] * (len(CASES) - 2)
    assert "stopped answering" in judged["zero"].advice


VALID, REFUSES = (
    Case("valid", "", "advice"),
    Case("old timestamp", "", "advice", requests=(Request(0, Answer.REFUSED),)),
)


@pytest.mark.parametrize(
    ("case", "came", "verdict", "said"),
    [
        (VALID, Came(200, "", 1), Verdict.HANDLED, ""),
        (VALID, Came(302, "", 1), Verdict.NOT_HANDLED, "Redirects"),
        (VALID, Came(410, "", 1), Verdict.NOT_HANDLED, "switches your URL off"),
        (VALID, Came(429, "", 1), Verdict.NOT_HANDLED, "how many requests a minute"),
        (VALID, Came(500, "", 1), Verdict.NOT_HANDLED, "advice"),
        (VALID, Came(None, "timeout", 1), Verdict.NOT_HANDLED, "Answer within 7 s"),
        (VALID, Came(None, "connection", 1), Verdict.NOT_HANDLED, "refused or broke"),
        (VALID, Came(None, "address_refused", 1), Verdict.NOT_HANDLED, "must be https"),
        (REFUSES, Came(401, "", 1), Verdict.HANDLED, ""),
        (REFUSES, Came(400, "", 1), Verdict.HANDLED, "Refused with 400, which is final"),
        (REFUSES, Came(204, "", 1), Verdict.NOT_HANDLED, "advice"),
        (REFUSES, Came(410, "", 1), Verdict.NOT_HANDLED, "switches your URL off"),
        (REFUSES, Came(429, "", 1), Verdict.NOT_HANDLED, "how many requests a minute"),
        (REFUSES, Came(500, "", 1), Verdict.NOT_HANDLED, "An error is no refusal"),
        (REFUSES, Came(None, "timeout", 1), Verdict.NOT_HANDLED, "Answer within 7 s"),
    ],
)
def test_an_answer_is_judged_by_what_its_case_wants(case, came, verdict, said):
    valid = Played(VALID, [Came(200, "", 1)])
    judged = judge([valid, Played(case, [came])], 7)[-1]
    assert judged.verdict is verdict
    assert said in judged.advice + judged.note and bool(said) == bool(judged.advice + judged.note)


def test_every_case_is_explained_to_partners():
    page = (DOCS / "partners/check_your_receiver.md").read_text()
    sections = re.findall(r"^### (.+)$", page, re.M)
    assert sections == NAMES
    assert all(case.anchor == re.sub(r"\W+", "-", case.name) for case in CASES)


# The command.


def run(*args, stdin=f"{SECRET}\n"):
    out, err, status = io.StringIO(), io.StringIO(), 0
    try:
        call_command(
            "webhook_conformance",
            "--per-minute",
            "6000",
            *map(str, args),
            stdout=out,
            stderr=err,
            stdin=io.StringIO(stdin),
        )
    except CommandError as refused:
        status = refused.returncode
        err.write(str(refused))
    return status, out.getvalue(), err.getvalue()


def test_a_url_and_its_secret_on_standard_input(serve, db):
    receiver = serve()
    status, out, err = run(f"{receiver.url}?token=hidden")
    assert status == 0, out
    assert f"**{len(CASES)} of {len(CASES)} cases handled.**" in out
    assert "What to mend" not in out and "What would be better" not in out
    assert f"| `{course_key('duplicate id')}` | one completion, counted once |" in out
    for name in NAMES:
        assert re.search(rf"^\| {name} \|.*\| handled \|$", out, re.M), name
    assert SECRET not in out + err and "hidden" not in out + err
    assert str(len(CASES)) in err


def test_an_endpoint_that_signs_for_a_public_key(serve, db):
    endpoint = make_endpoint(make_customer(), "https://partner.example.com/")
    key = WebhookSigningSecret.rotate(endpoint, Kind.ED25519)
    WebhookSigningSecret.objects.exclude(expires_at=None).delete()

    def played_against(receiver):
        EnterpriseWebhookConfiguration.objects.update(webhook_url=receiver.url)
        _status, out, err = run("--endpoint", endpoint.pk, stdin="")
        assert f"Signed with the private key (its public half: {key}) of endpoint {endpoint.pk};" in out
        assert endpoint.signing_secrets()[0] not in out + err
        return re.search(r"\*\*(.*)\*\*", out)[1]

    every = len(CASES)
    assert played_against(serve(secret=key)) == f"{every} of {every} cases handled."
    taken_for_a_secret = serve(secret=key)
    taken_for_a_secret.secrets.append(key.replace("whpk_", "whsec_"))
    assert played_against(taken_for_a_secret) == f"{every - 1} of {every} cases handled; not: forged signature."


def test_what_is_not_handled_is_what_it_ends_with(serve, db):
    status, out, err = run(serve(BROKEN["zero"]).url)
    assert status == 1
    assert re.search(r"^\| zero \|.*\| 2xx \| 500 \(\d+ ms\) \| NOT HANDLED \|$", out, re.M)
    assert "- zero: 0 is a number like any other" in out and "check_your_receiver.md#zero" in out
    assert f"**{len(CASES) - 1} of {len(CASES)} cases handled; not: zero.**" in out
    assert err.endswith("Not all cases are handled: the report says which.")


def test_where_nobody_answers_it_is_said_once(db):
    status, out, _err = run(f"http://127.0.0.1:{free_port()}/")
    assert status == 1
    assert f"0 of {len(CASES)} cases handled; not: {', '.join(NAMES[:2])}; {len(CASES) - 2} not judged." in out
    assert out.count("stopped answering") == 1 and f"{', '.join(NAMES[2:])}: Not played" in out
    assert "What the partner has to look up" not in out


def test_an_endpoint_as_json(serve, db):
    endpoint = make_endpoint(make_customer("Globex 🌍"), "https://partner.example.com/")
    receiver = serve(secret=endpoint.signing_secrets()[0])
    EnterpriseWebhookConfiguration.objects.update(webhook_url=receiver.url)
    before = snapshot()
    status, out, err = run("--endpoint", endpoint.pk, "--json", stdin="")
    facts = json.loads(out)
    assert status == 0 and facts["all_handled"] is True
    assert facts["customer"] == str(endpoint.enterprise_customer.uuid)
    assert [case["case"] for case in facts["cases"]] == NAMES
    assert facts["cases"][0]["came"][0]["status"] == 200
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:", facts["played_at"])
    assert endpoint.signing_secrets()[0] not in out + err
    assert snapshot() == before and not WebhookTransmissionQueue.objects.exists()


def snapshot():
    return [list(model.objects.values()) for model in (EnterpriseWebhookConfiguration, WebhookEndpointHealth)]


def test_an_endpoint_that_takes_real_webhooks_is_left_alone_unless_told(serve, db):
    endpoint = make_endpoint(make_customer(), "https://partner.example.com/")
    receiver = serve(secret=endpoint.signing_secrets()[0])
    EnterpriseWebhookConfiguration.objects.update(webhook_url=receiver.url)
    WebhookEndpointHealth.objects.update_or_create(pk=endpoint.pk, defaults={"last_success_at": endpoint.created})
    status, _out, err = run("--endpoint", endpoint.pk)
    assert status == 2 and "--live" in err
    assert receiver.records.completions() == []
    assert run("--endpoint", endpoint.pk, "--live")[0] == 0


@pytest.mark.parametrize(
    ("typed", "stdin", "said"),
    [
        ([], "", "Type a URL, or --endpoint"),
        (["https://partner.example.com/", "--endpoint", "1"], "", "Type a URL, or --endpoint"),
        (["ftp://partner.example.com/"], SECRET, "must begin with https"),
        (["https://partner.example.com/"], "", 'starts with "whsec_"'),
        (["https://partner.example.com/"], "whsec_AAAA", "stands for 3 bytes"),
    ],
    ids=["neither", "both", "scheme", "no secret", "short secret"],
)
def test_what_is_typed_wrongly(db, typed, stdin, said):
    status, out, err = run(*typed, stdin=stdin)
    assert (status, out) == (2, "") and said in err


def test_an_address_inside_is_not_called(serve, db, settings):
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = False
    receiver = serve()
    assert run(receiver.url.replace("http:", "https:"))[0] == 2
    assert receiver.records.completions() == []


def test_the_limit_of_the_endpoint_is_kept(db):
    endpoint = make_endpoint(make_customer(), "https://partner.example.com/", max_requests_per_minute=30)
    assert Target.of(endpoint).pause == 2.0
    assert Target.of(endpoint, 6).pause == 10.0
    assert Target("https://partner.example.com/", [SECRET]).pause == 0.2


def test_the_bodies_are_such_as_are_really_sent():
    """As the schemas for partners promise, but for what is unknown on purpose."""
    scene = Scene(CUSTOMER, timezone.now(), course_key("valid"), uuid.uuid4())
    for case in CASES:
        for build in case.webhooks:
            body = json.loads(to_body(build(scene)))
            schema = DOCS / f"partners/schema/{body['event_type']}.json"
            if not schema.exists():
                assert body["event_type"] in ("conformance.unknown", ERASED, REVISED)
                continue
            Draft202012Validator(json.loads(schema.read_text()), format_checker=FormatChecker()).validate(body)
            if "learner" in body:
                assert body["learner"]["email"].endswith("@example.com")


class Verifies(ReferenceReceiver):
    """And keeps what came, in whatever format."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.bodies = []

    def answer(self, headers, body):
        if not self.is_genuine(headers, body):
            return 401
        self.bodies.append(json.loads(body))
        return 200


def played_for(serve, **choices):
    """The bodies that an endpoint with these choices is sent, all cases handled."""
    endpoint = make_endpoint(make_customer(), "https://partner.example.com/", **choices)
    receiver = serve(Verifies, secret=endpoint.signing_secrets()[0])
    EnterpriseWebhookConfiguration.objects.update(webhook_url=receiver.url)
    status, out, _err = run("--endpoint", endpoint.pk, "--json")
    assert status == 0, out
    return [case["case"] for case in json.loads(out)["cases"]], receiver.bodies


def test_an_endpoint_is_sent_its_own_format(serve, db):
    names, bodies = played_for(serve, payload_format="percipio")
    assert set(NAMES) - set(names) == {"unknown event type", "revised"}
    first, zero, unknown = bodies[0], bodies[3], bodies[4]
    assert first["content_id"] == "course:ConformanceTest+valid" and first["duration_spent"] == 1800
    assert uuid.UUID(first["user"]) and first["status"] == "completed"
    assert (zero["duration_spent"], unknown["duration_spent"]) == (0, None)


@pytest.mark.parametrize(
    ("naming", "learner"),
    [("sign_on_id", {"sign_on_id": "conformance-test"}), ("pseudonym", {"pseudonym": uuid.UUID})],
)
def test_an_endpoint_is_told_of_the_learner_in_its_own_words(serve, db, naming, learner):
    _names, bodies = played_for(serve, learner_naming=naming, omitted_fields=["grade"])
    ((key, value),) = learner.items()
    told = bodies[0]["learner"]
    assert list(told) == [key] and (value(told[key]) if value is uuid.UUID else told[key] == value)
    assert "percent_grade" not in bodies[0]["completion"]
    (erased,) = [body["learner"] for body in bodies if body["event_type"] == ERASED]
    (before,) = [body["learner"] for body in bodies if "learner-erased" in body.get("course", {}).get("course_key", "")]
    assert erased == before and list(erased) == [key]
