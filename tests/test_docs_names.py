# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pages name nothing that is not there, and what is generated is what the code says now."""

import ast
import re

import pytest
from django.core.management import get_commands

from channel_integrations.integrated_channel.metrics.catalogue import METRICS
from channel_integrations.integrated_channel.models import WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.services import enrichment, reasons, rollout, suppression
from channel_integrations.integrated_channel.services.explanation.learning_time import LOOKUPS, why_plain
from channel_integrations.integrated_channel.services.explanation.story import STEPS
from channel_integrations.integrated_channel.settings.common import DEFAULTS
from demo.people import FAILS, LAST_YEAR, NOT_SPONSORED
from docs.generate import DOCS, PACKAGE, checks, codes, commands, pages

ROOT = DOCS.parent
PAGES = [
    ROOT / "README.rst",
    ROOT / "CHANGELOG.rst",
    *sorted(path for path in DOCS.rglob("*.*") if path.suffix in (".md", ".rst")),
]
TEXTS = {str(path.relative_to(ROOT)): path.read_text() for path in PAGES if "_build" not in path.parts}
SOURCES = {path: path.read_text() for path in (PACKAGE / "integrated_channel").rglob("*.py")}
#: what Django or the LMS brings, as an operator of an LMS types it
OTHERS = set(get_commands()) - set(commands.commands())


def found(pattern):
    """(what the pattern's group found, page) for every match in every page."""
    return {(match, page) for page, text in TEXTS.items() for match in re.findall(pattern, text)}


def test_generated_pages_are_fresh():
    stale = [str(path.relative_to(ROOT)) for path, text in pages().items() if path.read_text() != text]
    assert not stale, "type: make references"


def test_commands_and_their_arguments_exist():
    ours = commands.commands()
    named = found(r"manage\.py (?:lms )?(?!lms\b)([a-z]\w*)((?:(?!manage\.py)[^\n`#])*)")
    assert len(named) > 20
    for (name, rest), page in named:
        assert name in ours or name in OTHERS, f"{page}: {name}"
        if name in ours:
            taken = {option for action in commands.arguments(name, ours[name]) for option in action.option_strings}
            given = set(re.findall(r"(?<!\S)\[?(--[a-z-]+)", rest))
            assert given <= taken, f"{page}: {name} {given - taken}"


def test_names_in_code_type_exist():
    """Commands, tasks, functions, columns, models' fields: whatever is written like a name of ours."""
    metrics = [metric.full_name for metric in METRICS]
    known = "\n".join([*SOURCES.values(), *commands.commands(), *metrics, WebhookTransmissionQueue._meta.db_table])
    for name, page in found(r"`([a-z]+(?:_[a-z]+)*_webhooks?(?:_[a-z]+)*|webhook_[a-z_]+)`"):
        assert re.search(rf"\b{name}\b", known), f"{page}: {name}"


def test_settings_exist():
    named = found(r"\b(CHANNEL_WEBHOOKS_[A-Z_]+)\b")
    assert {name for name, _page in named} >= {name for name in DEFAULTS if name != "SNOWFLAKE_CONFIG"}
    from_environment = set(re.findall(r'os\.environ\.get\("(CHANNEL_WEBHOOKS_[A-Z_]+)"', "".join(SOURCES.values())))
    for name, page in named:
        assert name in DEFAULTS or name in from_environment, f"{page}: {name}"


def test_checks_exist_and_each_is_explained():
    raised = {check_id for text in SOURCES.values() for check_id in re.findall(r'"(channel_webhooks\.[EWI]\d+)"', text)}
    assert raised == set(checks.TITLES) == {message.id for message in checks.provoked()}
    for check_id, page in found(r"\b(channel_webhooks\.[EWI]\d+)\b"):
        assert check_id in raised, f"{page}: {check_id}"
    for number, page in found(r"`([EWI]\d{3})`"):
        assert f"channel_webhooks.{number}" in raised, f"{page}: {number}"


def test_files_that_pages_name_exist():
    for name, page in found(r"\b(docs/[\w./-]+\w)"):
        assert list(ROOT.glob(f"{name}*")), f"{page}: {name}"
    for name, page in found(r"python -m ([a-z_.]+)"):
        assert (ROOT / name.replace(".", "/")).is_dir() or (ROOT / f"{name.replace('.', '/')}.py").is_file(), (
            f"{page}: {name}"
        )
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for name, page in found(r"`make ([a-z-]+)"):
        assert name in targets, f"{page}: make {name}"


def test_columns_and_models_that_the_privacy_page_names_exist():
    page = TEXTS["docs/concepts/data_and_privacy.md"]
    models = set(re.findall(r"class (\w+)\(models\.Model\)", "".join(SOURCES.values())))
    assert set(re.findall(r"`(Webhook\w+)`", page)) <= models
    assert WebhookTransmissionQueue._meta.db_table in TEXTS["docs/references/states.md"]


