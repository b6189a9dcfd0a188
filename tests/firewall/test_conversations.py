"""Every conversation goes as its file says; together they cover everything promised.

Checks that no row of the list of hostile input, and no method of any revision, is missing.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from pipeguard.firewall.finding import Direction, MessageKind
from tests.conversation import FOLDER, Conversation, load, paths, play

ROOT = Path(__file__).parents[2]
REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")
ROWS = range(1, 72)  # those after it are of HTTP
PARTS = {"requests": ("request", "result"), "notifications": ("notification",)}


played = cache(play)


@pytest.mark.parametrize("path", paths(), ids=lambda path: str(path.stem))
def test_goes_as_its_file_says(path: Path) -> None:
    assert played(path).conversation.name == path.stem


def test_names_are_sentences_and_no_two_are_the_same() -> None:
    names = [path.stem for path in paths()]
    assert len(set(names)) == len(names)
    assert [name for name in names if name.count("-") < 2] == []


def test_every_row_of_hostile_input_has_a_test_or_a_reason() -> None:
    covered = {row for path in paths() for row in load(path).rows}
    rows: list[dict[str, str]] = yaml.safe_load((FOLDER / "rows.yaml").read_text(encoding="utf-8"))
    assert [int(entry["row"]) for entry in rows] == list(ROWS)
    assert covered <= set(ROWS), "a conversation names a row that there is not"
    for number, entry in zip(ROWS, rows, strict=True):
        assert entry.keys() <= {"row", "input", "expected", "test", "gap"}
        assert number in covered or "test" in entry, f"row {number}: {entry['input']}"
        if "test" in entry:
            file, _, name = entry["test"].partition("::")
            assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), entry["test"]


@pytest.mark.slow
def test_every_method_passes_in_every_revision_that_has_it() -> None:
    passed = set(unchanged())
    methods: dict[str, dict[str, dict[str, str]]] = yaml.safe_load(
        (FOLDER / "methods.yaml").read_text(encoding="utf-8")
    )
    missing = [
        wanted
        for part in PARTS
        for method, senders in methods[part].items()
        for sender, when in senders.items()
        for revision in revisions(when)
        for kind in PARTS[part]
        if (wanted := (revision, sender, kind, method)) not in passed
    ]
    assert missing == []


def unchanged() -> Iterator[tuple[str, str, str, str]]:
    """Yield revision, sender, kind and method of each message that passed clean."""
    for path in paths():
        for verdict in played(path).verdicts:
            if verdict.forward is verdict.frame and verdict.kind and not verdict.findings:
                sender = "client" if verdict.direction is Direction.TO_SERVER else "server"
                if verdict.kind in (MessageKind.RESULT, MessageKind.ERROR):
                    sender = "server" if sender == "client" else "client"
                yield _key(played(path).conversation, sender, verdict.kind, verdict.method)


def _key(
    conversation: Conversation, sender: str, kind: MessageKind, method: str | None
) -> tuple[str, str, str, str]:
    return conversation.revision or "", sender, kind.value, method or ""


def revisions(when: str) -> list[str]:
    """Return the revisions that a line of methods.yaml names."""
    word, *named = when.split()
    if word == "all":
        return [revision for revision in REVISIONS if revision not in named]
    if word == "from":
        return list(REVISIONS[REVISIONS.index(named[0]) :])
    assert word == "only", when
    return named


# --- what a file says is held to ------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ("{client: {id: 1, method: ping}}", "server_sees"),
        ("{client: {id: 1, method: ping}, server_sees: {exactly: {id: 1}}}", "exactly"),
        ("{client: {id: 1, method: ping}, server_sees: {lacks: ping}}", "lacks 'ping'"),
        ("{client: {id: 1, method: ping}, server_sees: same, finding: a.b}", "a.b is missing"),
        ("{client: {id: 1, method: ping}, server_sees: same, action: warn}", "ALLOW"),
        ("{client: {id: 1, method: ping}, server_sees: same, frames: 2}", "1 frames"),
        ("{client: {id: 1, method: ping}, server_sees: same, client_sees: {}}", "client_sees"),
        ("{approve: [a]}", "nobody knows"),
        ("{gone: server, client_sees: [{id: 1}]}", "client_sees"),
    ],
)
def test_a_conversation_that_goes_otherwise_fails(tmp_path: Path, step: str, why: str) -> None:
    file = tmp_path / "it-goes-otherwise.yaml"
    file.write_text(f"source: ours\nsteps:\n  - {step}\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=re.escape(why)):
        play(file)


@pytest.mark.parametrize(
    "text", ["steps: []", "{source: ours, step: []}", "{source: a page, steps: []}"]
)
def test_a_file_has_a_source_and_no_unknown_member(tmp_path: Path, text: str) -> None:
    file = tmp_path / "it-is-odd.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError):
        load(file)
