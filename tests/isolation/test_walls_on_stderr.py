"""Walls that only standard error names: a server on the official Python SDK, whose tools raise."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pipeguard.isolation.walls.witness import MAX_EVENTS
from pipeguard.transports.stderr import StderrCopy
from tests.each import each
from tests.isolation.test_walls import AUTO, call, event_in, texts
from tests.isolation.test_wrapped import Isolated
from tests.wrap.deciding import decide

pytestmark = pytest.mark.needs("bubblewrap")

RAISING = (sys.executable, "-I", str(Path(__file__).with_name("raising.py")))
CALLS = 30
TOOLS = {"read": ("read", "diaries", "to read"), "write": ("write_file", "notes", "to change")}


def raising(folder: Path) -> Isolated:
    return Isolated(folder, *AUTO, "--read", "home/notes", command=RAISING)


def recorded(folder: Path) -> str:
    code, shown = decide(folder / "state", "audit", "list", "--limit", "1000", "--json")
    assert code == 0, shown
    return shown


@each("tool, place, verb", TOOLS)
def test_each_answer_says_what_its_own_traceback_names(
    tool: str, place: str, verb: str, tmp_path: Path
) -> None:
    events = []
    with raising(tmp_path) as run:
        run.ready()
        for number in range(CALLS):
            path = tmp_path / "home" / place / f"new{number}"
            server, ours = texts(call(run, tool, path))
            assert server == f"Error executing tool {tool}"
            assert f'{verb} "{path}" (event ' in ours
            assert ours.count("(event ") == 1
            assert event_in(texts(call(run, tool, path))[1]) == event_in(ours), "and once more"
            events.append(event_in(ours))
        run.hang_up()
        assert run.code() == 0
    assert len(set(events)) == CALLS
    shown = recorded(tmp_path)
    assert all(event in shown for event in events)


@each("tool, place, verb", TOOLS)
def test_calls_at_once_have_their_own_notes(
    tool: str, place: str, verb: str, tmp_path: Path
) -> None:
    with raising(tmp_path) as run:
        run.ready()
        paths = [tmp_path / "home" / place / f"new{number}" for number in range(CALLS)]
        asked = [
            run.request("tools/call", name=tool, arguments={"what": str(path)}) for path in paths
        ]
        answers = {answer["id"]: texts(answer) for answer in (run.frame() for _ in asked)}
    for number, path in zip(asked, paths, strict=True):
        _, ours = answers[number]
        assert f'{verb} "{path}" (event ' in ours
        assert ours.count("(event ") == 1


def test_what_has_no_event_any_more_is_told_all_the_same(tmp_path: Path) -> None:
    with raising(tmp_path) as run:
        run.ready()
        for number in range(MAX_EVENTS):
            event_in(texts(call(run, "read", f"/srv/{number}"))[1])
        _, ours = texts(call(run, "read", "/srv/last"))
    assert 'to read "/srv/last" (without an event: ' in ours


def test_what_was_written_is_looked_at_before_anybody_writes_it_on() -> None:
    source, server = os.pipe()
    out, sink = os.pipe()
    seen: list[bytes] = []
    copy = StderrCopy(source, sink, bytes.upper, seen.append)
    try:
        copy.catch_up()
        os.write(server, b"one\ntw")
        copy.catch_up()
        assert seen == [b"one\n"], "although nothing was started that copies"
        os.write(server, b"o\nthree")
        copy.catch_up()
        os.close(server)
        copy.run()
        copy.catch_up()
        assert seen == [b"one\n", b"two\n", b"three"]
        assert os.read(out, 100) == b"ONE\nTWO\nTHREE"
    finally:
        for descriptor in (source, out, sink):
            os.close(descriptor)
