# SPDX-License-Identifier: AGPL-3.0-or-later
"""
``make screenshots``: the pictures of the admin that the documentation shows, written to ``docs/_static``.

The pages are the real ones, in chromium, on the demo's stand-in LMS: real grade events, lookups over Snowflake's
protocol and POSTs to a real receiver. What is said to have happened earlier today did so some seconds ago, and was
moved back in time.
"""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

STATIC = Path(__file__).parent / "_static"
WIDTH = 1360
#: pages that answer a form, which is filled in already
ASKED = ("explanation",)
#: the ids of what was posted to Acme
_acme_got: list[str] = []
#: webhooks delivered in each of the hours before this one, the latest first
EARLIER = (4, 7, 9, 12, 11, 8, 5, 3, 2, 1, 1, 1, 2, 4, 6, 9, 10, 12, 9, 7, 6, 5, 4)


def main() -> int:
    """Take all of them; returns the exit status."""
    for noisy in ("werkzeug", "django.request"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="screenshots-") as name, _lms(Path(name)) as snowflake:
        from tests.browser import Browser

        with _partners() as partners, _site() as url:
            shown = Scene(partners, snowflake).play()
            browser = Browser(Path(name)).start()
            try:
                take(browser, url, shown)
            finally:
                browser.kill()
    return 0


def take(browser: Any, url: str, shown: dict[str, str]) -> None:
    """One picture for each page of ``shown`` (name and path)."""
    page = browser.open(WIDTH, 900)
    page.set_cookie(url, "sessionid", _session())
    page.goto(f"{url}/admin/")
    page.evaluate("localStorage.setItem('django.admin.navSidebarIsOpen', 'false')")
    for name, path in shown.items():
        page.goto(url + path)
        if name in ASKED:
            page.evaluate("document.querySelector('#content input[type=text]').focus()")
            page.press_and_load("Enter")
        page.screenshot(STATIC / f"{name}.png")
        print(f"docs/_static/{name}.png: {path}")
        for complaint in page.complaints():
            print(f"  the browser says: {complaint}", file=sys.stderr)


@contextmanager
def _lms(folder: Path) -> Iterator[Any]:
    """The demo's stand-in LMS, with tables and a rollup; yields the server that holds the rollup."""
    from demo.__main__ import DEFAULT_QUEUE, ENRICHMENT_QUEUE, boot_lms
    from tests.snowflake_server import SnowflakeServer

    for name in ("broker", "control", "cache", ENRICHMENT_QUEUE, DEFAULT_QUEUE):
        (folder / name).mkdir()
    snowflake = SnowflakeServer(folder)
    try:
        snowflake.start()
        os.environ.update(
            DEMO_FOLDER=str(folder), DJANGO_SETTINGS_MODULE="demo.settings", LMS_SNOWFLAKE_PORT=str(snowflake.port)
        )
        boot_lms()
        yield snowflake
    finally:
        snowflake.kill()


@contextmanager
def _partners() -> Iterator[Any]:
    """Three endpoints: one that takes nearly everything, one that is overloaded, one that is gone."""
    from pytest_httpserver import HTTPServer

    with HTTPServer(host="127.0.0.1") as server:
        server.expect_request("/acme").respond_with_handler(_acme)
        server.expect_request("/globex").respond_with_data("overloaded", status=503)
        server.expect_request("/initech").respond_with_data("gone", status=410)
        yield server


def _acme(request: Any) -> Any:
    """Refuses every thirtieth for good; of its own first learners it takes maria at the second try."""
    from werkzeug import Response

    _acme_got.append(request.headers["webhook-id"])
    if b'"maria"' in request.get_data() and _acme_got.count(_acme_got[-1]) == 1:
        return Response("busy", status=503)
    return Response("unknown learner", status=422) if len(_acme_got) % 30 == 0 else Response("ok")


@contextmanager
def _site() -> Iterator[str]:
    """The LMS's pages; yields their address."""
    from pytest_django.live_server_helper import LiveServer

    server = LiveServer("127.0.0.1")
    try:
        yield server.url
    finally:
        server.stop()


