"""Holds that names say what they name: none is a participle or a pronoun alone."""

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "pipeguard"
# Words that say nothing without a noun beside them.
BARE = {
    *("aside", "asked", "deeds", "found", "held", "home", "how", "kept", "known", "one", "said"),
    *("subject", "told"),
}
# One interface on two systems, of which only one is ever imported.
SAME_ON_OTHER_SYSTEMS = {"Child"}


def classes() -> dict[str, list[str]]:
    """Where each name of a class is given."""
    found = defaultdict(list)
    for file in sorted(PACKAGE.rglob("*.py")):
        place = str(file.relative_to(PACKAGE))
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(place)
    return found


def test_no_class_is_named_by_a_word_that_says_nothing() -> None:
    bare = {name: places for name, places in classes().items() if name.strip("_").lower() in BARE}
    assert bare == {}


def test_no_module_is_named_by_a_word_that_says_nothing() -> None:
    modules = [path for path in PACKAGE.rglob("*.py") if path.stem.strip("_") in BARE]
    assert modules == []


def test_no_two_public_classes_have_one_name() -> None:
    twice = {
        name: places
        for name, places in classes().items()
        if len(places) > 1 and not name.startswith("_") and name not in SAME_ON_OTHER_SYSTEMS
    }
    assert twice == {}
