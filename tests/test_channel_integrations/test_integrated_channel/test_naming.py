# SPDX-License-Identifier: AGPL-3.0-or-later
"""How learners are named to endpoints, and that no endpoint learns what another one knows them by."""

from uuid import UUID

import pytest
from cryptography.fernet import Fernet
from django.db import connection
from django.test.utils import CaptureQueriesContext
from enterprise.models import EnterpriseCustomerIdentityProvider
from social_django.models import UserSocialAuth

from channel_integrations.integrated_channel.exceptions import IdsMissing, WebhookNotWritable
from channel_integrations.integrated_channel.models import WebhookPseudonymKey
from channel_integrations.integrated_channel.services.naming import named, prefetch
from tests.factories import make_customer, make_endpoint, make_learner

URL = "https://partner.example.com/hook"
USER, ORG = "5b1f0c9e-77aa-4c7e-9d55-2f4b8a6e1c30", "c0a8012e-1111-4222-8333-944455566677"
IDS = {"PercipioUserUUID": USER, "percipioOrganizationUuid": ORG}

pytestmark = pytest.mark.django_db


@pytest.fixture
def customer():
    return make_customer()


@pytest.fixture
def learner(customer):
    return make_learner(customer, username="maria", email="maria@example.com")


def endpoint_of(customer, **choices):
    return make_endpoint(customer, URL, **choices)


def sign_on(learner, uid="acme:7", **extra_data):
    return UserSocialAuth.objects.create(user=learner, provider="tpa-saml", uid=uid, extra_data=extra_data)


@pytest.mark.parametrize("naming", [None, "username_and_email"])
def test_by_default_as_the_contract_says(customer, learner, naming):
    endpoint = endpoint_of(customer, learner_naming=naming)
    expected = {"user_id": learner.pk, "username": "maria", "email": "maria@example.com"}
    assert named(endpoint, customer, learner) == expected


def test_by_the_sign_on_id_and_nothing_else(customer, learner):
    endpoint = endpoint_of(customer, learner_naming="sign_on_id")
    sign_on(learner, "acme:6")
    sign_on(learner, "acme:7", country="DE")
    assert named(endpoint, customer, learner) == {"sign_on_id": "acme:7"}


@pytest.mark.parametrize(
    "extra_data",
    [IDS, {key: [value] for key, value in IDS.items()}, {**IDS, "PercipioUserUUID": f" {USER} "}],
)
def test_percipio_knows_learners_by_its_own_ids(customer, learner, extra_data):
    endpoint = endpoint_of(customer, payload_format="percipio")
    sign_on(learner, **extra_data)
    assert named(endpoint, customer, learner) == {"user": USER, "orgid": ORG}


def test_both_ids_are_of_one_record(customer, learner):
    """The most recent one that has both; an id of one account with an id of another would name somebody else."""
    endpoint = endpoint_of(customer, payload_format="percipio")
    sign_on(learner, "1", PercipioUserUUID="old", percipioOrganizationUuid="older")
    sign_on(learner, "2", **IDS)
    sign_on(learner, "3", PercipioUserUUID="half")
    assert named(endpoint, customer, learner) == {"user": USER, "orgid": ORG}


@pytest.mark.parametrize(
    ("choices", "extra_data", "reason"),
    [
        ({"learner_naming": "sign_on_id"}, None, "the learner has no sign-on record"),
        ({"payload_format": "percipio"}, None, "the learner has no sign-on record"),
        (
            {"payload_format": "percipio"},
            {"country": "DE"},
            "the sign-on record lacks PercipioUserUUID, percipioOrganizationUuid",
        ),
        (
            {"payload_format": "percipio"},
            {"PercipioUserUUID": USER},
            "the sign-on record lacks percipioOrganizationUuid",
        ),
        (
            {"payload_format": "percipio"},
            {**IDS, "PercipioUserUUID": []},
            "the sign-on record lacks PercipioUserUUID",
        ),
        ({"payload_format": "percipio"}, {**IDS, "PercipioUserUUID": ""}, "the sign-on record lacks PercipioUserUUID"),
    ],
)
def test_who_lacks_ids(customer, learner, choices, extra_data, reason):
    if extra_data is not None:
        sign_on(learner, **extra_data)
    for missing_ids in (None, "hold", "skip"):
        customer.webhook_endpoints.all().delete()
        with pytest.raises(IdsMissing) as error:
            named(endpoint_of(customer, missing_ids=missing_ids, **choices), customer, learner)
        assert str(error.value) == reason


