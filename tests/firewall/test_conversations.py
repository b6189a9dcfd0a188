"""Every conversation goes as its file says; together they cover everything promised.

Checks that no row of the list of hostile input, and no method of any revision, is missing, and the
one thing that a conversation cannot express: a check that itself breaks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipeguard.detect.detector import get_detection, make_guard
from pipeguard.detect.scanning.engine import Engine
from pipeguard.detect.scanning.first_look import Look
from pipeguard.detect.text.document import MessageText
from pipeguard.firewall.finding import Action, Direction, MessageKind, Verdict
from pipeguard.firewall.policy import Policy
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.protocol.places import Surface
from pipeguard.firewall.session.session import Session
from tests.conversation import FOLDER, Conversation, load, paths, play
from tests.fuzz.rulebook import engines

ROOT = Path(__file__).parents[2]
REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")
ROWS = range(1, 72)  # those after it are of HTTP
PARTS = {"requests": ("request", "result"), "notifications": ("notification",)}
SENDERS = {"client": Direction.TO_SERVER, "server": Direction.TO_CLIENT}


@pytest.mark.parametrize("path", paths(), ids=lambda path: str(path.stem))
def test_goes_as_its_file_says(path: Path) -> None:
    assert play(path).conversation.name == path.stem


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
        played = play(path)
        for verdict in played.verdicts:
            if verdict.forward is verdict.frame and verdict.kind and not verdict.findings:
                sender = "client" if verdict.direction is Direction.TO_SERVER else "server"
                if verdict.kind in (MessageKind.RESULT, MessageKind.ERROR):
                    sender = "server" if sender == "client" else "client"
                yield _key(played.conversation, sender, verdict.kind, verdict.method)


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


# --- when a check breaks -------------------------------------------------------------------


class BrokenEngine(Engine):
    """A faulty engine, which fails at one word."""

    def __init__(self) -> None:
        """It has no rules."""
        self.keyed = False

    def look(self, value: JsonValue, surface: Surface, before: Look | None = None) -> Look:
        """Find nothing, or fail."""
        if "fault" in str(value):
            raise ZeroDivisionError
        text = MessageText(value, keyed=self.keyed) if before is None else before.text
        return Look(surface, text, None, is_silent=True)


@pytest.fixture
def broken() -> Session:
    """Make a session whose rules fail at the word `fault`."""
    guard = make_guard("demo", engines(), Policy(), {})
    get_detection(guard).scanners = {surface: (BrokenEngine(),) for surface in Surface}
    return Session(guard, "RUN")


def tell(session: Session, side: str, frame: str) -> Verdict:
    return session.receive(SENDERS[side], frame.encode(), 0.0)


def body(frame: bytes | None) -> dict[str, dict[str, int]]:
    read: dict[str, dict[str, int]] = json.loads(frame or b"null")
    return read


def test_an_answer_whose_check_breaks_is_replaced(broken: Session) -> None:
    tell(broken, "client", '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}')
    verdict = tell(broken, "server", '{"jsonrpc":"2.0","id":1,"result":{"a":"fault"}}')
    assert (verdict.forward or b"").startswith(b'{"jsonrpc":"2.0","id":1,')
    assert body(verdict.forward)["error"]["code"] == codes.INTERNAL
    assert broken.abandon() == [], "it is answered, so it waits no longer"


def test_a_notification_whose_check_breaks_is_dropped(broken: Session) -> None:
    verdict = tell(broken, "client", '{"jsonrpc":"2.0","method":"notifications/x","a":"fault"}')
    assert (verdict.action, verdict.forward, verdict.reply) == (Action.BLOCK, None, None)


def test_a_batch_loses_only_the_member_whose_check_breaks(broken: Session) -> None:
    opening = '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}'
    tell(broken, "client", opening)
    agreed = '{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-03-26"}}'
    tell(broken, "server", agreed)
    ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
    faulty = '{"jsonrpc":"2.0","id":2,"method":"ping","a":"fault"}'
    verdict = tell(broken, "client", f"[{ping},{faulty}]")
    assert verdict.forward == f"[{ping}]".encode()
    assert [reply["error"]["code"] for reply in json.loads(verdict.reply or b"")] == [-37108]
    assert len(broken.abandon()) == 1
