# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lists to look at: nobody adds, changes or deletes what the package itself writes."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from channel_integrations.integrated_channel.admin.capped_paginator import CappedPaginator
from channel_integrations.integrated_channel.admin.webhook_queries import uuid_of
from channel_integrations.integrated_channel.numbers_in_text import number_of
from channel_integrations.integrated_channel.permissions import may_see_personal_data


class ReadOnlyAdmin(admin.ModelAdmin):
    """What may be done to the rows is done by buttons of our own."""

    def has_add_permission(self, request) -> bool:
        return False

    def has_change_permission(self, request, obj=None) -> bool:
        return False

    def has_delete_permission(self, request, obj=None) -> bool:
        return False


class CappedReadOnlyAdmin(ReadOnlyAdmin):
    """The same for tables that may have millions of rows: nothing is counted to its end, and nothing sorted."""

    list_per_page = 50
    sortable_by = ()
    paginator = CappedPaginator
    show_full_result_count = False
    # Django 5 would count by each filter.
    show_facets = getattr(getattr(admin, "ShowFacets", None), "NEVER", None)

    def lookup_allowed(self, lookup, *args) -> bool:
        """What the filters ask for alone: the rest could guess at what is not shown, or read the whole table."""
        return lookup in {each.parameter_name for each in self.list_filter}

    def get_search_results(self, request, queryset, search_term):
        """All the words must fit, each one id."""
        for word in search_term.split():
            queryset = self.narrowed_by(request, queryset, word)
        return queryset, False

    def narrowed_by(self, request: HttpRequest, queryset: QuerySet, word: str) -> QuerySet:
        """Those that have this id."""
        raise NotImplementedError


class LearnerListAdmin(CappedReadOnlyAdmin):
    """Lists about learners, by id; whose a row is, is for whoever may see personal data."""

    list_display_links = None

    def get_list_display(self, request):
        return [name for name in self.list_display if name != "user_id" or may_see_personal_data(request)]

    def get_fields(self, request, obj=None):
        return self.get_list_display(request)

    def narrowed_by(self, request: HttpRequest, queryset: QuerySet, word: str) -> QuerySet:
        number, uuid = number_of(word), uuid_of(word)
        if number is not None:
            return queryset.filter(user_id=number) if may_see_personal_data(request) else queryset.none()
        return queryset.filter(Q(enterprise_customer_uuid=uuid) if uuid else self.with_other_id(word))

    def with_other_id(self, word: str) -> Any:
        """Those that have an id which is neither a learner's nor a customer's; none, unless a list knows such ids."""
        return Q(pk__in=())
