"""The only loop over a channel: read, judge, record, write. Decides nothing.

On an event loop it is a task. Between two blocking channels it runs in a plain thread, without an
event loop: the path of stdio to stdio imports none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic

from pipeguard.firewall.finding import Direction, Verdict
from pipeguard.firewall.session.session import Session
from pipeguard.transports.channel import AsyncChannel, Channel

Judge = Callable[[Session, Direction, bytes], Awaitable[Verdict]]


async def pump(
    session: Session, direction: Direction, source: AsyncChannel, sink: AsyncChannel, judge: Judge
) -> None:
    """Carry frames one way until their source ends; a second pump carries the other way.

    Args:
        session: decides about each frame.
        direction: which way this is.
        source: where frames come from, and replies to them go.
        sink: where frames go.
        judge: asks the session and records the verdict.

    Raises:
        ChannelClosed: the side to write to is gone.
    """
    while (frame := await source.read()) is not None:
        verdict = await judge(session, direction, frame)
        if verdict.forward is not None:
            await sink.write(verdict.forward)
        if verdict.reply is not None:
            await source.write(verdict.reply)


def pump_in_thread(
    session: Session,
    direction: Direction,
    source: Channel,
    sink: Channel,
    record: Callable[[Verdict], None],
) -> None:
    """Run the pump between two blocking channels until their source ends.

    Args:
        session: decides about each frame.
        direction: which way this is.
        source: where frames come from, and replies to them go.
        sink: where frames go.
        record: hands the verdict over and returns: the audit is written behind the pump.

    Raises:
        ChannelClosed: the side to write to is gone.
    """

    async def judge(session: Session, direction: Direction, frame: bytes) -> Verdict:
        now = monotonic()
        tell_obstacles(session, direction)
        verdict = session.receive(direction, frame, now)
        record(verdict)
        return verdict

    pumping = pump(session, direction, _Blocking(source), _Blocking(sink), judge)
    with suppress(StopIteration):
        pumping.send(None)  # nothing in it suspends, so this runs it to its end


def tell_obstacles(session: Session, direction: Direction) -> None:
    """Tell a session what stood in its server's way until now, before it judges an answer."""
    notes = session.guard.notes
    if notes is not None and direction is Direction.TO_CLIENT:
        notes.catch_up()


class _Blocking:
    """A blocking channel with the methods of an asynchronous one; they block, and never suspend."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def read(self) -> bytes | None:
        return self._channel.read()

    async def write(self, frame: bytes) -> None:
        self._channel.write(frame)

    async def close(self) -> None:
        self._channel.close()
