# SPDX-License-Identifier: AGPL-3.0-or-later
"""
No log call can name a payload, an email or a secret: what may be logged is listed here, by place and expression.

A value that is not listed fails the test, until a person has judged that it is an id, a count, a code, the name of a
class or a duration, and adds it. Tracebacks are beyond this list: they hold whatever the error's text holds.
"""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "channel_integrations"
LEVELS = {"debug", "info", "warning", "warn", "error", "exception", "critical", "fatal", "log"}
ANYWHERE = {"type(err).__name__", "endpoint.pk", "webhook.webhook_id", "status", "duration_ms", "count", "seconds"}
#: by module, what it may log beyond that
ALLOWED = {
    "backfill": {"made"},
    "cancellation": {"left"},
    "examination": {"check.name"},
    "heartbeat": {"name", "path"},  # one of three names; the file that the environment of a worker names
    "handlers": {"','.join((str(row.webhook_id) for row in rows))", "latency_ms", "_user_id_of(kwargs)"},
    # Reasons and failures are codes and HTTP statuses; what an endpoint has answered is kept in its attempt alone.
    "health": {
        "self.endpoint_id",
        "endpoint_id",
        "reason",
        "self.failures_in_a_row",
        "round(duration.total_seconds())",
        "self.last_failure",
    },
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
    "snowflake_client": {"len(keys)", "numbers", "left_alone"},
    "write_back": {
        "ids",
        "each.webhook.webhook_id",
        "each.endpoint.pk",
        "each.number",
        "answer.status if answer else None",
        "each.result.error",  # one of the codes in docs/references/codes.md
        "each.result.duration_ms",
    },
}
EXTRA = {"source", "task", "operation", "status", "count", "duration_ms", "latency_ms"}
#: errors whose own text may be logged: this package words them, without values
OWN_WORDS = {"MalformedEvent", "SecretUnreadable"}


def test_log_calls_name_only_what_is_listed():
    seen, problems = 0, []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        for call in log_calls(tree):
            seen += 1
            allowed = ANYWHERE | ALLOWED.get(path.stem, set()) | own_words_around(tree, call)
            problems += [f"{path.name}:{call.lineno}: {what}" for what in not_allowed(call, allowed)]
    assert seen > 30
    assert not problems


def test_what_is_not_listed_is_found():
    source = """
try:
    pass
except ValueError as err:
    logger.info("webhook=%s", webhook.body)
    logger.info(f"webhook={webhook.body}")
    logger.info("webhook=%s" % webhook.body)
    self.logger.error("status=failure %s", err)
    logging.warning("status=%s", status, extra={"email": status})
    logger.warning("status=%s", status, extra={"status": learner.email})
    logger.warning("status=%s", status, extra=everything)
    logger.info("status=%s", *values)
"""
    tree = ast.parse(source)
    found = {call.lineno: not_allowed(call, ANYWHERE | own_words_around(tree, call)) for call in log_calls(tree)}
    assert sorted(found) == list(range(5, 13))
    assert all(found.values()), found


def test_every_module_that_logs_does_so_through_a_name_that_is_looked_at():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert text.count("getLogger(") == text.count("\nlogger = logging.getLogger(__name__)\n"), path
        assert "traceback." not in text, path


def log_calls(tree):
    """Calls of a logger's methods, whatever the logger hangs on."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
            owner = ast.unparse(node.func.value)
            if owner == "logging" or owner.rpartition(".")[2] == "logger":
                yield node


def not_allowed(call, allowed):
    """What a call logs that is not listed."""
    template, *arguments = call.args
    problems = [] if isinstance(template, ast.Constant) else [f"message {ast.unparse(template)}"]
    logged = [*map(ast.unparse, arguments)]
    for keyword in call.keywords:
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
            names = {key.value if isinstance(key, ast.Constant) else None for key in keyword.value.keys}
            problems += [f"extra {name}" for name in names - EXTRA]
            values = [value for value in keyword.value.values if not is_constant(value)]
            logged += map(ast.unparse, values)
        elif keyword.arg != "exc_info":
            problems.append(f"keyword {keyword.arg}")
    return problems + [expression for expression in logged if expression not in allowed]


def is_constant(value):
    """A literal, or a module's constant."""
    return isinstance(value, ast.Constant) or (isinstance(value, ast.Name) and value.id.isupper())


def own_words_around(tree, call):
    """``err`` where the call stands in an ``except`` clause for errors that this package words."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and any(each is call for each in ast.walk(node)):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if {ast.unparse(each) for each in caught if each} <= OWN_WORDS:
                return {node.name}
    return set()
