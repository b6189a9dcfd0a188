"""Answers of odd servers of Streamable HTTP: each request is answered once. answers.py."""

import aiohttp
import pytest
from aiohttp import web

from pipeguard.firewall.protocol.framing import Lost
from pipeguard.transports.channel import Failure
from pipeguard.transports.http.client import streamable
from pipeguard.transports.http.client.upstream import to_failure
from tests.transports.http.client.talking import LIMIT, NOTE, echo, in_sessions, lost, said, talking
from tests.transports.talking import (
    INITIALIZED,
    Asked,
    Odd,
    as_events,
    as_json,
    call,
    event,
    request,
    result,
    text_result,
)

# --- answers ------------------------------------------------------------------------------------


async def test_answers_come_as_one_or_as_events_with_what_goes_before_them() -> None:
    async def answering(asked: web.BaseRequest, told: Asked) -> web.StreamResponse:
        if told.message["id"] == 1:
            return await echo(asked, told)
        return await as_events(
            asked,
            b": hi\n\nevent: other\ndata: {}\n\n",
            event(NOTE),
            event(text_result(2, "fine")),
            event(NOTE),
        )

    async with talking(Odd(answering)) as client:
        assert await client.ask(call(1)) == text_result(1, "fine")
        assert await client.ask(call(2)) == NOTE
        assert await client.hear() == text_result(2, "fine")


ODD_ANSWERS: list[tuple[int, str, bytes]] = [
    (200, "text/html", b"<h1>hello</h1>"),
    (200, "application/json", b""),
    (200, "application/json", b"hello"),
    (200, "text/plain", b'{"jsonrpc":"2.0","id":1,"result":{}}'),
    (202, "", b""),
    (204, "", b""),
    (301, "text/html", b""),
    (401, "text/plain", b"no"),
    (404, "text/plain", b"not here"),
    (500, "text/html", b"oops"),
    (502, "application/json", b'{"detail":"oops"}'),
    (200, "text/event-stream", b""),
    (200, "text/event-stream", b": nothing\n\n"),
    (200, "text/event-stream", b'data: {"jsonrpc":"2.0","id":1,"result"'),
    (200, "application/json", b" " * (LIMIT + 1)),
    (200, "text/event-stream", b"data: " + b"x" * (LIMIT + 1)),
    (200, "application/json", b"[" * 20_000),
]


@pytest.mark.parametrize(("status", "kind", "body"), ODD_ANSWERS)
async def test_what_is_no_answer_is_lost_and_told_once(status: int, kind: str, body: bytes) -> None:
    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        if asked.says == "ping":
            return await echo(_, asked)
        headers = {"Content-Type": kind or "x/y", "Location": "http://127.0.0.1:1/"}
        return web.Response(status=status, body=None if status == 204 else body, headers=headers)

    odd = Odd(answering)
    async with talking(odd) as client:
        await client.send(request(1))
        while not isinstance(told := await client.channel.read(), Lost):
            assert told is not None, "the Session refuses it"
        assert told.id_token == "1"
        assert told.why
        assert told.sent is (status != 401), "it was let in"
        assert await client.ask(request(2, "ping")) == text_result(2, "fine"), "and only once"
    assert len(odd.asked) == 2, "nothing is sent twice"


async def test_an_answer_to_another_request_does_not_stand_for_this_one() -> None:
    async def answering(asked: web.BaseRequest, told: Asked) -> web.StreamResponse:
        if told.message["id"] == 1:
            return as_json(result(2))
        return await as_events(asked, event(result("02")), event(result(3)))

    async with talking(Odd(answering)) as client:
        assert await client.ask(request(1)) == result(2)
        assert lost(await client.hear()) == 1
        assert await client.ask(request(2)) == result("02")
        assert await client.hear() == result(3)
        assert lost(await client.hear()) == 2


async def test_a_batch_is_lost_for_what_is_not_answered() -> None:
    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        return as_json([result(1)])

    async with talking(Odd(answering)) as client:
        await client.send([request(1), request(2), INITIALIZED])
        assert await client.hear() == [result(1)]
        assert lost(await client.hear()) == 2


async def test_a_server_that_cannot_be_reached_is_tried_again_and_then_told() -> None:
    async with talking(Odd(echo), "http://127.0.0.1:9/mcp") as client:
        told = await client.ask(request(1))
        assert told == {"lost": 1, "why": "the server cannot be reached: connection refused"}
    failure = to_failure(aiohttp.ConnectionTimeoutError())  # nothing answers at its address
    assert failure == Failure("the server cannot be reached", sent=False)


async def test_a_connection_that_breaks_after_a_request_was_sent_is_not_used_again() -> None:
    async def answering(asked: web.BaseRequest, _: Asked) -> web.StreamResponse:
        assert asked.transport is not None
        asked.transport.abort()
        return web.Response()

    odd = Odd(answering)
    async with talking(odd) as client:
        assert lost(await client.ask(call(1))) == 1
    assert len(odd.asked) == 1, "the server may have acted"


# --- broken streams -----------------------------------------------------------------------------


async def test_a_broken_stream_is_taken_up_where_it_broke() -> None:
    cursors: list[str] = []

    async def answering(asked: web.BaseRequest, told: Asked) -> web.StreamResponse:
        if told.says == "tools/call":
            return await as_events(asked, b"id: 1\nretry: 1\ndata:\n\n")
        cursors.append(told.headers["last-event-id"])
        match len(cursors):
            case 1:
                return await as_events(asked, event(NOTE, "2"))
            case 2:
                return await as_events(asked, b": still nothing\n\n")
            case 3:
                return web.Response(status=503)
            case 4:
                assert asked.transport is not None
                asked.transport.abort()
                return web.Response()
        return await as_events(asked, event(text_result(1, "late")))

    odd = in_sessions(answering)
    async with talking(odd) as client:
        await client.open()
        assert await client.ask(call(1)) == NOTE
        assert await client.hear() == text_result(1, "late")
    assert cursors == ["1", "2", "2", "2", "2"]
    assert said(odd).count("tools/call") == 1, "it is asked once"


@pytest.mark.parametrize(
    ("first", "status"), [(b"id: 1\ndata:\n\n", 405), (b"data:\n\n", 200), (b"id: 1\nid\n\n", 200)]
)
async def test_a_broken_stream_that_cannot_be_taken_up_is_lost(first: bytes, status: int) -> None:
    async def answering(asked: web.BaseRequest, told: Asked) -> web.StreamResponse:
        if told.says == "tools/call":
            return await as_events(asked, first)
        return web.Response(status=status)

    async with talking(in_sessions(answering)) as client:
        await client.open()
        assert lost(await client.ask(call(1))) == 1


async def test_a_stream_that_stays_broken_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamable, "RESUME_SECONDS", 0.05)

    async def answering(asked: web.BaseRequest, told: Asked) -> web.StreamResponse:
        if told.says == "tools/call":
            return await as_events(asked, b"id: 1\ndata:\n\n")
        return web.Response(status=503)

    async with talking(in_sessions(answering)) as client:
        await client.open()
        assert lost(await client.ask(call(1))) == 1


async def test_an_event_over_the_limit_is_not_asked_for_again() -> None:
    async def answering(asked: web.BaseRequest, told: Asked) -> web.StreamResponse:
        return await as_events(asked, b"id: 1\ndata:\n\n", b"data: " + b"x" * 2 * LIMIT)

    odd = in_sessions(answering)
    async with talking(odd) as client:
        await client.open()
        told = await client.ask(call(1))
        assert told == {"lost": 1, "why": "the answer is larger than the limit"}
