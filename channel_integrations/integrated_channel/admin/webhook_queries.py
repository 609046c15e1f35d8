# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Questions to the table of webhooks that are fast with millions of rows.

What one index answers is a subquery, which this index answers alone; several of them meet in the primary key. Written
as plain conditions, the database would follow the primary key backwards, from row to row, until it has found a page
full: seconds, where what is looked for is rare and old.

What no index knows (course run, backfilled) is looked for among the rows of a learner or of a time.
"""

from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import CourseKey

from channel_integrations.integrated_channel.models import WebhookTransmissionQueue
from channel_integrations.integrated_channel.numbers_in_text import number_of

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
    one_learner = any(number_of(word) is not None for word in request.GET.get(SEARCH_VAR, "").split())
    if not one_learner and not any(request.GET.get(name, "").strip() for name in NARROWING):
        queryset = made_since(queryset, timezone.now() - WITHOUT_INDEX)
    return queryset.filter(condition)


def uuid_of(word: str) -> UUID | None:
    """The UUID that is written there."""
    try:
        return UUID(word)
    except ValueError:
        return None


def course_run_of(word: str) -> str | None:
    """The key of a course run that is written there, as the LMS writes it."""
    try:
        return str(CourseKey.from_string(word))
    except InvalidKeyError:
        return None


def search(queryset: QuerySet, request: HttpRequest, word: str) -> QuerySet:
    """Those whose learner, id, customer or course run is written there, in full."""
    number, uuid = number_of(word), uuid_of(word)
    if number is not None:
        return queryset.filter(user_id=number)
    if uuid:
        # Asked one after the other: joined by OR, neither index would be used.
        one = WebhookTransmissionQueue.objects.filter(webhook_id=uuid).values_list("pk", flat=True).first()
        return queryset.filter(pk=one) if one else by_index(queryset, Q(enterprise_customer_uuid=uuid))
    course_id = course_run_of(word)
    return without_index(queryset, request, Q(course_id=course_id)) if course_id else queryset.none()
