# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a form has changed, with the values before and after, as Django keeps it in the history."""

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.utils.translation import gettext, override

from channel_integrations.integrated_channel.admin.moments import written
from channel_integrations.integrated_channel.admin.sign_in_fields import SECRETS

#: too long to be read in a history, or secret
ONLY_NAMED = ("ca_bundle", *SECRETS)
#: some partners put a token into the query
URLS = ("webhook_url", "token_url")


def with_values(message: list[dict], form: forms.ModelForm) -> list[dict]:
    """
    Django's message of a change, each field with its values; an addition as it is.

    Untranslated, as all that Django keeps there: whoever reads it later may speak another language.
    """
    if not (message and "changed" in message[0]):
        return message
    with override(None):
        fields = [_described(form, name) for name in form.changed_data]
    return [{"changed": {**message[0]["changed"], "fields": fields}}, *message[1:]]


def _described(form: forms.ModelForm, name: str) -> str:
    label = str(form.fields[name].label or name)
    if name in ONLY_NAMED:
        return label
    before, after = (_in_words(form, name, value) for value in (form.initial.get(name), form.cleaned_data.get(name)))
    return f"{label} ({before} → {after})"


def _in_words(form: forms.ModelForm, name: str, value: Any) -> str:
    if value in (None, ""):
        return gettext("empty")
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, datetime):
        return written(value)
    if name in URLS:
        return _without_query(value)
    if isinstance(value, list):
        return ", ".join(value)
    choices = dict(getattr(form.fields[name], "choices", None) or {}) if name != "enterprise_customer" else {}
    return str(choices.get(value, getattr(value, "pk", value)))


def _without_query(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "…"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" + ("?…" if parts.query else "")
