"""Streamable HTTP for servers of another transport: sessions, from their openings to their ends."""

import asyncio
import json

import aiohttp
import pytest

from pipeguard.detect.detector import get_detection
from pipeguard.errors import StateError
from pipeguard.firewall.protocol.framing import Lost
from pipeguard.firewall.protocol.methods import ACKNOWLEDGED, LISTEN, SUBSCRIPTION_META
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.http.server import streamable
from pipeguard.transports.http.server.exchange_router import present
from tests.transports.http.server.hosting import (
    NOTE,
    R5,
    R5_HEADERS,
    Child,
    Clock,
    dashed,
    hosting,
    in_one,
    next_event,
    quiet,
)
from tests.transports.talking import (
    GONE,
    INITIALIZED,
    SECRET,
    SESSION,
    STATELESS,
    VERSION,
    Json,
    Object,
    at,
    call,
    code,
    events,
    initialize,
    notification,
    request,
    result,
    text_result,
)
from tests.transports.wire import eventually

# --- sessions -------------------------------------------------------------------------------------


async def test_a_session_is_a_server_of_its_own_from_its_opening_to_its_end() -> None:
    async with hosting() as host:
        one, two = await host.open(), await host.open()
        assert one != two
        assert await host.ask(call(1), **one) == text_result(1, "fine")
        assert len(host.children) == len(host.posted._routers) == 2
        assert [len(child.heard) for child in host.children] == [3, 2]
        async with host.http.delete(host.url, headers=dashed(one)) as answer:
            assert answer.status == 204
        assert host.children[0].is_closed
        assert not host.children[1].is_closed
        status, told, _ = await host.post(call(2), **one)
        assert (status, code(told)) == (404, -32001)
        assert at(told, "id") == 2


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_session_that_is_not_there_is_no_session_that_is_not_named(method: str) -> None:
    async with hosting() as host:
        for headers, status in (({}, 400), ({SESSION: "other"}, 404), ({VERSION: R5}, 405)):
            async with host.http.request(method, host.url, headers=headers) as answer:
                assert answer.status == status


async def test_only_an_opening_opens_a_session() -> None:
    async with hosting() as host:
        odd: list[Json | bytes] = [call(1), INITIALIZED, [initialize()]]
        for message in [*odd, b"{", b"1", b'{"a":1,"a":1}']:
            status, told, _ = await host.post(message)
            assert status == 400
            assert isinstance(told, dict)
            assert "error" in told
        assert host.children == []
        assert (await host.post(call(1), Mcp_Session_Id="other"))[0] == 404


async def test_an_opening_that_is_stopped_leaves_no_server_behind() -> None:
    async with hosting() as host:
        stopped = initialize(0, "2025-06-18", experimental={"x": {"key": SECRET}})
        status, told, headers = await host.post(stopped)
        assert status == 200
        assert SESSION.lower() not in headers
        assert isinstance(told, dict)
        assert "error" in told
        assert all(child.is_closed for child in host.children)
        assert len(host.posted._routers) == 0


async def test_a_server_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> Child:
        raise ChannelClosed("no such program")

    async with hosting(dial=fails) as host:
        assert host.posted.is_ready()
        status, told, _ = await host.post(initialize("a"))
        assert (status, code(told)) == (200, GONE)
        assert "no such program" in json.dumps(told)
        assert code(await host.ask(call(1, _meta=STATELESS), **R5_HEADERS)) == GONE
        assert not host.posted.is_ready()
        monkeypatch.setattr(streamable, "RETRY_SECONDS", 0.0)
        assert host.posted.is_ready()


async def test_there_are_only_so_many_sessions_also_where_all_come_at_once() -> None:
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


async def test_an_idle_session_ends_and_a_used_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
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


async def test_an_idle_session_ends_after_a_lost_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    async with hosting(None) as host:
        named = await host.open()
        asking = asyncio.create_task(host.post(request(1), **named))
        await eventually(lambda: host.children[0].asked("x/y"), "it was asked")
        await host.post(notification("notifications/cancelled", requestId=1), **named)
        status, told, _ = await asking
        assert (status, told) == (200, []), "no answer will come, so the stream ends"
        await eventually(clock.pass_until(lambda: host.children[0].is_closed), "it ended")


async def test_a_server_that_dies_ends_its_session_and_all_that_waits() -> None:
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
        assert len(host.posted._routers) == 0


async def test_a_server_that_takes_nothing_is_gone() -> None:
    async with hosting() as host:
        named = await host.open()
        host.children[0].is_deaf = True
        assert code(await host.ask(call(1), **named)) == GONE
        assert (await host.post(INITIALIZED, **named))[0] == 202


async def test_a_lost_answer_is_told_to_whom_it_was_for() -> None:
    def lose(child: Child, message: Object) -> None:
        if message.get("method") == "x/y":
            child.say(Lost.of(json.dumps(message["id"]), "the connection broke"))

    async with hosting(lose) as host:
        named = await host.open()
        told = await asyncio.gather(*(host.ask(request(1), **named) for _ in range(3)))
        for one in told:
            assert code(one) == GONE
            assert "the connection broke" in json.dumps(one)
            assert at(one, "id") == 1


# --- whose a session is ---------------------------------------------------------------------------


async def test_it_is_known_whose_a_session_is_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    async with hosting() as host:
        owners = host.known.owners

        def is_unowned() -> bool:
            return not len(owners._names)

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


