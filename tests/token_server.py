# SPDX-License-Identifier: AGPL-3.0-or-later
"""A partner that wants us to sign in: a token server and an endpoint that takes none but its latest token."""

import base64
import json
import threading
import time
from typing import Any
from urllib.parse import parse_qs, unquote_plus

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

CLIENT_ID, CLIENT_SECRET = "client:1", "s3cret+/="
TOKENS = "/token"
HOOK = "/signed-in-hook"


class Partner:
    """
    Its two servers, on one address, and what they were asked.

    ``valid`` are the tokens that the endpoint takes; ``status`` and ``facts`` change what the token server answers, the
    ``seconds`` how long each takes.
    """

    def __init__(self, server: HTTPServer) -> None:
        self.server, self.lock = server, threading.Lock()
        self.valid: set[str] = set()
        self.asked: list[dict[str, Any]] = []
        self.shown: list[str] = []
        self.facts: dict[str, Any] = {}
        self.takes_none = False
        self.status, self.seconds, self.hook_seconds = 200, 0.0, 0.0
        server.expect_request(TOKENS, method="POST").respond_with_handler(self._token)
        server.expect_request(HOOK, method="POST").respond_with_handler(self._hook)

    @property
    def token_url(self) -> str:
        return self.server.url_for(TOKENS)

    @property
    def hook_url(self) -> str:
        return self.server.url_for(HOOK)

    def revoke(self) -> None:
        """From now on the endpoint takes none of the tokens that were given out."""
        self.valid.clear()

    def _token(self, request: Request) -> Response:
        with self.lock:
            kind, _, basic = request.headers.get("Authorization", "").partition(" ")
            parts = base64.b64decode(basic).decode().split(":") if kind == "Basic" else []
            said = request.get_data(as_text=True)
            is_json = request.content_type == "application/json"
            form = json.loads(said) if is_json else {name: values[0] for name, values in parse_qs(said).items()}
            self.asked.append({"basic": [unquote_plus(part) for part in parts], **form})
            number = len(self.asked)
        time.sleep(self.seconds)
        token = f"access-token-{number}"
        if self.status == 200 and not self.takes_none:
            self.valid.add(token)
        said = {"access_token": token, "token_type": "Bearer", "expires_in": 3600, **self.facts}
        return Response(json.dumps(said), self.status, content_type="application/json")

    def _hook(self, request: Request) -> Response:
        shown = request.headers.get("Authorization", "")
        self.shown.append(shown)
        time.sleep(self.hook_seconds)
        return Response(status=200 if shown.removeprefix("Bearer ") in self.valid else 401)
