"""The only loop once more, on an event loop: read, judge, record, write. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from pipeguard.core.finding import Direction, Verdict
from pipeguard.core.session.session import Session
from pipeguard.transports.bounded import Allowance
from pipeguard.transports.channel import AsyncChannel

LARGE_BYTES = 64 * 1024  # judged in about 5 ms
HUGE_BYTES = 2**20  # of these one is judged at a time: that takes ten times its size in memory
_ASIDE, _HUGE = Allowance(16, HUGE_BYTES), Allowance(1)


async def carry(
    session: Session,
    direction: Direction,
    source: AsyncChannel,
    sink: AsyncChannel,
    record: Callable[[Verdict], None],
) -> None:
    """Carry frames one way until their source ends; its twin is another task.

    Raises:
        ChannelClosed: a side that was to be written to is gone.
    """
    while (frame := await source.read()) is not None:
        verdict = await judged(session, direction, frame)
        record(verdict)
        if verdict.forward is not None:
            await sink.write(verdict.forward)
            for frame in verdict.more:
                await sink.write(frame)
        if verdict.reply is not None:
            await source.write(verdict.reply)
        await asyncio.sleep(0)  # a source that has the next one already would keep others waiting


async def judged(session: Session, direction: Direction, frame: bytes) -> Verdict:
    """Judge a frame on an event loop; a large one beside it, so that no other has to wait."""
    if len(frame) < LARGE_BYTES:
        return session.receive(direction, frame, monotonic())
    lane = _ASIDE if len(frame) < HUGE_BYTES else _HUGE
    await lane.enter(len(frame))
    try:
        return await asyncio.to_thread(session.receive_concurrently, direction, frame, monotonic())
    finally:
        lane.leave(len(frame))
