# SPDX-License-Identifier: AGPL-3.0-or-later
"""
``make demo DAYS=2``: the rollup moves by a day, and each partner gets the number that it has asked for.

Everybody passed yesterday. On the first day the rollup lacks that day; on the second it has it, and some of today as
well, which must not count. Then a learner is retired.
"""

import io
import json
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from typing import Any

from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone
from openedx.core.djangoapps.user_api.accounts.signals import USER_RETIRE_LMS_CRITICAL, USER_RETIRE_LMS_MISC

from demo.partners import COMPLETION, ENROLMENT, ERASED, REVISED, SOME_UUID, Line, Partner
from demo.table import table
from demo.verdict import OK
from tests.factories import COURSE, enrollment_event, grade_event, make_learner, write_grade

HEADS = ("day", "customer", "asks for", "learner", "event", "learning time", "as of", "", "verdict")
#: seconds: longest wait for what must come, and how long to wait for what must not
PATIENCE, AFTERWARDS = 60, 3
#: seconds: learned until the day before the pass, on the day of the pass, and after it
BEFORE, THAT_DAY, AFTER = 3000, 900, 7777


class TwoDays:
    """
    The story; ``add`` adds a learner's day to the rollup, ``say`` tells how far it is.

    Maria is sponsored by three customers, which ask for the same number in three ways. Ben has learned nothing on the
    day of his pass: there is nothing to revise.
    """

    def __init__(self, add: Callable[..., None], say: Callable[[str], None], running: ExitStack) -> None:
        self.add, self.say = add, say
        self.today = timezone.now().astimezone(UTC).date()
        self.passed_on = self.today - timedelta(days=1)
        self.acme = Partner("Acme Corp", "now", sends_enrollments=True)
        self.globex = Partner("Globex", "hold", sends_erasures=True)
        self.initech = Partner("Initech", "revise", sends_erasures=True)
        for partner in self.partners:
            running.callback(partner.close)
        self.maria, self.ben = (
            make_learner(partner.customer, username=name, email=f"{name}@learners.example.com")
            for name, partner in (("maria", self.acme), ("ben", self.initech))
        )
        for partner in (self.globex, self.initech):
            make_learner(partner.customer, user=self.maria)
        self.lines: list[Line] = []
        self.checks: list[tuple[str, bool]] = []

    @property
    def partners(self) -> tuple[Partner, ...]:
        return self.acme, self.globex, self.initech

    def play(self) -> bool:
        """All of it; returns whether all is as it must be."""
        self.first_day()
        self.second_day()
        self.count()
        self.ask("verify_learning_time", "--judge", "final", "--seed", "1")
        self.retirement()
        self.ask("export_disclosures", "--learner", str(self.maria.id))
        came, due = sum(len(each.heard) for each in self.partners), sum(bool(line.expected) for line in self.lines)
        self._check(f"{came} webhooks came, {due} were due", came == due)
        self.conformance()
        return self.report()

    def first_day(self) -> None:
        """The rollup reaches the day before the pass."""
        for day in (3, 2):
            self._learn(self.today - timedelta(days=day), BEFORE // 2, BEFORE // 2)
        sponsors = ", ".join(f"{each.name} ({each.timing})" for each in self.partners)
        self.say(f"maria is sponsored by {sponsors}; ben by {self.initech.name}")
        self.say(f"maria and ben passed on {self.passed_on}; the rollup reaches {self._known_on_day_one}")
        enrolled_at = self._moment(clock_time(9))
        enrollment_event(self.maria, enrolled_at=enrolled_at)
        for learner in (self.maria, self.ben):
            passed_at = self._moment(clock_time(19))
            with transaction.atomic():
                write_grade(learner, passed_at=passed_at)
                grade_event(learner, passed_at=passed_at)
        acme, globex, initech, as_of = *self.partners, self._known_on_day_one
        self._expect(
            "1",
            (acme, self.maria, ENROLMENT, acme.enrolment(self.maria, enrolled_at.isoformat())),
            (acme, self.maria, COMPLETION, acme.completion(self.maria, BEFORE, as_of, False)),
            (globex, self.maria, COMPLETION, None),
            *(
                (initech, each, COMPLETION, initech.completion(each, BEFORE, as_of, False, completion_id=SOME_UUID))
                for each in (self.maria, self.ben)
            ),
        )

    def second_day(self) -> None:
        """The rollup gets the day of the pass, and a part of the next one."""
        self._learn(self.passed_on, THAT_DAY, 0)
        self._learn(self.today, AFTER, AFTER)
        self.say(f"the rollup now reaches {self.today}: {THAT_DAY} s of the day of maria's pass, {AFTER} s after it")
        expected_at = datetime.combine(
            self.today, clock_time.fromisoformat(settings.CHANNEL_WEBHOOKS_ROLLUP_READY_AT), UTC
        )
        self.say(f"it is expected at {expected_at:%H:%M} UTC: until then nobody looks")
        time.sleep(max(0.0, (expected_at - timezone.now()).total_seconds()))
        acme, globex, initech, as_of = *self.partners, self.today.isoformat()
        final = BEFORE + THAT_DAY
        self._expect(
            "2",
            (acme, self.maria, REVISED, None),
            (globex, self.maria, COMPLETION, globex.completion(self.maria, final, as_of, True)),
            (initech, self.maria, REVISED, initech.revision(self.maria, BEFORE, final, as_of)),
            (initech, self.ben, REVISED, None),
        )

    def retirement(self) -> None:
        """The LMS retires Maria; Acme does not take erasures."""
        self.say("the LMS retires maria")
        retired = {"retired_username": "retired__user_0a1b", "retired_email": "retired__user_0a1b@retired.invalid"}
        for step, more in ((USER_RETIRE_LMS_MISC, {}), (USER_RETIRE_LMS_CRITICAL, retired)):
            with transaction.atomic():
                step.send(sender=type(self.maria), user=self.maria, **more)
        self._expect(
            "later",
            (self.acme, self.maria, ERASED, None),
            (self.globex, self.maria, ERASED, self.globex.erasure(self.maria)),
            (self.initech, self.maria, ERASED, self.initech.erasure(self.maria)),
        )

    def count(self) -> None:
        """What the partners' own records say: nobody has counted a completion twice."""
        counted = {
            partner.name: [seconds for *_, seconds in partner.records.completions()] for partner in self.partners
        }
        due = {"Acme Corp": [BEFORE], "Globex": [BEFORE + THAT_DAY], "Initech": [BEFORE, BEFORE + THAT_DAY]}
        self._check(
            "completions that the partners have counted, one for each learner: "
            + ", ".join(f"{name} {len(seconds)} ({sum(seconds)} s)" for name, seconds in counted.items()),
            {name: sorted(seconds) for name, seconds in counted.items()} == due,
        )

    def ask(self, name: str, *args: str) -> None:
        """What an operator types, and is answered; that it ends with 0 is one of the checks."""
        typed = f"./manage.py lms {' '.join([name, *args])}"
        print(f"\n$ {typed}", flush=True)
        status = 0
        try:
            call_command(name, *args)
        except SystemExit as ended:
            status = int(ended.code or 0)
        except CommandError as refused:
            status = refused.returncode
            print(refused)
        print(flush=True)
        self._check(f"{typed} ended with {status}", status == 0)

    def conformance(self) -> None:
        """The partners' receiver is the reference one."""
        facts = io.StringIO()
        arguments = ("--endpoint", str(self.acme.endpoint.pk), "--live", "--per-minute", "6000", "--json")
        with suppress(CommandError):
            call_command("webhook_conformance", *arguments, stdout=facts, stderr=io.StringIO())
        told = json.loads(facts.getvalue())
        handled = sum(case["handled"] for case in told["cases"])
        self._check(f"webhook_conformance: {handled} of {len(told['cases'])} cases handled", told["all_handled"])

    def report(self) -> bool:
        """Print the table and a revision; returns whether all is as it must be."""
        print(f"\n{table([HEADS, *(line.cells() for line in self.lines)])}\n")
        for text, good in self.checks:
            print(f"  {text}: {OK if good else 'WRONG'}")
        for revision in self.initech.of(REVISED, self.maria)[:1]:
            print(f"\nWhat {self.initech.name} got on the second day about a completion that it had:\n")
            print(json.dumps(revision.body, indent=2, ensure_ascii=False))
        return all(line.verdict == OK for line in self.lines) and all(good for _text, good in self.checks)

    def _check(self, text: str, good: bool) -> None:
        self.checks.append((text, good))

    @property
    def _known_on_day_one(self) -> str:
        return (self.passed_on - timedelta(days=1)).isoformat()

    def _moment(self, at: clock_time) -> datetime:
        return datetime.combine(self.passed_on, at, UTC)

    def _learn(self, day: date, maria: int, ben: int) -> None:
        for partner in self.partners:
            self.add(self.maria.id, COURSE, partner.customer.uuid, maria, day.isoformat())
        if ben:
            self.add(self.ben.id, COURSE, self.initech.customer.uuid, ben, day.isoformat())

    def _expect(self, day: str, *facts: Any) -> None:
        """Wait until all of it has come, and a little longer for what must not."""
        lines = [Line(day, *each) for each in facts]
        self.lines += lines
        due = [line for line in lines if line.expected]
        deadline, seen = time.monotonic() + PATIENCE, -1
        while seen < len(due) and time.monotonic() < deadline:
            come = sum(bool(line.partner.of(line.event, line.learner)) for line in due)
            if come != seen:
                seen = come
                self.say(f"{seen} of {len(due)} webhooks have arrived")
            time.sleep(0.05)
        time.sleep(AFTERWARDS)
        for line in lines:
            line.judge()
