# SPDX-License-Identifier: AGPL-3.0-or-later
"""SNOWFLAKE_CONFIG: what is missing, how it signs in, what the connector gets."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from channel_integrations.integrated_channel.exceptions import SnowflakeNotConfigured
from channel_integrations.integrated_channel.snowflake_sign_in import connect_arguments, missing_keys, ways_to_sign_in

BASE = {"account": "a", "user": "u", "warehouse": "w", "database": "d", "schema": "s", "role": "r"}
WAYS = [
    ({"password": "p"}, "password"),
    ({"private_key_file": "/key.p8"}, "key pair"),
    ({"private_key_path": "/key.p8"}, "key pair"),
    ({"private_key": "-----BEGIN"}, "key pair"),
    ({"token": "t"}, "token"),
    ({"token_file_path": "/token"}, "token"),
    ({"token": "t", "authenticator": "PROGRAMMATIC_ACCESS_TOKEN"}, "token"),
    ({"token": "t", "authenticator": "oauth"}, "OAuth"),
    (
        {"authenticator": "OAUTH_CLIENT_CREDENTIALS", "oauth_client_id": "i", "oauth_client_secret": "s"},
        "OAuth",
    ),
    ({"authenticator": "WORKLOAD_IDENTITY", "workload_identity_provider": "AWS"}, "workload identity"),
    ({"authenticator": "WORKLOAD_IDENTITY", "token": "t"}, "workload identity"),
    ({"workload_identity_provider": "AWS"}, "workload identity"),
]


@pytest.mark.parametrize(("extra", "way"), WAYS)
def test_each_way_is_recognised_alone(extra, way):
    assert ways_to_sign_in({**BASE, **extra}) == [way]


@pytest.mark.parametrize(
    "extra",
    [{"authenticator": "oauth"}, {"authenticator": "OAUTH_CLIENT_CREDENTIALS"}, {"authenticator": "externalbrowser"}],
)
def test_an_authenticator_without_what_it_needs_is_no_way(extra):
    assert ways_to_sign_in({**BASE, **extra}) == []


@pytest.mark.parametrize("nothing", [None, ""])
def test_an_empty_authenticator_is_none(nothing):
    assert connect_arguments({**BASE, "token": "t", "authenticator": nothing})["authenticator"] == (
        "PROGRAMMATIC_ACCESS_TOKEN"
    )


def test_a_key_given_as_der_stays_der(key):
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    assert connect_arguments({**BASE, "private_key": der})["private_key"] == der


def test_no_way_to_sign_in_and_two_of_them_are_seen_as_such():
    assert ways_to_sign_in(BASE) == []
    assert len(ways_to_sign_in({**BASE, "password": "p", "private_key_file": "/k"})) == 2


@pytest.mark.parametrize("key", sorted(BASE))
def test_each_missing_key_is_named(key):
    config = {**BASE, "password": "p"}
    del config[key]
    assert missing_keys(config) == [key]


def test_a_workload_has_no_user():
    config = {**BASE, "authenticator": "WORKLOAD_IDENTITY"}
    del config["user"]
    assert missing_keys(config) == []


@pytest.mark.parametrize(("extra", "way"), [pair for pair in WAYS if pair[1] != "key pair"])
def test_the_connector_gets_what_was_written(extra, way):
    arguments = connect_arguments({**BASE, **extra, "ocsp_fail_open": False})
    assert {**BASE, **extra, "ocsp_fail_open": False}.items() <= arguments.items()
    if way == "token":
        assert arguments["authenticator"] == "PROGRAMMATIC_ACCESS_TOKEN"


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.mark.parametrize("passphrase", [None, "open sesame"])
@pytest.mark.parametrize("as_file", [True, False])
def test_a_key_pair_reaches_the_connector_as_der(key, tmp_path, passphrase, as_file):
    encryption = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    path = tmp_path / "key.p8"
    path.write_bytes(pem)
    given = {"private_key_file": str(path)} if as_file else {"private_key": pem.decode()}
    arguments = connect_arguments({**BASE, **given, "private_key_passphrase": passphrase})
    assert serialization.load_der_private_key(arguments["private_key"], None).private_numbers() == key.private_numbers()
    assert "private_key_passphrase" not in arguments and "private_key_file" not in arguments


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"password": "secret-1", "token": "secret-2"},
        {"private_key_file": "/not/there"},
        {"private_key": "not a key: secret-3"},
        {"private_key": "x", "private_key_file": "y"},
    ],
)
def test_what_cannot_sign_in_says_so_without_the_secret(extra):
    with pytest.raises(SnowflakeNotConfigured) as failure:
        connect_arguments({**BASE, **extra})
    assert "secret" not in str(failure.value)


def test_a_wrong_passphrase(key):
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"right")
    )
    with pytest.raises(SnowflakeNotConfigured) as failure:
        connect_arguments({**BASE, "private_key": pem.decode(), "private_key_passphrase": "wrong"})
    assert failure.value.__cause__ is not None
