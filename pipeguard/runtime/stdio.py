"""A running server between two channels: its threads, its signals, its end.

Three threads carry bytes: two the frames, by turns, and one the server's standard error.
The main thread waits for events, and then ends the run so that every request is answered.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING

from pipeguard.config.options import WrapOptions
from pipeguard.errors import PipeGuardError, PolicyError, StateError
from pipeguard.firewall.finding import Action, Direction, Verdict
from pipeguard.firewall.protocol import codes, ids, strict_json
from pipeguard.firewall.protocol.json_values import serialise
from pipeguard.firewall.session import replies
from pipeguard.firewall.session.own_frames import ListsChanged, ServerGone, Tick
from pipeguard.firewall.session.session import Event
from pipeguard.runtime.declining import DECLINE_SECONDS
from pipeguard.runtime.numbers import read_number
from pipeguard.runtime.run import IDLE_SECONDS, LAST_SECONDS, Mask, Run, start_thread
from pipeguard.runtime.target_server import TargetServer
from pipeguard.transports.both_ways import LineBased, carry, leave_turn
from pipeguard.transports.channel import AsyncChannel, Channel, ChannelClosed
from pipeguard.transports.pump import (
    DRAIN_SECONDS,
    make_judge,
    pump,
    take_event,
    take_frame,
    wait_in_thread,
)
from pipeguard.transports.stdio import LineChannel

if TYPE_CHECKING:
    from queue import Empty, SimpleQueue

    from pipeguard.identity.server_name import Launched
    from pipeguard.runtime.questions import Questions
else:
    from _queue import Empty, SimpleQueue  # without the half that is written in Python

GRACE_SECONDS = 2.0  # for a server to end by itself, and again after SIGTERM
MOST_GRACE_SECONDS = 3600.0
STARTING_SECONDS = 0.2  # instead of both for a server that is not awaited yet, and its threads
STDERR_SECONDS = 1.0  # for the last output of a server that has ended
DYING_SECONDS = 0.1  # to answer requests that crossed with the server's end
STARTED_SECONDS = 1.0  # after which the first requests are answered
EXIT_SECONDS = 0.2  # from the end of a server's output to its exit, which most follow at once
DRAIN_TICK_SECONDS = 0.05  # between two checks for open requests
TICK_SECONDS = 0.5  # between two checks for overdue requests


class _Event(Enum):
    """Events that the main thread waits for."""

    CLIENT = "the client hung up"
    SERVER = "the server closed a pipe"
    SIGNAL = "a signal asks us to end"
    FAILED = "the audit cannot be written, or the policy does not allow the server"
    ENDED = "the server and its processes have ended"
    DRAINED = "everything that the server sent was passed on"


class _SendingChannel:
    """A channel that can be asked whether its server accepts frames.

    Attributes:
        lines: the descriptors behind it; None if it has none, or no thread can wait for two.
        sending: a frame that is not yet fully written to the server, or None.
        unsent: the ids of requests that it did not accept, as they are written in their frames.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.read, self.close = channel.read, channel.close
        self._lined = channel if isinstance(channel, LineBased) else None
        self.lines = None if self._lined is None else self._lined.lines
        self.sending: bytes | None = None
        self.unsent: set[str] = set()

    def write(self, frame: bytes) -> None:
        """Send one whole frame; waits while the server does not read."""
        self._send(self._channel.write, frame)

    def write_ready(self, frame: bytes) -> bool:
        """Send one whole frame if the server accepts it at once."""
        return self._lined is not None and bool(self._send(self._lined.write_ready, frame))

    def _send(self, write: Callable[[bytes], bool | None], frame: bytes) -> bool | None:
        self.sending = frame
        try:
            is_sent = write(frame)
        except ChannelClosed:
            self.unsent.update(ids.request_ids(strict_json.parse_json(frame)))
            raise
        self.sending = None
        return is_sent


