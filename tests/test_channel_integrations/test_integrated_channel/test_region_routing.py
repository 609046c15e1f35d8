# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which region a learner belongs to, and which endpoint then gets the webhook, if any."""

import itertools
import json
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from enterprise.models import EnterpriseCustomer
from social_django.models import UserSocialAuth

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import addressing, backfill, delivery
from channel_integrations.integrated_channel.services.region_service import (
    EU_MEMBER_STATES,
    get_user_region,
    region_of,
)
from channel_integrations.integrated_channel.services.replay import Selection, replay
from channel_integrations.integrated_channel.services.webhook_routing import (
    NoWebhookConfigured,
    endpoint_for,
    route_webhook_by_region,
)
from tests.factories import grade_event, make_customer, make_endpoint, make_learner, write_grade

REGIONS = ("US", "EU", "OTHER")
NOWHERE = None


def sign_on(learner, country):
    UserSocialAuth.objects.create(user=learner, provider="saml", uid=str(uuid.uuid4()), extra_data={"country": country})


def endpoint(region, **accepts):
    return EnterpriseWebhookConfiguration(region=region, **accepts)


# The region


@pytest.mark.parametrize(
    ("country", "region"),
    [
        *((state, "EU") for state in sorted(EU_MEMBER_STATES)),
        *(("US", "US"), ("USA", "US"), ("840", "US")),
        *(("EU", "EU"), ("EL", "EU"), ("DEU", "EU"), ("IRL", "EU")),
        *(("GB", "OTHER"), ("CH", "OTHER"), ("NO", "OTHER"), ("PR", "OTHER"), ("GERMANY", "OTHER"), ("XX", "OTHER")),
    ],
)
def test_the_region_of_a_country(country, region):
    assert region_of(country) == region


def test_the_union_has_27_members():
    assert len(EU_MEMBER_STATES) == 27 and not EU_MEMBER_STATES & {"GB", "CH", "NO", "US"}


@pytest.mark.django_db
@pytest.mark.parametrize("customers", ["US", "DE", "GB", None, ""])
@pytest.mark.parametrize(
    ("country", "region"),
    [("US", "US"), (["us"], "US"), (" de ", "EU"), (["Fr"], "EU"), ("eu", "EU"), ("GB", "OTHER"), (("br",), "OTHER")],
)
def test_what_the_sign_on_record_says_counts_whatever_the_customers_country(customers, country, region):
    customer = make_customer(country=customers)
    learner = make_learner(customer)
    sign_on(learner, country)
    assert get_user_region(learner, EnterpriseCustomer.objects.get(pk=customer.pk)) == region
    assert get_user_region(learner) == region


@pytest.mark.django_db
@pytest.mark.parametrize("country", ["", [], None, 7, [None], {"code": "US"}, "no record", "no country", "no dict"])
@pytest.mark.parametrize(
    ("customers", "region"), [("US", "US"), ("DE", "EU"), ("GB", "OTHER"), ("", "OTHER"), (None, "OTHER")]
)
def test_without_it_the_customers_country_counts(country, customers, region):
    customer = make_customer(country=customers)
    learner = make_learner(customer)
    if country in ("no country", "no dict"):
        extra_data = {"email": "x"} if country == "no country" else "text"
        UserSocialAuth.objects.create(user=learner, provider="saml", uid="x", extra_data=extra_data)
    elif country != "no record":
        sign_on(learner, country)
    assert get_user_region(learner, EnterpriseCustomer.objects.get(pk=customer.pk)) == region
    assert get_user_region(learner) == "OTHER"


@pytest.mark.django_db
def test_the_latest_record_that_names_a_country_decides():
    learner = make_learner()
    for country in ("US", "DE", ""):
        sign_on(learner, country)
    assert get_user_region(learner) == "EU"


# The endpoint: every combination of learner, endpoints and what that for OTHER accepts

#: what each of the two is in the database: NULL where a release wrote the row that did not know of them
TICKS = (True, False, None)


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("there", [some for size in range(4) for some in itertools.combinations(REGIONS, size)])
@pytest.mark.parametrize(("us", "eu"), itertools.product(TICKS, TICKS))
def test_where_a_webhook_goes(region, there, us, eu):
    endpoints = [endpoint(each, accepts_us=us, accepts_eu=eu) for each in there]
    accepted = {"US": us is not False, "EU": eu is True, "OTHER": True}[region]
    other = "OTHER" if "OTHER" in there and accepted else NOWHERE
    expected = region if region in there else other
    for order in (endpoints, endpoints[::-1]):
        if expected is NOWHERE:
            with pytest.raises(NoWebhookConfigured) as raised:
                endpoint_for(region, order)
            assert raised.value.args == (region,)
        else:
            assert endpoint_for(region, order).region == expected


@pytest.mark.django_db
def test_another_customers_endpoint_is_none():
    customer, other = make_customer(country="DE"), make_customer()
    make_endpoint(other, "https://other.example.com/hook", region="EU")
    learner = make_learner(customer)
    with pytest.raises(NoWebhookConfigured, match="EU"):
        route_webhook_by_region(learner, customer)
    theirs = make_endpoint(customer, "https://acme.example.com/hook", region="EU")
    assert route_webhook_by_region(learner, customer) == theirs


