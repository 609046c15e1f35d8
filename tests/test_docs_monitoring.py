# SPDX-License-Identifier: AGPL-3.0-or-later
"""The dashboard, the rules and the page name only metrics that a real scrape has, with labels that they have."""

import ast
import json
import re

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from channel_integrations.integrated_channel.metrics.catalogue import HOUR, LATELY, METRICS
from channel_integrations.integrated_channel.metrics.collector import NEVER_MEANT, WINDOWS
from channel_integrations.integrated_channel.models import WebhookStatus
from channel_integrations.integrated_channel.services import heartbeat
from channel_integrations.integrated_channel.services.figures import backlog, deliveries, endpoints, lookups, targets
from docs.generate import DOCS, PACKAGE, codes
from docs.generate import metrics as reference
from tests.test_channel_integrations.test_integrated_channel.test_log_safety import log_calls

MONITORING = DOCS / "monitoring"
PAGE = (DOCS / "how-tos/monitor.md").read_text()
RULES = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((MONITORING / "grafana_dashboard.json").read_text())
KEDA = yaml.safe_load((MONITORING / "keda.yml").read_text())
#: what Prometheus puts on every sample
OF_PROMETHEUS = {"job", "instance"}


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions():
    """(where, PromQL) of everything that is to be evaluated."""
    yield from ((rule["alert"], rule["expr"]) for rule in RULES)
    yield from ((panel["title"], target["expr"]) for panel in panels() for target in panel["targets"])
    yield from (("keda.yml", trigger["metadata"]["query"]) for trigger in KEDA["spec"]["triggers"])
    yield from (("monitor.md", found) for found in re.findall(r"`(channel_webhooks_\w+\{[^`]*\})`", PAGE))


@pytest.fixture
def scraped(db, client, settings):
    """The names that a real scrape has."""
    settings.CHANNEL_WEBHOOKS_METRICS_TOKEN = "a-token-that-nobody-guesses"
    header = {"Authorization": f"Bearer {settings.CHANNEL_WEBHOOKS_METRICS_TOKEN}"}
    path = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["scrape_configs"][0]["metrics_path"]
    answer = client.get(path, headers=header)
    return {family.name for family in text_string_to_metric_families(answer.content.decode())}


def test_only_metrics_that_exist_are_named(scraped):
    named = {(name, where) for where, text in expressions() for name in re.findall(r"\bchannel_webhooks_\w+", text)}
    named |= {(name, "monitor.md") for name in re.findall(r"\bchannel_webhooks_\w+", PAGE)}
    named |= {(name, "metrics.md") for name in re.findall(r"\bchannel_webhooks_\w+", reference.page())}
    assert {name for name, _where in named} == scraped
    for name, where in named:
        assert name in scraped, where


def test_every_expression_is_about_a_metric_of_ours():
    found = list(expressions())
    assert len(found) > 45
    for where, text in found:
        assert "channel_webhooks_" in text, where
        assert text.count("(") == text.count(")") and text.count("{") == text.count("}"), where


def selectors():
    """(where, metric's name, label, operator, value) for each label that an expression chooses by."""
    for where, text in expressions():
        for name, choice in re.findall(r"channel_webhooks_(\w+)\{([^}]*)\}", text):
            for label, operator, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', choice):
                yield where, name, label, operator, value


def test_labels_are_those_of_the_metrics_and_their_values_can_be():
    labels = {metric.name: set(metric.labels) for metric in METRICS}
    target_names = {target.name for target in all_targets()}
    values = {
        "window": set(WINDOWS),
        "state": set(endpoints.STATES),
        "process": set(heartbeat.NAMES),
        "queue": {backlog.ENRICHMENT, backlog.DELIVERY},
        "status": {*WebhookStatus.values, *codes.WITHOUT_ERROR, NEVER_MEANT},
        "part": {"total", "waiting", "lookup", "post"},
        "quantile": {"0.5", "0.95"},
        "target": target_names,
    }
    found = list(selectors())
    assert len(found) > 15
    for where, name, label, _operator, value in found:
        assert label in labels[name], where
        assert set(value.split("|")) <= values[label], f"{where}: {label}={value}"


def test_what_is_grouped_by_is_a_label():
    everywhere = {label for metric in METRICS for label in metric.labels} | OF_PROMETHEUS
    for where, text in expressions():
        for listed in re.findall(r"\b(?:by|on|without|ignoring) \(([^)]*)\)", text):
            assert {label.strip() for label in listed.split(",")} <= everywhere, where


def all_targets():
    nothing = lookups.SnowflakeFigures(0, 0, 0, 0, 0, None, None)
    owed = backlog.Owed({}, {}, {}, None, 0, [])
    return targets.targets(deliveries.Deliveries([], None, False), owed, nothing)


def test_the_page_has_every_target_with_its_limit():
    section = PAGE.partition("## The targets")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| ([<>] [\d.]+)", section, re.M))
    assert rows == {each.name: f"{'>' if each.at_least else '<'} {each.limit}" for each in all_targets()}


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_every_alert_says_what_to_do_and_leads_to_its_section(rule):
    assert rule["labels"]["severity"] in ("page", "ticket", "info")
    facts, *orders = rule["annotations"]["summary"].rstrip(".").split(". ")
    assert facts and orders, "a fact, and what to do"
    page, _, anchor = rule["annotations"]["docs"].partition("#")
    text = (DOCS.parent / page).read_text()
    section = re.search(rf"^### {rule['alert']}\n\n(.+)", text, re.M)
    assert section and anchor == rule["alert"].lower()
    for name in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
        assert re.search(rf"by \([^)]*\b{name}\b", rule["expr"]), name


def test_every_section_about_an_alert_has_one():
    assert re.findall(r"^### (\w+)$", PAGE, re.M) == [rule["alert"] for rule in RULES]


def test_the_dashboard_is_one_that_grafana_takes():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids)) > 20
    (choice,) = DASHBOARD["templating"]["list"]
    for panel in panels():
        assert panel["title"] and panel["targets"] and panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["datasource"]["uid"] == f"${{{choice['name']}}}"


def test_every_label_is_explained():
    assert set(reference.label_values()) == {label for metric in METRICS for label in metric.labels}
    assert {LATELY, HOUR} == set(WINDOWS)


def test_every_source_of_log_lines_is_told_of():
    calls = (call for path in PACKAGE.rglob("*.py") for call in log_calls(ast.parse(path.read_text())))
    sources = {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}
    section = PAGE.partition("| `source` |")[2].partition("\n\n")[0]
    listed = {name for row in re.findall(r"^\| (`[^|]+) \|", section, re.M) for name in re.findall(r"`(\w+)`", row)}
    assert listed == sources
