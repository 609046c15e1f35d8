# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lists to look at: nobody adds, changes or deletes what the package itself writes."""

from django.contrib import admin

from channel_integrations.integrated_channel.admin.capped_paginator import CappedPaginator


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
