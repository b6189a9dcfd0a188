"""Tools as the user wants agents to see them: hidden, renamed, redescribed."""

import asyncio
import json

import pytest

from pipeguard import Action, Direction, Policy, Session, Verdict, make_guard
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.gateway.front import ShownJudge
from pipeguard.gateway.tools import Override, ShownTools
from pipeguard.transports.judging import Judge
from tests.fuzz.rulebook import engines

TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT


def named(name: str) -> JsonObject:
    return {"name": name, "description": "Adds.", "inputSchema": {"type": "object"}}


def test_names_go_both_ways() -> None:
    shown = ShownTools(overrides={"p": Override("q"), "x": Override("", "Other words.")})
    assert (shown.own_name("q"), shown.own_name("p"), shown.own_name("z")) == ("p", None, "z")
    assert shown.definitions([named("p"), named("x")]) == [
        {**named("p"), "name": "q"},
        {**named("x"), "description": "Other words."},
    ]


def test_a_tool_whose_name_another_one_was_given_has_a_name_of_its_own() -> None:
    shown = ShownTools(overrides={"p": Override("q"), "r": Override("q")})
    definitions = shown.definitions(map(named, ("p", "q", "r")))
    names = [str(tool["name"]) for tool in definitions if isinstance(tool, dict)]
    assert names[0] == "q"
    assert len(set(names)) == 3
    assert [shown.own_name(name) for name in names] == ["p", "q", "r"]


def test_a_name_that_another_tool_has_is_not_given() -> None:
    real = {"p", "q", "r"}.__contains__
    shown = ShownTools(overrides={"p": Override("q"), "r": Override("s")}, has_tool=real)
    assert [shown.own_name(name) for name in "pqs"] == ["p", "q", "r"]
    assert shown.own_name("r") is None
    chain = ShownTools(overrides={"p": Override("q"), "q": Override("r")}, has_tool=real)
    assert [chain.own_name(name) for name in "pqr"] == ["p", "q", "r"]
    assert not chain.has_names
    swapped = ShownTools(overrides={"p": Override("q"), "q": Override("p")}, has_tool=real)
    assert [swapped.own_name(name) for name in "pq"] == ["q", "p"]


def test_what_is_blocked_or_not_allowed_is_not_shown() -> None:
    both = [named("delete"), named("read")]
    assert ShownTools(block=("d*",)).definitions(both) == [None, named("read")]
    assert ShownTools(allow=("r*",)).definitions(both) == [None, named("read")]
    assert ShownTools(block=("*",)).definitions([["odd"]]) == [["odd"]]
    assert ShownTools().is_everything


@pytest.fixture
def session() -> Session:
    return Session(make_guard("one", engines(), Policy(), {}), "run", "2025-03-26")


def judge(session: Session, direction: Direction, frame: bytes) -> Verdict:
    shown = ShownTools(block=("hidden",), overrides={"p": Override("q")})
    shows = ShownJudge(Judge(lambda _: None), shown)
    return asyncio.run(shows(session, direction, frame))


def request(number: int, method: str, **params: object) -> JsonObject:
    value: JsonObject = json.loads(
        json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
    )
    return value


def test_a_batch_is_read_like_its_messages(session: Session) -> None:
    calls = [request(1, "tools/list"), request(2, "tools/call", name="q", arguments={})]
    sent = judge(session, TO_SERVER, json.dumps(calls).encode())
    assert sent.forward is not None
    assert json.loads(sent.forward)[1]["params"]["name"] == "p"
    tools = [named("p"), named("hidden"), named("other")]
    answer = [
        {"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}},
        {"jsonrpc": "2.0", "id": 2, "result": {"content": []}},
    ]
    back = judge(session, TO_CLIENT, json.dumps(answer).encode())
    assert back.forward is not None
    listed = json.loads(back.forward)[0]["result"]["tools"]
    assert [tool["name"] for tool in listed] == ["q", "other"]


def test_what_is_called_by_a_name_that_it_has_no_more_is_refused(session: Session) -> None:
    frame = json.dumps(request(1, "tools/call", name="p", arguments={})).encode()
    verdict = judge(session, TO_SERVER, frame)
    assert (verdict.action, verdict.forward) == (Action.BLOCK, None)
    assert verdict.reply is not None
    assert json.loads(verdict.reply)["id"] == 1


def test_a_frame_that_cannot_be_read_is_refused_where_it_is_judged(session: Session) -> None:
    assert judge(session, TO_SERVER, b"{").action is Action.BLOCK
    ping = json.dumps(request(1, "ping")).encode()
    assert judge(session, TO_SERVER, ping).forward is ping
