# SPDX-License-Identifier: AGPL-3.0-or-later
"""The partners of the two days, and what each must hear. They are the reference receiver: they verify and count."""

import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from demo.people import body
from demo.reference_receiver import Records, ReferenceReceiver
from demo.verdict import Received, judge
from tests.factories import make_customer, make_endpoint

COMPLETION, REVISED, ERASED = "course_completion", "course_completion.revised", "learner.erased"
ENROLMENT = "course_enrollment"
#: where a body must have a UUID that only its sender knows
SOME_UUID = "some UUID"


class Partner(ReferenceReceiver):
    """One customer's receiver, which also remembers what it has heard; ``timing`` is when it wants its numbers."""

    def __init__(self, name: str, timing: str, **fields: Any) -> None:
        super().__init__([], Records())
        self.name, self.timing = name, timing
        self.heard: list[Received] = []
        self.customer = make_customer(name)
        self.endpoint = make_endpoint(self.customer, self.url, states_as_of=True, learning_time_timing=timing, **fields)
        self.secrets = self.endpoint.signing_secrets()
        self.start()

    def answer(self, headers: Any, body: bytes) -> int:
        """As the reference does; what is not genuine is not heard."""
        status = super().answer(headers, body)
        if status < 300:
            self.heard.append(Received("POST", headers["Content-Type"], json.loads(body), time.time()))
        return status

    def of(self, event: str, learner: Any) -> list[Received]:
        """What it has heard of this kind about a learner."""
        return [
            each
            for each in self.heard
            if each.body["event_type"] == event and each.body.get("learner", {}).get("user_id") == learner.id
        ]

    def completion(self, learner: Any, seconds: int, as_of: str, final: bool, **more: Any) -> dict[str, Any]:
        """The promised body, written out here once more so that the package is not its own judge."""
        told = body(learner, self.customer, seconds)
        told["completion"] |= {"learning_time_as_of": as_of, "learning_time_final": final}
        return {**told, **more}

    def revision(self, learner: Any, was: int, seconds: int, as_of: str) -> dict[str, Any]:
        """The same of the event that corrects the number."""
        known = next((each.body.get("completion_id") for each in self.of(COMPLETION, learner)), None)
        told = self.completion(learner, seconds, as_of, True, event_type=REVISED, completion_id=known, revision=1)
        told["completion"]["previous_learning_time"] = was
        return told

    def enrolment(self, learner: Any, at: str) -> dict[str, Any]:
        """The same of an enrolment."""
        told = body(learner, self.customer, None)
        del told["completion"]
        enrollment = {"mode": "verified", "is_active": True, "enrollment_date": at}
        return {**told, "event_type": ENROLMENT, "enrollment": enrollment}

    def erasure(self, learner: Any) -> dict[str, Any]:
        """The same of the event that asks to erase: whose learner, the identifier, and nothing else."""
        told = body(learner, self.customer, None)
        kept = {key: told[key] for key in ("event_version", "event_source", "timestamp", "learner")}
        return {**kept, "event_type": ERASED, "enterprise_customer": {"uuid": str(self.customer.uuid)}}


@dataclass
class Line:
    """What a partner must hear about a learner; with ``expected`` None, what it must not."""

    day: str
    partner: Partner
    learner: Any
    event: str
    expected: dict[str, Any] | None
    came: list[Received] = field(default_factory=list)
    verdict: str = ""

    def judge(self) -> str:
        """Look at what has come by now."""
        self.came = self.partner.of(self.event, self.learner)
        expected = self.expected
        if expected and self.came and expected.get("completion_id") == SOME_UUID:
            with suppress(ValueError):
                expected = {**expected, "completion_id": str(UUID(str(self.came[0].body.get("completion_id"))))}
        self.verdict = judge(expected, self.came)
        return self.verdict

    def cells(self) -> tuple[str, ...]:
        """Of the table."""
        told = (self.came[0].body if self.came else {}).get("completion", {})
        seconds, was = told.get("learning_time"), told.get("previous_learning_time")
        shown = "" if seconds is None else f"{seconds} s" if was is None else f"{seconds} s (was {was})"
        final = {True: "final", False: "not final"}.get(told.get("learning_time_final"), "")
        event = self.event if self.came or self.expected else f"no {self.event}"
        who = (self.day, self.partner.name, self.partner.timing, self.learner.username, event)
        return (*who, shown, told.get("learning_time_as_of", ""), final, self.verdict)
