# SPDX-License-Identifier: AGPL-3.0-or-later
"""The register of disclosures for a data-protection officer: as CSV, as JSON, or to be read."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from enterprise.models import EnterpriseCustomer

from channel_integrations.integrated_channel.formats import iso_utc
from channel_integrations.integrated_channel.models import Erasure, WebhookDisclosure

#: rows read at once
CHUNK = 1000
#: by the name of each column, the field behind it
COLUMNS = {
    "first_told_at": "first_at",
    "last_told_at": "last_at",
    "times": "times",
    "customer": "enterprise_customer_uuid",
    "customer_name": "",
    "endpoint": "endpoint_id",
    "host": "host",
    "user_id": "user_id",
    "event": "event_type",
    "webhook": "webhook_id",
    "data": "data",
    "basis": "basis",
    "retired_at": "retired_at",
    "erasure": "erasure",
    "erasure_webhook": "erasure_webhook_id",
    "erasure_told_at": "erasure_told_at",
}
#: what a spreadsheet takes for the start of a formula
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def facts_of(disclosures: "QuerySet[WebhookDisclosure]") -> Iterator[dict[str, Any]]:
    """Each of these, oldest first, as ``COLUMNS`` names it; moments in ISO 8601, in UTC."""
    fields = [field for field in COLUMNS.values() if field]
    names: dict[Any, str] = {}
    for values in disclosures.order_by("pk").values(*fields).iterator(chunk_size=CHUNK):
        customer = values["enterprise_customer_uuid"]
        if customer not in names:
            found = EnterpriseCustomer.objects.filter(pk=customer).values_list("name", flat=True).first()
            names[customer] = found or ""
        yield {column: _plain(values[field]) if field else names[customer] for column, field in COLUMNS.items()}


def as_csv(facts: Iterable[dict[str, Any]]) -> Iterator[str]:
    """
    Lines of CSV with a header.

    A cell that a spreadsheet would take for a formula gets an apostrophe in front: the name of a customer is typed by
    people.
    """
    yield _line(COLUMNS)
    for each in facts:
        yield _line(_cell(value) for value in each.values())


def as_json(facts: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A JSON array, one line for each."""
    before = "[\n"
    for each in facts:
        yield before + json.dumps(each, ensure_ascii=False)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def as_text(facts: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A paragraph for each."""
    for each in facts:
        who = f"{each['customer_name'] or each['customer']}, endpoint {each['endpoint']} at {each['host'] or '-'}"
        yield (
            f"{each['last_told_at']}  {who}\n"
            f"    about user {each['user_id']}, {each['event']} {each['webhook']}, told {each['times']}x\n"
            f"    data: {', '.join(each['data'])}\n"
            f"    basis: {each['basis'] or 'not recorded'}\n"
            f"    erasure: {_erasure(each)}\n"
        )


def _erasure(fact: dict[str, Any]) -> str:
    if not fact["retired_at"]:
        return "the learner is not retired"
    by = f" by {fact['erasure_webhook']}" if fact["erasure_webhook"] else ""
    confirmed = f", confirmed {fact['erasure_told_at']}" if fact["erasure_told_at"] else ""
    return f"{Erasure(fact['erasure']).label}{by}; retired {fact['retired_at']}{confirmed}"


def _line(cells: Iterable[Any]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, int):
        return value
    text = "; ".join(value) if isinstance(value, list) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso_utc(value)
    return value if value is None or isinstance(value, int | list) else str(value)