# On its way


def rows():
    return {row.user_id: row for row in WebhookTransmissionQueue.objects.all()}


@pytest.mark.django_db
def test_each_learner_of_one_round_goes_to_the_right_place(receiver):
    """Of two customers, one in the EU; with a country and without."""
    for path in ("/us", "/eu", "/other", "/german"):
        receiver.expect_request(path).respond_with_data("ok")
    acme, german = make_customer("Acme"), make_customer("Deutsch", country="DE")
    for region in REGIONS:
        make_endpoint(acme, receiver.url_for(f"/{region.lower()}"), region=region)
    make_endpoint(german, receiver.url_for("/german"))
    expected = {}
    for customer, country, path in (
        *((acme, "us", "/us"), (acme, ["AT"], "/eu"), (acme, "BR", "/other"), (acme, None, "/other")),
        *((german, "us", "/german"), (german, "DE", NOWHERE), (german, "BR", "/german"), (german, None, NOWHERE)),
    ):
        learner = make_learner(customer)
        if country:
            sign_on(learner, country)
        grade_event(learner)
        expected[learner.pk] = path
    delivery.deliver_due()
    went = {json.loads(request.get_data())["learner"]["user_id"]: request.path for request, _ in receiver.log}
    assert went == {learner: path for learner, path in expected.items() if path}
    nowhere = [row for user_id, row in rows().items() if user_id not in went]
    assert {(row.status, row.region) for row in nowhere} == {(WebhookStatus.NO_ENDPOINT, "EU")}


@pytest.mark.django_db
def test_what_found_no_endpoint_goes_out_once_that_for_other_accepts_it(receiver):
    customer = make_customer(country="DE")
    other = make_endpoint(customer, receiver.url_for("/hook"))
    grade_event(make_learner(customer))
    delivery.deliver_due()
    assert not receiver.log
    other.accepts_eu = True
    other.save()
    replay(Selection())
    delivery.deliver_due()
    (row,) = rows().values()
    assert (row.status, row.region, len(receiver.log)) == (WebhookStatus.DELIVERED, "OTHER", 1)


def made_for_other(receiver, **fields):
    """A webhook about a learner from the EU that the endpoint for OTHER has refused for now."""
    receiver.clear()
    receiver.expect_request("/hook").respond_with_data("later", status=503)
    customer = make_customer(country="DE")
    other = make_endpoint(customer, receiver.url_for("/hook"), accepts_eu=True, **fields)
    learner = make_learner(customer)
    grade_event(learner)
    delivery.deliver_due()
    assert len(receiver.log) == 1
    return other, learner


@pytest.mark.django_db
@pytest.mark.parametrize("change", [{"accepts_eu": False}, {"accepts_eu": None}, {"region": "US"}, {}])
def test_an_endpoint_that_takes_the_region_no_longer_gets_no_further_attempt(receiver, change):
    """Its operator has changed what it accepts, or made it another region's, while the webhook waited."""
    other, _learner = made_for_other(receiver)
    EnterpriseWebhookConfiguration.objects.filter(pk=other.pk).update(**change or {"webhook_timeout_seconds": 20})
    WebhookTransmissionQueue.objects.update(due_at=timezone.now() - timedelta(minutes=1))
    delivery.deliver_due()
    (row,) = rows().values()
    if change:
        said = "the endpoint does not take the learner's region"
        assert (row.status, row.reason, len(receiver.log)) == (WebhookStatus.CANCELLED, said, 1)
    else:
        assert (row.status, len(receiver.log)) == (WebhookStatus.PENDING, 2)


@pytest.mark.django_db
def test_a_replay_does_not_go_to_an_endpoint_that_has_become_another_regions(receiver):
    other, _learner = made_for_other(receiver)
    WebhookTransmissionQueue.objects.update(status=WebhookStatus.FAILED, lease_token=None)
    EnterpriseWebhookConfiguration.objects.filter(pk=other.pk).update(region="US")
    replay(Selection())
    delivery.deliver_due()
    (row,) = rows().values()
    assert (row.status, len(receiver.log)) == (WebhookStatus.CANCELLED, 1)


@pytest.mark.django_db
def test_a_backfill_follows_the_customers_country():
    customer = make_customer(country="DE")
    other = make_endpoint(customer, "https://other.example.com/hook")
    european = make_endpoint(customer, "https://eu.example.com/hook", region="EU")
    write_grade(make_learner(customer), passed_at=timezone.now() - timedelta(days=20))
    since = timezone.now() - timedelta(days=30)
    assert (backfill.count_missing(other, since), backfill.count_missing(european, since)) == (0, 1)


@pytest.mark.django_db
def test_the_sign_on_records_of_a_round_are_one_query(receiver):
    customer = make_customer(country="DE")
    make_endpoint(customer, receiver.url_for("/hook"))
    for _ in range(5):
        learner = make_learner(customer)
        sign_on(learner, "US")
        grade_event(learner)
    with CaptureQueriesContext(connection) as asked:
        assert addressing.address_due() == 5
    assert len([query for query in asked if "social_auth" in query["sql"]]) == 1
    assert {row.status for row in rows().values()} == {WebhookStatus.PENDING}
