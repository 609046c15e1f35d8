# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The register of disclosures: who was told what about whom, and whether they were told to erase it. Read only.

It can be exported by whoever may see personal data; each export is in Django's admin history, by what was asked for.
"""

from collections import defaultdict
from collections.abc import Callable

from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.urls import path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST
from enterprise.models import EnterpriseCustomer

from channel_integrations.integrated_channel.admin.moments import NONE, unbroken
from channel_integrations.integrated_channel.admin.read_only import LearnerListAdmin
from channel_integrations.integrated_channel.models import Erasure, WebhookDisclosure
from channel_integrations.integrated_channel.permissions import may_see_personal_data
from channel_integrations.integrated_channel.services.disclosure_export import as_csv, as_json, facts_of

#: by the name of each format: what writes it, and its media type
EXPORTS: dict[str, tuple[Callable, str]] = {
    "csv": (as_csv, "text/csv; charset=utf-8"),
    "json": (as_json, "application/json"),
}


class ErasureFilter(admin.SimpleListFilter):
    """How far partners have been told to erase what they were told."""

    title = _("erasure")
    parameter_name = "erasure"

    def lookups(self, request, model_admin):
        return Erasure.choices

    def queryset(self, request, queryset):
        if not self.value():
            return queryset
        return queryset.filter(erasure=self.value()) if self.value() in Erasure.values else queryset.none()


class DisclosureAdmin(LearnerListAdmin):
    """Disclosures, read only; whose they are for whoever may see personal data."""

    list_display = ("told", "user_id", "customer", "endpoint", "erased", "basis", "what")
    list_filter = (ErasureFilter,)
    ordering = ("-pk",)
    search_fields = ("=user_id", "=enterprise_customer_uuid")
    search_help_text = _("A user id or a customer's UUID, in full.")

    # What is shown

    @admin.display(description=_("last told"))
    def told(self, disclosure):
        times = f" × {disclosure.times}" if disclosure.times > 1 else ""
        return format_html("{}{}", unbroken(disclosure.last_at), times)

    @admin.display(description=_("customer"))
    def customer(self, disclosure):
        return disclosure.customer_name or disclosure.enterprise_customer_uuid

    @admin.display(description=_("endpoint"))
    def endpoint(self, disclosure):
        return f"{disclosure.endpoint_id}: {disclosure.host or NONE}"

    @admin.display(description=_("what"))
    def what(self, disclosure):
        """The event, and the names of its fields by the object that they are in."""
        by_object = defaultdict(list)
        for name in disclosure.data:
            holder, _dot, field = name.rpartition(".")
            by_object[holder].append(field)
        told = (
            f"{holder}: {', '.join(fields)}" if holder else ", ".join(fields) for holder, fields in by_object.items()
        )
        return f"{disclosure.event_type} ({'; '.join(told)})"

    @admin.display(description=_("erasure"))
    def erased(self, disclosure):
        if not disclosure.erasure:
            return NONE
        label = disclosure.get_erasure_display()
        return f"{label}: {disclosure.erasure_webhook_id}" if disclosure.erasure_webhook_id else label

    # Django's own pages

    def get_queryset(self, request):
        """With customers' names, and without what would have to be decrypted and is not shown."""
        customers = EnterpriseCustomer.objects.filter(pk=OuterRef("enterprise_customer_uuid"))
        named = super().get_queryset(request).annotate(customer_name=Subquery(customers.values("name")))
        return named.defer("identifier")

    def changelist_view(self, request, extra_context=None):
        shown = {
            "title": _("Register of disclosures"),
            "may_export": may_see_personal_data(request),
            "query": request.GET.urlencode(),
        }
        return super().changelist_view(request, {**shown, **(extra_context or {})})

    # The export

    def get_urls(self):
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        view = self.admin_site.admin_view(require_POST(self.export_view))
        return [path("export/", view, name=name), *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """What the list shows, all of it; who has asked for what is written down first."""
        if not (self.has_view_permission(request) and may_see_personal_data(request)):
            raise PermissionDenied
        kind = request.POST.get("format", "")
        write, media_type = EXPORTS.get(kind, EXPORTS["csv"])
        asked_for = self.get_changelist_instance(request).get_queryset(request)
        self._log_export(request, "json" if kind == "json" else "csv")
        # By primary key, oldest first; the list's own queryset is deferred and ordered otherwise.
        disclosures = WebhookDisclosure.objects.filter(pk__in=asked_for.order_by().values("pk"))
        response = StreamingHttpResponse(write(facts_of(disclosures)), content_type=media_type)
        stamp = timezone.now().strftime("%Y-%m-%d")
        suffix = "json" if write is as_json else "csv"
        response["Content-Disposition"] = f'attachment; filename="disclosures-{stamp}.{suffix}"'
        response["Cache-Control"] = "no-store"
        return response

    def _log_export(self, request: HttpRequest, kind: str) -> None:
        said = gettext("Exported the register of disclosures as %(format)s. Asked for: %(query)s")
        LogEntry.objects.create(
            user_id=request.user.pk,
            content_type=ContentType.objects.get_for_model(WebhookDisclosure),
            object_id="",
            object_repr=gettext("register of disclosures"),
            action_flag=CHANGE,
            change_message=said % {"format": kind, "query": request.GET.urlencode() or gettext("everything")},
        )
