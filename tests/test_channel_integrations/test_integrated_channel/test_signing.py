# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signatures, and those who verify them: libraries that are not ours, and the programs that partners are given."""

import base64
import functools
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from uuid import UUID

import pytest
import standardwebhooks
import svix.webhooks

from channel_integrations.integrated_channel.erasures import erasure_body
from channel_integrations.integrated_channel.formats import FORMATS, Facts, NumberFacts, to_body
from channel_integrations.integrated_channel.http_client import MAX_ANSWER_BYTES
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration, WebhookSigningSecret
from channel_integrations.integrated_channel.models.endpoint import MAX_TIMEOUT_SECONDS
from channel_integrations.integrated_channel.models.signing_secret import ROTATION_OVERLAP
from channel_integrations.integrated_channel.services import delivery
from channel_integrations.integrated_channel.services.admission import DISABLE_AFTER, DISABLE_FAILURES
from channel_integrations.integrated_channel.services.retry import (
    JITTER,
    RETRIED_STATUSES,
    RETRY_AFTER_CAP,
    SCHEDULE,
)
from channel_integrations.integrated_channel.signing import (
    InvalidSecret,
    Kind,
    decode_secret,
    generate_secret,
    kind_of,
    public_key,
    signature_headers,
)
from tests.factories import grade_event, make_customer, make_endpoint, make_learner

ROOT = Path(__file__).parents[3]
PARTNERS = ROOT / "docs" / "partners"
LIBRARY = ROOT / "tests" / "partners"
PAGE = PARTNERS / "receiving_webhooks.md"

WEBHOOK_ID = "1f0d6bd5-3f0e-4f5e-9f57-1f3d0c6a8e42"
OTHER_ID = "7a0c2b9e-58d1-4c52-8a0f-2d6f6a1b9c03"
AT = datetime(2026, 11, 24, 10, 30, 2, tzinfo=UTC)


def secret_of(key: bytes, prefix: str = "whsec_") -> str:
    return prefix + base64.b64encode(key).decode()


SECRET, OTHER_SECRET = secret_of(bytes(range(32))), secret_of(bytes(range(32, 64)))
PRIVATE_KEY, OTHER_PRIVATE_KEY = secret_of(bytes(range(32)), "whsk_"), secret_of(bytes(range(32, 64)), "whsk_")


class Keys(NamedTuple):
    """Secrets of one kind, and what their partners verify with."""

    kind: Kind
    version: str
    current: str
    other: str
    held: str
    held_by_another: str


HMAC = Keys(Kind.HMAC, "v1", SECRET, OTHER_SECRET, SECRET, secret_of(b"another secret of 32 bytes, no.3"))
ED25519 = Keys(
    Kind.ED25519,
    "v1a",
    PRIVATE_KEY,
    OTHER_PRIVATE_KEY,
    public_key(PRIVATE_KEY),
    public_key(secret_of(b"another secret of 32 bytes, no.3", "whsk_")),
)


# --- secrets and headers ---


@pytest.mark.parametrize("kind", Kind)
def test_a_new_secret_is_32_random_bytes_and_tells_its_kind(kind):
    made = {generate_secret(kind) for _ in range(50)}
    assert len(made) == 50
    assert {len(decode_secret(secret)) for secret in made} == {32}
    assert {kind_of(secret) for secret in made} == {kind}


def test_the_public_key_of_rfc_8032():
    """Its section 7.1, test 1."""
    seed, public = (
        bytes.fromhex(half)
        for half in (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        )
    )
    assert public_key(secret_of(seed, "whsk_")) == secret_of(public, "whpk_")
    assert public_key(SECRET) == ""


