# SPDX-License-Identifier: AGPL-3.0-or-later
"""What people read can be translated: of the status page all, of every page what its template says."""

import re
import socket

import pytest
from django.urls import reverse
from django.utils import translation

from channel_integrations.integrated_channel.models import WebhookEndpointHealth
from channel_integrations.integrated_channel.services import delivery, enrichment, heartbeat, rollout
from docs.generate import PACKAGE
from tests.factories import grade_event, make_customer, make_endpoint, make_learner

TEMPLATES = sorted((PACKAGE / "integrated_channel/templates").rglob("*.html"))
WORD = re.compile(r"[^\W\d_]{2}")
#: attributes that are read out or shown
ATTRIBUTES = re.compile(r'\b(?:alt|title|aria-label|placeholder)="([^"]*)"|<input type="submit"[^>]*value="([^"]*)"')


def without(patterns, text):
    for pattern in patterns:
        text = re.sub(pattern, " ", text, flags=re.S)
    return text


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_word_of_a_template_stands_outside_of_a_translation(template):
    text = without(
        (
            r"\{#.*?#\}",
            r"\{% block bodyclass.*?endblock %\}",
            r"\{% blocktranslate.*?endblocktranslate %\}",
            r"<(style|code)\b.*?</\1>",
            r"<!--.*?-->",
        ),
        template.read_text(),
    )
    text = without((r"\{%.*?%\}", r"\{\{.*?\}\}"), text)
    shown = [without((r"<[^>]*>", r"&\w+;"), text), *("".join(found) for found in ATTRIBUTES.findall(text))]
    assert not [words for words in shown if WORD.search(words.replace("HTTP", ""))]


@pytest.mark.django_db
def test_every_word_of_the_status_page_is_asked_of_the_translation(
    client, admin_user, receiver, snowflake, monkeypatch
):
    endpoint = make_endpoint(make_customer("7"), receiver.url_for("/hook"))
    gone = make_endpoint(make_customer("8"), receiver.url_for("/gone"))
    rollout.decide(paused=True)
    for customer in (endpoint.enterprise_customer, gone.enterprise_customer):
        grade_event(make_learner(customer))
    WebhookEndpointHealth.objects.get(pk=gone.pk).disable("410")
    enrichment.enrich_in_slot(hand_over=lambda: None)
    delivery.deliver_due()
    heartbeat.beat(heartbeat.SWEEP)
    monkeypatch.setattr(translation._trans, "gettext", lambda text: f"⟦{text}⟧")
    monkeypatch.setattr(translation._trans, "pgettext", lambda context, text: f"⟦{text}⟧")
    monkeypatch.setattr(translation._trans, "ngettext", lambda one, many, count: f"⟦{one if count == 1 else many}⟧")
    client.force_login(admin_user)
    page = client.get(reverse("admin:channel_webhooks_webhookheartbeat_changelist")).content.decode()
    text = without((r"<(style|script|code)\b.*?</\1>", r"<[^>]*>", r"&\w+;"), page.partition('class="status-page">')[2])
    text = text.replace(socket.gethostname(), "")
    assert text.count("⟦") > 90
    while "⟦" in text:
        text = without((r"⟦[^⟦⟧]*⟧",), text)
    assert set(re.findall(r"[^\W\d_]{2,}", text)) <= {"UTC", "xx"}, text
