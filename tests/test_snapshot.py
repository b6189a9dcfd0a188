"""Each snapshot is used by a test, and each changed word fails."""

import ast
import re
from fnmatch import fnmatchcase

import pytest

from tests.snapshot import FOLDER, IS_WRITTEN, Snapshot

METHODS = {"commands", "text"}


def names_in(text: str) -> set[str]:
    """Return the names of a module's snapshots; a pattern for a computed name."""
    calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    names = {
        call.args[0]
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr in METHODS
        if ast.unparse(call.func.value) == "snapshot"
    }
    return {_pattern(name) for name in names}


def _pattern(name: ast.expr) -> str:
    parts = name.values if isinstance(name, ast.JoinedStr) else [name]
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in parts)


def test_keys_of_json_output_are_identifiers() -> None:
    """Ids of checks, which have hyphens, are keys too, and so are names that users chose."""
    key = re.compile(r'^ *"([^"]*[^\w"-][^"]*)": ', re.MULTILINE)
    shown = {path.name: key.findall(path.read_text("utf-8")) for path in FOLDER.glob("*.txt")}
    assert {name: keys for name, keys in shown.items() if keys} == {}


def test_each_snapshot_is_used_and_there() -> None:
    texts = [file.read_text("utf-8") for file in FOLDER.parent.rglob("test_*.py")]
    used = set().union(*(names_in(text) for text in texts if "snapshot." in text))
    kept = {file.stem for file in FOLDER.iterdir()}
    unused = {name for name in kept if not any(fnmatchcase(name, each) for each in used)}
    missing = {each for each in used if not any(fnmatchcase(name, each) for name in kept)}
    assert (unused, missing) == (set(), {"no-such-snapshot"})


def test_names_are_found_in_calls() -> None:
    text = 'snapshot.commands("a", "x")\nsnapshot.text(f"b-{c}", d)\nother.text("e")\n'
    assert names_in(text) == {"a", "b-*"}


@pytest.mark.skipif(IS_WRITTEN, reason="snapshots are written, not compared")
def test_another_word_fails_and_so_does_a_missing_snapshot(snapshot: Snapshot) -> None:
    with pytest.raises(AssertionError, match="no snapshot no-such-snapshot"):
        snapshot.text("no-such-snapshot", "")
    with pytest.raises(AssertionError, match="other exit codes"):
        snapshot.commands("help-misspelled", "-V  # 2")
    with pytest.raises(pytest.fail.Exception, match=r"-! pipeguard: no such command 'alow'"):
        snapshot.commands("help-misspelled", "alwo  # 2")
