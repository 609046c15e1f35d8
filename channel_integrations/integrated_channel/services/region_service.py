# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which region a learner belongs to, by the country in the learner's sign-on record."""

from collections.abc import Sequence
from typing import Any, Literal

from social_django.models import UserSocialAuth

Region = Literal["US", "EU", "OTHER"]
EU_MEMBER_STATES = frozenset(
    (
        "AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU", "IE",
        "IT", "LV", "LT", "LU", "MT", "NL", "PL", "PT", "RO", "SK", "SI", "ES", "SE",
    )
)  # fmt: skip


def get_user_region(user: Any) -> Region:
    """
    The region of a learner: US, EU (a member state, or 'EU' itself), else OTHER.

    The most recent sign-on record that names a country decides; a value may be a one-item list, in any case.
    """
    return regions_of([user.pk])[user.pk]


def regions_of(user_ids: Sequence[int]) -> dict[int, Region]:
    """The same for many, with one query."""
    regions: dict[int, Region] = dict.fromkeys(user_ids, "OTHER")
    records = UserSocialAuth.objects.filter(user_id__in=regions).order_by("pk")
    for user_id, extra_data in records.values_list("user_id", "extra_data"):
        country = _country_in(extra_data)
        if country:
            regions[user_id] = region_of(country)
    return regions


def region_of(country: str) -> Region:
    """The region of an ISO 3166 two-letter code (or 'EU'), in upper case."""
    if country in ("US", "USA"):
        return "US"
    return "EU" if country == "EU" or country in EU_MEMBER_STATES else "OTHER"


def _country_in(extra_data: Any) -> str:
    value = extra_data.get("country") if isinstance(extra_data, dict) else None
    if isinstance(value, (list, tuple)):
        value = value[0] if value else None
    return value.strip().upper() if isinstance(value, str) else ""
