# SPDX-License-Identifier: AGPL-3.0-or-later
"""How a learner is named to an endpoint: what its webhooks say of who they are about, and nothing else does."""

import hashlib
import hmac
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from enterprise.models import EnterpriseCustomerIdentityProvider

from channel_integrations.integrated_channel.exceptions import IdsMissing, WebhookNotWritable
from channel_integrations.integrated_channel.formats import format_of, known_format_of
from channel_integrations.integrated_channel.models import LearnerNaming, MissingIds, WebhookPseudonymKey
from channel_integrations.integrated_channel.services import reasons
from channel_integrations.integrated_channel.services.sign_on import SignOn, SignOns, sign_ons_of

#: how an identity provider that speaks SAML is called in the LMS; its records' ids then begin with the rest and a colon
_SAML = "saml-"


@dataclass(frozen=True)
class Prefetched:
    """What naming asks the database for, fetched once for many learners."""

    sign_ons: SignOns = field(default_factory=dict)
    #: by customer, the prefixes of the ids that its own identity providers give; none where that cannot be told
    prefixes: Mapping[UUID, tuple[str, ...]] = field(default_factory=dict)
    pseudonym_keys: Mapping[UUID, bytes] = field(default_factory=dict)


def prefetch(user_ids: Iterable[int], endpoints: Iterable[Any], sign_ons: SignOns | None = None) -> Prefetched:
    """
    What naming these learners to these endpoints takes: at most a query each for records, providers and keys.

    :param sign_ons: the learners' records, where they have been fetched already
    """
    wanted = list(endpoints)
    by_record = {each.enterprise_customer_id for each in wanted if _needs_sign_on(each)}
    pseudonymous = {each.enterprise_customer_id for each in wanted if each.naming == LearnerNaming.PSEUDONYM}
    if sign_ons is None:
        sign_ons = sign_ons_of(user_ids) if by_record else {}
    return Prefetched(sign_ons, _prefixes(by_record), WebhookPseudonymKey.of(pseudonymous))


def named(endpoint: Any, customer: Any, learner: Any, prefetched: Prefetched | None = None) -> dict[str, Any]:
    """
    The learner as this endpoint knows them.

    By ids of the format's own, else by the endpoint's choice: ``user_id``, ``username`` and ``email``; ``sign_on_id``;
    or ``pseudonym``, a UUID that is the same in all webhooks of this customer. None stands for an id that the learner
    lacks, where the endpoint accepts that.

    :param prefetched: what ``prefetch`` has fetched; without it the database is asked
    :raises IdsMissing: the learner lacks an id, and the endpoint accepts no null
    :raises WebhookNotWritable: the customer's pseudonyms cannot be made, or the endpoint's format is not known
    """
    prefetched = prefetched or prefetch([learner.pk], [endpoint])
    own_ids = format_of(endpoint).learner_ids
    if own_ids:
        return _by_ids(endpoint, own_ids, _records(customer, learner, prefetched))
    if endpoint.naming == LearnerNaming.SIGN_ON_ID:
        records = _records(customer, learner, prefetched)
        if not records and endpoint.missing_ids != MissingIds.NULLS:
            raise IdsMissing(reasons.NO_SIGN_ON_RECORD)
        return {"sign_on_id": records[0].uid if records else None}
    if endpoint.naming == LearnerNaming.PSEUDONYM:
        return {"pseudonym": _pseudonym(customer.uuid, learner.pk, prefetched)}
    return {"user_id": learner.pk, "username": learner.username, "email": learner.email}


def _by_ids(endpoint: Any, own_ids: Mapping[str, str], records: Collection[SignOn]) -> dict[str, Any]:
    """From one record, the most recent one with all: an id of one account and an id of another name nobody."""
    candidates = [{name: record.value(key) or None for name, key in own_ids.items()} for record in records]
    candidates.append(dict.fromkeys(own_ids))
    best = min(candidates, key=lambda ids: list(ids.values()).count(None))
    missing = [own_ids[name] for name, value in best.items() if value is None]
    if missing and endpoint.missing_ids != MissingIds.NULLS:
        if not records:
            raise IdsMissing(reasons.NO_SIGN_ON_RECORD)
        raise IdsMissing(reasons.LACKS_IDS % ", ".join(missing))
    return best


def _records(customer: Any, learner: Any, prefetched: Prefetched) -> list[SignOn]:
    """Those of the customer's own identity providers: how another customer's calls the learner is not for this one."""
    prefixes = prefetched.prefixes.get(customer.uuid)
    records = prefetched.sign_ons.get(learner.pk, ())
    return [each for each in records if not prefixes or each.uid.startswith(prefixes)]


def _prefixes(customers: Collection[UUID]) -> dict[UUID, tuple[str, ...]]:
    """Of customers all of whose identity providers speak SAML; of others a record does not tell whose it is."""
    if not customers:
        return {}
    providers: dict[UUID, list[str]] = {}
    links = EnterpriseCustomerIdentityProvider.objects.filter(enterprise_customer__in=customers)
    for customer, provider_id in links.values_list("enterprise_customer_id", "provider_id"):
        providers.setdefault(customer, []).append(provider_id)
    return {
        customer: tuple(f"{each.removeprefix(_SAML)}:" for each in theirs)
        for customer, theirs in providers.items()
        if all(each.startswith(_SAML) for each in theirs)
    }


def _pseudonym(customer: UUID, user_id: int, prefetched: Prefetched) -> str:
    """A UUID of version 8 (RFC 9562, 5.8) out of an HMAC-SHA256 of the user id."""
    key = prefetched.pseudonym_keys.get(customer)
    if key is None:
        raise WebhookNotWritable(reasons.NO_PSEUDONYM_KEY)
    digest = bytearray(hmac.digest(key, str(user_id).encode(), hashlib.sha256)[:16])
    digest[6], digest[8] = digest[6] & 0x0F | 0x80, digest[8] & 0x3F | 0x80
    return str(UUID(bytes=bytes(digest)))


def _needs_sign_on(endpoint: Any) -> bool:
    chosen = known_format_of(endpoint)
    return bool(chosen and chosen.learner_ids) or endpoint.naming == LearnerNaming.SIGN_ON_ID
