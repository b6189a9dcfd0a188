"""HTTP+SSE to servers that behave oddly: targets of messages, and when a stream is trusted."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from yarl import URL

from pipeguard.firewall.protocol.framing import Lost
from pipeguard.transports.http.bindings import sse
from pipeguard.transports.http.bindings.sse import _SseLink
from pipeguard.transports.http.client.reconnecting import LinkLost, ReconnectingChannel
from pipeguard.transports.http.client.upstream import Remote, connect
from tests.transports.talking import (
    Asked,
    Login,
    Odd,
    as_events,
    event,
    notification,
    request,
    result,
)
from tests.transports.wire import run, serving

LIMIT = 10_000
ENDPOINT = b"event: endpoint\ndata: /messages?session=abc\n\n"
Answering = Callable[[web.BaseRequest, Asked], Awaitable[web.StreamResponse]]


class Older:
    """A server of 2024-11-05.

    Attributes:
        says: the pieces on its stream, after it named the address.
        taken: the status of its POSTs.
    """

    def __init__(self, first: bytes = ENDPOINT, taken: int = 202) -> None:
        self.first = first
        self.wait_taken = taken
        self.says: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.ended = asyncio.Event()
        self.asked: list[Asked] = []

    async def __call__(self, asked: web.BaseRequest, told: Asked) -> web.StreamResponse:
        self.asked.append(told)
        if told.method == "POST":
            return web.Response(
                status=self.wait_taken, headers={"Location": "/elsewhere"}, text="ok"
            )
        response = await as_events(asked, self.first)
        try:
            while (piece := await self.says.get()) is not None:
                await response.write(piece)
        finally:
            self.ended.set()
        return response


@asynccontextmanager
async def linked(
    answering: Answering, login: Login | None = None, **headers: str
) -> AsyncIterator[_SseLink]:
    async with serving(Odd(answering)) as address:
        remote = Remote(URL(f"{address}/sse"), headers, login, limit_bytes=LIMIT)
        async with connect(remote) as http:
            link = await _SseLink.open(remote, http)
            try:
                yield link
            finally:
                await link.close()


def refused(answering: Answering) -> str:
    async def work() -> str:
        with pytest.raises(LinkLost) as caught:
            async with linked(answering):
                pass
        return str(caught.value)

    return run(work)


async def heard(link: _SseLink) -> object:
    frame = await link.read()
    assert frame is not None
    return json.loads(frame)


async def test_messages_go_where_the_server_says_and_answers_come_on_the_stream() -> None:
    server = Older()
    async with linked(server, Authorization="Bearer ours") as link:
        await link.write(json.dumps(request(1)).encode())
        server.says.put_nowait(b": awake\n\nevent: other\ndata: x\n\n" + event(result(1)))
        assert await heard(link) == result(1)
        server.says.put_nowait(event(result(2)) + event(result(3)))
        assert [await heard(link), await heard(link)] == [result(2), result(3)]
    await server.ended.wait()
    get, post = server.asked
    assert (get.method, get.path) == ("GET", "/sse")
    assert (post.method, post.path) == ("POST", "/messages?session=abc")
    assert post.message == request(1)
    assert {get.headers["authorization"], post.headers["authorization"]} == {"Bearer ours"}
    assert get.headers["accept"] == "text/event-stream"


@pytest.mark.parametrize(
    "address",
    [
        *(b"http://evil.example/m", b"//evil.example/m", b"https://127.0.0.1/m", b"http://[", b""),
        *(b"http://127.0.0.1:1/m", b"javascript:alert(1)", b"file:///etc/passwd", b"mailto:a@b"),
        *(b"\xff\xfe", b"http://localhost/m", b"http://u:p@{host}/m", b"http://evil@{host}/m"),
        *(b"http://{host}.evil.example/m", b"ftp://{host}/m", b"\\\\evil.example/m"),
    ],
)
async def test_another_servers_address_is_refused_and_ends_the_stream(address: bytes) -> None:
    server = Older()

    async def answering(asked: web.BaseRequest, told: Asked) -> web.StreamResponse:
        server.first = b"event: endpoint\ndata: " + address.replace(b"{host}", asked.host.encode())
        server.first += b"\n\n"
        return await server(asked, told)

    if address in (b"", b"\\\\evil.example/m"):  # these are places of its own
        async with linked(answering):
            return
    with pytest.raises(LinkLost, match="not its own"):
        async with linked(answering):
            pass
    await server.ended.wait()
    assert [asked.method for asked in server.asked] == ["GET"]


@pytest.mark.parametrize(
    ("status", "kind"), [(200, "text/html"), (403, "text/event-stream"), (405, ""), (307, "x/y")]
)
def test_what_is_no_such_server_is_told(status: int, kind: str) -> None:
    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        headers = {"Content-Type": kind or "x/y", "Location": "/other"}
        return web.Response(status=status, headers=headers, body=ENDPOINT)

    assert refused(answering) == f"the server answered with HTTP {status}, not with MCP"


# --- logins ---------------------------------------------------------------------------------------


async def test_a_channel_does_not_try_again_where_a_person_must_log_in() -> None:
    async def locked(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})

    server = Odd(locked)
    async with serving(server) as address:
        remote = Remote(URL(f"{address}/sse"), {}, Login(None))
        async with connect(remote) as http:
            channel = ReconnectingChannel(lambda: _SseLink.open(remote, http))
            await channel.write(json.dumps(request(1)).encode())
            lost = await channel.read()
            assert isinstance(lost, Lost)
            assert "asks for a login" in lost.why
            await channel.close()
    assert len(server.asked) == 1


def test_a_server_without_an_address_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answering(asked: web.BaseRequest, _: Asked) -> web.StreamResponse:
        return await as_events(asked, b": hello\n\n", event(result(1)))

    assert refused(answering) == "the server named no address for messages"
    monkeypatch.setattr(sse, "ENDPOINT_SECONDS", 0.05)
    assert refused(Older(b": hello\n\n")) == "the server cannot be reached"


@pytest.mark.parametrize("status", [301, 401, 500])
async def test_a_message_that_was_not_taken_is_lost(status: int) -> None:
    server = Older(taken=status)
    async with linked(server) as link:
        with pytest.raises(LinkLost, match=f"HTTP {status}"):
            await link.write(b"{}")
    assert [asked.path for asked in server.asked][1:] == ["/messages?session=abc"]


@pytest.mark.parametrize(
    "rest", [b"", b"data: half", b"data: " + b"x" * 2 * LIMIT, b"event: endpoint\ndata: /x\n\n"]
)
async def test_what_ends_a_stream_ends_the_connection(rest: bytes) -> None:
    server = Older()
    async with linked(server) as link:
        server.says.put_nowait(event(notification("notifications/message")) + rest)
        server.says.put_nowait(None)
        assert await heard(link) == notification("notifications/message"), "it was whole"
        assert await link.read() is None
