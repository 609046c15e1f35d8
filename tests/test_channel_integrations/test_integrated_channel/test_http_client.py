# SPDX-License-Identifier: AGPL-3.0-or-later
"""The way out, over real sockets; and the targets it must not dial."""

import gzip
import ipaddress
import socket
import ssl
import struct
import threading
import time

import pytest
import trustme
from pytest_httpserver import HTTPServer
from werkzeug import Response

from channel_integrations.integrated_channel.addresses import check_address
from channel_integrations.integrated_channel.exceptions import AddressRefused, ConnectionFailed, DeadlineExceeded
from channel_integrations.integrated_channel.http_client import check_url, post_json
from tests.servers import free_port


@pytest.fixture
def development(settings):
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = True


class RawServer:
    """A TCP server whose answer to each connection is a function of the socket."""

    def __init__(self, talk):
        self.accepted = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        self.talk = talk
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        with connection:
            try:
                self.talk(connection)
            except OSError:
                pass


@pytest.fixture
def raw_server():
    servers = []

    def start(talk):
        servers.append(RawServer(talk))
        return servers[-1]

    yield start
    for server in servers:
        server.listener.close()


def post(url, timeout=5.0, **more):
    return post_json(url, b'{"a":1}', {}, timeout, **more)


def test_the_body_arrives_as_it_is(httpserver, development):
    httpserver.expect_request("/hook", method="POST").respond_with_data("thanks", status=202)
    answer = post(httpserver.url_for("/hook"))
    (request, _) = httpserver.log[0]
    assert request.get_data() == b'{"a":1}'
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"].startswith("channel-integrations/")
    assert (answer.status, answer.body_start) == (202, "thanks")
    assert answer.duration_ms >= 0


@pytest.mark.parametrize("status", [200, 301, 302, 307, 400, 410, 500])
def test_every_answer_is_returned_and_no_redirect_followed(httpserver, development, status):
    httpserver.expect_request("/hook").respond_with_data("", status=status, headers={"Location": "/elsewhere"})
    assert post(httpserver.url_for("/hook")).status == status
    assert len(httpserver.log) == 1


def test_connections_are_kept(raw_server, development):
    def talk(connection):
        while connection.recv(65536):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = raw_server(talk)
    for _ in range(5):
        assert post(server.url).status == 200
    assert server.accepted == 1


def test_a_connection_that_the_other_side_closed_is_opened_anew(raw_server, development):
    def talk(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = raw_server(talk)
    for _ in range(3):
        assert post(server.url).status == 200
        time.sleep(0.05)
    assert server.accepted == 3


def drip_headers(connection):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(100):
        connection.sendall(b"X-%d: 1\r\n" % number)
        time.sleep(0.1)


def drip_body(connection):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(100):
        connection.sendall(b"x")
        time.sleep(0.1)


def say_nothing(connection):
    connection.recv(65536)
    time.sleep(5)


@pytest.mark.parametrize("talk", [drip_headers, drip_body, say_nothing])
def test_the_deadline_holds_however_the_answer_is_fed(raw_server, development, talk):
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        post(raw_server(talk).url, timeout=0.6)
    assert 0.5 < time.monotonic() - started < 1.2


def test_the_deadline_holds_in_a_tls_handshake(raw_server, development):
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        post(raw_server(say_nothing).url.replace("http://", "https://"), timeout=0.6)
    assert time.monotonic() - started < 1.2


def test_the_deadline_holds_in_the_name_lookup(monkeypatch, development):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: time.sleep(3) or [])
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        post("https://slow.example.com/", timeout=0.5)
    assert time.monotonic() - started < 1.2


def test_an_endless_answer_is_read_up_to_the_cap(raw_server, development):
    sent = 0

    def talk(connection):
        nonlocal sent
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sent += connection.send(b"x" * 65536)

    answer = post(raw_server(talk).url)
    assert answer.status == 200 and len(answer.body_start) == 1024
    before = sent
    time.sleep(0.2)
    assert sent == before, "the connection was left open for the rest of the answer"


def test_a_compressed_answer_is_not_inflated(httpserver, development):
    bomb = gzip.compress(b"\0" * 50_000_000)
    httpserver.expect_request("/").respond_with_response(Response(bomb, headers={"Content-Encoding": "gzip"}))
    started = time.monotonic()
    assert post(httpserver.url_for("/")).status == 200
    assert time.monotonic() - started < 2


def reset(connection):
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    "talk", [reset, lambda connection: connection.recv(10), lambda c: c.sendall(b"hello?\r\n\r\n")]
)
def test_a_broken_conversation_is_one_error(raw_server, development, talk):
    with pytest.raises(ConnectionFailed) as failure:
        post(raw_server(talk).url + "?key=secret")
    assert "secret" not in str(failure.value) and failure.value.__cause__ is not None


def test_nobody_listening(development):
    with pytest.raises(ConnectionFailed):
        post(f"http://127.0.0.1:{free_port()}/")


