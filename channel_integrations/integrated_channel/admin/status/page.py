# SPDX-License-Identifier: AGPL-3.0-or-later
"""The page itself and its button: who may see it, and who may press that."""

from typing import Any

from django.contrib import messages
from django.contrib.admin.templatetags.admin_urls import admin_urlname
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.admin.read_only import ReadOnlyAdmin
from channel_integrations.integrated_channel.admin.status import sections
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration, WebhookHeartbeat
from channel_integrations.integrated_channel.numbers_in_text import number_of
from channel_integrations.integrated_channel.permissions import may_operate, may_view
from channel_integrations.integrated_channel.services import endpoint_gate
from channel_integrations.integrated_channel.services.figures import endpoints

TEMPLATES = "admin/channel_webhooks/status"
VIEW_ENDPOINT = "channel_webhooks.view_enterprisewebhookconfiguration"
VIEW_ROLLOUT = "channel_webhooks.view_webhookrollout"
#: of an endpoint's number
MAX_DIGITS = 18
ASSETS = {
    "styles": "channel_webhooks/status.css",
    "library": "channel_webhooks/chart.js/chart-4.6.1.umd.min.js",
    "script": "channel_webhooks/status.js",
}

# The admin lists models; the page stands where the list of heartbeats would. Set here rather than in the model's Meta,
# it is the admin's word for the page and no part of the schema.
WebhookHeartbeat._meta.verbose_name_plural = _("status")


class StatusAdmin(ReadOnlyAdmin):
    """A page in place of the list of heartbeats; there is nothing to add, change or delete."""

    def get_urls(self):
        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        recover = self.admin_site.admin_view(require_POST(self.recover_view))
        return [
            path("", self.admin_site.admin_view(require_GET(self.changelist_view)), name=f"{prefix}_changelist"),
            path("recover/", recover, name=f"{prefix}_recover"),
        ]

    # Who may do what

    def has_view_permission(self, request, obj=None) -> bool:
        return may_view(request)

    # The page

    def changelist_view(self, request: HttpRequest, extra_context=None) -> HttpResponse:
        """What is so at this moment."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        shown = {
            **sections.page(),
            "assets": _assets(),
            "may_operate": may_operate(request),
            "may_view_endpoints": request.user.has_perm(VIEW_ENDPOINT),
            "may_view_rollout": request.user.has_perm(VIEW_ROLLOUT),
        }
        return self._page(request, "page", _("Status"), **shown, **(extra_context or {}))

    # The button

    def recover_view(self, request: HttpRequest) -> HttpResponse:
        """Ask; once confirmed, undo what the sender has done to an endpoint: off, breaker or pause."""
        if not (self.has_view_permission(request) and may_operate(request)):
            raise PermissionDenied
        endpoint = _endpoint(request.POST.get("endpoint", ""))
        state = endpoints.state_of(endpoint, timezone.now())
        if state not in sections.TROUBLED:
            self.message_user(request, _("The sender does not hold this endpoint back (any more)."), messages.WARNING)
            return self._back()
        is_off = state == endpoints.OFF_BY_SENDER
        if "confirmed" not in request.POST:
            title = _("Switch the endpoint on again?") if is_off else _("Try the endpoint again now?")
            return self._page(request, "recover", title, endpoint=endpoint, is_off=is_off)
        endpoint_gate.open_now(endpoint.pk)
        said = gettext("Switched on again.") if is_off else gettext("Tried again now: breaker and pause ended.")
        self.log_change(request, endpoint, said)
        transaction.on_commit(wake_up.delivery)
        self.message_user(
            request,
            _("The endpoint is on: what waits for it goes out now, also what it has not taken before."),
            messages.SUCCESS,
        )
        return self._back()

    def _back(self) -> HttpResponse:
        url = reverse(admin_urlname(self.opts, "changelist"), current_app=self.admin_site.name)
        return HttpResponseRedirect(f"{url}#endpoints")

    def _page(self, request: HttpRequest, template: str, title: Any, **context: Any) -> TemplateResponse:
        request.current_app = self.admin_site.name
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "title": title}
        return TemplateResponse(request, f"{TEMPLATES}/{template}.html", {**shared, **context})


def _endpoint(number: str) -> EnterpriseWebhookConfiguration:
    """:raises Http404: there is none of this number"""
    pk = number_of(number, MAX_DIGITS)
    if pk is None:
        raise Http404
    every = EnterpriseWebhookConfiguration.objects.select_related("enterprise_customer", "health")
    return get_object_or_404(every, pk=pk)


def _assets() -> dict[str, str]:
    """The addresses of the page's files; none where they have not been collected yet: the tables do without."""
    try:
        return {name: static(path) for name, path in ASSETS.items()}
    except ValueError:  # Django's hashing storage knows no name for them.
        return {}