@pytest.mark.parametrize("length", [24, 32, 64])
def test_a_secret_stands_for_its_bytes(length):
    key = os.urandom(length)
    assert decode_secret(secret_of(key)) == key


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        ("", 'starts with "whsec_"'),
        (SECRET.removeprefix("whsec_"), 'starts with "whsec_"'),
        (SECRET.upper(), 'starts with "whsec_"'),
        (" " + SECRET, 'starts with "whsec_"'),
        (SECRET + "\n", "is base64"),
        (SECRET + " ", "is base64"),
        (SECRET.rstrip("="), "is base64"),
        (SECRET + SECRET, "is base64"),
        ("whsec_" + "é" * 32, "is base64"),
        ("whsec_" + "correct-horse_battery-staple", "is base64"),
        ("whsec_", "0 bytes: use one of 24 to 64"),
        (secret_of(b"k" * 23), "23 bytes: use one of 24 to 64"),
        (secret_of(b"k" * 65), "65 bytes: use one of 24 to 64"),
        (ED25519.held, 'starts with "whsec_"'),
        (PRIVATE_KEY.rstrip("="), 'After "whsk_" a secret is base64'),
        (secret_of(b"k" * 31, "whsk_"), "31 bytes: one of ed25519 has 32"),
        (secret_of(b"k" * 64, "whsk_"), "64 bytes: one of ed25519 has 32"),
    ],
)
def test_a_bad_secret_is_refused_without_repeating_it(secret, says):
    for use in (decode_secret, lambda bad: signature_headers(WEBHOOK_ID, b"{}", [SECRET, bad], AT)):
        with pytest.raises(InvalidSecret, match=says) as refused:
            use(secret)
        rest = secret.strip().removeprefix("whsec_").removeprefix("whsk_")
        assert not rest or rest not in "".join(traceback.format_exception(refused.value))


def test_the_examples_that_the_libraries_are_tested_with():
    """Of v1a that is the one in Go."""
    headers = signature_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="],
        datetime.fromtimestamp(1614265330, UTC),
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= "
        "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==",
    }


def test_one_signature_for_each_secret_in_their_order():
    def signature(*secrets):
        return signature_headers(WEBHOOK_ID, b"{}", secrets, AT)["webhook-signature"]

    assert signature(SECRET, OTHER_SECRET) == f"{signature(SECRET)} {signature(OTHER_SECRET)}"
    assert signature(SECRET) != signature(OTHER_SECRET)
    assert re.fullmatch(r"v1,[A-Za-z0-9+/]{43}=", signature(SECRET))


def test_the_timestamp_is_whole_seconds_of_any_zone():
    moments = [AT, AT + timedelta(microseconds=999_999), AT.astimezone(timezone(timedelta(hours=5, minutes=45)))]
    assert {signature_headers(WEBHOOK_ID, b"", [SECRET], at)["webhook-timestamp"] for at in moments} == {"1795516202"}


@pytest.mark.parametrize("webhook_id", [WEBHOOK_ID, UUID(WEBHOOK_ID).hex, "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", "7"])
def test_ids_that_are_signed(webhook_id):
    assert signature_headers(webhook_id, b"{}", [SECRET], AT)["webhook-id"] == webhook_id


@pytest.mark.parametrize("webhook_id", ["", "a.b", "a b", "a\nb", "a\n", "é"])
def test_ids_that_could_be_read_as_something_else_are_refused(webhook_id):
    with pytest.raises(ValueError, match="Pass an id"):
        signature_headers(webhook_id, b"{}", [SECRET], AT)


@pytest.mark.parametrize("secrets", [[], (), "", SECRET])
def test_nothing_goes_out_unsigned(secrets):
    with pytest.raises(ValueError, match="at least one secret"):
        signature_headers(WEBHOOK_ID, b"{}", secrets, AT)


def test_a_naive_moment_is_refused():
    with pytest.raises(ValueError, match="Pass an aware datetime"):
        signature_headers(WEBHOOK_ID, b"{}", [SECRET], AT.replace(tzinfo=None))


# --- whoever verifies ---


@dataclass(frozen=True)
class Received:
    """A webhook as it reaches a partner, and what this partner verifies with."""

    key: str
    headers: dict[str, str]
    body: bytes
    now: int | None = None

    def with_header(self, name: str, value: str) -> "Received":
        return replace(self, headers={**self.headers, f"webhook-{name}": value})


