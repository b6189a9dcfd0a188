"""Modules of words hold tables and nothing else, and each table is used."""

import ast
import importlib
import pkgutil
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

from pipeguard.detect import words
from tests.each import each

PACKAGE = Path(words.__file__).parents[2]
FOLDER = Path(words.__file__).parent
MODULES = sorted(info.name for info in pkgutil.iter_modules([str(FOLDER)]))
TABLES = [name for name in MODULES if name != "notation"]
# What a table may be written with.
PLAIN = (
    *(ast.Constant, ast.Tuple, ast.Starred, ast.Dict, ast.Name, ast.Load, ast.Store),
    *(ast.BinOp, ast.BitOr, ast.Call, ast.Assign, ast.AnnAssign, ast.Subscript, ast.Expr),
    *(ast.ImportFrom, ast.alias, ast.Module),
)
CALLED = {"word_set", "word_list", "frozenset"}


def tables(module: ModuleType) -> set[str]:
    """The names of a module's tables."""
    return {name for name in vars(module) if name.isupper()}


def tree(name: str) -> ast.Module:
    return ast.parse((FOLDER / f"{name}.py").read_text("utf-8"))


@each("name", TABLES)
def test_a_module_of_words_holds_tables_alone(name: str) -> None:
    for node in ast.walk(tree(name)):
        assert isinstance(node, PLAIN), ast.unparse(node)
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) in CALLED
        if isinstance(node, ast.ImportFrom):
            assert node.module in ("__future__", "pipeguard.detect.words.notation")


@each("name", TABLES)
def test_no_word_stands_twice_in_a_table(name: str) -> None:
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) != "frozenset":
            (text,) = node.args
            counts = Counter(ast.literal_eval(text).split())
            assert [word for word, count in counts.items() if count > 1] == []
        if isinstance(node, ast.Tuple) and all(isinstance(e, ast.Constant) for e in node.elts):
            entries = [ast.unparse(element) for element in node.elts]
            assert len(entries) == len(set(entries))


@each("name", TABLES)
def test_every_table_is_asked_by_some_module(name: str) -> None:
    sources = [path.read_text("utf-8") for path in PACKAGE.rglob("*.py")]
    asking = [
        text for text in sources if re.search(rf"words\.{name} import|words import {name}", text)
    ]
    module = importlib.import_module(f"pipeguard.detect.words.{name}")
    own = (FOLDER / f"{name}.py").read_text("utf-8")
    for table in tables(module):
        in_own = len(re.findall(rf"\b{table}\b", own)) > 1
        assert in_own or any(re.search(rf"\b{table}\b", text) for text in asking), table
