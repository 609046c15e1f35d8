# SPDX-License-Identifier: AGPL-3.0-or-later
"""Why a webhook carries no learning time, in words, and what changes it for the next ones."""

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from channel_integrations.integrated_channel.services import rollout
from channel_integrations.integrated_channel.services.explanation.story import Answer, Step

#: what became of a lookup: the words, and what to do
LOOKUPS = {
    "no_row": (
        gettext_lazy("Snowflake has no row for this learner, course run and customer, or its sum is NULL"),
        gettext_lazy("the owner of the rollup; how fresh it is says ./manage.py lms webhook_doctor"),
    ),
    "overdue": (
        gettext_lazy("nobody had looked it up when its wait was over"),
        gettext_lazy(
            "a worker on edx.lms.core.webhook_enrichment: whether there is one says ./manage.py lms webhook_doctor"
        ),
    ),
    "not_configured": (
        gettext_lazy("SNOWFLAKE_CONFIG or the installed connector did not allow a lookup"),
        gettext_lazy("what ./manage.py lms check says"),
    ),
    "unreachable": (
        gettext_lazy("Snowflake did not answer: sign-in, network or timeout"),
        gettext_lazy("which of them says ./manage.py lms webhook_doctor"),
    ),
    "left_alone": (
        gettext_lazy("nobody asked: lookups before it had failed, and Snowflake was left alone for a while"),
        gettext_lazy("Snowflake is asked again by itself; why it had failed says ./manage.py lms webhook_doctor"),
    ),
    "query_failed": (
        gettext_lazy("Snowflake refused the statement"),
        gettext_lazy(
            "CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE, its columns, or the role's right to SELECT: which says "
            "./manage.py lms webhook_doctor"
        ),
    ),
    "invalid_value": (
        gettext_lazy("the sum was negative, absurdly large or not a number"),
        gettext_lazy("the owner of the rollup mends it"),
    ),
    "error": (
        gettext_lazy("the lookup failed"),
        gettext_lazy("the log of that moment says how: source:celery status:failure"),
    ),
}


@dataclass(frozen=True)
class Side:
    """On which side of the rollout a learner is, for one endpoint."""

    customer: Any
    learner: Any
    endpoint: Any

    @property
    def place(self) -> int:
        """The learner's bucket; a percentage takes in the lowest ones."""
        return rollout.bucket(self.customer.uuid, self.learner.pk)

    def step(self) -> Step:
        """Whether learning time would be looked up now."""
        holds = rollout.latest()
        code = holds.reason_against(self.customer.uuid, self.learner.pk, {self.endpoint.learning_time})
        words, change = why_plain(code, self) if code else (_("looked up"), "")
        details = _("(bucket %(place)s of %(buckets)s, percentage %(percentage)s, endpoint's switch: %(switch)s)") % {
            "place": self.place,
            "buckets": rollout.BUCKETS,
            "percentage": holds.percentage,
            "switch": self.endpoint.learning_time or "rollout",
        }
        return Step("rollout", Answer.of(not code), words, change, details, no_learning_time() if code else "")


def why_plain(code: str, side: Side | None) -> tuple[str, str]:
    """A code of ``learning_time_status`` in words, and one command or setting that changes it for the next webhooks."""
    command = "./manage.py lms webhook_rollout"
    endpoint = side.endpoint.pk if side and side.endpoint else "ID"
    if code == rollout.FLAG_OFF:
        flag = "FEATURES['ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT'] = True"
        return _("not looked up: the flag is off"), _("%(flag)s, and a restart") % {"flag": flag}
    if code == rollout.PAUSED:
        return _("not looked up: the kill switch is on"), f"{command} --resume"
    if code == rollout.ENDPOINT_NEVER:
        change = f"{command} --endpoint {endpoint} --learning-time rollout"
        return _("not looked up: the endpoint's own switch says never"), change
    if code == rollout.NOT_ROLLED_OUT:
        # The smallest percentage that takes the learner in.
        enough = side.place * 100 // rollout.BUCKETS + 1 if side else "N"
        change = _("%(command)s --percentage %(enough)s, or --endpoint %(endpoint)s --learning-time always") % {
            "command": command,
            "enough": enough,
            "endpoint": endpoint,
        }
        return _("not looked up: the rollout's percentage does not take this learner in"), change
    words, change = LOOKUPS.get(code, (code, _("what ./manage.py lms webhook_doctor says")))
    return str(words), str(change)


def no_learning_time() -> str:
    """What a partner is told of all that."""
    return _("without learning time")
