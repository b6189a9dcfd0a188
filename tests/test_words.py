"""Holds that names say what they name: none is a participle or a pronoun alone."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
CODE = ("pipeguard", "benchmarks", "training")
# Words that say nothing without a noun beside them.
BARE = {
    *("aside", "asked", "deeds", "found", "held", "home", "how", "kept", "known", "one", "said"),
    *("subject", "told"),
}
# One interface on two systems, of which only one is ever imported.
SAME_ON_OTHER_SYSTEMS = {"Child"}

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@cache
def modules() -> dict[str, ast.Module]:
    """Each module of the code, by its path."""
    files = (file for top in CODE for file in sorted((TOP / top).rglob("*.py")))
    return {file.relative_to(TOP).as_posix(): ast.parse(file.read_text("utf-8")) for file in files}


def names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The name and line of each class, function, method and parameter, lambdas' too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, Definition):
            yield node.name, node.lineno


def is_bare(name: str) -> bool:
    return name.strip("_").lower() in BARE


def bare_names() -> dict[str, list[str]]:
    """Each name that says nothing, as `file:line name`, by the folder it is in."""
    bare = defaultdict(list)
    for path, tree in modules().items():
        folder = path.rpartition("/")[0]
        if any(is_bare(part) for part in path.removesuffix(".py").split("/")):
            bare[folder].append(path)
        bare[folder] += [f"{path}:{line} {name}" for name, line in names(tree) if is_bare(name)]
    return {folder: places for folder, places in bare.items() if places}


def test_no_name_is_a_word_that_says_nothing() -> None:
    assert bare_names() == {}


def test_no_two_public_classes_have_one_name() -> None:
    places = defaultdict(list)
    for path, tree in modules().items():
        for node in ast.walk(tree) if path.startswith("pipeguard/") else ():
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(path)
    twice = {name: paths for name, paths in places.items() if len(paths) > 1}
    assert twice.keys() - SAME_ON_OTHER_SYSTEMS == set(), twice


def test_parameters_of_lambdas_are_names_too() -> None:
    tree = ast.parse("class A:\n    def b(self, c, *, d): return lambda e, *f, **g: e\n")
    assert {name for name, _ in names(tree)} == {*"Abcdefg", "self"}
