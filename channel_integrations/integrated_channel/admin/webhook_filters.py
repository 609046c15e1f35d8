# SPDX-License-Identifier: AGPL-3.0-or-later
"""
What the list of webhooks can be asked for, such that it is fast with millions of rows.

A filter of one index is a subquery that this index answers alone. Several of them meet in the primary key. Written as
plain conditions, the database would follow the primary key backwards, from row to row, until it has found a page full:
seconds, where what is looked for is rare and old.

What no index knows (course run, backfilled) is looked for among the rows of a learner or of a time.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import CourseKey

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookStatus,
    WebhookTransmissionQueue,
)

TEMPLATE = "admin/channel_webhooks/webhooktransmissionqueue/filter_form.html"
#: digits of a user id at most; what is longer fits no column
MAX_DIGITS = 9
#: what one list box offers at most
MAX_CHOICES = 500
#: how far back is looked for what no index knows, where neither a learner nor a time is chosen
WITHOUT_INDEX = timedelta(days=30)
#: primary keys follow the times at which rows are made, but for the clocks of the hosts that make them
CLOCK_SKEW = timedelta(minutes=5)
#: names of the parameters that narrow a list down to few rows
NARROWING = ("user_id", "created")


def by_index(queryset: QuerySet, condition: Q) -> QuerySet:
    """Those that meet a condition which one index answers."""
    return queryset.filter(pk__in=WebhookTransmissionQueue.objects.filter(condition).values("pk"))


def made_since(queryset: QuerySet, moment: datetime) -> QuerySet:
    """
    Those made since a moment, as a range of primary keys.

    No index begins with ``created``. That of retention has it for rows that are not purged, and finds the first.
    """
    rows = WebhookTransmissionQueue.objects.filter(purged_at=None, created__gte=moment - CLOCK_SKEW)
    first = rows.order_by("created").values_list("pk", flat=True).first()
    return queryset.filter(pk__gte=first, created__gte=moment) if first else queryset.none()


def without_index(queryset: QuerySet, request: HttpRequest, condition: Q) -> QuerySet:
    """Those that meet a condition which no index knows, among the rows that are chosen otherwise, or the latest."""
    if not any(request.GET.get(name) for name in NARROWING):
        queryset = made_since(queryset, timezone.now() - WITHOUT_INDEX)
    return queryset.filter(condition)


def user_id_of(word: str) -> int | None:
    """The user id that is written there."""
    return int(word) if word.isascii() and word.isdigit() and len(word) <= MAX_DIGITS else None


def uuid_of(word: str) -> UUID | None:
    """The UUID that is written there."""
    try:
        return UUID(word)
    except ValueError:
        return None


def search(queryset: QuerySet, request: HttpRequest, word: str) -> QuerySet:
    """Those whose learner, id, customer or course run is written there, in full."""
    user_id, uuid = user_id_of(word), uuid_of(word)
    if user_id is not None:
        return queryset.filter(user_id=user_id)
    if uuid:
        # Asked one after the other: joined by OR, neither index would be used.
        one = WebhookTransmissionQueue.objects.filter(webhook_id=uuid).values_list("pk", flat=True).first()
        return queryset.filter(pk=one) if one else by_index(queryset, Q(enterprise_customer_uuid=uuid))
    try:
        return without_index(queryset, request, Q(course_id=str(CourseKey.from_string(word))))
    except InvalidKeyError:
        return queryset.none()


class StatusFilter(admin.SimpleListFilter):
    """Where webhooks stand."""

    title = _("status")
    parameter_name = "status__exact"

    def lookups(self, request, model_admin):
        return WebhookStatus.choices

    def queryset(self, request, queryset):
        return by_index(queryset, Q(status=self.value())) if self.value() else queryset


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
        pk = user_id_of(text)
        return by_index(queryset, Q(endpoint_id=pk)) if pk is not None else queryset.none()


class LearnerFilter(_FormFilter):
    """About whom, by user id."""

    title = _("learner")
    parameter_name = "user_id"
    hint = _("The user id.")

    def matching(self, request: HttpRequest, queryset: QuerySet, text: str) -> QuerySet:
        user_id = user_id_of(text)
        return queryset.filter(user_id=user_id) if user_id is not None else queryset.none()


class CourseFilter(_FormFilter):
    """Which course run."""

    title = _("course run")
    parameter_name = "course_id"
    hint = _("Such as course-v1:edX+Demo+2026. Of the last 30 days, unless a time or a learner is chosen.")

    def matching(self, request: HttpRequest, queryset: QuerySet, text: str) -> QuerySet:
        return without_index(queryset, request, Q(course_id=text))


FILTERS = (
    StatusFilter,
    CreatedFilter,
    FinishedFilter,
    CustomerFilter,
    EndpointFilter,
    LearnerFilter,
    CourseFilter,
    BackfilledFilter,
)
