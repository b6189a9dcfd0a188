"""One conversation over successive connections: no request is lost or sent twice."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.firewall.protocol.framing import Lost
from pipeguard.transports import tasks
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.http.client import reconnecting
from pipeguard.transports.http.client.reconnecting import LinkLost, ReconnectingChannel
from pipeguard.transports.tasks import ATTEMPTS
from tests.fuzz.budget import tried
from tests.transports.talking import (
    INITIALIZED,
    Json,
    QueuedChannel,
    initialize,
    opened,
    request,
    result,
)
from tests.transports.wire import eventually, run


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(tasks, "MOST_PAUSE_SECONDS", 0.005)


class Wire(QueuedChannel):
    """A Link over lists: a server's input and output."""

    def __init__(self, *, opens: bool = True) -> None:
        super().__init__()
        self.sent: list[Json] = []
        self.opens = opens
        self.refuses = self.breaks = False

    async def write(self, frame: bytes) -> None:
        if self.breaks:
            self.break_()
        for _ in range(4):  # longer than it takes to hear that the connection broke
            await asyncio.sleep(0)
        if self.is_closed or self.refuses:
            raise LinkLost("it was not taken")
        message = json.loads(frame)
        self.sent.append(message)
        if self.opens and message.get("method") == "initialize":
            self.say(opened(message["id"]))

    def break_(self) -> None:
        self.is_closed = True
        self.frames.put_nowait(None)


class Exchange:
    """The connections of a client, in order."""

    def __init__(self, *wires: Wire | None) -> None:
        self._planned = list(wires)
        self.wires: list[Wire] = []
        self.tries = 0

    async def __call__(self) -> Wire:
        await asyncio.sleep(0)
        self.tries += 1
        wire = self._planned.pop(0) if self._planned else Wire()
        if wire is None:
            raise LinkLost("nobody is there")
        self.wires.append(wire)
        return wire


async def send(channel: ReconnectingChannel, message: Json) -> None:
    await channel.write(json.dumps(message).encode())


async def hear(channel: ReconnectingChannel) -> Json:
    frame = await channel.read()
    assert frame is not None
    if isinstance(frame, Lost):
        return {"lost": json.loads(frame.id_token)}
    told: Json = json.loads(frame)
    return told


async def open_(channel: ReconnectingChannel) -> None:
    await send(channel, initialize())
    assert await hear(channel) == opened()
    await send(channel, INITIALIZED)


@asynccontextmanager
async def conversing(*wires: Wire | None) -> AsyncIterator[tuple[ReconnectingChannel, Exchange]]:
    exchange = Exchange(*wires)
    channel = ReconnectingChannel(exchange)
    await open_(channel)
    yield channel, exchange
    await channel.close()


async def test_a_connection_that_breaks_loses_what_waits_once_and_is_opened_as_before() -> None:
    async with conversing() as (channel, exchange):
        for id_ in (1, "1", 2):
            await send(channel, request(id_))
        await eventually(lambda: len(exchange.wires[0].sent) == 5, "all went up")
        exchange.wires[0].say([result(2)])
        exchange.wires[0].breaks = True
        await send(channel, request(4))
        assert await hear(channel) == [result(2)]
        told = [await hear(channel) for _ in range(3)]
        assert told == [{"lost": "1"}, {"lost": 1}, {"lost": 4}]
        await eventually(lambda: len(exchange.wires) == 2, "it came back by itself")
        again = exchange.wires[1]
        await eventually(lambda: len(again.sent) == 2, "the opening was said again")
        assert again.sent == [initialize(), INITIALIZED]
        await send(channel, request(3))
        again.say(result(3))
        assert await hear(channel) == result(3), "and its answer was not told again"


async def test_nothing_is_said_before_the_conversation_is_open_again() -> None:
    silent = Wire(opens=False)
    async with conversing(Wire(), silent) as (channel, exchange):
        exchange.wires[0].break_()
        await send(channel, request(1))
        await eventually(lambda: silent.sent, "it is being opened")
        for _ in range(10):
            await asyncio.sleep(0)
        assert silent.sent == [initialize()]
        silent.say(opened())
        await eventually(lambda: len(silent.sent) == 3, "it goes on")
        assert silent.sent == [initialize(), INITIALIZED, request(1)]


