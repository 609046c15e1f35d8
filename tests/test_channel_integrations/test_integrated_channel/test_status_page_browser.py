# SPDX-License-Identifier: AGPL-3.0-or-later
"""The status page in a real browser: what is drawn, what the keyboard reaches, what a screen reader is given."""

from pathlib import Path

import django
import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from channel_integrations.integrated_channel.models import WebhookEndpointHealth
from channel_integrations.integrated_channel.services import delivery
from tests.browser import wait_for
from tests.factories import grade_event, make_customer, make_endpoint, make_learner

pytestmark = pytest.mark.chromium
AXE = Path(__file__).parents[2] / "accessibility" / "node_modules" / "axe-core" / "axe.min.js"
CANVASES = ("outcomes-chart", "latency-chart")
#: how many points of a canvas have been drawn on
POINTS = """(() => {{
    const canvas = document.getElementById("{id}"), copy = new OffscreenCanvas(canvas.width, canvas.height);
    const context = copy.getContext("2d", {{ willReadFrequently: true }});
    context.drawImage(canvas, 0, 0);
    const points = context.getImageData(0, 0, copy.width, copy.height).data;
    return points.filter((value, place) => place % 4 === 3 && value > 0).length;
}})()"""
#: Django's own part of the page has faults before its fifth version
JUDGED = "document" if django.VERSION >= (5,) else "'.status-page'"
#: whether the charts have the colours of the theme that holds
UP_TO_DATE = """(() => {
    const color = getComputedStyle(document.querySelector(".status-page")).getPropertyValue("--status-delivered");
    return Chart.getChart("outcomes-chart").data.datasets[0].backgroundColor === color.trim();
})()"""
FOCUSED = "document.activeElement.textContent.trim() || document.activeElement.value"


@pytest.fixture
def strict(settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.lms_host.policy.strict_policy"]


@pytest.fixture
def page(strict, site, chromium, receiver):
    """The page as an operator sees it on a site with a strict policy: one partner takes webhooks, another fails."""
    receiver.expect_request("/overloaded").respond_with_data("no", status=500)
    for name, path, learners in (("Acme Corp", "/hook", 2), ("Globex", "/overloaded", 6)):
        customer = make_customer(name)
        make_endpoint(customer, receiver.url_for(path))
        for _ in range(learners):
            grade_event(make_learner(customer))
    delivery.deliver_due()
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("operator"))
    page = chromium.open()
    page.set_cookie(site, "sessionid", client.cookies["sessionid"].value)
    page.goto(site + reverse("admin:channel_webhooks_webhookheartbeat_changelist"))
    return page


def tab_to(page, label):
    """By the link that skips the admin's navigation, then from one control to the next; returns the focus's outline."""
    page.press("Tab")
    page.press("Enter")
    for _ in range(40):
        page.press("Tab")
        if page.evaluate(FOCUSED) == label:
            return page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    raise AssertionError(f"the keyboard does not reach {label!r}")


def test_the_charts_are_drawn_in_both_themes_under_a_policy_that_allows_no_inline_script(page):
    pictures = set()
    for theme in ("light", "dark"):
        page.prefer(prefers_color_scheme=theme)
        wait_for(page, UP_TO_DATE)
        for name in CANVASES:
            assert page.evaluate(POINTS.format(id=name)) > 1000, (theme, name)
        pictures.add(page.evaluate(f"document.getElementById('{CANVASES[0]}').toDataURL()"))
    assert len(pictures) == 2, "drawn anew, in the colours of the theme"
    assert page.evaluate("Chart.getChart('outcomes-chart').data.datasets[0].data.at(-1)") == 2
    assert page.complaints() == []


def test_the_admins_own_switch_of_theme_draws_anew(page):
    before = page.evaluate("Chart.getChart('outcomes-chart').data.datasets[0].backgroundColor")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    wait_for(page, f"Chart.getChart('outcomes-chart').data.datasets[0].backgroundColor !== '{before}'")


def test_the_keyboard_recovers_an_endpoint(page):
    assert tab_to(page, "Try again now: Globex, Other") != "none", "one sees where the focus is"
    page.press_and_load("Enter")
    assert page.evaluate("document.querySelector('#content h1').textContent") == "Try the endpoint again now?"
    assert WebhookEndpointHealth.objects.get(failures__gt=0).breaker_open_until, "nothing has happened yet"
    tab_to(page, "Try again now")
    page.press_and_load("Enter")
    assert "The endpoint is on" in page.evaluate("document.querySelector('.messagelist').textContent")
    assert not WebhookEndpointHealth.objects.filter(failures__gt=0).exists()
    assert page.complaints() == []


def test_without_scripts_the_tables_say_it_all(page):
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.goto(page.evaluate("location.href"))
    assert page.evaluate("[...document.querySelectorAll('.status-chart')].every((chart) => !chart.offsetHeight)")
    assert page.evaluate("document.querySelector('#outcomes ~ * details tbody tr td').textContent") == "2"
    page.evaluate("document.querySelector('#outcomes ~ * summary').click()")
    assert page.evaluate("document.querySelector('#outcomes ~ * details tbody').offsetHeight > 0")


@pytest.mark.node
def test_axe_finds_nothing_in_either_theme_nor_on_a_telephone(page):
    if not AXE.exists():
        pytest.fail(f"{AXE} is missing. Run: make accessibility")
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    page.evaluate(AXE.read_text())
    for theme, width in (("light", 1280), ("dark", 1280), ("light", 390)):
        page.resize(width, 900)
        page.prefer(prefers_color_scheme=theme)
        wait_for(page, UP_TO_DATE)
        # The admin's links fade from one theme's colour to the other's.
        page.evaluate("Promise.all(document.getAnimations().map((fading) => fading.finished)).then(() => true)")
        found = page.evaluate(f"axe.run({JUDGED}).then((results) => results.violations)")
        faults = [(each["id"], node["html"], node["failureSummary"]) for each in found for node in each["nodes"]]
        assert faults == [], (theme, width)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "only tables scroll sideways"