def text_of(node):
    """What a string says, or a name of ``reasons``; None of anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    is_reason = isinstance(node, ast.Attribute) and ast.unparse(node.value) == "reasons"
    return getattr(reasons, node.attr) if is_reason else None


def literals(function_or_module, called):
    """The strings in calls of (or keywords of) these names."""
    for node in ast.walk(function_or_module):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            wanted = node.args if name in called else []
            wanted = [*wanted, *(keyword.value for keyword in node.keywords if keyword.arg in called)]
            for top in wanted:
                yield from filter(None, map(text_of, ast.walk(top)))


def returned(function):
    """What a function that says why returns, but for "nothing is against it"."""
    returns = [each.value for each in ast.walk(function) if isinstance(each, ast.Return)]
    texts = [text_of(value) for value in returns]
    assert None not in texts, ast.unparse(function)
    return set(filter(None, texts))


def test_every_learning_time_status_is_explained():
    words = {enrichment.FOUND, enrichment.NO_ROW, enrichment.OVERDUE}
    words |= {rollout.FLAG_OFF, rollout.PAUSED, rollout.ENDPOINT_NEVER, rollout.NOT_ROLLED_OUT}
    assert words == set(codes.WITHOUT_ERROR)
    assert {error.code for error in codes.lookup_errors()} == set(codes.LOOKUPS)


def test_every_reason_of_a_cancelled_webhook_is_explained():
    used = set()
    for path, text in SOURCES.items():
        tree = ast.parse(text)
        used |= set(literals(tree, {"WebhookNotOwed", "IdsMissing", "mark_cancelled", "_scrub"}))
        for node in ast.walk(tree):
            judges = isinstance(node, ast.FunctionDef) and node.name in ("reason_against", "reason_against_enrolment")
            if path.stem == "recipients" and judges:
                used |= returned(node)
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("ENDPOINT_DELETED", "BY_AN_OPERATOR"):
                used.add(node.value.value)
    assert {reason.replace("%s", "…") for reason in used - {", "}} == set(codes.CANCELLED)


def test_every_reason_of_a_suppressed_webhook_is_explained():
    """Those that a pass is judged by, and the one of ``reason_against_making``; not those found out later."""
    tree = ast.parse(next(text for path, text in SOURCES.items() if path.stem == "recipients"))
    (judge,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "reason_against"]
    judged = returned(judge)
    assert judged | {reasons.ENDPOINT_OFF} == set(suppression.REASONS) == set(codes.SUPPRESSED)
    assert reasons.PASSED_BEFORE_LINK in judged


def test_every_lookup_that_fails_is_explained_in_words():
    plain = set(codes.WITHOUT_ERROR) - {enrichment.FOUND} | set(codes.LOOKUPS)
    assert {code for code in plain if why_plain(code, None)[0] == code} == set()
    assert set(LOOKUPS) <= plain


def test_every_error_code_of_an_attempt_is_explained():
    assert {error.code for error in codes.delivery_errors()} | {"internal"} == set(codes.ERRORS)


@pytest.mark.parametrize("package", ["integrated_channel", "integrated_channel/services"])
def test_the_map_of_a_package_has_its_modules(package):
    """The left column of its docstring's tables."""
    there = {path.stem for path in (PACKAGE / package).iterdir() if not path.name.startswith("__")}
    rows = re.findall(r"^    +(\w+(?:, \w+)*)  ", SOURCES[PACKAGE / package / "__init__.py"], re.M)
    assert sorted(", ".join(rows).split(", ")) == sorted(there)


@pytest.mark.parametrize("status", WebhookStatus)
def test_the_page_for_the_night_knows_every_status(status):
    page = TEXTS["docs/how-tos/the_partner_got_nothing.md"]
    first_words = str(status.label).partition(":")[0]
    assert first_words in page


def test_the_explanations_that_are_shown_have_the_steps_that_there_are():
    page = TEXTS["docs/how-tos/the_partner_got_nothing.md"]
    blocks = [block for block in re.findall(r"```text\n(.*?)```", page, re.S) if "yes customer" in block]
    shown = []
    for block in blocks:
        left_out = re.findall(r"^-   \w+ \w+: ([\w, \n]+)", block, re.M)
        shown.append(re.findall(r"^(?:yes|no) +(\w+)  ", block, re.M) + re.findall(r"\w+", " ".join(left_out)))
    assert shown == [list(STEPS)] * 2


def test_the_first_screen_shows_the_demo_that_there_is():
    """Who takes part, and their stories; the times are those of one run."""
    shown = TEXTS["docs/index.rst"].partition("verdict\n")[2].partition("*All webhooks")[0]
    rows = [re.split(r" {2,}", line.strip()) for line in shown.splitlines() if line.strip("= ")]
    people = (ROOT / "demo/people.py").read_text()
    expectations = re.findall(r"^ +Expectation\((\w+), \w+, (\"[^\"]+\"|[A-Z_]+),", people, re.M)
    stories = {"NOT_SPONSORED": NOT_SPONSORED, "FAILS": FAILS, "LAST_YEAR": LAST_YEAR}
    assert [(row[0], row[2]) for row in rows] == [
        (who, stories.get(told, told.strip('"'))) for who, told in expectations
    ]
