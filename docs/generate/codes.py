# SPDX-License-Identifier: AGPL-3.0-or-later
"""Codes and reasons that rows, attempts and logs carry."""

import inspect
import re
from itertools import groupby

from channel_integrations.integrated_channel.admin.attempt_errors import ERRORS
from channel_integrations.integrated_channel.exceptions import DeliveryFailed, LearningTimeUnavailable
from channel_integrations.integrated_channel.services import suppression
from channel_integrations.integrated_channel.services.retry import Outcome, classify
from docs.generate import table

#: learning_time_status without an error; a test compares them with the code
WITHOUT_ERROR = {
    "found": "the webhook carries the number",
    "no_row": "the rollup has no row for this learner, course run and customer, or its sum is NULL",
    "overdue": "it waited for longer than `CHANNEL_WEBHOOKS_ENRICHMENT_WAIT_SECONDS`",
    "flag_off": "learning time was switched off when the webhook was made, or while it waited",
    "paused": "the rollout was paused when the webhook was made, or while it waited",
    "endpoint_never": "the endpoint's own switch says never",
    "not_rolled_out": "the learner is not among the rollout's percentage",
}
#: what to do about each error of a lookup; the meaning is the error's own docstring
LOOKUPS = {
    "error": "look at the log line above it",
    "not_configured": "`./manage.py lms check`; is `snowflake-connector-python` installed?",
    "unreachable": "network and sign-in; a warehouse that wakes slower than the query timeout",
    "left_alone": "the errors before it: three lookups in a row have failed, and Snowflake is asked again in a while",
    "query_failed": "`CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE`, its columns, and the role's right to SELECT",
    "invalid_value": "ask the owner of the rollup",
}
#: why a webhook is `cancelled`, and what would have to change before you replay it
CANCELLED = {
    "no data-sharing consent": "the learner consents in the LMS",
    "passed before the learner was linked": "nothing: what came before the link is not the customer's to know",
    "the customer does not sponsor this course run": "an enterprise enrolment, or *all completions* on the endpoint",
    "passed before the endpoint's send_from": "an earlier *send from* on the endpoint",
    "enrolled before the learner was linked": "nothing: what came before the link is not the customer's to know",
    "enrolled before the endpoint's send_from": "an earlier *send from* on the endpoint",
    "the endpoint takes no such events": "*completions* or *enrolments* on the endpoint for the learner's region",
    "the learner's account is gone": "nothing",
    "the customer is gone or inactive": "the customer is made active",
    "the learner is no longer linked to the customer": "the learner is linked again",
    "the customer does not report audit enrolments": "the customer's two settings on audit enrolments, "
    "or a mode that is paid for",
    "the endpoint does not take the learner's region": "the endpoint's region, or what it accepts, as it was; "
    "a webhook that was addressed goes to no other",
    "the number that was sent stands": "nothing: the final learning time is the one that was sent, or differs by less "
    "than the endpoint asks for",
    "no final learning time within its time": "nothing: the rollup did not have the day of the pass in time, or "
    "learning time was switched off",
    "the completion itself was not delivered": "replay that one instead",
    "the completion that it revises is gone": "nothing",
    "the endpoint takes no revisions": "*revise* on the endpoint, with a payload format that has revisions",
    "the learner has no sign-on record": "the learner signs on through the customer; or *without those ids* on the "
    "endpoint is another choice",
    "the sign-on record lacks …": "the identity provider sends these keys when the learner next signs on; or *without "
    "those ids* on the endpoint is another choice",
    "endpoint deleted": "nothing for a webhook that was addressed: it belongs to the endpoint that is gone",
    "learner retired": "nothing: it has been scrubbed",
    "past its retention": "nothing: it has been scrubbed",
    "cancelled by an operator": "nothing; the webhook's history in the admin says who it was, where it was done there",
}
#: why a pass made no webhook, as it is noted, and what would have to change
SUPPRESSED = {
    reason: CANCELLED.get(reason, "the endpoint is switched on; what was passed meanwhile is backfilled")
    for reason in suppression.REASONS
}
INTRODUCTION = """\
# Codes and reasons

For operators. What the columns `status`, `reason` and `learning_time_status` of a webhook, `error_code` of an attempt
and `reason` of a suppressed webhook say, in the admin, in the database and in the log. `status` has
[a page of its own](states.md).

"""


