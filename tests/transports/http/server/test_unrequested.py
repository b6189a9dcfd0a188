"""Unrequested messages of a server over HTTP: on one stream, or stored. unrequested.py."""

import asyncio
import json

import pytest

from pipeguard.transports.http.server.exchange_router import UNHEARD_BYTES
from tests.transports.http.server.hosting import (
    NOTE,
    R5_HEADERS,
    Child,
    dashed,
    hosting,
    next_event,
)
from tests.transports.talking import (
    SECRET,
    STATELESS,
    Json,
    Object,
    call,
    code,
    events,
    notification,
    request,
    result,
)
from tests.transports.wire import eventually

LIMIT_BYTES = 5 * 2**20  # of what waits for all clients


# --- what is said unasked -------------------------------------------------------------------------


async def test_what_is_said_before_anybody_listens_is_kept_and_told_once() -> None:
    async with hosting() as host:
        named = await host.open()
        child = host.children[0]
        await host.ask(call(1), **named)
        for number in range(3):
            child.say(notification("notifications/message", level="info", data=number))
        async with host.http.get(host.url, headers=dashed(named)) as stream:
            told = [await next_event(stream) for _ in range(3)]
            assert [one["params"]["data"] for one in told] == [0, 1, 2]  # type: ignore[index,call-overload]
            async with host.http.get(host.url, headers=dashed(named)) as other:
                child.say(NOTE)
                assert await next_event(other) == NOTE, "the first may be lost by then"
                other.close()
                hosted = host.posted._routers[named["Mcp_Session_Id"], None]
                await eventually(lambda: len(hosted.streams) == 1, "it was noticed")
                child.say(NOTE)
                assert await next_event(stream) == NOTE, "and takes over where it is not"


async def test_each_stream_of_one_client_gets_what_is_its_own() -> None:
    """MCP 2025-11-25, basic/transports, "Multiple Connections"."""
    changed = notification("notifications/tools/list_changed")
    asks = request("q", "roots/list")
    async with hosting(None) as host:
        named = await host.open("2025-11-25", roots={})
        child = host.children[0]
        async with host.http.get(host.url, headers=dashed(named)) as stream:
            first = asyncio.create_task(host.post(request(1), **named))
            await eventually(lambda: len(child.asked("x/y")) == 1, "the first is asked")
            child.say(asks)
            child.say(changed)
            child.say(NOTE)
            assert await next_event(stream) == changed
            token: Object = {"progressToken": "p"}
            second = asyncio.create_task(host.post(request(2, _meta=token), **named))
            await eventually(lambda: len(child.asked("x/y")) == 2, "the second is asked")
            told = notification("notifications/progress", progressToken="p", progress=1)
            child.say(told)
            child.say(NOTE)
            assert await next_event(stream) == NOTE, "nobody can tell whose it is"
            child.say(result(2))
            child.say(result(1))
            assert (await first)[1] == [asks, NOTE, result(1)]
            assert (await second)[1] == [told, result(2)]


@pytest.mark.parametrize("method", ["tasks/result", "tasks/list"])
async def test_a_method_that_was_removed_gets_the_servers_own_answer(method: str) -> None:
    def unknown(child: Child, message: Object) -> None:
        error: Object = {"code": -32601, "message": "Method not found"}
        child.say({"jsonrpc": "2.0", "id": message["id"], "error": error})

    async with hosting(unknown) as host:
        removed = request(1, method, taskId="t", _meta=STATELESS)
        status, told, _ = await host.post(removed, Mcp_Method=method, **R5_HEADERS)
        assert (status, code(told)) == (404, -32601)
        living = request(2, "tasks/get", taskId="t", _meta=STATELESS)
        status, told, _ = await host.post(living, Mcp_Name="other", **R5_HEADERS)
        assert (status, code(told)) == (400, -32020), "of those that are left, it is compared"


async def test_of_what_nobody_hears_only_so_many_bytes_are_kept() -> None:
    async with hosting() as host:
        named = await host.open(roots={})
        child = host.children[0]
        child.say(request("q", "roots/list"))
        for number in range(60):
            data: Json = f"{number} " * 4000
            child.say(notification("notifications/message", level="info", data=data))
        await eventually(lambda: child.heard[-1].get("id") == "q", "the request is answered")  # type: ignore[union-attr]
        hosted = host.posted._routers[named["Mcp_Session_Id"], None]
        await host.ask(call(1), **named)
        unheard = hosted
        assert unheard.unheard_bytes <= UNHEARD_BYTES
        assert sum(len(frame) for frame, _ in unheard._unheard) == unheard.unheard_bytes


@pytest.mark.parametrize("waits", [False, True])
async def test_an_answer_comes_behind_more_than_a_client_takes(
    waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 2**22
    count = 3 * limit // 120_000
    async with hosting(None, waits=waits) as host:
        monkeypatch.setattr(host.posted._backlog, "_limit", limit)
        named = await host.open()
        child = host.children[0]
        asking = host.http.post(host.url, json=request(1), headers=dashed(named))
        response = asyncio.ensure_future(asking)
        await eventually(lambda: len(child.asked("x/y")) == 1, "it is asked")
        for _ in range(count):
            child.say(notification("notifications/message", level="info", data="x" * 60_000))
        child.say(result(1))
        answering = await response  # and nothing of it is read yet
        if not waits:
            await eventually(child.frames.empty, "the server is read to the end")
        told = events(await answering.read())
        assert told[-1] == result(1)
        assert (len(told) == count + 1) is waits, "it misses none of a server of its own"


async def test_a_notification_is_judged_once_somebody_hears_it() -> None:
    async with hosting() as host:
        named = await host.open()
        before = len(host.records)
        first, last = [notification("notifications/x", number=number) for number in (1, 3)]
        for note in (first, notification("notifications/x", text=f"key {SECRET}"), last):
            host.children[0].say(note)
        hosted = host.posted._routers[named["Mcp_Session_Id"], None]
        await eventually(lambda: len(hosted._unheard) == 3, "all of it was read")
        assert len(host.records) == before
        async with host.http.get(host.url, headers=dashed(named)) as stream:
            told = [await next_event(stream) for _ in range(3)]
        assert (told[0], told[2]) == (first, last)
        assert SECRET not in json.dumps(told[1])
        assert len(host.records) == before + 3


async def test_a_servers_request_that_is_stopped_is_answered_to_it() -> None:
    def asking(child: Child, message: Object) -> None:
        if message.get("method") == "x/y":
            child.say(request("q", "sampling/createMessage", messages=[], maxTokens=1))
        elif message.get("id") == "q":
            assert code(message) == -32601
            child.say(result(1))

    async with hosting(asking) as host:
        named = await host.open()
        assert await host.ask(request(1), **named) == result(1)
