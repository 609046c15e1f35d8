# SPDX-License-Identifier: AGPL-3.0-or-later
"""Webhooks in the admin: to look at, and to be sent again. Bodies and answers are personal data and stay out of it."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.templatetags.admin_urls import admin_urlname
from django.contrib.auth import get_permission_codename
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.admin.moments import NONE, unbroken, written
from channel_integrations.integrated_channel.models import (
    UNFINISHED,
    EnterpriseWebhookConfiguration,
    WebhookDeliveryAttempt,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.models.webhook import SWITCHED_OFF
from channel_integrations.integrated_channel.passes import COURSE_COMPLETION
from channel_integrations.integrated_channel.services.replay import PER_MINUTE, Selection, replay

#: webhooks that one request replays at most
MAX_REPLAYED = 10_000
#: digits of a user id at most; what is longer fits no column
MAX_DIGITS = 9
#: what could be asked about bodies by filtering for them
_KEPT_BACK = ("body", "percent_grade", "letter_grade")


class EventTypeFilter(admin.SimpleListFilter):
    """The types that there are by the code: asking the table would read the whole of it."""

    title = _("event type")
    parameter_name = "event_type"

    def lookups(self, request, model_admin):
        return ((COURSE_COMPLETION, _("course completion")),)

    def queryset(self, request, queryset):
        return queryset.filter(event_type=self.value()) if self.value() else queryset


class AttemptInline(admin.TabularInline):
    """The attempts of a webhook, for whoever may look at the webhook."""

    model = WebhookDeliveryAttempt
    fields = readonly_fields = ("number", "started", "duration_ms", "status_code", "error_code", "headers")
    ordering = ("pk",)
    extra = 0
    can_delete = False

    @admin.display(description=_("started"))
    def started(self, attempt):
        return written(attempt.started_at)

    @admin.display(description=_("headers of the answer"))
    def headers(self, attempt):
        return format_html_join("", "<div>{}: {}</div>", sorted(attempt.response_headers.items())) or NONE

    def has_view_permission(self, request, obj=None) -> bool:
        return True

    def has_add_permission(self, request, obj=None) -> bool:
        return False

    def has_change_permission(self, request, obj=None) -> bool:
        return False


class WebhookAdmin(admin.ModelAdmin):
    """Webhooks, read only; what has come to its end can be sent again."""

    list_display = (
        "webhook_id",
        "outcome",
        "endpoint",
        "user_id",
        "course",
        "attempts",
        "due",
        "made",
        "customer",
    )
    list_filter = ("status", EventTypeFilter, "backfilled")
    list_per_page = 50
    ordering = ("-pk",)
    sortable_by = ()
    search_fields = ("=user_id", "=webhook_id", "=course_id", "=enterprise_customer_uuid")
    search_help_text = _("A user id, a webhook id, a course id or a customer's UUID, each in full.")
    show_full_result_count = False
    actions = ("replay_selected",)
    inlines = (AttemptInline,)
    readonly_fields = ("endpoint", "due", "made", "passed", "delivered", "purged")
    fieldsets = (
        (
            None,
            {"fields": ("webhook_id", "status", "reason", "endpoint", "region", "due", "made", "delivered", "purged")},
        ),
        (
            _("What it is about"),
            {
                "fields": (
                    "event_type",
                    "enterprise_customer_uuid",
                    "user_id",
                    "course_id",
                    "passed",
                    "backfilled",
                    "learning_time",
                    "learning_time_status",
                ),
            },
        ),
        (_("Attempts"), {"fields": ("attempts_made", "tries")}),
    )

    # What is shown

    @admin.display(description=_("status"))
    def outcome(self, webhook):
        label = webhook.get_status_display()
        return f"{label}: {webhook.reason}" if webhook.reason not in ("", SWITCHED_OFF) else label

    @admin.display(description=_("customer"))
    def customer(self, webhook):
        return webhook.enterprise_customer_uuid

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

    @admin.display(description=_("attempts"))
    def attempts(self, webhook):
        return webhook.attempts_made

    @admin.display(description=_("due"))
    def due(self, webhook):
        return unbroken(webhook.due_at if webhook.status in UNFINISHED else None)

    @admin.display(description=_("created"))
    def made(self, webhook):
        return unbroken(webhook.created)

    @admin.display(description=_("passed"))
    def passed(self, webhook):
        return written(webhook.occurred_at)

    @admin.display(description=_("delivered"))
    def delivered(self, webhook):
        return written(webhook.delivered_at)

    @admin.display(description=_("personal data removed"))
    def purged(self, webhook):
        return written(webhook.purged_at)

    # Who may do what, and what may be asked

    def has_add_permission(self, request) -> bool:
        return False

    def has_change_permission(self, request, obj=None) -> bool:
        """Nobody edits a webhook; Django's permission for it is the one to replay."""
        return False

    def has_delete_permission(self, request, obj=None) -> bool:
        return False

    def has_replay_permission(self, request) -> bool:
        return request.user.has_perm(f"{self.opts.app_label}.{get_permission_codename('change', self.opts)}")

    def lookup_allowed(self, lookup, *args) -> bool:
        """What is not shown cannot be guessed at in the address either."""
        return lookup.partition("__")[0] not in _KEPT_BACK and super().lookup_allowed(lookup, *args)

    def get_search_results(self, request, queryset, search_term):
        """All the words must fit, each one id; by index for all but course ids."""
        for word in search_term.split():
            queryset = queryset.filter(_with_id(word))
        return queryset, False

    # Replays

    def get_urls(self):
        view = self.admin_site.admin_view(require_POST(self.replay_view))
        return [path("replay/", view, name=f"{self.opts.app_label}_{self.opts.model_name}_replay"), *super().get_urls()]

    @admin.action(description=_("Replay selected webhooks"), permissions=["replay"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        """The dry run: what would be sent again, and what cannot be."""
        # One more than may be, to see whether there are more.
        selected = list(queryset.order_by("-pk").values_list("webhook_id", "status", "purged_at")[: MAX_REPLAYED + 1])
        if len(selected) > MAX_REPLAYED:
            said = _(
                "These are more than %(most)s webhooks, the most that can be replayed here at once. Nothing was done. "
                "Select fewer, or use the command: manage.py replay_webhooks --endpoint ID --since TIME --dry-run"
            )
            self.message_user(request, said % {"most": MAX_REPLAYED}, messages.ERROR)
            return None
        rows = _replayable([webhook_id for webhook_id, _status, _purged_at in selected])
        replayable = dict(rows.values_list("webhook_id", "status"))
        left = [entry for entry in selected if entry[0] not in replayable]
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Replay webhooks?"),
            "replay_url": self._url("replay", request),
            "changelist_url": self._url("changelist", request),
            "webhook_ids": ",".join(webhook_id.hex for webhook_id in replayable),
            "count": len(replayable),
            "by_status": _counted(WebhookStatus(status).label for status in replayable.values()),
            "left_count": len(left),
            "left_by_reason": _counted(_why_not(status, purged_at) for _webhook_id, status, purged_at in left),
            "per_minute": PER_MINUTE,
            "minutes": -(-len(replayable) // PER_MINUTE),
        }
        template = "admin/channel_webhooks/webhooktransmissionqueue/replay_confirmation.html"
        return TemplateResponse(request, template, context)

    @transaction.non_atomic_requests  # Row by row, as the command does: ten thousand rows are not locked at once.
    def replay_view(self, request: HttpRequest) -> HttpResponse:
        """Send again what the dry run has shown, as far as it can still be replayed."""
        if not self.has_replay_permission(request):
            raise PermissionDenied
        try:
            webhook_ids = [UUID(hex=text) for text in request.POST.get("webhooks", "").split(",")]
        except ValueError:
            return HttpResponseBadRequest(gettext("This is no list of webhook ids."))
        if len(webhook_ids) > MAX_REPLAYED:
            return HttpResponseBadRequest(gettext("These are too many webhooks."))
        self._log_replay(request, _replayable(webhook_ids))
        replayed = replay(Selection(webhook_ids=webhook_ids))
        transaction.on_commit(wake_up.delivery)
        said = ngettext(
            "%(count)s webhook is being replayed.",
            "%(count)s webhooks are being replayed, %(per_minute)s a minute.",
            replayed,
        )
        self.message_user(request, said % {"count": replayed, "per_minute": PER_MINUTE}, messages.SUCCESS)
        return HttpResponseRedirect(self._url("changelist", request))

    def _log_replay(self, request: HttpRequest, rows: QuerySet) -> None:
        """An entry in the history of each; beforehand, since a replay of thousands may be cut short."""
        content_type = ContentType.objects.get_for_model(self.model)
        entries = [
            LogEntry(
                user_id=request.user.pk,
                content_type_id=content_type.pk,
                object_id=str(pk),
                object_repr=str(webhook_id),
                action_flag=CHANGE,
                change_message=gettext("Replayed."),
            )
            for pk, webhook_id in rows.values_list("pk", "webhook_id")
        ]
        LogEntry.objects.bulk_create(entries, batch_size=500)

    def _url(self, page: str, request: HttpRequest) -> str:
        """A page of this model, with the list's search and filters."""
        url = reverse(admin_urlname(self.opts, page), current_app=self.admin_site.name)
        return f"{url}?{request.GET.urlencode()}" if request.GET else url


def _replayable(webhook_ids: Sequence[UUID]) -> "QuerySet[WebhookTransmissionQueue]":
    """Those of these that can be replayed. A selection without ids would be that of all webhooks."""
    return Selection(webhook_ids=webhook_ids).rows() if webhook_ids else WebhookTransmissionQueue.objects.none()


def _why_not(status: str, purged_at: Any) -> Any:
    if purged_at:
        return _("purged: nothing is left to send")
    if status == WebhookStatus.PARKED:
        return _("parked: they go out when their endpoint is switched on")
    return _("unfinished: they are still on their way")


def _counted(texts: Any) -> list[tuple[str, int]]:
    return Counter(map(str, texts)).most_common()


def _with_id(word: str) -> Q:
    if word.isascii() and word.isdigit() and len(word) <= MAX_DIGITS:
        return Q(user_id=int(word))
    try:
        uuid = UUID(word)
    except ValueError:
        return Q(course_id=word)
    return Q(webhook_id=uuid) | Q(enterprise_customer_uuid=uuid)
