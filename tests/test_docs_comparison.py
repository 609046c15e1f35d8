# SPDX-License-Identifier: AGPL-3.0-or-later
"""Each line of the comparison with the incumbent names a test, and there is one of that name."""

import ast
import re

import pytest

from docs.generate import DOCS

TESTS = DOCS.parent / "tests" / "test_channel_integrations" / "test_integrated_channel"
PAGE = (DOCS / "concepts" / "comparison_with_the_incumbent.md").read_text()
LINES = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| |")]
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def test_there_are_lines_to_look_at():
    assert len(LINES) > 50
    assert f"`{TESTS.relative_to(DOCS.parent)}/`" in PAGE


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.split("|")[1].strip())
def test_the_test_of_a_line_is_there(line):
    named = NAMED.findall(line)
    assert named, "it names no test"
    for path, name in named:
        tree = ast.parse((TESTS / path).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, path
