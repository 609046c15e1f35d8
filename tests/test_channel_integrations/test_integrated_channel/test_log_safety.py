# SPDX-License-Identifier: AGPL-3.0-or-later
"""
No log call can name a payload, an email or a secret: what may be logged is listed here, by place and expression.

A value that is not listed fails the test, until a person has judged that it is an id, a count, a code, the name of a
class or a duration, and adds it. All lines go through ``log_lines``, which takes errors apart: no traceback and no
error's own words get past it.
"""

import ast
import logging
import re
from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "channel_integrations"
LEVELS = {"debug", "info", "warning", "error", "failure"}
ANYWHERE = {
    "chain_of(err)",
    "endpoint.pk",
    "webhook.webhook_id",
    "status",
    "duration_ms",
    "count",
    "seconds",
}
#: by module, what it may log beyond that
ALLOWED = {
    "addressing": {"reason", "webhook.region"},  # the text of WebhookNotOwed; US, EU or OTHER
    "backfill": {"made"},
    "cancellation": {"left"},
    "erasure": {"len(made)"},
    "enrichment": {"None if id(err) in explained else way_of(err)"},
    "examination": {"check.name"},
    "held": {"user_id"},
    "heartbeat": {"name", "path"},  # one of three names; the file that the environment of a worker names
    "foreign_keys": {"key.table", "key.name"},  # as the incumbent's migrations have named them
    "handlers": {"row.webhook_id", "latency_ms", "_user_id_of(event.get(subject))"},
    # Reasons and failures are codes and HTTP statuses; what an endpoint has answered is kept in its attempt alone.
    "health": {
        "self.endpoint_id",
        "endpoint_id",
        "reason",
        "self.failures_in_a_row",
        "round(duration.total_seconds())",
        "self.last_failure",
    },
    "learning_time_cache": {"len(keys)", "len(found)"},
    "reconciliation": {"len(made)", "name", "grade.pk"},  # name: the setting with the model of grades
    "replay": {"replayed", "per_minute"},
    "retention": {"scrubbed", "purged"},
    "rollout": {
        "made.number",
        "made.percentage",
        "made.paused",
        "made.endpoint_id",
        "made.learning_time",  # the endpoint's switch: rollout, always or never
        "by",
    },
    "sending": {"webhook_id"},
    # The server's own words are not in it: statuses, and those of the RFC's error codes.
    "sign_in": {"self.endpoint_id", "request.endpoint_id", "endpoint_id", "reason"},
    "snowflake_client": {"len(keys)", "numbers", "left_alone", "as_of"},  # the last is a day
    "tasks": {"task.__name__"},
    "webhooks": {"kind", "tally.made[kind]"},  # sent, cancelled, owed or failed
    "write_back": {
        "webhook_id",
        "len(finished)",
        "each.webhook.webhook_id",
        "each.endpoint.pk",
        "each.number",
        "answer.status if answer else None",
        "each.result.error",  # one of the codes in docs/references/codes.md
        "each.result.duration_ms",
        "each.result.detail",  # as in sign_in
    },
}
#: what a fact may be called, so that a query means the same everywhere
FACTS = {
    "as_of",
    "asked",
    "at",
    "attempt",
    "check",
    "count",
    "duration_ms",
    "endpoint_id",
    "error",
    "failures",
    "file",
    "foreign_key",
    "found",
    "grade_id",
    "heartbeat",
    "http_status",
    "kind",
    "latency_ms",
    "learning_time",
    "left",
    "model",
    "number",
    "operation",
    "paused",
    "per_minute",
    "percentage",
    "reason",
    "region",
    "seconds",
    "status",
    "table",
    "task",
    "user_id",
    "webhook_id",
}
#: errors whose own text may be logged: this package words them, without values
OWN_WORDS = {"MalformedEvent", "SecretUnreadable"}


def test_log_calls_name_only_what_is_listed():
    seen, problems = 0, []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        for call in log_calls(tree):
            seen += 1
            allowed = ANYWHERE | ALLOWED.get(path.stem, set()) | own_words_around(tree, call)
            problems += [f"{path.name}:{call.lineno}: {what}" for what in not_allowed(tree, call, allowed)]
    assert seen > 30
    assert not problems


