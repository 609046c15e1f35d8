# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The one way out: a POST over pooled, verified connections to vetted addresses, within one deadline.

What is dialled, and how the deadline holds, is in ``vetted_connections``; why this is no library's, in
docs/decisions/0005.
"""

import http.client
import json
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NamedTuple
from urllib.parse import urlencode

import requests
import urllib3

import channel_integrations
from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.addresses import check_url
from channel_integrations.integrated_channel.exceptions import ConnectionFailed, DeadlineExceeded, DeliveryFailed
from channel_integrations.integrated_channel.vetted_connections import (
    VettedAdapter,
    check_ca_bundle,
    connect_and_hang_up,
    request_begun,
    seconds_left,
    time_limit,
)

__all__ = [
    "HttpAnswer",
    "check_ca_bundle",
    "check_url",
    "post_fields_as_json",
    "post_form",
    "post_json",
    "try_connection",
]

#: bytes of an answer that are read at the most
MAX_ANSWER_BYTES = 64 * 1024

_sessions: tuple[int, Any] = (0, None)


@dataclass(frozen=True)
class HttpAnswer:
    """
    What an endpoint answered.

    ``headers`` has its names in lower case; ``body_start`` is text without control characters, as much as the settings
    have kept (of the answer to a form as much as is read); ``duration_ms`` is milliseconds from the name lookup to the
    end of the answer.
    """

    status: int
    headers: dict[str, str]
    body_start: str = field(repr=False)
    duration_ms: int


class _Request(NamedTuple):
    """What is sent, and how much of the answer's text is kept."""

    body: bytes
    headers: dict[str, str]
    kept_characters: int


def post_json(
    url: str, body: bytes, headers: dict[str, str], timeout_seconds: float, ca_bundle: str = ""
) -> HttpAnswer:
    """
    POST a JSON body; any HTTP answer, a redirect included, is returned as it is.

    May be called from several threads at once.

    :param timeout_seconds: for everything, from the name lookup to the end of the answer
    :param ca_bundle: PEM certificates to trust instead of the usual ones
    :raises AddressRefused: the URL or an address behind its host must not be dialled
    :raises DeadlineExceeded: the time is used up
    :raises ConnectionFailed: lookup, connect or TLS failed, or the connection broke

    Their ``may_have_arrived`` says whether the request was on its way by then.
    """
    request = _Request(body, {**headers, "Content-Type": "application/json"}, conf.kept_answer_characters())
    return _post(url, request, timeout_seconds, ca_bundle)


def post_fields_as_json(
    url: str, fields: dict[str, str], headers: dict[str, str], timeout_seconds: float, ca_bundle: str = ""
) -> HttpAnswer:
    """The same for fields, as a JSON object; ``body_start`` is as much of the answer as is read."""
    headers = {**headers, "Content-Type": "application/json", "Accept": "application/json"}
    request = _Request(json.dumps(fields).encode(), headers, MAX_ANSWER_BYTES)
    return _post(url, request, timeout_seconds, ca_bundle)


