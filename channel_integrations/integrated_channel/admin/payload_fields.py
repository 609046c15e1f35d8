# SPDX-License-Identifier: AGPL-3.0-or-later
"""The part of an endpoint's form that says what its webhooks say: format, naming, what is left out."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel.admin.nullable_choices import NullableChoices
from channel_integrations.integrated_channel.formats import FORMATS, STANDARD
from channel_integrations.integrated_channel.models import LearnerNaming, MissingIds

#: what a webhook that is held waits for may have come with a change of these
DECIDES_WHO = ("payload_format", "learner_naming", "missing_ids")

HELP_TEXTS = {
    "payload_format": _(
        "How the body of each webhook is written. By default in the standard format, which the page for partners "
        "describes. Percipio's has the ids that Percipio gave learners, and no names. A webhook keeps the "
        "format in which it was first sent."
    ),
    "learner_naming": _(
        "How webhooks say who they are about. By default by user id, username and email. The sign-on id is what the "
        "customer's identity provider calls the learner; a pseudonym is the same in all webhooks of this customer, and "
        "in no other's. Either comes alone. Agree on it with the partner, who has to find learners by it."
    ),
    "missing_ids": _(
        "What becomes of a webhook about a learner without a sign-on id, or without the ids that the format wants. By "
        "default it is held, and goes out when they have come. Null only where the partner takes it."
    ),
    "omitted_fields": _("Tick what webhooks are to do without, of what the chosen format has. By default nothing."),
}
LABELS = {
    "payload_format": _("Format"),
    "learner_naming": _("Learners are named by"),
    "missing_ids": _("Without those ids"),
    "omitted_fields": _("Leave out"),
}
NULL_MEANS = {
    "payload_format": STANDARD.name,
    "learner_naming": str(LearnerNaming.USERNAME_AND_EMAIL),
    "missing_ids": str(MissingIds.HOLD),
}


def _formats() -> list[tuple[str, Any]]:
    return [(name, each.label) for name, each in FORMATS.items()]


def _parts() -> list[tuple[Any, list[tuple[str, Any]]]]:
    """By format; asked at each request, as formats are."""
    parts = ((each.label, [(name, part.label) for name, part in each.optional.items()]) for each in FORMATS.values())
    return [(label, optional) for label, optional in parts if optional]


class PayloadFields(NullableChoices):
    """Choices of the registry of formats; which go together the model decides."""

    payload_format = forms.ChoiceField(
        choices=_formats, required=False, label=LABELS["payload_format"], help_text=HELP_TEXTS["payload_format"]
    )
    omitted_fields = forms.MultipleChoiceField(
        choices=_parts,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label=LABELS["omitted_fields"],
        help_text=HELP_TEXTS["omitted_fields"],
    )

    def clean_omitted_fields(self) -> list[str] | None:
        return self.cleaned_data["omitted_fields"] or None
