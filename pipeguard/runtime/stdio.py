"""A running server between two channels: its threads, its signals, its end.

Three threads carry bytes: one for each direction of frames, one for the server's standard error.
The main thread carries nothing: it waits for news, so that a signal is heard whatever the others
wait for, and then sees to an end in which every request is answered.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from time import monotonic
from typing import Protocol

from pipeguard.config.options import WrapOptions
from pipeguard.core.finding import Direction, MessageKind, Verdict
from pipeguard.core.protocol import codes
from pipeguard.core.protocol.frame_outline import legible_ids
from pipeguard.core.protocol.ids import request_ids
from pipeguard.core.protocol.json_values import JsonObject
from pipeguard.core.protocol.message import Message, parse
from pipeguard.core.protocol.places import Surface
from pipeguard.core.session import replies
from pipeguard.core.session.session import Session
from pipeguard.errors import LaunchError, PipeGuardError, Refusal, StateError
from pipeguard.launch.child import Child, Exit
from pipeguard.runtime.numbers import number_of
from pipeguard.runtime.run import LAST_SECONDS, Mask, Run, start_thread
from pipeguard.secrets_in_use import IN_USE
from pipeguard.transports.channel import Channel, ChannelClosed
from pipeguard.transports.pump import pump_in_thread
from pipeguard.transports.stderr import StderrCopy
from pipeguard.transports.stdio import LineChannel

TYPE_CHECKING = False  # as typing.TYPE_CHECKING
if TYPE_CHECKING:
    import signal
    from queue import Empty, SimpleQueue

    from pipeguard.identity.server_name import Launched
else:
    import _signal as signal  # its Python half makes enums, which costs 3 ms
    from _queue import Empty, SimpleQueue

GRACE_SECONDS = 2.0  # for a server to end by itself, and again after SIGTERM
MOST_GRACE_SECONDS = 3600.0
STDERR = 2
STDERR_SECONDS = 1.0  # for a dead server's last words
DYING_SECONDS = 0.1  # to answer what crossed with the server's end
DECLINE_SECONDS = 1.0  # to answer what is asked although no server runs
TICK_SECONDS = 0.5  # between two looks for requests that waited too long


class _News(Enum):
    """What the main thread waits for."""

    CLIENT = "the client hung up"
    SERVER = "the server closed a pipe"
    SIGNAL = "somebody wants us ended"
    UNRECORDED = "the audit cannot be written, and policy says to stop"
    ENDED = "nothing that the server started is left"
    DRAINED = "all that the server said was passed on"


class TargetServer(Protocol):
    """What is guarded, wherever it runs."""

    def channel(self, limit_bytes: int) -> Channel:
        """Its frames."""

    def stderr(self, mask: Callable[[bytes], bytes]) -> StderrCopy | None:
        """Its standard error on the way to ours; None where it has none."""

    def end(self, grace_seconds: float) -> Exit:
        """End it; a second call can only shorten the grace."""

    def close(self) -> None:
        """Free what it holds, once nobody uses it any more."""


class Local:
    """A server that was started here."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.end = child.end
        self.close = child.close

    def channel(self, limit_bytes: int) -> Channel:
        """Its standard input and output."""
        return LineChannel(self._child.stdout_fd, self._child.stdin_fd, limit_bytes)

    def stderr(self, mask: Callable[[bytes], bytes]) -> StderrCopy | None:
        """Its standard error."""
        return StderrCopy(self._child.stderr_fd, STDERR, mask)


