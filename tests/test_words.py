"""Check the language of the code: honest names, and docstrings that are not clauses."""

import ast
import re
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
# A docstring is a noun phrase or a command; a predicate may say "True if ...".
CLAUSE = re.compile(
    r"(What|That|Whether|Have|Has|How|The same|Where|Who|Whose|Which|When|Of|In|If|As)\b(?! JSON)"
)
# A function is named by a verb, not by what it returns.
VERBLESS = re.compile(
    r"""_*(?!(?:embed|exceed|feed|need|proceed|seed|shed|speed|succeed)_*$)(?:
    \w+_(?:about|after|as|at|before|behind|beside|between|beyond|by|for|from|in|into|of|on|over|per
    |through|to|under|upon|with|within|without)
    |[^_]+ed|begun|borne|bought|bound|broken|brought|built|caught|chosen|done|drawn|driven|fed|felt
    |found|given|gone|grown|heard|held|hidden|hung|kept|known|laid|led|left|lent|lost|made|meant|met
    |paid|said|seen|sent|shown|sold|spent|spoken|spelt|struck|stuck|swept|taken|thought|thrown|told
    |torn|understood|won|worn|written)_*""",
    re.VERBOSE,
)
# One interface on two systems, of which only one is ever imported.
SAME_ON_OTHER_SYSTEMS = {"Child"}

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@cache
def modules() -> dict[str, list[ast.AST]]:
    """Each module of the code by its path: the module, its definitions and their parameters."""
    files = (file for top in CODE for file in sorted((TOP / top).rglob("*.py")))
    return {
        file.relative_to(TOP).as_posix(): named_nodes(file.read_text("utf-8")) for file in files
    }


def named_nodes(text: str) -> list[ast.AST]:
    kept = ast.Module | Definition | ast.arg
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, kept)]


def names(nodes: list[ast.AST]) -> Iterator[tuple[str, int]]:
    """The name and line of each class, function, method and parameter, lambdas' too."""
    for node in nodes:
        if isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, Definition):
            yield node.name, node.lineno


def is_bare(name: str) -> bool:
    return name.strip("_").lower() in BARE


def bare_names() -> dict[str, list[str]]:
    """Each name that says nothing, as `file:line name`, by the folder it is in."""
    bare = defaultdict(list)
    for path, nodes in modules().items():
        folder = path.rpartition("/")[0]
        if any(is_bare(part) for part in path.removesuffix(".py").split("/")):
            bare[folder].append(path)
        bare[folder] += [f"{path}:{line} {name}" for name, line in names(nodes) if is_bare(name)]
    return {folder: places for folder, places in bare.items() if places}


def test_no_name_is_a_word_that_says_nothing() -> None:
    assert bare_names() == {}


def test_no_two_public_classes_have_one_name() -> None:
    places = defaultdict(list)
    for path, nodes in modules().items():
        for node in nodes if path.startswith("pipeguard/") else ():
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(path)
    twice = {name: paths for name, paths in places.items() if len(paths) > 1}
    assert twice.keys() - SAME_ON_OTHER_SYSTEMS == set(), twice


def is_verbless(name: str) -> bool:
    """True if a function's name is a bare participle or ends in a preposition."""
    return not name.startswith("__") and VERBLESS.fullmatch(name) is not None


def misworded(nodes: list[ast.AST]) -> Iterator[str]:
    """Functions with a verbless name, and docstrings that are clauses, each with its line."""
    for node in nodes:
        if not isinstance(node, ast.Module | Definition):
            continue
        line = getattr(node, "lineno", 1)
        if not isinstance(node, ast.Module | ast.ClassDef) and is_verbless(node.name):
            yield f"{line} {node.name}"
        docstring = ast.get_docstring(node)
        if docstring and CLAUSE.match(docstring):
            yield f"{line} {docstring.splitlines()[0]}"


def test_functions_are_named_by_verbs_and_docstrings_are_no_clauses() -> None:
    code = ((path, nodes) for path, nodes in modules().items() if path.startswith("pipeguard/"))
    assert [f"{path}:{place}" for path, nodes in code for place in misworded(nodes)] == []


def test_verbless_names_and_clauses_are_seen() -> None:
    bad = ["given", "_quoted", "path_of", "look_in"]
    assert [*filter(is_verbless, [*bad, "feed", "quote", "find_path", "is_wanted", "__of"])] == bad
    text = '"""Whether it holds."""\ndef find():\n    """True if it holds."""\n'
    assert [*misworded(named_nodes(text))] == ["1 Whether it holds."]


def test_parameters_of_lambdas_are_names_too() -> None:
    nodes = named_nodes("class A:\n    def b(self, c, *, d): return lambda e, *f, **g: e\n")
    assert {name for name, _ in names(nodes)} == {*"Abcdefg", "self"}
