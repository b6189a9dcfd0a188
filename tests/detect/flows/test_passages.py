"""A passage that was cut out of a result is back, byte for byte, in a call that has its line."""

import json
import re
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard import Action, Session
from pipeguard.detect.flows import passages
from pipeguard.detect.flows.passages import Passages
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.firewall.session.rewrite import CUT_SIGN
from tests.detect import test_cuts
from tests.detect.flows.test_vault import asked
from tests.detect.test_cuts import AFTER, BEFORE, content, line
from tests.firewall.session.talk import (
    begin,
    frame,
    member,
    new_session,
    rules,
    to_client,
    to_server,
)
from tests.fuzz.budget import tried

ORDER = test_cuts.ORDER.replace("saved passwords", '"saved" passwords')
LINE = line("x" * 30)
GO = f'package main\n\n{BEFORE}// {ORDER}\n// He said "wait", and \\d.\n{AFTER}\n'
CRLF = GO.replace("\n", "\r\n")
NOTES = json.dumps({"title": "minutes", "note": f"{BEFORE}{ORDER}{AFTER}"}, indent=1)
Result = Callable[[str], dict[str, object]]
Edit = Callable[[str], JsonObject]
RESULTS: dict[str, tuple[str, Result]] = {
    "text": (GO, content),
    "CR LF": (CRLF, content),
    "a JSON document": (NOTES, content),
    "an envelope": (GO, lambda text: content(json.dumps({"content": text}))),
    "structured": (
        GO,
        lambda text: {
            **content(json.dumps({"content": text})),
            "structuredContent": {"content": text},
        },
    ),
}
EDITS: dict[str, Edit] = {
    "a whole file": lambda text: {"path": "notes/a", "content": text},
    "a part of it": lambda text: {
        "edits": [{"oldText": text[text.index("as it is") :], "newText": "-"}]
    },
    "files as JSON": lambda text: {"files": json.dumps({"notes/a": text}, indent=2)},
    "JSON in JSON": lambda text: {"calls": json.dumps([json.dumps({"content": text})])},
    "a commit": lambda text: {"message": "Add minutes", "files": [{"path": "a", "content": text}]},
}


def read(session: Session, result: dict[str, object]) -> str:
    """Read a file; return the text of its document as the client got it."""
    params = {"name": "read_file", "arguments": {"path": "notes/a"}}
    to_server(session, frame(id=1, method="tools/call", params=params))
    verdict = to_client(session, frame(id=1, result=result))
    assert verdict.action is Action.CUT
    return text_of(verdict.forward)


def text_of(answer: bytes | None) -> str:
    (block,) = json.loads(answer or b"")["result"]["content"]
    return str(block["text"])


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("kind", RESULTS)
def test_a_passage_is_back_in_each_edit_of_its_document(kind: str, edit: str) -> None:
    document, result = RESULTS[kind]
    session = new_session()
    got = read(session, result(document))
    seen = json.loads(got)["content"] if kind in ("an envelope", "structured") else got
    assert ORDER not in seen
    verdict = asked(session, 2, "write_file", EDITS[edit](seen))
    assert member(verdict.forward, "params", "arguments") == EDITS[edit](document)
    assert rules(verdict) == ["secrets.put-back"]


def test_a_passage_of_a_shell_is_refused() -> None:
    session = new_session()
    command = f"cat > a <<'EOF'\n{read(session, content(GO))}\nEOF"
    assert "commands.cut-line" in rules(asked(session, 2, "bash", {"command": command}))


SEEN = f"{BEFORE}{LINE}{AFTER}"
STALE: dict[str, JsonObject] = {
    "as it was": {"content": SEEN},
    "over lines of a comment": {
        "content": SEEN.replace(", ", ",\n// ").replace("cut ", "cut\n// ")
    },
    "in capitals": {"content": SEEN.upper()},
    "without its end": {"content": SEEN.partition(" here, event")[0]},
    "in base64": {"content": b64encode(SEEN.encode()).decode()},
    "in a key": {"files": {SEEN: "x"}},
    "the end of it": {"content": LINE[50:]},
}


