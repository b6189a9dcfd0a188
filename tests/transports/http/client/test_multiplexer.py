"""One server for many conversations: ids and tokens told apart, no message to another client."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pipeguard.firewall.protocol.framing import Lost
from pipeguard.firewall.protocol.methods import ACKNOWLEDGED, CANCELLED, LISTEN, SUBSCRIPTION_META
from pipeguard.transports.channel import AsyncChannel, ChannelClosed
from pipeguard.transports.http.client import multiplexer as shared_module
from pipeguard.transports.http.client.multiplexer import INBOX_BYTES, INBOX_FRAMES, Multiplexer
from tests.transports.talking import (
    INITIALIZED,
    Json,
    Object,
    QueuedChannel,
    call,
    initialize,
    notification,
    opened,
    request,
    result,
    text_result,
)
from tests.transports.wire import PATIENCE_SECONDS, eventually


class Server(QueuedChannel):
    """A server as its channel sees it; it records its input, and sends a test's messages."""

    @property
    def heard(self) -> list[Object]:
        return [json.loads(frame) for frame in self.wait_taken]


class Source:
    """Starts servers."""

    def __init__(self) -> None:
        self.servers: list[Server] = []

    async def dial(self) -> AsyncChannel:
        self.servers.append(Server())
        return self.servers[-1]

    async def close(self) -> None:
        for server in self.servers:
            await server.close()


async def told(port: AsyncChannel) -> Object:
    frame = await asyncio.wait_for(port.read(), PATIENCE_SECONDS)
    assert frame is not None
    value: Object = json.loads(frame)
    return value


async def send(port: AsyncChannel, message: Json) -> None:
    await port.write(json.dumps(message).encode())


@asynccontextmanager
async def sharing() -> AsyncIterator[tuple[Multiplexer, Source]]:
    source = Source()
    shared = Multiplexer(source)
    yield shared, source
    await shared.close()


@asynccontextmanager
async def two_clients() -> AsyncIterator[tuple[Multiplexer, Server, AsyncChannel, AsyncChannel]]:
    async with sharing() as (shared, source):
        ports = await shared.dial(), await shared.dial()
        yield shared, source.servers[0], *ports


async def test_equal_ids_and_tokens_reach_the_server_as_different_ones() -> None:
    async with two_clients() as (_, server, one, two):
        for port, text in ((one, "a"), (two, "b")):
            await send(port, call(1, text, _meta={"progressToken": 1}))
        first, second = server.heard
        assert first["id"] != second["id"]
        for asked in (second, first):
            params = asked["params"]
            assert isinstance(params, dict)
            assert isinstance(params["_meta"], dict)
            token = params["_meta"]["progressToken"]
            server.say(notification("notifications/progress", progressToken=token, progress=1))
            assert isinstance(params["arguments"], dict)
            server.say(text_result(asked["id"], str(params["arguments"]["text"])))
        for port, text in ((one, "a"), (two, "b")):
            progress, answer = await told(port), await told(port)
            assert progress["params"] == {"progressToken": 1, "progress": 1}
            assert answer == text_result(1, text)


async def test_the_server_is_opened_once_and_described_to_all() -> None:
    async with two_clients() as (_, server, one, two):
        await send(one, initialize(None))  # gets no answer, so nobody waits for one
        await send(one, initialize("x"))
        waiting = asyncio.create_task(send(two, initialize(7)))
        server.say(opened(server.heard[1]["id"]))
        assert await told(one) == opened("x")
        await waiting
        assert await told(two) == opened(7)
        for port in (one, two):
            await send(port, INITIALIZED)
        assert [message["method"] for message in server.heard[1:]] == [
            "initialize",
            "notifications/initialized",
        ]


@pytest.mark.parametrize(
    ("asked", "told_version"),
    [("2024-11-05", "2024-11-05"), ("2026-07-28", "2025-06-18"), ("0", "2025-06-18")],
)
async def test_a_server_is_described_in_the_asked_revision(asked: str, told_version: str) -> None:
    async with two_clients() as (_, server, one, two):
        await send(one, request(1, "initialize", protocolVersion="2025-06-18"))
        server.say(result(server.heard[0]["id"], protocolVersion="2025-06-18"))
        await told(one)
        await send(two, request(1, "initialize", protocolVersion=asked))
        described = (await told(two))["result"]
        assert isinstance(described, dict)
        assert described["protocolVersion"] == told_version


