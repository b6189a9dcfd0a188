"""Judging on an event loop: everybody has a turn. transports/judging.py."""

from __future__ import annotations

import asyncio
import json

import pytest

from pipeguard.core.finding import Action, Direction
from pipeguard.transports.judging import HUGE_BYTES, LARGE_BYTES, Judge, judge_frame
from pipeguard.transports.pump import pump
from tests.transports.talking import Records, call, make_sessions
from tests.transports.wire import run

TO_SERVER = Direction.TO_SERVER
NOTIFICATION = json.dumps({"jsonrpc": "2.0", "method": "notifications/x"}).encode()

pytestmark = pytest.mark.usefixtures("_compiled_rules")


class Ready:
    """A channel whose frames are all there already."""

    def __init__(self, count: int = 0) -> None:
        self.left = [NOTIFICATION] * count
        self.written: list[bytes] = []

    async def read(self) -> bytes | None:
        return self.left.pop() if self.left else None

    async def write(self, frame: bytes) -> None:
        self.written.append(frame)

    async def close(self) -> None:
        pass


def test_others_have_their_turn_while_a_source_has_its_next_frame_ready() -> None:
    async def work() -> None:
        session, records, sink = make_sessions().new("2025-06-18"), Records(), Ready()
        task = asyncio.create_task(pump(session, TO_SERVER, Ready(100), sink, Judge(records)))
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns >= 100
        assert sink.written == [NOTIFICATION] * 100
        assert len(records) == 100

    run(work)


@pytest.mark.parametrize("size", [LARGE_BYTES, HUGE_BYTES])
def test_a_large_frame_is_judged_while_others_have_their_turn(size: int) -> None:
    async def work() -> None:
        session = make_sessions().new("2025-06-18")
        frame = json.dumps(call(1, "word " * (size // 5))).encode()
        large = asyncio.create_task(judge_frame(session, TO_SERVER, frame))
        await asyncio.sleep(0)
        assert not large.done()
        small = await judge_frame(session.fork(), TO_SERVER, NOTIFICATION)
        assert small.forward is NOTIFICATION
        verdict = await large
        assert verdict.action is Action.ALLOW
        assert verdict.forward is frame

    run(work)
