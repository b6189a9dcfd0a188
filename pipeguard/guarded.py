"""A running server between two channels: its threads, its signals, its end.

Three threads carry bytes: one for each direction of frames, one for the server's standard error.
The main thread carries nothing: it waits for news, so that a signal is heard whatever the others
wait for, and then sees to an end in which every request is answered.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from time import monotonic, time

from pipeguard.core import answers, codes
from pipeguard.core.finding import Direction, Kind, Verdict
from pipeguard.core.fingerprint import Pin
from pipeguard.core.guard import Engines, Guard
from pipeguard.core.message import STACK_BYTES, JsonObject, Message, parse
from pipeguard.core.places import Surface
from pipeguard.core.session import Session
from pipeguard.errors import LaunchError, PipeGuardError, PolicyError, Refusal, StateError
from pipeguard.launch.child import Child
from pipeguard.log import Log, Trace
from pipeguard.options import WrapOptions
from pipeguard.settings import load_wrap_policy
from pipeguard.state.compiled import engines
from pipeguard.state.paths import store_file
from pipeguard.state.recorder import Recorder
from pipeguard.state.store import Store
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.pump import pump
from pipeguard.transports.stderr import StderrCopy
from pipeguard.transports.stdio import LineChannel
from pipeguard.waiting import COMPILING, told

TYPE_CHECKING = False  # as typing.TYPE_CHECKING
if TYPE_CHECKING:
    import signal
    from queue import Empty, SimpleQueue
else:
    import _signal as signal  # its Python half makes enums, which costs 3 ms
    from _queue import Empty, SimpleQueue

GRACE_SECONDS = 2.0  # for a server to end by itself, and again after SIGTERM
MOST_GRACE_SECONDS = 3600.0
LAST_SECONDS = 2.0  # for a client that hung up to take what is left, and for a thread to end
STDERR_SECONDS = 1.0  # for a dead server's last words
DYING_SECONDS = 0.1  # to answer what crossed with the server's end
DECLINE_SECONDS = 1.0  # to answer what is asked although no server runs
CALENDAR_SECONDS = 2.0  # between two looks at it, where an exception ends
SETTLED_SECONDS = 5.0  # after which a start is over, and the audit's age is looked at
TICK_SECONDS = 0.5  # between two looks for requests that waited too long


class _News(Enum):
    """What the main thread waits for."""

    CLIENT = "the client hung up"
    SERVER = "the server closed a pipe"
    SIGNAL = "somebody wants us ended"
    UNRECORDED = "the audit cannot be written, and policy says to stop"
    ENDED = "nothing that the server started is left"
    DRAINED = "all that the server said was passed on"


class Guarded:
    """One server, guarded from its start to its end.

    Attributes:
        died: True once the server ended by itself, with nobody asking for it.
        seconds: how long it ran.
    """

    def __init__(self, child: Child, name: str, options: WrapOptions, client_fd: int) -> None:
        """Load what judging needs, while the server boots.

        Args:
            child: the server.
            name: under which its pins and audit are kept.
            options: of the command line.
            client_fd: where frames for the client go.

        Raises:
            PipeGuardError: rules, policy or store do not load.
        """
        self._began = monotonic()
        self._child = child
        self._grace_seconds = _seconds(options.values.get("--grace"), GRACE_SECONDS)
        self._log = Log(options.values.get("--log-level"), options.values.get("--log-format"))
        policy = load_wrap_policy(options)
        self._audits = "--no-audit" not in options.flags
        if policy.stop_without_audit and not self._audits:
            raise PolicyError("--no-audit: the policy says `audit.on_failure: stop`.")
        with told(COMPILING):
            self._engines = engines()
        self._store = store_file()
        with Store.open(self._store) as opened:
            pins = opened.pins(name)
        run = _run_id()
        self._guard = Guard(name, self._engines, policy, pins, os.urandom(32))
        self._session = Session(self._guard, run)
        chain = run if self._audits else None
        self._recorder = Recorder(
            self._store, name, chain, self._log, pins=pins, on_pins_changed=self._repin
        )
        limit = policy.limits.frame_bytes
        self._client = LineChannel(0, client_fd, limit)
        self._server = LineChannel(child.stdout_fd, child.stdin_fd, limit)
        self._stderr = StderrCopy(child.stderr_fd, 2, _Mask(self._engines))
        self._trace = Trace(self._log, _Mask(self._engines)) if self._log.traces else None
        self._news: SimpleQueue[_News] = SimpleQueue()
        self._server_ended = False
        self._over = threading.Event()
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
        _begin("stderr", self._stderr.run)
        to_client = _begin("to-client", self._to_client)
        to_server = _begin("to-server", self._to_server)
        if self._guard.policy.limits.timeout_seconds is not None:
            _begin("expire", self._expire)
        if self._guard.policy.ends:
            _begin("calendar", self._follow_calendar)
        keeps = self._audits and self._guard.policy.audit_keep_days > 0
        pruning = _begin("prune", self._prune) if keeps else None
        first = self._news.get()
        self.died = first is _News.SERVER
        _begin("end", self._end_child)
        if not self._wait_for_the_end(hurried=not self.died):
            self._wait_for_latecomers()
        self._client.close_reading()
        to_server.join(LAST_SECONDS)
        if not to_client.is_alive():  # else the client does not read, and so would this wait
            _begin("last-answers", self._answer_all).join(LAST_SECONDS)
        self._over.set()
        self._stderr.finish(STDERR_SECONDS)
        self._recorder.close()
        if pruning is not None:
            pruning.join(LAST_SECONDS)
        if self._trace is not None:
            self._trace.close()
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
                    pump(
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
            pump(self._session, Direction.TO_CLIENT, self._server, self._client, self._record)
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
            self._guard.load(surface)

    def _answer_all(self) -> None:
        with suppress(ChannelClosed):
            for frame in self._session.abandon():
                self._client.write(frame)

    def _record(self, verdict: Verdict) -> None:
        if self._trace is not None:
            self._trace.show(verdict)
        if verdict.method == "initialize" and verdict.kind is Kind.REQUEST:
            self._recorder.client = _client_of(verdict.frame)
        if verdict.forward is None and verdict.kind is Kind.NOTIFICATION and not verdict.findings:
            return  # one of a flood, of which a row tells already
        self._recorder.record(verdict)
        if not self._recorder.healthy and self._guard.policy.stop_without_audit:
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
            if isinstance(message, Message) and message.kind in (Kind.RESULT, Kind.ERROR):
                why = "PipeGuard: the audit cannot be written, so nothing passes"
                self._client.write(answers.error(message.id_token, codes.INTERNAL, why, _data()))

    # --- beside them --------------------------------------------------------------------

    def _repin(self, pins: Mapping[tuple[str, str], Pin]) -> None:
        """In the recorder's thread, which must not wait for a client that does not read."""
        frames = self._session.relist(self._guard.repin(pins))
        if frames:
            _begin("relist", lambda: self._tell(frames))

    def _follow_calendar(self) -> None:
        """Exceptions end by the calendar, but frames have a clock that sleeps as the machine does.

        Whether it slept, or somebody set the calendar, their ends are put where they belong.
        """
        policy, offset = self._guard.policy, time() - monotonic()
        while not self._over.wait(CALENDAR_SECONDS):
            self._guard.policy = policy.sooner(time() - monotonic() - offset)

    def _prune(self) -> None:
        """Remove what the audit has kept for long enough, once the start is over."""
        self._over.wait(SETTLED_SECONDS)
        from datetime import UTC, datetime

        from pipeguard.state.retention import prune

        try:
            with Store.open(self._store) as store:
                prune(store, self._guard.policy.audit_keep_days, datetime.now(UTC))
        except StateError as error:
            with suppress(OSError, ValueError):  # standard error is closed
                self._log("warning", "the audit could not be pruned", why=str(error))

    def _expire(self) -> None:
        while not self._over.wait(TICK_SECONDS):
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
                _begin("hasten", lambda: self._child.end(0))
            hurried = hurried or news in _HURRY
            ended = ended or news is _News.ENDED
            drained = drained or news is _News.DRAINED
        return hurried

    def _wait_for_latecomers(self) -> None:
        """What crossed with the server's end is answered; so is a client's very first request."""
        wait_seconds = DYING_SECONDS if self._session.asked else DECLINE_SECONDS
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


