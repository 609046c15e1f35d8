# SPDX-License-Identifier: AGPL-3.0-or-later
"""The incumbent's endpoints become ours; one that is here already stays as it is."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from enterprise.models import EnterpriseCustomer

from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models import (
    ClientAuthentication,
    EnterpriseWebhookConfiguration,
    Region,
    SignIn,
    WebhookEndpointCredential,
)
from channel_integrations.integrated_channel.models.endpoint import MAX_TIMEOUT_SECONDS
from channel_integrations.integrated_channel.services.incumbent import tables

lines = LogLines(__name__)

# What became of one.
IMPORTED, THERE, LEFT = "imported", "there already", "not imported"
#: what it asks each token server for
SCOPE = "api"


@dataclass
class Outcome:
    """What became of one of the incumbent's endpoints, with what its operator has to know."""

    customer_uuid: UUID
    customer: str
    region: str
    outcome: str
    endpoint: int | None = None
    active: bool | None = None
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Configured:
    """One of the incumbent's endpoints, its customer's name (None: it is gone) and regions, and what is chosen."""

    row: Mapping[str, Any]
    name: str | None
    regions: set[str]
    send_from: datetime
    all_completions: bool


def payload_format(columns: Iterable[str]) -> str:
    """
    The format that the incumbent sends to every endpoint, by the columns that its release has made.

    The releases that know OAuth (0.1.41 and later) send Percipio's to all, the earlier ones the standard one.
    """
    return "percipio" if "client_id" in columns else "standard"


def import_endpoints(
    *, dry_run: bool = False, sponsored_only: bool = False, unclear: Iterable[UUID] = ()
) -> Iterator[Outcome]:
    """
    Make those that are not here; each with its secrets in one transaction, and once, however often this runs.

    :param sponsored_only: not every completion of linked learners, as the incumbent sends them
    :param unclear: customers of which it cannot be told what they have been sent: passes before now are not sent them
    """
    configured = list(tables.configurations())
    regions: dict[UUID, set[str]] = {}
    for row in configured:
        regions.setdefault(row["enterprise_customer_id"], set()).add(row["region"])
    names = dict(EnterpriseCustomer.objects.filter(pk__in=regions).values_list("pk", "name"))
    for row in configured:
        customer = row["enterprise_customer_id"]
        send_from = timezone.now() if customer in unclear else row["created"]
        one = _Configured(row, names.get(customer), regions[customer], send_from, not sponsored_only)
        yield _import(one, dry_run)


def _import(given: _Configured, dry_run: bool) -> Outcome:
    row = given.row
    customer = row["enterprise_customer_id"]
    outcome = Outcome(customer, given.name or str(customer), row["region"], LEFT)
    if given.name is None:
        outcome.remarks.append("the customer is gone")
    elif row["region"] not in Region.values:
        outcome.remarks.append(
            f"{row['region']} is no region here: its learners belong to OTHER. Type this endpoint in by hand"
        )
    elif there := _there(row):
        outcome.outcome, outcome.endpoint, outcome.active = THERE, there.pk, there.active
        outcome.remarks.append("left as it is")
    else:
        _make(given, outcome, dry_run)
    return outcome


def _there(row: Mapping[str, Any]) -> EnterpriseWebhookConfiguration | None:
    theirs = EnterpriseWebhookConfiguration.objects.filter(enterprise_customer_id=row["enterprise_customer_id"])
    return theirs.filter(region=row["region"]).first()


def _make(given: _Configured, outcome: Outcome, dry_run: bool) -> None:
    row, remarks = given.row, outcome.remarks
    endpoint = EnterpriseWebhookConfiguration(
        enterprise_customer_id=row["enterprise_customer_id"],
        region=row["region"],
        webhook_url=row["webhook_url"],
        active=row["active"],
        send_from=given.send_from,
        all_completions=given.all_completions,
        sends_enrollments=_sends_enrollments(row),
    )
    _note_behaviour(endpoint, row, given.regions, remarks)
    _set_timeout_and_limit(endpoint, row, remarks)
    _set_format(endpoint, payload_format(row), remarks)
    secret = _set_sign_in(endpoint, row, remarks)
    _switch_off_what_is_refused(endpoint, remarks)
    outcome.active = endpoint.active
    try:
        outcome.outcome, outcome.endpoint = IMPORTED, None if dry_run else _keep(endpoint, secret)
    except IntegrityError:  # Somebody has made it by hand in this moment, or a second import has.
        outcome.outcome, outcome.remarks = THERE, ["left as it is"]


