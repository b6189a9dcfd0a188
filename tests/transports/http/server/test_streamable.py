"""Streamable HTTP for servers of another transport: our sessions, and exchanges that share one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from pipeguard.core.protocol.framing import Lost
from pipeguard.core.protocol.subscriptions import ACKNOWLEDGED, LISTEN, SUBSCRIPTION_META
from pipeguard.errors import StateError
from pipeguard.transports.backlog import LIMIT_BYTES
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.http.server import exchange_router as router_module
from pipeguard.transports.http.server import streamable as posted_module
from pipeguard.transports.http.server.admission import WHO, RequestRefused
from pipeguard.transports.http.server.sessions import Sessions
from pipeguard.transports.http.server.streamable import StreamableEndpoint
from pipeguard.transports.http.server.unrequested import UNHEARD_BYTES, UNHEARD_FRAMES
from tests.transports.talking import (
    GONE,
    INITIALIZED,
    SECRET,
    SESSION,
    STATELESS,
    VERSION,
    Json,
    Object,
    Records,
    backend,
    call,
    events,
    initialize,
    make_sessions,
    notification,
    opened,
    posted,
    request,
    result,
    text_result,
)
from tests.transports.wire import eventually, run, serving

pytestmark = pytest.mark.usefixtures("_compiled_rules")

IDLE_SECONDS = 60.0
R5 = "2026-07-28"
R5_HEADERS = {"MCP_Protocol_Version": R5}
Answering = Callable[["Child", Object], None]


class Child:
    """A server as its channel shows it: what it heard, and what it says when a test wants it to."""

    def __init__(self, answering: Answering | None) -> None:
        self._answering = answering
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.heard: list[Json] = []
        self.is_closed = False
        self.is_deaf = False

    async def read(self) -> bytes | None:
        return await self._frames.get()

    async def write(self, frame: bytes) -> None:
        await asyncio.sleep(0)
        if self.is_closed or self.is_deaf:
            raise ChannelClosed("gone")
        message = json.loads(frame)
        self.heard.append(message)
        for member in message if isinstance(message, list) else [message]:
            if member.get("method") == "initialize":
                version = member["params"]["protocolVersion"]
                self.say(opened(member["id"], version, tools={"listChanged": True}))
            elif self._answering:
                self._answering(self, member)

    async def close(self) -> None:
        self.is_closed = True
        self._frames.put_nowait(None)

    def say(self, message: Json | bytes) -> None:
        frame = message if isinstance(message, bytes) else json.dumps(message).encode()
        self._frames.put_nowait(frame)

    def die(self) -> None:
        self._frames.put_nowait(None)

    def asked(self, method: str) -> list[Object]:
        return [one for one in self.heard if isinstance(one, dict) and one.get("method") == method]


class Clock:
    """The clock of the sessions, which goes only where a test lets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        for module in (posted_module, router_module):
            monkeypatch.setattr(module, "monotonic", lambda: self.now)
        monkeypatch.setattr(posted_module, "SWEEP_SECONDS", 0.01)

    def pass_until(self, holds: Callable[[], object]) -> Callable[[], object]:
        """Ask it each time after longer than a session may be idle."""

        def ask() -> object:
            self.now += 2 * IDLE_SECONDS
            return holds()

        return ask


def echo(child: Child, message: Object) -> None:
    if "id" in message and "method" in message:
        child.say(text_result(message["id"], "fine"))


