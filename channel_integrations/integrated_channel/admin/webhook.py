# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Webhooks in the admin: a list, and a page for each; nobody edits one.

Ids are shown to whoever may view webhooks. What webhooks say, and what endpoints answered, is on a page of its own.
"""

import re
from typing import Any

from django.contrib import admin
from django.contrib.admin.templatetags.admin_urls import admin_urlname
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from enterprise.models import EnterpriseCustomer

from channel_integrations.integrated_channel.admin import webhook_filters
from channel_integrations.integrated_channel.admin.moments import NONE, unbroken, written
from channel_integrations.integrated_channel.admin.operations import CANCELLATION, REPLAY
from channel_integrations.integrated_channel.admin.read_only import CappedReadOnlyAdmin
from channel_integrations.integrated_channel.admin.timeline import lookup, timeline
from channel_integrations.integrated_channel.admin.webhook_queries import search
from channel_integrations.integrated_channel.admin.webhook_views import WebhookViews
from channel_integrations.integrated_channel.enrollments import COURSE_ENROLLMENT
from channel_integrations.integrated_channel.erasures import LEARNER_ERASED
from channel_integrations.integrated_channel.models import (
    HELD,
    UNFINISHED,
    EnterpriseWebhookConfiguration,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.models.webhook import SWITCHED_OFF
from channel_integrations.integrated_channel.passes import COURSE_COMPLETION, COURSE_COMPLETION_REVISED
from channel_integrations.integrated_channel.services.whereabouts import whereabouts

EVENTS = {
    COURSE_COMPLETION: _("completion"),
    COURSE_COMPLETION_REVISED: _("revision"),
    COURSE_ENROLLMENT: _("enrolment"),
    LEARNER_ERASED: _("erasure"),
}


class WebhookAdmin(WebhookViews, CappedReadOnlyAdmin):
    """Webhooks, read only; what can be done to them is in ``operations``."""

    list_display = (
        "webhook_id",
        "event",
        "outcome",
        "customer",
        "endpoint",
        "user_id",
        "course",
        "attempts",
        "due",
        "made",
    )
    list_filter = webhook_filters.FILTERS
    ordering = ("-pk",)
    search_fields = ("=user_id", "=webhook_id", "=course_id", "=enterprise_customer_uuid")
    search_help_text = _("A user id, a webhook id, a course id or a customer's UUID, each in full.")
    actions = ("replay_selected", "cancel_selected")
    readonly_fields = (
        "state",
        "customer_link",
        "endpoint_link",
        "course",
        "passed",
        "lookup",
        "due",
        "completion_link",
        "revision_link",
    )
    fieldsets = (
        (
            _("What it is about"),
            {"fields": ("event_type", "customer_link", "user_id", "course", "passed", "backfilled")},
        ),
        (
            _("How far it has come"),
            {"fields": ("state", "endpoint_link", "region", "lookup", "due", "attempts_made", "tries")},
        ),
    )

    def get_fieldsets(self, request, obj=None):
        """A revision names its completion, and a completion its revision."""
        about, progress = super().get_fieldsets(request, obj)
        if obj and obj.revises:
            about = (about[0], {"fields": (*about[1]["fields"], "completion_link")})
        elif obj and obj.revision:
            about = (about[0], {"fields": (*about[1]["fields"], "revision_link")})
        return about, progress

    # What is shown

    @admin.display(description=_("event"))
    def event(self, webhook):
        return EVENTS.get(webhook.event_type, webhook.event_type)

    @admin.display(description=_("revises"))
    def completion_link(self, webhook):
        completion = WebhookTransmissionQueue.objects.filter(webhook_id=webhook.revises).first()
        return _link_to(completion) if completion else webhook.revises

    @admin.display(description=_("revised by"))
    def revision_link(self, webhook):
        revision = webhook.revision
        return format_html("{}: {}", _link_to(revision), self.outcome(revision)) if revision else NONE

    @admin.display(description=_("status"))
    def outcome(self, webhook):
        label = webhook.get_status_display()
        return f"{label}: {webhook.reason}" if webhook.reason not in ("", SWITCHED_OFF) else label

    @admin.display(description=_("status"))
    def state(self, webhook):
        return format_html("{} (<code>{}</code>)", self.outcome(webhook), webhook.status)

    @admin.display(description=_("customer"))
    def customer(self, webhook):
        return webhook.customer_name or webhook.enterprise_customer_uuid

    @admin.display(description=_("customer"))
    def customer_link(self, webhook):
        uuid, name = webhook.enterprise_customer_uuid, webhook.customer_name
        url = _url_or_none("admin:enterprise_enterprisecustomer_change", uuid) if name else None
        if url:
            return format_html('<a href="{}">{}</a> {}', url, name, uuid)
        return f"{name} {uuid}" if name else uuid

    @admin.display(description=_("course id"))
    def course(self, webhook):
        """A long word, which may be broken where its parts end."""
        return format_html_join("", "{}<wbr>", ((part,) for part in re.split(r"(?<=[+:_])", webhook.course_id)))

    @admin.display(description=_("endpoint"))
    def endpoint(self, webhook):
        if webhook.endpoint_id is None:
            return NONE
        url = reverse(admin_urlname(EnterpriseWebhookConfiguration._meta, "change"), args=[webhook.endpoint_id])
        return format_html('<a href="{}">{}</a>', url, webhook.endpoint_id)

    @admin.display(description=_("endpoint"))
    def endpoint_link(self, webhook):
        endpoints = EnterpriseWebhookConfiguration.objects.select_related("enterprise_customer")
        endpoint = endpoints.filter(pk=webhook.endpoint_id).first() if webhook.endpoint_id else None
        if endpoint is None:
            return webhook.endpoint_id or NONE
        return format_html(
            "{}: {}, {}", self.endpoint(webhook), endpoint.enterprise_customer.name, endpoint.get_region_display()
        )

    @admin.display(description=_("attempts"))
    def attempts(self, webhook):
        return webhook.attempts_made

    @admin.display(description=_("learning time"))
    def lookup(self, webhook):
        return lookup(webhook)

    @admin.display(description=_("due"))
    def due(self, webhook):
        return unbroken(webhook.due_at if webhook.status in (*UNFINISHED, *HELD) else None)

    @admin.display(description=_("created"))
    def made(self, webhook):
        return unbroken(webhook.created)

    @admin.display(description=_("passed, enrolled or retired"))
    def passed(self, webhook):
        return written(webhook.occurred_at)

    # What may be asked

    def narrowed_by(self, request: HttpRequest, queryset: QuerySet, word: str) -> QuerySet:
        return search(queryset, request, word)

    def get_queryset(self, request):
        customers = EnterpriseCustomer.objects.filter(pk=OuterRef("enterprise_customer_uuid"))
        named = super().get_queryset(request).annotate(customer_name=Subquery(customers.values("name")))
        return named.defer("body")

    # Django's own pages

    def changelist_view(self, request, extra_context=None):
        own = {"may_find_learners": self.has_personal_data_permission(request), "query": request.GET.urlencode()}
        return super().changelist_view(request, {**own, **(extra_context or {})})

    def render_change_form(self, request, context, *args, obj=None, **kwargs):
        if obj:
            context = {**context, **self._story(request, obj)}
        return super().render_change_form(request, context, *args, obj=obj, **kwargs)

    def _story(self, request: HttpRequest, webhook: WebhookTransmissionQueue) -> dict[str, Any]:
        """Where it stands, what has happened, and what may be done."""
        operates = self.has_operate_permission(request)
        return {
            "title": _("Webhook"),
            "where": whereabouts(webhook).in_words(written),
            "timeline": timeline(webhook),
            "can_be_replayed": operates and REPLAY.is_for(webhook),
            "can_be_cancelled": operates and CANCELLATION.is_for(webhook),
            "may_see_payload": self.has_personal_data_permission(request),
            "why_url": self._why_url(webhook),
        }

    @staticmethod
    def _why_url(webhook: WebhookTransmissionQueue) -> str | None:
        """The page that walks every condition of a completion, where there is one and a learner to ask about."""
        if webhook.event_type != COURSE_COMPLETION:
            return None
        url = _url_or_none("admin:channel_webhooks_webhooksuppression_explain")
        return f"{url}?webhook={webhook.pk}" if url and webhook.user_id else None


def _link_to(webhook: WebhookTransmissionQueue) -> str:
    url = reverse(admin_urlname(WebhookTransmissionQueue._meta, "change"), args=[webhook.pk])
    return format_html('<a href="{}">{}</a>', url, webhook.webhook_id)


def _url_or_none(name: str, *args: Any) -> str | None:
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return None
