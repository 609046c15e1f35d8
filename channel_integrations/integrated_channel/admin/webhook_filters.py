# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the list of webhooks can be asked for; ``webhook_queries`` says why it is asked in this way."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel.admin.webhook_queries import (
    by_index,
    course_run_of,
    made_since,
    uuid_of,
    without_index,
)
from channel_integrations.integrated_channel.enrollments import COURSE_ENROLLMENT
from channel_integrations.integrated_channel.erasures import LEARNER_ERASED
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration, WebhookStatus
from channel_integrations.integrated_channel.numbers_in_text import number_of
from channel_integrations.integrated_channel.passes import COURSE_COMPLETION, COURSE_COMPLETION_REVISED

TEMPLATE = "admin/channel_webhooks/webhooktransmissionqueue/filter_form.html"
#: what one list box offers at most
MAX_CHOICES = 500


class StatusFilter(admin.SimpleListFilter):
    """Where webhooks stand."""

    title = _("status")
    parameter_name = "status__exact"

    def lookups(self, request, model_admin):
        return WebhookStatus.choices

    def queryset(self, request, queryset):
        if not self.value():
            return queryset
        known = self.value() in WebhookStatus.values
        return by_index(queryset, Q(status=self.value())) if known else queryset.none()


class _SinceFilter(admin.SimpleListFilter):
    """Since when; ``windows`` has what may be chosen, with None for midnight."""

    windows: dict[str, tuple[Any, timedelta | None]]

    def lookups(self, request, model_admin):
        return [(name, label) for name, (label, _window) in self.windows.items()]

    def queryset(self, request, queryset):
        if self.value() is None:
            return queryset
        if self.value() not in self.windows:
            return queryset.none()
        _label, window = self.windows[self.value()]
        midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
        return self.since(queryset, timezone.now() - window if window else midnight)

    def since(self, queryset: QuerySet, moment: datetime) -> QuerySet:
        """Those of this moment and later."""
        raise NotImplementedError


class CreatedFilter(_SinceFilter):
    """When they were made, which is soon after the learner has passed."""

    title = _("created")
    parameter_name = "created"
    windows = {
        "today": (_("today"), None),
        "24h": (_("in the last 24 hours"), timedelta(hours=24)),
        "7d": (_("in the last 7 days"), timedelta(days=7)),
        "30d": (_("in the last 30 days"), timedelta(days=30)),
    }

    def since(self, queryset: QuerySet, moment: datetime) -> QuerySet:
        return made_since(queryset, moment)


class FinishedFilter(_SinceFilter):
    """When they were delivered, failed for good or were cancelled."""

    title = _("delivered, failed or cancelled")
    parameter_name = "finished"
    windows = {
        "1h": (_("in the last hour"), timedelta(hours=1)),
        "today": (_("today"), None),
        "24h": (_("in the last 24 hours"), timedelta(hours=24)),
        "7d": (_("in the last 7 days"), timedelta(days=7)),
    }

    def since(self, queryset: QuerySet, moment: datetime) -> QuerySet:
        return by_index(queryset, Q(finished_at__gte=moment))


class EventFilter(admin.SimpleListFilter):
    """What has happened."""

    title = _("event")
    parameter_name = "event_type__exact"

    def lookups(self, request, model_admin):
        return (
            (COURSE_COMPLETION, _("completions, of the last 30 days unless a time or a learner is chosen")),
            (COURSE_COMPLETION_REVISED, _("revisions, of the last 30 days unless a time or a learner is chosen")),
            (COURSE_ENROLLMENT, _("enrolments, of the last 30 days unless a time or a learner is chosen")),
            (LEARNER_ERASED, _("erasures, of the last 30 days unless a time is chosen")),
        )

    def queryset(self, request, queryset):
        return without_index(queryset, request, Q(event_type=self.value())) if self.value() else queryset


class BackfilledFilter(admin.SimpleListFilter):
    """Whether a backfill has made them."""

    title = _("backfilled")
    parameter_name = "backfilled__exact"

    def lookups(self, request, model_admin):
        return [("1", _("by a backfill, of the last 30 days unless a time or a learner is chosen"))]

    def queryset(self, request, queryset):
        return without_index(queryset, request, Q(backfilled=True)) if self.value() == "1" else queryset


