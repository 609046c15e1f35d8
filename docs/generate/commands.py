# SPDX-License-Identifier: AGPL-3.0-or-later
"""Management commands, through their own parsers; the layout of argparse's help differs between Python versions."""

import argparse
from importlib import import_module

from django.core.management.base import BaseCommand

from docs.generate import PACKAGE, named, prose, table

COMMANDS = "integrated_channel/management/commands"
INTRODUCTION = """\
# Commands

For operators. Each is run as `./manage.py lms COMMAND` and prints the same with `--help`. They need the database
alone, unless something else is said; none but `drop_incumbent_foreign_keys` takes a lock that a learner's request could
wait for.

- `ID` is the number of an endpoint, as in its address in the admin.
- `TIME` is `2026-11-24` or `2026-11-24T09:30+01:00`; without an offset it is in the site's time zone.
- `--json` prints one JSON document on standard output, for programs. Errors, and what a person should know besides, go
  to standard error.
- Exit status: 0 done, or all is well; 1 it could not be done, or all is not well (the endpoint did not take the test
  event, a check is red, the sweep is not alive); 2 typed wrongly, an endpoint or a webhook that is not there included.
  Whatever ends with 2 has changed nothing. 3, of `verify_learning_time` alone: Snowflake could not be asked.

"""


def page() -> str:
    """The page."""
    return INTRODUCTION + "\n".join(_entry(name, command) for name, command in commands().items())


def commands() -> dict[str, BaseCommand]:
    """Every command of the app, by name."""
    names = sorted(path.stem for path in (PACKAGE / COMMANDS).glob("[!_]*.py"))
    path = f"{PACKAGE.name}/{COMMANDS}".replace("/", ".")
    return {name: import_module(f"{path}.{name}").Command() for name in names}


def arguments(name: str, command: BaseCommand) -> list[argparse.Action]:
    """What the command itself takes, without what every command of Django takes."""
    common = {action.dest for action in BaseCommand().create_parser("manage.py", "any")._actions}
    parser = command.create_parser("manage.py", name)
    return [action for action in parser._actions if action.dest not in common]


def _entry(name: str, command: BaseCommand) -> str:
    actions = arguments(name, command)
    usage = " ".join(["./manage.py lms", name, *map(_usage, actions)])
    rows = [(f"`{_spelling(action)}`", _help(action)) for action in actions]
    described = "\n" + table(("argument", "what it says"), rows) if rows else ""
    return f"## `{name}`\n\n```text\n{_folded(usage)}\n```\n\n{prose(command.help)}\n{described}"


def _spelling(action: argparse.Action) -> str:
    value = action.metavar or ("{" + ",".join(action.choices) + "}" if action.choices else action.dest.upper())
    if not action.option_strings:
        return str(value)
    return action.option_strings[-1] + ("" if action.nargs == 0 else f" {value}")


def _usage(action: argparse.Action) -> str:
    spelling = _spelling(action) + (" ..." if action.nargs == "*" else "")
    return spelling if action.required and action.option_strings else f"[{spelling}]"


def _help(action: argparse.Action) -> str:
    return ("required; " if action.required and action.option_strings else "") + named(action.help or "")


def _folded(usage: str, width: int = 90) -> str:
    lines, line = [], ""
    for word in usage.replace(" [", "\n[").replace(" --endpoint ID", "\n--endpoint ID").split("\n"):
        if line and len(line) + len(word) + 1 > width:
            lines.append(line)
            line = "    " + word
        else:
            line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])