def _session() -> str:
    """The session of an operator who has signed in."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client()
    client.force_login(get_user_model().objects.create_superuser("operator", "operator@example.com"))
    return client.cookies["sessionid"].value


class Scene:
    """A day of three customers."""

    def __init__(self, partners: Any, snowflake: Any) -> None:
        from tests.factories import make_customer, make_endpoint

        self.snowflake = snowflake
        self.endpoints = {
            name: make_endpoint(make_customer(customer), partners.url_for(f"/{name}"), region="OTHER")
            for name, customer in (("acme", "Acme Corp"), ("globex", "Globex Training"), ("initech", "Initech"))
        }

    def play(self) -> dict[str, str]:
        """Let it happen; returns the pages to be shown."""
        from django.urls import reverse
        from django.utils import timezone

        from channel_integrations.integrated_channel.models import WebhookTransmissionQueue
        from channel_integrations.integrated_channel.services import delivery, heartbeat, rollout

        rollout.decide(percentage=50, note="two quiet days at 25 %")
        for hours, count in reversed(list(enumerate(EARLIER, start=1))):
            self._pass("acme", count, missing=count // 4)
            if hours % 7 == 0:
                self._unlink_the_last()
            self._look_up_and_send()
            self._move_back(timedelta(hours=hours))
        self._pass("globex", 9)
        self._pass("initech", 6)
        self._pass("acme", 5, names=("maria", "zoe", "nour", "olga", "ben"), missing=1)
        self._pass("acme", 2, sponsored=False)
        self._look_up_and_send()
        WebhookTransmissionQueue.objects.filter(attempts_made=1, status="pending").update(due_at=timezone.now())
        delivery.deliver_due()
        for name in heartbeat.NAMES:
            heartbeat.beat(name)
        maria = WebhookTransmissionQueue.objects.order_by("-attempts_made", "-pk").first()
        waiting = WebhookTransmissionQueue.objects.filter(status="pending").latest("pk")
        return {
            "explanation": reverse("admin:channel_webhooks_webhooksuppression_explain") + f"?webhook={waiting.pk}",
            "status": reverse("admin:channel_webhooks_webhookheartbeat_changelist"),
            "webhook": reverse("admin:channel_webhooks_webhooktransmissionqueue_change", args=[maria.pk]),
            "endpoint": reverse(
                "admin:channel_webhooks_enterprisewebhookconfiguration_change", args=[self.endpoints["globex"].pk]
            ),
        }

    def _pass(self, endpoint: str, count: int, names: Sequence[str] = (), missing: int = 0, **more: Any) -> None:
        """So many learners pass; Snowflake knows the learning time of all but some."""
        from django.utils import timezone

        from tests.factories import COURSE, grade_event, make_learner, write_grade

        customer = self.endpoints[endpoint].enterprise_customer
        for number in range(count):
            fields = {"username": names[number], "email": f"{names[number]}@learners.example.com"} if names else {}
            learner = make_learner(customer, **fields, **more)
            if number >= missing:
                self.snowflake.add(learner.id, COURSE, customer.uuid, 1800 + 60 * number)
            passed_at = timezone.now()
            write_grade(learner, passed_at=passed_at)
            grade_event(learner, passed_at=passed_at)

    def _unlink_the_last(self) -> None:
        """The learner who passed last is no longer the customer's: the webhook is cancelled."""
        from enterprise.models import EnterpriseCustomerUser

        EnterpriseCustomerUser.objects.filter(pk=EnterpriseCustomerUser.objects.latest("pk").pk).update(linked=False)

    def _look_up_and_send(self) -> None:
        from channel_integrations.integrated_channel.services import delivery, enrichment

        enrichment.enrich_in_slot(hand_over=lambda: None)
        delivery.deliver_due()

    def _move_back(self, duration: timedelta) -> None:
        """What is finished and of this minute happened so much earlier."""
        from django.db.models import F
        from django.utils import timezone

        from channel_integrations.integrated_channel import models

        lately = timezone.now() - timedelta(minutes=10)
        webhooks = models.WebhookTransmissionQueue.objects.filter(finished_at__gte=lately)
        pks = list(webhooks.values_list("pk", flat=True))
        for model, rows, names in (
            (models.WebhookDeliveryAttempt, {"webhook__in": pks}, ("started_at",)),
            (models.WebhookLookupStatement, {"began_at__gte": lately}, ("began_at",)),
            (
                models.WebhookTransmissionQueue,
                {"pk__in": pks},
                ("occurred_at", "created", "finished_at", "delivered_at"),
            ),
        ):
            model.objects.filter(**rows).update(**{name: F(name) - duration for name in names})


if __name__ == "__main__":
    sys.exit(main())
