# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is asked of a token server, and what of its answers is believed."""

import json
import ssl

import pytest
import trustme
from pytest_httpserver import HTTPServer
from werkzeug import Response

from channel_integrations.integrated_channel.exceptions import SignInFailed
from channel_integrations.integrated_channel.http_client import MAX_ANSWER_BYTES
from channel_integrations.integrated_channel.oauth import (
    LIFE_UNTOLD,
    LONGEST_LIFE,
    AccessToken,
    Client,
    ask_for_token,
    seconds_of_use,
)

GOOD = {"access_token": "abc", "token_type": "Bearer", "expires_in": 3600}


@pytest.fixture
def token_server(httpserver, settings):
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = True
    return httpserver


def ask(server, seconds=5.0, **fields):
    return ask_for_token(Client(server.url_for("/token"), "client", "hush", **fields), seconds)


def answers(server, body, status=200, **headers):
    server.expect_request("/token").respond_with_data(
        body if isinstance(body, str) else json.dumps(body), status, headers
    )


@pytest.mark.parametrize(
    ("body", "token"),
    [
        (GOOD, AccessToken("abc", 3540.0)),
        ({**GOOD, "token_type": "bearer", "expires_in": "600"}, AccessToken("abc", 540.0)),
        ({**GOOD, "refresh_token": "r", "scope": "other"}, AccessToken("abc", 3540.0)),
        ({**GOOD, "access_token": "x" * 8000}, AccessToken("x" * 8000, 3540.0)),
    ],
)
def test_an_answer_that_is_believed(token_server, body, token):
    answers(token_server, body)
    assert ask(token_server) == token
    request, _response = token_server.log[0]
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert request.headers["Accept"] == "application/json"
    assert request.headers["Authorization"] == "Basic Y2xpZW50Omh1c2g="
    assert request.get_data() == b"grant_type=client_credentials"


def test_a_server_that_takes_json_alone(token_server):
    """It may leave out what kind of token it gives; what it does say has to be right."""
    answers(token_server, {"access_token": "abc", "expires_in": 3600})
    assert ask(token_server, authentication="json", scope="api") == AccessToken("abc", 3540.0)
    request, _response = token_server.log[0]
    assert request.json == {
        "grant_type": "client_credentials",
        "scope": "api",
        "client_id": "client",
        "client_secret": "hush",
    }
    assert "Authorization" not in request.headers
    with pytest.raises(SignInFailed, match="token_type"):
        ask(token_server)
    token_server.clear()
    answers(token_server, {**GOOD, "token_type": "mac"})
    with pytest.raises(SignInFailed, match="token_type"):
        ask(token_server, authentication="json")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"error": "invalid_client"}, 401, "token server: HTTP 401 invalid_client"),
        ({"error": "invalid_scope", "error_description": "hush"}, 400, "token server: HTTP 400 invalid_scope"),
        ({"error": "hush"}, 400, "token server: HTTP 400"),
        ({"error": ["invalid_client"]}, 400, "token server: HTTP 400"),
        ("<html>hush</html>", 502, "token server: HTTP 502"),
        ("<html>hush</html>", 200, "token server: no access_token in its answer"),
        ("[" * 20_000, 200, "token server: no access_token in its answer"),
        ([GOOD], 200, "token server: no access_token in its answer"),
        ({**GOOD, "access_token": ""}, 200, "token server: no access_token in its answer"),
        ({**GOOD, "access_token": "a b"}, 200, "token server: no access_token in its answer"),
        ({**GOOD, "access_token": "a\r\nX-Evil: 1"}, 200, "token server: no access_token in its answer"),
        ({**GOOD, "access_token": "t\u00f6ken"}, 200, "token server: no access_token in its answer"),
        ({**GOOD, "access_token": 7}, 200, "token server: no access_token in its answer"),
        ({**GOOD, "token_type": "mac"}, 200, "token server: token_type is not bearer"),
        ({"access_token": "abc"}, 200, "token server: token_type is not bearer"),
        ({**GOOD, "filler": "x" * MAX_ANSWER_BYTES}, 200, "token server: no access_token in its answer"),
    ],
)
def test_an_answer_that_is_not(token_server, body, status, said):
    answers(token_server, body, status)
    with pytest.raises(SignInFailed) as caught:
        ask(token_server)
    assert str(caught.value) == said


def test_a_redirect_is_not_followed(token_server):
    answers(token_server, "", 307, Location=token_server.url_for("/elsewhere"))
    with pytest.raises(SignInFailed, match="HTTP 307"):
        ask(token_server)
    assert len(token_server.log) == 1


@pytest.mark.parametrize("url", ["https://10.0.0.1/token", "http://login.example.com/token"])
def test_only_public_https_is_called(url):
    with pytest.raises(SignInFailed, match="token server: address_refused"):
        ask_for_token(Client(url, "client", "hush"), 5.0)


def test_the_endpoints_own_certificates_are_trusted(settings):
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = True
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with HTTPServer(ssl_context=context) as server:
        server.expect_request("/token").respond_with_response(Response(json.dumps(GOOD)))
        with pytest.raises(SignInFailed, match="token server: connection"):
            ask(server)
        assert ask(server, ca_bundle=authority.cert_pem.bytes().decode()).value == "abc"


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (3600, 3540.0),
        (60, 54.0),
        ("120", 108.0),
        (0, 0.0),
        (-5, 0.0),
        (10**400, LIFE_UNTOLD * 0.9),
        (10**12, LONGEST_LIFE - 60.0),
        (None, LIFE_UNTOLD * 0.9),
        ("soon", LIFE_UNTOLD * 0.9),
        ([], LIFE_UNTOLD * 0.9),
        (float("nan"), LIFE_UNTOLD * 0.9),
        (float("inf"), LONGEST_LIFE - 60.0),
    ],
)
def test_how_long_a_token_is_used(expires_in, seconds):
    assert seconds_of_use(expires_in) == seconds


def test_nothing_secret_in_what_is_written_of_them():
    assert "hush" not in repr(Client("https://login.example.com", "client", "hush"))
    assert "hush" not in repr(AccessToken("hush", 1.0))
