# SPDX-License-Identifier: AGPL-3.0-or-later
"""The quickstart, followed: the page's own commands, in two terminals and a browser."""

import html
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import requests

from docs.generate import DOCS
from tests.servers import free_port
from tests.test_demo import Run

PAGE = (DOCS / "quickstarts/first_webhook.md").read_text()
ENDPOINTS = "channel_webhooks/enterprisewebhookconfiguration"
SECONDS = 60


def commands(step):
    """The shell commands of one step."""
    text = re.search(rf"^## {step}\. .*?(?=^## )", PAGE, re.M | re.S)[0]
    return "".join(re.findall(r"```bash\n(.*?)```", text, re.S))


def add_endpoint(output, url):
    """Step 3, as a browser does it; returns the secret and the endpoint's number."""
    admin = re.search(r"http://\S+/admin/", output)[0]
    with requests.Session() as browser:
        page = browser.get(f"{admin}login/").text
        password = re.search(r"with the password (\S+)", output)[1]
        form = {**fields(page), "username": "operator", "password": password, "next": "/admin/"}
        browser.post(f"{admin}login/", data=form)
        customers = browser.get(f"{admin}enterprise/enterprisecustomer/?_to_field=uuid&_popup=1").text
        acme = re.search(r'data-popup-opener="([^"]+)">Acme Corp<', customers)[1]
        form = fields(browser.get(f"{admin}{ENDPOINTS}/add/").text)
        form |= {
            "enterprise_customer": acme,
            "region": "EU",
            "webhook_url": url,
            "active": "on",
            "accepts_us": "on",
            "sends_completions": "on",
            "sends_erasures": "on",
            "states_as_of": "on",
            "learning_time": "rollout",
        }
        shown = browser.post(f"{admin}{ENDPOINTS}/add/", data=form).text
    assert "whsec_" in shown, re.findall(r'class="errorlist.*?</ul>', shown, re.DOTALL)
    return html.unescape(re.search(r"whsec_[\w+/=]+", shown)[0]), re.search(rf"{ENDPOINTS}/(\d+)/change", shown)[1]


def fields(page):
    """The inputs of a form that come with a value; not boxes, which a browser sends where they are ticked."""
    tags = [tag for tag in re.findall(r"<input[^>]+>", page) if 'type="checkbox"' not in tag]
    inputs = [re.search(r'name="([^"]+)".*? value="([^"]*)"', tag) for tag in tags]
    return {found[1]: html.unescape(found[2]) for found in inputs if found and not found[1].startswith("_")}


class Terminal:
    """A shell, and what it and what it has started have printed."""

    def __init__(self, **environment):
        self.process = subprocess.Popen(
            ["bash"],
            cwd=DOCS.parent,
            env={**environment, "PATH": os.environ["PATH"], "HOME": os.environ["HOME"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""

    def type(self, lines):
        self.process.stdin.write(lines)
        self.process.stdin.flush()

    def read_until(self, text):
        timer = threading.Timer(SECONDS, self.close)
        timer.start()
        try:
            for line in self.process.stdout:
                self.output += line
                if text in line:
                    return
            raise AssertionError(f"{text!r} was not printed:\n{self.output}")
        finally:
            timer.cancel()

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


def test_the_quickstart_leads_to_an_enriched_webhook():
    assert commands(1) == "make install\n"
    assert commands(2) == "make demo KEEP=1\n"
    host, port = Run(KEEP="1"), free_port()
    terminal = Terminal(PORT=str(port))
    try:
        host.read_until("Ctrl-C stops everything")
        secret, number = add_endpoint(host.output, f"http://127.0.0.1:{port}/webhooks")
        assert f"{ENDPOINTS.rpartition('/')[2]}/{number}/change/" in PAGE
        source = re.search(r"In another terminal: (source \S+)", host.output)[1]
        terminal.type(commands(4).replace("source demo/.run/…/environment", source).replace("whsec_…", secret))
        terminal.read_until("listening")
        terminal.type(commands(5))
        terminal.read_until("HTTP 204")
        terminal.type(commands(6))
        terminal.read_until('"learning_time_final": true')
        (shown,) = re.findall(r"```json\n(.+?)```", PAGE, re.S)
        assert all(f'"{key}": ' in terminal.output for key in re.findall(r'"(\w+)": ', shown))
        assert '"learning_time": 2400' in shown and '"learning_time": 2400' in terminal.output
        assert terminal.output.count("genuine") == 2 and '"test": true' in terminal.output
        assert f"--endpoint {number}" in commands(5)
        terminal.type(commands(7))
        terminal.read_until('"is_passing": true\n')
        terminal.type(commands(8))
        terminal.read_until("1 warning (sweep)")
        terminal.read_until("ok       sweep")
        terminal.type("celery -A lms.celery inspect ping\n")  # as webhook_doctor says it
        terminal.read_until("2 nodes online")
    finally:
        terminal.close()
        host.process.send_signal(signal.SIGINT)
        host.end()
    assert " problem " not in terminal.output
    assert host.survivors() == [] and host.folder_is_gone()
    assert not Path(source.split()[1]).exists()
