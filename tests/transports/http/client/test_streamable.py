"""A channel to Streamable HTTP servers: one conversation, and its state."""

import asyncio

import pytest
from aiohttp import web

from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.http.client import streamable
from tests.transports.http.client.talking import NOTE, echo, in_sessions, lost, said, talking
from tests.transports.talking import (
    INITIALIZED,
    SESSION,
    STATELESS,
    Asked,
    Json,
    Object,
    Odd,
    as_events,
    as_json,
    call,
    event,
    initialize,
    notification,
    opened,
    request,
    result,
    text_result,
)
from tests.transports.wire import eventually

# --- a conversation -----------------------------------------------------------------------------


async def test_a_request_waits_for_the_notification_before_it_and_for_nothing_else() -> None:
    release, slow = asyncio.Event(), asyncio.Event()

    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        if asked.says == "initialize":
            return as_json(opened())
        if asked.says == "notifications/initialized":
            await release.wait()
            return web.Response(status=202)
        if asked.says == "slow":
            await slow.wait()
        return await echo(_, asked) if asked.body else web.Response(status=405)

    odd = Odd(answering)
    async with talking(odd) as client:
        await client.open()
        await client.send(request(1, "slow"))
        await client.send(request(2, "fast"))
        await eventually(lambda: len(odd.asked) == 2, "initialized is under way")
        assert said(odd)[-1] == "notifications/initialized"
        release.set()
        told = await client.hear()
        assert isinstance(told, dict)
        assert told["id"] == 2, "one request does not delay another"
        slow.set()
        await client.hear()


async def test_what_the_server_says_unasked_comes_as_long_as_it_offers_a_stream() -> None:
    streams = 0

    async def answering(asked: web.BaseRequest, told: Asked) -> web.StreamResponse:
        nonlocal streams
        if told.says == "initialize":
            return as_json(opened(), headers={SESSION: "s"})
        if told.method != "GET":
            return web.Response(status=202)
        streams += 1
        if streams == 3:
            return web.Response(status=503, text="busy")
        if streams == 6:
            return web.Response(status=405)
        assert told.headers.get("last-event-id") == (None if streams == 1 else "7")
        if streams == 4:
            return await as_events(asked, b": nothing new\n\n")
        return await as_events(asked, event(NOTE, "7" if streams == 1 else None))

    async with talking(Odd(answering)) as client:
        await client.open()
        for _ in range(3):
            assert await client.hear() == NOTE
        await eventually(lambda: streams == 6, "it offers none any more")


# --- a session that is forgotten ------------------------------------------------------------------


def forgetting(*gone: str, ids: tuple[str, ...] = ("one", "two")) -> Odd:
    """A server that knows no such sessions any more."""

    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        if asked.headers[SESSION.lower()] in gone:
            return web.Response(status=404, text="Session not found")
        return await echo(_, asked)

    return in_sessions(answering, *ids)


async def test_a_forgotten_session_is_opened_anew_and_the_request_sent_again() -> None:
    odd = forgetting("one")
    async with talking(odd) as client:
        await client.open()
        for number in range(1, 4):
            assert await client.ask(call(number)) == text_result(number, "fine")
    told = [(a.says, a.headers.get(SESSION.lower())) for a in odd.asked if a.method == "POST"]
    assert told == [
        ("initialize", None),
        ("notifications/initialized", "one"),
        ("tools/call", "one"),
        ("initialize", None),
        ("notifications/initialized", "two"),
        *[("tools/call", "two")] * 3,
    ]
    openings = [asked.body for asked in odd.asked if asked.says == "initialize"]
    assert openings[0] == openings[1]


async def test_many_requests_at_once_open_one_session_anew() -> None:
    odd = forgetting("one")
    async with talking(odd) as client:
        await client.open()
        for number in range(1, 6):
            await client.send(call(number))
        told = [await client.hear() for _ in range(5)]
        assert sorted(one["id"] for one in told if isinstance(one, dict)) == [1, 2, 3, 4, 5]  # type: ignore[type-var]
    assert said(odd).count("initialize") == 2


async def test_a_server_that_forgets_each_session_at_once_is_not_asked_for_ever() -> None:
    odd = forgetting("one", "two", "three", ids=("one", "two", "three"))
    async with talking(odd) as client:
        await client.open()
        assert lost(await client.ask(call(1))) == 1
    assert said(odd).count("tools/call") == 2