def post_form(
    url: str, fields: dict[str, str], headers: dict[str, str], timeout_seconds: float, ca_bundle: str = ""
) -> HttpAnswer:
    """The same as a form, as browsers send it."""
    headers = {**headers, "Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    request = _Request(urlencode(fields).encode(), headers, MAX_ANSWER_BYTES)
    return _post(url, request, timeout_seconds, ca_bundle)


def _post(url: str, request: "_Request", timeout_seconds: float, ca_bundle: str) -> HttpAnswer:
    check_url(url)
    started = time.monotonic()
    with time_limit(timeout_seconds), _noting_arrival():
        try:
            response = _session().post(
                url,
                data=request.body,
                headers=request.headers,
                timeout=timeout_seconds,
                allow_redirects=False,
                stream=True,
                verify=ca_bundle or True,
                proxies=_proxies(),
            )
            with response:
                text = _read_start(response, request.kept_characters)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as err:
            cause = _cause(err)
            raise _our_error(err, cause) from cause
    answer_headers = {name.lower(): value for name, value in response.headers.items()}
    return HttpAnswer(response.status_code, answer_headers, text, round((time.monotonic() - started) * 1000))


@contextmanager
def _noting_arrival() -> Iterator[None]:
    try:
        yield
    except DeliveryFailed as err:
        err.may_have_arrived = request_begun()
        raise


def try_connection(url: str, timeout_seconds: float, ca_bundle: str = "") -> None:
    """
    Connect as ``post_json`` would, name lookup, vetting, TLS and all, and hang up: nothing is sent.

    Where webhooks go through a proxy, the connection is made to the proxy alone.

    :raises DeliveryFailed: as ``post_json`` does
    """
    check_url(url)
    with time_limit(timeout_seconds):
        try:
            connect_and_hang_up(url, ca_bundle, conf.proxy_url())
        except (urllib3.exceptions.HTTPError, OSError) as err:
            cause = _cause(err)
            raise _our_error(err, cause) from cause


class _Session(requests.Session):
    """requests' session without what it takes from its surroundings or remembers of an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False  # neither proxies nor .netrc of whoever started the worker
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers.update(
            {"User-Agent": f"channel-integrations/{channel_integrations.__version__}", "Accept-Encoding": "identity"}
        )
        for scheme in ("https://", "http://"):
            self.mount(scheme, VettedAdapter())

    def get_redirect_target(self, resp: Any) -> None:
        """Nowhere: requests reads the whole body of a redirect that it does not follow, to prepare for the next."""


def _session() -> requests.Session:
    """
    This process's session: sockets must not be shared across a fork.

    Its threads share it, so that a kept connection serves whoever sends next. What requests would change from call to
    call, its cookies, it has been told not to keep.
    """
    global _sessions  # noqa: PLW0603  (one session for each process)
    if _sessions[0] != os.getpid():
        _sessions = (os.getpid(), _Session())
    return _sessions[1]


def _proxies() -> dict[str, str] | None:
    """The proxy that the settings name; what the environment names does not count."""
    proxy = conf.proxy_url()
    return {"http": proxy, "https": proxy} if proxy else None


def _read_start(response: requests.Response, kept: int) -> str:
    """
    The start of the answer; a connection whose answer is longer than what is read is closed, not kept.

    A body that breaks off does not take the status back: who has said 200 has the webhook.
    """
    start = b""
    try:
        while len(start) < MAX_ANSWER_BYTES:
            chunk = response.raw.read(min(8192, MAX_ANSWER_BYTES - len(start)), decode_content=False)
            if not chunk:
                break
            start += chunk
    except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError):
        seconds_left()  # raises where it was the deadline that broke it off
    text = _inflated(start, response.headers.get("Content-Encoding", ""), kept).decode("utf-8", "replace")[:kept]
    return "".join(character for character in text if character.isprintable() or character in "\n\t")


def _inflated(start: bytes, encoding: str, kept: int) -> bytes:
    """As much of a compressed answer (we asked for none) as is kept: what urllib3 would inflate has no bound."""
    if encoding.strip().lower() in ("gzip", "x-gzip", "deflate"):
        with suppress(zlib.error):
            at_most = min(4 * kept + 1, MAX_ANSWER_BYTES)  # to zlib, 0 is no bound
            return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(start, at_most)
    return start


def _our_error(err: BaseException, cause: BaseException | None) -> DeliveryFailed:
    """Ours for theirs. The text of requests' own errors, which repeat the URL and its query, is not carried over."""
    try:
        seconds_left()
    except DeadlineExceeded as exceeded:
        return exceeded
    name = type(cause or err).__name__
    return ConnectionFailed(f"{name}: {cause}"[:200] if isinstance(cause, OSError) else name)


def _cause(err: BaseException) -> BaseException | None:
    """What the operating system, TLS or http.client said, below the layers of urllib3 and requests."""
    causes = [found for found in _chain(err) if not isinstance(found, requests.RequestException)]
    return next((found for found in reversed(causes) if isinstance(found, (OSError, http.client.HTTPException))), None)


def _chain(err: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    pending: list[Any] = [err]
    while pending:
        found = pending.pop(0)
        if isinstance(found, BaseException) and id(found) not in seen:
            seen.add(id(found))
            yield found
            pending += [found.__cause__, found.__context__, getattr(found, "reason", None), *found.args]