class GuardedServer:
    """One server, guarded from its start to its end.

    Attributes:
        died: True once the server ended by itself, with nobody asking for it.
        seconds: how long it ran.
    """

    def __init__(
        self, server: TargetServer, launched: Launched, options: WrapOptions, client_fd: int
    ) -> None:
        """Load what judging needs, while the server boots.

        Args:
            server: it boots already.
            launched: who it is.
            options: of the command line.
            client_fd: where frames for the client go.

        Raises:
            PipeGuardError: rules, policy or store do not load.
        """
        self._began = monotonic()
        self._child = server
        self._grace_seconds = number_of(options, "--grace", GRACE_SECONDS, MOST_GRACE_SECONDS)
        self._run = Run(launched, options, self._relist)
        self._session = Session(self._run.guard, self._run.name)
        limit = self._run.guard.policy.limits.frame_bytes
        self._client = LineChannel(0, client_fd, limit)
        self._server = server.channel(limit)
        self._stderr = server.stderr(Mask(self._run.engines))
        self._news: SimpleQueue[_News] = SimpleQueue()
        self._server_ended = False
        self._failure: StateError | None = None
        self.died = False
        self.seconds = 0.0

    def run(self) -> int:
        """Carry frames until a side is gone, then end the server; return its exit code.

        Raises:
            StateError: the audit could not be written, and policy says to stop then.
        """
        for number in (signal.SIGTERM, signal.SIGINT, *_HANGUP):
            signal.signal(number, self._on_signal)
        if self._stderr is not None:
            start_thread("stderr", self._stderr.run)
        to_client = start_thread("to-client", self._to_client)
        to_server = start_thread("to-server", self._to_server)
        if self._run.guard.policy.limits.timeout_seconds is not None:
            start_thread("expire", self._expire)
        self._run.begin()
        first = self._news.get()
        self.died = first is _News.SERVER
        start_thread("end", self._end_child)
        if not self._wait_for_the_end(hurried=not self.died):
            self._wait_for_latecomers()
        self._client.close_reading()
        to_server.join(LAST_SECONDS)
        if not to_client.is_alive():  # else the client does not read, and so would this wait
            start_thread("last-answers", self._answer_all).join(LAST_SECONDS)
        self._run.over.set()
        if self._stderr is not None:
            self._stderr.finish(STDERR_SECONDS)
        self._run.close()
        self.seconds = monotonic() - self._began
        ended = self._child.end(0)
        if not to_client.is_alive() and not to_server.is_alive():
            self._child.close()  # else their numbers must stay taken until this process ends
        if self._failure is not None:
            raise self._failure
        return ended.code

    # --- the two directions -------------------------------------------------------------

    def _to_server(self) -> None:
        """Until the client hangs up; what is asked when the server is gone is answered."""
        hung_up = False
        self._load(Surface.TO_SERVER)
        try:
            while not hung_up:
                try:
                    pump_in_thread(
                        self._session, Direction.TO_SERVER, self._client, self._server, self._record
                    )
                    hung_up = True
                except ChannelClosed:
                    self._news.put(_News.SERVER)
                    if self._server_ended:
                        self._answer_all()  # else `_to_client` does, after the last that it says
        finally:
            self._news.put(_News.CLIENT)  # or this thread failed: that is an end as well

    def _to_client(self) -> None:
        """Until the server's last word, also when the client does not listen any more."""
        self._load(Surface.TO_CLIENT)  # while the server boots
        try:
            pump_in_thread(
                self._session, Direction.TO_CLIENT, self._server, self._client, self._record
            )
        except ChannelClosed:
            self._news.put(_News.CLIENT)
            while self._server.read() is not None:
                pass  # a server that is stuck in a write could not end by itself
        else:
            self._server_ended = True
            self._news.put(_News.SERVER)
            self._answer_all()
        finally:
            self._news.put(_News.DRAINED)

    def _load(self, surface: Surface) -> None:
        with suppress(PipeGuardError):  # each frame meets it again, and is refused
            self._run.guard.load(surface)

    def _answer_all(self) -> None:
        with suppress(ChannelClosed):
            for frame in self._session.abandon():
                self._client.write(frame)

    def _record(self, verdict: Verdict) -> None:
        if not self._run.record(verdict):
            self._failure = StateError("the audit cannot be written, and the policy says to stop.")
            self._news.put(_News.UNRECORDED)
            self._withhold(verdict)
            raise ChannelClosed("no audit")

    def _withhold(self, verdict: Verdict) -> None:
        """Nothing passes unrecorded; who waits for it is answered all the same."""
        if verdict.direction is Direction.TO_SERVER:
            if verdict.reply is not None:  # a request that passed is still open, so it is later
                self._client.write(verdict.reply)
            return
        with suppress(Refusal):
            message = parse(verdict.frame)
            if isinstance(message, Message) and message.kind in (
                MessageKind.RESULT,
                MessageKind.ERROR,
            ):
                why = "PipeGuard: the audit cannot be written, so nothing passes"
                self._client.write(replies.error(message.id_token, codes.INTERNAL, why, _data()))

    # --- beside them --------------------------------------------------------------------

    def _relist(self, kinds: frozenset[str]) -> None:
        """In the recorder's thread, which must not wait for a client that does not read."""
        frames = self._session.relist(kinds)
        if frames:
            start_thread("relist", lambda: self._tell(frames))

    def _expire(self) -> None:
        while not self._run.over.wait(TICK_SECONDS):
            self._tell(self._session.expire(monotonic()))

    def _tell(self, frames: list[bytes]) -> None:
        with suppress(ChannelClosed):
            for frame in frames:
                self._client.write(frame)

    def _on_signal(self, number: int, frame: object) -> None:
        self._news.put(_News.SIGNAL)  # safe in a handler: documented as re-entrant

    # --- the end ------------------------------------------------------------------------

    def _end_child(self) -> None:
        self._child.end(self._grace_seconds)
        self._news.put(_News.ENDED)

    def _wait_for_the_end(self, *, hurried: bool) -> bool:
        """Until the server and all its words are gone.

        A client that is there may read as slowly as it likes, as from the server itself; one
        that hung up has a moment.

        Args:
            hurried: the client hung up, or somebody else wants an end.

        Returns:
            Whether anybody was in a hurry at last.
        """
        ended = drained = False
        deadline: float | None = None
        while not (ended and drained):
            if ended and hurried and deadline is None:
                deadline = monotonic() + LAST_SECONDS
            news = self._hear(deadline)
            if news is None:
                break
            if news is _News.SIGNAL and hurried:
                start_thread("hasten", lambda: self._child.end(0))
            hurried = hurried or news in _HURRY
            ended = ended or news is _News.ENDED
            drained = drained or news is _News.DRAINED
        return hurried

    def _wait_for_latecomers(self) -> None:
        """What crossed with the server's end is answered; so is a client's very first request."""
        wait_seconds = DYING_SECONDS if self._session.has_begun else DECLINE_SECONDS
        deadline = monotonic() + wait_seconds
        while (news := self._hear(deadline)) is not None:
            if news in _HURRY:
                return

    def _hear(self, deadline: float | None) -> _News | None:
        """The next news; None when the time is over."""
        left = None if deadline is None else max(0.0, deadline - monotonic())
        try:
            return self._news.get(timeout=left)
        except Empty:
            return None


