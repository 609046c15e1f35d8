# SPDX-License-Identifier: AGPL-3.0-or-later
"""The judgement on what came: pure functions."""

from collections.abc import Iterable
from enum import StrEnum
from http import HTTPStatus
from typing import NamedTuple

from channel_integrations.integrated_channel.exceptions import AddressRefused, DeadlineExceeded
from channel_integrations.integrated_channel.services.conformance.cases import Answer, Case, Request
from channel_integrations.integrated_channel.services.conformance.play import Came, Played
from channel_integrations.integrated_channel.services.retry import Outcome, classify

#: 4xx that say something else than "this is not genuine"
NO_REFUSAL = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.GONE,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
}
_ADVICE = {
    HTTPStatus.GONE: "410 switches your URL off: nothing more is sent to it. Answer it only where you want that.",
    HTTPStatus.TOO_MANY_REQUESTS: "Tell the operator how many requests a minute you take: the endpoint's own limit "
    "keeps the sender, and this check, within it.",
}


class Verdict(StrEnum):
    """Of a case."""

    HANDLED = "handled"
    NOT_HANDLED = "NOT HANDLED"
    NOT_JUDGED = "not judged"


class Judged(NamedTuple):
    """
    A line of the report: the verdict on a case, what to do about it where it is not handled, and what would be better
    where it is.
    """

    case: Case
    came: list[Came]
    verdict: Verdict
    advice: str = ""
    note: str = ""


def judge(played: Iterable[Played], timeout_seconds: int) -> list[Judged]:
    """The verdicts, in order; the first case is the one that the others rest on."""
    judged: list[Judged] = []
    for each in played:
        takes_valid = not judged or judged[0].verdict is Verdict.HANDLED
        judged.append(_judge(each, takes_valid, timeout_seconds))
    return judged


def _judge(played: Played, takes_valid: bool, timeout_seconds: int) -> Judged:
    case, came = played
    if len(came) < len(case.requests):
        return Judged(case, came, Verdict.NOT_JUDGED, "Not played: the receiver had stopped answering.")
    wrong = [pair for pair in zip(case.requests, came, strict=True) if not _is_right(*pair)]
    if wrong:
        return Judged(case, came, Verdict.NOT_HANDLED, _advice(case, *wrong[-1], timeout_seconds))
    if case.refuses and not takes_valid:
        return Judged(case, came, Verdict.NOT_JUDGED, "It refuses valid webhooks as well: mend that first.")
    return Judged(case, came, Verdict.HANDLED, note=_note(case, came))


def _is_right(request: Request, came: Came) -> bool:
    if came.status is None:
        return False
    if request.must_be is Answer.TAKEN:
        return classify(came.status) is Outcome.DELIVERED
    if request.must_be is Answer.REFUSED:
        return 400 <= came.status < 500 and came.status not in NO_REFUSAL
    return True


def _advice(case: Case, request: Request, came: Came, timeout_seconds: int) -> str:
    """One sentence for the partner: of what came, where that says more than the case, else the case's own."""
    if came.status is None:
        return _advice_on_silence(came.error, timeout_seconds)
    if 300 <= came.status < 400:
        return "Redirects are not followed: give the operator the URL that it leads to."
    if came.status in _ADVICE:
        return _ADVICE[HTTPStatus(came.status)]
    if came.status >= 500 and request.must_be is Answer.REFUSED:
        return f"An error is no refusal: we would send it again. {case.advice}"
    return case.advice


def _advice_on_silence(error: str, timeout_seconds: int) -> str:
    if error == DeadlineExceeded.code:
        return f"Answer within {timeout_seconds} s: as soon as the webhook is stored, before anything slow."
    if error == AddressRefused.code:
        return "The URL must be https, on a host whose addresses are public: nothing else is called."
    return "The connection was refused or broke, or its certificate cannot be verified: see your server's logs."


def _note(case: Case, came: list[Came]) -> str:
    """Of a refusal that is final: it would be final for a genuine webhook, too, that an old secret refuses."""
    final = {answer.status for answer in came if answer.status and classify(answer.status) is Outcome.FAILED}
    if case.refuses and final:
        return (
            f"Refused with {', '.join(map(str, sorted(final)))}, which is final: with 401 a webhook that you refuse by "
            "mistake, such as with an old secret, comes again."
        )
    return ""