@pytest.mark.parametrize("fault", ["refuses", "breaks", "silent"])
async def test_a_conversation_that_was_not_opened_again_is_not_spoken_in(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconnecting, "REOPEN_SECONDS", 0.05)
    bad = Wire(opens=False)
    bad.refuses = fault == "refuses"
    async with conversing(Wire(), bad) as (channel, exchange):
        exchange.wires[0].break_()
        await eventually(lambda: len(exchange.wires) == 2, "it came back")
        if fault == "breaks":
            bad.break_()
        await eventually(lambda: len(exchange.wires) == 3, "it came back again")
        await send(channel, request(1))
        good = exchange.wires[2]
        await eventually(lambda: len(good.sent) == 3, "it was opened")
        assert good.sent == [initialize(), INITIALIZED, request(1)]
        assert request(1) not in bad.sent
        assert bad.is_closed


async def test_a_request_is_lost_where_nobody_can_be_reached() -> None:
    exchange = Exchange(*[None] * ATTEMPTS)
    channel = ReconnectingChannel(exchange)
    await send(channel, request(1))
    assert await hear(channel) == {"lost": 1}
    assert exchange.tries == ATTEMPTS
    await send(channel, request(2))
    await eventually(lambda: exchange.wires, "the next request tries again")
    await channel.close()


async def test_a_server_that_hangs_up_is_called_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(tasks, "MOST_PAUSE_SECONDS", 30.0)

    async def rude() -> Wire:
        wire = await exchange()
        if exchange.tries > 1:
            wire.opens = False
            wire.break_()
        return wire

    exchange = Exchange()
    channel = ReconnectingChannel(rude)
    await open_(channel)
    exchange.wires[0].break_()
    await eventually(lambda: exchange.tries >= 2, "it is tried again")
    await asyncio.sleep(0.3)
    assert exchange.tries <= 8
    await channel.close()


async def test_closing_ends_it_for_readers_and_writers() -> None:
    exchange = Exchange()
    channel = ReconnectingChannel(exchange)
    await open_(channel)
    reading = asyncio.create_task(channel.read())
    await asyncio.sleep(0)
    await channel.close()
    assert await reading is None
    assert await channel.read() is None
    with pytest.raises(ChannelClosed):
        await send(channel, request(1))
    await channel.close()
    assert exchange.tries == 1


async def test_a_first_connection_that_fails_says_so_at_once() -> None:
    channel = ReconnectingChannel(Exchange(None))
    with pytest.raises(LinkLost, match="nobody is there"):
        await channel.open()
    await channel.close()


@tried(30)
@given(st.lists(st.sampled_from(["ask", "ask", "answer", "break", "refuse", "wait"]), max_size=15))
def test_every_request_is_answered_or_lost_exactly_once(steps: list[str]) -> None:
    run(lambda: play(steps))


def answer_one(wire: Wire) -> None:
    for message in wire.sent:
        if isinstance(message, dict) and message.get("method") == "x/y":
            wire.say(result(message["id"]))
            wire.sent.remove(message)
            return


async def count(channel: ReconnectingChannel, told: Counter[str]) -> None:
    while (frame := await channel.read()) is not None:
        token = frame.id_token if isinstance(frame, Lost) else str(json.loads(frame)["id"])
        told[token] += 1


async def play(steps: list[str]) -> None:
    exchange = Exchange()
    channel = ReconnectingChannel(exchange)
    await open_(channel)
    told: Counter[str] = Counter()
    listening = asyncio.create_task(count(channel, told))
    asked = 0
    for step in steps:
        match step:
            case "ask":
                asked += 1
                await send(channel, request(asked))
            case "answer":
                answer_one(exchange.wires[-1])
            case "break":
                exchange.wires[-1].break_()
            case "refuse":
                exchange.wires[-1].refuses = True
        await asyncio.sleep(0.002 if step == "wait" else 0)
    expected = Counter(str(number) for number in range(1, asked + 1))
    for _ in range(500):
        if told == expected:
            break
        exchange.wires[-1].break_()
        await asyncio.sleep(0.001)
    assert told == expected
    await channel.close()
    await listening