class Host:
    """An endpoint over children, and a client of it."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.url = ""
        self.children: list[Child] = []
        self.known: Sessions = make_sessions()
        self.records = Records()
        self.posted: StreamableEndpoint

    async def post(self, message: Json | bytes, **headers: str) -> tuple[int, Json, dict[str, str]]:
        status, body, found = await posted(self.http, self.url, message, **headers)
        if found.get("content-type") == "text/event-stream":
            return status, events(body), found
        is_json = found.get("content-type") == "application/json"
        return status, json.loads(body) if body and is_json else None, found

    async def ask(self, message: Json, **headers: str) -> Json:
        return (await self.post(message, **headers))[1]

    async def open(self, version: str = "2025-06-18", **capabilities: Json) -> dict[str, str]:
        """A session; the header that names it."""
        status, told, headers = await self.post(initialize(0, version, **capabilities))
        assert (status, told) == (200, opened(0, version, tools={"listChanged": True}))
        named = {"Mcp_Session_Id": headers[SESSION.lower()]}
        assert (await self.post(INITIALIZED, **named))[0] == 202
        return named


@asynccontextmanager
async def hosting(
    answering: Answering | None = echo,
    *,
    most: int = 10,
    dial: Callable[[], Child] | None = None,
    gate: asyncio.Event | None = None,
    record: Callable[[object], None] | None = None,
    waits: bool = True,
) -> AsyncIterator[Host]:
    async with aiohttp.ClientSession() as http:
        host = Host(http)

        async def dialled() -> Child:
            child = Child(answering) if dial is None else dial()
            host.children.append(child)
            if gate is not None:
                await gate.wait()
            return child

        host.posted = StreamableEndpoint(
            backend(
                host.known,
                dialled,
                record or host.records,
                most=most,
                idle_seconds=IDLE_SECONDS,
                waits=waits,
            )
        )

        async def handle(asked: web.BaseRequest) -> web.StreamResponse:
            asked[WHO] = asked.headers.get("Who", "")
            try:
                if asked.method == "GET":
                    return await host.posted.get(asked)
                if asked.method == "DELETE":
                    return await host.posted.delete(asked)
                return await host.posted.post(asked, await asked.read())
            except RequestRefused as refused:
                return refused.response

        async with serving(handle) as url:
            host.url = f"{url}/mcp"
            try:
                yield host
            finally:
                await host.posted.close()


def code(message: Json) -> Json:
    assert isinstance(message, dict)
    error = message["error"]
    assert isinstance(error, dict)
    return error["code"]


def dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


# --- sessions -------------------------------------------------------------------------------------


def test_a_session_is_a_server_of_its_own_from_its_opening_to_its_end() -> None:
    async def work() -> None:
        async with hosting() as host:
            one, two = await host.open(), await host.open()
            assert one != two
            assert await host.ask(call(1), **one) == text_result(1, "fine")
            assert len(host.children) == len(host.posted) == 2
            assert [len(child.heard) for child in host.children] == [3, 2]
            async with host.http.delete(host.url, headers=dashed(one)) as answer:
                assert answer.status == 204
            assert host.children[0].is_closed
            assert not host.children[1].is_closed
            status, told, _ = await host.post(call(2), **one)
            assert (status, code(told)) == (404, -32001)
            assert isinstance(told, dict)
            assert told["id"] == 2

    run(work)


def test_bytes_of_both_sides_are_kept() -> None:
    sent = b'{"jsonrpc":"2.0" ,"id":7,"method":"x/y","params":{"n":1.50}}'
    back = b'{"id":7 ,"jsonrpc":"2.0","result":{"n":1e2}}'

    async def work() -> None:
        async with hosting(lambda child, _: child.say(back)) as host:
            named = await host.open()
            _, body, _ = await posted(host.http, host.url, sent, **named)
            assert body == back

    run(work)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_session_that_is_not_there_is_no_session_that_is_not_named(method: str) -> None:
    async def work() -> None:
        async with hosting() as host:
            for headers, status in (
                ({}, 400),
                ({SESSION: "other"}, 404),
                ({VERSION: R5}, 405),
            ):
                async with host.http.request(method, host.url, headers=headers) as answer:
                    assert answer.status == status

    run(work)


def test_only_an_opening_opens_a_session() -> None:
    async def work() -> None:
        async with hosting() as host:
            odd: list[Json | bytes] = [call(1), INITIALIZED, [initialize()]]
            for message in [*odd, b"{", b"1", b'{"a":1,"a":1}']:
                status, told, _ = await host.post(message)
                assert status == 400
                assert isinstance(told, dict)
                assert "error" in told
            assert host.children == []
            assert (await host.post(call(1), Mcp_Session_Id="other"))[0] == 404

    run(work)


def test_an_opening_that_is_stopped_leaves_no_server_behind() -> None:
    async def work() -> None:
        async with hosting() as host:
            stopped = initialize(0, "2025-06-18", experimental={"x": {"key": SECRET}})
            status, told, headers = await host.post(stopped)
            assert status == 200
            assert SESSION.lower() not in headers
            assert isinstance(told, dict)
            assert "error" in told
            assert all(child.is_closed for child in host.children)
            assert len(host.posted) == 0

    run(work)


def test_a_server_that_does_not_start_is_told() -> None:
    def fails() -> Child:
        raise ChannelClosed("no such program")

    async def work() -> None:
        async with hosting(dial=fails) as host:
            status, told, _ = await host.post(initialize("a"))
            assert (status, code(told)) == (200, GONE)
            assert "no such program" in json.dumps(told)
            assert code(await host.ask(call(1, _meta=STATELESS), **R5_HEADERS)) == GONE

    run(work)


def test_there_are_only_so_many_sessions_also_where_all_come_at_once() -> None:
    async def work() -> None:
        gate = asyncio.Event()
        async with hosting(most=2, gate=gate) as host:
            asking = [asyncio.create_task(host.post(initialize(n))) for n in range(6)]
            await eventually(lambda: sum(one.done() for one in asking) == 4, "four are told no")
            gate.set()
            told = await asyncio.gather(*asking)
            assert sorted(status for status, _, _ in told) == [200, 200, 503, 503, 503, 503]
            assert len(host.children) == 2
            full = next(one for one in told if one[0] == 503)
            assert code(full[1]) == -37106
            assert full[2]["retry-after"]

    run(work)


def quiet(child: Child, message: Object) -> None:
    """A server that answers all but one method."""
    if message.get("method") != "never":
        echo(child, message)


def test_an_idle_session_ends_and_one_in_use_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    async def work() -> None:
        async with hosting(quiet) as host:
            listening, asking, idle = [await host.open() for _ in range(3)]
            listener, asker, unused = host.children
            waits = asyncio.create_task(host.post(request(1, "never"), **asking))
            await eventually(lambda: asker.asked("never"), "it was asked")
            async with host.http.get(host.url, headers=dashed(listening)):
                await eventually(clock.pass_until(lambda: unused.is_closed), "the idle one ended")
                assert not listener.is_closed
                assert not asker.is_closed
                assert (await host.post(call(1), **idle))[0] == 404
            nobody_listens = clock.pass_until(lambda: listener.is_closed)
            await eventually(nobody_listens, "nobody listens any more")
            assert not asker.is_closed
            waits.cancel()
            await eventually(clock.pass_until(lambda: asker.is_closed), "nobody waits any more")

    run(work)


def test_a_session_whose_answer_was_given_up_ends_when_it_is_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)

    async def work() -> None:
        async with hosting(None) as host:
            named = await host.open()
            asking = asyncio.create_task(host.post(request(1), **named))
            await eventually(lambda: host.children[0].asked("x/y"), "it was asked")
            await host.post(notification("notifications/cancelled", requestId=1), **named)
            status, told, _ = await asking
            assert (status, told) == (200, []), "no answer will come, so the stream ends"
            await eventually(clock.pass_until(lambda: host.children[0].is_closed), "it ended")

    run(work)


def test_a_server_that_dies_ends_its_session_and_all_that_waits() -> None:
    async def work() -> None:
        async with hosting(None) as host:
            named = await host.open()
            asking = [asyncio.create_task(host.post(request(n), **named)) for n in range(1, 4)]
            listening = await host.http.get(host.url, headers=dashed(named))
            await eventually(lambda: len(host.children[0].asked("x/y")) == 3, "all asked")
            host.children[0].say(result(2))
            host.children[0].die()
            told = {one["id"]: one for _, one, _ in await asyncio.gather(*asking)}  # type: ignore[index,call-overload]
            assert told[2] == result(2), "the last words are passed on"
            assert [code(told[1]), code(told[3])] == [GONE, GONE]
            assert events(await listening.read()) == []
            assert (await host.post(call(9), **named))[0] == 404
            assert len(host.posted) == 0

    run(work)


def test_a_server_that_takes_nothing_is_gone() -> None:
    async def work() -> None:
        async with hosting() as host:
            named = await host.open()
            host.children[0].is_deaf = True
            assert code(await host.ask(call(1), **named)) == GONE
            assert (await host.post(INITIALIZED, **named))[0] == 202

    run(work)


def test_a_lost_answer_is_told_to_whom_it_was_for() -> None:
    def lose(child: Child, message: Object) -> None:
        if message.get("method") == "x/y":
            child.say(Lost.of(json.dumps(message["id"]), "the connection broke"))

    async def work() -> None:
        async with hosting(lose) as host:
            named = await host.open()
            told = await asyncio.gather(*(host.ask(request(1), **named) for _ in range(3)))
            for one in told:
                assert code(one) == GONE
                assert "the connection broke" in json.dumps(one)
                assert isinstance(one, dict)
                assert one["id"] == 1

    run(work)


# --- one id, many requests ------------------------------------------------------------------------


def test_requests_with_one_id_at_once_get_each_its_own_answer() -> None:
    def reversed_(child: Child, message: Object) -> None:
        if message.get("method") == "tools/call" and len(child.asked("tools/call")) == 5:
            for one in reversed(child.asked("tools/call")):
                child.say(text_result(one["id"], one["params"]["arguments"]["text"]))  # type: ignore[index,call-overload,arg-type]

    async def work() -> None:
        async with hosting(reversed_) as host:
            named = await host.open()
            many = [host.ask(call(1, f"n{n}"), **named) for n in range(5)]
            assert await asyncio.gather(*many) == [text_result(1, f"n{n}") for n in range(5)]
            ids = [one["id"] for one in host.children[0].asked("tools/call")]
            assert ids[0] == 1
            assert len(set(map(str, ids))) == 5

    run(work)


def test_progress_of_two_that_use_one_token_reaches_each_its_own() -> None:
    def progressing(child: Child, message: Object) -> None:
        asked = child.asked("tools/call")
        if message.get("method") != "tools/call" or len(asked) < 2:
            return
        for number, one in enumerate(asked):
            token = one["params"]["_meta"]["progressToken"]  # type: ignore[index,call-overload]
            note = {"progressToken": token, "progress": number, "message": f"n{number}"}
            child.say(notification("notifications/progress", **note))
        for one in asked:
            child.say(text_result(one["id"], "fine"))

    async def work() -> None:
        async with hosting(progressing) as host:
            meta: Object = {**STATELESS, "progressToken": "p"}
            many = [host.ask(call(1, f"n{n}", _meta=meta), **R5_HEADERS) for n in range(2)]
            for number, told in enumerate(await asyncio.gather(*many)):
                assert isinstance(told, list)
                assert [one.get("params") for one in told if isinstance(one, dict)] == [
                    {"progressToken": "p", "progress": number, "message": f"n{number}"},
                    None,
                ]

    run(work)


def test_a_cancellation_names_the_request_as_it_went_up() -> None:
    async def work() -> None:
        async with hosting(None) as host:
            named = await host.open()
            child = host.children[0]
            first = asyncio.create_task(host.post(request(1), **named))
            await eventually(lambda: len(child.asked("x/y")) == 1, "the first")
            second = asyncio.create_task(host.post(request(1), **named))
            await eventually(lambda: len(child.asked("x/y")) == 2, "the second")
            cancel = notification("notifications/cancelled", requestId=1, reason="late")
            for task in (first, second):
                await host.post(cancel, **named)
                assert (await task)[1] == []
            ids = [one["id"] for one in child.asked("x/y")]
            told = [one["params"] for one in child.asked("notifications/cancelled")]
            assert [one["requestId"] for one in told if isinstance(one, dict)] == ids
            child.say(result(ids[0]))
            child.say(result(ids[1]))
            echoing = asyncio.create_task(host.post(request(2), **named))
            await eventually(lambda: len(child.asked("x/y")) == 3, "the third")
            child.say(result(2))
            assert (await echoing)[1] == result(2)
            assert "protocol.unknown-answer" not in host.records.rules, "they were expected"
            again = asyncio.create_task(host.post(request(1), **named))
            await eventually(lambda: len(child.asked("x/y")) == 4, "the fourth")
            child.say(result(child.asked("x/y")[3]["id"]))
            assert (await again)[1] == result(1)

    run(work)


@pytest.mark.parametrize("method", ["notifications\\/cancelled", "notifications/\\u0063ancelled"])
def test_a_cancellation_may_be_spelt_otherwise(method: str) -> None:
    async def work() -> None:
        async with hosting(None) as host:
            named = await host.open()
            asking = [asyncio.create_task(host.post(request(1), **named)) for _ in range(2)]
            child = host.children[0]
            await eventually(lambda: len(child.asked("x/y")) == 2, "both")
            for _ in asking:
                body = f'{{"jsonrpc":"2.0","method":"{method}","params":{{"requestId":1}}}}'
                await host.post(body.encode(), **named)
            await asyncio.gather(*asking)
            told = [one["params"]["requestId"] for one in child.asked("notifications/cancelled")]  # type: ignore[index,call-overload]
            assert sorted(map(str, told)) == sorted(str(one["id"]) for one in child.asked("x/y"))

    run(work)


# --- odd answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        '{"jsonrpc":"2.0","id":ID,"result":{"a":1,"a":2}}',
        '{"jsonrpc":"2.0","id":ID,"result":[]}',
        '{"jsonrpc":"2.0","id":ID,"result":{},"error":{"code":1,"message":"x"}}',
        '{"jsonrpc":"2.0","id":ID}',
        '{"jsonrpc":"2.0","id":ID,"error":"x"}',
        '[{"jsonrpc":"2.0","id":ID,"result":{}}]',
        '{"jsonrpc":"2.0","id":ID,"result":{"x":' + "[" * 70 + "]" * 70 + "}}",
        '{"jsonrpc":"2.0","id":ID,"result":{"x":"\\ud800"}}',
    ],
)
@pytest.mark.parametrize("at_once", [1, 2])
def test_an_answer_that_is_none_is_told_to_whom_it_was_for(answer: str, at_once: int) -> None:
    def odd(child: Child, message: Object) -> None:
        asked = child.asked("x/y")
        if message.get("method") == "x/y" and len(asked) == at_once:
            for one in asked:
                child.say(answer.replace("ID", json.dumps(one["id"])).encode())

    async def work() -> None:
        async with hosting(odd) as host:
            named = await host.open()
            for told in await asyncio.gather(
                *(host.ask(request(1), **named) for _ in range(at_once))
            ):
                one = told[0] if isinstance(told, list) else told
                assert isinstance(one, dict)
                assert one["id"] == 1
                assert "error" in one
            assert not next(iter(host.known.guard.pins), None)

    run(work)


@pytest.mark.parametrize("behind", ["", ",NaN"], ids=["whole", "broken"])
def test_an_array_of_answers_to_several_is_told_to_each(behind: str) -> None:
    def odd(child: Child, message: Object) -> None:
        asked = [json.dumps(result(one["id"])) for one in child.asked("x/y")]
        if len(asked) == 3:
            child.say(f"[{','.join(asked)}{behind}]".encode())

    async def work() -> None:
        async with hosting(odd) as host:
            named = await host.open()
            asking = [host.ask(request(id_), **named) for id_ in (1, 2, 2)]
            told = [
                in_one(one if isinstance(one, list) else [one])
                for one in await asyncio.gather(*asking)
            ]
            assert [[one["id"] for one in each] for each in told] == [[1], [2], [2]]
            assert all("error" in one for each in told for one in each)

    run(work)


def test_an_answer_to_nothing_is_dropped_and_the_rest_goes_on() -> None:
    def odd(child: Child, message: Object) -> None:
        if message.get("method") == "x/y":
            for id_ in ("1", 2, "pipeguard-1", 1, 1):
                child.say(result(id_))

    async def work() -> None:
        async with hosting(odd) as host:
            named = await host.open()
            assert await host.ask(request(1), **named) == result(1)
            await eventually(
                lambda: host.records.rules.count("protocol.unknown-answer") == 4, "four dropped"
            )

    run(work)


# --- batches --------------------------------------------------------------------------------------


def batching(child: Child, message: Object) -> None:
    """Answers a batch as one, as JSON-RPC 2.0 says (section 6)."""
    last = child.heard[-1]
    if isinstance(last, list) and message is last[-1]:
        asked = [one for one in last if isinstance(one, dict) and "id" in one]
        child.say([text_result(one["id"], "fine") for one in asked])


def in_one(told: Json) -> list[Object]:
    assert isinstance(told, list)
    flat: list[Object] = []
    for one in told:
        flat += [m for m in (one if isinstance(one, list) else [one]) if isinstance(m, dict)]
    return flat


@pytest.mark.parametrize("answering", [batching, echo])
def test_a_batch_is_answered_whole_whether_in_one_or_in_many(answering: Answering) -> None:
    async def work() -> None:
        async with hosting(answering) as host:
            named = await host.open("2025-03-26")
            batch: Json = [call(1), INITIALIZED, call("a", SECRET), call(2)]
            told = in_one(await host.ask(batch, **named))
            assert sorted(str(one["id"]) for one in told) == ["1", "2", "a"]

    run(work)


@pytest.mark.parametrize("answering", [batching, echo])
def test_batches_with_the_same_ids_at_once_are_answered_apart(answering: Answering) -> None:
    async def work() -> None:
        async with hosting(answering) as host:
            named = await host.open("2025-03-26")
            batch: Json = [call(1), call(2)]
            for told in await asyncio.gather(*(host.ask(batch, **named) for _ in range(3))):
                assert sorted(one["id"] for one in in_one(told)) == [1, 2]  # type: ignore[type-var]

    run(work)


def test_a_batch_that_asks_nothing_is_taken() -> None:
    async def work() -> None:
        async with hosting() as host:
            named = await host.open("2025-03-26")
            assert (await host.post([INITIALIZED, INITIALIZED], **named))[0] == 202
            status, told, _ = await host.post([INITIALIZED, call(1, SECRET)], **named)
            assert status == 200
            assert [one["id"] for one in in_one(told)] == [1]
            status, told, _ = await host.post([call(1, SECRET)], **named)
            assert status == 200
            assert [one["id"] for one in in_one(told)] == [1]

    run(work)


def test_an_array_for_exchanges_of_several_is_taken_apart() -> None:
    def at_once(child: Child, message: Object) -> None:
        asked = child.asked("x/y")
        if message.get("method") == "x/y" and len(asked) == 3:
            child.say([result(one["id"]) for one in asked])

    async def work() -> None:
        async with hosting(at_once) as host:
            named = await host.open("2025-03-26")
            for told in await asyncio.gather(*(host.ask(request(1), **named) for _ in range(3))):
                assert in_one(told) == [result(1)]

    run(work)


# --- what is said unasked -------------------------------------------------------------------------

NOTE = notification("notifications/message", level="info", data="x")


async def next_event(stream: aiohttp.ClientResponse) -> Json:
    async with asyncio.timeout(5):
        while not (found := events(await stream.content.readuntil(b"\n\n"))):
            pass
    return found[0]


def test_what_is_said_before_anybody_listens_is_kept_and_told_once() -> None:
    async def work() -> None:
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
                    hosted = host.posted._routers[named["Mcp_Session_Id"]]
                    await eventually(
                        lambda: len(hosted._unrequested.streams) == 1, "it was noticed"
                    )
                    child.say(NOTE)
                    assert await next_event(stream) == NOTE, "and takes over where it is not"

    run(work)


def test_each_stream_of_one_client_gets_what_is_its_own() -> None:
    """MCP 2025-11-25, basic/transports, "Multiple Connections"."""
    changed = notification("notifications/tools/list_changed")
    asks = request("q", "roots/list")

    async def work() -> None:
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

    run(work)


@pytest.mark.parametrize("method", ["tasks/result", "tasks/list"])
def test_a_method_that_was_removed_gets_the_servers_own_answer(method: str) -> None:
    def unknown(child: Child, message: Object) -> None:
        error: Object = {"code": -32601, "message": "Method not found"}
        child.say({"jsonrpc": "2.0", "id": message["id"], "error": error})

    async def work() -> None:
        async with hosting(unknown) as host:
            removed = request(1, method, taskId="t", _meta=STATELESS)
            status, told, _ = await host.post(removed, Mcp_Method=method, **R5_HEADERS)
            assert (status, code(told)) == (404, -32601)
            living = request(2, "tasks/get", taskId="t", _meta=STATELESS)
            status, told, _ = await host.post(living, Mcp_Name="other", **R5_HEADERS)
            assert (status, code(told)) == (400, -32020), "of those that are left, it is compared"

    run(work)


def test_a_request_that_was_refused_leaves_nothing_of_its_name() -> None:
    async def work() -> None:
        async with hosting() as host:
            for number in range(40):
                message = request(number, "tools/call", name=f"{number}" * 1000, _meta=STATELESS)
                status, _, _ = await host.post(message, Mcp_Name="other", **R5_HEADERS)
                assert status == 400
            assert host.known._mirrored == {}

    run(work)


def test_of_what_nobody_hears_only_so_many_bytes_are_kept() -> None:
    async def work() -> None:
        async with hosting() as host:
            named = await host.open(roots={})
            child = host.children[0]
            child.say(request("q", "roots/list"))
            for number in range(60):
                data: Json = f"{number} " * 4000
                child.say(notification("notifications/message", level="info", data=data))
            await eventually(lambda: child.heard[-1].get("id") == "q", "the request is answered")  # type: ignore[union-attr]
            hosted = host.posted._routers[named["Mcp_Session_Id"]]
            await host.ask(call(1), **named)
            unheard = hosted._unrequested
            assert unheard.unheard_bytes <= UNHEARD_BYTES
            assert sum(len(frame) for frame, _ in unheard._unheard) == unheard.unheard_bytes

    run(work)


@pytest.mark.parametrize("waits", [False, True])
def test_an_answer_comes_behind_more_than_a_client_takes(waits: bool) -> None:
    count = 3 * LIMIT_BYTES // 120_000

    async def work() -> None:
        async with hosting(None, waits=waits) as host:
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
                await eventually(child._frames.empty, "the server is read to the end")
            told = events(await answering.read())
            assert told[-1] == result(1)
            assert (len(told) == count + 1) is waits, "it misses none of a server of its own"

    run(work)


def test_of_what_nobody_hears_only_so_many_frames_are_kept() -> None:
    async def work() -> None:
        async with hosting() as host:
            named = await host.open()
            child, most = host.children[0], UNHEARD_FRAMES
            notes = [notification("notifications/x", number=number) for number in range(most + 9)]
            for note in notes:
                child.say(note)
            hosted = host.posted._routers[named["Mcp_Session_Id"]]
            await eventually(child._frames.empty, "all of it was read")
            await host.ask(call(1), **named)
            assert [json.loads(frame) for frame, _ in hosted._unrequested._unheard] == notes[9:]

    run(work)


def test_a_notification_is_judged_once_somebody_hears_it() -> None:
    async def work() -> None:
        async with hosting() as host:
            named = await host.open()
            before = len(host.records)
            first, last = [notification("notifications/x", number=number) for number in (1, 3)]
            for note in (first, notification("notifications/x", text=f"key {SECRET}"), last):
                host.children[0].say(note)
            hosted = host.posted._routers[named["Mcp_Session_Id"]]
            await eventually(lambda: len(hosted._unrequested._unheard) == 3, "all of it was read")
            assert len(host.records) == before
            async with host.http.get(host.url, headers=dashed(named)) as stream:
                told = [await next_event(stream) for _ in range(3)]
            assert (told[0], told[2]) == (first, last)
            assert SECRET not in json.dumps(told[1])
            assert len(host.records) == before + 3

    run(work)


def test_without_a_stream_it_comes_before_an_answer() -> None:
    def noting(child: Child, message: Object) -> None:
        if message.get("method") == "x/y":
            child.say(NOTE)
            child.say(result(message["id"]))

    async def work() -> None:
        async with hosting(noting) as host:
            named = await host.open()
            assert await host.ask(request(1), **named) == [NOTE, result(1)]

    run(work)


def test_a_server_asks_and_a_client_answers_with_another_post() -> None:
    def asking(child: Child, message: Object) -> None:
        if message.get("method") == "x/y":
            child.say(request("q", "roots/list"))
        elif message.get("id") == "q":
            child.say(result(1))

    async def work() -> None:
        async with hosting(asking) as host:
            named = await host.open(roots={})
            async with host.http.post(host.url, json=request(1), headers=dashed(named)) as stream:
                assert await next_event(stream) == request("q", "roots/list")
                assert (await host.post(result("q", roots=[]), **named))[0] == 202
                assert await next_event(stream) == result(1)

    run(work)


def test_a_servers_request_that_is_stopped_is_answered_to_it() -> None:
    def asking(child: Child, message: Object) -> None:
        if message.get("method") == "x/y":
            child.say(request("q", "sampling/createMessage", messages=[], maxTokens=1))
        elif message.get("id") == "q":
            assert code(message) == -32601
            child.say(result(1))

    async def work() -> None:
        async with hosting(asking) as host:
            named = await host.open()
            assert await host.ask(request(1), **named) == result(1)

    run(work)


def test_what_changed_is_told_on_the_stream_of_the_session() -> None:
    async def work() -> None:
        async with hosting() as host:
            named = await host.open()
            async with host.http.get(host.url, headers=dashed(named)) as stream:
                host.known.relist({"tool"})
                told = await next_event(stream)
                assert told == {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}

    run(work)


# --- whose a session is ---------------------------------------------------------------------------


def test_it_is_known_whose_a_session_is_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    async def work() -> None:
        async with hosting() as host:
            owners = host.known.owners

            def is_unowned() -> bool:
                return not len(owners)

            for way in ("deleted", "dead", "idle"):
                _, _, headers = await host.post(initialize(0), Who="ann")
                session_id = headers[SESSION.lower()]
                assert owners.allow(session_id, "ann")
                assert not owners.allow(session_id, "bob")
                if way == "dead":
                    host.children[-1].die()
                if way == "deleted":
                    named = {SESSION: session_id}
                    async with host.http.delete(host.url, headers=named) as answer:
                        assert answer.status == 204
                is_over = clock.pass_until(is_unowned) if way == "idle" else is_unowned
                await eventually(is_over, f"it is {way}")

    run(work)


# --- clients that leave ---------------------------------------------------------------------------


def test_a_client_that_leaves_a_session_gives_nothing_up() -> None:
    async def work() -> None:
        async with hosting(None) as host:
            named = await host.open()
            child = host.children[0]
            leaving = asyncio.create_task(host.post(request(1), **named))
            await eventually(lambda: child.asked("x/y"), "it was asked")
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            await eventually(
                lambda: not host.posted._routers[named["Mcp_Session_Id"]]._in_flight.present(),
                "it left",
            )
            assert child.asked("notifications/cancelled") == []
            child.say(NOTE)
            child.say(result(1))
            async with host.http.get(host.url, headers=dashed(named)) as stream:
                assert await next_event(stream) == NOTE, "it is not told to whoever left"
            pending = next(iter(host.known.new(None).state.pending.values()))
            assert len(pending) == 0
            session = host.posted._routers[named["Mcp_Session_Id"]].session
            await eventually(lambda: not session.waiting(), "its answer came")
            assert not next(iter(session.state.pending.values()))._exchanges

    run(work)


def test_a_client_that_leaves_a_stateless_request_gives_it_up() -> None:
    async def work() -> None:
        async with hosting(None) as host:
            leaving = asyncio.create_task(host.post(call(1, _meta=STATELESS), **R5_HEADERS))
            await eventually(lambda: host.children and host.children[0].heard, "it was asked")
            child = host.children[0]
            leaving.cancel()
            await eventually(lambda: child.asked("notifications/cancelled"), "it was given up")
            assert await asyncio.gather(leaving, return_exceptions=True)
            assert len(host.children) == 1
            told = child.asked("notifications/cancelled")[0]["params"]
            assert isinstance(told, dict)
            assert told["requestId"] == 1

    run(work)


# --- messages that stand alone (2026-07-28) -------------------------------------------------------


def test_stateless_messages_share_a_server_and_nothing_else() -> None:
    def reversed_(child: Child, message: Object) -> None:
        asked = child.asked("tools/call")
        if len(asked) == 4:
            child.say(NOTE)
            for one in reversed(asked):
                child.say(text_result(one["id"], one["params"]["arguments"]["text"]))  # type: ignore[index,call-overload,arg-type]

    async def work() -> None:
        async with hosting(reversed_) as host:
            many = [host.post(call(1, f"n{n}", _meta=STATELESS), **R5_HEADERS) for n in range(4)]
            for number, (_, told, headers) in enumerate(await asyncio.gather(*many)):
                assert told == text_result(1, f"n{number}"), "and nobody hears of the others"
                assert SESSION.lower() not in headers
            assert len(host.children) == 1

    run(work)


def test_stateless_messages_of_each_name_have_a_server_and_a_guard_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)

    async def work() -> None:
        async with hosting(quiet) as host:
            for who in ("ann", "bob", "ann", ""):
                told = await host.ask(call(1, _meta=STATELESS), Who=who, **R5_HEADERS)
                assert told == text_result(1, "fine")
            assert [len(child.heard) for child in host.children] == [2, 1, 1]
            guards = [host.known.new(R5, who).guard for who in ("ann", "bob", "")]
            assert len({id(one.flows) for one in guards}) == 3
            assert guards[0] is host.known.new(R5, "ann").guard
            never = request(2, "never", _meta=STATELESS)
            waits = asyncio.create_task(host.post(never, Who="ann", **R5_HEADERS))
            of_ann, of_bob, of_nobody = host.children
            await eventually(lambda: of_ann.asked("never"), "it was asked")
            await eventually(clock.pass_until(lambda: of_bob.is_closed), "bob's was idle")
            await eventually(clock.pass_until(lambda: of_nobody.is_closed), "so was the other")
            assert not of_ann.is_closed
            again = await host.ask(call(1, _meta=STATELESS), Who="bob", **R5_HEADERS)
            assert again == text_result(1, "fine")
            assert len(host.children) == 4
            waits.cancel()

    run(work)


def test_a_stateless_client_cannot_give_up_what_another_asked() -> None:
    async def work() -> None:
        async with hosting(None) as host:
            asking = asyncio.create_task(host.post(call(1, _meta=STATELESS), **R5_HEADERS))
            await eventually(lambda: host.children and host.children[0].heard, "it was asked")
            cancel = notification("notifications/cancelled", requestId=1, _meta=STATELESS)
            assert (await host.post(cancel, **R5_HEADERS))[0] == 202
            host.children[0].say(text_result(1, "fine"))
            assert (await asking)[1] == text_result(1, "fine")
            assert len(host.children[0].heard) == 1

    run(work)


def test_a_subscription_is_told_under_the_id_that_its_client_gave() -> None:
    key = "io.modelcontextprotocol/subscriptionId"

    def acknowledging(child: Child, message: Object) -> None:
        asked = child.asked("subscriptions/listen")
        if len(asked) < 2:
            return
        for number, one in enumerate(asked):
            meta: Object = {key: one["id"]}
            note = notification("notifications/tools/list_changed", _meta=meta, n=number)
            child.say(note)
            child.say(result(one["id"], _meta=meta, n=number))

    async def work() -> None:
        async with hosting(acknowledging) as host:
            listen = request(1, "subscriptions/listen", notifications={}, _meta=STATELESS)
            many = [host.ask(listen, **R5_HEADERS) for _ in range(2)]
            for number, told in enumerate(await asyncio.gather(*many)):
                assert told == [
                    notification("notifications/tools/list_changed", _meta={key: 1}, n=number),
                    result(1, _meta={key: 1}, n=number),
                ]

    run(work)


def test_what_changed_is_told_on_the_subscription_that_asked_for_it() -> None:
    def granting(child: Child, message: Object) -> None:
        if message["method"] != LISTEN:
            return
        meta: Object = {SUBSCRIPTION_META: message["id"]}
        wanted: Object = {"toolsListChanged": True}
        child.say(notification(ACKNOWLEDGED, notifications=wanted, _meta=meta))

    async def work() -> None:
        async with hosting(granting) as host:
            headers = {VERSION: R5, "Mcp-Method": LISTEN}
            asking: list[aiohttp.ClientResponse] = []
            for wanted in ({"toolsListChanged": True}, {"promptsListChanged": True}):
                asked = request(1, LISTEN, notifications=dict(wanted), _meta=STATELESS)
                stream = await host.http.post(host.url, json=asked, headers=headers)
                told = await next_event(stream)
                assert isinstance(told, dict)
                assert told["method"] == ACKNOWLEDGED
                asking.append(stream)
            host.known.relist({"tool"})
            meta: Object = {SUBSCRIPTION_META: 1}
            told = await next_event(asking[0])
            assert told == notification("notifications/tools/list_changed", _meta=meta)
            asking[0].close()
            await eventually(
                lambda: len(host.known._with_subscribers) == 1, "nobody listens there any more"
            )
            host.children[0].die()
            last = await next_event(asking[1])
            assert code(last) == GONE, "and nothing that was not asked for came before"
            await eventually(lambda: not host.known._with_subscribers, "it is over")
            asking[1].close()

    run(work)


def test_stateless_batches_are_refused() -> None:
    async def work() -> None:
        async with hosting() as host:
            batch: Json = [call(1, _meta=STATELESS), call(2, _meta=STATELESS)]
            _, told, _ = await host.post(batch, **R5_HEADERS)
            assert [code(one) for one in in_one(told)] == [-32600, -32600]
            assert code(await host.ask(batch)) == -32600
            assert all(child.heard == [] for child in host.children)

    run(work)


def test_headers_that_say_otherwise_are_refused() -> None:
    async def work() -> None:
        async with hosting() as host:
            status, told, _ = await host.post(
                call(1, _meta=STATELESS), Mcp_Name="other", **R5_HEADERS
            )
            assert (status, code(told)) == (400, -32020)
            assert host.children == []

    run(work)


def test_a_shared_server_that_dies_is_started_again() -> None:
    async def work() -> None:
        async with hosting(None) as host:
            asking = asyncio.create_task(host.post(call(1, _meta=STATELESS), **R5_HEADERS))
            await eventually(lambda: host.children and host.children[0].heard, "it was asked")
            host.children[0].die()
            assert code((await asking)[1]) == GONE
            again = asyncio.create_task(host.post(call(2, _meta=STATELESS), **R5_HEADERS))
            await eventually(lambda: len(host.children) == 2, "another")
            await eventually(lambda: host.children[1].heard, "it was asked")
            host.children[1].say(text_result(2, "fine"))
            assert (await again)[1] == text_result(2, "fine")

    run(work)


# --- what cannot be recorded ----------------------------------------------------------------------


def test_what_cannot_be_recorded_does_not_pass_and_nobody_waits_for_it() -> None:
    full = False

    def record(_: object) -> None:
        if full:
            raise StateError("the audit cannot be written")

    async def work() -> None:
        nonlocal full
        async with hosting(None, record=record) as host:
            named = await host.open()
            asking = asyncio.create_task(host.post(call(1), **named))
            await eventually(lambda: host.children[0].asked("tools/call"), "it was asked")
            full = True
            host.children[0].say(text_result(1, "fine"))
            status, told, _ = await asking
            assert (status, told) == (200, []), "the stream ends without it"
            status, _, _ = await host.post(call(2), **named)
            assert status in (404, 500)
            assert len(host.children[0].asked("tools/call")) == 1

    run(work)
