"""A record's server: which requests it knows, and in which form a client gets their answers."""

import asyncio
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError, StdioServerParameters

from tests.commands import run_command
from tests.replay.lines import answer, call, sent, write_record

PIPEGUARD = Path(sys.executable).with_name("pipeguard")
OPENING = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}}
INFO = {"name": "demo", "version": "1"}
OPENED = answer(0, protocolVersion="2025-06-18", capabilities={}, serverInfo=INFO)
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
LISTED = answer(1, tools=[{"name": "add", "inputSchema": {"type": "object"}}])
ADD = {"a": 1, "b": 2e0}
THREE, FOUR = [{"type": "text", "text": "3"}], [{"type": "text", "text": "4"}]
ODD: list[object] = [None, 5, [], "[[", "\ud800", '{"id":[]}']  # frames of a hostile record
LOG = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "adding"}}


def progress(token: str) -> dict[str, object]:
    return {"method": "notifications/progress", "params": {"progressToken": token, "progress": 0.5}}


def serve(record: Path, *frames: object) -> tuple[int, list[Any]]:
    """Send frames to the record's server; its exit code, and what it sends."""
    text = "".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in frames)
    done = run_command([PIPEGUARD, "replay", "--serve", record], input=text, timeout=60)
    assert done.stderr == ""
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """A session with calls at the same time, a question of the server, and a call that stopped."""
    question = {"jsonrpc": "2.0", "id": 2, "method": "sampling/createMessage", "params": {}}
    first, second = call(2, "add", ADD, progressToken="x"), call(3, "add", {"b": 2, "a": 1.0})
    to, back = partial(sent, "client"), partial(sent, "server")
    return write_record(
        tmp_path / "r.jsonl",
        *(to(OPENING), back(OPENED), to(LIST), back(LISTED), to(first), back(question)),
        *(to(answer(2, role="user")), to(second), back(progress("x"))),
        *(back(answer(3, content=FOUR)), back(LOG), back(answer(2, content=THREE))),
        *(to(call(4, "lost"), action="block"), back({"id": 4})),
        *(back(LOG, frame=odd) for odd in ODD),
    )


def test_repeated_calls_get_their_answers_in_turn(session: Path) -> None:
    frames = [call("i", "add", ADD), call(8, "add", ADD, progressToken="I"), answer(7), LOG]
    frames += [{"id": 5, "method": "ping"}, call(9, "add", ADD), {**OPENING, "params": {"x": 1}}]
    answers = [answer("i", content=FOUR), progress("I"), LOG, answer(8, content=THREE), answer(5)]
    assert serve(session, *frames) == (0, [*answers, LOG, answer(9, content=THREE), OPENED])


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        (call(1, "add", {"a": 2}), '"name":"add","arguments":{"a":2}'),
        (call(1, "lost"), '"name":"lost"'),
        ({"id": {}, "method": ["x"], "params": 5}, '["x"]'),
        *((each, "{}") for each in ([LIST], "", "[" * 100_000, '{"id":1,"method":"\\ud800"}')),
    ],
)
def test_what_is_not_recorded_is_an_error(session: Path, frame: object, named: str) -> None:
    code, (missed, listed) = serve(session, frame, LIST)
    assert (code, listed) == (1, LISTED)
    assert missed["id"] == (frame["id"] if isinstance(frame, dict) else None)
    assert named in missed["error"]["message"].removeprefix("The record has no such request: ")


def test_the_official_sdk_meets_the_recorded_server(session: Path) -> None:
    async def meet() -> None:
        words = ["replay", "--serve", str(session)]
        async with Client(StdioServerParameters(command=str(PIPEGUARD), args=words)) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["add"]
            result = await client.call_tool("add", {"a": 1, "b": 2})
            assert result.model_dump()["content"][0]["text"] == "4"
            with pytest.raises(MCPError, match="The record has no such request"):
                await client.call_tool("add", {"a": 5})

    asyncio.run(meet())
