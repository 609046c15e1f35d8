# SPDX-License-Identifier: AGPL-3.0-or-later
"""The numbers of the charts. Each chart has them in a table, too; the colours are the style sheet's."""

from typing import Any

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext

from channel_integrations.integrated_channel.models import FINISHED, WebhookStatus


def charts(sections: dict[str, Any]) -> dict[str, Any]:
    """By the id of the canvas; those that have nothing to show are left out."""
    drawn = {"outcomes-chart": _outcomes(sections["outcomes"]), "latency-chart": _latency(sections["latency"])}
    return {name: chart for name, chart in drawn.items() if chart}


def _outcomes(outcomes: dict[str, Any]) -> dict[str, Any] | None:
    """Webhooks by the hour in which they came to their end, one upon the other."""
    hours = outcomes["hours"]
    if not any(sum(hour[1:]) for hour in hours):
        return None
    return {
        "labels": [date_format(timezone.localtime(hour.start), "TIME_FORMAT") for hour in hours],
        "series": [
            {
                "label": str(WebhookStatus(status).label),
                "color": str(status),
                "values": [getattr(hour, str(status)) for hour in hours],
            }
            for status in FINISHED
        ],
        "stacked": True,
        "whole": True,
        "unit": gettext("webhooks"),
    }


def _latency(latency: dict[str, Any]) -> dict[str, Any] | None:
    """Seconds, the median beside the 95th percentile."""
    parts = [part for part in latency["parts"] if part["values"]]
    if not parts:
        return None
    return {
        "labels": [part["short"] for part in parts],
        "series": [
            {"label": name, "color": name, "values": [round(getattr(part["values"], name), 3) for part in parts]}
            for name in ("p50", "p95")
        ],
        "horizontal": True,
        "unit": gettext("seconds"),
    }
