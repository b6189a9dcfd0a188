"""A running server between two channels: its threads, its signals, its end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic

from pipeguard.core import answers, codes
from pipeguard.core.finding import Direction, Kind, Verdict
from pipeguard.core.fingerprint import Pin
from pipeguard.core.guard import Guard
from pipeguard.core.message import JsonObject, Message, parse
from pipeguard.core.session import Session
from pipeguard.errors import PolicyError, Refusal, StateError
from pipeguard.launch.child import Child
from pipeguard.log import Log, Trace
from pipeguard.options import WrapOptions
from pipeguard.settings import load_wrap_policy
from pipeguard.state.compiled import engines
from pipeguard.state.paths import store_path
from pipeguard.state.recorder import Recorder
from pipeguard.state.store import Store
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.pump import pump
from pipeguard.transports.stderr import StderrCopy
from pipeguard.transports.stdio import LineChannel

GRACE_SECONDS = 2.0  # for a server to end by itself, and again after SIGTERM
STDERR_SECONDS = 1.0  # for a dead server's last words
DYING_SECONDS = 0.1  # to answer what crossed with the server's end
DECLINE_SECONDS = 1.0  # to answer what is asked although no server runs
TICK_SECONDS = 0.5  # between two looks for requests that waited too long


class Guarded:
    """One server, guarded from its start to its end."""

    def __init__(self, child: Child, name: str, options: WrapOptions) -> None:
        """Load what judging needs, while the server boots.

        Raises:
            PipeGuardError: rules, policy or store do not load.
        """
        self._began = monotonic()
        self._child = child
        self._grace_seconds = _seconds(options.values.get("--grace"), GRACE_SECONDS)
        policy = load_wrap_policy(options)
        compiled = engines()
        store = store_path()
        with Store.open(store) as opened:
            pins = opened.pins(name)
        self._run_id = _run_id()
        self._log = Log(options.values.get("--log-level"), options.values.get("--log-format"))
        self._guard = Guard(name, compiled, policy, pins)
        self._session = Session(self._guard, self._run_id)
        self._recorder = Recorder(
            store, name, self._run_id, self._log, pins=pins, on_pins_changed=self._repin
        )
        limit = policy.limits.frame_bytes
        self._client = LineChannel(0, 1, limit)
        self._server = LineChannel(child.stdout_fd, child.stdin_fd, limit)
        mask = compiled.to_server.clone().mask
        self._stderr = StderrCopy(child.stderr_fd, 2, mask)
        self._trace = (
            Trace(self._log, compiled.to_server.clone().mask) if self._log.traces else None
        )
        self._ending = threading.Event()  # no more is read from the client
        self._done = threading.Event()
        self._failure: StateError | None = None
        self.seconds = 0.0

    def run(self) -> int:
        """Carry frames until a side is gone, then end the server; return its exit code."""
        for number in (signal.SIGTERM, signal.SIGINT, *_HANGUP):
            signal.signal(number, self._on_signal)
        stderr = threading.Thread(target=self._stderr.run, name="stderr", daemon=True)
        stderr.start()
        back = threading.Thread(target=self._to_client, name="to-client", daemon=True)
        back.start()
        if self._guard.policy.limits.timeout_seconds is not None:
            threading.Thread(target=self._expire, name="expire", daemon=True).start()
        self._to_server()
        return self._end(back)

    def _to_server(self) -> None:
        """Until the client hangs up, or the server has and `_to_client` ends our reading."""
        while True:
            try:
                pump(self._session, Direction.TO_SERVER, self._client, self._server, self._record)
            except ChannelClosed:
                self._answer_all()  # the server is gone: answer, and read what else is asked
                if self._child.wait(self._grace_seconds) is None or self._failure is not None:
                    return
            else:
                return

    def _to_client(self) -> None:
        try:
            pump(self._session, Direction.TO_CLIENT, self._server, self._client, self._record)
        except ChannelClosed:
            pass  # the client is gone
        else:
            self._answer_all()
            # What the client has just sent, or its first request if it sent none yet, is
            # answered too.
            self._ending.wait(DYING_SECONDS if self._session.asked else DECLINE_SECONDS)
        self._client.close_reading()

    def _end(self, back: threading.Thread) -> int:
        self._ending.set()
        self._server.close_writing()
        back.join(self._grace_seconds)
        ended = self._child.end(self._grace_seconds)
        back.join(self._grace_seconds)
        self._answer_all()
        self._stderr.finish(STDERR_SECONDS)
        self._recorder.close()
        if self._trace is not None:
            self._trace.close()
        self._done.set()
        self.seconds = monotonic() - self._began
        self._child.close()
        if self._failure is not None:
            raise self._failure
        return ended.code

    def _answer_all(self) -> None:
        with suppress(ChannelClosed):
            for frame in self._session.abandon():
                self._client.write(frame)

    def _record(self, verdict: Verdict) -> None:
        if self._trace is not None:
            self._trace.show(verdict)
        if verdict.method == "initialize" and verdict.kind is Kind.REQUEST:
            self._recorder.client = _client_of(verdict.frame)
        self._recorder.record(verdict)
        if not self._recorder.healthy and self._guard.policy.stop_without_audit:
            self._failure = StateError("the audit cannot be written, and the policy says to stop")
            self._client.close_reading()
            raise ChannelClosed("no audit")

    def _repin(self, pins: Mapping[tuple[str, str], Pin]) -> None:
        kinds = self._guard.repin(pins)
        with suppress(ChannelClosed):
            for frame in self._session.relist(kinds):
                self._client.write(frame)

    def _expire(self) -> None:
        while not self._done.wait(TICK_SECONDS):
            with suppress(ChannelClosed):
                for frame in self._session.expire(monotonic()):
                    self._client.write(frame)

    def _on_signal(self, number: int, frame: object) -> None:
        self._client.close_reading()


def decline(why: str) -> None:
    """No server runs: answer what the client asks in its first moments, so that it goes on."""
    channel = LineChannel(0, 1)
    timer = threading.Timer(DECLINE_SECONDS, channel.close_reading)
    timer.daemon = True
    timer.start()
    with suppress(ChannelClosed):
        while (frame := channel.read()) is not None:
            with suppress(Refusal):
                message = parse(frame)
                if isinstance(message, Message) and message.kind is Kind.REQUEST:
                    data: JsonObject = {"source": answers.MARK}
                    channel.write(
                        answers.error(message.id_token, codes.PEER_GONE, f"PipeGuard: {why}", data)
                    )


_HANGUP = (signal.SIGHUP,) if sys.platform != "win32" else ()


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
    if not 0 <= value <= 3600:
        raise PolicyError(f"--grace {text}: give seconds, as 2 or 0.5")
    return value


def _client_of(frame: bytes) -> str:
    """The client's name and version, as it gives them in `initialize`."""
    message = parse(frame)
    params = message.value.get("params") if isinstance(message, Message) else None
    info = params.get("clientInfo") if isinstance(params, dict) else None
    if not isinstance(info, dict):
        return ""
    return " ".join(str(info[key]) for key in ("name", "version") if isinstance(info.get(key), str))
