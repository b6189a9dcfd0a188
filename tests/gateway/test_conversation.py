"""A client's side of the gateway, without any server."""

import asyncio
import json

from pipeguard.core.protocol.json_values import Number
from pipeguard.core.protocol.message import Message, parse
from pipeguard.gateway.answers import dial
from pipeguard.gateway.conversation import INBOX_BYTES, GatewayChannel
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.leg import Leg
from tests.fuzz.rulebook import engines

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
