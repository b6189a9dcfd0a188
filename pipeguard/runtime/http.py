"""A guarded server behind an address of ours: its parts put together, from start to end.

Everything runs on one event loop, in the main thread. Nothing here judges.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable
from typing import NamedTuple

from pipeguard.config.options import WrapOptions
from pipeguard.detect.checks.addresses import is_loopback
from pipeguard.errors import LaunchError, StateError
from pipeguard.firewall.finding import Verdict
from pipeguard.firewall.protocol.places import Surface
from pipeguard.identity.server_name import Launched, identify_remote, identify_server
from pipeguard.log import say
from pipeguard.runtime.connect import RemoteDialler, local_dialler, remote_dialler
from pipeguard.runtime.endpoints import name_remote, read_admission, read_url, server_context
from pipeguard.runtime.loop import (
    ending_on_signals,
    new_loop,
    prepare_threads,
    tune_process,
)
from pipeguard.runtime.numbers import read_number
from pipeguard.runtime.questions import Questions
from pipeguard.runtime.run import Mask, Run
from pipeguard.runtime.transports import make_endpoints
from pipeguard.transports.channel import AsyncChannel, Dialler
from pipeguard.transports.http.client.multiplexer import Multiplexer
from pipeguard.transports.http.client.task_owners import OwnedDialler, SharingClient
from pipeguard.transports.http.server.admission import Admission
from pipeguard.transports.http.server.backend import (
    MCP,
    Backend,
    Endpoint,
    RouteTable,
    Upstream,
)
from pipeguard.transports.http.server.listener import Listener, Readiness, listen
from pipeguard.transports.http.server.login_metadata import LoginMetadata
from pipeguard.transports.http.server.refusals import Refusals
from pipeguard.transports.http.server.sessions import Sessions
from pipeguard.transports.judging import Judge

MAX_SESSIONS = 1000
IDLE_SECONDS = 1800.0


def serve(options: WrapOptions) -> int:
    """Answer clients at an address until a signal ends it.

    Returns:
        0 after SIGTERM or SIGINT.

    Raises:
        PipeGuardError: it could not begin, or the audit cannot be written and policy says to stop.
    """
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_ListeningServer(options).run())


class _Parts(NamedTuple):
    """The parts that answer clients, in the order in which they end."""

    endpoints: tuple[Endpoint, ...]
    backend: Backend
    dialler: Dialler
    login: LoginMetadata | None

    def are_ready(self) -> bool:
        """True while a new conversation could begin."""
        return all(endpoint.is_ready() for endpoint in self.endpoints)

    async def close(self) -> None:
        """Answer whatever waits, and end the server."""
        closing = [endpoint.close() for endpoint in self.endpoints]
        await asyncio.gather(*closing, self.backend.close())
        await self.dialler.close()


class _ListeningServer:
    """One listener, from its start to its end."""

    def __init__(self, options: WrapOptions) -> None:
        self._options = options
        self._failure: StateError | None = None

    async def run(self) -> int:
        """Listen until a signal, or a failure of the audit."""
        options = self._options
        self._loop = loop = asyncio.get_running_loop()
        prepare_threads(loop)
        self._ended = loop.create_future()
        self._run = run = Run(self._launch(), options, self._note_changes)
        admission, port = read_admission(options, os.environ, run.guard.policy.limits.frame_bytes)
        context = server_context(options)
        most = int(read_number(options, "--max-sessions", MAX_SESSIONS))
        idle_seconds = read_number(options, "--idle-timeout", IDLE_SECONDS)
        self._sessions = Sessions(run.guard, run.name, most, idle_seconds)
        self._sessions.name_token = run.name_token
        run.on_loss = lambda: self._loop.call_soon_threadsafe(self._tell_loss)
        self._questions = questions = Questions(run)
        run.on_stopped, run.guard.questions = self._ask_user, lambda: questions
        listening = bind(options.values["--listen"], admission.host, port)
        for surface in Surface:
            run.detection.load(surface)
        parts = await self._make_parts(admission, most, idle_seconds)
        port = listening.getsockname()[1]
        admission = admission._replace(port=port, owners=self._sessions.owners)
        await self._listen(admission, parts, listening, context)
        run.close()
        if self._failure is not None:
            raise self._failure
        return 0

    async def _listen(
        self,
        admission: Admission,
        parts: _Parts,
        listening: socket.socket,
        context: ssl.SSLContext | None,
    ) -> None:
        refusals = Refusals(self._run.refuse)
        routes = RouteTable(route for endpoint in parts.endpoints for route in endpoint.routes)
        listener = Listener(
            admission,
            routes,
            lambda: Readiness(not self._ended.done() and parts.are_ready()),
            refusals,
            parts.login,
        )
        with ending_on_signals(self._loop, self._ended):
            await listener.open(listening, context)
            self._run.begin()
            tune_process()
            say_listening(listening, tls=context is not None)
            await self._ended
            listener.refuse()
            await parts.close()  # first, so that clients get their answers before the end
            await listener.close()
            refusals.close()

    def _launch(self) -> Launched:
        if self._options.command:
            return identify_server(self._options.command, self._options.values.get("--cwd"))
        url = read_url(self._options.values["--upstream"])
        return identify_remote(str(url), name_remote(url))

    async def _make_parts(self, admission: Admission, most: int, idle_seconds: float) -> _Parts:
        limit_bytes = admission.limit_bytes
        upstream: Upstream | None = None
        login: LoginMetadata | None = None
        if self._options.command:
            dialler = self._local_dialler(limit_bytes)
        else:
            dialler = remote = await remote_dialler(self._options, limit_bytes)
            upstream = Upstream(remote.remote, remote.http, remote.transport)
            login = _login_metadata(remote)

        is_shared = isinstance(dialler, Multiplexer)
        owned = OwnedDialler(dialler)

        def dial(who: str) -> Awaitable[AsyncChannel]:
            return owned.dial(SharingClient(who or object())) if is_shared else dialler.dial()

        backend = Backend(
            self._sessions,
            Judge(self._record),
            admission.backlog,
            dial,
            limit_bytes,
            most,
            idle_seconds,
            waits=not is_shared,
            upstream=upstream,
        )
        return _Parts(make_endpoints(backend), backend, dialler, login)

    def _local_dialler(self, limit_bytes: int) -> Dialler:
        is_shared = "--shared" in self._options.flags
        mask = Mask(self._run.engines)
        dialler = local_dialler(self._options, limit_bytes, mask, self._run, is_shared=is_shared)
        return Multiplexer(dialler) if is_shared else dialler

    def _record(self, verdict: Verdict) -> None:
        """Record a verdict.

        Raises:
            StateError: it cannot be recorded, and policy says that nothing may pass then.
        """
        if not self._run.record(verdict):
            self._failure = StateError("the audit cannot be written, and the policy says to stop.")
            if not self._ended.done():
                self._ended.set_result(None)
            raise self._failure

    def _ask_user(self, verdict: Verdict) -> None:
        """Ask the user in the client about what was stopped, if it declared that it asks them."""
        session = self._sessions.find_subscribed(verdict.event.rpartition(".")[0])
        if session is None or "elicitation" not in session.state.peers.capabilities:
            return

        def send(frames: list[bytes]) -> None:
            self._loop.call_soon_threadsafe(self._sessions.send, session, frames)

        self._questions.consider(verdict, session, send)

    def _tell_loss(self) -> None:
        """Tell clients that rows of the audit are lost."""
        for verdict in self._sessions.tell_audit_loss():
            self._record(verdict)

    def _note_changes(self, kinds: frozenset[str]) -> None:
        """Tell clients to list again; called in the recorder's thread."""
        self._loop.call_soon_threadsafe(self._sessions.relist, kinds)


def _login_metadata(dialler: RemoteDialler) -> LoginMetadata | None:
    """The login of clients to the server; None where they do not log in."""
    remote = dialler.remote
    return LoginMetadata(remote, dialler.http, MCP) if remote.passes_credentials else None


# --- listening --------------------------------------------------------------------------
# The address of a listener, and what a person is told of it.


def bind(option: str, host: str, port: int) -> socket.socket:
    """A socket at the address that `--listen` names.

    Raises:
        LaunchError: there is no such address, or it is in use.
    """
    try:
        return listen(host, port)
    except OSError as error:
        why = f"--listen {option}: {error.strerror or error}."
        raise LaunchError(why, 1) from None


def say_listening(listening: socket.socket, *, tls: bool) -> str:
    """Say the URL at which clients reach us, and who else could read what they send.

    Returns:
        Scheme, host and port of that URL.
    """
    host, port = listening.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    origin = f"{'https' if tls else 'http'}://{name}:{port}"
    say(f"listening on {origin}{MCP}")
    if not (tls or is_loopback(host)):
        say(
            "without TLS, the network can read tokens and messages: --tls-cert, or a proxy with TLS"
        )
    return origin