def signed(keys: Keys, *secrets: str, age: float = 0) -> Received:
    """A test event that was signed so many seconds ago."""
    at = datetime.now(UTC) - timedelta(seconds=age)
    body = to_body(TEST_EVENT).encode()
    return Received(keys.held, signature_headers(WEBHOOK_ID, body, secrets or [keys.current], at), body)


def by_svix(received: Received) -> bool:
    try:
        svix.webhooks.Webhook(received.key).verify(received.body, received.headers)
    except svix.webhooks.WebhookVerificationError:
        return False
    return True


def by_standardwebhooks(received: Received) -> bool:
    try:
        event = standardwebhooks.Webhook(received.key).verify(received.body, received.headers)
    except standardwebhooks.WebhookVerificationError:
        return False
    return event == json.loads(received.body)


def by_program(*command: str | Path) -> Callable[[Received], bool]:
    """A program that exits with 0 for a genuine webhook, otherwise with 1 and one line that says why."""

    def verify(received: Received) -> bool:
        environment = {
            "PATH": os.environ["PATH"],
            "WEBHOOK_PUBLIC_KEY" if received.key.startswith("whpk_") else "WEBHOOK_SECRET": received.key,
            **{name.upper().replace("-", "_"): value for name, value in received.headers.items()},
            **({} if received.now is None else {"WEBHOOK_NOW": str(received.now)}),
        }
        with tempfile.NamedTemporaryFile() as body:
            body.write(received.body)
            body.flush()
            done = subprocess.run(
                [*command, body.name], env=environment, capture_output=True, text=True, check=False, timeout=60
            )
        if done.returncode == 0:
            assert done.stderr == ""
            return True
        assert done.returncode == 1, done.stderr
        assert re.fullmatch(r"refused: .+\n", done.stderr), done.stderr
        return False

    return verify


def by_java(source: Path) -> Callable[[Received], bool]:
    """The same, compiled once: that takes several times as long as a run."""

    def verify(received: Received) -> bool:
        return by_program("java", "-cp", classes_of(source).name, source.stem)(received)

    return verify


@functools.cache
def classes_of(source: Path) -> tempfile.TemporaryDirectory:
    folder = tempfile.TemporaryDirectory()
    subprocess.run(["javac", "-d", folder.name, source], check=True, timeout=60)
    return folder


def by_npm_library(received: Received) -> bool:
    if not (LIBRARY / "node_modules" / "standardwebhooks").exists():
        pytest.fail("tests/partners/node_modules lacks the npm package standardwebhooks. Run: make partners")
    return by_program("node", LIBRARY / "verify_with_library.mjs")(received)


LIBRARIES = [
    pytest.param(by_svix, HMAC, id="svix"),
    pytest.param(by_standardwebhooks, HMAC, id="standardwebhooks"),
    pytest.param(by_npm_library, HMAC, id="npm-standardwebhooks", marks=pytest.mark.node),
]
HMAC_SNIPPETS = [
    pytest.param(by_program(sys.executable, PARTNERS / "verify.py"), HMAC, id="verify.py"),
    pytest.param(by_program("node", PARTNERS / "verify.mjs"), HMAC, id="verify.mjs", marks=pytest.mark.node),
    pytest.param(by_java(PARTNERS / "Verify.java"), HMAC, id="Verify.java", marks=pytest.mark.java),
    pytest.param(by_program("bash", PARTNERS / "verify.sh"), HMAC, id="verify.sh"),
]
ED25519_SNIPPETS = [
    pytest.param(by_program(sys.executable, PARTNERS / "verify_v1a.py"), ED25519, id="verify_v1a.py"),
    pytest.param(by_program("node", PARTNERS / "verify_v1a.mjs"), ED25519, id="verify_v1a.mjs", marks=pytest.mark.node),
    pytest.param(by_java(PARTNERS / "VerifyV1a.java"), ED25519, id="VerifyV1a.java", marks=pytest.mark.java),
    pytest.param(by_program("bash", PARTNERS / "verify_v1a.sh"), ED25519, id="verify_v1a.sh"),
]
SNIPPETS = HMAC_SNIPPETS + ED25519_SNIPPETS
every_verifier = pytest.mark.parametrize(("verify", "keys"), LIBRARIES + SNIPPETS)
every_snippet = pytest.mark.parametrize(("verify", "keys"), SNIPPETS)


