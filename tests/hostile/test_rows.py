"""Every row of the table about HTTP is tried by a test that names it, and asserts something."""

import ast
import re
from pathlib import Path

ROWS = range(72, 97)


def test_every_row_is_tried_by_a_test_that_asserts() -> None:
    trees = [ast.parse(path.read_text("utf-8")) for path in Path(__file__).parent.glob("*.py")]
    functions = {
        node.name: [*ast.walk(node)]
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
    asserting = {
        name
        for name, nodes in functions.items()
        if any(isinstance(node, ast.Assert) for node in nodes)
    }
    tried: set[int] = set()
    for name, nodes in functions.items():
        used = {name} | {node.id for node in nodes if isinstance(node, ast.Name)}
        if (rows := re.match(r"test((?:_\d\d)+)_", name)) and used & asserting:
            tried |= {int(row) for row in rows[1].split("_")[1:]}
    assert tried == set(ROWS)
