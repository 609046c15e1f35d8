# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pages of a list that may have millions of rows."""

from typing import Any

from django.core.paginator import Page, Paginator
from django.utils.functional import cached_property

#: rows that are counted, and can be paged through
CAP = 10_000


class CappedPaginator(Paginator):
    """Counts no further than one beyond ``CAP``, and finds a page by an index before it reads the rows."""

    cap = CAP

    @cached_property
    def count(self) -> int:
        """How many there are; ``CAP`` + 1 stands for more."""
        # By primary keys: what the list shows beside them would be looked up for each row that is counted.
        return self.object_list.order_by().values("pk")[: self.cap + 1].count()

    @property
    def is_capped(self) -> bool:
        """Whether there are more than have been counted."""
        return self.count > self.cap

    def page(self, number: Any) -> Page:
        """The rows of a page, read by their primary keys."""
        number = self.validate_number(number)
        start = (number - 1) * self.per_page
        pks = list(self.object_list.values_list("pk", flat=True)[start : start + self.per_page])
        return self._get_page(self.object_list.filter(pk__in=pks), number, self)
