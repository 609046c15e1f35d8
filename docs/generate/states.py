# SPDX-License-Identifier: AGPL-3.0-or-later
"""The states of a webhook, the transitions between them, and a picture of both."""

from typing import NamedTuple

from channel_integrations.integrated_channel.models import FINISHED, HELD, UNFINISHED, WebhookStatus
from docs.generate import table
from docs.generate.states_picture import draw

AWAITING, AWAITING_FINAL, RECORDED, PENDING = (str(status) for status in UNFINISHED)
(AWAITING_IDS,) = (str(status) for status in HELD)
DELIVERED, FAILED, CANCELLED = (str(status) for status in FINISHED)
NO_ENDPOINT, PARKED = str(WebhookStatus.NO_ENDPOINT), str(WebhookStatus.PARKED)
#: before a row is there
EVENT = "event"


class Transition(NamedTuple):
    """``writers`` are the functions that make it, as ``module.function``; a test compares them with the code."""

    number: int
    before: tuple[str, ...]
    after: str
    cause: str
    writers: tuple[str, ...]


#: what the picture and the table show; tests drive real rows through each, and look for others in the code
TRANSITIONS = (
    Transition(1, (EVENT,), AWAITING, "a pass, or a backfill, with learning time switched on", ("outbox.new_row",)),
    Transition(
        2,
        (EVENT,),
        RECORDED,
        "a pass, or a backfill, with learning time switched off; an enrolment",
        ("outbox.new_row", "enrollments.new_row"),
    ),
    Transition(
        3,
        (AWAITING,),
        RECORDED,
        "learning time was looked up, could not be had, took too long, or was switched off",
        ("webhook_queryset.mark_enriched", "enrichment.release_overdue"),
    ),
    Transition(
        4,
        (RECORDED, AWAITING_IDS),
        PENDING,
        "still owed, and the learner has the ids that the endpoint wants: the endpoint is chosen, the body frozen",
        ("webhook_queryset.mark_addressed",),
    ),
    Transition(5, (PENDING,), DELIVERED, "an attempt was answered with 2xx", ("webhook_queryset.mark_delivered",)),
    Transition(
        6,
        (PENDING,),
        PENDING,
        "an attempt failed in a way that may pass; or its access token was refused, and it is sent again with another",
        ("webhook.mark_to_be_retried", "webhook.mark_to_be_signed_in_anew"),
    ),
    Transition(7, (PENDING,), FAILED, "a final answer, or the schedule is used up", ("webhook.mark_failed",)),
    Transition(
        8,
        (PENDING,),
        PARKED,
        "the endpoint answered 410, or is switched off",
        ("webhook.mark_refused", "endpoint_gate._move_due"),
    ),
    Transition(
        9,
        (RECORDED, AWAITING_IDS),
        PARKED,
        "the endpoint is switched off by its operator",
        ("webhook.mark_parked",),
    ),
    Transition(
        10,
        (PARKED,),
        PENDING,
        "the endpoint is on again; to `recorded` where there is no body yet",
        ("endpoint_gate.take_up_parked",),
    ),
    Transition(11, (PARKED,), RECORDED, "as above, without a body", ("endpoint_gate.take_up_parked",)),
    Transition(
        12,
        (RECORDED, AWAITING_IDS),
        NO_ENDPOINT,
        "the customer has no endpoint that takes the learner's region",
        ("webhook.mark_without_endpoint",),
    ),
    Transition(13, (DELIVERED, FAILED, CANCELLED, NO_ENDPOINT), RECORDED, "a person replays it", ("replay.replay",)),
    Transition(
        14,
        (RECORDED, PENDING, AWAITING_IDS),
        CANCELLED,
        "no longer owed, or the learner lacks ids and the endpoint skips such webhooks; a pending one is asked again "
        "before each attempt but the first",
        ("webhook.mark_cancelled",),
    ),
    Transition(
        15,
        (AWAITING_FINAL, PENDING, PARKED, AWAITING_IDS),
        CANCELLED,
        "its endpoint was deleted",
        ("webhook.cancel_rows_of_deleted_endpoint", "endpoint_gate._move_due"),
    ),
    Transition(
        16,
        (AWAITING, AWAITING_FINAL, RECORDED, PENDING, AWAITING_IDS, PARKED, NO_ENDPOINT),
        CANCELLED,
        "the learner is retired; `awaiting_ids`, `parked` and `no_endpoint` also when their retention is over",
        ("retention._scrub",),
    ),
    Transition(
        17,
        (PENDING,),
        RECORDED,
        "a row of the former release, which knows no endpoint yet",
        ("endpoint_gate._move_due",),
    ),
    Transition(
        18,
        (AWAITING, AWAITING_FINAL, RECORDED, PENDING, AWAITING_IDS, PARKED, NO_ENDPOINT),
        CANCELLED,
        "a person cancels it, while no worker holds it",
        ("cancellation._cancel",),
    ),
    Transition(
        19,
        (RECORDED,),
        AWAITING_IDS,
        "the learner lacks an id that the endpoint wants, and the endpoint holds such webhooks",
        ("webhook.mark_awaiting_ids",),
    ),
    Transition(
        20,
        (EVENT,),
        AWAITING_FINAL,
        "a pass whose endpoints wait for a final number; a completion that may have to be revised was addressed",
        ("revisions.row_for",),
    ),
    Transition(
        21,
        (RECORDED,),
        AWAITING_FINAL,
        "its number is not final, and its endpoint waits for that; or it is a revision, which does",
        ("webhook.mark_awaiting_final",),
    ),
    Transition(
        22,
        (AWAITING_FINAL,),
        AWAITING,
        "the rollup should have the day by now, or a statement has told that it does",
        ("final_number._to_be_looked_up",),
    ),
    Transition(
        23,
        (AWAITING_FINAL,),
        RECORDED,
        "its wait is over, or learning time was switched off",
        ("final_number.release_due", "final_number._send_all_plain"),
    ),
    Transition(
        24,
        (EVENT,),
        PENDING,
        "the learner is retired: an erasure, for each endpoint that was told of them and wants it",
        ("erasure._row",),
    ),
)
INTRODUCTION = """\
# States of a webhook

For operators. The column `status` of `channel_webhooks_webhooktransmissionqueue`, and *status* in the admin.

![The states and the transitions between them, numbered as in the table below](states.svg)

Numbers are those of the table below. Dashed: a person's replay. What is blue moves by itself; what is amber waits for
a person or for its endpoint; what is grey has come to its end, and is kept until its retention is over.

"""
AFTER = """\
While a worker works at a row the status stays as it is: the worker holds a lease, a `lease_token` and a `due_at` in
the future. A worker that is killed leaves a lease that ends, and the row is due again
([why](../decisions/0003-a-lease-is-a-due-time.md)). A row that has been purged (`purged_at`) stays where it is for
good.

What is `awaiting_final` is not late: `due_at` says when it is looked up again, `enrich_by` when its wait ends
([why](../decisions/0015-a-number-is-as-of-a-day.md)).

What `import_webhook_endpoints` does to rows is on
[the page about moving over](../how-tos/move_from_enterprise_integrated_channels.md) alone.

An enrolment stays `recorded`, for an hour at most, until the customer sponsors it and there is consent, where that is
required; its `reason` says what it waits for.

"""


def page() -> str:
    """The page."""
    kinds = {
        **dict.fromkeys(UNFINISHED, "by itself"),
        **dict.fromkeys(FINISHED, "only by a replay"),
        WebhookStatus.AWAITING_IDS: "when the ids have come; at `due_at` it is looked at again",
        WebhookStatus.PARKED: "when its endpoint is on again",
        WebhookStatus.NO_ENDPOINT: "only by a replay, once there is an endpoint",
    }
    states = [(f"`{status}`", str(status.label), kinds[status]) for status in WebhookStatus]
    transitions = [
        (
            str(transition.number),
            " ".join(f"`{state}`" if state != EVENT else "–" for state in transition.before),
            f"`{transition.after}`",
            transition.cause,
        )
        for transition in TRANSITIONS
    ]
    return (
        f"{INTRODUCTION}## States\n\n{table(('status', 'what it means', 'moves'), states)}\n{AFTER}"
        f"## Transitions\n\n{table(('', 'from', 'to', 'when'), transitions)}"
    )


def picture() -> str:
    """The SVG."""
    return draw()