class _FormFilter(admin.SimpleListFilter):
    """One that is typed in, or chosen from more than fit a list of links; a form with GET, which holds ids only."""

    template = TEMPLATE
    hint: Any = ""

    def __init__(self, request, params, model, model_admin):
        super().__init__(request, params, model, model_admin)
        own = (self.parameter_name, "p", "e")
        #: the search and the other filters, to be kept
        self.others = [(name, text) for name, texts in request.GET.lists() if name not in own for text in texts]

    def lookups(self, request, model_admin):
        choices = self.to_choose_from()
        if len(choices) > MAX_CHOICES:
            return ()
        chosen = self.value()  # Of a customer that has no endpoint any more, say.
        known = not chosen or not choices or chosen in dict(choices)
        return choices if known else [*choices, (chosen, chosen)]

    def to_choose_from(self) -> list[tuple[str, str]]:
        """Values and labels; where there are none, or too many, it is typed in."""
        return []

    def has_output(self):
        return True

    def choices(self, changelist) -> Iterator[dict[str, Any]]:
        yield {
            "selected": self.value() is None,
            "query_string": changelist.get_query_string(remove=[self.parameter_name]),
            "display": gettext("All"),
        }

    def queryset(self, request, queryset):
        text = (self.value() or "").strip()
        return self.matching(request, queryset, text) if text else queryset

    def matching(self, request: HttpRequest, queryset: QuerySet, text: str) -> QuerySet:
        """Those that fit the text."""
        raise NotImplementedError


class CustomerFilter(_FormFilter):
    """For whom: the customers that have an endpoint."""

    title = _("customer")
    parameter_name = "customer"
    hint = _("The UUID.")

    def to_choose_from(self) -> list[tuple[str, str]]:
        endpoints = EnterpriseWebhookConfiguration.objects.order_by("enterprise_customer__name")
        customers = endpoints.values_list("enterprise_customer_id", "enterprise_customer__name")
        return [(str(uuid), name) for uuid, name in customers.distinct()[: MAX_CHOICES + 1]]

    def matching(self, request: HttpRequest, queryset: QuerySet, text: str) -> QuerySet:
        uuid = uuid_of(text)
        return by_index(queryset, Q(enterprise_customer_uuid=uuid)) if uuid else queryset.none()


class EndpointFilter(_FormFilter):
    """Where they went, or go."""

    title = _("endpoint")
    parameter_name = "endpoint"
    hint = _("The number.")

    def to_choose_from(self) -> list[tuple[str, str]]:
        endpoints = EnterpriseWebhookConfiguration.objects.select_related("enterprise_customer")
        return [
            (str(each.pk), f"{each.enterprise_customer.name}, {each.get_region_display()}")
            for each in endpoints.order_by("enterprise_customer__name", "region")[: MAX_CHOICES + 1]
        ]

    def matching(self, request: HttpRequest, queryset: QuerySet, text: str) -> QuerySet:
        pk = number_of(text)
        return by_index(queryset, Q(endpoint_id=pk)) if pk is not None else queryset.none()


class LearnerFilter(_FormFilter):
    """About whom, by user id."""

    title = _("learner")
    parameter_name = "user_id"
    hint = _("The user id.")

    def matching(self, request: HttpRequest, queryset: QuerySet, text: str) -> QuerySet:
        user_id = number_of(text)
        return queryset.filter(user_id=user_id) if user_id is not None else queryset.none()


class CourseFilter(_FormFilter):
    """Which course run."""

    title = _("course run")
    parameter_name = "course_id"
    hint = _("Such as course-v1:edX+Demo+2026. Of the last 30 days, unless a time or a learner is chosen.")

    def matching(self, request: HttpRequest, queryset: QuerySet, text: str) -> QuerySet:
        course_id = course_run_of(text)
        return without_index(queryset, request, Q(course_id=course_id)) if course_id else queryset.none()


FILTERS = (
    StatusFilter,
    CreatedFilter,
    FinishedFilter,
    CustomerFilter,
    EndpointFilter,
    LearnerFilter,
    CourseFilter,
    EventFilter,
    BackfilledFilter,
)
