"""A client's side of the gateway, mostly without any server."""

import asyncio
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pipeguard.firewall.protocol import json_values, strict_json
from pipeguard.firewall.protocol.framing import KnownResult
from pipeguard.firewall.protocol.json_values import JsonValue, Number
from pipeguard.firewall.protocol.message import Message, parse
from pipeguard.firewall.protocol.strict_json import ParsedFrame
from pipeguard.gateway import client_request
from pipeguard.gateway.answers import dial
from pipeguard.gateway.client_request import ClientRequest
from pipeguard.gateway.conversation import INBOX_BYTES, GatewayClient
from pipeguard.gateway.eras import Opening
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.leg import Leg
from pipeguard.gateway.menu import ToolMode
from pipeguard.gateway.servers_file import ServerSettings
from pipeguard.transports.judging import LARGE_BYTES, SMALL_BYTES
from tests.fuzz.rulebook import engines
from tests.fuzz.values import equal
from tests.gateway.rogues import Object
from tests.gateway.several import gathered

SCRIPTED = Path(__file__).with_name("scripted.py")
ECHO = Path(__file__).parent.parent / "soak" / "echo_server.py"
QUESTION = b'{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{}}'


async def a_channel() -> GatewayClient:
    return await dial(Gateway(engines()))


async def test_an_answer_to_a_question_that_was_just_withdrawn_ends_nothing() -> None:
    channel = await a_channel()
    leg = Leg.__new__(Leg)  # nothing is sent to it
    leg.server = "one"
    asking = asyncio.ensure_future(channel.question(leg, "elicitation/create", {}))
    asked = json.loads(await channel.read() or b"")
    asking.cancel()
    answer = {"jsonrpc": "2.0", "id": asked["id"], "result": {}}
    await channel.write(json.dumps(answer).encode())
    await channel.write(b'{"jsonrpc":"2.0","id":2,"method":"ping"}')
    assert json.loads(await channel.read() or b"")["id"] == 2
    await channel.close()