def test_what_is_not_listed_is_found():
    source = """
try:
    pass
except ValueError as err:
    lines.info("webhook_delivery", "failure", webhook_id=webhook.body)
    lines.info("webhook_delivery", webhook.body)
    lines.info(f"{webhook.body}", "failure")
    lines.info("webhook_delivery", "failure", "%s" % webhook.body)
    self.lines.error("webhook_delivery", "failure", reason=err)
    lines.warning("webhook_delivery", "failure", email=status)
    lines.warning("webhook_delivery", "failure", **everything)
    lines.info("webhook_delivery", *values)
    lines.failure("webhook_delivery", "told as a text")
    lines.failure(webhook.body, err)
    words = webhook.body
    lines.info("webhook_delivery", "failure", words)
    lines.info("webhook_delivery")
"""
    tree = ast.parse(source)
    found = {call.lineno: not_allowed(tree, call, ANYWHERE | own_words_around(tree, call)) for call in log_calls(tree)}
    assert sorted(found) == [*range(5, 15), 16, 17]
    assert all(found.values()), found


def test_nothing_logs_past_the_lines_that_are_looked_at():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        if path.stem == "log_lines":
            assert "exc_info" not in text
            continue
        assert "import logging" not in text and "getLogger" not in text, path
        assert text.count("LogLines(") == text.count("\nlines = LogLines(__name__)\n"), path
        assert not re.search(r"import traceback|from traceback|exc_info", text), path


def test_no_fact_hides_what_python_notes_in_a_record():
    assert not FACTS & {*logging.makeLogRecord({}).__dict__, "message", "asctime"}


def log_calls(tree):
    """Calls of the methods of ``lines``, whatever that hangs on."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
            owner = ast.unparse(node.func.value)
            if owner.rpartition(".")[2] in ("lines", "logger", "logging"):
                yield node


def not_allowed(tree, call, allowed):
    """What a call logs that is not listed."""
    source, *arguments = [*call.args, *[ast.Constant("")] * (1 - len(call.args))]
    problems = [] if is_text(tree, source) else [f"source {ast.unparse(source)}"]
    if len(arguments) < 1:
        problems.append("no status")
    elif call.func.attr == "failure" and ast.unparse(arguments[0]) not in caught_around(tree, call):
        problems.append(f"error {ast.unparse(arguments[0])}")
    elif call.func.attr != "failure" and not (is_text(tree, arguments[0]) or ast.unparse(arguments[0]) in allowed):
        problems.append(f"status {ast.unparse(arguments[0])}")
    problems += [f"words {ast.unparse(each)}" for each in arguments[1:] if not is_text(tree, each)]
    problems += [f"fact {keyword.arg}" for keyword in call.keywords if keyword.arg not in FACTS]
    values = [keyword.value for keyword in call.keywords if not is_text(tree, keyword.value)]
    return problems + [each for each in map(ast.unparse, values) if each not in allowed]


def is_text(tree, node):
    """A literal, a module's constant, or ``words`` that are never anything but literals."""
    if isinstance(node, ast.Name) and node.id == "words":
        given = [each.value for each in ast.walk(tree) if isinstance(each, ast.Assign) and assigns_words(each)]
        return bool(given) and all(isinstance(value, ast.Constant) for value in given)
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id.isupper())


def assigns_words(node):
    return any(ast.unparse(target) == "words" for target in node.targets)


def handlers_around(tree, call):
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and any(each is call for each in ast.walk(node)):
            yield node


def caught_around(tree, call):
    """The names of the errors that are being handled where the call stands."""
    return {node.name for node in handlers_around(tree, call)}


def own_words_around(tree, call):
    """``err`` where the call stands in an ``except`` clause for errors that this package words."""
    for node in handlers_around(tree, call):
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        if {ast.unparse(each) for each in caught if each} <= OWN_WORDS:
            return {node.name}
    return set()
