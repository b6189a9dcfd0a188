"""The only loop: read, judge, record, write. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from pipeguard.core.finding import Direction, Verdict
from pipeguard.core.session.session import Session
from pipeguard.transports.channel import Channel


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
            for frame in verdict.more:
                sink.write(frame)
        if verdict.reply is not None:
            source.write(verdict.reply)
