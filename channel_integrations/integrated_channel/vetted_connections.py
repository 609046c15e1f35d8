# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Connections that are dialled to vetted addresses only and that keep to one deadline.

Name lookup, every connect, the TLS handshake and every wait for bytes are each bounded by what is left of the
attempt's time, so that a drip-fed answer cannot stretch it. The address that was vetted is the address that is dialled,
which leaves a name server that changes its answers nothing to win; the host name still serves for the Host header, SNI
and the certificate.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

from channel_integrations.integrated_channel.addresses import check_address
from channel_integrations.integrated_channel.exceptions import ConnectionFailed, DeadlineExceeded

#: A kept connection that was idle for longer is not used again: firewalls forget connections without telling either
#: side, and the next POST would wait for its whole deadline.
KEPT_IDLE_SECONDS = 60
#: hosts whose connections are kept, and how many for each: as many as may be in use at once
KEPT_HOSTS = 64
KEPT_FOR_HOST = 32

_deadline: ContextVar[float] = ContextVar("deadline")
_request_begun: ContextVar[bool] = ContextVar("request_begun", default=False)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Everything that this module does inside ends within so many seconds."""
    token = _deadline.set(time.monotonic() + seconds)
    _request_begun.set(False)
    try:
        yield
    finally:
        _deadline.reset(token)


def seconds_left() -> float:
    """
    How long the next wait may take.

    :raises DeadlineExceeded: no time is left
    """
    remaining = _deadline.get() - time.monotonic()
    if remaining <= 0:
        raise DeadlineExceeded("The endpoint took longer than it is given.")
    return remaining


def request_begun() -> bool:
    """
    Whether some of a request was handed to a connection since the last ``time_limit`` began in this thread.

    From then on it may have arrived, whatever has failed. Name lookup, connect, TLS and what is said to a proxy do not
    count.
    """
    return _request_begun.get()


class _Socket(socket.socket):
    """A socket that waits no longer than the attempt may still take."""

    def recv_into(self, *args, **kwargs):
        self.settimeout(seconds_left())
        return super().recv_into(*args, **kwargs)

    def send(self, *args, **kwargs):
        self.settimeout(seconds_left())
        return super().send(*args, **kwargs)

    def sendall(self, *args, **kwargs):
        self.settimeout(seconds_left())
        return super().sendall(*args, **kwargs)


class _TLSSocket(_Socket, ssl.SSLSocket):
    """The same for TLS."""

    def do_handshake(self, *args, **kwargs):
        self.settimeout(seconds_left())
        return super().do_handshake(*args, **kwargs)


def _dial(host: str, port: int, vetted: bool = True) -> socket.socket:
    """A connection to the first address of the host that answers; every address is vetted before any is dialled."""
    addresses = _resolve(host, port)
    for _family, where in addresses if vetted else ():
        check_address(ipaddress.ip_address(where[0].partition("%")[0]))
    failure = OSError("the host has no address")
    for tried, (family, where) in enumerate(addresses):
        try:
            # A share for each: one address that swallows packets must not use up the time of those after it.
            return _connect(family, where, seconds_left() / (len(addresses) - tried))
        except OSError as err:
            failure = err
    raise failure


def _connect(family: int, where: Any, seconds: float) -> socket.socket:
    connection = _Socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.connect(where)
    except BaseException:
        connection.close()
        raise
    return connection


def _resolve(host: str, port: int) -> list[tuple[int, Any]]:
    """Addresses of a host, in the resolver's order. In a thread, since getaddrinfo knows no time limit."""
    answer: Future = Future()

    def look_up() -> None:
        try:
            answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as err:
            answer.set_exception(err)

    threading.Thread(target=look_up, name="webhook-name-lookup", daemon=True).start()
    try:
        found = answer.result(timeout=seconds_left())
    except UnicodeError as err:
        raise ConnectionFailed("The host name cannot be looked up.") from err
    return [
        (family, where) for family, _type, _proto, _name, where in found if family in (socket.AF_INET, socket.AF_INET6)
    ]


class _FinalAnswer(http.client.HTTPResponse):
    """
    An answer, past the interim ones before it, such as 103 (RFC 9110, 15.2): http.client passes over 100 alone.

    Taken for the answer, one of those would leave the real one to the next request on this connection.
    """

    def _read_status(self):
        version, status, reason = super()._read_status()  # type: ignore[misc]  # typeshed lacks it
        return version, http.HTTPStatus.CONTINUE if status < 200 else status, reason