async def test_an_opening_that_fails_is_told_and_the_next_one_tries_again() -> None:
    async with two_clients() as (_, server, one, two):
        await send(one, initialize(1))
        waiting = asyncio.create_task(send(two, initialize(2)))
        await asyncio.sleep(0)  # so that it waits for the first one
        error: Object = {"code": -32603, "message": "no"}
        server.say({"jsonrpc": "2.0", "id": server.heard[0]["id"], "error": error})
        assert (await told(one))["error"] == error
        await waiting
        lost = await two.read()
        assert isinstance(lost, Lost)
        assert lost.id_token == "2"
        await send(two, initialize(3))
        server.say(opened(server.heard[1]["id"]))
        assert await told(two) == opened(3)


async def test_what_the_server_asks_goes_to_the_one_client_that_it_works_for() -> None:
    async with two_clients() as (_, server, one, two):
        await send(two, request(7, "tools/call", name="ask"))
        server.say(request("r", "elicitation/create"))
        assert (await told(two))["id"] == "r"
        await send(one, request(7, "tools/call", name="ask"))
        server.say(request("s", "elicitation/create"))
        server.say(notification("notifications/tools/list_changed"))
        for port in (one, two):
            assert (await told(port))["method"] == "notifications/tools/list_changed"
        assert server.heard[-1]["id"] == "s"


async def test_who_leaves_gives_up_what_it_asked_and_the_server_stays() -> None:
    async with two_clients() as (_, server, one, two):
        await send(one, call(1))
        await one.close()
        assert server.heard[1]["method"] == "notifications/cancelled"
        server.say(text_result(server.heard[0]["id"], "late"))
        await send(two, call(1))
        server.say(text_result(server.heard[2]["id"], "fine"))
        assert await told(two) == text_result(1, "fine")
        assert not server.is_closed
        with pytest.raises(ChannelClosed):
            await send(one, call(2))
        sending = send(two, call(2, "x " * 2**17)), send(two, call(3))  # which waits its turn
        sent = asyncio.gather(*sending, return_exceptions=True)
        await asyncio.sleep(0)
        await two.close()
        assert [type(each) for each in await sent] == [ChannelClosed] * 2
        assert len(server.heard) == 3, "nothing of who left"


async def test_a_server_that_dies_ends_all_and_the_next_one_starts_another() -> None:
    async with sharing() as (shared, source):
        ports = [await shared.dial() for _ in range(2)]
        source.servers[0].frames.put_nowait(None)
        assert [await port.read() for port in ports] == [None, None]
        await send(await shared.dial(), call(1))
        assert [len(server.heard) for server in source.servers] == [0, 1]


@pytest.mark.parametrize(
    "answer",
    [
        b'{"jsonrpc":"2.0","id":%d,"result":{"x":NaN}}',
        b'{"jsonrpc":"2.0","id":%d,"result":{"x":1,"x":1}}',
        b'[{"jsonrpc":"2.0","id":%d,"result":{}}]',
        b'[{"jsonrpc":"2.0","id":%d,"result":{}},NaN]',
        b'[{"jsonrpc":"2.0","id":%d,"result":{}},{"jsonrpc":"2.0","id":9,"method":"ping"}]',
    ],
    ids=["nan", "twice", "batch", "broken batch", "with a request"],
)
async def test_an_answer_that_cannot_be_read_is_told_to_whom_it_was_for(answer: bytes) -> None:
    async with two_clients() as (_, server, one, other):
        for port in (one, other):
            await send(port, request(2, "ping"))
        second = server.heard[1]["id"]
        assert second != 2
        server.frames.put_nowait(answer % second)
        server.say(result(server.heard[0]["id"]))
        frame = await asyncio.wait_for(other.read(), PATIENCE_SECONDS)
        assert isinstance(frame, Lost)
        assert frame.id_token == "2"
        if b"ping" in answer:  # one Session refuses what the server asks
            assert await one.read() == b'[{"jsonrpc":"2.0","id":9,"method":"ping"}]'
        assert await told(one) == result(2)


