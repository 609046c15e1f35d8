# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The bodies that are played: built as those of real webhooks, about a learner and course runs that nobody could mistake
for real ones.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

from channel_integrations.integrated_channel.enrollments import COURSE_ENROLLMENT
from channel_integrations.integrated_channel.erasures import erasure_body
from channel_integrations.integrated_channel.formats import STANDARD, Facts, NumberFacts, PayloadFormat, to_body
from channel_integrations.integrated_channel.formats.disclosed import disclosed_by
from channel_integrations.integrated_channel.models import LearnerNaming, WebhookTransmissionQueue
from channel_integrations.integrated_channel.passes import COURSE_COMPLETION, COURSE_COMPLETION_REVISED

#: how long the learner of every case but "zero" and "missing number" has learned, and by the revision
SECONDS, REVISED_SECONDS = 1800, 2700
GRADE = {"percent_grade": 0.92, "letter_grade": "A"}


class Learner(NamedTuple):
    """What a body says of the learner."""

    id: int
    username: str
    email: str


class Customer(NamedTuple):
    """What a body says of the customer."""

    uuid: UUID
    name: str


#: stands in where a URL is played against that is no endpoint's
CUSTOMER = Customer(UUID("00000000-0000-4000-8000-0000000000c0"), "Conformance Test")
#: accounts that no LMS has: numbers beyond those of real ones, addresses in a domain that is nobody's
LEARNER = Learner(2_000_000_001, "conformance-test", "conformance-test@example.com")
ELSEWHERE = Learner(2_000_000_002, "zoë-学习-🌍", "zoe-conformance-test@example.com")
RETIRED = Learner(2_000_000_003, "conformance-test-retired", "conformance-test-retired@example.com")


class Wording(NamedTuple):
    """What an endpoint has chosen of how webhooks say it; a ``naming`` that is empty is the default."""

    format: PayloadFormat = STANDARD
    naming: str = ""
    omitted: frozenset[str] = frozenset()

    def named(self, learner: Learner) -> dict[str, Any]:
        """The learner as the endpoint would know them, by ids that are as invented."""
        if self.format.learner_ids:
            return {name: str(uuid5(NAMESPACE_URL, f"{learner.email}/{name}")) for name in self.format.learner_ids}
        if self.naming == LearnerNaming.SIGN_ON_ID:
            return {"sign_on_id": learner.username}
        if self.naming == LearnerNaming.PSEUDONYM:
            return {"pseudonym": str(uuid5(NAMESPACE_URL, learner.email))}
        return {"user_id": learner.id, "username": learner.username, "email": learner.email}


#: of an endpoint that has chosen nothing
PLAIN = Wording()


class Scene(NamedTuple):
    """
    Where a case plays: how it is worded, and the course run that the partner finds it by.

    ``first_id`` is the ``webhook-id`` of its first webhook.
    """

    customer: Any
    at: datetime
    course_key: str
    first_id: UUID
    wording: Wording = PLAIN

    def payload(
        self, event_type: str, learner: Learner, fields: Mapping[str, Any], number: NumberFacts | None = None
    ) -> dict[str, Any]:
        """As of a real webhook, from a row with these fields that is never saved."""
        row = WebhookTransmissionQueue(
            event_type=event_type,
            created=self.at,
            course_id=self.course_key,
            occurred_at=self.at - timedelta(seconds=1),
            **fields,
        )
        facts = Facts(self.customer, self.wording.named(learner), number or NumberFacts())
        return self.wording.format.payload(row, facts, self.wording.omitted)


Build = Callable[[Scene], dict[str, Any]]


def course_key(case: str) -> str:
    """The run that a case is about: each has its own, so that none looks like another one's duplicate."""
    return f"course-v1:ConformanceTest+{case.replace(' ', '-')}+1"


def completion(learning_time: int | None = SECONDS, learner: Learner = LEARNER) -> Build:
    """A completion."""
    return lambda scene: scene.payload(COURSE_COMPLETION, learner, {**GRADE, "learning_time": learning_time})


def revisable() -> Build:
    """A completion whose number is not final: it has a ``completion_id``, which is its own id."""

    def build(scene: Scene) -> dict[str, Any]:
        known_until = (scene.at - timedelta(days=1)).date()
        fields = {**GRADE, "learning_time": SECONDS, "learning_time_as_of": known_until}
        return scene.payload(COURSE_COMPLETION, LEARNER, fields, NumberFacts(True, scene.first_id))

    return build


def revised() -> Build:
    """The same once more, with its final number."""

    def build(scene: Scene) -> dict[str, Any]:
        fields = {**GRADE, "learning_time": REVISED_SECONDS, "learning_time_as_of": scene.at.date()}
        return scene.payload(COURSE_COMPLETION_REVISED, LEARNER, fields, NumberFacts(True, scene.first_id, SECONDS))

    return build


def enrolment() -> Build:
    """An enrolment."""
    fields = {"enrollment_mode": "verified", "enrollment_is_active": True}
    return lambda scene: scene.payload(COURSE_ENROLLMENT, LEARNER, fields)


def test_event() -> Build:
    """What *Send test event* sends."""
    return lambda scene: scene.wording.format.test(scene.customer, scene.at)


def erasure(learner: Learner = RETIRED) -> Build:
    """What is sent when the LMS retires a learner: the identifier that completions have named them by."""

    def build(scene: Scene) -> dict[str, Any]:
        told = disclosed_by(to_body(completion(learner=learner)(scene)))
        return json.loads(erasure_body(scene.customer.uuid, told.identifier, scene.at))

    return build


def with_unknown_fields() -> Build:
    """A completion of a later release, which says more."""

    def build(scene: Scene) -> dict[str, Any]:
        more = {"added_later": {"some": ["thing", 1, None]}}
        payload = completion()(scene)
        below = {"completion": {**payload["completion"], **more}} if "completion" in payload else {}
        return {**payload, **more, **below}

    return build


def of_unknown_type() -> Build:
    """An event of a later release."""
    return lambda scene: {**test_event()(scene), "event_type": "conformance.unknown"}