def test_null_where_the_endpoint_takes_it(customer, learner):
    endpoint = endpoint_of(customer, payload_format="percipio", missing_ids="nulls")
    assert named(endpoint, customer, learner) == {"user": None, "orgid": None}
    sign_on(learner, PercipioUserUUID=USER)
    assert named(endpoint, customer, learner) == {"user": USER, "orgid": None}
    endpoint.payload_format, endpoint.learner_naming = None, "sign_on_id"
    UserSocialAuth.objects.all().delete()
    assert named(endpoint, customer, learner) == {"sign_on_id": None}


def test_how_another_customers_identity_provider_calls_the_learner_is_not_told(customer, learner):
    EnterpriseCustomerIdentityProvider.objects.create(enterprise_customer=customer, provider_id="saml-acme")
    other = make_customer("Globex")
    for uid in ("acme:7", "globex:maria@globex.example"):
        sign_on(learner, uid, **IDS)
    by_id = {"learner_naming": "sign_on_id"}
    assert named(endpoint_of(customer, **by_id), customer, learner) == {"sign_on_id": "acme:7"}
    UserSocialAuth.objects.filter(uid="acme:7").delete()
    for choices in (by_id, {"payload_format": "percipio"}):
        customer.webhook_endpoints.all().delete()
        with pytest.raises(IdsMissing, match="no sign-on record"):
            named(endpoint_of(customer, **choices), customer, learner)
    EnterpriseCustomerIdentityProvider.objects.create(enterprise_customer=other, provider_id="oa2-globex")
    assert named(endpoint_of(other, **by_id), other, learner) == {"sign_on_id": "globex:maria@globex.example"}


# Pseudonyms


def test_a_pseudonym_is_a_uuid_that_stays_the_same(customer, learner):
    endpoint = endpoint_of(customer, learner_naming="pseudonym")
    first, second = named(endpoint, customer, learner), named(endpoint, customer, learner)
    assert first == second and set(first) == {"pseudonym"}
    assert UUID(first["pseudonym"]).version == 8 and str(UUID(first["pseudonym"])) == first["pseudonym"]
    customer.webhook_endpoints.all().delete()
    assert named(endpoint_of(customer, learner_naming="pseudonym", region="EU"), customer, learner) == first


def test_each_learner_and_each_customer_has_another(customer, learner):
    other = make_customer("Globex")
    endpoints = [endpoint_of(each, learner_naming="pseudonym") for each in (customer, other)]
    people = (learner, make_learner(customer))
    pseudonyms = [named(each, each.enterprise_customer, person)["pseudonym"] for each in endpoints for person in people]
    assert len(set(pseudonyms)) == 4


def test_a_key_that_cannot_be_read_is_not_replaced_and_holds_up_nobody_else(customer, learner, settings):
    other = make_customer("Globex")
    mine, theirs = (endpoint_of(each, learner_naming="pseudonym") for each in (customer, other))
    named(mine, customer, learner)
    with connection.cursor() as cursor:
        column = connection.ops.quote_name("key")
        sql = f"UPDATE channel_webhooks_webhookpseudonymkey SET {column} = %s"
        cursor.execute(sql, [Fernet(Fernet.generate_key()).encrypt(b"00")])
    among = prefetch([], [mine, theirs])
    with pytest.raises(WebhookNotWritable, match="pseudonym key cannot be decrypted"):
        named(mine, customer, learner, among)
    assert set(named(theirs, other, learner, among)) == {"pseudonym"}
    assert WebhookPseudonymKey.objects.count() == 2


def test_the_key_is_not_legible_in_the_database(customer, learner):
    named(endpoint_of(customer, learner_naming="pseudonym"), customer, learner)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM channel_webhooks_webhookpseudonymkey")
        written = b" ".join(bytes(value) for value in cursor.fetchone() if isinstance(value, (bytes, memoryview)))
    assert written and WebhookPseudonymKey.objects.get().key.encode() not in written


def test_what_many_learners_take_is_fetched_at_once(customer):
    learners = [make_learner(customer) for _ in range(3)]
    endpoints = [
        endpoint_of(customer, learner_naming="sign_on_id"),
        endpoint_of(customer, learner_naming="pseudonym", region="EU"),
        endpoint_of(customer, payload_format="percipio", region="US"),
    ]
    for number, learner in enumerate(learners):
        sign_on(learner, f"acme:{number}", **IDS)
    prefetch([each.pk for each in learners], endpoints)  # which makes the key
    counts = []
    for some in (learners[:1], learners):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            among = prefetch([each.pk for each in some], endpoints)
            for endpoint in endpoints:
                for learner in some:
                    named(endpoint, customer, learner, among)
        counts.append(len(queries))
    assert counts == [3, 3]
    with CaptureQueriesContext(connection) as queries:
        prefetch([each.pk for each in learners], [make_endpoint(make_customer("Plain"), URL)])
    assert [query["sql"] for query in queries if "social" in query["sql"] or "pseudonym" in query["sql"]] == []