def completion(learning_time: int | None) -> dict:
    """The payload of the README, built by what builds the real ones."""
    row = SimpleNamespace(
        event_type="course_completion",
        created=AT - timedelta(seconds=1),
        course_id="course-v1:edX+Demo+2026",
        occurred_at=AT - timedelta(seconds=2),
        percent_grade=0.92,
        letter_grade="A",
        learning_time=learning_time,
    )
    return FORMATS["standard"].payload(row, Facts(SimpleNamespace(**CUSTOMER), MARIA))


def revision() -> dict:
    """The same of a completion that is revised."""
    row = SimpleNamespace(
        event_type="course_completion.revised",
        created=AT + timedelta(seconds=2),
        course_id="course-v1:edX+Demo+2026",
        occurred_at=AT - timedelta(seconds=2),
        percent_grade=0.92,
        letter_grade="A",
        learning_time=12600,
        learning_time_as_of=date(2026, 11, 24),
        learning_time_is_final=True,
    )
    number = NumberFacts(True, UUID("7a0c2b9e-58d1-4c52-8a0f-2d6f6a1b9c03"), 9900)
    return FORMATS["standard"].payload(row, Facts(SimpleNamespace(**CUSTOMER), MARIA, number))


def erasure() -> dict:
    """The same of a learner who is retired."""
    return json.loads(erasure_body(CUSTOMER["uuid"], json.dumps(MARIA), datetime(2026, 11, 24, 17, 14, 30, tzinfo=UTC)))


def enrollment() -> dict:
    """The same of an enrolment."""
    enrolled_at = datetime(2026, 11, 24, 8, 15, 2, tzinfo=UTC)
    row = SimpleNamespace(
        event_type="course_enrollment",
        created=enrolled_at + timedelta(seconds=1),
        course_id="course-v1:edX+Demo+2026",
        occurred_at=enrolled_at,
        enrollment_mode="verified",
        enrollment_is_active=True,
    )
    return FORMATS["standard"].payload(row, Facts(SimpleNamespace(**CUSTOMER), MARIA))


MARIA = {"user_id": 1, "username": "maria", "email": "maria@example.com"}
CUSTOMER = {"uuid": "3f2a8c1e-9b7d-4e60-8a15-c4d2e6f70b91", "name": "Acme Zürich"}
TEST_EVENT = {
    "event_type": "test",
    "event_version": "2.0",
    "event_source": "openedx_events",
    "timestamp": "2026-11-24T10:30:01+00:00",
    "enterprise_customer": CUSTOMER,
    "test": True,
}


@every_verifier
@pytest.mark.parametrize("age", [0, 290, -290])
def test_a_genuine_webhook(verify, keys, age):
    assert verify(signed(keys, age=age))


@every_verifier
@pytest.mark.parametrize("turned", [False, True], ids=["current", "previous"])
def test_either_of_two_signatures_will_do(verify, keys, turned):
    secrets = [keys.current, keys.other]
    assert verify(signed(keys, *reversed(secrets) if turned else secrets))


@every_verifier
def test_a_signature_of_another_version_is_passed_over(verify, keys):
    (another,) = {HMAC, ED25519} - {keys}
    assert verify(signed(keys, another.current, keys.current))
    assert not verify(signed(keys, another.current))
    webhook = signed(keys)
    signature = webhook.headers["webhook-signature"]
    assert not verify(webhook.with_header("signature", signature.replace(f"{keys.version},", f"{another.version},")))


