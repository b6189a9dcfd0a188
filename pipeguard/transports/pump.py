"""The only loop over a channel: read, judge, record, write. Decides nothing.

Outside the loop, a call may wait until a person decides.

On an event loop it is a task. Between two descriptors it runs in plain threads, by turns
(transports.both_ways): the path of stdio to stdio imports no event loop.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from time import monotonic

from pipeguard.errors import PipeGuardError
from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.finding import TO_CLIENT, TO_SERVER, Action, Direction, Verdict
from pipeguard.firewall.protocol.strict_json import without_value
from pipeguard.firewall.session import replies
from pipeguard.firewall.session.decisions import Granted, Repeated, Waited, WaitEnded
from pipeguard.firewall.session.events import CALL, Frame, Learned
from pipeguard.firewall.session.session import Event, Session
from pipeguard.transports.both_ways import run_alone
from pipeguard.transports.channel import AsyncChannel, ChannelClosed

DRAIN_SECONDS = 5.0  # after a signal, for open requests to be answered
ASK_SECONDS = 0.5  # between two looks at whether a person has decided
Record = Callable[[Verdict], object]
Judge = Callable[[Session, Direction, bytes], Awaitable[Verdict]]


async def pump(
    session: Session, direction: Direction, source: AsyncChannel, sink: AsyncChannel, judge: Judge
) -> None:
    """Carry frames one way until their source ends; a second pump carries the other way.

    Args:
        session: decides about each frame.
        direction: which way this is.
        source: sends frames, and gets the replies to them.
        sink: gets the frames.
        judge: asks the session and records the verdict.

    Raises:
        ChannelClosed: the side to write to is gone.
    """
    while (frame := await source.read()) is not None:
        verdict = await judge(session, direction, frame)
        for forward in verdict.forwards:
            await sink.write(forward)
        if verdict.reply is not None:
            await source.write(verdict.reply)


def make_judge(record: Record) -> Judge:
    """Make the judge of a pump that judges in the thread which carries the frame.

    Args:
        record: hands the verdict over and returns: the audit is written behind the pump.
    """

    async def judge(session: Session, direction: Direction, frame: bytes) -> Verdict:
        verdict = take_frame(session, direction, frame)
        record(verdict)
        return verdict

    return judge


def take_frame(
    session: Session,
    direction: Direction,
    frame: bytes,
    *,
    is_aside: bool = False,
    budgets: Budgets | None = None,
) -> Verdict:
    """Judge a frame now, and again if it is a stopped call that a person allowed.

    A frame of the server comes with the obstacles that it met.

    Args:
        session: judges the frame.
        direction: which way the frame travels.
        frame: the frame.
        is_aside: True in another thread than that of the direction.
        budgets: with which the verdict may be unfinished, because others wait; else None.
    """
    now = monotonic()
    obstacles = None
    source = session.guard.shared.obstacles
    if source is not None and direction is TO_CLIENT:
        obstacles = source.read_obstacles()
    verdict = take_event(session, Frame(direction, frame, now, is_aside, obstacles, budgets))
    if verdict.is_repeated and session.guard.questions is not None:
        call = session.guard.questions().recognize(frame, session.run)
        if call is not None:
            verdict = take_event(session, Repeated(verdict, now, call))
    return verdict if verdict.action < Action.ASK else use_grant(session, verdict, now)


def take_event(session: Session, event: Event, record: Record = lambda _: None) -> Verdict:
    """Let a session take an event; only this function asks it.

    Args:
        session: takes the event.
        event: happened.
        record: takes the verdicts on PipeGuard's own frames. Who carries the frame that the event
            is about records the verdict on it.
    """
    ledger = session.guard.detector.ledger
    client = ledger.client
    if client is not None and isinstance(event, Frame) and event.direction is TO_SERVER:
        for note in client.read_new():
            take_event(session, Learned(note, event.now), record)
    tape = session.tape
    verdict = session.take(event) if tape is None else tape.take(session, event)
    if client is not None and (notes := ledger.take_notes()):
        client.put(notes)
    if verdict.own:
        with suppress(PipeGuardError, ChannelClosed):  # they are owed even if nothing may pass
            for own in verdict.own:
                record(own)
    source = session.guard.shared.obstacles
    if source is not None:
        passed = [each.method for each in (verdict, *verdict.members) if each.forward]
        if CALL in passed:
            source.add_caller(session.run)
    return verdict


def use_grant(session: Session, verdict: Verdict, now: float) -> Verdict:
    """Let a stopped call pass if a person allowed it; else the same verdict."""
    grants, mark = session.guard.shared.grants, verdict.mark
    grant = grants.take(mark) if mark and grants is not None else ""
    return take_event(session, Granted(verdict, now, grant)) if grant else verdict


# --- calls that wait for a person -------------------------------------------------------


async def wait_for_decision(
    session: Session,
    verdict: Verdict,
    record: Record,
    pause: Callable[[float], Awaitable[bool]],
    work: Callable[[int, Callable[[], Verdict]], Awaitable[Verdict]],
) -> Verdict:
    """Wait until a person decides about a call, its time is over, or its client stops waiting.

    Only the caller sends the call or answers it, unless its client cancels it or the end of
    the server answers it. One time limit holds however often it is judged.

    Args:
        session: judged it.
        verdict: that makes it wait.
        record: hands a verdict over.
        pause: waits for some seconds; True as soon as the client or the server is gone.
        work: does work without blocking other frames.

    Returns:
        The verdict on the call, recorded; neither forwards nor replies if its client no longer
        waits. A verdict that asks the client in a result is not recorded: the call waits on.
    """
    end = (verdict.since or 0.0) + session.guard.policy.limits.ask_seconds
    verdict = verdict._replace(frame=without_value(verdict.frame))
    questions = session.guard.questions
    try:
        if questions is not None and not session.state.peers.handshake:
            event = session.name_own()
            verdict = await work(
                0, partial(questions().ask, verdict, event, partial(take_event, session))
            )
        while verdict.action is Action.ASK:
            is_over = await pause(max(0.0, min(ASK_SECONDS, end - monotonic())))
            now, before = monotonic(), verdict
            if is_over:
                verdict = take_event(
                    session, WaitEnded(before, now, "its client or its server left")
                )
            else:
                look = partial(look_for_decision, session, before, now, is_last=now >= end)
                verdict = await work(len(before.frame), look)
            if verdict.forward is not None:  # unless its client left in the meantime
                seen = take_event(session, Waited(before, now))
                verdict = verdict if seen is before else seen
            if verdict is not before:
                record(verdict)
    finally:
        if verdict.action is Action.ASK:
            with suppress(PipeGuardError, ChannelClosed):
                record(take_event(session, WaitEnded(verdict, monotonic(), "its client left")))
    return verdict


def look_for_decision(session: Session, verdict: Verdict, now: float, *, is_last: bool) -> Verdict:
    """Look once at a call that waits: whether it still does, and whether a person has decided.

    Args:
        session: judged it.
        verdict: that makes it wait.
        now: seconds on the session's clock.
        is_last: True to end the wait, with a block unless a person allowed the call.

    Returns:
        The new verdict; the same one if it waits on.
    """
    grants = session.guard.shared.grants
    refusal = "" if grants is None else grants.find_refusal(verdict.event)
    if refusal and session.state.find_held(verdict.event):  # whatever the policy is by now
        return take_event(session, WaitEnded(verdict, now, refusal, replies.REFUSED))
    seen = take_event(session, Waited(verdict, now))
    if seen is not verdict:
        return seen
    passed = use_grant(session, verdict, now)
    return passed if passed is not verdict else take_event(session, Waited(verdict, now, is_last))


def wait_in_thread(
    session: Session,
    verdict: Verdict,
    record: Record,
    pause: Callable[[float], bool],
) -> Verdict:
    """Wait as `wait_for_decision` does, in a thread of its own."""

    async def wait(seconds: float) -> bool:
        return pause(seconds)

    async def do(_size: int, work: Callable[[], Verdict]) -> Verdict:
        return work()

    return run_alone(wait_for_decision(session, verdict, record, wait, do))
