# SPDX-License-Identifier: AGPL-3.0-or-later
"""Learner, customer and course run, by what people call them. Each raises ValidationError with what to type instead."""

from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from enterprise.models import EnterpriseCustomer
from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import CourseKey

from channel_integrations.integrated_channel.numbers_in_text import number_of


def find_learner(text: str) -> Any:
    """By username, then email, then id: a username may be a number."""
    users = get_user_model().objects
    user = users.filter(username=text).first()
    if user is None:
        found = list(users.filter(email=text)[:2]) if text else []
        if len(found) > 1:
            raise ValidationError(_("Several accounts have this email: give the username or the user id."))
        user = found[0] if found else None
    if user is None and (user_id := number_of(text)) is not None:
        user = users.filter(pk=user_id).first()
    if user is None:
        raise ValidationError(_("There is no such learner: type a username, an email or a user id of this LMS."))
    return user


def find_customer(text: str) -> EnterpriseCustomer:
    """By UUID, then slug, then name; inactive ones too."""
    customers = EnterpriseCustomer.objects
    try:
        found = list(customers.filter(uuid=UUID(text)))
    except ValueError:
        found = list(customers.filter(slug=text)) or list(customers.filter(name=text)[:2])
    if not found:
        raise ValidationError(_("There is no such customer: type its UUID, slug or name, as in Enterprise Customers."))
    if len(found) > 1:
        raise ValidationError(_("Several customers have this name: give the UUID or the slug."))
    return found[0]


def find_course_run(text: str) -> str:
    """The key, as the LMS writes it."""
    try:
        return str(CourseKey.from_string(text))
    except InvalidKeyError as err:
        raise ValidationError(_("Type the key of a course run, such as course-v1:edX+Demo+2026.")) from err
