"""A guarded server behind an address of ours: its parts put together, from start to end.

Everything runs on one event loop, in the main thread. Nothing here judges.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from pipeguard.config.options import WrapOptions
from pipeguard.detect.checks.addresses import is_loopback
from pipeguard.errors import LaunchError, PipeGuardError, PolicyError, StateError
from pipeguard.firewall.finding import Finding, Verdict
from pipeguard.firewall.protocol.places import Surface
from pipeguard.identity.server_name import identify_server
from pipeguard.log import say
from pipeguard.runtime.connect import LocalDialler, remote_dialler
from pipeguard.runtime.endpoints import identify_upstream, read_admission, server_context
from pipeguard.runtime.loop import ending_on_signals, new_loop, prepare_threads, tune_process
from pipeguard.runtime.numbers import read_number
from pipeguard.runtime.questions import Questions
from pipeguard.runtime.run import Mask, Run
from pipeguard.runtime.transports import make_endpoints
from pipeguard.transports.channel import AsyncChannel, Dialler
from pipeguard.transports.http.client.multiplexer import Multiplexer
from pipeguard.transports.http.client.task_owners import OwnedDialler, SharingClient
from pipeguard.transports.http.server.admission import Refusals
from pipeguard.transports.http.server.backend import MCP, Backend, Dial, RouteTable, Upstream
from pipeguard.transports.http.server.callers import IssuedTokens, StoredTokens
from pipeguard.transports.http.server.listener import Listener, OtherEndpoint, Readiness, listen
from pipeguard.transports.http.server.login_metadata import LoginMetadata
from pipeguard.transports.http.server.sealed_sessions import SealedSessions
from pipeguard.transports.http.server.sessions import SessionOwners, Sessions
from pipeguard.transports.judging import Judge

MAX_SESSIONS = 1000
IDLE_SECONDS = 1800.0
DRAIN_SECONDS = 5.0


def serve(options: WrapOptions) -> int:
    """Answer clients at an address until a signal ends it.

    Returns:
        0 after SIGTERM or SIGINT.

    Raises:
        PipeGuardError: it could not begin, or the audit cannot be written and policy says to stop.
    """
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_ListeningServer(options).run())


class _ListeningServer:
    """One listener, from its start to its end."""

    def __init__(self, options: WrapOptions) -> None:
        self._options = options
        self._failure: PipeGuardError | None = None

    async def run(self) -> int:
        """Listen until a signal, or a failure of the audit."""
        options = self._options
        self._loop = loop = asyncio.get_running_loop()
        prepare_threads(loop)
        self._ended = loop.create_future()
        launched = (
            identify_server(options.command, options.values.get("--cwd"))
            if options.command
            else identify_upstream(options.values["--upstream"])
        )
        self._run = run = Run(launched, options, self._note_changes)
        place = ListeningPlace(options, run.guard.policy.limits.frame_bytes)
        self._sessions = Sessions(run.guard, run.name, place.most, place.idle_seconds)
        self._sessions.name_token, self._sessions.record = run.name_token, self._record
        self._sessions.find_memory = run.notes.of_token
        self._sessions.find_tape = partial(run.recording.find_tape, run.guard.name)
        run.on_loss = lambda: loop.call_soon_threadsafe(self._tell_loss)
        run.on_stop = lambda: loop.call_soon_threadsafe(self._fail, PolicyError(f"{run.stopped}."))
        self._questions = questions = Questions(run)
        run.on_stopped, run.guard.questions = self._ask_user, lambda: questions
        place.take(self._sessions.owners)
        for surface in Surface:
            run.detection.load(surface)
        await self._listen(place)
        run.close()
        if self._failure is not None:
            raise self._failure
        return 0

    async def _listen(self, place: "ListeningPlace") -> None:
        options, run = self._options, self._run
        limit_bytes = place.admission.limit_bytes
        is_shared = bool(options.command) and "--shared" in options.flags
        upstream: Upstream | None = None
        login: LoginMetadata | None = None
        dialler: Dialler
        if options.command:
            mask = Mask(run.engines)
            dialler = LocalDialler(options, limit_bytes, mask, run, is_shared=is_shared)
            dialler = Multiplexer(dialler) if is_shared else dialler
        else:
            dialler = remote = await remote_dialler(options, limit_bytes)
            upstream = Upstream(remote.remote, remote.http, remote.transport)
            if remote.remote.passes_credentials:
                login = LoginMetadata(remote.remote, remote.http, MCP)
        owned = OwnedDialler(dialler)

        def dial(who: str, _session: str) -> Awaitable[AsyncChannel]:
            return owned.dial(SharingClient(who or object())) if is_shared else dialler.dial()

        judge = Judge(self._record)
        mounted = place.mount(self._sessions, judge, dial, waits=not is_shared, upstream=upstream)
        place.routes.add(route for endpoint in mounted.endpoints for route in endpoint.routes)

        def is_ready() -> Readiness:
            return Readiness(
                not self._ended.done()
                and all(endpoint.is_ready() for endpoint in mounted.endpoints)
            )

        with ending_on_signals(self._loop, self._ended):
            await place.listen(is_ready, run.refuse, login)
            run.begin()
            await self._ended
            judge.ending = str(self._failure or "").rstrip(".")
            if self._failure is None:
                await place.listener.drain()
            await mounted.close()  # first, so that clients get their answers before the end
            await dialler.close()
            await place.close()

    def _record(self, verdict: Verdict) -> None:
        """Record a verdict.

        Raises:
            StateError: it cannot be recorded, and the policy then stops everything.
        """
        if not self._run.record(verdict):
            error = StateError("the audit cannot be written, and the policy says to stop.")
            self._fail(error)
            raise error

    def _fail(self, error: PipeGuardError) -> None:
        """End everything, with an error."""
        self._failure = error
        if not self._ended.done():
            self._ended.set_result(0)

    def _tell_loss(self) -> None:
        """Warn clients of lost audit rows."""
        with suppress(StateError):  # which ends everything
            self._sessions.tell_audit_loss()

    def _ask_user(self, verdict: Verdict) -> None:
        """Ask the user in the client about a stopped message, if it declared elicitation."""
        session = self._sessions.find_subscribed(verdict.event.rpartition(".")[0])
        if session is None or "elicitation" not in session.state.peers.capabilities:
            return

        def send(frames: list[bytes]) -> None:
            self._loop.call_soon_threadsafe(self._sessions.send, session, frames)

        self._questions.consider(verdict, session, send)

    def _note_changes(self, kinds: frozenset[str]) -> None:
        """Notify clients to list again; called in the recorder's thread."""
        self._loop.call_soon_threadsafe(self._sessions.relist, kinds)


