# SPDX-License-Identifier: AGPL-3.0-or-later
"""The endpoints: one line for each that is in order, one for each thing that is wrong with another."""

import socket
import ssl
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any
from urllib.parse import urlsplit

from django.db.models import Count
from django.utils import timezone

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.exceptions import AddressRefused, DeliveryFailed, SecretUnreadable
from channel_integrations.integrated_channel.http_client import check_url, try_connection
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookDisclosure,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.models.endpoint_choices import Region
from channel_integrations.integrated_channel.services import endpoint_gate
from channel_integrations.integrated_channel.services.delivery import SIGN_IN_UNREADABLE, SIGNING_UNREADABLE
from channel_integrations.integrated_channel.services.doctor.findings import (
    ADMIN_LIST,
    Finding,
    Findings,
    admin_page,
    ok,
    problem,
    skipped,
    warning,
)
from channel_integrations.integrated_channel.services.doctor.held import held
from channel_integrations.integrated_channel.services.doctor.moments import ago, span
from channel_integrations.integrated_channel.services.doctor.sign_in import Found, sign_in, ways_to_sign_in
from channel_integrations.integrated_channel.services.region_service import CUSTOMER, region_of_customer
from channel_integrations.integrated_channel.services.sign_in import TokenRequest
from channel_integrations.integrated_channel.signing import in_words

#: seconds for one endpoint, and for all of them together
DIAL_SECONDS = 5.0
ALL_SECONDS = 12.0
#: what OpenSSL says of a certificate for another host name, and for another address
OTHER_NAME = (62, 64)
DIALLED_AT_ONCE = 32


def endpoints() -> Findings:
    """Whether there is anybody to send to, and how each of them is."""
    every = list(EnterpriseWebhookConfiguration.objects.select_related("health", "enterprise_customer").order_by("pk"))
    on = [endpoint for endpoint in every if endpoint_gate.is_on(endpoint)]
    if on:
        yield ok(f"{len(on)} of {len(every)} switched on")
    else:
        yield problem(
            f"none of {len(every)} is switched on: nobody gets a webhook"
            if every
            else "there is none: nobody gets a webhook",
            f"Add or switch one on in the Django admin: Completion webhooks, Webhook endpoints ({ADMIN_LIST})",
        )
    yield from _customers_without(every)
    ways = ways_to_sign_in(on)
    dialled = _dial(on, ways)
    for endpoint in every:
        yield from _examine(endpoint, dialled.get(endpoint.pk), ways.get(endpoint.pk))


def _customers_without(every: Sequence[EnterpriseWebhookConfiguration]) -> Findings:
    """Customers whose own country, which counts for learners without one, leads to no endpoint of theirs."""
    theirs: dict[Any, list[EnterpriseWebhookConfiguration]] = {}
    for endpoint in every:
        theirs.setdefault(endpoint.enterprise_customer, []).append(endpoint)
    for customer, endpoints in theirs.items():
        found = region_of_customer(customer)
        if not any(endpoint.takes(found.region) for endpoint in endpoints):
            because = f"its country is {customer.country.code}" if found.by == CUSTOMER else "it has no country"
            accepting = "" if found.region == Region.OTHER else ", or have that for OTHER accept them"
            yield warning(
                f"{customer.name} has no endpoint for {found.region}: the webhooks of learners whose sign-on record "
                f"names no country go nowhere, since {because}",
                f"Add one{accepting}: {ADMIN_LIST}; then ./manage.py lms replay_webhooks --status no_endpoint",
            )


def _examine(endpoint: EnterpriseWebhookConfiguration, dialled: Future | None, way: Found) -> Iterator[Finding]:
    name = f"endpoint {endpoint.pk}"
    who = f"{endpoint.enterprise_customer.name}, {endpoint.region}, {_host(endpoint.webhook_url)}"
    if not endpoint_gate.is_on(endpoint):
        yield _switched_off(endpoint, name, who)
        return
    wrong = [
        *_connection(endpoint, name, who, dialled),
        *_secret(endpoint, name, who),
        *sign_in(endpoint, name, who, way),
        *_health(endpoint, name, who),
        *held(endpoint, name, who),
        *_register(endpoint, name, who),
    ]
    yield from wrong
    if not wrong:
        how = "the proxy answers" if conf.proxy_url() else "it answers"
        token = ", an access token can be had" if isinstance(way, TokenRequest) else ""
        key = in_words(endpoint.signing_secrets()[0])
        yield ok(f"{who}: {how}, its {key} can be read{token}, no failure since its last success", name)