async def test_a_client_that_reads_nothing_fills_no_memory() -> None:
    channel = await a_channel()
    text = "x" * (INBOX_BYTES // 8)
    for _ in range(100):
        channel.say({"jsonrpc": "2.0", "method": "notifications/message", "params": text})
    channel.say({"jsonrpc": "2.0", "id": Number("1"), "result": {}})
    writing = asyncio.ensure_future(channel.write(b'{"jsonrpc":"2.0","id":2,"method":"ping"}'))
    frames = [json.loads(await channel.read() or b"")]
    while frames[-1].get("id") != 2:
        frames.append(json.loads(await channel.read() or b""))
    await writing
    assert [frame["id"] for frame in frames if "id" in frame] == [1, 2]
    assert len(frames) < 12
    await channel.close()


def texts_through(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[str]:
    """Record the texts of a function's calls from now on."""
    function, texts = getattr(module, name), list[str]()

    def noted(*values: str) -> object:
        texts.append(values[-1])
        return function(*values)

    monkeypatch.setattr(module, name, noted)
    return texts


@pytest.mark.real
@pytest.mark.parametrize(
    ("word", "times_parsed", "times_written"),
    [("heron", 2, 2), ("heron " * 400, 2, 1), ("heron " * 20_000, 5, 1)],
)
async def test_a_call_is_written_once_and_its_answer_only_if_it_is_short(
    word: str, times_parsed: int, times_written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strict_json, "_NATIVE", None)  # whose calls nobody can count
    monkeypatch.setattr(json_values, "NATIVE", None)
    parsed = texts_through(monkeypatch, strict_json, "read_text")
    written = texts_through(monkeypatch, json_values, "without_line_ends")
    async with gathered(
        ServerSettings("one", (sys.executable, str(ECHO)), trust="first-use")
    ) as room:
        agent = await room.agent()
        assert await agent.call("one__echo", {"text": word}) == word
        for texts, count in ((parsed, times_parsed), (written, times_written)):
            assert len([text for text in texts if "heron" in text]) == count


def results() -> list[Object]:
    """Results of tools: most need nothing but another id, the others something more."""
    block, related = {"type": "text", "text": "ok"}, {"taskId": "t1"}
    task = {**related, "status": "working", "ttl": 60_000, "createdAt": "2026-01-01T00:00:00Z"}
    texts = ["ok", 'Zoë said "id": 7} \\ \u2028 \x7f\n', "a heron stood there. " * 4_000]
    rows = [{"id": number} for number in range(9_000)]
    told: list[Object] = [{"content": [{"type": "text", "text": text}]} for text in texts]
    told += [
        {"content": [], "structuredContent": {"id": [1, {"id": "7"}], "result": {"id": -7.50}}},
        {"content": [block], "structuredContent": {"rows": rows}},
        {"content": [block], "isError": True},
        {"content": [block], "isError": False},
        {"content": [block], "_meta": {"io.modelcontextprotocol/related-task": related}},
        {"content": [block], "_meta": {"a": 1}},
        {"content": [block], "constructor": 1},
        {"content": [block], "resultType": "complete"},
        {"task": task},
        {},
    ]
    return told


@pytest.mark.real
@pytest.mark.parametrize("mode", [ToolMode.DIRECT, ToolMode.SEARCH])
async def test_a_result_under_another_id_is_the_one_that_would_be_written_anew(
    mode: ToolMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Object] = [{"result": result} for result in results()]
    answers.append({"error": {"code": -32000, "message": "no"}})
    names = [f"tool_{number}" for number in range(len(answers))]
    tools = [{"name": name, "inputSchema": {"type": "object"}} for name in names]
    script = tmp_path / "script.json"
    script.write_text(
        json.dumps({"tools": tools, "answers": dict(zip(names, answers, strict=True))})
    )
    told: dict[str, Object] = {}
    readdressed = list[bytes]()
    readdress = ClientRequest.readdress

    def noted(request: ClientRequest, result: JsonValue) -> bytes | None:
        frame = readdress(request, result)
        readdressed.extend([] if frame is None else [frame])
        return frame

    monkeypatch.setattr(client_request, "SMALL_BYTES", 0)
    server = ServerSettings("one", (sys.executable, str(SCRIPTED), str(script)), trust="first-use")
    in_the_bytes: dict[str, Object] = {}
    for reads in (noted, lambda *_: None):
        in_the_bytes = dict(told)
        monkeypatch.setattr(ClientRequest, "readdress", reads)
        async with gathered(server, mode=mode) as room:
            agent = await room.agent()
            for name in names:
                call: Object = {"name": f"one__{name}", "arguments": {}}
                if mode is ToolMode.SEARCH:
                    call = {"name": "call_tool_destructive", "arguments": call}
                answer = await agent.ask("tools/call", **call)
                told[name] = json.loads(re.sub(r"with id '\w+'", "", json.dumps(answer)))
    assert in_the_bytes == told
    assert len(readdressed) >= len(names) // 2


def answered(own: Object, size: int, **members: object) -> tuple[ClientRequest, JsonValue]:
    """Make a client's request with an id, and a server's result of a given size."""
    asked = parse(json.dumps({"jsonrpc": "2.0", "method": "tools/call", **own}).encode())
    result = {"content": [{"type": "text", "text": "a" * size}], **members}
    told = parse(json.dumps({"jsonrpc": "2.0", "id": 7, "result": result}).encode())
    assert isinstance(asked, Message)
    assert isinstance(told, Message)
    request = ClientRequest.read(asked, Opening({}, {}))
    request.note_answer(told)
    return request, told.value["result"]


@pytest.mark.parametrize("own", [1, "7", "\u20287", 10**39])
@pytest.mark.parametrize("size", [SMALL_BYTES, LARGE_BYTES])
def test_a_result_under_another_id_is_known_by_its_bytes(own: int | str, size: int) -> None:
    frame = (told := answered({"id": own}, size))[0].readdress(told[1])
    assert frame is not None
    message = parse(bytes(frame))
    assert isinstance(message, Message)
    assert message.frame == frame
    assert message.value["id"] == (own if isinstance(own, str) else Number(own))
    if size < LARGE_BYTES:
        assert isinstance(frame, ParsedFrame)
        assert equal(frame.value, message.value)
    else:
        assert isinstance(frame, KnownResult)
        assert frame.id_token == message.id_token


@pytest.mark.parametrize(
    "members",
    [{"_meta": 1}, {"task": {}}, {"resultType": "task"}, {"requestState": "a"}, {"__proto__": 1}],
)
def test_a_large_result_that_is_not_ordinary_is_read_again(members: Object) -> None:
    request, result = answered({"id": 1}, LARGE_BYTES, **members)
    assert type(request.readdress(result)) is bytes


def test_a_result_of_another_round_is_not_taken_for_the_last_one() -> None:
    request, first = answered({"id": 1}, LARGE_BYTES)
    _, second = answered({"id": 1}, LARGE_BYTES)
    assert request.readdress(second) is None
    assert ClientRequest.like(request).readdress(first) is None