def _keep(endpoint: EnterpriseWebhookConfiguration, secret: str) -> int:
    """Endpoint, signing secret (by its signal) and credential, or none of them."""
    with transaction.atomic():
        endpoint.save(force_insert=True)
        if secret:
            WebhookEndpointCredential.keep(endpoint, secret)
    lines.info("webhook_import", "endpoint_made", endpoint_id=endpoint.pk)
    return endpoint.pk


def _sends_enrollments(row: Mapping[str, Any]) -> bool:
    """By the column of either name; the first releases have none and send them to all."""
    names = ("enable_enrollment_events_processing", "enrollment_events_processing")
    return next((bool(row[name]) for name in names if name in row), True)


def _note_behaviour(
    endpoint: EnterpriseWebhookConfiguration, row: Mapping[str, Any], regions: set[str], remarks: list[str]
) -> None:
    """Who gets what, as before: the incumbent sends learners of any region without an endpoint to the one for OTHER."""
    if endpoint.region == Region.OTHER and Region.EU not in regions:
        endpoint.accepts_eu = True
        remarks.append("takes learners from the EU, as before: untick that unless the partner may have their data")
    if not row["active"] and endpoint.region != Region.OTHER and Region.OTHER in regions:
        remarks.append("switched off as before, but its learners' webhooks wait for it: they went to OTHER's")
    if endpoint.all_completions:
        remarks.append("gets every completion of linked learners, as before, not only of courses that it sponsors")
    if endpoint.send_from != row["created"]:
        remarks.append("gets nothing passed before now: it cannot be told which of those it has had")


def _set_timeout_and_limit(
    endpoint: EnterpriseWebhookConfiguration, row: Mapping[str, Any], remarks: list[str]
) -> None:
    wanted, limit = row["webhook_timeout_seconds"], row["max_requests_per_minute"]
    endpoint.webhook_timeout_seconds = min(max(wanted, 1), MAX_TIMEOUT_SECONDS)
    if wanted != endpoint.webhook_timeout_seconds:
        remarks.append(f"timeout {wanted} s becomes {endpoint.webhook_timeout_seconds} s")
    endpoint.max_requests_per_minute = limit if limit and limit > 0 else None
    if endpoint.max_requests_per_minute:
        remarks.append(f"its limit of {limit} requests a minute is kept to from now on")


def _set_format(endpoint: EnterpriseWebhookConfiguration, name: str, remarks: list[str]) -> None:
    """Where this release has the choice."""
    try:
        EnterpriseWebhookConfiguration._meta.get_field("payload_format")
    except FieldDoesNotExist:
        if name != "standard":
            remarks.append(f"had the payload format {name}, gets the standard one")
        return
    endpoint.payload_format = name
    remarks.append(f"payload format: {name}")


def _set_sign_in(endpoint: EnterpriseWebhookConfiguration, row: Mapping[str, Any], remarks: list[str]) -> str:
    """How it is signed in to, and the secret of that, decrypted; as the incumbent chooses: OAuth, else a token."""
    secret = tables.client_secret(row["id"]) if row.get("client_id") else ""
    if secret is None:
        remarks.append(
            "switched off: its client secret cannot be decrypted. Put the key that it was written with at the end of "
            "FERNET_KEYS and type it in, or type in a new one"
        )
        endpoint.active = False
    if row.get("client_id") and secret != "":
        endpoint.sign_in, endpoint.client_id, endpoint.scope = SignIn.OAUTH, row["client_id"], SCOPE
        endpoint.token_url = row.get("webhook_token_url") or ""
        endpoint.client_authentication = ClientAuthentication.BODY
        remarks.append("signs in by OAuth with a form (the incumbent sends JSON): try it with send_test_webhook")
        return secret or ""
    token = (row.get("webhook_auth_token") or "").strip()
    if token:
        endpoint.sign_in = SignIn.BEARER
        remarks.append("signs in with its bearer token")
    return token


def _switch_off_what_is_refused(endpoint: EnterpriseWebhookConfiguration, remarks: list[str]) -> None:
    """What the form refuses is kept for its operator to correct, and sends nothing until then."""
    try:
        endpoint.clean()
    except ValidationError as err:
        endpoint.active = False
        for name, messages in err.message_dict.items():
            remarks.append(f"switched off: {name}: {' '.join(messages)}")