def _switched_off(endpoint: EnterpriseWebhookConfiguration, name: str, who: str) -> Finding:
    parked = f"{_parked(endpoint)} parked"
    if not endpoint.active:
        return skipped(f"{who}: switched off by its operator, {parked}", name)
    off_for = span(timezone.now() - endpoint.health.disabled_at)
    return problem(
        f"{who}: switched off by the sender {off_for} ago ({endpoint.health.disabled_reason}), {parked}",
        f"Settle it with the partner, type ./manage.py lms send_test_webhook --endpoint {endpoint.pk}, then 'Switch on "
        "again' on its page in the admin; what is parked goes out then.",
        name,
    )


def _connection(endpoint: EnterpriseWebhookConfiguration, name: str, who: str, dialled: Future | None) -> Findings:
    try:
        check_url(endpoint.webhook_url)
    except AddressRefused as err:
        yield problem(f"{who}: the sender refuses its URL. {err}", f"Correct the URL: {admin_page(endpoint)}", name)
        return
    if dialled is None or not dialled.done():
        yield warning(
            f"{who}: not tried, since others have used up the {ALL_SECONDS:g} s",
            f"Try it alone: ./manage.py lms send_test_webhook --endpoint {endpoint.pk}",
            name,
        )
        return
    try:
        dialled.result()
    except AddressRefused as err:
        yield problem(
            f"{who}: the sender refuses it. {err}",
            "Ask the partner for a public address; see what this host is told: "
            f"getent ahosts {_host(endpoint.webhook_url).partition(':')[0]}",
            name,
        )
    except DeliveryFailed as err:
        to = " to the proxy" if conf.proxy_url() else ""
        yield problem(f"{who}: no connection{to} ({err})", _no_connection(endpoint, err), name)


def _no_connection(endpoint: EnterpriseWebhookConfiguration, err: DeliveryFailed) -> str:
    if conf.proxy_url():
        return "Start the proxy, or correct CHANNEL_WEBHOOKS_PROXY_URL and restart the workers; webhooks are kept."
    test = f"then type ./manage.py lms send_test_webhook --endpoint {endpoint.pk}"
    if isinstance(err.__cause__, ssl.SSLCertVerificationError):
        if err.__cause__.verify_code in OTHER_NAME:
            return (
                f"The certificate is for another name: correct the URL, {admin_page(endpoint)} -- or have the partner "
                f"add this one to it; {test}"
            )
        return (
            "If the partner's certificate authority is a private one, paste its certificates into 'CA certificates': "
            f"{admin_page(endpoint)} -- else the certificate is the partner's to renew; {test}"
        )
    if isinstance(err.__cause__, socket.gaierror):
        return (
            f"Correct the URL, or ask the partner for the name of the host: {admin_page(endpoint)} -- where this host "
            f"knows no name at all (getent hosts example.com), mend its DNS; {test}"
        )
    return (
        f"Compare host and port with what the partner has given you: {admin_page(endpoint)} -- where they are right "
        f"and others can be reached, it is the partner's to mend; webhooks are kept and tried again; {test}"
    )


def _secret(endpoint: EnterpriseWebhookConfiguration, name: str, who: str) -> Findings:
    rotate = f"./manage.py lms rotate_webhook_secret --endpoint {endpoint.pk}"
    try:
        secrets = endpoint.signing_secrets()
    except SecretUnreadable:
        yield problem(
            f"{who}: its signing secret was encrypted with another key, and nothing is sent to it",
            "Put the former key at the end of FERNET_KEYS (without that setting: FERNET_KEYS = [SECRET_KEY, "
            '"the former SECRET_KEY"]), and restart LMS and workers; or, if it is lost, give the partner a new '
            f"secret: {rotate} --kind hmac, or --kind ed25519 where it verifies with a public key",
            name,
        )
    else:
        if not secrets:
            yield warning(
                f"{who}: it has no signing secret; its first webhook makes one that the partner does not have",
                f"Make it now, and give it to the partner: {rotate}",
                name,
            )


