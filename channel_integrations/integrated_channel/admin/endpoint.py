# SPDX-License-Identifier: AGPL-3.0-or-later
"""Endpoints in the admin: what is configured, how they fare, and the buttons for what an operator does about it."""

from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.contrib import admin, messages
from django.contrib.admin.templatetags.admin_urls import admin_urlname
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.admin.moments import NONE, unbroken, written
from channel_integrations.integrated_channel.exceptions import SecretUnreadable
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    LearningTime,
    WebhookEndpointHealth,
    WebhookSigningSecret,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.models.signing_secret import ROTATION_OVERLAP
from channel_integrations.integrated_channel.services import rollout
from channel_integrations.integrated_channel.services.endpoint_gate import has_health
from channel_integrations.integrated_channel.services.retry import Outcome, classify
from channel_integrations.integrated_channel.services.test_event import send_test_event

TEMPLATES = "admin/channel_webhooks/enterprisewebhookconfiguration"
#: what the error codes of attempts mean to an operator
ERRORS = {
    "address_refused": _("The URL, or an address behind its host, must not be called: it is not https, or not public."),
    "connection": _("The host's name was not found, the connection failed, or TLS did."),
    "timeout": _("There was no whole answer within the endpoint's timeout."),
    "internal": _("The sender itself failed; the log says how."),
}


class Notice(NamedTuple):
    """An endpoint that the sender has switched off, and what waits for it."""

    endpoint: EnterpriseWebhookConfiguration
    since: str
    reason: str
    parked: int


def notices(**only: Any) -> list[Notice]:
    """The endpoints that the sender has switched off, the latest first."""
    endpoints = list(
        EnterpriseWebhookConfiguration.objects.filter(health__disabled_at__isnull=False, **only)
        .select_related("enterprise_customer", "health")
        .order_by("-health__disabled_at")
    )
    parked = parked_for([endpoint.pk for endpoint in endpoints])
    return [
        Notice(
            endpoint,
            written(endpoint.health.disabled_at),
            endpoint.health.disabled_reason,
            parked.get(endpoint.pk, 0),
        )
        for endpoint in endpoints
    ]


def parked_for(endpoint_ids: list[int]) -> dict[int, int]:
    """How many webhooks are parked for each of these endpoints."""
    rows = WebhookTransmissionQueue.objects.filter(status=WebhookStatus.PARKED, endpoint_id__in=endpoint_ids)
    return dict(rows.order_by().values_list("endpoint_id").annotate(Count("pk")))


def states(endpoint: EnterpriseWebhookConfiguration) -> list[str]:
    """What holds an endpoint back right now, as HTML; "on" where nothing does."""
    now = timezone.now()
    held_back = []
    health = endpoint.health if has_health(endpoint) else None
    if not endpoint.active:
        held_back.append(gettext("switched off by its operator"))
    if health and health.disabled_at:
        since = unbroken(health.disabled_at)
        said = gettext("switched off by the sender since {since}: {reason}")
        held_back.append(format_html(said, since=since, reason=health.disabled_reason))
    if held_back or health is None:
        return held_back or [gettext("on")]
    if health.breaker_open_until and health.breaker_open_until > now:
        held_back.append(format_html(gettext("breaker open until {until}"), until=unbroken(health.breaker_open_until)))
    if health.paused_until and health.paused_until > now:
        held_back.append(format_html(gettext("paused until {until}"), until=unbroken(health.paused_until)))
    if not held_back and health.catching_up:
        return [gettext("on, catching up")]
    return held_back or [gettext("on")]