async def test_text_that_is_no_message_is_recorded_once_and_answers_nobody() -> None:
    async with two_clients() as (_, server, one, other):
        await send(other, request("a"))
        server.frames.put_nowait(b'{"id": 1, "no": "message')
        server.say(result(server.heard[0]["id"]))
        assert await one.read() == b'{"id": 1, "no": "message'
        assert await told(other) == result("a")


async def test_a_subscription_is_told_to_its_client_alone_under_its_own_id() -> None:
    async with two_clients() as (_, server, one, other):
        for port in (one, other):
            await send(port, request("s", LISTEN))
        second = server.heard[1]["id"]
        server.say(notification(ACKNOWLEDGED, _meta={SUBSCRIPTION_META: second}))
        server.say(result(second, _meta={SUBSCRIPTION_META: second}))
        server.say(result(server.heard[0]["id"]))
        meta: Object = {SUBSCRIPTION_META: "s"}
        assert await told(other) == notification(ACKNOWLEDGED, _meta=meta)
        assert await told(other) == result("s", _meta=meta)
        assert await told(one) == result("s")


# --- a client that does not read ------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2**19])
async def test_one_who_does_not_read_misses_what_nobody_asked_for_and_no_answer(size: int) -> None:
    async with two_clients() as (_, server, idle, busy):
        await send(idle, call(1))
        count = 2 * INBOX_FRAMES if size == 1 else 2 * INBOX_BYTES // size
        note = notification("notifications/message", data="x" * size)
        for _ in range(count):
            server.say(note)
            assert await told(busy) == note, "who reads misses nothing"
        server.say(text_result(server.heard[0]["id"], "a"))
        got = [await told(idle)]
        while got[-1] == note:
            got.append(await told(idle))
        assert got[-1] == text_result(1, "a")
        assert len(got) <= INBOX_FRAMES + 1
        assert size * (len(got) - 1) <= INBOX_BYTES + size


