# SPDX-License-Identifier: AGPL-3.0-or-later
"""
What a receiver must handle: a table. docs/partners/check_your_receiver.md explains each to partners, under its name.

A case sends one or more requests about one or more webhooks. Whatever it sends, a sender sees statuses alone: what
cannot be seen from outside is said in ``to_check``, for the partner to look up.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from channel_integrations.integrated_channel.formats import STANDARD
from channel_integrations.integrated_channel.services.conformance import samples
from channel_integrations.integrated_channel.services.conformance.samples import Build, Wording


class Answer(Enum):
    """What a request must be answered with."""

    TAKEN = "2xx"
    REFUSED = "4xx"
    ANY = "any"


class Signed(Enum):
    """How a request is signed."""

    GENUINELY = "with the endpoint's secret"
    UNKNOWN_KEY_FIRST = "an unknown secret's signature first, then the genuine one"
    UNKNOWN_KEY_LAST = "the genuine signature first, then an unknown secret's"
    OTHER_VERSION_FIRST = "a signature of another version first, then the genuine one"
    WITH_ANOTHER_KEY = "with a secret that nobody has"
    OVER_ANOTHER_BODY = "genuinely, and the body altered afterwards"
    NOT_AT_ALL = "not"


@dataclass(frozen=True)
class Request:
    """
    One POST of a case.

    ``webhook`` is the place of its webhook in the case: the same webhook has the same id and the same bytes, and is
    signed anew. ``age`` is how long ago its timestamp lies.
    """

    webhook: int = 0
    must_be: Answer = Answer.TAKEN
    signed: Signed = Signed.GENUINELY
    age: timedelta = timedelta(0)


@dataclass(frozen=True)
class Case:
    """
    One line of the report; ``to_check`` is what the partner finds under its course run when all is well.

    ``standard_only``: other payload formats know no such thing.
    """

    name: str
    sent: str
    advice: str
    webhooks: tuple[Build, ...] = (samples.completion(),)
    requests: tuple[Request, ...] = (Request(),)
    to_check: str = ""
    standard_only: bool = False

    @property
    def anchor(self) -> str:
        """Of its section in the page for partners."""
        return self.name.replace(" ", "-")

    @property
    def refuses(self) -> bool:
        """Whether it is about refusing, which tells nothing where valid webhooks are refused as well."""
        return any(request.must_be is Answer.REFUSED for request in self.requests)


REFUSED = Answer.REFUSED
#: beyond the tolerance of five minutes that partners are told to allow
TOO_FAR = timedelta(minutes=10)
ONCE = "one completion, counted once"
NOTHING = "nothing"

CASES = (
    Case(
        "valid",
        "a completion, 1800 s of learning time",
        "Compare your verification with the page's test vectors: a wrong secret, a body that was parsed before it was "
        "verified, or a clock that is five minutes off.",
        to_check="one completion, 1800 s",
    ),
    Case(
        "test event",
        "an event of the type `test`, without a learner",
        "Answer 2xx to an event of the type `test` and do nothing.",
        (samples.test_event(),),
    ),
    Case(
        "enrolment",
        "an enrolment, with `enrollment` in place of `completion`",
        "Answer 2xx to enrolments even if you have no use for them.",
        (samples.enrolment(),),
        to_check="an enrolment, or nothing where you have no use for them; no completion",
    ),
    Case(
        "zero",
        "a completion, `learning_time` 0",
        "0 is a number like any other: test for the key, not for its truth.",
        (samples.completion(learning_time=0),),
        to_check="one completion, 0 s; not unknown",
    ),
    Case(
        "missing number",
        "a completion without `learning_time`",
        "Take the completion without the number: the key is absent whenever no number was to be had.",
        (samples.completion(learning_time=None),),
        to_check="one completion, learning time unknown; not 0",
    ),
    Case(
        "other alphabets",
        "a completion whose learner's name has umlauts, Chinese and an emoji",
        "Decode JSON's \\u escapes, pairs of surrogates included, and store names in a column of full Unicode (MySQL: "
        "utf8mb4).",
        (samples.completion(learner=samples.ELSEWHERE),),
        to_check=f"one completion, of {samples.ELSEWHERE.username}",
    ),
    Case(
        "unknown field",
        "a completion with fields that no schema names yet",
        "Ignore fields that you do not know: fields are added without a new version.",
        (samples.with_unknown_fields(),),
        to_check="one completion, 1800 s",
    ),
    Case(
        "unknown event type",
        "an event of a type that no schema names yet",
        "Answer 2xx to an `event_type` that you do not know and do nothing: types are added without a new version.",
        (samples.of_unknown_type(),),
        standard_only=True,
    ),
    Case(
        "duplicate id",
        "a completion, and at once the same again: same `webhook-id`, same body",
        "Answer 2xx to an id that you have and do nothing: an error makes us send it again and again.",
        requests=(Request(), Request()),
        to_check=ONCE,
    ),
    Case(
        "retry after 500",
        "an attempt that fails (its signature does not match: from outside nobody can make a receiver answer 500), and "
        "the next attempt with the same `webhook-id`, a later timestamp and a genuine signature",
        "Keep an id only together with what you did about it, in one transaction: an attempt that failed must not make "
        "its id known.",
        requests=(
            Request(must_be=Answer.ANY, signed=Signed.WITH_ANOTHER_KEY, age=timedelta(minutes=1)),
            Request(),
        ),
        to_check="one completion, 1800 s; where it is missing, the failed attempt's id was kept",
    ),
    Case(
        "revised",
        "a completion whose number is not final, and `course_completion.revised` with the same `completion_id`, a "
        "`revision`, the old and the new number",
        "Answer 2xx, and put the new number in the place of the old one: same `completion_id`, higher `revision`.",
        (samples.revisable(), samples.revised()),
        (Request(0), Request(1)),
        to_check=f"one completion, {samples.REVISED_SECONDS} s; not two, and not "
        f"{samples.SECONDS + samples.REVISED_SECONDS} s",
        standard_only=True,
    ),
    Case(
        "learner erased",
        "a completion of another learner, and a `learner.erased` that names them in the same words",
        "Answer 2xx to `learner.erased`, and erase what you have under the identifier in `learner`.",
        (samples.completion(learner=samples.RETIRED), samples.erasure()),
        (Request(0), Request(1)),
        to_check=f"nothing that names {samples.RETIRED.username}",
    ),
    Case(
        "rotated secret",
        "two completions with two signatures each, one of them of a secret that you do not have: first once, last once",
        "Take a webhook if any one of its signatures matches, wherever it stands: for 24 hours after a secret was "
        "replaced there are two.",
        (samples.completion(), samples.completion(learner=samples.ELSEWHERE)),
        (Request(0, signed=Signed.UNKNOWN_KEY_FIRST), Request(1, signed=Signed.UNKNOWN_KEY_LAST)),
        to_check="two completions, of two learners",
    ),
    Case(
        "other signature version",
        "a completion with two signatures: first one of the version that you do not verify (`v1` or `v1a`), then yours",
        "Skip signatures of another version than yours instead of refusing the webhook.",
        requests=(Request(signed=Signed.OTHER_VERSION_FIRST),),
        to_check="one completion, 1800 s",
    ),
    Case(
        "forged signature",
        "a completion signed with another secret",
        "Refuse it with 401: whoever knows your URL can post to it, and this is all that tells them from us.",
        requests=(Request(must_be=REFUSED, signed=Signed.WITH_ANOTHER_KEY),),
        to_check=NOTHING,
    ),
    Case(
        "altered body",
        "a completion whose body was changed after it was signed",
        "Verify the raw bytes of the body that came, before anything parses them.",
        requests=(Request(must_be=REFUSED, signed=Signed.OVER_ANOTHER_BODY),),
        to_check=NOTHING,
    ),
    Case(
        "no signature",
        "a completion without the signature header",
        "Refuse what has no signature with 401.",
        requests=(Request(must_be=REFUSED, signed=Signed.NOT_AT_ALL),),
        to_check=NOTHING,
    ),
    Case(
        "old timestamp",
        "a completion, genuinely signed ten minutes ago",
        "Refuse a timestamp more than five minutes from now, else a recorded webhook can be sent to you again.",
        requests=(Request(must_be=REFUSED, age=TOO_FAR),),
        to_check=NOTHING,
    ),
    Case(
        "future timestamp",
        "a completion, genuinely signed for ten minutes from now",
        "Refuse a timestamp more than five minutes from now in either direction.",
        requests=(Request(must_be=REFUSED, age=-TOO_FAR),),
        to_check=NOTHING,
    ),
)


def cases_for(wording: Wording) -> tuple[Case, ...]:
    """Those that make sense in an endpoint's payload format."""
    return tuple(case for case in CASES if wording.format is STANDARD or not case.standard_only)
