# SPDX-License-Identifier: AGPL-3.0-or-later
"""Choices that a form may leave unsaid, since their columns are nullable for the release before."""

from collections.abc import Mapping
from typing import Any

from django import forms


class NullableChoices(forms.ModelForm):
    """
    A form that does not name such a choice, such as one of the former release that is still open, changes nothing.

    What that release has left empty is shown, and kept from then on, as what NULL stands for.
    """

    #: by field, what NULL stands for
    null_means: Mapping[str, Any] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.null_means.keys() & self.fields.keys():
            self.fields[name].required = False
            self.initial[name] = self.initial.get(name) or self.null_means[name]

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        for name in self.null_means.keys() & self.fields.keys() - self.errors.keys():
            unsaid = getattr(self.instance, name) or self.null_means[name]
            self.cleaned_data[name] = self.cleaned_data.get(name) or unsaid
        return cleaned
