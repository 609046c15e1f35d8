# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an attempt without an answer means to an operator."""

from django.utils.translation import gettext_lazy as _

#: by the code of the error
ERRORS = {
    "address_refused": _("The URL, or an address behind its host, must not be called: it is not https, or not public."),
    "connection": _("The host's name was not found, the connection failed, or TLS did."),
    "timeout": _("There was no whole answer within the endpoint's timeout."),
    "sign_in": _("No access token was to be had from the token server; the webhook was not sent."),
    "internal": _("The sender itself failed; the log says how."),
}
