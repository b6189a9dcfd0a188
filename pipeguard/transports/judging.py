"""Judges frames on an event loop without blocking it: long work is done in threads.

For HTTP and the gateway only: between two descriptors, `transports.both_ways` has plain threads.

A small frame is read and judged on the loop, and so is a result of up to 16 KB, as long as that
takes only a few milliseconds. Any other is read and judged in a thread, and waits for no frame of
another size. The first one waits until everything is loaded that a text may need,
in a thread as well.

Order: a notification, such as a cancellation, waits for the frames that came before it in its
conversation and direction. Other frames never wait, unless they are recorded: of two requests that
came at once, the small one goes first.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

from pipeguard.errors import PipeGuardError, Refusal
from pipeguard.firewall.budgets import WORK_NS, Budgets, TooLongError
from pipeguard.firewall.finding import TO_CLIENT, TO_SERVER, Direction, Verdict
from pipeguard.firewall.protocol.framing import KnownResult, legible_id
from pipeguard.firewall.protocol.json_values import JsonValue, as_object, read_object, serialise
from pipeguard.firewall.protocol.message import Message, parse
from pipeguard.firewall.protocol.strict_json import ParsedFrame, parse_json
from pipeguard.firewall.session.events import CALL
from pipeguard.firewall.session.guard import Guard
from pipeguard.firewall.session.memory import ClientMemory
from pipeguard.firewall.session.own_frames import ServerGone, Tick
from pipeguard.firewall.session.session import Session
from pipeguard.transports import pump
from pipeguard.transports.bounded import Allowance
from pipeguard.transports.channel import AsyncChannel, leave
from pipeguard.transports.pump import DRAIN_SECONDS, Record, take_event, take_frame

P = ParamSpec("P")
T = TypeVar("T")

SMALL_BYTES = 2 * 1024  # of any text, judged in 5 ms at most
BRIEF_BYTES = 16 * 1024  # of results that are judged on the loop, unless that takes long
TICK_SECONDS = 0.5  # between two checks for overdue requests
DRAIN_TICK_SECONDS = 0.05  # between two checks for open requests
LARGE_BYTES = 64 * 1024  # its value, ten times that size, is not kept
HUGE_BYTES = 2**20  # judged one at a time: judging takes ten times the frame's size in memory
# How many threads judge frames below each size. All of them want the interpreter's lock, and the
# loop may have to wait for each of them in turn (runtime.loop.SWITCH_SECONDS).
_LANES = (
    (LARGE_BYTES, Allowance(2)),
    (HUGE_BYTES, Allowance(2, 2 * HUGE_BYTES)),
)
_LAST_LANE = Allowance(1)
# Frames that are judged in threads, or wait for one, by conversation and direction; or by record:
# they are judged one after the other, because a replay has its order, and no other.
_under_way: dict[object, set[asyncio.Future[None]]] = {}
_judged = WeakSet[Session]()  # all that judged a frame here, while they last


class Judge:
    """Judges frames and records the verdicts.

    Args:
        record: hands the verdict over and returns; raises StateError if nothing may pass.
        wait_turn: waits until other tasks had their turn: a source may have thousands ready.

    Attributes:
        record: as it was given, for verdicts from elsewhere.
        record_own: the same, for frames of PipeGuard's own.
        ending: why the server ends, if not by itself.
    """

    ending = ""

    def __init__(
        self,
        record: Callable[[Verdict], None],
        wait_turn: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0),
    ) -> None:
        self.record = self.record_own = record
        self._wait_turn = wait_turn

    def answer_all(self, session: Session) -> list[bytes]:
        """PipeGuard's own frames to a client whose server is gone."""
        return take_event(session, ServerGone(monotonic(), self.ending), self.record_own).own_frames

    def answer_overdue(self, session: Session, early_seconds: float = 0.0) -> list[bytes]:
        """PipeGuard's answers to requests that have waited for longer than the policy allows."""
        return take_event(session, Tick(monotonic() + early_seconds), self.record_own).own_frames

    async def __call__(self, session: Session, direction: Direction, frame: bytes) -> Verdict:
        """Judge a frame in its turn, and record the verdict."""
        await self._wait_turn()
        verdict = await judge_frame(session, direction, frame, self.record)
        self.record(verdict)
        return verdict


# --- threads ----------------------------------------------------------------------------------