@every_verifier
@pytest.mark.parametrize("count", [1, 2], ids=["one signature", "two signatures"])
@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param(lambda webhook: replace(webhook, body=webhook.body + b" "), id="body"),
        pytest.param(lambda webhook: webhook.with_header("id", OTHER_ID), id="id"),
        pytest.param(lambda webhook: webhook.with_header("timestamp", str(int(time.time()) - 60)), id="timestamp"),
        pytest.param(None, id="key"),
    ],
)
def test_a_forged_webhook_is_refused(verify, keys, tamper, count):
    webhook = signed(keys, *[keys.current, keys.other][:count])
    assert not verify(tamper(webhook) if tamper else replace(webhook, key=keys.held_by_another))


@every_verifier
@pytest.mark.parametrize("age", [310, -310], ids=["old", "from the future"])
def test_a_timestamp_more_than_five_minutes_off_is_refused(verify, keys, age):
    assert not verify(signed(keys, age=age))


@every_snippet
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", ""),
        ("timestamp", ""),
        ("timestamp", "soon"),
        ("timestamp", "-1"),
        ("timestamp", "9" * 40),
        ("signature", ""),
        ("signature", "VERSION"),
        ("signature", "VERSION,"),
        ("signature", "VERSION,* é"),
    ],
)
def test_headers_that_cannot_be_read_are_refused(verify, keys, name, value):
    assert not verify(signed(keys).with_header(name, value.replace("VERSION", keys.version)))


@every_snippet
@pytest.mark.parametrize("unreadable", ["", "AAAA", "*", base64.b64encode(64 * b"\xff").decode()])
def test_a_signature_that_cannot_be_read_does_not_hide_the_one_after_it(verify, keys, unreadable):
    webhook = signed(keys)
    signatures = f"{keys.version},{unreadable} {webhook.headers['webhook-signature']}"
    assert verify(webhook.with_header("signature", signatures))


@pytest.mark.parametrize(("verify", "keys"), HMAC_SNIPPETS)
@pytest.mark.parametrize("key", [b"", b"short"])
def test_a_secret_that_others_could_guess_verifies_nothing(verify, keys, key):
    webhook = replace(signed(keys), key=secret_of(key) if key else "")
    content = f"{WEBHOOK_ID}.{webhook.headers['webhook-timestamp']}.".encode() + webhook.body
    forged = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    assert not verify(webhook.with_header("signature", f"v1,{forged}"))


@pytest.mark.parametrize(("verify", "keys"), ED25519_SNIPPETS)
@pytest.mark.parametrize("key", ["", "whpk_AAAA", "whpk_é"])
def test_what_is_no_public_key_verifies_nothing(verify, keys, key):
    webhook = signed(keys)
    assert not verify(replace(webhook, key=key))


# --- a webhook that was really sent ---


@pytest.fixture
def delivered(receiver, db, keys):
    """A completion as it reached the partner's endpoint, which had its secret replaced just before."""
    customer = make_customer("Zürich „Acme“")
    endpoint = make_endpoint(customer, receiver.url_for("/hook"))
    key = WebhookSigningSecret.rotate(endpoint, keys.kind)
    grade_event(make_learner(customer))
    assert delivery.deliver_due(time.monotonic() + 30) == 1
    ((request, _),) = receiver.log
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    return Received(key, {name: request.headers[name] for name in names}, request.get_data())


@every_verifier
def test_a_delivery_is_genuine(delivered, verify, keys):
    assert verify(delivered)


@every_verifier
def test_a_delivery_that_was_changed_on_its_way_is_refused(delivered, verify, keys):
    assert not verify(replace(delivered, body=delivered.body.replace(b'"is_passing":true', b'"is_passing":null')))
    assert not verify(delivered.with_header("id", OTHER_ID))
    assert not verify(replace(delivered, key=keys.held))


# --- the page for partners ---


