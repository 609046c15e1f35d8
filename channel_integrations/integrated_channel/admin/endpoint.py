# SPDX-License-Identifier: AGPL-3.0-or-later
"""Endpoints in the admin: what is configured, and how they fare."""

from urllib.parse import urlsplit

from django.contrib import admin
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters

from channel_integrations.integrated_channel.admin import signature
from channel_integrations.integrated_channel.admin.changes import with_values
from channel_integrations.integrated_channel.admin.endpoint_fieldsets import FIELDSETS, HEALTH_FIELDS, HEALTH_FIELDSET
from channel_integrations.integrated_channel.admin.endpoint_form import EndpointForm
from channel_integrations.integrated_channel.admin.endpoint_state import notices, states
from channel_integrations.integrated_channel.admin.endpoint_views import EndpointViews
from channel_integrations.integrated_channel.admin.moments import NONE, unbroken, written
from channel_integrations.integrated_channel.admin.payload_fields import DECIDES_WHO
from channel_integrations.integrated_channel.admin.sign_in_fields import SECRETS, secret_state
from channel_integrations.integrated_channel.models import LearningTime
from channel_integrations.integrated_channel.services import final_number, held, rollout
from channel_integrations.integrated_channel.services.endpoint_gate import has_health, open_now


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


class EndpointAdmin(EndpointViews):
    """One endpoint: a customer and a region."""

    form = EndpointForm
    list_display = ("customer", "region", "host", "state", "last_success", "last_failure")
    list_display_links = ("customer", "region")
    list_filter = (StateFilter, "region", "learning_time")
    list_select_related = ("enterprise_customer", "health")
    search_fields = ("enterprise_customer__name", "=enterprise_customer__uuid", "webhook_url")
    search_help_text = _("Part of the customer's name or of the URL, or the customer's UUID.")
    ordering = ("enterprise_customer__name", "region")
    raw_id_fields = ("enterprise_customer",)
    readonly_fields = ("signed_with", *HEALTH_FIELDS)
    fieldsets = FIELDSETS

    def get_fieldsets(self, request, obj=None):
        """An endpoint that is being added signs nothing yet, and has not fared yet."""
        return (*self.fieldsets, signature.FIELDSET, HEALTH_FIELDSET) if obj else self.fieldsets

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

    @admin.display(description=_("Bearer token"))
    def bearer_token(self, endpoint):
        return secret_state(endpoint, "bearer_token")

    @admin.display(description=_("Client secret"))
    def client_secret(self, endpoint):
        return secret_state(endpoint, "client_secret")

    @admin.display(description=_("signed with"))
    def signed_with(self, endpoint):
        return signature.signed_with(endpoint)

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

    @method_decorator(sensitive_post_parameters(*SECRETS))
    def changeform_view(self, *args, **kwargs):
        """Should it fail, no report of the error has what was typed in."""
        return super().changeform_view(*args, **kwargs)

    def changelist_view(self, request, extra_context=None):
        return super().changelist_view(request, {"notices": notices, **(extra_context or {})})

    def render_change_form(self, request, context, *args, obj=None, **kwargs):
        if obj:
            webhooks = reverse("admin:channel_webhooks_webhooktransmissionqueue_changelist")
            shown = {
                "notices": notices(pk=obj.pk),
                "subtitle": f"{self.customer(obj)}, {obj.get_region_display()}",
                "may_operate": self.has_operate_permission(request),
                "webhooks_url": f"{webhooks}?endpoint={obj.pk}",
            }
            context = {**context, **shown}
        return super().render_change_form(request, context, *args, obj=obj, **kwargs)

    def save_model(self, request, obj, form, change):
        """Switched on by hand is switched on altogether, whatever the sender thought of the endpoint before."""
        super().save_model(request, obj, form, change)
        form.keep_secrets()
        if set(DECIDES_WHO) & set(form.changed_data):
            held.look_now(endpoint_id=obj.pk)
        if obj.learning_time != (form.initial.get("learning_time") or LearningTime.ROLLOUT):
            rollout.record_switch(obj, by=request.user.pk)
        if change and {"learning_time_timing", "hold_hours"} & set(form.changed_data):
            final_number.look_now(obj.enterprise_customer_id)
        if change and obj.active and "active" in form.changed_data:
            open_now(obj.pk)
            self._send_parked(request, obj)

    def construct_change_message(self, request, form, formsets, add=False):
        """With the values before and after, for the history."""
        return with_values(super().construct_change_message(request, form, formsets, add), form)

    def response_add(self, request, obj, post_url_continue=None):
        """Whichever button was pressed: nobody can see the secret later."""
        return self._key_page(request, obj, obj.signing_secrets()[0], is_new=True)