async def offload(frame: bytes, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run work that reads a frame; in a thread, unless the frame is small or has its value."""
    if len(frame) < SMALL_BYTES or isinstance(frame, ParsedFrame):
        return work(*args, **kwargs)
    return await in_thread(len(frame), partial(work, *args, **kwargs))


async def in_thread(size: int, work: Callable[[], T]) -> T:
    """Run work that reads `size` bytes in a thread."""
    lane = _choose_lane(size)
    await lane.enter(size)
    return await asyncio.shield(_begin(lane, size, work))


def _choose_lane(size: int) -> Allowance:
    return next((lane for most, lane in _LANES if size < most), _LAST_LANE)


def _begin(lane: Allowance, size: int, work: Callable[[], T]) -> asyncio.Future[T]:
    """Begin work in a thread, which leaves its lane at the end of it, even if nobody waits.

    Args:
        lane: was entered.
        size: of the frame.
        work: to do.

    Returns:
        The future of the work. Whoever waits for it shields it: a thread cannot be cancelled.
    """
    working = asyncio.get_running_loop().run_in_executor(None, work)
    working.add_done_callback(lambda _: lane.leave(size))
    return working


# --- values ---------------------------------------------------------------------------------


def with_value(frame: bytes, *, keeps_large: bool = False) -> bytes:
    """The frame with its value, for all readers; only the frame if it is large or unreadable.

    A large frame is parsed in the thread that judges it, so that its value is freed at once, unless
    the session keeps values.
    """
    if (keeps_large or len(frame) < LARGE_BYTES) and not isinstance(frame, ParsedFrame):
        with suppress(Refusal):  # the Session says why
            return ParsedFrame.of(frame)
    return frame


async def read_frame(frame: bytes) -> bytes:
    """Parse as `with_value` does, on an event loop."""
    return frame if len(frame) >= LARGE_BYTES else await offload(frame, with_value, frame)


async def parse_value(frame: bytes) -> JsonValue:
    """The value of a frame.

    Raises:
        Refusal: it is not strict JSON, or exceeds a limit.
    """
    return await offload(frame, parse_json, frame)


async def read_message(frame: bytes) -> Message | list[JsonValue]:
    """The message of a frame, or the members of a batch.

    Raises:
        Refusal: the frame is not a message.
    """
    return await offload(frame, parse, frame)


async def to_frame(value: JsonValue) -> bytes:
    """The frame of a value; a short one has its value, so that it is not parsed again."""
    if (short := ParsedFrame.write_short(value, LARGE_BYTES)) is not None:
        return short
    frame = await asyncio.to_thread(serialise, value)  # also a short one without the form in C
    return frame if len(frame) >= LARGE_BYTES else ParsedFrame.of_line(frame, value)


class BriefBudgets(Budgets):
    """The work of a result while the loop waits: only the share of its bytes, and no match.

    To rate one match may take tens of milliseconds.
    """

    def _take(self, cost_ns: int, kept_ns: int = 0) -> bool:
        if self._left_ns - cost_ns < WORK_NS:
            raise TooLongError
        return super()._take(cost_ns, kept_ns)

    def _match(self, _cost_ns: int) -> bool:
        raise TooLongError


# --- notes of a client's other ledgers --------------------------------------------------------


class RemoteMemory(ABC, ClientMemory):
    """A client's memory that other machines share.

    Attributes:
        latest: the urgent notes that were put last; None before.
    """

    latest: object = None

    @abstractmethod
    async def fetch(self) -> None:
        """Wait until `read_new` has what the others have put; not for long."""

    @abstractmethod
    async def settle(self) -> None:
        """Wait until what was put is stored; not for long."""


async def judge_frame(
    session: Session,
    direction: Direction,
    frame: bytes,
    unheard: Record = lambda _: None,
) -> Verdict:
    """The verdict on a frame, not recorded yet.

    A call by which something may leave waits for the notes of the client's other ledgers, and what
    is noted of a frame is stored before it is forwarded.

    Args:
        session: judges it.
        direction: which way it travels.
        frame: the frame.
        unheard: takes the verdict of a thread if the caller was cancelled in the meantime.
    """
    memory = session.guard.detector.ledger.client
    if not isinstance(memory, RemoteMemory):
        return await _judge_frame(session, direction, frame, unheard)
    if direction is TO_SERVER and await _needs_notes(session.guard, frame):
        await memory.fetch()
    before = memory.latest
    verdict = await _judge_frame(session, direction, frame, unheard)
    if memory.latest is not before:
        await memory.settle()
    return verdict


async def _needs_notes(guard: Guard, frame: bytes) -> bool:
    """True for a call that is judged by the notes of the client's other ledgers, too."""
    with suppress(Refusal):
        value = await parse_value(frame)
        for member in value if isinstance(value, list) else [value]:
            call = as_object(member)
            tool = read_object(call, "params").get("name")
            is_call = call.get("method") == CALL and type(tool) is str
            if is_call and guard.detector.needs_notes(guard, str(tool)):
                return True
    return False


# --- verdicts -------------------------------------------------------------------------------


async def _judge_frame(
    session: Session, direction: Direction, frame: bytes, unheard: Record
) -> Verdict:
    """The verdict on a frame, by what is known here."""
    _judged.add(session)
    guard = session.guard
    is_known = isinstance(frame, KnownResult) and session.state.awaits_result(frame.id_token)
    if is_known and not guard.inspects:  # it passes unread
        return take_frame(session, direction, frame)
    if guard.inspects and not guard.source.is_loaded:
        with suppress(PipeGuardError):  # the Session refuses each frame for it
            await asyncio.to_thread(guard.source.load_all)
    before = _under_way.get(key := session.tape or (session.run, direction))
    while before and (session.tape is not None or await _is_notification(frame)):
        await asyncio.wait(before)
        before = _under_way.get(key) if session.tape else None
    most = SMALL_BYTES if guard.inspects else LARGE_BYTES
    if len(frame) < most:
        return take_frame(session, direction, frame)
    if direction is TO_CLIENT and len(frame) < BRIEF_BYTES:
        verdict = take_frame(session, direction, frame, budgets=BriefBudgets())
        if not verdict.is_unfinished:
            return verdict
    return await _judge_in_thread(session, direction, frame, unheard)


async def wait_for_decision(
    session: Session,
    verdict: Verdict,
    record: Record,
    over: asyncio.Future[Any],
) -> Verdict:
    """Wait as `pump.wait_for_decision` does, on an event loop.

    Args:
        session: judged the call.
        verdict: that makes it wait.
        record: hands a verdict over.
        over: done once the conversation has ended.
    """

    async def pause(seconds: float) -> bool:
        await asyncio.wait((over,), timeout=seconds)
        return over.done()

    async def work(size: int, work: Callable[[], Verdict]) -> Verdict:
        return await (in_thread(size, work) if size else asyncio.to_thread(work))

    return await pump.wait_for_decision(session, verdict, record, pause, work)


async def drain(is_busy: Callable[[], bool]) -> None:
    """Wait until all open requests are answered, for `DRAIN_SECONDS` at most.

    Args:
        is_busy: True while there are requests that are not judged yet.
    """
    end = monotonic() + DRAIN_SECONDS
    while is_busy() or any(session.state.waiting_ids(lasting=False) for session in _judged):
        if monotonic() > end:
            break
        await asyncio.sleep(DRAIN_TICK_SECONDS)


async def answer_overdue(
    session: Session, client: AsyncChannel, server: AsyncChannel, judge: Judge
) -> None:
    """Answer the requests that have waited for longer than the policy allows."""
    while session.guard.policy.limits.timeout_seconds is not None:
        await asyncio.sleep(TICK_SECONDS)
        for frame in judge.answer_overdue(session):
            id_token = legible_id(frame)
            if id_token is not None:
                leave(server, id_token)  # it must not be sent any more
            await client.write(frame)


async def _judge_in_thread(
    session: Session, direction: Direction, frame: bytes, unheard: Record
) -> Verdict:
    """Wait for a thread, and judge a frame there; once begun, it is judged to its end."""
    key, over = session.tape or (session.run, direction), asyncio.get_running_loop().create_future()
    _under_way.setdefault(key, set()).add(over)  # until it is done
    over.add_done_callback(partial(_leave, key))
    size = len(frame)
    lane = _choose_lane(size)
    try:
        await lane.enter(size)
    except asyncio.CancelledError:
        over.set_result(None)
        raise
    judging = _begin(lane, size, partial(_read_and_judge, session, direction, frame))
    caller = asyncio.shield(judging)

    def end(_: object) -> None:  # after the caller continues
        over.set_result(None)
        if caller.cancelled() and not judging.cancelled():
            with suppress(PipeGuardError):
                unheard(judging.result())

    judging.add_done_callback(end)
    return await caller


def _read_and_judge(session: Session, direction: Direction, frame: bytes) -> Verdict:
    """Judge a frame; an answer that passes has its value if the session keeps values."""
    if session.keeps_values and direction is TO_CLIENT:
        frame = with_value(frame, keeps_large=True)
    return take_frame(session, direction, frame, is_aside=True)


def _leave(key: object, over: asyncio.Future[None]) -> None:
    _under_way[key].discard(over)
    if not _under_way[key]:
        del _under_way[key]


async def _is_notification(frame: bytes) -> bool:
    """True for a notification, or a batch with one; False for an unreadable frame."""
    with suppress(Refusal):
        value = await parse_value(frame)
        return any(map(is_notification, value if isinstance(value, list) else [value]))
    return False


def is_notification(value: JsonValue) -> bool:
    """True for a notification."""
    return isinstance(value, dict) and "method" in value and "id" not in value