def vectors(keys: Keys) -> list[dict]:
    """What docs/partners/test_vectors.json holds, or of public keys test_vectors_v1a.json."""
    (another,) = {HMAC, ED25519} - {keys}

    def vector(name, genuine, payload=TEST_EVENT, secrets=(keys.current,), webhook_id=WEBHOOK_ID, **changes):
        body = to_body(payload)
        headers = signature_headers(webhook_id, body.encode(), secrets, AT)
        headers.update({f"webhook-{key}": value for key, value in changes.get("headers", {}).items()})
        return {
            "name": name,
            "genuine": genuine,
            HELD[keys.kind]: keys.held,
            "now": int(AT.timestamp()) + changes.get("late", 1),
            "headers": headers,
            "body": changes.get("body", body),
        }

    yours, theirs = HELD[keys.kind].replace("_", " "), another.current
    return [
        vector("completion without learning time", True, completion(None)),
        vector("completion with learning time", True, completion(9900), webhook_id=OTHER_ID),
        vector(f"two signatures, the second is for your {yours}", True, secrets=(keys.other, keys.current)),
        vector("a signature of another version comes first", True, secrets=(theirs, keys.current)),
        vector("the body was parsed and written anew", False, body=json.dumps(TEST_EVENT)),
        vector("the id was changed", False, headers={"id": OTHER_ID}),
        vector("the timestamp is more than five minutes old", False, late=301),
        vector("signed for another endpoint", False, secrets=(keys.other,)),
        vector("no signature of the version that you verify", False, secrets=(theirs,)),
    ]


HELD = {Kind.HMAC: "secret", Kind.ED25519: "public_key"}
VECTORS = {HMAC: PARTNERS / "test_vectors.json", ED25519: PARTNERS / "test_vectors_v1a.json"}


@pytest.mark.parametrize("keys", VECTORS, ids=HELD.values())
def test_the_test_vectors_are_what_is_really_signed(keys):
    assert VECTORS[keys].read_text() == json.dumps(vectors(keys), indent=2) + "\n"


@every_snippet
@pytest.mark.parametrize("number", range(9))
def test_the_test_vectors(verify, keys, number):
    vector = json.loads(VECTORS[keys].read_text())[number]
    received = Received(vector[HELD[keys.kind]], vector["headers"], vector["body"].encode(), vector["now"])
    assert verify(received) is vector["genuine"], vector["name"]


def test_the_page_says_when_retries_come():
    first = datetime(2026, 11, 23, 9)
    tries = list(accumulate(SCHEDULE, initial=first))
    page = PAGE.read_text()
    assert first.strftime("%A") == "Monday" and len(tries) == 10
    assert tries[-1] - first == timedelta(hours=75, minutes=35, seconds=5) and "75 h 35 min" in page
    waits = ["–", "5 s", "5 min", "30 min", "2 h", "5 h", "10 h", "14 h", "20 h", "24 h"]
    rows = re.findall(r"^\| (\d+) \| (.+?) \| (\w+ [\d:]+) \|$", page, re.MULTILINE)
    assert rows == [
        (str(number), wait, moment.strftime("%A %H:%M:%S"))
        for number, (wait, moment) in enumerate(zip(waits, tries, strict=True), 1)
    ]


def test_the_page_states_the_rules_that_the_code_has():
    page = " ".join(PAGE.read_text().split())
    assert ", ".join(map(str, sorted(RETRIED_STATUSES))) in page
    assert JITTER == 0.2 and "± 20 %" in page
    assert timedelta(hours=6) == RETRY_AFTER_CAP and "six hours at the most" in page
    assert MAX_ANSWER_BYTES == 64 * 1024 and "64 KiB" in page
    assert timedelta(hours=24) == ROTATION_OVERLAP and "For 24 hours from then" in page
    assert (timedelta(days=5), 10) == (DISABLE_AFTER, DISABLE_FAILURES)
    assert "**five days of nothing but failures**, ten tries or more" in page
    timeout = EnterpriseWebhookConfiguration._meta.get_field("webhook_timeout_seconds").default
    assert (timeout, MAX_TIMEOUT_SECONDS) == (15, 60) and "15 seconds unless" in page and "60 at the most" in page


def test_the_page_shows_the_payloads_that_are_sent():
    shown = [json.loads(block) for block in re.findall(r"```json\n(.+?)```", PAGE.read_text(), re.DOTALL)]
    completions = [completion(9900), completion(None)["completion"]]
    assert shown == [*completions, enrollment(), revision(), erasure(), TEST_EVENT]
