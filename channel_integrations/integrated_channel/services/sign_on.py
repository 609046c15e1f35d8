# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a learner's sign-on records say: country, ids, and how the identity provider calls the learner."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from social_django.models import UserSocialAuth


class SignOn(NamedTuple):
    """One sign-on record. ``extra_data`` is what the identity provider said of the learner."""

    uid: str
    extra_data: Mapping[str, Any]

    def value(self, key: str) -> str:
        """What it says under this key, of a value or a one-item list; empty where it says nothing."""
        value = self.extra_data.get(key)
        if isinstance(value, (list, tuple)):
            value = value[0] if value else None
        return value.strip() if isinstance(value, str) else ""


#: by user id, the learner's records, the most recent one first
SignOns = Mapping[int, Collection[SignOn]]


def sign_ons_of(user_ids: Iterable[int]) -> SignOns:
    """The records of these learners; one query for all."""
    wanted = set(user_ids)
    found: dict[int, list[SignOn]] = defaultdict(list)
    if wanted:
        records = UserSocialAuth.objects.filter(user_id__in=wanted).order_by("-pk")
        for user_id, uid, extra_data in records.values_list("user_id", "uid", "extra_data"):
            found[user_id].append(SignOn(uid, extra_data if isinstance(extra_data, dict) else {}))
    return found