def _register(endpoint: EnterpriseWebhookConfiguration, name: str, who: str) -> Findings:
    """Whether it could be told whom to erase; the oldest line tells, since newer ones have the newer key."""
    if not endpoint.sends_erasures:
        return
    lines = WebhookDisclosure.objects.filter(endpoint_id=endpoint.pk, erasure="", identifier__isnull=False)
    oldest = lines.order_by("pk").values_list("pk", flat=True).first()
    try:
        list(WebhookDisclosure.identifiers([oldest] if oldest else []))
    except SecretUnreadable:
        yield problem(
            f"{who}: by what it knows learners was encrypted with another key, and the LMS cannot retire them",
            "Put the former key at the end of FERNET_KEYS, restart LMS and workers, then type ./manage.py lms "
            f"reencrypt_webhook_secrets; or, if it is lost, untick 'Erasures' and tell the partner yourself: "
            f"{admin_page(endpoint)}",
            name,
        )


def _health(endpoint: EnterpriseWebhookConfiguration, name: str, who: str) -> Findings:
    if not endpoint_gate.has_health(endpoint):
        return
    health, now = endpoint.health, timezone.now()
    test = f"./manage.py lms send_test_webhook --endpoint {endpoint.pk}"
    if health.failures:
        first = ago(now - (health.failing_since or now))
        since = (
            f"{health.failures} attempts in a row failed, the first {first}"
            if health.failures > 1
            else f"an attempt failed {first}"
        )
        is_open = health.breaker_open_until and health.breaker_open_until > now
        gate = f"; the breaker is open for another {span(health.breaker_open_until - now)}" if is_open else ""
        yield warning(
            f"{who}: {since}, the last with: {health.last_failure or 'unknown'}{gate}",
            f"See what it answers: {test} -- if that is refused, talk to the partner; if it is taken, wait: webhooks "
            "are kept and tried again, and the first that it takes ends this warning (sooner: 'Try again now' in the "
            "admin, Completion webhooks, Status)",
            name,
        )
    if health.paused_until and health.paused_until > now:
        advice = (
            "Mend what the line about its secret says; it is looked at again within a minute"
            if health.last_failure in (SIGNING_UNREADABLE, SIGN_IN_UNREADABLE)
            else "Nothing to do where it has asked for that (Retry-After): it goes on by itself. Sooner, if the "
            f"partner says so: 'Try again now' in the admin (Completion webhooks, Status); {test} sends at once, pause "
            "or not"
        )
        yield warning(
            f"{who}: left alone for another {span(health.paused_until - now)}, {health.last_failure or 'as it asked'} "
            f"{ago(now - health.last_failure_at) if health.last_failure_at else ''}".rstrip(),
            advice,
            name,
        )


def _parked(endpoint: EnterpriseWebhookConfiguration) -> int:
    parked = WebhookTransmissionQueue.objects.filter(status=WebhookStatus.PARKED, endpoint_id=endpoint.pk)
    return parked.aggregate(rows=Count("pk"))["rows"]


def _dial(every: Sequence[EnterpriseWebhookConfiguration], ways: dict[int, Found]) -> dict[int, Future]:
    """Connect to all of them, many at once, and hang up; their token servers are asked for a token."""
    pool = ThreadPoolExecutor(DIALLED_AT_ONCE, thread_name_prefix="webhook-doctor")
    dialled: dict[int, Future] = {
        endpoint.pk: pool.submit(
            try_connection, endpoint.webhook_url, min(DIAL_SECONDS, endpoint.timeout_seconds), endpoint.ca_bundle
        )
        for endpoint in every
    }
    times = {endpoint.pk: min(DIAL_SECONDS, endpoint.timeout_seconds) for endpoint in every}
    asked: list[Future] = [
        pool.submit(way.within, times[pk]) for pk, way in ways.items() if isinstance(way, TokenRequest)
    ]
    wait([*dialled.values(), *asked], timeout=ALL_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    return {pk: job for pk, job in dialled.items() if not job.cancelled()}


def _host(url: str) -> str:
    """Host and port alone: a path or a query may be a secret."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    except ValueError:
        return "a URL that cannot be read"
