"""Streamable HTTP to Streamable HTTP: responses of odd servers. relay.py."""

import asyncio
import gzip
import json

import pytest
from aiohttp import web
from yarl import URL

from pipeguard.firewall.protocol.methods import ACKNOWLEDGED, LISTEN, SUBSCRIPTION_META
from pipeguard.transports.http.client.bodies import body_pieces
from pipeguard.transports.http.client.upstream import Remote, connect
from pipeguard.transports.http.server.admission import RefusalReason
from pipeguard.transports.http.server.sessions import Sessions
from tests.transports.http.server.hosting import in_one
from tests.transports.http.server.relaying import R5, between, echo, through
from tests.transports.talking import (
    BROKE,
    GONE,
    INITIALIZED,
    SECRET,
    SESSION,
    STATELESS,
    UNSCANNABLE,
    Asked,
    Json,
    Object,
    Odd,
    as_events,
    as_json,
    at,
    call,
    code,
    event,
    events,
    initialize,
    notification,
    opened,
    request,
    result,
    text_result,
)
from tests.transports.wire import serving

# --- what is not MCP ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (404, "text/plain", b"Session not found"),
        (400, "text/html", b"<h1>Bad Request</h1>"),
        (405, "text/html", b"Cannot POST /mcp"),
        (404, "application/json", b'{"detail":"Not Found"}'),
        (503, "application/json", b"not json"),
        (500, "application/json", b""),
        (404, "", b""),
    ],
)
def test_a_status_for_clients_passes_with_any_body(status: int, kind: str, body: bytes) -> None:
    """404 starts a new session, 400 to 405 a fallback (protocol, "Backwards Compatibility")."""

    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers={"Content-Type": kind or "x/y"})

    got, told, _, _, _ = through(answering, request(1))
    assert got == status
    assert code(told) == BROKE
    assert json.dumps(told).find("Not Found") == -1, "nothing unjudged passes"


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(result(2)),
        json.dumps(result("01")),
        json.dumps(request(1, "roots/list")),
        json.dumps(notification("notifications/message", level="info", data="x")),
        json.dumps([result(2)]),
        '{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2}}',
        '{"jsonrpc":"2.0","id":1,"result":{},"error":{}}',
        '{"jsonrpc":"2.0","id":1,"result":[]}',
        '{"jsonrpc":"2.0","id":1,"res',
    ],
)
def test_a_request_is_answered_once_whatever_comes_for_it(body: str) -> None:
    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        return as_json(body.encode())

    _, told, _, _, _ = through(answering, request(1))
    assert at(told, "id") == 1
    assert code(told)


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
def test_what_stands_behind_a_packed_answer_is_not_kept(kind: str) -> None:
    """RFC 1952, 2.2, allows several members; no server compresses an answer like that."""
    body = json.dumps(text_result(1, "fine")).encode()
    packed = gzip.compress(body if kind == "application/json" else b": hello\n\n")

    async def answering(asked: web.BaseRequest, _: Asked) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind, "Content-Encoding": "gzip"})
        await response.prepare(asked)
        await response.write(packed)
        while True:  # until nobody reads it
            await response.write(b"x" * 1000)

    _, told, _, _, _ = through(answering, request(1))
    assert code(told[0] if isinstance(told, list) else told) == UNSCANNABLE


async def test_while_much_is_unpacked_others_have_their_turn() -> None:
    async def handle(_: web.BaseRequest) -> web.StreamResponse:
        packed = gzip.compress(bytes(2**22))
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    turns = 0

    async def beside() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with (
        serving(handle) as url,
        connect(Remote(URL(url), {})) as http,
        http.get(url) as answer,
    ):
        other = asyncio.create_task(beside())
        seen = [turns async for _ in body_pieces(answer)]
        other.cancel()
    assert len(set(seen)) == len(seen) >= 2**22 // 2**16


