# SPDX-License-Identifier: AGPL-3.0-or-later
"""The form of an endpoint: what each field does, its bounds, default, an example; errors that say what to type."""

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel.admin import payload_fields, sign_in_fields
from channel_integrations.integrated_channel.admin.payload_fields import PayloadFields
from channel_integrations.integrated_channel.admin.sign_in_fields import SignInFields
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration, LearningTimeTiming
from channel_integrations.integrated_channel.models.endpoint import MAX_CONCURRENT_REQUESTS, MAX_TIMEOUT_SECONDS
from channel_integrations.integrated_channel.models.learning_time_options import (
    MAX_HOLD_HOURS,
    MAX_REVISE_FROM_SECONDS,
)


def _from_to(lowest: int, highest: int) -> dict[str, object]:
    said = format_lazy(_("Type a whole number from {lowest} to {highest}."), lowest=lowest, highest=highest)
    return dict.fromkeys(("min_value", "max_value", "invalid", "required"), said)


#: nullable in the database, where NULL is the default
_TICKS = (
    "accepts_us",
    "accepts_eu",
    "sends_completions",
    "sends_enrollments",
    "sends_erasures",
    "states_as_of",
)
#: what is ticked where an endpoint is added here; those that are there go on as they do
_TICKED_FOR_NEW = ("sends_erasures", "states_as_of")
_NO_CUSTOMER = _("Choose a customer: press the magnifying glass, or paste the customer's UUID.")
_NO_LIMIT = _("Type a whole number of 1 or more, or leave it empty.")