async def test_a_session_that_could_not_be_opened_is_tried_with_the_next_request() -> None:
    openings = 0

    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        nonlocal openings
        if asked.says == "initialize":
            openings += 1
            if openings == 2:
                return web.Response(status=503, text="busy")
            if openings == 3:
                return as_json({"jsonrpc": "2.0", "id": 7, "result": {}})
            return as_json(opened(), headers={SESSION: f"s{openings}"})
        if asked.headers.get(SESSION.lower()) == "s4":
            return await echo(_, asked)
        status = 202 if asked.says == INITIALIZED["method"] else 404
        return web.Response(status=status if asked.method == "POST" else 405)

    async with talking(Odd(answering)) as client:
        await client.open()
        for number in (1, 2):
            told = await client.ask(call(number))
            assert isinstance(told, dict)
            assert told["lost"] == number
            assert "no new session" in str(told["why"])
        assert await client.ask(call(3)) == text_result(3, "fine")


async def test_a_404_without_a_session_is_an_answer() -> None:
    error: Object = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "no"}}

    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        return as_json(error, status=404)

    odd = Odd(answering)
    async with talking(odd) as client:
        assert await client.ask(request(1, _meta=STATELESS)) == error
    assert len(odd.asked) == 1


@pytest.mark.parametrize("session_id", ["a b", "x" * 2000, "\u00e9"])
async def test_what_is_no_session_id_is_never_sent_back(session_id: str) -> None:
    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        if asked.says == "initialize":
            return as_json(opened(), headers={SESSION: session_id})
        assert SESSION.lower() not in asked.headers
        return await echo(_, asked)

    async with talking(Odd(answering)) as client:
        assert await client.ask(initialize()) == opened()
        assert await client.ask(call(1)) == text_result(1, "fine")


# --- 2026-07-28 -----------------------------------------------------------------------------------


async def test_a_stateless_request_is_sent_with_what_its_headers_repeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streamable, "MOST_MIRRORED", 1)  # of two tools, the last one
    schema: Object = {
        "type": "object",
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "evil": {"type": "string", "x-mcp-header": "A\r\nX-Evil: y"},
        },
    }
    tools: Json = [{"name": name, "inputSchema": schema} for name in ("older", "echo")]

    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        if asked.says == "tools/list":
            return as_json(result(1, tools=tools))
        return await echo(_, asked)

    odd = Odd(answering)
    asked = request(
        2, "tools/call", name="echo", arguments={"region": "\u00e9", "evil": "x"}, _meta=STATELESS
    )
    async with talking(odd) as client:
        await client.ask(request(1, "tools/list", _meta=STATELESS))
        assert await client.ask(asked) == text_result(2, "fine")
    headers = odd.asked[1].headers
    assert headers["mcp-method"] == "tools/call"
    assert headers["mcp-name"] == "echo"
    assert headers["mcp-protocol-version"] == "2026-07-28"
    assert headers["mcp-param-region"] == "=?base64?w6k=?="
    assert not [name for name in headers if "evil" in name or name == "mcp-param-a"]


async def test_a_stateless_request_is_given_up_by_ending_its_stream() -> None:
    ended = asyncio.Event()

    async def answering(asked: web.BaseRequest, told: Asked) -> web.StreamResponse:
        if told.message["id"] == 2:
            return await echo(asked, told)
        response = await as_events(asked, event(NOTE))
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return response

    odd = Odd(answering)
    async with talking(odd) as client:
        assert await client.ask(call(1, _meta=STATELESS)) == NOTE
        await client.send(notification("notifications/cancelled", requestId=1))
        await ended.wait()
        assert await client.ask(call(2, _meta=STATELESS)) == text_result(2, "fine")
    assert said(odd) == ["tools/call", "tools/call"], "nothing is sent of it, and nothing told"


async def test_in_a_session_a_cancellation_is_a_message() -> None:
    odd = in_sessions(echo)

    async def answering(asked: web.BaseRequest, told: Asked) -> web.StreamResponse:
        if told.says == "notifications/cancelled":
            return web.Response(status=202)
        return await as_events(asked, event(result(1)))

    odd = in_sessions(answering)
    async with talking(odd) as client:
        await client.open()
        await client.send(notification("notifications/cancelled", requestId=1))
        assert await client.ask(call(1)) == result(1)
    assert "notifications/cancelled" in said(odd)


# --- the end --------------------------------------------------------------------------------------


async def test_closing_ends_the_session_and_what_is_under_way() -> None:
    async def answering(asked: web.BaseRequest, _: Asked) -> web.StreamResponse:
        response = await as_events(asked, event(NOTE))
        await asyncio.Event().wait()
        return response

    odd = in_sessions(answering)
    async with talking(odd) as client:
        await client.open()
        assert await client.ask(call(1)) == NOTE
        reading = asyncio.create_task(client.channel.read())
        await asyncio.sleep(0)
        await client.channel.close()
        assert await reading is None
        assert await client.channel.read() is None
        with pytest.raises(ChannelClosed):
            await client.channel.write(b"{}")
        await client.channel.close()
    assert said(odd)[-1] == "DELETE"
    assert odd.asked[-1].headers[SESSION.lower()] == "s"