async def test_a_server_that_cannot_be_reached_is_told() -> None:
    async with between(Odd(echo), upstream="http://127.0.0.1:9/mcp") as client:
        status, told, _ = await client.post(request(1))
        assert (status, code(told)) == (200, GONE)
        assert (await client.post(INITIALIZED))[0] == 502
        async with client.http.get(client.url) as answer:
            assert answer.status == 502
        assert client.refused == [RefusalReason.NO_STREAM]
        async with client.http.delete(client.url) as answer:
            assert answer.status == 502


@pytest.mark.parametrize(
    "headers", [{"Set-Cookie": "\udcff"}, {"Mcp-Session-Id": "a b"}, {"Mcp-Session-Id": "\udce9"}]
)
def test_odd_headers_of_a_server_break_nothing(headers: dict[str, str]) -> None:
    async def answering(asked: web.BaseRequest, _: Asked) -> web.StreamResponse:
        body = json.dumps(opened()).encode()
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = ["HTTP/1.1 200 OK", "Content-Type: application/json", *lines]
        raw = "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""])
        assert asked.transport is not None
        asked.transport.write(raw.encode("utf-8", "surrogateescape") + body)
        asked.transport.close()
        raise ConnectionResetError

    status, told, found, _, _ = through(answering, initialize())
    if SESSION in headers:  # without it, the conversation could not go on
        assert (status, code(told)) == (200, BROKE)
    else:
        assert (status, told) == (200, opened())
    assert not {name.lower() for name in headers} & found.keys()


# --- batches (2025-03-26) -----------------------------------------------------------------------

OLD = {"MCP_Protocol_Version": "2025-03-26"}