class GuardedServer:
    """One server, guarded from its start to its end."""

    def __init__(
        self,
        server: TargetServer,
        launched: Launched,
        options: WrapOptions,
        open_client: Callable[[int], LineChannel],
    ) -> None:
        """Load everything needed for judging, while the server boots.

        Args:
            server: is booting.
            launched: identifies the server.
            options: of the command line.
            open_client: opens the channel to the client, given the limit of one frame in bytes.

        Raises:
            PipeGuardError: rules, policy or store do not load.
        """
        self._target, self._last_seconds = server, LAST_SECONDS
        self._grace_seconds = read_number(options, "--grace", GRACE_SECONDS, MOST_GRACE_SECONDS)
        self._run = Run(launched, options, self._relist)
        self._run.on_loss, self._run.on_stop = self._tell, self._stop
        self._run.guard.detector.ledger.client = self._run.notes.of_process()
        server.attach(self._run)
        self._session, self._run.on_stopped = self._run.session, self._ask_user
        self._questions: Questions | None = None
        self._questions_lock = threading.Lock()
        self._run.guard.questions = self._load_questions
        self._session.tape = self._run.recording.begin(self._run.guard.name, self._run.name)
        limit = self._run.guard.policy.limits.frame_bytes
        self._client = open_client(limit)
        self._server = _SendingChannel(server.channel(limit))
        self._stderr = server.stderr(Mask(self._run.engines))
        self._events: SimpleQueue[_Event] = SimpleQueue()
        self._server_ended = False
        self._client_ended = threading.Event()  # once no more is read from it
        self._drained = threading.Event()  # once the server's last frame is passed on
        self._failure: PipeGuardError | None = None
        self._asking: list[threading.Thread] = []  # of calls that wait for a person, or of a loss
        self._asks_nobody = threading.Event()  # set once the run ends
        self._ending = ""  # why the server ends, if not by itself

    def run(self) -> int:
        """Pump frames until a side is gone, then end the server; return its exit code.

        Raises:
            StateError: the audit could not be written, and policy says to stop.
        """
        self._hear_signals()
        if self._stderr is not None:
            start_thread("stderr", self._stderr.run)
        self._run.begin_loading()  # while the server boots
        ways = self._to_server, self._to_client
        carry(partial(start_thread, "frames"), self._client, self._server, ways)
        start_thread("hangup", self._watch_client)
        if self._run.guard.policy.limits.timeout_seconds is not None:
            start_thread("expire", self._expire)
        self._run.begin()
        first = self._first_event()
        self._run.notes.close()  # soon after it left, a client may kill us
        self._ending = "PipeGuard was told to stop" if first is _Event.SIGNAL else ""
        self._drain_or_hurry(first)
        start_thread("end", self._end_child)
        if not self._wait_for_the_end(hurried=first is not _Event.SERVER):
            self._wait_for_latecomers()
        self._client.finish_reading()  # requests that came in the meantime are answered, too
        self._client_ended.wait(self._last_seconds)
        self._client.close_reading()
        self._client_ended.wait(self._last_seconds)
        self._asks_nobody.set()
        for thread in list(self._asking):
            thread.join(self._last_seconds)
        if self._drained.is_set():  # otherwise the client does not read, and this would wait, too
            start_thread("last-answers", self._answer_all).join(self._last_seconds)
        self._run.over.set()
        if self._stderr is not None:
            self._stderr.finish(STDERR_SECONDS)
        self._target.hang_up()
        self._run.close()
        ended = self._target.end(0)
        is_over = self._drained.is_set() and self._client_ended.is_set()
        if is_over and not any(thread.is_alive() for thread in self._asking):
            self._target.close()  # otherwise their numbers must stay in use until this process ends
        if self._failure is not None:
            raise self._failure
        return ended.code

    def _first_event(self) -> _Event:
        """Wait for the first event; collect garbage once the start is over (runtime.start).

        While idle, prepare for the first list of tools: few servers have answered by then.
        """
        began = monotonic()
        first = self._next_event(began + IDLE_SECONDS)
        if first is None:
            start_thread("prepare", self._run.prepare)
            first = self._next_event(began + STARTED_SECONDS)
        gc.enable()
        return first or self._events.get()

    # --- the two directions -------------------------------------------------------------

    async def _to_server(self, client: AsyncChannel, server: AsyncChannel) -> None:
        """Pump until the client hangs up; answer its requests after the server's end."""
        judge = make_judge(self._record_call)
        try:
            while True:
                with suppress(ChannelClosed):
                    await pump(self._session, Direction.TO_SERVER, client, server, judge)
                    return
                self._events.put(_Event.SERVER)
                if self._server_ended:
                    await leave_turn()
                    self._answer_all()  # otherwise `_to_client` does, after the server's last frame
        finally:
            self._events.put(_Event.CLIENT)  # or this way has failed, which is an end as well
            self._client_ended.set()

    def _watch_client(self) -> None:
        """Notice a client that hung up even if the server has not accepted its last frames.

        The server has as long to accept each frame as it has after the last one.
        """
        seconds, waiting = max(self._grace_seconds, TICK_SECONDS), None
        while self._client.wait_for_hangup() and not self._run.over.wait(seconds):
            if waiting is not None and waiting is self._server.sending:
                self._events.put(_Event.CLIENT)
                return
            waiting = self._server.sending

    async def _to_client(self, client: AsyncChannel, server: AsyncChannel) -> None:
        """Pump until the server's last frame, even if the client reads no more."""
        try:
            judge = make_judge(self._record)
            await pump(self._session, Direction.TO_CLIENT, server, client, judge)
        except ChannelClosed:
            self._events.put(_Event.CLIENT)
            while await server.read() is not None:
                pass  # a server that waits in a write could not end by itself
        else:
            self._server_ended = True
            self._events.put(_Event.SERVER)
            await leave_turn()
            self._answer_all()
        finally:
            self._drained.set()
            self._events.put(_Event.DRAINED)

    def _answer_all(self) -> None:
        ended = self._target.wait(EXIT_SECONDS) if self._server_ended else None
        ending = str(self._failure or self._ending or (ended.describe() if ended else ""))
        answers = self._happen(ServerGone(monotonic(), ending.rstrip("."), self._server.unsent))
        if answers and self._server_ended and self._failure is None:
            why = {"why": ending.rstrip(".")} if ending else {}
            self._run.log_unless_gone("warning", "the server ended during a request", **why)

    def _record(self, verdict: Verdict) -> None:
        if not self._run.record(verdict):
            self._failure = StateError("the audit cannot be written, and the policy says to stop.")
            self._events.put(_Event.FAILED)
            self._withhold(verdict)
            raise ChannelClosed("no audit")

    def _record_call(self, verdict: Verdict) -> None:
        self._record(verdict)
        if verdict.action is Action.ASK:
            self._asking = [thread for thread in self._asking if thread.is_alive()]
            self._asking.append(start_thread("ask", partial(self._await_decision, verdict)))

    def _await_decision(self, verdict: Verdict) -> None:
        """Wait until a person decides about a call, or until the wait is abandoned."""
        with suppress(ChannelClosed):
            decided = wait_in_thread(self._session, verdict, self._record, self._asks_nobody.wait)
            if self._questions is not None:
                self._questions.withdraw(verdict.event)
            if decided.reply is not None:
                self._client.write(decided.reply)
            if decided.forward is not None:
                self._send_late(decided.forward)

    def _ask_user(self, verdict: Verdict) -> None:
        """Ask the user in the client about a stopped message, if it declared elicitation."""
        if "elicitation" in self._session.state.peers.capabilities:
            self._load_questions().consider(verdict, self._session, self._send)

    def _load_questions(self) -> Questions:
        from pipeguard.runtime.questions import Questions

        with self._questions_lock:
            self._questions = self._questions or Questions(self._run)
            return self._questions

    def _send_late(self, frame: bytes) -> None:
        """Send the server a delayed frame; if it has ended, answer the client instead."""
        try:
            self._server.write(frame)
        except ChannelClosed:
            self._events.put(_Event.SERVER)
        if self._server_ended:
            self._answer_all()

    def _withhold(self, verdict: Verdict) -> None:
        """Answer the client for a frame that is withheld because it was not recorded."""
        if verdict.direction is Direction.TO_SERVER:
            if verdict.reply is not None:  # an allowed request is open, and answered later
                self._client.write(verdict.reply)
            return
        why = "PipeGuard: the audit cannot be written, so nothing passes"
        if verdict.forward is not None:
            answer = strict_json.parse_json(verdict.forward)
            for token in ids.request_ids(answer, answered=True):
                self._client.write(replies.own_error(token, codes.INTERNAL, why))

    # --- beside them --------------------------------------------------------------------

    def _relist(self, kinds: frozenset[str]) -> None:
        """Notify the client to list again, without making the recorder's thread wait."""
        start_thread("relist", lambda: self._happen(ListsChanged(kinds, monotonic())))

    def _stop(self) -> None:
        """End the server, and say why: the policy no longer allows it."""
        self._failure = PolicyError(f"{self._run.stopped}.")
        self._grace_seconds = min(self._grace_seconds, STARTING_SECONDS)
        self._tell(str(self._failure))  # first, because the run may be over soon behind the event
        self._events.put(_Event.FAILED)

    def _tell(self, *text: str) -> None:
        """Warn the client, by default of lost audit rows, in a thread that may wait for it."""

        def tell() -> None:
            notice = serialise(replies.make_notice(*text))
            verdict = take_frame(self._session, Direction.TO_CLIENT, notice, is_aside=True)
            with suppress(ChannelClosed):
                self._record(verdict)
            self._send(list(verdict.forwards))

        self._asking.append(start_thread("notice", tell))

    def _expire(self) -> None:
        while not self._run.over.wait(TICK_SECONDS):
            self._happen(Tick(monotonic()))

    def _happen(self, event: Event) -> list[bytes]:
        """Let the session take an event; send, record and return PipeGuard's own frames."""
        self._send(frames := take_event(self._session, event, self._run.record).own_frames)
        return frames

    def _send(self, frames: list[bytes]) -> None:
        with suppress(ChannelClosed):
            for frame in frames:
                self._client.write(frame)

    def _hear_signals(self) -> None:
        """Make an event of each signal that asks us to end, in a thread that waits for them.

        A handler runs in the main thread, which misses a signal that comes just before it waits.
        """
        heard, bell = os.pipe()
        if sys.platform != "win32":
            os.set_blocking(bell, False)
        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
        for number in _ENDING:
            signal.signal(number, lambda _number, _frame: None)
        start_thread("signals", lambda: self._take_signals(heard))

    def _take_signals(self, heard: int) -> None:
        while number := os.read(heard, 1):
            if number[0] in _ENDING:
                self._events.put(_Event.SIGNAL)

    # --- the end ------------------------------------------------------------------------

    def _drain_or_hurry(self, first: _Event) -> None:
        """After a signal, wait until open requests are answered, or something else happens.

        Wait only briefly for a server that has not answered anything, or was not asked anything.
        A client that hung up may have asked before that, and wait for the answers.
        """
        awaited = {_Event.SIGNAL: Direction.TO_CLIENT, _Event.CLIENT: Direction.TO_SERVER}
        if first in awaited and not self._session.state.has_received(awaited[first]):
            self._last_seconds = STARTING_SECONDS
            self._grace_seconds = min(self._grace_seconds, STARTING_SECONDS)
        elif first is _Event.SIGNAL:
            end = monotonic() + DRAIN_SECONDS
            while self._session.state.waiting_ids(lasting=False) and monotonic() < end:
                if not self._events.empty():
                    break
                sleep(DRAIN_TICK_SECONDS)

    def _end_child(self) -> None:
        self._target.end(self._grace_seconds)
        self._events.put(_Event.ENDED)

    def _wait_for_the_end(self, *, hurried: bool) -> bool:
        """Wait until the server has ended, and its frames are forwarded.

        A client that is there may read as slowly as it likes, as from the server itself; one that
        hung up has a moment.

        Args:
            hurried: True if the client hung up, or a signal asks for the end.

        Returns:
            True if it is hurried by now.
        """
        ended = drained = False
        deadline: float | None = None
        while not (ended and drained):
            if ended and hurried and deadline is None:
                deadline = monotonic() + self._last_seconds
            event = self._next_event(deadline)
            if event is None:
                break
            if hurried and event in (_Event.SIGNAL, _Event.FAILED):
                start_thread("hasten", lambda: self._target.end(0))
            hurried = hurried or event in _HURRY
            ended = ended or event is _Event.ENDED
            drained = drained or event is _Event.DRAINED
        return hurried

    def _wait_for_latecomers(self) -> None:
        """Answer requests that crossed with the server's end, and a client's very first one."""
        has_begun = self._session.state.has_received(Direction.TO_SERVER)
        deadline = monotonic() + (DYING_SECONDS if has_begun else DECLINE_SECONDS)
        while (event := self._next_event(deadline)) is not None:
            if event in _HURRY:
                return

    def _next_event(self, deadline: float | None) -> _Event | None:
        """Wait for the next event; None when the time is over."""
        left = None if deadline is None else max(0.0, deadline - monotonic())
        with suppress(Empty):
            return self._events.get(timeout=left)
        return None


_HURRY = (_Event.CLIENT, _Event.SIGNAL, _Event.FAILED)
_HANGUP = (signal.SIGHUP,) if sys.platform != "win32" else ()
_ENDING = (signal.SIGTERM, signal.SIGINT, *_HANGUP)