async def overfilled(
    shared: Multiplexer, source: Source
) -> tuple[AsyncChannel, AsyncChannel, Object]:
    """One who takes no answer, another one, and the request of the other that is answered next."""
    idle, other = await shared.dial(), await shared.dial()
    for number in range(3):
        await send(idle, call(number))
    await send(other, call(9))
    [server] = source.servers
    for asked in server.heard[:2]:
        server.say(text_result(asked["id"], "x" * (INBOX_BYTES // 2 + 100)))
    server.say(text_result(server.heard[3]["id"], "b"))
    await eventually(lambda: server.frames.qsize() == 1, "the server is not read on")
    return idle, other, server.heard[2]


async def test_a_server_is_read_on_once_a_client_takes_its_answers() -> None:
    async with sharing() as (shared, source):
        idle, other, _ = await overfilled(shared, source)
        waiting = asyncio.create_task(told(other))
        assert (await told(idle))["id"] == 0
        assert await waiting == text_result(9, "b")
        assert (await told(idle))["id"] == 1


async def test_one_who_takes_no_answer_for_long_has_no_server_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_module, "UNTAKEN_SECONDS", 0.01)

    async with sharing() as (shared, source):
        idle, other, left = await overfilled(shared, source)
        assert await told(other) == text_result(9, "b")
        assert await idle.read() is None
        with pytest.raises(ChannelClosed):
            await send(idle, call(5))
        [server] = source.servers
        await eventually(lambda: len(server.heard) > 4, "what it asked is given up")
        params = server.heard[4]["params"]
        assert isinstance(params, dict)
        assert params["requestId"] == left["id"]


async def test_one_who_takes_a_little_now_and_then_holds_up_the_others_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_module, "UNTAKEN_SECONDS", 0.5)

    async with two_clients() as (_, server, idle, other):
        note = notification("notifications/message", data="x")
        await send(idle, call(1))
        await send(other, call(9))
        for _ in range(INBOX_FRAMES - 1):
            server.say(note)
        server.say(text_result(server.heard[0]["id"], "x" * (INBOX_BYTES + 1)))
        server.say(text_result(server.heard[1]["id"], "b"))
        for _ in range(INBOX_FRAMES - 1):
            assert await told(other) == note
        waiting = asyncio.create_task(told(other))
        taken = 0
        while not waiting.done():  # one small frame after the other
            await asyncio.wait([waiting], timeout=0.05)
            if await idle.read() is not None:
                taken += 1
        assert await waiting == text_result(9, "b")
        assert taken < INBOX_FRAMES - 1, "it was given up before it had taken its answer"


async def test_progress_of_a_task_goes_on_after_the_answer_that_created_it() -> None:
    async with two_clients() as (shared, server, one, other):
        for port in (one, other):
            await send(port, call(1, "b", _meta={"progressToken": 1}))
        for number, asked in enumerate(server.heard):
            server.say(result(asked["id"], task={"taskId": f"t{number}"}))
        for port in (one, other):
            await told(port)
        token = server.heard[0]["id"]  # under which it is asked for progress, too
        server.say(notification("notifications/progress", progressToken=token, progress=1))
        server.say(notification("notifications/tools/list_changed"))
        assert (await told(one))["params"] == {"progressToken": 1, "progress": 1}
        assert (await told(other))["method"] == "notifications/tools/list_changed"
        await one.close()
        assert not shared._ids._task_progress.get(str(token))


async def test_a_question_about_a_task_goes_to_who_waits_for_its_result() -> None:
    async with two_clients() as (_, server, one, other):
        await send(other, call(1, "b"))
        await send(one, {**request(1, "tasks/result"), "params": {"taskId": "t1"}})
        about: Object = {"io.modelcontextprotocol/related-task": {"taskId": "t1"}}
        question: Object = {**request(9, "elicitation/create"), "params": {"_meta": about}}
        server.say(question)
        assert await told(one) == question


async def test_each_notification_of_a_batch_goes_to_those_who_want_it() -> None:
    async with two_clients() as (_, server, one, other):
        params: Object = {"uri": "x://a"}
        await send(one, {**request(1, "resources/subscribe"), "params": params})
        changed = notification("notifications/tools/list_changed")
        server.say([notification("notifications/resources/updated", uri="x://a"), changed])
        assert (await told(one))["params"] == params
        assert await told(one) == changed
        assert await told(other) == changed


async def test_who_leaves_before_the_server_has_opened_keeps_nobody_waiting() -> None:
    async with two_clients() as (_, server, one, two):
        await send(one, initialize(1))
        waiting = asyncio.create_task(send(two, initialize(2)))
        await one.close()
        assert [message["method"] for message in server.heard] == ["initialize"]
        server.say(opened(server.heard[0]["id"]))
        await asyncio.wait_for(waiting, PATIENCE_SECONDS)
        assert await told(two) == opened(2)
        await send(two, INITIALIZED)
        assert server.heard[-1]["method"] == "notifications/initialized"


async def test_a_request_that_was_cancelled_is_neither_answered_nor_waited_for() -> None:
    async with sharing() as (shared, source):
        one = await shared.dial()
        await send(one, call(5, "first"))
        await send(one, notification(CANCELLED, requestId=5))
        await send(one, call(5, "second"))
        [server] = source.servers
        first, cancelled, second = server.heard
        server.say(text_result(first["id"], "late"))
        server.say(text_result(second["id"], "fine"))
        assert await told(one) == text_result(5, "fine")
        assert cancelled["params"] == {"requestId": first["id"]}
        assert shared.open_requests == 0
        large, cancel = call(5, "x " * 2**17), notification(CANCELLED, requestId=5)
        await asyncio.gather(send(one, large), send(one, cancel))
        assert [each.get("method") for each in server.heard[3:]] == ["tools/call", CANCELLED]
        assert shared.open_requests == 1, "the server may still work on it"
