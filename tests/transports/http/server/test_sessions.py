"""The Sessions of a listener: found by their ids, dropped when idle, notified of changes."""

import json

import pytest

from pipeguard import Direction, Frame, Policy, Session, make_guard
from pipeguard.firewall.pins.fingerprint import Pin, canonical, fingerprint
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.transports.http.headers import is_session_id
from pipeguard.transports.http.server import sessions as module
from pipeguard.transports.http.server.sessions import SessionOwners, Sessions
from tests.fuzz.rulebook import engines
from tests.transports.talking import Json, initialize, make_sessions, opened


class Heard:
    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def send(self, frames: list[bytes]) -> None:
        self.frames += frames


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "monotonic", made)
    return made


def frame(message: Json) -> bytes:
    return json.dumps(message).encode()


def begun(known: Sessions, session_id: str, tools: Json = None) -> Session:
    session = known.new(None)
    session.take(Frame(Direction.TO_SERVER, frame(initialize()), 1.0))
    session.take(Frame(Direction.TO_CLIENT, frame(opened(tools=tools)), 1.0))
    known.keep(session_id, session)
    return session


def test_of_too_many_owners_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OWNERS", 3)
    owners = SessionOwners()
    owners.own("nobody's", "")
    for number in range(5):
        owners.own(str(number), "ann")
    assert len(owners._names) == 3
    assert [owners.allow(str(number), "bob") for number in range(5)] == [True, True, *[False] * 3]
    owners.drop("4")
    owners.drop("unknown")
    assert owners.allow("4", "bob")


@pytest.mark.parametrize("text", ["", " ", "a b", "a\n", "\x7f", "\u00e9", "x" * 1025, "a\0"])
def test_what_else_comes_is_none(text: str) -> None:
    assert not is_session_id(text)
    known = make_sessions()
    known.keep(text, known.new(None))
    assert len(known._entries) == 0


def test_a_session_is_found_until_it_is_forgotten() -> None:
    known = make_sessions()
    session = begun(known, "s")
    assert known.of("s", None) is session
    assert known.of("t", None) is not session
    assert known.of(None, None) is not session
    known.forget("t")
    known.forget(None)
    assert known.of("s", None) is session
    known.forget("s")
    assert known.of("s", None) is not session
    known.keep(None, session)
    assert len(known._entries) == 0


def test_of_too_many_the_one_that_was_idle_for_longest_is_forgotten(clock: Clock) -> None:
    known = make_sessions(most=3)
    sessions = {}
    for name in ("a", "b", "c"):
        clock.now += 1
        sessions[name] = begun(known, name)
    clock.now += 1
    known.of("a", None)
    clock.now += 1
    begun(known, "d")
    assert len(known._entries) == 3
    assert known.of("a", None) is sessions["a"]
    assert known.of("b", None) is not sessions["b"]


def test_an_idle_session_is_forgotten_and_one_that_listens_is_not(clock: Clock) -> None:
    known = make_sessions(idle_seconds=10.0)
    listens, idle = begun(known, "listens"), begun(known, "idle")
    with known.subscribing(listens, Heard().send):
        clock.now = 11.0
        begun(known, "new")
        assert known.of("listens", None) is listens
        assert known.of("idle", None) is not idle
        clock.now = 20.0
    clock.now = 25.0
    begun(known, "newer")
    assert known.of("listens", None) is listens, "it was in use until 20"
    clock.now = 60.0
    begun(known, "newest")
    assert len(known._entries) == 1


def test_what_changed_is_told_once_to_each_conversation_that_asked_for_it() -> None:
    known = make_sessions()
    announces, silent = begun(known, "a", tools={"listChanged": True}), begun(known, "b", tools={})
    other = begun(known, "c", tools={"listChanged": True})
    known.forget("c")
    known.record = (recorded := list[object]()).append
    heard = [Heard() for _ in range(4)]
    with (
        known.subscribing(announces, heard[0].send),
        known.subscribing(announces, heard[1].send),
        known.subscribing(silent, heard[2].send),
        known.subscribing(other, heard[3].send),
    ):
        known.relist(frozenset({"tool"}))
        known.relist(frozenset({"prompt"}))
        known.relist(frozenset())
    known.relist(frozenset({"tool"}))
    assert [len(one.frames) for one in heard] == [0, 1, 0, 1], "on the latest of its streams"
    assert len(recorded) == 2, "only what was sent"
    assert b"notifications/tools/list_changed" in heard[1].frames[0]


def test_headers_of_a_tool_are_those_of_its_pin() -> None:
    def pin(header: str, *, held: bool) -> Pin:
        schema: JsonObject = {"properties": {"region": {"x-mcp-header": header}}}
        definition: JsonObject = {"name": "find", "inputSchema": schema}
        text, print_ = canonical(definition).decode(), fingerprint(definition)
        if held:
            return Pin("tool", "find", None, None, text, print_, "new")
        return Pin("tool", "find", text, print_, None, None, "")

    guard = make_guard("demo", engines(), Policy(), {})
    known = Sessions(guard, "RUN", 10, 10.0)
    assert known.mirrored_headers("find") == {}
    guard.repin({("tool", "find"): pin("Region", held=False)})
    assert known.mirrored_headers("find") == {"Region": ("region",)}
    guard.repin({("tool", "find"): pin("Area", held=True)})
    assert known.mirrored_headers("find") == {"Area": ("region",)}
    assert known.mirrored_headers("other") == {}
    assert parse_json(b"{}") == {}


async def test_a_call_that_is_judged_when_its_session_ends_waits_for_nobody() -> None:
    known = make_sessions()
    ended, other = begun(known, "s1"), begun(known, "s2")
    known.forget("s1")  # before the verdict, by which the call would wait
    with known.holding(ended) as over, known.holding(other) as goes_on:
        assert (over.done(), goes_on.done()) == (True, False)
