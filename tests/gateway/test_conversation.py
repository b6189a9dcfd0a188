"""A client's side of the gateway, mostly without any server."""

import asyncio
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pipeguard.firewall.protocol import json_values, strict_json
from pipeguard.firewall.protocol.json_values import Number
from pipeguard.firewall.protocol.message import Message, parse
from pipeguard.gateway.answers import dial
from pipeguard.gateway.conversation import INBOX_BYTES, GatewayChannel
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.leg import Leg
from pipeguard.gateway.server_settings import ServerSettings
from tests.fuzz.rulebook import engines
from tests.gateway.several import Room, gather

ECHO = Path(__file__).parent.parent / "soak" / "echo_server.py"
QUESTION = b'{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{}}'


async def a_channel() -> GatewayChannel:
    return await dial(Gateway(engines()))


def test_an_answer_to_a_question_that_was_just_withdrawn_ends_nothing() -> None:
    async def scenario() -> None:
        channel = await a_channel()
        question = parse(QUESTION)
        assert isinstance(question, Message)
        leg = Leg.__new__(Leg)  # nothing is sent to it
        leg.server = "one"
        asking = asyncio.ensure_future(channel.question(leg, question))
        asked = json.loads(await channel.read() or b"")
        asking.cancel()
        answer = {"jsonrpc": "2.0", "id": asked["id"], "result": {}}
        await channel.write(json.dumps(answer).encode())
        await channel.write(b'{"jsonrpc":"2.0","id":2,"method":"ping"}')
        assert json.loads(await channel.read() or b"")["id"] == 2
        await channel.close()

    asyncio.run(scenario())


def test_a_client_that_reads_nothing_fills_no_memory() -> None:
    async def scenario() -> None:
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

    asyncio.run(scenario())


def texts_through(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[str]:
    """The texts that a function is called with from now on."""
    function, texts = getattr(module, name), list[str]()

    def noted(text: str) -> object:
        texts.append(text)
        return function(text)

    monkeypatch.setattr(module, name, noted)
    return texts


@pytest.mark.real
def test_a_call_and_its_answer_are_parsed_and_written_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for module in (strict_json, json_values):
        monkeypatch.setattr(module, "_NATIVE", None)  # whose calls nobody can count
    parsed = texts_through(monkeypatch, strict_json, "_decode")
    written = texts_through(monkeypatch, json_values, "without_line_ends")

    async def scenario(room: Room) -> None:
        agent = await room.agent()
        assert await agent.call("one__echo", {"text": "heron"}) == "heron"
        for texts in (parsed, written):
            assert len([text for text in texts if "heron" in text]) == 2

    gather(scenario, ServerSettings("one", (sys.executable, str(ECHO)), trust="first-use"))
