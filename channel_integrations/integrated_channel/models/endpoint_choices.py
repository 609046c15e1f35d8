# SPDX-License-Identifier: AGPL-3.0-or-later
"""What can be chosen for an endpoint."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Region(models.TextChoices):
    """Where a learner is, as far as the choice of an endpoint is concerned."""

    US = "US", _("United States")
    EU = "EU", _("European Union")
    OTHER = "OTHER", _("Other")


class LearningTime(models.TextChoices):
    """An endpoint's own switch; the flag and the kill switch beat it."""

    ROLLOUT = "rollout", _("as the site's rollout says")
    ALWAYS = "always", _("always: for every learner, whatever the percentage")
    NEVER = "never", _("never")


class SignIn(models.TextChoices):
    """What an endpoint wants to see of us beside the signature."""

    NONE = "none", _("none: the signature alone")
    BEARER = "bearer", _("a bearer token that the partner has given out")
    OAUTH = "oauth", _("OAuth 2.0 client credentials")


class ClientAuthentication(models.TextChoices):
    """Where a token server looks for the client's id and secret (RFC 6749, 2.3.1)."""

    BASIC = "basic", _("in the Authorization header (HTTP Basic)")
    BODY = "body", _("in the form")


class MissingIds(models.TextChoices):
    """What becomes of a webhook about a learner who lacks the ids that the endpoint knows learners by."""

    HOLD = "hold", _("hold the webhook until the learner has them")
    SKIP = "skip", _("cancel the webhook")
    NULLS = "nulls", _("send it with null in their place")


class LearnerNaming(models.TextChoices):
    """How an endpoint is told who a webhook is about."""

    USERNAME_AND_EMAIL = "username_and_email", _("user id, username and email")
    SIGN_ON_ID = "sign_on_id", _("the id that the customer's identity provider signs the learner on with")
    PSEUDONYM = "pseudonym", _("a pseudonym, of this customer alone")
