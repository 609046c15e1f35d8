# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which region a learner belongs to: by the country in the learner's sign-on record, else by the customer's."""

from typing import Any, Literal, NamedTuple

from django_countries import countries

from channel_integrations.integrated_channel.services.sign_on import SignOns, sign_ons_of

Region = Literal["US", "EU", "OTHER"]
EU_MEMBER_STATES = frozenset(
    (
        "AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU", "IE",
        "IT", "LV", "LT", "LU", "MT", "NL", "PL", "PT", "RO", "SK", "SI", "ES", "SE",
    )
)  # fmt: skip
# What a region was found by.
SIGN_ON, CUSTOMER, NOTHING = "sign_on", "customer", "nothing"


class Found(NamedTuple):
    """A region, and what it was found by."""

    region: Region
    by: str


def get_user_region(user: Any, enterprise_customer: Any = None) -> Region:
    """
    The region of a learner: US, EU (a member state, or 'EU' itself), else OTHER.

    The most recent sign-on record that names a country decides; a value may be a one-item list, in any case. Without
    one the customer's country decides, where a customer is given and has a country.
    """
    return find_region(user.pk, enterprise_customer, sign_ons_of([user.pk])).region


def find_region(user_id: int, enterprise_customer: Any, sign_ons: SignOns) -> Found:
    """The region of one learner as one customer's, among what ``sign_ons_of`` has found."""
    countries_named = (record.value("country") for record in sign_ons.get(user_id, ()))
    country = next(filter(None, countries_named), "")
    return Found(region_of(_code(country)), SIGN_ON) if country else region_of_customer(enterprise_customer)


def region_of_customer(enterprise_customer: Any) -> Found:
    """The region that counts for a customer's learners whose sign-on record names no country."""
    country = _code(enterprise_customer.country) if enterprise_customer else ""
    return Found(region_of(country), CUSTOMER) if country else Found("OTHER", NOTHING)


def region_of(country: str) -> Region:
    """The region of an ISO 3166 code (two letters, three or a number), or of 'EU'; in upper case."""
    if country in ("EU", "EL"):  # the EU's own code for Greece
        return "EU"
    code = countries.alpha2(country)
    if code == "US":
        return "US"
    return "EU" if code in EU_MEMBER_STATES else "OTHER"


def _code(country: Any) -> str:
    """As it is compared: of text, or of what a customer's country is kept as; empty where there is none."""
    value = getattr(country, "code", country)
    return value.strip().upper() if isinstance(value, str) else ""