# --- listening --------------------------------------------------------------------------
# The address of a listener, and its announcement to a person.


class ListeningPlace:
    """The address for clients.

    Args:
        options: of listening.
        limit_bytes: of one message.
        stored: tokens in the store; None if the command has none.
        sign_ins: of an issuer; None if the command accepts none.

    Attributes:
        admission: of requests.
        most: the largest number of sessions at once.
        idle_seconds: after which a session is ended.
        drain_seconds: for which a gateway accepts requests after SIGTERM.
        routes: of all endpoints.
    """

    def __init__(
        self,
        options: WrapOptions,
        limit_bytes: int,
        stored: StoredTokens | None = None,
        sign_ins: IssuedTokens | None = None,
    ) -> None:
        """Check the options.

        Raises:
            PolicyError: an option is wrong.
        """
        self._option = options.values["--listen"]
        self.admission, self._port = read_admission(options, limit_bytes, stored, sign_ins)
        self._context = server_context(options)
        self.most = int(read_number(options, "--max-sessions", MAX_SESSIONS))
        self.idle_seconds = read_number(options, "--idle-timeout", IDLE_SECONDS)
        self.drain_seconds = read_number(options, "--drain", DRAIN_SECONDS)
        self.routes = RouteTable()

    def take(self, owners: SessionOwners) -> None:
        """Bind the address.

        Args:
            owners: of the sessions.

        Raises:
            LaunchError: there is no such address, or it is in use.
        """
        try:
            self._socket = listen(self.admission.host, self._port)
        except OSError as error:
            raise LaunchError(f"--listen {self._option}: {error.strerror or error}.", 1) from None
        port = self._socket.getsockname()[1]
        self.admission = self.admission._replace(port=port, owners=owners)

    def mount(
        self,
        sessions: Sessions,
        judge: Judge,
        dial: Dial,
        *,
        waits: bool = False,
        upstream: Upstream | None = None,
        sealed: SealedSessions | None = None,
    ) -> Backend:
        """Make the backend of one server, with an endpoint for each transport with clients."""
        backend = Backend(
            sessions,
            judge,
            self.admission.backlog,
            dial,
            self.admission.limit_bytes,
            self.most,
            self.idle_seconds,
            waits=waits,
            upstream=upstream,
            sealed=sealed,
        )
        backend.endpoints = make_endpoints(backend)
        return backend

    async def listen(
        self,
        readiness: Callable[[], Readiness],
        record: Callable[[Finding, str], None],
        login: OtherEndpoint | None = None,
        page: OtherEndpoint | None = None,
    ) -> str:
        """Begin to answer.

        Returns:
            Scheme, host and port.
        """
        self._refusals = Refusals(record)
        self.listener = Listener(self.admission, self.routes, readiness, self._refusals, login)
        self.listener.page = page
        await self.listener.open(self._socket, self._context)
        tune_process()
        return say_listening(self._socket, tls=self._context is not None)

    async def close(self) -> None:
        """End it, once all pending requests are answered."""
        await self.listener.close()
        self._refusals.close()


def say_listening(listening: socket.socket, *, tls: bool) -> str:
    """Print the URL for clients, and warn if others could read their messages.

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