@pytest.mark.parametrize("kind", STALE)
def test_a_line_of_another_run_is_refused_with_what_to_do(kind: str) -> None:
    verdict = asked(new_session(), 2, "write_file", STALE[kind])
    assert (verdict.forward, {*rules(verdict)}) == (None, {"commands.cut-line"})
    told = text_of(verdict.reply)
    assert re.search(r"Read the file again, or .* `pipeguard allow (RUN\.S1|EVENT)`", told, re.I)


@pytest.mark.parametrize(
    "text",
    ["PipeGuard cut 214 characters here, says the manual.", r"grep '\[PipeGuard cut \d+ char'"],
)
def test_a_text_about_such_lines_passes(text: str) -> None:
    verdict = asked(new_session(), 2, "write_file", {"content": text})
    assert verdict.forward is verdict.frame


def test_no_answer_takes_a_line_to_a_server() -> None:
    session = new_session()
    begin(session, {"sampling": {}})
    got = read(session, content(GO))
    question = {"messages": [], "maxTokens": 9}
    to_client(session, frame(id=7, method="sampling/createMessage", params=question))
    reply = {"role": "assistant", "model": "m", "content": {"type": "text", "text": got}}
    assert CUT_SIGN.encode() not in (to_server(session, frame(id=7, result=reply)).forward or b"")


def nest(text: str, depth: int) -> str:
    for _ in range(depth):
        text = json.dumps({"t": text})
    return text


TEXTS = st.text('ab "\n\u00e9', max_size=20)
NUMBERED = "7\tIn the\n     8\t// evening"
LETTERS = st.characters(exclude_characters="\r", codec="utf-8")


@tried(200)
@given(TEXTS, st.text(LETTERS, min_size=1), TEXTS, st.integers(0, 2), st.integers(0, 2))
def test_a_passage_is_spelled_as_the_text_around_it(
    before: str, words: str, behind: str, source: int, argument: int
) -> None:
    """In any number of JSON strings, whatever it was cut out of."""
    kept, spelled = Passages(), words
    for _ in range(source):
        spelled = json.dumps(spelled)[1:-1]
    kept.keep(LINE, spelled, nest(f"{before}{words}{behind}", source))
    text: Any = kept.put_back(nest(f"{before}{LINE}{behind}", argument))
    for _ in range(argument):
        text = json.loads(text)["t"]
    assert text == f"{before}{words}{behind}"


@pytest.mark.parametrize(
    ("words", "kept"),
    [(NUMBERED, "In the\n// evening"), ("a\n8→b", "a\nb"), ("7\ta\n8\tb", "7\ta\n8\tb")],
)
def test_the_numbers_of_lines_are_no_part_of_a_passage(words: str, kept: str) -> None:
    one = Passages()
    one.keep(LINE, words, words)
    assert one.put_back(LINE) == kept


def test_a_passage_of_several_lines_fits_into_a_diff() -> None:
    one, head = Passages(), "--- a\n+++ b\n@@ -1{} +1{} @@\n"
    one.keep(LINE, "In the\nevening", "In the\nevening")
    sent = one.put_back(f"{head.format('', ',2')}-{LINE}\n+x\n+{LINE}\n")
    changed = "-In the\n-evening\n+x\n+In the\n+evening\n"
    assert sent == f"{head.format(',2', ',3')}{changed}"


def test_the_passages_of_a_client_are_bounded() -> None:
    kept = Passages()
    for number in range(passages.MAX_PASSAGES + 1):
        kept.keep(line(f"{number}"), f"{number}" * 5_000, "")
    assert kept.size_bytes <= passages.MAX_BYTES
    assert kept.put_back(line("0")) == line("0")
    kept.keep(LINE, "x" * (passages.MAX_PASSAGE_BYTES - 99), "")
    many = [LINE] * 8
    assert json.dumps(kept.put_back([*many])).count(LINE) == 8 - 4
    kept.keep(LINE, "x" * passages.MAX_PASSAGE_BYTES, "")
    kept.clear()
    assert (kept.put_back(LINE), kept.size_bytes) == (LINE, 0)