# --- clients that leave ---------------------------------------------------------------------------


async def test_a_client_that_leaves_a_session_gives_nothing_up() -> None:
    async with hosting(None) as host:
        named = await host.open()
        child = host.children[0]
        leaving = asyncio.create_task(host.post(request(1), **named))
        await eventually(lambda: child.asked("x/y"), "it was asked")
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await eventually(
            lambda: not present(host.posted._routers[named["Mcp_Session_Id"], None]._ids), "it left"
        )
        assert child.asked("notifications/cancelled") == []
        child.say(NOTE)
        child.say(result(1))
        async with host.http.get(host.url, headers=dashed(named)) as stream:
            assert await next_event(stream) == NOTE, "it is not told to whoever left"
        pending = next(iter(host.known.new(None).state.pending.values()))
        assert pending.all() == []
        session = host.posted._routers[named["Mcp_Session_Id"], None].session
        await eventually(lambda: not session.state.waiting_ids(), "its answer came")
        assert not next(iter(session.state.pending.values()))._exchanges


async def test_a_client_that_leaves_a_stateless_request_gives_it_up() -> None:
    async with hosting(None) as host:
        leaving = asyncio.create_task(host.post(call(1, _meta=STATELESS), **R5_HEADERS))
        await eventually(lambda: host.children and host.children[0].heard, "it was asked")
        child = host.children[0]
        leaving.cancel()
        await eventually(lambda: child.asked("notifications/cancelled"), "it was given up")
        assert await asyncio.gather(leaving, return_exceptions=True)
        assert len(host.children) == 1
        told = child.asked("notifications/cancelled")[0]["params"]
        assert at(told, "requestId") == 1


# --- messages that stand alone (2026-07-28) -------------------------------------------------------


async def test_stateless_messages_share_a_server_and_nothing_else() -> None:
    def reversed_(child: Child, message: Object) -> None:
        asked = child.asked("tools/call")
        if len(asked) == 4:
            child.say(NOTE)
            for one in reversed(asked):
                child.say(text_result(one["id"], one["params"]["arguments"]["text"]))  # type: ignore[index,call-overload,arg-type]

    async with hosting(reversed_) as host:
        many = [host.post(call(1, f"n{n}", _meta=STATELESS), **R5_HEADERS) for n in range(4)]
        for number, (_, told, headers) in enumerate(await asyncio.gather(*many)):
            assert told == text_result(1, f"n{number}"), "and nobody hears of the others"
            assert SESSION.lower() not in headers
        assert len(host.children) == 1


async def test_stateless_messages_of_each_name_have_a_server_and_a_guard_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    async with hosting(quiet) as host:
        for who in ("ann", "bob", "ann", ""):
            told = await host.ask(call(1, _meta=STATELESS), Who=who, **R5_HEADERS)
            assert told == text_result(1, "fine")
        assert [len(child.heard) for child in host.children] == [2, 1, 1]
        guards = [host.known.new(R5, who).guard for who in ("ann", "bob", "")]
        assert len({id(get_detection(one).knowledge.flows) for one in guards}) == 3
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


async def test_a_stateless_client_cannot_give_up_what_another_asked() -> None:
    async with hosting(None) as host:
        asking = asyncio.create_task(host.post(call(1, _meta=STATELESS), **R5_HEADERS))
        await eventually(lambda: host.children and host.children[0].heard, "it was asked")
        cancel = notification("notifications/cancelled", requestId=1, _meta=STATELESS)
        assert (await host.post(cancel, **R5_HEADERS))[0] == 202
        host.children[0].say(text_result(1, "fine"))
        assert (await asking)[1] == text_result(1, "fine")
        assert len(host.children[0].heard) == 1


async def test_what_changed_is_told_on_the_subscription_that_asked_for_it() -> None:
    def granting(child: Child, message: Object) -> None:
        if message["method"] != LISTEN:
            return
        meta: Object = {SUBSCRIPTION_META: message["id"]}
        wanted: Object = {"toolsListChanged": True}
        child.say(notification(ACKNOWLEDGED, notifications=wanted, _meta=meta))

    async with hosting(granting) as host:
        headers = {VERSION: R5, "Mcp-Method": LISTEN}
        asking: list[aiohttp.ClientResponse] = []
        for wanted in ({"toolsListChanged": True}, {"promptsListChanged": True}):
            asked = request(1, LISTEN, notifications=dict(wanted), _meta=STATELESS)
            stream = await host.http.post(host.url, json=asked, headers=headers)
            told = await next_event(stream)
            assert at(told, "method") == ACKNOWLEDGED
            asking.append(stream)
        host.known.relist(frozenset({"tool"}))
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


async def test_stateless_batches_are_refused() -> None:
    async with hosting() as host:
        batch: Json = [call(1, _meta=STATELESS), call(2, _meta=STATELESS)]
        _, told, _ = await host.post(batch, **R5_HEADERS)
        assert [code(one) for one in in_one(told)] == [-32600, -32600]
        assert code(await host.ask(batch)) == -32600
        assert all(child.heard == [] for child in host.children)


async def test_a_shared_server_that_dies_is_started_again() -> None:
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


# --- what cannot be recorded ----------------------------------------------------------------------


async def test_what_cannot_be_recorded_does_not_pass_and_nobody_waits_for_it() -> None:
    full = False

    def record(_: object) -> None:
        if full:
            raise StateError("the audit cannot be written")

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
