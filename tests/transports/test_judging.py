"""Judging on an event loop: everybody has a turn. transports/judging.py."""

import asyncio
import json
import threading
from contextlib import suppress
from functools import partial
from typing import ClassVar

import pytest

from pipeguard import Policy, Session, make_guard
from pipeguard.firewall.finding import Action, Direction, MessageKind, Verdict
from pipeguard.firewall.protocol.framing import KnownResult
from pipeguard.firewall.protocol.strict_json import ParsedFrame
from pipeguard.firewall.session.events import Frame
from pipeguard.firewall.session.session import Event
from pipeguard.transports.judging import (
    HUGE_BYTES,
    LARGE_BYTES,
    SMALL_BYTES,
    Judge,
    judge_frame,
    to_frame,
)
from pipeguard.transports.pump import pump
from tests.firewall.session.talk import KEY
from tests.fuzz.rulebook import engines
from tests.transports.talking import Records, call, make_sessions, notification, text_result
from tests.transports.wire import PATIENCE_SECONDS, run

TO_SERVER, REQUEST = Direction.TO_SERVER, MessageKind.REQUEST
NOTIFICATION = json.dumps({"jsonrpc": "2.0", "method": "notifications/x"}).encode()


class Ready:
    """A channel whose frames are all there already."""

    def __init__(self, count: int = 0) -> None:
        self.left = [NOTIFICATION] * count
        self.to_bytes: list[bytes] = []

    async def read(self) -> bytes | None:
        return self.left.pop() if self.left else None

    async def write(self, frame: bytes) -> None:
        self.to_bytes.append(frame)

    async def close(self) -> None:
        pass


async def test_others_have_their_turn_while_a_source_has_its_next_frame_ready() -> None:
    session, records, sink = make_sessions().new("2025-06-18"), Records(), Ready()
    task = asyncio.create_task(pump(session, TO_SERVER, Ready(100), sink, Judge(records)))
    turns = 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 100
    assert sink.to_bytes == [NOTIFICATION] * 100
    assert len(records) == 100


class Watched(Session):
    """A Session that notes which threads judge, and how many of them at once."""

    threads: ClassVar[list[int]] = []
    at_once: ClassVar[list[int]] = [0, 0]  # now, and at most
    began = threading.Event()

    def take(self, event: Event) -> Verdict:
        self.threads.append(threading.get_ident())
        if not getattr(event, "is_aside", False):
            return super().take(event)
        self.at_once[0] += 1
        self.at_once[1] = max(self.at_once)
        self.began.set()
        try:
            return super().take(event)
        finally:
            self.at_once[0] -= 1


def watched() -> Watched:
    guard = make_guard("demo", engines(), Policy(), {}, b"k" * 32)
    session = Watched(guard, "WATCHED", "2025-06-18")
    session.began.clear()
    session.threads.clear()
    session.at_once[:] = [0, 0]
    return session