class EndpointForm(PayloadFields, SignInFields):
    """Validated by the model, which refuses what the sender would refuse."""

    null_means = {
        **payload_fields.NULL_MEANS,
        **sign_in_fields.NULL_MEANS,
        "learning_time_timing": str(LearningTimeTiming.NOW),
    }

    class Meta:
        model = EnterpriseWebhookConfiguration
        field_classes = dict.fromkeys(_TICKS, forms.BooleanField)
        fields = "__all__"  # the admin's fieldsets name them
        labels = {
            **payload_fields.LABELS,
            "webhook_url": _("URL"),
            "accepts_us": _("Accepts learners from the US"),
            "accepts_eu": _("Accepts learners from the EU"),
            "sends_completions": _("Completions"),
            "sends_enrollments": _("Enrolments"),
            "sends_erasures": _("Erasures"),
            "webhook_timeout_seconds": _("Timeout (seconds)"),
            "max_requests_per_minute": _("Requests per minute"),
            "max_concurrent_requests": _("Requests at once"),
            "ca_bundle": _("CA certificates"),
            "sign_in": _("Sign-in"),
            "token_url": _("Token URL"),
            "client_id": _("Client id"),
            "client_authentication": _("Client id and secret go"),
            "states_as_of": _("Says as of when"),
            "learning_time_timing": _("Send"),
            "hold_hours": _("Hours to wait"),
            "revise_from_seconds": _("Seconds that make a revision"),
        }
        help_texts = {
            **sign_in_fields.HELP_TEXTS,
            **payload_fields.HELP_TEXTS,
            "enterprise_customer": _(
                "Whose learners' completions are sent here. The customer's UUID; the magnifying glass finds it by name."
            ),
            "region": _(
                "Learners of this region, by the country in their sign-on record, else by the customer's. One from "
                "the US or the EU goes to the endpoint of that region, or else to that for Other if it accepts them, "
                "never to that of another region. Default: Other."
            ),
            "accepts_us": _(
                "Matters for the endpoint for Other only: whether it gets learners from the US where the customer has "
                "no endpoint for the United States. On by default."
            ),
            "accepts_eu": _(
                "Matters for the endpoint for Other only: whether it gets learners from the EU where the customer has "
                "no endpoint for the European Union. Off by default: their data then goes nowhere. Agree on it first."
            ),
            "webhook_url": _(
                "Where each webhook is posted. https on a public address, port 443 or from 1024 on, no user name or "
                "password in it, 500 characters at most. Example: https://hooks.partner.example.com/completions"
            ),
            "active": _(
                "On by default. Switched off, what waits is parked and no webhooks are made for new completions; "
                "switched on again, what was parked goes out."
            ),
            "webhook_timeout_seconds": _(
                "How long one attempt may take, from name lookup to the end of the answer; then it counts as failed "
                "and is tried again. 1 to 60, default 15. The partner should answer at once and work later."
            ),
            "max_requests_per_minute": _(
                "How many webhooks the endpoint takes in a minute, from all workers together; the others wait, and use "
                "up no attempt. 1 or more; empty, the default: no limit. Example: 120"
            ),
            "max_concurrent_requests": _(
                "How many webhooks are sent to the endpoint at the same time, by all workers together. 1 to 32, "
                "default 4. 1 keeps them in order as long as none fails."
            ),
            "retry_schedule": _(
                "The waits between attempts, each of 1 s to 72 h, written with s, m or h, 30 at most; each varies by "
                "± 20 %. Example: 5s 5m 30m 2h. Empty, the default: 5s 5m 30m 2h 5h 10h 14h 20h 24h, ten attempts in "
                "75 h 35 min."
            ),
            "ca_bundle": _(
                "Certificates to trust for this endpoint in place of the usual ones, in PEM form, from -----BEGIN "
                "CERTIFICATE----- to -----END CERTIFICATE-----. Empty, the default: the usual ones."
            ),
            "sends_completions": _(
                "Whether completions of course runs are sent here, as event_type course_completion. On by default; "
                "one of the two must be on."
            ),
            "sends_enrollments": _(
                "Whether enrolments are sent here, as event_type course_enrollment, from now on and only in course "
                "runs that the customer sponsors for the learner. Off by default; agree on it with the partner first."
            ),
            "sends_erasures": _(
                "Whether the partner is told, as event_type learner.erased, to erase what it was told about a learner "
                "whom the LMS retires: how it knows the learner, and nothing else. Ticked for an endpoint that is "
                "added here, off for older ones: leave it off until the partner can take it."
            ),
            "send_from": _(
                "Completions passed, and enrolments made, before this moment make no webhook; backfill_webhooks sends "
                "such completions. Default: when the endpoint is added. Example: 2026-11-01 00:00:00"
            ),
            "all_completions": _(
                "Off by default: only of course runs that the customer sponsors for the learner. On: every completion "
                "of its linked learners, whoever pays for it; not every enrolment. More personal data leaves; agree on "
                "it first."
            ),
            "learning_time": _(
                "Whether completions carry how many seconds the learner spent learning. By default as the site's "
                "rollout says. “Always” lets a pilot customer go first. Nothing carries it while the site's flag is "
                "off or the rollout is paused."
            ),
            "states_as_of": _(
                "Whether learning_time comes with learning_time_as_of, the last day that the rollup had, and with "
                "learning_time_final, which is true once it has the day of the pass. On for new endpoints."
            ),
            "learning_time_timing": _(
                "Now, the default: at once, with what is known. Hold: once the number is final, usually the next "
                "morning. Revise: at once, with a completion_id, and once more as event_type "
                "course_completion.revised if the final number differs; agree on that with the partner first."
            ),
            "hold_hours": _(
                "How long a final number is waited for, from when the learner has passed. Then a completion that is "
                "held goes out with what is known, and a revision is given up. 1 to 168; empty, the default: 72."
            ),
            "revise_from_seconds": _(
                "Of “revise” alone: by more than how many seconds the final number must differ to be sent. 0 to 86400; "
                "empty, the default: 60."
            ),
        }
        error_messages = {
            NON_FIELD_ERRORS: {
                "unique_together": _("An endpoint for this customer and region already exists: change that one.")
            },
            "webhook_url": dict.fromkeys(
                ("required", "invalid"), _("Type an https URL, for example https://partner.example.com/webhooks.")
            ),
            "token_url": {"invalid": _("Type an https URL, for example https://login.partner.example.com/token.")},
            "webhook_timeout_seconds": _from_to(1, MAX_TIMEOUT_SECONDS),
            "max_concurrent_requests": _from_to(1, MAX_CONCURRENT_REQUESTS),
            "max_requests_per_minute": dict.fromkeys(("min_value", "max_value", "invalid"), _NO_LIMIT),
            "hold_hours": _from_to(1, MAX_HOLD_HOURS),
            "revise_from_seconds": _from_to(0, MAX_REVISE_FROM_SECONDS),
        }

    def __init__(self, *args, **kwargs):
        """A tick or none: what a release that did not know of these has left empty is their default."""
        super().__init__(*args, **kwargs)
        for name in _TICKS:
            if getattr(self.instance, name) is None:
                self.initial[name] = self._meta.model._meta.get_field(name).default
        if self.instance._state.adding:
            self.initial.update(dict.fromkeys(_TICKED_FOR_NEW, True))

    def add_error(self, field, error):
        """Whatever is wrong with a customer, the same helps; the errors of a UUID cannot be worded by ``Meta``."""
        super().add_error(field, _NO_CUSTOMER if field == "enterprise_customer" else error)