class _Mask:
    """Masks secrets in free text, with an engine of its own that is made when first needed."""

    def __init__(self, compiled: Engines) -> None:
        self._engine = compiled.to_server
        self._is_ours = False

    def __call__(self, text: bytes) -> bytes:
        if not self._is_ours:
            self._engine, self._is_ours = self._engine.clone(), True
        return self._engine.mask(text)


def decline(error: PipeGuardError, client_fd: int) -> None:
    """No server runs: answer what the client asks in its first moments, so that it goes on."""
    channel = LineChannel(0, client_fd)
    timer = threading.Timer(DECLINE_SECONDS, channel.close_reading)
    timer.daemon = True
    timer.start()
    code = codes.PEER_GONE if isinstance(error, LaunchError) else codes.INTERNAL
    with suppress(ChannelClosed):
        while (frame := channel.read()) is not None:
            with suppress(Refusal):
                message = parse(frame)
                if isinstance(message, Message) and message.kind is Kind.REQUEST:
                    why = f"PipeGuard: {error}"
                    channel.write(answers.error(message.id_token, code, why, _data()))
    timer.cancel()


def _begin(name: str, work: Callable[[], object]) -> threading.Thread:
    """A thread that does not keep this process alive, with a stack that frames fit on."""
    threading.stack_size(STACK_BYTES)
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


def _run_id() -> str:
    """Eight letters and digits that name this run in events: 40 random bits."""
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: none is taken for another
    number = int.from_bytes(os.urandom(5), "big")
    return "".join(alphabet[number >> shift & 31] for shift in range(35, -1, -5))


def _seconds(text: str | None, default: float) -> float:
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MOST_GRACE_SECONDS:
        raise PolicyError(f"--grace {text}: give seconds, as 2 or 0.5.")
    return value


def _data() -> JsonObject:
    return {"source": answers.MARK}


def _client_of(frame: bytes) -> str:
    """The client's name and version, as it gives them in `initialize`."""
    with suppress(Refusal):
        message = parse(frame)
        params = message.value.get("params") if isinstance(message, Message) else None
        info = params.get("clientInfo") if isinstance(params, dict) else None
        if isinstance(info, dict):
            words = (info.get("name"), info.get("version"))
            return " ".join(word for word in words if isinstance(word, str))
    return ""
