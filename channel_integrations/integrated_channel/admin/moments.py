# SPDX-License-Identifier: AGPL-3.0-or-later
"""Moments as these pages write them."""

from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html

#: to the second and with the time zone: it is compared with logs, ours and the partner's
FORMAT = "Y-m-d H:i:s T"
#: what the admin's lists show where there is nothing
NONE = "-"


def written(moment: datetime | None) -> str:
    """A moment in the site's time zone."""
    return date_format(timezone.localtime(moment), FORMAT) if moment else NONE


def unbroken(moment: datetime | None) -> str:
    """A moment as HTML that a narrow column breaks between date and time only."""
    if moment is None:
        return NONE
    date, _space, time = written(moment).partition(" ")
    return format_html('<span class="nowrap">{}</span> <span class="nowrap">{}</span>', date, time)