async def each(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
    members = json.loads(asked.body)
    replies: list[Json] = [text_result(m["id"], "fine") for m in members if "id" in m]
    return as_json(replies) if replies else web.Response(status=202)


def ids(told: Json) -> list[Json]:
    return [message["id"] for message in in_one(told)]


def test_of_a_batch_what_is_stopped_is_answered_beside_the_rest() -> None:
    _, told, _, odd, _ = through(each, [call(1), call(2, SECRET), call(3)], headers=OLD)
    assert sorted(map(str, ids(told))) == ["1", "2", "3"]
    assert [m["id"] for m in json.loads(odd.asked[0].body)] == [1, 3]


@pytest.mark.parametrize("answer", [[result(1)], result(1), [result(1), result(9)], [], None])
def test_a_batch_that_is_answered_in_part_is_completed(answer: Json) -> None:
    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        return web.Response(text="hello") if answer is None else as_json(answer)

    _, told, _, _, _ = through(answering, [request(1), request(2), call(3, SECRET)], headers=OLD)
    assert sorted(map(str, ids(told))) == ["1", "2", "3"]


def test_a_batch_of_a_stopped_call_and_a_notification_answers_the_call() -> None:
    status, told, _, odd, _ = through(each, [INITIALIZED, call(2, SECRET)], headers=OLD)
    assert (status, ids(told)) == (200, [2])
    assert len(odd.asked) == 1


@pytest.mark.parametrize("seconds", [None, 0.1])
def test_a_batch_over_a_stream_that_breaks_or_is_overdue_is_told_for_what_is_left(
    seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sessions, "most_seconds", lambda *_: seconds)

    async def answering(asked: web.BaseRequest, _: Asked) -> web.StreamResponse:
        response = await as_events(asked, event(result(1)))
        await asyncio.sleep(30 if seconds else 0)
        return response

    _, told, _, _, _ = through(answering, [request(1), request(2)], headers=OLD)
    assert ids(told) == [1, 2]


# --- streams ------------------------------------------------------------------------------------


async def test_events_reach_the_client_at_once() -> None:
    told = asyncio.Event()

    async def answering(asked: web.BaseRequest, _: Asked) -> web.StreamResponse:
        note = notification("notifications/message", level="info", data="first")
        response = await as_events(asked, event(note))
        await told.wait()
        await response.write(event(result(1)))
        return response

    async with (
        between(Odd(answering)) as client,
        client.http.post(client.url, json=request(1)) as answer,
    ):
        assert b"first" in await answer.content.readuntil(b"\n\n")
        told.set()
        assert events(await answer.read()) == [result(1)]


async def test_a_stream_that_can_be_taken_up_again_is_left_to_the_client() -> None:
    async def answering(asked: web.BaseRequest, told: Asked) -> web.StreamResponse:
        if told.method == "GET":
            assert told.headers["last-event-id"] == "7"
            return await as_events(asked, event(result(1), "8"))
        if told.says == "initialize":
            return as_json(opened(), headers={SESSION: "s"})
        return await as_events(asked, b"id: 7\ndata:\n\n")

    async with between(Odd(answering)) as client:
        await client.post(initialize())
        _, told, _ = await client.post(request(1), Mcp_Session_Id="s")
        assert told == []
        headers = {SESSION: "s", "Last-Event-ID": "7", "Accept": "text/event-stream"}
        async with client.http.get(client.url, headers=headers) as again:
            assert events(await again.read()) == [result(1)]
        assert not next(iter(client.known.of("s", None).state.pending.values()))._exchanges


def test_a_stateless_stream_cannot_be_taken_up_again() -> None:
    async def answering(asked: web.BaseRequest, _: Asked) -> web.StreamResponse:
        return await as_events(asked, b"id: 7\ndata:\n\n")

    _, told, _, _, _ = through(
        answering, request(1, _meta=STATELESS), MCP_Protocol_Version=R5, Mcp_Method="x/y"
    )
    assert isinstance(told, list)
    assert [code(message) for message in told] == [GONE]


async def test_a_client_that_leaves_ends_the_stream_upstream() -> None:
    """Without sessions that is how a request is given up (2026-07-28)."""
    ended = asyncio.Event()

    async def answering(asked: web.BaseRequest, _: Asked) -> web.StreamResponse:
        response = await as_events(asked, b": wait\n\n")
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return response

    async with between(Odd(answering)) as client:
        async with client.http.post(client.url, json=request(1)) as answer:
            await answer.content.readuntil(b"\n\n")
            answer.close()
        await ended.wait()
        assert [v.forward is not None for v in client.records] == [True, True], "told as lost"


async def test_a_servers_request_that_is_stopped_is_answered_by_a_post_of_ours() -> None:
    declined = asyncio.Event()

    async def answering(asked: web.BaseRequest, told: Asked) -> web.StreamResponse:
        if told.says == "initialize":
            return as_json(opened(), headers={SESSION: "s"})
        if told.says != "x/y":
            assert told.headers["mcp-session-id"] == "s"
            assert code(told.message) == -32601
            declined.set()
            return web.Response(status=202)
        asking = request("q", "sampling/createMessage", messages=[], maxTokens=1)
        response = await as_events(asked, event(asking))
        await declined.wait()
        await response.write(event(result(1)))
        return response

    async with between(Odd(answering)) as client:
        await client.post(initialize())
        _, told, _ = await client.post(request(1), Mcp_Session_Id="s")
        assert told == [result(1)], "the client had not declared it"


async def test_what_changed_is_told_on_the_subscription_that_asked_for_it() -> None:
    meta: Object = {SUBSCRIPTION_META: 7}
    done = asyncio.Event()
    wanted: Object = {"toolsListChanged": True}
    granted = notification(ACKNOWLEDGED, notifications=wanted, _meta=meta)

    async def answering(asked: web.BaseRequest, _: Asked) -> web.StreamResponse:
        response = await as_events(asked, event(granted))
        await done.wait()
        await response.write(event(result(7, _meta=meta)))
        return response

    async with between(Odd(answering)) as client:
        listen = request(7, LISTEN, notifications=wanted, _meta=STATELESS)
        headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": LISTEN}
        async with client.http.post(client.url, json=listen, headers=headers) as stream:
            first = events(await stream.content.readuntil(b"\n\n"))
            client.known.relist(frozenset({"tool", "prompt"}))
            told = events(await stream.content.readuntil(b"\n\n"))
            done.set()
            last = events(await stream.read())
    assert first == [granted]
    assert told == [notification("notifications/tools/list_changed", _meta=meta)]
    assert last == [result(7, _meta=meta)]
    assert not client.known._with_subscribers
