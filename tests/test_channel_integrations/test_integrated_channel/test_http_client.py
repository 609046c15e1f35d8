# SPDX-License-Identifier: AGPL-3.0-or-later
"""The way out, over real sockets."""

import gzip
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import traceback
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
import trustme
from pytest_httpserver import HTTPServer
from werkzeug import Response

from channel_integrations.integrated_channel import vetted_connections
from channel_integrations.integrated_channel.exceptions import AddressRefused, ConnectionFailed, DeadlineExceeded
from channel_integrations.integrated_channel.http_client import post_json
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


BODY = b'{"a":1}'


def post(url, timeout=5.0, **more):
    return post_json(url, BODY, {}, timeout, **more)


def request_from(connection):
    """A whole one, or less where the other side hangs up; whoever answers its head takes the body for the next."""
    request = b""
    while not request.endswith(BODY) and (some := connection.recv(65536)):
        request += some
    return request


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
    server = raw_server(answers(OK))
    for _ in range(5):
        assert post(server.url).status == 200
    assert server.accepted == 1


def test_a_connection_that_the_other_side_closed_is_opened_anew(raw_server, development):
    def talk(connection):
        request_from(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = raw_server(talk)
    for _ in range(3):
        assert post(server.url).status == 200
        time.sleep(0.05)
    assert server.accepted == 3


def answers(answer: bytes):
    """For RawServer: this answer to each request of a connection."""

    def talk(connection):
        while request_from(connection):
            connection.sendall(answer)

    return talk


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize("size, accepted", [(65_000, 1), (66_000, 2)])
def test_a_connection_whose_answer_is_longer_than_what_is_read_is_not_kept(raw_server, development, size, accepted):
    server = raw_server(answers(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size))
    for _ in range(2):
        assert post(server.url).status == 200
    assert server.accepted == accepted


def test_a_connection_that_was_idle_for_long_is_not_used_again(raw_server, development, monkeypatch):
    monkeypatch.setattr(vetted_connections, "KEPT_IDLE_SECONDS", 0.1)
    server = raw_server(answers(OK))
    for _ in range(2):
        assert post(server.url).status == 200
        time.sleep(0.15)
    assert server.accepted == 2


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_uses_no_connection_of_its_parent(raw_server, development):
    server = raw_server(answers(OK))
    assert post(server.url).status == 200
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if post(server.url).status == 200 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert post(server.url).status == 200
    assert server.accepted == 2


def test_each_thread_has_its_own_connection(raw_server, development):
    server = raw_server(answers(OK))
    with ThreadPoolExecutor(3) as threads:
        both = threading.Barrier(3)
        found = list(threads.map(lambda _: (both.wait(), [post(server.url).status for _ in range(5)])[1], range(3)))
    assert found == [[200] * 5] * 3
    assert server.accepted == 3


def test_nothing_of_an_answer_is_sent_back(httpserver, development):
    httpserver.expect_request("/").respond_with_data("", headers={"Set-Cookie": "session=1"})
    for _ in range(2):
        post(httpserver.url_for("/"))
    assert all("Cookie" not in request.headers for request, _ in httpserver.log)


def drip_headers(connection):
    request_from(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(100):
        connection.sendall(b"X-%d: 1\r\n" % number)
        time.sleep(0.1)


def drip_body(connection):
    request_from(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(100):
        connection.sendall(b"x")
        time.sleep(0.1)


def say_nothing(connection):
    request_from(connection)
    time.sleep(5)


def drip_interim_answers(connection):
    request_from(connection)
    for _ in range(100):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.1)


def flood_of_interim_answers(connection):
    request_from(connection)
    while True:
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" * 1000)


def drip_chunks(connection):
    request_from(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(100):
        connection.sendall(b"1\r\nx\r\n")
        time.sleep(0.1)


def endless_trailers(connection):
    request_from(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
    while True:
        connection.sendall(b"X-Trailer: 1\r\n" * 1000)


@pytest.mark.parametrize(
    "talk",
    [
        drip_headers,
        drip_interim_answers,
        flood_of_interim_answers,
        drip_body,
        drip_chunks,
        endless_trailers,
        say_nothing,
    ],
)
def test_the_deadline_holds_however_the_answer_is_fed(raw_server, development, talk):
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded) as failure:
        post(raw_server(talk).url, timeout=0.6)
    assert failure.value.code == "timeout"
    assert 0.5 < time.monotonic() - started < 1.2


def test_the_deadline_holds_in_a_tls_handshake(raw_server, development):
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        post(raw_server(say_nothing).url.replace("http://", "https://"), timeout=0.6)
    assert time.monotonic() - started < 1.2


def test_the_deadline_holds_while_the_body_is_sent(raw_server, development):
    server = raw_server(lambda connection: time.sleep(5))
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        post_json(server.url, b"x" * 50_000_000, {}, 0.6)
    assert time.monotonic() - started < 1.5


def test_the_deadline_holds_in_a_tls_answer(authority, development):
    def talk(connection):
        with context.wrap_socket(connection, server_side=True) as tls:
            drip_body(tls)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = RawServer(talk)
    started = time.monotonic()
    with server.listener, pytest.raises(DeadlineExceeded):
        post(server.url.replace("http://", "https://"), timeout=0.6, ca_bundle=authority.bundle)
    assert 0.5 < time.monotonic() - started < 1.2


def test_the_deadline_holds_in_the_name_lookup(monkeypatch, development):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: time.sleep(3) or [])
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        post("https://slow.example.com/", timeout=0.5)
    assert time.monotonic() - started < 1.2


class Flood:
    """For RawServer: a head, then a body without end; ``ended`` is set when the other side has hung up."""

    def __init__(self, head: bytes):
        self.head, self.sent, self.ended = head, 0, threading.Event()

    def __call__(self, connection):
        request_from(connection)
        connection.sendall(self.head)
        try:
            while True:
                self.sent += connection.send(b"x" * 65536)
        finally:
            self.ended.set()


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n"])
def test_an_endless_answer_is_read_up_to_the_cap(raw_server, development, head):
    flood = Flood(head)
    answer = post(raw_server(flood).url, timeout=3)
    assert answer.status in (200, 302) and answer.body_start == "x" * 1024
    assert flood.ended.wait(2), "the connection was left open for the rest of the answer"
    assert flood.sent < 30_000_000  # what fits into the kernel's buffers, not into memory


@pytest.mark.parametrize("kept", [0, 1024, 65_536])
def test_a_compressed_answer_is_inflated_as_far_as_it_is_kept(httpserver, development, settings, kept):
    settings.CHANNEL_WEBHOOKS_KEPT_ANSWER_CHARACTERS = kept
    bomb = gzip.compress(b"A" * 50_000_000)
    httpserver.expect_request("/").respond_with_response(Response(bomb, headers={"Content-Encoding": "gzip"}))
    post(httpserver.url_for("/"))  # what is imported and compiled at first use is not measured
    tracemalloc.start()
    answer = post(httpserver.url_for("/"))
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.body_start == "A" * kept
    assert peak < 25_000_000  # the receiver, in this process too, reads into a buffer of 10 MB


def test_an_answer_that_only_says_it_is_compressed_is_shown_as_it_is(httpserver, development):
    httpserver.expect_request("/").respond_with_data("no gzip", headers={"Content-Encoding": "gzip"})
    assert post(httpserver.url_for("/")).body_start == "no gzip"


def test_the_start_of_an_answer_is_clean_text(httpserver, development):
    body = "line\none\t\0\x1b[31m\u202eé".encode() + b"\xff" + "🎉".encode()
    httpserver.expect_request("/").respond_with_data(body, headers={"X-Odd": "1", "RETRY-AFTER": "7"})
    answer = post(httpserver.url_for("/"))
    assert answer.body_start == "line\none\t[31mé\N{REPLACEMENT CHARACTER}🎉"
    assert answer.headers["retry-after"] == "7" and answer.headers["x-odd"] == "1"


def reset(connection):
    request_from(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    "talk", [reset, lambda connection: connection.recv(10), lambda c: c.sendall(b"hello?\r\n\r\n")]
)
def test_a_broken_conversation_is_one_error(raw_server, development, talk):
    with pytest.raises(ConnectionFailed) as failure:
        post(raw_server(talk).url + "?key=secret")
    assert "secret" not in str(failure.value) and failure.value.__cause__ is not None


def test_a_secret_in_the_url_or_a_header_is_in_no_traceback(raw_server, tls_server, development):
    secret = "-".join(("hunter", "2"))  # in pieces: a traceback quotes the line
    urls = [raw_server(reset).url, f"http://127.0.0.1:{free_port()}/", tls_server()]
    for url in urls:
        with pytest.raises(ConnectionFailed) as failure:
            post(f"{url}?key={secret}")
        assert secret not in "".join(traceback.format_exception(failure.value))
    with pytest.raises(ConnectionFailed) as failure:
        post_json(urls[0], b"{}", {"X-Key": f"{secret}\r\nX: y"}, 1)
    assert secret not in "".join(traceback.format_exception(failure.value))


ODD_ANSWERS = [
    b"HTTP/1.1 999999 what\r\n\r\n",
    b"HTTP/1.1 200\r\n\r\n",
    b"HTTP/9.9 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nxx",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 \xff\xfe\r\nX: \xff\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nSet-Cookie: \xff=;;expires=x\r\n\r\n",
    b"HTTP/1.1 301 Moved\r\nLocation: http://[::1/\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc",
    b"\r\n\r\n",
    b"\0" * 100_000,
]


@pytest.mark.parametrize("answer", ODD_ANSWERS, ids=range(len(ODD_ANSWERS)))
def test_an_odd_answer_is_an_answer_or_one_of_our_errors(raw_server, development, answer):
    def talk(connection):
        request_from(connection)
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
        request_from(connection)

    try:
        assert 100 <= post(raw_server(talk).url, timeout=2).status <= 999
    except ConnectionFailed:
        pass


def test_nobody_listening(development):
    with pytest.raises(ConnectionFailed) as failure:
        post(f"http://127.0.0.1:{free_port()}/")
    assert "Connection refused" in str(failure.value)


def test_a_name_that_cannot_be_looked_up(development):
    with pytest.raises(ConnectionFailed):
        post("http://{}.example.com/".format("a" * 64))


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


@pytest.fixture
def black_hole():
    """The address of a listener whose queue is full: the kernel drops what wants to connect."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield listener.getsockname()
        for one in waiting:
            one.close()


def test_an_address_that_swallows_packets_leaves_time_for_the_next(httpserver, monkeypatch, development, black_hole):
    httpserver.expect_request("/").respond_with_data("ok")
    where = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", to) for to in (black_hole, ("127.0.0.1", httpserver.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: where)
    assert post("http://two.example.com/", timeout=1).status == 200


def test_the_deadline_holds_in_the_connect(monkeypatch, development, black_hole):
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        post("http://{}:{}/".format(*black_hole), timeout=0.6)
    assert time.monotonic() - started < 1.2


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_an_ipv6_address(development):
    with HTTPServer(host="::1") as server:
        server.expect_request("/").respond_with_data("ok")
        assert post(f"http://[::1]:{server.port}/").status == 200


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch):
    where = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 443)) for host in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: where)
    with pytest.raises(AddressRefused):
        post("https://mixed.example.com/")


def test_a_name_that_changes_its_address_is_vetted_at_each_dial(monkeypatch):
    """Rebinding: the form was shown a public address, the sender is given the loopback."""
    asked = []

    def lookup(host, port, **kwargs):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        with pytest.raises(AddressRefused) as refusal:
            post(f"https://partner.example.com:{listener.getsockname()[1]}/")
        with pytest.raises(TimeoutError):
            listener.accept()
    assert asked == ["partner.example.com"] and "127.0.0.1" not in str(refusal.value)


@pytest.mark.parametrize("address", ["fe80::1%lo", "::ffff:10.0.0.1", "fec0::1", "::127.0.0.1", "64:ff9b::a00:1"])
def test_a_name_that_leads_inside_by_ipv6_is_refused(monkeypatch, address):
    where = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, 443, 0, 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: where)
    with pytest.raises(AddressRefused):
        post("https://partner.example.com/")


def test_neither_proxy_nor_netrc_of_the_environment(httpserver, development, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    httpserver.expect_request("/").respond_with_data("ok")
    assert post(httpserver.url_for("/")).status == 200
    assert "Authorization" not in httpserver.log[0][0].headers


@pytest.fixture
def authority():
    authority = trustme.CA()
    authority.bundle = authority.cert_pem.bytes().decode()
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


def test_the_certificate_is_that_of_the_name_and_not_of_the_address(tls_server, authority, monkeypatch, development):
    """The vetted address is dialled, and SNI and the check still go by the host's name."""
    port = int(tls_server(name="partner.example.com").rsplit(":", 1)[1].strip("/"))
    where = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: where)
    assert post(f"https://partner.example.com:{port}/", ca_bundle=authority.bundle).status == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_old_tls_is_refused(tls_server, authority, development):
    url = tls_server(highest=ssl.TLSVersion.TLSv1_1)
    with pytest.raises(ConnectionFailed):
        post(url, ca_bundle=authority.bundle)
    lax = ssl.create_default_context(cadata=authority.bundle)
    lax.minimum_version = ssl.TLSVersion.TLSv1_1
    lax.set_ciphers("ALL:@SECLEVEL=0")
    raw = socket.create_connection(("localhost", urlsplit(url).port))
    with lax.wrap_socket(raw, server_hostname="localhost") as tls:
        assert tls.version() == "TLSv1.1"  # the server would have
    # Where OpenSSL is strict by itself, what was asked of it tells.
    assert vetted_connections._tls_context(authority.bundle).minimum_version == ssl.TLSVersion.TLSv1_2


def _namespaces() -> list[str]:
    """The command that gives a process a network of its own; empty where that is not allowed."""
    as_root, as_nobody = ["unshare", "--net", "--mount"], ["unshare", "--map-root-user", "--net", "--mount"]
    for command in (as_root, as_nobody) if shutil.which("unshare") else ():
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    return []


@pytest.mark.skipif(not (shutil.which("ip") and _namespaces()), reason="no namespaces, or no ip (Debian: iproute2)")
def test_a_name_server_that_changes_its_answer():
    """Real sockets, a real resolver and a real name server, in a network of their own."""
    run = subprocess.run(
        [*_namespaces(), sys.executable, "-m", "tests.rebinding"],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "test_settings", "LMS_ALLOW_PRIVATE_ADDRESSES": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    refused = {"outcome": "address_refused", "asked": 1, "public": 0, "inside": 0}
    assert json.loads(run.stdout) == {
        "public": {"outcome": "200", "asked": 1, "public": 1, "inside": 0},
        "public, then inside": {"outcome": "200", "asked": 1, "public": 1, "inside": 0},
        "inside": refused,
        "both at once": refused,
        "inside, then public": refused,
        "public, dialled alone": {"outcome": "connected", "asked": 1, "public": 1, "inside": 0},
        "inside, dialled alone": refused,
    }


def test_a_proxy_that_a_setting_names(raw_server, development, settings):
    """What is behind it is the proxy's to resolve; the proxy itself may live inside."""
    asked = []

    def proxy(connection):
        asked.append(request_from(connection).partition(b"\r\n")[0])
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    settings.CHANNEL_WEBHOOKS_PROXY_URL = raw_server(proxy).url.rstrip("/")
    assert post("http://partner.example.com/hook").status == 200
    assert asked == [b"POST http://partner.example.com/hook HTTP/1.1"]


def test_tls_through_a_proxy_is_verified_to_its_end(raw_server, tls_server, authority, settings):
    tunnels = []

    def pump(source, target):
        with suppress(OSError):  # either side may hang up first
            while data := source.recv(65536):
                target.sendall(data)

    def proxy(connection):
        tunnels.append(connection.recv(65536).partition(b"\r\n")[0])
        with socket.create_connection(("localhost", port)) as beyond:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            threading.Thread(target=pump, args=(beyond, connection), daemon=True).start()
            pump(connection, beyond)

    port = int(tls_server(name="partner.example.com").rsplit(":", 1)[1].rstrip("/"))
    settings.CHANNEL_WEBHOOKS_PROXY_URL = raw_server(proxy).url.rstrip("/")
    assert post("https://partner.example.com/", ca_bundle=authority.bundle).status == 200
    with pytest.raises(ConnectionFailed):
        post("https://other.example.com/", ca_bundle=authority.bundle)
    assert tunnels[0].startswith(b"CONNECT partner.example.com:443 ")
    with pytest.raises(AddressRefused):
        post("https://127.0.0.1/", ca_bundle=authority.bundle)


def test_the_deadline_holds_through_a_proxy(raw_server, development, settings):
    def drip(connection):
        request_from(connection)
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n":
            connection.sendall(bytes([byte]))
            time.sleep(0.1)

    settings.CHANNEL_WEBHOOKS_PROXY_URL = raw_server(drip).url.rstrip("/")
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        post("http://partner.example.com/", timeout=0.5)
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nthanks", id="shorter than promised"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nthanks\r\nff\r\n", id="mid-chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nthanks\r\nzz\r\n", id="no chunk"),
    ],
)
@pytest.mark.parametrize("ending", ["closed", "reset"])
def test_a_body_that_breaks_off_does_not_take_the_status_back(raw_server, development, answer, ending):
    """The endpoint has the webhook, and has said so: sent again it would be a second one."""

    def talk(connection):
        request_from(connection)
        connection.sendall(answer)
        time.sleep(0.2)
        if ending == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert post(raw_server(talk).url).status == 200


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints"])
def test_an_interim_answer_is_none_and_shifts_no_answer_to_the_next_request(raw_server, development, interim):
    def talk(connection):
        for final in (b"200 OK", b"500 No"):
            request_from(connection)
            connection.sendall(b"HTTP/1.1 " + interim + b"\r\nLink: </style.css>\r\n\r\n")
            time.sleep(0.1)
            connection.sendall(b"HTTP/1.1 " + final + b"\r\nContent-Length: 0\r\n\r\n")
        request_from(connection)

    server = raw_server(talk)
    assert [post(server.url).status, post(server.url).status, server.accepted] == [200, 500, 1]


def test_a_head_that_breaks_off_is_no_answer(raw_server, development):
    def talk(connection):
        request_from(connection)
        connection.sendall(b"HTTP/1.1 2")

    with pytest.raises(ConnectionFailed):
        post(raw_server(talk).url)
