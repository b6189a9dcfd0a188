"""Exchanges that share a channel: each gets its own answers. exchange_router.py."""

import asyncio
import json
from collections.abc import Callable

import pytest

from pipeguard.transports.bounded import SMALL_BYTES, Backlog
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.http.server.exchange_router import ExchangeRouter
from pipeguard.transports.judging import Judge
from tests.transports.http.server.hosting import (
    R5_HEADERS,
    Answering,
    Child,
    batching,
    echo,
    hosting,
    in_one,
)
from tests.transports.talking import (
    INITIALIZED,
    SECRET,
    STATELESS,
    Json,
    Object,
    Records,
    at,
    call,
    code,
    make_sessions,
    notification,
    request,
    result,
    text_result,
)
from tests.transports.wire import eventually

# --- one id, many requests ------------------------------------------------------------------------


async def test_requests_with_one_id_at_once_get_each_its_own_answer() -> None:
    def reversed_(child: Child, message: Object) -> None:
        if message.get("method") == "tools/call" and len(child.asked("tools/call")) == 5:
            for one in reversed(child.asked("tools/call")):
                child.say(text_result(one["id"], one["params"]["arguments"]["text"]))  # type: ignore[index,call-overload,arg-type]

    async with hosting(reversed_) as host:
        named = await host.open()
        many = [host.ask(call(1, f"n{n}"), **named) for n in range(5)]
        assert await asyncio.gather(*many) == [text_result(1, f"n{n}") for n in range(5)]
        ids = [one["id"] for one in host.children[0].asked("tools/call")]
        assert ids[0] == 1
        assert len(set(map(str, ids))) == 5


async def test_progress_of_two_that_use_one_token_reaches_each_its_own() -> None:
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

    async with hosting(progressing) as host:
        meta: Object = {**STATELESS, "progressToken": "p"}
        many = [host.ask(call(1, f"n{n}", _meta=meta), **R5_HEADERS) for n in range(2)]
        for number, told in enumerate(await asyncio.gather(*many)):
            assert isinstance(told, list)
            assert [one.get("params") for one in told if isinstance(one, dict)] == [
                {"progressToken": "p", "progress": number, "message": f"n{number}"},
                None,
            ]


@pytest.mark.parametrize("respell", [str, float])
async def test_an_answer_with_the_digits_of_an_id_reaches_its_exchange(
    respell: Callable[[str], str | float],
) -> None:
    async with hosting(None) as host:
        named = await host.open()
        child = host.children[0]
        asking = asyncio.create_task(host.post(request(7), **named))
        await eventually(lambda: len(child.asked("x/y")) == 1, "it")
        child.say({**result(7), "id": respell(str(child.asked("x/y")[0]["id"]))})
        assert (await asking)[1] == result(7)


async def test_a_cancellation_names_the_request_as_it_went_up() -> None:
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


@pytest.mark.parametrize("method", ["notifications\\/cancelled", "notifications/\\u0063ancelled"])
async def test_a_cancellation_may_be_spelt_otherwise(method: str) -> None:
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
async def test_an_answer_that_is_none_is_told_to_whom_it_was_for(answer: str, at_once: int) -> None:
    def odd(child: Child, message: Object) -> None:
        asked = child.asked("x/y")
        if message.get("method") == "x/y" and len(asked) == at_once:
            for one in asked:
                child.say(answer.replace("ID", json.dumps(one["id"])).encode())

    async with hosting(odd) as host:
        named = await host.open()
        for told in await asyncio.gather(*(host.ask(request(1), **named) for _ in range(at_once))):
            one = told[0] if isinstance(told, list) else told
            assert at(one, "id") == 1
            assert code(one)
        assert not next(iter(host.known.guard.pins.all()), None)


@pytest.mark.parametrize("behind", ["", ",NaN"], ids=["whole", "broken"])
async def test_an_array_of_answers_to_several_is_told_to_each(behind: str) -> None:
    def odd(child: Child, message: Object) -> None:
        asked = [json.dumps(result(one["id"])) for one in child.asked("x/y")]
        if len(asked) == 3:
            asked += [asked[0], json.dumps(request(9, "roots/list"))]
            child.say(f"[{','.join(asked)}{behind}]".encode())

    async with hosting(odd) as host:
        named = await host.open()
        asking = [host.ask(request(id_), **named) for id_ in (1, 2, 2)]
        told = [
            in_one(one if isinstance(one, list) else [one]) for one in await asyncio.gather(*asking)
        ]
        assert [[one["id"] for one in each] for each in told] == [[1], [2], [2]]
        assert all("error" in one for each in told for one in each)
        own = [
            one for one in host.children[0].heard if isinstance(one, dict) and one.get("id") == 9
        ]
        assert [code(one) for one in own] == ([] if behind else [-32601]), "its own request"


async def test_an_answer_to_nothing_is_dropped_and_the_rest_goes_on() -> None:
    def odd(child: Child, message: Object) -> None:
        if message.get("method") == "x/y":
            for id_ in ("1", 2, "pipeguard-1", 1, 1):
                child.say(result(id_))

    async with hosting(odd) as host:
        named = await host.open()
        assert await host.ask(request(1), **named) == result(1)
        await eventually(
            lambda: host.records.rules.count("protocol.unknown-answer") == 4, "four dropped"
        )


# --- batches --------------------------------------------------------------------------------------


@pytest.mark.parametrize("answering", [batching, echo])
async def test_a_batch_is_answered_whole_whether_in_one_or_in_many(answering: Answering) -> None:
    async with hosting(answering) as host:
        named = await host.open("2025-03-26")
        batch: Json = [call(1), INITIALIZED, call("a", SECRET), call(2)]
        told = in_one(await host.ask(batch, **named))
        assert sorted(str(one["id"]) for one in told) == ["1", "2", "a"]


@pytest.mark.parametrize("answering", [batching, echo])
async def test_batches_with_the_same_ids_at_once_are_answered_apart(answering: Answering) -> None:
    async with hosting(answering) as host:
        named = await host.open("2025-03-26")
        batch: Json = [call(1), call(2)]
        for told in await asyncio.gather(*(host.ask(batch, **named) for _ in range(3))):
            assert sorted(one["id"] for one in in_one(told)) == [1, 2]  # type: ignore[type-var]


async def test_all_that_is_unsent_of_a_batch_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    writes = asyncio.Event()

    async def write(_: bytes) -> None:
        writes.set()
        await asyncio.Event().wait()

    async with hosting() as host:
        named = await host.open("2025-03-26")
        monkeypatch.setattr(host.children[0], "write", write)
        asking = asyncio.create_task(host.post([call(1), call(2, "x" * 10**5)], **named))
        await writes.wait()
        assert host.posted._backlog._total > 10**5 - SMALL_BYTES
        asking.cancel()


class EndedServer:
    """A server that has ended: its pipe takes frames until it is closed, which takes a while."""

    def __init__(self) -> None:
        self.closing = asyncio.Event()
        self.may_close = asyncio.Event()

    async def read(self) -> bytes | None:
        return None

    async def write(self, frame: bytes) -> None:
        """Discard a frame."""

    async def close(self) -> None:
        self.closing.set()
        await self.may_close.wait()


async def test_what_is_sent_to_a_server_that_has_ended_does_not_wait_for_an_answer() -> None:
    server, session = EndedServer(), make_sessions().new(None)
    router = ExchangeRouter(server, session, Judge(Records()), backlog=Backlog())
    router.begin(lambda: None)
    await server.closing.wait()
    with pytest.raises(ChannelClosed):
        await router.send(b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
    server.may_close.set()
    await router.close()
