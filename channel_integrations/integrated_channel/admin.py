# SPDX-License-Identifier: AGPL-3.0-or-later
"""Django admin: endpoints, and webhooks to look at. Bodies are personal data and are not shown."""

from django.contrib import admin

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookDeliveryAttempt,
    WebhookTransmissionQueue,
)


@admin.register(EnterpriseWebhookConfiguration)
class EndpointAdmin(admin.ModelAdmin):
    """One endpoint: a customer and a region."""

    list_display = ("enterprise_customer", "region", "webhook_url", "active", "send_from")
    list_filter = ("active", "region")
    raw_id_fields = ("enterprise_customer",)
    list_select_related = ("enterprise_customer",)


class AttemptInline(admin.TabularInline):
    """The attempts of a webhook."""

    model = WebhookDeliveryAttempt
    fields = readonly_fields = ("number", "started_at", "duration_ms", "status_code", "error_code")
    extra = 0
    can_delete = False

    def has_add_permission(self, request, obj=None) -> bool:
        return False


@admin.register(WebhookTransmissionQueue)
class WebhookAdmin(admin.ModelAdmin):
    """Webhooks, read only."""

    list_display = (
        "webhook_id",
        "status",
        "reason",
        "user_id",
        "course_id",
        "learning_time",
        "attempts_made",
        "created",
    )
    list_filter = ("status",)
    search_fields = ("=user_id", "=webhook_id")
    show_full_result_count = False
    exclude = ("body", "lease_token")
    inlines = (AttemptInline,)

    def has_add_permission(self, request) -> bool:
        return False

    def has_change_permission(self, request, obj=None) -> bool:
        return False

    def has_delete_permission(self, request, obj=None) -> bool:
        return False
