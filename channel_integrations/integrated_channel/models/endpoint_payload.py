# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an endpoint's webhooks say: their format, how they name learners, what they leave out."""

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel.formats import FORMATS, STANDARD, PayloadFormat, format_of, known_format_of
from channel_integrations.integrated_channel.models.endpoint_choices import LearnerNaming, MissingIds


class PayloadChoices(models.Model):
    """
    The part of an endpoint that says how its webhooks are written.

    All of it is nullable for the previous release's code, which inserts endpoints without it; NULL is the default.
    """

    # Without choices: those are the registry's, and a further format is not to be a migration.
    payload_format = models.CharField(  # noqa: DJ001  (as above)
        max_length=40, default=STANDARD.name, null=True, help_text=_("How the body of each webhook is written.")
    )
    learner_naming = models.CharField(  # noqa: DJ001
        max_length=20,
        choices=LearnerNaming.choices,
        default=LearnerNaming.USERNAME_AND_EMAIL,
        null=True,
        help_text=_("How webhooks say who they are about."),
    )
    missing_ids = models.CharField(  # noqa: DJ001
        max_length=10,
        choices=MissingIds.choices,
        default=MissingIds.HOLD,
        null=True,
        help_text=_("What becomes of a webhook about a learner without the ids that the endpoint is to know."),
    )
    omitted_fields = models.JSONField(
        null=True, blank=True, help_text=_("Names of the format's optional parts that are left out.")
    )

    class Meta:
        abstract = True

    @property
    def naming(self) -> str:
        """How webhooks name learners; NULL is the default."""
        return self.learner_naming or str(LearnerNaming.USERNAME_AND_EMAIL)

    @property
    def omitted(self) -> frozenset[str]:
        """The names of what is left out, also where a row was written past the form."""
        written = self.omitted_fields if isinstance(self.omitted_fields, list) else []
        return frozenset(each for each in written if isinstance(each, str))

    @property
    def omits_learning_time(self) -> bool:
        """Whether the number is left out, so that there is nothing to wait for."""
        parts = format_of(self).optional
        return any(parts[name].is_learning_time for name in self.omitted & parts.keys())

    def payload_errors(self) -> dict[str, Any]:
        """What is wrong with these choices, by field."""
        chosen = known_format_of(self)
        if chosen is None:
            names = ", ".join(FORMATS)
            return {"payload_format": _("There is no such format: choose one of %(names)s.") % {"names": names}}
        errors = {**self._naming_errors(chosen)}
        given = self.omitted_fields or []
        if not isinstance(given, list) or len(given) != len(self.omitted) or self.omitted - chosen.optional.keys():
            names = ", ".join(str(part.label) for part in chosen.optional.values()) or "–"
            told = _("The format can leave out these alone: %(names)s.") % {"names": names}
            errors["omitted_fields"] = told
        return errors

    def _naming_errors(self, chosen: PayloadFormat) -> dict[str, Any]:
        if chosen.learner_ids and self.naming != LearnerNaming.USERNAME_AND_EMAIL:
            told = _("This format names learners by ids of its own: leave this at “%(label)s”.")
            return {"learner_naming": told % {"label": LearnerNaming(LearnerNaming.USERNAME_AND_EMAIL).label}}
        return {}