def page() -> str:
    """The page."""
    return INTRODUCTION + "\n".join((_attempts(), _answers(), _learning_time(), _cancelled(), _suppressed()))


def _attempts() -> str:
    rows = [(f"`{code}`", str(meaning)) for code, meaning in ERRORS.items()]
    return (
        "## `error_code`: an attempt without an answer\n\nAnother attempt follows on the schedule, and the error "
        f"counts towards the endpoint's breaker.\n\n{table(('code', 'what it means'), rows)}"
    )


def _answers() -> str:
    meanings = {
        Outcome.DELIVERED: "`delivered`",
        Outcome.RETRY: "another attempt on the schedule; counts towards the breaker",
        Outcome.GONE: "the endpoint is switched off, the webhook `parked`",
        Outcome.FAILED: "`failed`: no other attempt, kept for a replay",
    }
    ranges: dict[Outcome, list[str]] = {outcome: [] for outcome in Outcome}
    for outcome, group in groupby(range(200, 600), classify):
        statuses = list(group)
        ranges[outcome].append(f"{statuses[0]}–{statuses[-1]}" if len(statuses) > 1 else str(statuses[0]))
    rows = [(", ".join(ranges[outcome]), meaning) for outcome, meaning in meanings.items()]
    return f"## An attempt with an answer\n\n{table(('HTTP status', 'what happens'), rows)}"


def _learning_time() -> str:
    looks = {"overdue": "is there a worker on `edx.lms.core.webhook_enrichment`?", "no_row": "the rollup"}
    rows = [(f"`{code}`", meaning, looks.get(code, "")) for code, meaning in WITHOUT_ERROR.items()]
    rows += [(f"`{error.code}`", _meaning(error), LOOKUPS[error.code]) for error in lookup_errors()]
    said = "The webhook goes out whatever it says; only `found` comes with the number."
    return f"## `learning_time_status`\n\n{said}\n\n{table(('code', 'what it means', 'where to look'), rows)}"


def _cancelled() -> str:
    rows = [(reason, change) for reason, change in CANCELLED.items()]
    return (
        "## `reason` of a cancelled webhook\n\nConditions are checked when the pass comes in: where one does not hold, "
        "no webhook is made.\nThey are checked again before the lookup and before the body is built: then the webhook "
        "is `cancelled`, with the first that\nno longer holds as its reason. Once it holds again, "
        "[replay the webhook](../how-tos/endpoints_and_deliveries.md#send-again).\n\n"
        f"{table(('reason', 'what would have to change'), rows)}"
    )


def _suppressed() -> str:
    rows = list(SUPPRESSED.items())
    return (
        "## `reason` of a suppressed webhook\n\n"
        "Where a learner is linked to an active customer with an endpoint, and a pass makes no webhook all the same,\n"
        "the last reason is noted (*Suppressed webhooks* in the admin) for `CHANNEL_WEBHOOKS_RETENTION_DAYS`;\n"
        "`webhook_explain` tells it.\n\n"
        "Not noted: a pass that is older than `CHANNEL_WEBHOOKS_MAX_PASS_AGE_DAYS` (its date says so for ever, and\n"
        "what was noted when it was new stays), and what the sweep and backfills find. A webhook that is made later\n"
        "leaves the note: it tells why it came late.\n\n"
        f"{table(('reason', 'what would have to change'), rows)}"
    )


def lookup_errors() -> list[type[LearningTimeUnavailable]]:
    """The errors of a lookup, the general one last."""
    first = LearningTimeUnavailable.__subclasses__()
    return [*first, *(each for error in first for each in error.__subclasses__()), LearningTimeUnavailable]


def delivery_errors() -> list[type[DeliveryFailed]]:
    """The errors of an attempt."""
    return DeliveryFailed.__subclasses__()


def _meaning(error: type) -> str:
    return re.sub(r"``?", "`", (inspect.getdoc(error) or "").split("\n")[0])