class StateFilter(admin.SimpleListFilter):
    """Who, if anybody, has switched the endpoint off."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request, model_admin):
        return (
            ("on", _("on")),
            ("operator", _("switched off by its operator")),
            ("sender", _("switched off by the sender")),
        )

    def queryset(self, request, queryset):
        only = {
            "on": {"active": True, "health__disabled_at__isnull": True},
            "operator": {"active": False},
            "sender": {"health__disabled_at__isnull": False},
        }
        return queryset.filter(**only.get(self.value(), {}))


class EndpointAdmin(admin.ModelAdmin):
    """One endpoint: a customer and a region."""

    list_display = ("customer", "region", "host", "state", "last_success", "last_failure")
    list_display_links = ("customer", "region")
    list_filter = (StateFilter, "region", "learning_time")
    list_select_related = ("enterprise_customer", "health")
    search_fields = ("enterprise_customer__name", "=enterprise_customer__uuid", "webhook_url")
    search_help_text = _("Part of the customer's name or of the URL, or the customer's UUID.")
    ordering = ("enterprise_customer__name", "region")
    raw_id_fields = ("enterprise_customer",)
    readonly_fields = (
        "state",
        "failures",
        "failures_in_a_row",
        "breaker",
        "pause",
        "last_success",
        "last_failure",
    )
    fieldsets = (
        (
            _("Who and where"),
            {
                "fields": ("enterprise_customer", "region", "webhook_url"),
                "description": _("One endpoint for each customer and region of its learners."),
            },
        ),
        (
            _("Switch"),
            {
                "fields": ("active",),
                "description": _("Switching it on sends what was parked, and begins with a clean slate of health."),
            },
        ),
        (
            _("Limits"),
            {
                "fields": (
                    "webhook_timeout_seconds",
                    "max_concurrent_requests",
                    "max_requests_per_minute",
                    "retry_schedule",
                ),
                "description": _("How fast webhooks are sent, and how often one is tried again."),
            },
        ),
        (
            _("TLS"),
            {"fields": ("ca_bundle",), "description": _("Leave this empty unless the partner has its own authority.")},
        ),
        (
            _("What is sent"),
            {
                "fields": ("send_from", "all_completions", "learning_time"),
                "description": _("Older completions are sent by the command backfill_webhooks alone."),
            },
        ),
    )
    health_fieldset = (
        _("How it fares"),
        {
            "fields": readonly_fields,
            "description": _("What the sender has seen. It is counted anew when the endpoint is switched on again."),
        },
    )

    def get_fieldsets(self, request, obj=None):
        """An endpoint that is being added has not fared yet."""
        return (*self.fieldsets, self.health_fieldset) if obj else self.fieldsets

    # What is shown

    @admin.display(description=_("customer"), ordering="enterprise_customer__name")
    def customer(self, endpoint):
        return endpoint.enterprise_customer.name

    @admin.display(description=_("host"), ordering="webhook_url")
    def host(self, endpoint):
        try:
            return urlsplit(endpoint.webhook_url).netloc.rpartition("@")[2]
        except ValueError:  # a row that was written past the form
            return endpoint.webhook_url

    @admin.display(description=_("state"))
    def state(self, endpoint):
        return format_html_join("; ", "{}", ((state,) for state in states(endpoint)))

    @admin.display(description=_("failures"))
    def failures(self, endpoint):
        if not (has_health(endpoint) and endpoint.health.failures):
            return gettext("none since the last success")
        return gettext("%(count)s since %(since)s") % {
            "count": endpoint.health.failures,
            "since": written(endpoint.health.failing_since),
        }

    @admin.display(description=_("failures in a row"))
    def failures_in_a_row(self, endpoint):
        return endpoint.health.failures_in_a_row if has_health(endpoint) else 0

    @admin.display(description=_("breaker open until"))
    def breaker(self, endpoint):
        return written(endpoint.health.breaker_open_until if has_health(endpoint) else None)

    @admin.display(description=_("paused until"))
    def pause(self, endpoint):
        return written(endpoint.health.paused_until if has_health(endpoint) else None)

    @admin.display(description=_("last success"), ordering="health__last_success_at")
    def last_success(self, endpoint):
        return unbroken(endpoint.health.last_success_at if has_health(endpoint) else None)

    @admin.display(description=_("last failure"), ordering="health__last_failure_at")
    def last_failure(self, endpoint):
        if not (has_health(endpoint) and endpoint.health.last_failure_at):
            return NONE
        return format_html("{}: {}", unbroken(endpoint.health.last_failure_at), endpoint.health.last_failure)

    # Django's own pages

    def changelist_view(self, request, extra_context=None):
        return super().changelist_view(request, {"notices": notices, **(extra_context or {})})

    def render_change_form(self, request, context, *args, obj=None, **kwargs):
        if obj:
            shown = {"notices": notices(pk=obj.pk), "subtitle": f"{self.customer(obj)}, {obj.get_region_display()}"}
            context = {**context, **shown}
        return super().render_change_form(request, context, *args, obj=obj, **kwargs)

    def save_model(self, request, obj, form, change):
        """Switched on by hand is switched on altogether, whatever the sender thought of the endpoint before."""
        super().save_model(request, obj, form, change)
        if obj.learning_time != (form.initial.get("learning_time") or LearningTime.ROLLOUT):
            rollout.record_switch(obj, by=request.user.pk)
        if change and obj.active and "active" in form.changed_data:
            WebhookEndpointHealth.enable(obj.pk)
            self._send_parked(request, obj)

    def response_add(self, request, obj, post_url_continue=None):
        """Whichever button was pressed: nobody can see the secret later."""
        return self._secret_page(request, obj, obj.signing_secrets()[0], is_new=True)

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
        endpoint = self._endpoint(request, object_id)
        try:
            result, problem = send_test_event(endpoint), ""
        except SecretUnreadable as err:
            result, problem = None, str(err)
        answer = result.answer if result else None
        error = result.error if result else "secret_unreadable"
        outcome = f"HTTP {answer.status}" if answer else error
        self.log_change(request, endpoint, gettext("Sent a test event: %(outcome)s.") % {"outcome": outcome})
        shown = {
            "result": result,
            "problem": problem or ERRORS.get(error, ""),
            "taken": answer is not None and classify(answer.status) is Outcome.DELIVERED,
        }
        return self._page(request, endpoint, "test_event", _("Test event"), **shown)

    def signing_secret_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask; once confirmed, replace the secret and show the new one."""
        endpoint = self._endpoint(request, object_id)
        if "confirmed" not in request.POST:
            return self._page(request, endpoint, "replace_secret", _("Replace the signing secret?"), hours=_hours())
        secret = WebhookSigningSecret.rotate(endpoint)
        self.log_change(request, endpoint, gettext("Replaced the signing secret."))
        return self._secret_page(request, endpoint, secret, is_new=False)

    def switch_on_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Undo what the sender has done."""
        endpoint = self._endpoint(request, object_id)
        if has_health(endpoint) and endpoint.health.disabled_at:
            WebhookEndpointHealth.enable(endpoint.pk)
            self.log_change(request, endpoint, gettext("Switched on again."))
            self._send_parked(request, endpoint)
        else:
            self.message_user(request, _("The sender has not switched this endpoint off."), messages.WARNING)
        return HttpResponseRedirect(self._url("change", endpoint.pk))

    def _endpoint(self, request: HttpRequest, object_id: str) -> EnterpriseWebhookConfiguration:
        endpoint = self.get_object(request, unquote(object_id))
        if not self.has_change_permission(request, endpoint):
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
        )
        self.message_user(request, said % {"count": parked}, messages.SUCCESS)
        transaction.on_commit(wake_up.delivery)

    def _secret_page(self, request: HttpRequest, endpoint, secret: str, is_new: bool) -> HttpResponse:
        title = _("The signing secret of the new endpoint") if is_new else _("The new signing secret")
        response = self._page(request, endpoint, "signing_secret", title, secret=secret, is_new=is_new, hours=_hours())
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
