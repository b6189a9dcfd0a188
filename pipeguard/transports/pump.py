"""The only loop: read, judge, record, write. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from pipeguard.core.finding import Direction, Verdict
from pipeguard.core.session import Session
from pipeguard.transports.channel import AsyncChannel, Channel

LARGE_BYTES = 64 * 1024  # judged in about 5 ms


def pump(
    session: Session,
    direction: Direction,
    source: Channel,
    sink: Channel,
    record: Callable[[Verdict], None],
) -> None:
    """Carry frames one way until their source ends; its twin in a second thread carries the other.

    Args:
        session: decides about each frame.
        direction: which way this is.
        source: where frames come from, and replies to them go.
        sink: where frames go.
        record: hands over and returns: the audit is written behind the pump.

    Raises:
        ChannelClosed: a side that was to be written to is gone.
    """
    while (frame := source.read()) is not None:
        verdict = session.receive(direction, frame, monotonic())
        record(verdict)
        if verdict.forward is not None:
            sink.write(verdict.forward)
        if verdict.reply is not None:
            source.write(verdict.reply)


async def carry(
    session: Session,
    direction: Direction,
    source: AsyncChannel,
    sink: AsyncChannel,
    record: Callable[[Verdict], None],
) -> None:
    """The same on an event loop; its twin is another task.

    Raises:
        ChannelClosed: a side that was to be written to is gone.
    """
    while (frame := await source.read()) is not None:
        verdict = await judged(session, direction, frame)
        record(verdict)
        if verdict.forward is not None:
            await sink.write(verdict.forward)
        if verdict.reply is not None:
            await source.write(verdict.reply)


async def judged(session: Session, direction: Direction, frame: bytes) -> Verdict:
    """Judge a frame on an event loop; a large one beside it, so that no other has to wait."""
    if len(frame) < LARGE_BYTES:
        return session.receive(direction, frame, monotonic())
    return await asyncio.to_thread(session.receive_aside, direction, frame, monotonic())