_HURRY = (_News.CLIENT, _News.SIGNAL, _News.UNRECORDED)
_HANGUP = (signal.SIGHUP,) if sys.platform != "win32" else ()


def decline(error: PipeGuardError, client_fd: int) -> None:
    """No server runs: answer what the client asks in its first moments, so that it goes on."""
    channel = LineChannel(0, client_fd)
    timer = threading.Timer(DECLINE_SECONDS, channel.close_reading)
    timer.daemon = True
    timer.start()
    code = codes.PEER_GONE if isinstance(error, LaunchError) else codes.INTERNAL
    with suppress(ChannelClosed):
        while (frame := channel.read()) is not None:
            for id_token in _asked(frame):
                why = IN_USE.masked(f"PipeGuard: {replies.what_happened(str(error))}")
                channel.write(replies.error(id_token, code, why, _data()))
    timer.cancel()


def _asked(frame: bytes) -> list[str]:
    """The ids of what a client asks, as far as they can be told."""
    try:
        message = parse(frame)
    except Refusal:
        return [id_token for id_token, asks in legible_ids(frame) if asks]
    if isinstance(message, Message):
        return (
            [message.id_token] if message.kind is MessageKind.REQUEST and message.id_token else []
        )
    return request_ids(message)


def _data() -> JsonObject:
    return {"source": replies.MARK}
