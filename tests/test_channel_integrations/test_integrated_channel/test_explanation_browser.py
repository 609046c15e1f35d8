# SPDX-License-Identifier: AGPL-3.0-or-later
"""The explanation in a real browser: by keyboard alone, for screen readers, in both themes and on a telephone."""

from pathlib import Path

import django
import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from channel_integrations.integrated_channel.models import WebhookTransmissionQueue
from channel_integrations.integrated_channel.services.explanation.story import STEPS
from tests.factories import COURSE
from tests.test_channel_integrations.test_integrated_channel import stories
from tests.test_channel_integrations.test_integrated_channel.stories import Story

pytestmark = pytest.mark.chromium
AXE = Path(__file__).parents[2] / "accessibility" / "node_modules" / "axe-core" / "axe.min.js"
#: Django's own part of the page has faults before its fifth version
JUDGED = "document" if django.VERSION >= (5,) else "'#content'"


@pytest.fixture
def page(site, chromium, receiver, settings):
    """The form, filled in from a webhook that failed, on a site that lets its pages load nothing but its own files."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.lms_host.policy.strict_policy"]
    stories.failed(Story(receiver))
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("operator"))
    page = chromium.open()
    page.set_cookie(site, "sessionid", client.cookies["sessionid"].value)
    webhook = WebhookTransmissionQueue.objects.get().pk
    page.goto(f"{site}{reverse('admin:channel_webhooks_webhooksuppression_explain')}?webhook={webhook}")
    return page


def explain(page):
    """By the keyboard: the first field, and Enter."""
    page.evaluate("document.querySelector('[name=learner]').focus()")
    page.press_and_load("Enter")


def test_the_keyboard_asks_and_nothing_of_the_learner_gets_into_the_address(page):
    assert page.evaluate("document.querySelector('[name=course]').value") == COURSE
    explain(page)
    assert page.evaluate("document.querySelector('.conclusion').textContent") == "Not sent: failed, HTTP 400."
    assert page.evaluate("location.pathname + location.search").endswith("/webhooksuppression/explain/")
    assert "maria" in page.evaluate("document.querySelector('#content').textContent")
    assert page.complaints() == []


def test_an_answer_is_read_as_a_word(page):
    explain(page)
    answers = page.evaluate("[...document.querySelectorAll('td.answer')].map((cell) => cell.textContent.trim())")
    assert set(answers) == {"yes", "no"} and len(answers) == len(STEPS)
    assert page.evaluate("[...document.querySelectorAll('td.answer img')].every((picture) => picture.alt === '')")


@pytest.mark.node
def test_axe_finds_nothing_in_either_theme_nor_on_a_telephone(page):
    if not AXE.exists():
        pytest.fail(f"{AXE} is missing. Run: make accessibility")
    form = page.evaluate("location.href")
    for is_asked in (False, True):
        page.goto(form)
        if is_asked:
            explain(page)
        page.evaluate(AXE.read_text())
        for theme, width in (("light", 1280), ("dark", 1280), ("light", 390)):
            page.resize(width, 900)
            page.prefer(prefers_color_scheme=theme)
            # The admin's links fade from one theme's colour to the other's.
            page.evaluate("Promise.all(document.getAnimations().map((fading) => fading.finished)).then(() => true)")
            found = page.evaluate(f"axe.run({JUDGED}).then((results) => results.violations)")
            faults = [(each["id"], node["html"], node["failureSummary"]) for each in found for node in each["nodes"]]
            assert faults == [], (is_asked, theme, width)
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (theme, width)
        page.resize(1280, 900)