class _PlainConnection(HTTPConnection):
    response_class = _FinalAnswer

    _last_used = 0.0
    _vetted = True
    _requesting = False

    def request(self, *args, **kwargs) -> None:
        self._requesting = True
        try:
            super().request(*args, **kwargs)
        finally:
            self._requesting = False

    def send(self, data) -> None:
        if self._requesting:
            if self.sock is None:
                self.connect()
            _request_begun.set(True)
        super().send(data)

    def _new_conn(self) -> socket.socket:
        self._last_used = time.monotonic()
        return _dial(self._dns_host, self.port, self._vetted)

    def getresponse(self):
        response = super().getresponse()
        self._last_used = time.monotonic()
        return response

    @property
    def is_connected(self) -> bool:
        """Asked by the pool before a kept connection is used again; False makes it dial anew."""
        return super().is_connected and time.monotonic() - self._last_used < KEPT_IDLE_SECONDS


class _TLSConnection(_PlainConnection, HTTPSConnection):
    """The same for TLS."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class _PlainConnectionToProxy(_PlainConnection):
    """To the site's own proxy, which may live inside and has to see to the addresses behind it."""

    _vetted = False


class _TLSConnectionThroughProxy(_TLSConnection):
    """The same for TLS."""

    _vetted = False


class _PlainPoolToProxy(_PlainPool):
    ConnectionCls = _PlainConnectionToProxy


class _TLSPoolThroughProxy(_TLSPool):
    ConnectionCls = _TLSConnectionThroughProxy


class VettedAdapter(HTTPAdapter):
    """
    requests' adapter over pools of such connections; nothing is sent twice.

    ``verify`` is True or PEM certificates to trust in place of the usual ones. Threads may share an adapter.
    """

    def __init__(self) -> None:
        self._contexts: dict[Any, ssl.SSLContext] = {}
        super().__init__(pool_connections=KEPT_HOSTS, pool_maxsize=KEPT_FOR_HOST, max_retries=0)

    def init_poolmanager(self, *args, **kwargs) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TLSPool}

    def proxy_manager_for(self, proxy, **proxy_kwargs):
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        manager.pool_classes_by_scheme = {"http": _PlainPoolToProxy, "https": _TLSPoolThroughProxy}
        return manager

    def build_connection_pool_key_attributes(self, request, verify, cert=None):
        host_params, pool_kwargs = super().build_connection_pool_key_attributes(request, True, cert)
        if host_params["scheme"] == "https":
            # One context for each set of certificates, which is also a pool for each: trust must not leak over.
            if verify not in self._contexts:
                self._contexts.setdefault(verify, _tls_context(None if verify is True else verify))
            pool_kwargs["ssl_context"] = self._contexts[verify]
        return host_params, pool_kwargs

    def cert_verify(self, conn, url, verify, cert) -> None:
        super().cert_verify(conn, url, True, cert)
        if verify is not True:
            conn.ca_certs = conn.ca_cert_dir = None  # the context has the certificates


def connect_and_hang_up(url: str, ca_bundle: str, proxy_url: str | None) -> None:
    """
    Make the connection that a POST would be sent over, TLS included, and close it; within a ``time_limit``.

    The proxy, where there is one, stands for all that is behind it.
    """
    parts = urlsplit(proxy_url or url)
    host = parts.hostname or ""
    connection: HTTPConnection
    if proxy_url:
        connection = _PlainConnectionToProxy(host, parts.port)
    elif parts.scheme == "https":
        connection = _TLSConnection(
            host,
            parts.port,
            ssl_context=_tls_context(ca_bundle or None),
            ca_certs=None if ca_bundle else DEFAULT_CA_BUNDLE_PATH,
        )
    else:
        connection = _PlainConnection(host, parts.port)
    try:
        connection.connect()
    finally:
        connection.close()


def check_ca_bundle(pem: str) -> None:
    """
    Refuse what are no certificates in PEM form; an empty text is fine.

    :raises ValueError: the text says what to paste instead
    """
    if pem:
        try:
            _tls_context(pem)
        except (ssl.SSLError, ValueError) as err:
            raise ValueError(
                "Paste certificates in PEM form: -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----."
            ) from err


def _tls_context(pem: str | None) -> ssl.SSLContext:
    context = create_urllib3_context(ssl_minimum_version=ssl.TLSVersion.TLSv1_2)
    context.sslsocket_class = _TLSSocket
    if pem:
        context.load_verify_locations(cadata=pem)
    return context
