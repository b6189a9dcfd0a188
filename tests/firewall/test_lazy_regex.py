"""Expressions that are compiled when they are first used."""

import ast
import copy
import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeguard.firewall.lazy_regex import lazy_regex
from tests.commands import run_command
from tests.each import each

PACKAGE = Path(__file__).parents[2] / "pipeguard"
FILES = [path for room in ("firewall", "detect") for path in (PACKAGE / room).rglob("*.py")]
# A start as `wrap` makes it: what it compiles before a frame is judged.
START = """
import re
compiled = []
compile_one = re._compiler.compile
def counting(pattern, flags=0):
    compiled.append(pattern)
    return compile_one(pattern, flags)
re._compiler.compile = counting
import pipeguard.runtime.stdio
print(len(compiled))
"""
COMPILED = re.compile("never")
RUNS = ("a", "A", "0", " ", "\t", "\n", "-", "_", ".", "/", "=", ",", "aA", "a_", "a ", "a.", "é")
LONG = 30_000
POSSESSIVE = re.compile(r"(?<![(\\])\)(?:[*+?]|\{+[\d,%d]*\}+)\+")  # a group's repetition
FEW = 25  # what Python's own modules compile, json above all; it was 235


def test_it_is_what_re_compiles() -> None:
    for pattern, flags in (("a(?P<b>.)", re.IGNORECASE), (rb"\\d+", 0)):
        lazy, compiled = lazy_regex(pattern, flags), re.compile(pattern, flags)
        assert lazy.pattern == compiled.pattern
        assert lazy.flags == compiled.flags
        assert lazy.groups == compiled.groups
        assert lazy.groupindex == compiled.groupindex
    assert lazy_regex("A(.)", re.IGNORECASE).sub(r"\1", "xab") == "xb"
    assert [found[0] for found in lazy_regex(rb"[0-9]").finditer(b"1a2")] == [b"1", b"2"]


def test_it_is_compiled_at_its_first_use_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[tuple[object, ...]] = []

    def compiling(*source: object) -> re.Pattern[str]:
        compiled.append(source)
        return COMPILED

    monkeypatch.setattr(re, "compile", compiling)
    lazy = lazy_regex("(")
    assert lazy.pattern == "("
    assert compiled == []
    assert lazy.search("x") is None
    assert lazy.match("(") is None
    assert compiled == [("(", 0)]


def test_a_wrong_pattern_is_an_error_at_its_first_use() -> None:
    lazy = lazy_regex("(")
    for _ in range(2):
        with pytest.raises(re.error, match="missing"):
            lazy.search("x")


def test_it_can_be_copied_and_shown() -> None:
    lazy = lazy_regex("a", re.ASCII)
    assert copy.copy(lazy).search("a")
    assert repr(lazy) == f"lazy_regex('a', {re.ASCII!r})"


@each("path", sorted(str(path.relative_to(PACKAGE)) for path in FILES))
def test_the_core_compiles_nothing_when_it_is_imported(path: str) -> None:
    tree = ast.parse((PACKAGE / path).read_text("utf-8"))
    inside = {
        id(call)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.Lambda)
        for call in ast.walk(function)
    }
    compiling = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and id(node) not in inside
        if ast.unparse(node.func) == "re.compile"
    ]
    assert compiling == []


def test_a_start_compiles_few_expressions() -> None:
    done = run_command([sys.executable, "-E", "-P", "-c", START], check=True)
    assert int(done.stdout) < FEW


def expressions() -> dict[str, re.Pattern[str] | re.Pattern[bytes]]:
    """Every expression of a module of the core, by its name."""
    found = {}
    for path in FILES:
        name = ".".join(("pipeguard", *path.relative_to(PACKAGE).with_suffix("").parts))
        for key, value in vars(importlib.import_module(name.removesuffix(".__init__"))).items():
            if isinstance(value, (re.Pattern, type(lazy_regex("")))):
                found[f"{name}.{key}"] = value
    return found


def test_no_group_repeats_possessively() -> None:
    """Until Python 3.11.5, `re` goes on from where the last repetition failed (gh-106052).

    `(?>(?>(?:x){1,500})*)` is right in each version, and keeps nothing for a long run.
    """
    paths = [path for end in ("py", "txt") for path in PACKAGE.rglob(f"*.{end}")]
    sources = {str(path): path.read_text("utf-8") for path in paths}
    sources |= {name: str(found.pattern) for name, found in expressions().items()}
    assert [name for name, text in sources.items() if POSSESSIVE.search(text)] == []


@pytest.mark.slow
@each("expression", expressions())
def test_a_long_run_gets_an_answer(expression: re.Pattern[Any]) -> None:
    """From its beginning, in linear time: at this size, quadratic time would be a minute."""
    answers = []
    for unit in RUNS:
        text = (unit * LONG)[:LONG] + "\0"
        given = text.encode() if isinstance(expression.pattern, bytes) else text
        answers.append((expression.match(given), expression.fullmatch(given)))
    assert len(answers) == len(RUNS)
