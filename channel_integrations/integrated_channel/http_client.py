# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The one way out: a POST over pooled, verified connections to vetted addresses, within one deadline.

Name lookup, every connect, the TLS handshake and every wait for bytes are each bounded by what is left of the
attempt's time, so that a drip-fed answer cannot stretch it. Only addresses that were vetted are dialled, which leaves
a name server that changes its answers nothing to win.
"""

import ipaddress
import os
import socket
import ssl
import threading
import time
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

import channel_integrations
from channel_integrations.integrated_channel.addresses import check_address, check_url
from channel_integrations.integrated_channel.exceptions import (
    AddressRefused,
    ConnectionFailed,
    DeadlineExceeded,
    DeliveryFailed,
)

__all__ = ["HttpAnswer", "check_url", "post_json"]

#: bytes of an answer that are read at the most
MAX_ANSWER_BYTES = 64 * 1024
#: characters of it that are kept
KEPT_CHARACTERS = 1024

_deadline: ContextVar[float] = ContextVar("deadline")
_local = threading.local()


@dataclass(frozen=True)
class HttpAnswer:
    """What an endpoint answered; ``body_start`` is text of up to 1024 characters, ``duration_ms`` milliseconds."""

    status: int
    headers: dict[str, str]
    body_start: str
    duration_ms: int


def post_json(
    url: str, body: bytes, headers: dict[str, str], timeout_seconds: float, ca_bundle: str | None = None
) -> HttpAnswer:
    """
    POST a JSON body; any HTTP answer, a redirect included, is returned as it is.

    :param timeout_seconds: for everything, from the name lookup to the end of the answer
    :param ca_bundle: a file of certificates to trust instead of the usual ones
    :raises AddressRefused: the URL or an address behind its host must not be dialled
    :raises DeadlineExceeded: the time is used up
    :raises ConnectionFailed: lookup, connect or TLS failed, or the connection broke
    """
    check_url(url)
    started = time.monotonic()
    token = _deadline.set(started + timeout_seconds)
    try:
        response = _session().post(
            url,
            data=body,
            headers={**headers, "Content-Type": "application/json"},
            timeout=timeout_seconds,
            allow_redirects=False,
            stream=True,
            verify=ca_bundle or True,
        )
        with response:
            text = _read_start(response)
        return HttpAnswer(
            response.status_code, dict(response.headers), text, round((time.monotonic() - started) * 1000)
        )
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as err:
        raise _our_error(err) from err
    finally:
        _deadline.reset(token)


def _session() -> requests.Session:
    """This thread's session in this process: sockets must not be shared across a fork."""
    if getattr(_local, "pid", None) != os.getpid():
        session = requests.Session()
        session.trust_env = False  # neither proxies nor .netrc of whoever started the worker
        session.headers.update(
            {"User-Agent": f"channel-integrations/{channel_integrations.__version__}", "Accept-Encoding": "identity"}
        )
        for scheme in ("https://", "http://"):
            session.mount(scheme, _Adapter(max_retries=0))
        _local.session, _local.pid = session, os.getpid()
    return _local.session


def _read_start(response: requests.Response) -> str:
    """The start of the answer; a connection whose answer is longer than what is read is closed, not kept."""
    start = b""
    while len(start) < MAX_ANSWER_BYTES:
        # Raw bytes: a compressed answer is not worth the risk of inflating it.
        chunk = response.raw.read(min(8192, MAX_ANSWER_BYTES - len(start)), decode_content=False)
        if not chunk:
            break
        start += chunk
    text = start.decode("utf-8", "replace")[:KEPT_CHARACTERS]
    return "".join(character for character in text if character.isprintable() or character in "\n\t")


def _our_error(err: BaseException) -> DeliveryFailed:
    """Ours for theirs; the cause is found in the chain, and no text of theirs (it repeats the URL) is carried over."""
    for cause in _chain(err):
        if isinstance(cause, DeliveryFailed):
            return type(cause)(*cause.args)
    if _remaining() <= 0:
        return DeadlineExceeded("the endpoint took longer than it is given")
    return ConnectionFailed(type(err).__name__)


def _chain(err: BaseException | None):
    seen: set[int] = set()
    pending: list[Any] = [err]
    while pending:
        cause = pending.pop()
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            pending += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]


def _remaining() -> float:
    return _deadline.get() - time.monotonic()


def _wait() -> float:
    """How long the next wait may take."""
    remaining = _remaining()
    if remaining <= 0:
        raise TimeoutError("the attempt's time is used up")
    return remaining


class _Socket(socket.socket):
    """A socket that waits for bytes no longer than the attempt may still take."""

    def recv_into(self, *args, **kwargs):
        self.settimeout(_wait())
        return super().recv_into(*args, **kwargs)

    def sendall(self, *args, **kwargs):
        self.settimeout(_wait())
        return super().sendall(*args, **kwargs)


class _TLSSocket(ssl.SSLSocket):
    """The same for TLS."""

    def recv_into(self, *args, **kwargs):
        self.settimeout(_wait())
        return super().recv_into(*args, **kwargs)

    def send(self, *args, **kwargs):
        self.settimeout(_wait())
        return super().send(*args, **kwargs)


def _dial(host: str, port: int) -> _Socket:
    """A connection to the first address of the host that answers; every address is vetted before any is dialled."""
    addresses = _resolve(host, port)
    for _family, where in addresses:
        check_address(ipaddress.ip_address(where[0].partition("%")[0]))
    failure: OSError | None = None
    for family, where in addresses:
        candidate = _Socket(family, socket.SOCK_STREAM)
        try:
            candidate.settimeout(_wait())
            candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            candidate.connect(where)
            return candidate
        except OSError as err:
            candidate.close()
            failure = err
    raise failure or ConnectionFailed("the host has no address")


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
        found = answer.result(timeout=_wait())
    except UnicodeError as err:
        raise ConnectionFailed("the host name cannot be looked up") from err
    return [
        (family, where) for family, _type, _proto, _name, where in found if family in (socket.AF_INET, socket.AF_INET6)
    ]


class _PlainConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _dial(self._dns_host, self.port)


class _TLSConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _dial(self._dns_host, self.port)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class _Adapter(HTTPAdapter):
    """requests' adapter over pools whose connections dial vetted addresses."""

    def init_poolmanager(self, *args, **kwargs) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TLSPool}
        self._contexts: dict[Any, ssl.SSLContext] = {}

    def build_connection_pool_key_attributes(self, request, verify, cert=None):
        host_params, pool_kwargs = super().build_connection_pool_key_attributes(request, verify, cert)
        if host_params["scheme"] == "https":
            # One context for each CA bundle: urllib3 adds the bundle to the context, and trust must not leak over.
            pool_kwargs["ssl_context"] = self._contexts.setdefault(verify, _tls_context())
        return host_params, pool_kwargs

    def proxy_manager_for(self, *args, **kwargs):
        raise AddressRefused("Webhooks do not go through a proxy.")


def _tls_context() -> ssl.SSLContext:
    context = create_urllib3_context(ssl_minimum_version=ssl.TLSVersion.TLSv1_2)
    context.sslsocket_class = _TLSSocket
    return context