def test_a_name_that_does_not_exist(monkeypatch):
    def no_such_name(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    with pytest.raises(ConnectionFailed):
        post("https://nowhere.example.com/")


def test_the_next_address_is_tried(httpserver, monkeypatch, development):
    httpserver.expect_request("/").respond_with_data("ok")
    where = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, httpserver.port)) for host in ("127.0.0.9", "127.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: where)
    assert post(f"http://two.example.com:{httpserver.port}/").status == 200
    assert httpserver.log[0][0].headers["Host"] == f"two.example.com:{httpserver.port}"


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch):
    where = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 443)) for host in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: where)
    with pytest.raises(AddressRefused):
        post("https://mixed.example.com/")


def test_neither_proxy_nor_netrc_of_the_environment(httpserver, development, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    httpserver.expect_request("/").respond_with_data("ok")
    assert post(httpserver.url_for("/")).status == 200
    assert "Authorization" not in httpserver.log[0][0].headers


@pytest.fixture
def authority(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.bundle = str(tmp_path / "ca.pem")
    return authority


@pytest.fixture
def tls_server(authority):
    servers = []

    def start(name="localhost", highest=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        if highest:
            context.minimum_version = highest
            context.maximum_version = highest
            context.set_ciphers("ALL:@SECLEVEL=0")
        server = HTTPServer(ssl_context=context)
        server.start()
        server.expect_request("/").respond_with_data("ok")
        servers.append(server)
        return f"https://localhost:{server.port}/"

    yield start
    for server in servers:
        server.stop()


def test_tls_with_a_certificate_of_a_known_authority(tls_server, authority, development):
    url = tls_server()
    assert post(url, ca_bundle=authority.bundle).status == 200
    assert post(url, ca_bundle=authority.bundle).status == 200


def test_an_unknown_authority_is_refused(tls_server, development):
    with pytest.raises(ConnectionFailed):
        post(tls_server())


def test_trust_in_one_endpoints_authority_does_not_spread(tls_server, authority, development):
    url = tls_server()
    assert post(url, ca_bundle=authority.bundle).status == 200
    with pytest.raises(ConnectionFailed):
        post(url)


def test_a_certificate_for_another_name_is_refused(tls_server, authority, development):
    with pytest.raises(ConnectionFailed):
        post(tls_server(name="other.example.com"), ca_bundle=authority.bundle)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_old_tls_is_refused(tls_server, authority, development):
    with pytest.raises(ConnectionFailed):
        post(tls_server(highest=ssl.TLSVersion.TLSv1_1), ca_bundle=authority.bundle)


HOSTILE_URLS = [
    "http://partner.example.com/", "ftp://partner.example.com/", "file:///etc/passwd", "gopher://partner.example.com/",
    "https://", "https:///path", "", "partner.example.com", "//partner.example.com/", "javascript:alert(1)",
    "https://user@partner.example.com/", "https://user:pw@partner.example.com/", "https://partner.example.com@evil.com/",
    "https://partner.example.com/#x", "https://partner.example.com\\@evil.com/", "https://partner.example.com/ x",
    "https://partner.example.com/\r\nHost: x", "https://partner.example.com:22/", "https://partner.example.com:25/",
    "https://partner.example.com:80/", "https://partner.example.com:0/", "https://partner.example.com:99999/",
    "https://localhost/", "https://LOCALHOST/", "https://localhost./", "https://x.localhost/", "https://printer.local/",
    "https://metadata.google.internal/", "https://intranet/", "https://partner.example.com./",
    "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/",
    "https://0x7f.0.0.1/", "https://127.0.0.1.:443/", "https://0/", "https://0.0.0.0/", "https://10.1.2.3/",
    "https://172.16.0.1/", "https://192.168.1.1/", "https://169.254.169.254/latest/meta-data/", "https://100.64.0.1/",
    "https://100.100.100.200/", "https://192.0.0.1/", "https://192.0.2.1/", "https://192.88.99.1/", "https://198.18.0.1/",
    "https://198.51.100.1/", "https://203.0.113.1/", "https://224.0.0.1/", "https://240.0.0.1/", "https://255.255.255.255/",
    "https://[::1]/", "https://[::]/", "https://[::127.0.0.1]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:10.0.0.1]/",
    "https://[::ffff:0:7f00:1]/", "https://[64:ff9b::7f00:1]/", "https://[64:ff9b::a9fe:a9fe]/", "https://[64:ff9b:1::1]/",
    "https://[2002:7f00:1::]/", "https://[2001::1]/", "https://[2001:db8::1]/", "https://[fc00::1]/", "https://[fd00:ec2::254]/",
    "https://[fe80::1]/", "https://[fe80::1%25eth0]/", "https://[fec0::1]/", "https://[ff02::1]/", "https://[3fff::1]/",
    "https://[5f00::1]/", "https://[100::1]/", "https://[not-an-address]/", "https://" + "a" * 600 + ".com/",
]  # fmt: skip


def test_the_list_is_long_enough():
    assert len(set(HOSTILE_URLS)) >= 60


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_hostile_urls_are_refused_with_words_and_without_the_url(url):
    with pytest.raises(AddressRefused) as refusal:
        check_url(url)
    text = str(refusal.value)
    assert text.endswith(".") and "pw" not in text and "evil" not in text


@pytest.mark.parametrize(
    "url",
    [
        "https://partner.example.com/hook?x=1",
        "https://partner.example.com:8443/",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
    ],
)
def test_public_https_is_taken(url):
    check_url(url)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_taken(address):
    check_address(ipaddress.ip_address(address))
