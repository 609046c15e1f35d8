# SPDX-License-Identifier: AGPL-3.0-or-later
"""The buttons on an endpoint's page: all by POST."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.templatetags.admin_urls import admin_urlname
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.admin.attempt_errors import ERRORS
from channel_integrations.integrated_channel.admin.endpoint_state import parked_for
from channel_integrations.integrated_channel.exceptions import SecretUnreadable
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookSigningSecret,
)
from channel_integrations.integrated_channel.models.signing_secret import ROTATION_OVERLAP
from channel_integrations.integrated_channel.permissions import may_operate
from channel_integrations.integrated_channel.services.endpoint_gate import has_health, open_now
from channel_integrations.integrated_channel.services.retry import Outcome, classify
from channel_integrations.integrated_channel.services.test_event import send_test_event
from channel_integrations.integrated_channel.signing import PUBLIC_PREFIX, Kind

TEMPLATES = "admin/channel_webhooks/enterprisewebhookconfiguration"


class EndpointViews(admin.ModelAdmin):
    """The part of ``EndpointAdmin`` that answers these."""

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Of whoever may view endpoints."""
        return self.has_view_permission(request, obj) and may_operate(request)

    # The buttons

    def get_urls(self):
        actions = (
            ("test-event", "test_event", self.test_event_view),
            ("signing-secret", "signing_secret", self.signing_secret_view),
            ("switch-on", "switch_on", self.switch_on_view),
        )
        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            *(
                path(
                    f"<path:object_id>/{where}/",
                    self.admin_site.admin_view(require_POST(view)),
                    name=f"{prefix}_{name}",
                )
                for where, name, view in actions
            ),
            *super().get_urls(),
        ]

    @transaction.non_atomic_requests  # The answer may take a minute; no transaction stays open for so long.
    def test_event_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send a test event and show what came of it."""
        endpoint = self._endpoint(request, object_id, self.has_operate_permission)
        try:
            result, problem = send_test_event(endpoint), ""
        except SecretUnreadable as err:
            result, problem = None, str(err)
        answer = result.answer if result else None
        error = result.error if result else "secret_unreadable"
        outcome = f"HTTP {answer.status}" if answer else (result.error_told if result else error)
        self.log_change(request, endpoint, gettext("Sent a test event: %(outcome)s.") % {"outcome": outcome})
        shown = {
            "result": result,
            "problem": problem or ERRORS.get(error, ""),
            "taken": answer is not None and classify(answer.status) is Outcome.DELIVERED,
        }
        return self._page(request, endpoint, "test_event", _("Test event"), **shown)

    def signing_secret_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask; once confirmed, replace the secret and show what the partner verifies with."""
        endpoint = self._endpoint(request, object_id, self.has_change_permission)
        try:
            current = WebhookSigningSecret.kind_of(endpoint)
        except SecretUnreadable:
            current = None  # What the partner has is for whoever is asked.
        kind = next((kind for kind in Kind if kind == request.POST.get("kind")), current)
        if "confirmed" not in request.POST or kind is None:
            shown = {"hours": _hours(), "kinds": list(Kind), "current": current}
            return self._page(request, endpoint, "replace_secret", _("Replace the signing secret?"), **shown)
        key = WebhookSigningSecret.rotate(endpoint, kind)
        self.log_change(request, endpoint, gettext("Replaced the signing secret (%(kind)s).") % {"kind": kind})
        return self._key_page(request, endpoint, key)

    def switch_on_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Undo what the sender has done."""
        endpoint = self._endpoint(request, object_id, self.has_operate_permission)
        if has_health(endpoint) and endpoint.health.disabled_at:
            open_now(endpoint.pk)
            self.log_change(request, endpoint, gettext("Switched on again."))
            self._send_parked(request, endpoint)
        else:
            self.message_user(request, _("The sender has not switched this endpoint off."), messages.WARNING)
        return HttpResponseRedirect(self._url("change", endpoint.pk))

    def _endpoint(
        self, request: HttpRequest, object_id: str, permitted: Callable[..., bool]
    ) -> EnterpriseWebhookConfiguration:
        endpoint = self.get_object(request, unquote(object_id))
        if not permitted(request, endpoint):
            raise PermissionDenied
        if endpoint is None:
            raise Http404
        return endpoint

    def _send_parked(self, request: HttpRequest, endpoint: EnterpriseWebhookConfiguration) -> None:
        if not endpoint.active:
            said = _("The sender no longer holds this endpoint back, but it is off here: tick Active and save.")
            self.message_user(request, said, messages.WARNING)
            return
        parked = parked_for([endpoint.pk]).get(endpoint.pk, 0)
        said = ngettext(
            "The endpoint is on. %(count)s parked webhook goes out now.",
            "The endpoint is on. %(count)s parked webhooks go out now, one at a time, in order.",
            parked,
        ) % {"count": parked}
        self.message_user(request, said if parked else _("The endpoint is on. Nothing was parked."), messages.SUCCESS)
        transaction.on_commit(wake_up.delivery)

    def _key_page(self, request: HttpRequest, endpoint, key: str, is_new: bool = False) -> HttpResponse:
        """What the partner verifies with: a secret, or a public key."""
        is_public = key.startswith(PUBLIC_PREFIX)
        title = _("The new public key") if is_public else _("The new signing secret")
        if is_new:
            title = _("The signing secret of the new endpoint")
        has_former = WebhookSigningSecret.has_former(endpoint)
        shown = {"key": key, "is_public": is_public, "is_new": is_new, "has_former": has_former, "hours": _hours()}
        response = self._page(request, endpoint, "signing_secret", title, **shown)
        response["Cache-Control"] = "no-store"
        return response

    def _url(self, page: str, *args: Any) -> str:
        return reverse(admin_urlname(self.opts, page), args=args, current_app=self.admin_site.name)

    def _page(self, request: HttpRequest, endpoint, template: str, title, **context) -> TemplateResponse:
        request.current_app = self.admin_site.name
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "endpoint": endpoint, "title": title}
        return TemplateResponse(request, f"{TEMPLATES}/{template}.html", {**shared, **context})


def _hours() -> int:
    return round(ROTATION_OVERLAP.total_seconds() / 3600)