def sized(id_: int, size: int) -> bytes:
    return json.dumps(call(id_, "word " * (size // 5))).encode()


async def test_only_what_is_judged_soon_is_judged_on_the_loop() -> None:
    session, own = watched(), threading.get_ident()
    for number, size in enumerate([10, SMALL_BYTES, 10, LARGE_BYTES, HUGE_BYTES, 10]):
        await judge_frame(session, TO_SERVER, sized(number, size))
    soon = "\n".join(f"Row {number} is done." for number in range(500))
    for number, text in enumerate([soon, soon + KEY, soon * 4]):
        told = json.dumps(text_result(number, text)).encode()
        await judge_frame(session, Direction.TO_CLIENT, told)
    on_loop = [thread == own for thread in session.threads]
    assert on_loop[:6] == [True, False, True, False, False, True]
    assert on_loop[6:] == [True, True, False, False], "what has a match begins there"
    assert session.state.waiting_ids() == ["3", "4", "5"]


@pytest.mark.parametrize("waits", ["tools/call", "resources/read", ""])
def test_a_known_result_is_judged_on_the_loop_only_where_it_need_not_be_read(waits: str) -> None:
    told = {"jsonrpc": "2.0", "id": 1, "result": {"content": [], "rows": "word " * LARGE_BYTES}}

    async def work(*, inspects: bool) -> list[bool]:
        session, own = watched(), threading.get_ident()
        session.guard.inspects = inspects
        if waits:
            params = {"name": "a", "uri": "file:///a"}
            asked = {"jsonrpc": "2.0", "id": 1, "method": waits, "params": params}
            session.take(Frame(TO_SERVER, json.dumps(asked).encode(), 0.0))
        session.threads.clear()
        known = KnownResult.of(json.dumps(told).encode(), "1")
        verdict = await judge_frame(session, Direction.TO_CLIENT, known)
        assert (verdict.forward == known) is bool(waits)
        return [thread == own for thread in session.threads]

    assert run(partial(work, inspects=False)) == [waits == "tools/call"]
    assert run(partial(work, inspects=True)) == [False]


@pytest.mark.parametrize("keeps_values", [False, True])
async def test_a_large_frame_has_its_value_only_if_read_at_once(*, keeps_values: bool) -> None:
    session = watched()
    session.keeps_values = keeps_values
    asked = sized(1, LARGE_BYTES)
    told = json.dumps(text_result(1, "word " * LARGE_BYTES)).encode()
    verdict = await judge_frame(session, TO_SERVER, asked)
    assert not isinstance(verdict.forward, ParsedFrame)
    broken = await judge_frame(session, Direction.TO_CLIENT, told[:-1])
    assert broken.action is Action.BLOCK
    await judge_frame(session, TO_SERVER, asked)
    verdict = await judge_frame(session, Direction.TO_CLIENT, told)
    assert verdict.forward == told
    assert isinstance(verdict.forward, ParsedFrame) is keeps_values
    assert not isinstance(await to_frame({"x" * LARGE_BYTES: "x"}), ParsedFrame)


async def test_the_first_frame_waits_in_a_thread_for_what_any_text_needs() -> None:
    session = watched()
    was_loaded = session.guard.source.is_loaded
    first = asyncio.create_task(judge_frame(session, TO_SERVER, NOTIFICATION))
    await asyncio.sleep(0)
    assert not first.done()
    await first
    assert (was_loaded, session.guard.source.is_loaded) == (False, True)
    again = asyncio.create_task(judge_frame(session, TO_SERVER, NOTIFICATION))
    await asyncio.sleep(0)
    assert again.done(), "any other is judged at once"


@pytest.mark.parametrize("size", [SMALL_BYTES, LARGE_BYTES, HUGE_BYTES])
async def test_a_cancellation_comes_after_the_request_that_it_cancels(size: int) -> None:
    session = watched()
    await judge_frame(session, TO_SERVER, NOTIFICATION)
    cancelled = notification("notifications/cancelled", requestId=1)
    done: list[str] = []

    async def judge(name: str, frame: bytes) -> Verdict:
        verdict = await judge_frame(session.fork(), TO_SERVER, frame)
        done.append(name)
        return verdict

    large = asyncio.create_task(judge("request", sized(1, size)))
    await asyncio.sleep(0)
    after = asyncio.create_task(judge("cancellation", json.dumps(cancelled).encode()))
    other = asyncio.create_task(judge("other", json.dumps(call(2)).encode()))
    assert (await after).forward is not None
    assert (await other).forward is not None
    assert (await large).forward is not None
    assert [name for name in done if name != "other"] == ["request", "cancellation"]
    assert done[0] == "other", "a request waits for none"


async def test_who_leaves_while_it_is_judged_leaves_a_record_and_nothing_else() -> None:
    session, records = watched(), Records()
    judge = Judge(records)
    await judge(session, TO_SERVER, NOTIFICATION)
    for number in range(1, 4):
        exchange = session.fork()
        large = asyncio.create_task(
            judge(exchange, TO_SERVER, sized(number, HUGE_BYTES + 5 * number))
        )
        assert await asyncio.to_thread(session.began.wait, PATIENCE_SECONDS)
        session.began.clear()
        large.cancel()
        with suppress(asyncio.CancelledError):
            await large
        exchange.leave()
        assert session.at_once[1] == 1, "a thread is counted until it is done"
        last = await judge(session.fork(), TO_SERVER, sized(99 + number, HUGE_BYTES))
        session.began.clear()
        assert last.forward is not None
    assert [record.kind for record in records] == [records[0].kind, *[REQUEST] * 6]
    assert session.state.waiting_ids() == [f"{99 + number}" for number in range(1, 4)]
