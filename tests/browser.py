# SPDX-License-Identifier: AGPL-3.0-or-later
"""
A real browser: Debian's chromium, spoken to in its DevTools protocol through a pipe.

A driver and a library of its own would have to fit the browser's version; the protocol's few commands that are used
here have been the same for years, and a pipe needs no port. https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import itertools
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.servers import Daemon

PROGRAM = "chromium"
SECONDS = 20.0
#: chromium reads from descriptor 3 and writes to 4; these are free only in a process of its own
AS_3_AND_4 = (
    "import fcntl, os, sys; ours = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3]]; "
    "os.dup2(ours[0], 3); os.dup2(ours[1], 4); os.execvp(sys.argv[3], sys.argv[3:])"
)
OPTIONS = (
    "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-component-update",
    "--disable-default-apps", "--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb", "--lang=en-US",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), "Escape": (27, "")}


class Browser(Daemon):
    """The process, and what goes through its pipe."""

    def __init__(self, folder: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        self._theirs = (theirs_in, theirs_out)
        launch = [sys.executable, "-c", AS_3_AND_4, str(theirs_in), str(theirs_out), PROGRAM]
        profile = f"--user-data-dir={folder / 'profile'}"
        super().__init__([*launch, *OPTIONS, profile], folder / "chromium.log", pass_fds=self._theirs)
        self._numbers = itertools.count(1)
        self._news = threading.Condition()
        self._replies: dict[int, dict] = {}
        self._events: dict[str | None, list[dict]] = {}
        self._is_over = False

    def start(self) -> "Browser":
        super().start()
        for descriptor in self._theirs:
            os.close(descriptor)
        threading.Thread(target=self._read, daemon=True, name="chromium").start()
        return self

    def open(self, width: int = 1280, height: int = 900) -> "Page":
        """A page with cookies of its own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.resize(width, height)
        return page

    def call(self, method: str, session: str | None = None, /, **params: Any) -> dict:
        """One command, and what it answers; RuntimeError where it is refused."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        self.wait(lambda: number in self._replies, method)
        reply = self._replies.pop(number)
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']}")
        return reply["result"]

    def wait(self, happened: Any, what: str) -> None:
        """Until this is so."""
        with self._news:
            if not self._news.wait_for(lambda: happened() or self._is_over, SECONDS) or not happened():
                raise RuntimeError(f"chromium: no {what} in {SECONDS:g} s\n{self.log.read_text()[-2000:]}")

    def events(self, session: str | None, *methods: str) -> list[dict]:
        """What has happened on a page so far."""
        return [event["params"] for event in self._events.get(session, []) if event["method"] in methods]

    def forget_events(self, session: str) -> None:
        """From here on."""
        with self._news:
            self._events.pop(session, None)

    def _read(self) -> None:
        with os.fdopen(self._in, "rb", buffering=0) as pipe:
            rest = b""
            while chunk := pipe.read(65_536):
                *messages, rest = (rest + chunk).split(b"\0")
                with self._news:
                    for message in map(json.loads, messages):
                        self._take(message)
                    self._news.notify_all()
        with self._news:
            self._is_over = True
            self._news.notify_all()

    def _take(self, message: dict) -> None:
        if "id" in message:
            self._replies[message["id"]] = message
        else:
            self._events.setdefault(message.get("sessionId"), []).append(message)

    def kill(self, *args: Any) -> None:
        super().kill(*args)
        if self._out >= 0:
            os.close(self._out)
            self._out = -1


class Page:
    """A tab."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.browser, self.session = browser, session

    def call(self, method: str, **params: Any) -> dict:
        return self.browser.call(method, self.session, **params)

    def resize(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, **features: str) -> None:
        """Media features, such as ``prefer(prefers_color_scheme="dark")``."""
        asked = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=asked)

    def set_cookie(self, url: str, name: str, value: str) -> None:
        self.call("Network.setCookie", url=url, name=name, value=value)

    def goto(self, url: str) -> None:
        """Until it is loaded; what happened on the page before is forgotten."""
        self.browser.forget_events(self.session)
        self.call("Page.navigate", url=url)
        self.wait_until_loaded()

    def wait_until_loaded(self) -> None:
        self.browser.wait(lambda: self.browser.events(self.session, "Page.loadEventFired"), "load of the page")

    def evaluate(self, script: str) -> Any:
        """The value of an expression, or what its promise comes to."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script[:200]}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """A key of ``KEYS``, down and up."""
        code, text = KEYS[key]
        shared = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **shared)
        self.call("Input.dispatchKeyEvent", type="keyUp", **shared)

    def press_and_load(self, key: str) -> None:
        """A key that leads to another page."""
        self.browser.forget_events(self.session)
        self.press(key)
        self.wait_until_loaded()

    def complaints(self) -> list[str]:
        """What the console has against the page since it was opened: exceptions, errors and refusals by its policy."""
        thrown = [
            event["exceptionDetails"]["text"] for event in self.browser.events(self.session, "Runtime.exceptionThrown")
        ]
        logged = [event["entry"] for event in self.browser.events(self.session, "Log.entryAdded")]
        logged = [entry for entry in logged if not entry.get("url", "").endswith("/favicon.ico")]  # nobody's page
        said = self.browser.events(self.session, "Runtime.consoleAPICalled")
        return [
            *thrown,
            *(f"{entry['text']} {entry.get('url', '')}" for entry in logged if entry["level"] in ("error", "warning")),
            *(str(event["args"]) for event in said if event["type"] in ("error", "warning", "assert")),
        ]

    def screenshot(self, path: Path) -> None:
        """The whole page, also what lies below the window."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(picture["data"]))


def wait_for(page: Page, script: str, seconds: float = SECONDS) -> None:
    """Until an expression is true."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(f"Boolean({script})"):
        if time.monotonic() > deadline:
            raise RuntimeError(f"never true on the page: {script}")
        time.sleep(0.05)
