"""Reads and judges frames on an event loop; a small frame never waits for a large one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from pipeguard.core.finding import Direction, Verdict
from pipeguard.core.protocol.json_values import JsonValue, serialise
from pipeguard.core.protocol.message import Message, parse
from pipeguard.core.protocol.strict_json import ParsedFrame, parse_json
from pipeguard.core.session.session import Session
from pipeguard.errors import Refusal
from pipeguard.transports.bounded import Allowance
from pipeguard.transports.pump import annotated

LARGE_BYTES = 64 * 1024  # judged in about 5 ms
HUGE_BYTES = 2**20  # judged one at a time: judging takes ten times the frame's size in memory
_LARGE_FRAMES, _HUGE_FRAMES = Allowance(16, HUGE_BYTES), Allowance(1)


class Judge:
    """Judges frames and records the verdicts.

    Args:
        record: hands the verdict over and returns; raises StateError where nothing may pass.

    Attributes:
        record: as it was given, for verdicts from elsewhere.
    """

    def __init__(self, record: Callable[[Verdict], None]) -> None:
        self.record = record

    async def __call__(self, session: Session, direction: Direction, frame: bytes) -> Verdict:
        """Judge a frame, once other tasks had their turn: a source may have thousands ready."""
        await asyncio.sleep(0)
        verdict = await judge_frame(session, direction, frame)
        self.record(verdict)
        return verdict


def with_value(frame: bytes) -> bytes:
    """The frame with its value, for all who read it; the frame alone if it is large or unreadable.

    A large frame is parsed where it is judged, so that its value is freed at once.
    """
    if len(frame) >= LARGE_BYTES:
        return frame
    try:
        return ParsedFrame.of(frame)
    except Refusal:  # the Session says why
        return frame


async def value_of(frame: bytes) -> JsonValue:
    """The value of a frame; a large one is read in a thread.

    Raises:
        Refusal: it is not strict JSON, or exceeds a limit.
    """
    if len(frame) < LARGE_BYTES or isinstance(frame, ParsedFrame):
        return parse_json(frame)
    return await asyncio.to_thread(parse_json, frame)


async def frame_of(value: JsonValue, size: int) -> bytes:
    """The frame of a value of about this many bytes; a large one is written in a thread."""
    return serialise(value) if size < LARGE_BYTES else await asyncio.to_thread(serialise, value)


async def read_message(frame: bytes) -> Message | list[JsonValue]:
    """The message of a frame, or the members of a batch; a large one is read in a thread.

    Raises:
        Refusal: the frame is not a message.
    """
    if len(frame) < LARGE_BYTES or isinstance(frame, ParsedFrame):
        return parse(frame)
    return await asyncio.to_thread(parse, frame)


async def judge_frame(session: Session, direction: Direction, frame: bytes) -> Verdict:
    """The verdict on a frame, not recorded yet."""
    now = monotonic()
    if len(frame) < LARGE_BYTES:
        return annotated(session, session.receive(direction, frame, now), now)
    lane = _LARGE_FRAMES if len(frame) < HUGE_BYTES else _HUGE_FRAMES
    await lane.enter(len(frame))
    try:
        now = monotonic()
        verdict = await asyncio.to_thread(session.receive_concurrently, direction, frame, now)
        return annotated(session, verdict, now)
    finally:
        lane.leave(len(frame))
