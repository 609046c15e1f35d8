# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a monitoring system asks for."""

from django.db import Error, transaction
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.metrics.collector import scrape
from channel_integrations.integrated_channel.metrics.text_format import CONTENT_TYPE
from channel_integrations.integrated_channel.permissions import may_view

lines = LogLines(__name__)

REFUSED = "Send the token of CHANNEL_WEBHOOKS_METRICS_TOKEN, or sign in with the permission to view webhooks.\n"


@require_GET
@never_cache
@transaction.non_atomic_requests
def metrics(request: HttpRequest) -> HttpResponse:
    """The figures in Prometheus' text format, for who brings the token, or may look at webhooks in the admin."""
    if not _may_scrape(request):
        return HttpResponse(REFUSED, status=403, content_type="text/plain")
    try:
        return HttpResponse(scrape(), content_type=CONTENT_TYPE)
    except Error as err:
        lines.failure("webhook_metrics", err)
        return HttpResponse("The database cannot be asked.\n", status=503, content_type="text/plain")


def _may_scrape(request: HttpRequest) -> bool:
    """A request with a token is judged by it alone: no session is read for it."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        token = conf.metrics_token()
        if token is None:
            lines.warning("webhook_metrics", "refused", "CHANNEL_WEBHOOKS_METRICS_TOKEN, or its file, cannot be used")
        return token is not None and constant_time_compare(given.strip(), token)
    return may_view(request)
