"""Lines for a person: quiet by default, whole, masked, and never blocking. log.py."""

import json
import os
from collections.abc import Iterator

import pytest

from pipeguard import log as module
from pipeguard.errors import PolicyError
from pipeguard.firewall.finding import Direction
from pipeguard.log import LEVELS, Log, make_say, say
from tests.launch.processes import fill


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """Replace our stderr with a pipe; yield its two ends."""
    read_end, write_end = os.pipe()
    monkeypatch.setattr(module, "STDERR", write_end)
    yield read_end, write_end
    os.close(read_end)
    os.close(write_end)


def told(read_end: int) -> str:
    """Return everything written so far."""
    os.set_blocking(read_end, False)
    parts = []
    try:
        while data := os.read(read_end, 65536):
            parts.append(data)
    except BlockingIOError:
        pass
    return b"".join(parts).decode()


@pytest.mark.parametrize("level", LEVELS)
def test_only_what_is_at_the_level_or_above_is_told(level: str, pipe: tuple[int, int]) -> None:
    log = Log(level, "json")
    for each in LEVELS[:-1]:
        log(each, f"of {each}")
    events = [json.loads(line)["event"] for line in told(pipe[0]).splitlines()]
    assert events == [f"of {each}" for each in LEVELS[LEVELS.index(level) : -1]]


def test_by_default_warnings_are_told_in_words(pipe: tuple[int, int]) -> None:
    log = Log(None, None)
    log("info", "unseen")
    log("warning", "block secrets.x", event_id="RUN.c1", empty="", nothing=None, place="meta")
    line = told(pipe[0])
    assert "block secrets.x" in line
    assert "event_id=RUN.c1" in line
    assert "place=meta" in line
    assert "unseen" not in line
    assert "empty" not in line
    assert "nothing" not in line
    assert "\x1b" not in line  # colours are for terminals


def test_a_value_is_one_word_and_safe_to_print(pipe: tuple[int, int]) -> None:
    log = Log("info", "console")
    ours = {"why": "two:\n  words", "note": "a login.\n  Log in:  now"}
    log("info", "held", tool="a\x1b[2J\x9b", excerpt='a"\n', empty_list=(), **ours)
    line = told(pipe[0])
    assert line.endswith(
        "Z [info     ] held excerpt='a\"⟨U+000A⟩' note='a login. Log in:  now'"
        " tool=a⟨U+001B⟩[2J⟨U+009B⟩ why='two: words'\n"
    )


def test_a_line_of_json_has_each_field_and_what_is_no_json_as_text(pipe: tuple[int, int]) -> None:
    Log("info", "json")("info", "held", tool="a\x1b", tools=("a", "b"), place=Direction.TO_SERVER)
    line = json.loads(told(pipe[0]))
    assert line.pop("timestamp").endswith("Z")
    shown = {"tool": "a\x1b", "tools": ["a", "b"], "place": repr(Direction.TO_SERVER)}
    assert line == {"event": "held", "level": "info", **shown}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo terminals in the library")
@pytest.mark.parametrize(("unwanted", "coloured"), [("", True), ("1", False)])
def test_colours_are_for_terminals_that_want_them(
    unwanted: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, secondary = os.openpty()
    monkeypatch.setattr(module, "STDERR", secondary)
    monkeypatch.setenv("NO_COLOR", unwanted)
    try:
        Log(None, None)("warning", "block secrets.x")
        line = os.read(primary, 65536)
    finally:
        os.close(primary)
        os.close(secondary)
    assert b"block secrets.x" in line
    assert (b"\x1b[" in line) is coloured


@pytest.mark.parametrize(("level", "style"), [("loud", None), (None, "xml"), ("WARNING", None)])
def test_what_does_not_exist_is_refused_with_what_does(
    level: str | None, style: str | None
) -> None:
    with pytest.raises(PolicyError, match="choose from"):
        Log(level, style)


def test_lines_that_nobody_reads_are_counted_and_hold_nobody(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    log = Log("info", "json")
    fill(write_end)
    for number in range(20):
        log("info", f"lost {number}")
    told(read_end)
    log("info", "read again")
    last = json.loads(told(read_end))
    assert (last["event"], last["missed_lines"]) == ("read again", 20)


def test_a_line_that_is_longer_than_the_pipe_is_written_to_who_reads(pipe: tuple[int, int]) -> None:
    log = Log("info", "json")
    log("info", "long", text="x" * 50_000)
    assert json.loads(told(pipe[0]))["text"] == "x" * 50_000


def test_a_stderr_that_is_closed_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    monkeypatch.setattr(module, "STDERR", write_end)
    try:
        say("to nobody")
        Log("info", "json")("info", "to nobody")
    finally:
        os.close(write_end)


def test_what_is_said_begins_with_our_name(pipe: tuple[int, int]) -> None:
    say("a word \udcff")
    assert told(pipe[0]) == "pipeguard: a word ⟨U+DCFF⟩\n"


def test_what_is_said_is_a_line_of_json_where_the_log_is(pipe: tuple[int, int]) -> None:
    make_say("json")
    try:
        say("listening on\nhttp://127.0.0.1:1")
        say("no policy", "error")
    finally:
        make_say(None)
    first, second = (json.loads(line) for line in told(pipe[0]).splitlines())
    assert (first["event"], first["level"]) == ("listening on\nhttp://127.0.0.1:1", "info")
    assert (second["event"], second["level"]) == ("no policy", "error")


def test_a_line_for_programs_always_names_the_server(pipe: tuple[int, int]) -> None:
    for style in ("json", "console"):
        log = Log(None, style)
        log.server = "weather"
        log("warning", "block secrets.x")
        log("warning", "down", server="mail")
    lines = told(pipe[0]).splitlines()
    assert [json.loads(line)["server"] for line in lines[:2]] == ["weather", "mail"]
    assert "weather" not in lines[2]
    assert "server=mail" in lines[3]
