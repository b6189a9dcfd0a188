"""`pipeguard serve`, from its start to its end: over stdio, or for clients at an address.

Puts the gateway behind a front, follows its sources, and ends all of it on a signal. Nothing here
judges. `serve --check` starts no server and listens nowhere. OpenTelemetry is imported only if a
variable asks for it (opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import partial
from shutil import which
from time import monotonic
from typing import TYPE_CHECKING

from pipeguard.auth.identity_key import Identity, find_owner
from pipeguard.auth.sign_ins import SignIns
from pipeguard.config.options import WrapOptions
from pipeguard.errors import PipeGuardError, PolicyError
from pipeguard.firewall.finding import Direction
from pipeguard.gateway.answers import dial
from pipeguard.gateway.front import FrontJudge, FrontSessions, front_guard
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.hub import FindMemory
from pipeguard.gateway.life import Circuit
from pipeguard.gateway.menu import ToolMode
from pipeguard.gateway.proposed_servers import ServerManagement
from pipeguard.gateway.servers_file import OUTAGE_SECONDS, ServerSettings, ServersFile
from pipeguard.gateway.sources import Sources
from pipeguard.gateway.telemetry import NO_TELEMETRY, NONE, Telemetry
from pipeguard.installation import require_extra
from pipeguard.isolation import missing_paths
from pipeguard.log import Log, say
from pipeguard.rulebook.policy_rules import load_wrap_policy
from pipeguard.runtime.endpoints import is_own_address
from pipeguard.runtime.loop import ending_on_signals, new_loop, prepare_threads, tune_process
from pipeguard.runtime.policy_watch import Stamp
from pipeguard.runtime.progress import wait_for_engines
from pipeguard.runtime.recording import Recording
from pipeguard.runtime.run import start_thread
from pipeguard.state.client_notes import ClientNotes
from pipeguard.state.paths import existing_store, store_file
from pipeguard.state.replica import REPLICA
from pipeguard.state.shared import shared_address
from pipeguard.state.store import open_link, open_store
from pipeguard.state.tokens import TokenReader, TokenScope
from pipeguard.transports.bridge import AsyncAdapter
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.judging import answer_overdue
from pipeguard.transports.pump import pump
from pipeguard.transports.stdio import LineChannel

if TYPE_CHECKING:
    from pipeguard.gateway.listening import GatewayListener, PageEndpoint
    from pipeguard.state.postgres.link import Link

GRACE_SECONDS = 5.0  # to answer pending requests when the client hangs up
LAST_SECONDS = 2.0  # for the client to read the rest; one that hung up may read nothing
WATCH_SECONDS = 1.0  # between two looks at the sources
_EVERYTHING = TokenScope(manages=True)


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The options of `pipeguard serve`.

    Attributes:
        sources: of the servers.
        mode: how agents get to the tools; None for the file's mode.
        wrap: options of `wrap` that apply here: of listening, policy and log.
        may_manage: True if agents may make the proposals that the file allows.
        is_read_only: True if no tool that changes something may be called.
    """

    sources: Sources
    mode: ToolMode | None
    wrap: WrapOptions
    may_manage: bool = True
    is_read_only: bool = False

    def common(self) -> dict[str, str]:
        """The options that apply to each server."""
        names = ("--policy", "--log-level", "--log-format", "--grace", "--record")
        return {name: self.wrap.values[name] for name in names if name in self.wrap.values}

    def must_allow(self, identity: Identity | None) -> None:
        """Refuse sign-ins of clients over stdio, and without what verifies them.

        Raises:
            PolicyError: they cannot be accepted.
        """
        if identity is None:
            return
        if "--listen" not in self.wrap.values:
            raise PolicyError("`identity` is for clients over HTTP: it needs --listen.")
        require_extra("fleet", "sign-ins (`identity`)", PolicyError)

    def without_itself(self, file: ServersFile) -> ServersFile:
        """The servers except those at this gateway's own address: it would call itself."""
        listen = self.wrap.values.get("--listen", "")
        own = [server for server in file.servers if is_own_address(server.url, listen)]
        notes = [f"the server {each.name} is left out: it is this gateway itself" for each in own]
        if file.outage_seconds is not None and not shared_address():
            notes.append("`outage` does nothing without --store")
        others = tuple(server for server in file.servers if server not in own)
        return file._replace(servers=others, notes=(*file.notes, *notes))


def serve(options: ServeOptions, client_fd: int | None, page: PageEndpoint | None = None) -> int:
    """Answer clients until the one over stdio hangs up, or a signal comes.

    Args:
        options: of the command.
        client_fd: receives frames for a client over stdio; None to listen at an address.
        page: the page for a person's decisions; None to offer none.

    Returns:
        0.

    Raises:
        PipeGuardError: it could not begin.
    """
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_Serving(options, page).run(client_fd))


class _Serving:
    """One run of the gateway."""

    def __init__(self, options: ServeOptions, page: PageEndpoint | None = None) -> None:
        self._options = options
        self._page = page
        self._log = Log(
            options.wrap.values.get("--log-level"), options.wrap.values.get("--log-format")
        )
        self._listener: GatewayListener | None = None
        self._tokens: TokenReader | None = None
        self._sign_ins = SignIns(self._find_revoked, say)
        self._link: Link | None = None
        self._stamp: Stamp = ()  # of the sources, when they were read last
        self._notes: tuple[str, ...] = ()  # on how they were read
        self._reported = ""  # the error in them
        self._retries = Circuit()  # of the servers that were left out
        self._retry_at: float | None = None

    async def run(self, client_fd: int | None) -> int:
        """Serve until the end."""
        options = self._options
        loop = asyncio.get_running_loop()
        prepare_threads(loop)
        ended = loop.create_future()
        policy = load_wrap_policy(options.wrap)
        self._stamp = options.sources.stamp()
        file = options.sources.read(os.environ)
        self._accept(file.identity)
        engines = wait_for_engines()
        link = self._link = open_link(file.outage_seconds or OUTAGE_SECONDS, say)
        judge = FrontJudge(self._log)
        if client_fd is None:
            self._tokens = TokenReader(open_store() if link is None else link.read_tokens, say)
        mode = options.mode or file.mode
        self._gateway = gateway = Gateway(engines, mode, options.common(), self._find_scopes)
        gateway.is_read_only, gateway.limits = options.is_read_only, file.limits
        gateway.link = link
        record = Recording(options.wrap, engines.definitions.key, judge.recorder).begin
        gateway.begin_tape = partial(record, "gateway", judge.run)
        notes = ClientNotes(judge.notice, is_used=policy.follows_client)
        find = _share_notes(link, notes) if client_fd is None else notes.of_process
        gateway.find_memory = lambda who, session_id: find(find_owner(who), session_id)
        transport = "tcp" if client_fd is None else "pipe"
        gateway.telemetry = open_telemetry(os.environ, self._log, transport)
        gateway.telemetry.watch(gateway.figures)
        sessions = FrontSessions(front_guard(engines, policy), judge.run, gateway.find_definition)
        if self._tokens is not None:
            self._listener = self._listen(self._tokens, sessions, judge)
        with ending_on_signals(loop, ended):
            await self._apply(file)
            watching = asyncio.create_task(self._watch())
            try:
                if client_fd is not None:
                    await self._over_stdio(client_fd, sessions, judge, ended)
                elif self._listener is not None:
                    await self._listener.run(ended)
            finally:
                notes.close()
                watching.cancel()
                await self._gateway.close()
                await asyncio.to_thread(self._gateway.telemetry.close)
                self._sign_ins.close()
                if self._tokens is not None:
                    self._tokens.close()
                await asyncio.to_thread(judge.close)
                if link is not None:
                    REPLICA.link = None
                    await asyncio.to_thread(link.close)
        return 0

    def _listen(
        self, tokens: TokenReader, sessions: FrontSessions, judge: FrontJudge
    ) -> GatewayListener:
        """Take the address.

        Raises:
            PipeGuardError: an option is wrong, or the address is in use.
        """
        from pipeguard.gateway.listening import GatewayListener  # with an HTTP library

        if tokens.are_required() and not tokens.valid():
            say("no stored token is valid, and one is needed: pipeguard tokens create NAME")
        return GatewayListener(
            self._options.wrap,
            self._gateway,
            sessions,
            judge=judge,
            stored=tokens,
            sign_ins=self._sign_ins,
            page=self._page,
        )

    def _accept(self, identity: Identity | None) -> None:
        """Accept the sign-ins of these settings.

        Raises:
            PolicyError: they cannot be accepted.
        """
        self._options.must_allow(identity)
        self._sign_ins.change(identity)

    def _find_revoked(self) -> Mapping[str, str]:
        return self._tokens.find_revoked() if self._tokens is not None else {}

    def _find_scopes(self, who: str) -> tuple[TokenScope, ...]:
        """The access of a caller: everything, if its token is one of the options."""
        if self._tokens is None:
            return (_EVERYTHING,)
        if not who:  # it came in before a token was needed
            is_needed = self._sign_ins.is_required or self._tokens.are_required()
            return () if is_needed else (_EVERYTHING,)
        token = self._tokens.valid().get(who)
        if token is not None:
            return (token.scope,)
        is_given = self._listener is not None and self._listener.is_given(who)
        return (_EVERYTHING,) if is_given else self._sign_ins.find_scopes(who)

    # --- over stdio -----------------------------------------------------------------------

    async def _over_stdio(
        self,
        client_fd: int,
        sessions: FrontSessions,
        judge: FrontJudge,
        ended: asyncio.Future[int],
    ) -> None:
        limit = sessions.guard.policy.limits.frame_bytes
        client = AsyncAdapter(LineChannel(0, client_fd, limit), start_thread)
        server = await dial(self._gateway)
        session = sessions.new(None)
        to_server = asyncio.create_task(pump(session, Direction.TO_SERVER, client, server, judge))
        to_client = asyncio.create_task(pump(session, Direction.TO_CLIENT, server, client, judge))
        expiring = asyncio.create_task(answer_overdue(session, client, server, judge))
        tune_process()
        await asyncio.wait((to_server, to_client, ended), return_when=asyncio.FIRST_COMPLETED)
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await server.drain()
        to_server.cancel()
        await server.close()
        with suppress(TimeoutError, ChannelClosed):  # it reads nothing, or is gone
            async with asyncio.timeout(LAST_SECONDS):
                await asyncio.gather(to_server, to_client, return_exceptions=True)
                for frame in judge.answer_all(session):
                    await client.write(frame)
                await client.finish()
        expiring.cancel()
        to_client.cancel()
        client.abort()

    # --- its sources ----------------------------------------------------------------------

    async def _watch(self) -> None:
        """Follow the sources; an invalid edit changes nothing, and is reported once."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            following = asyncio.ensure_future(self._follow())
            try:
                await asyncio.wait({following})
            finally:
                following.cancel()
            error = following.exception()
            if error is not None:  # whatever it is, the next edit is read
                why = str(error) if isinstance(error, PipeGuardError) else repr(error)
                if why != self._reported:
                    say(f"the servers file has an error, so the servers stay as they are: {why}")
                self._reported = why

    async def _follow(self) -> None:
        """Read the sources again if they changed, or a server was left out."""
        sources = self._options.sources
        present = await asyncio.to_thread(sources.stamp)
        is_due = self._retry_at is not None and monotonic() > self._retry_at
        is_due |= any(member.run.stopped for member in self._gateway.members.values())
        if present == self._stamp and not is_due:
            return
        self._stamp, self._retry_at = present, None
        file = await asyncio.to_thread(sources.read, os.environ)
        if self._reported:
            say("the servers file is valid again and takes effect")
        self._reported = ""
        await self._apply(file)
        self._gateway.set_menu(self._options.mode or file.mode, file.limits)

    async def _apply(self, file: ServersFile) -> None:
        self._accept(file.identity)
        file = self._options.without_itself(file)
        if file.notes != self._notes:
            for note in file.notes:
                say(note)
        self._notes = file.notes
        if self._link is not None:
            self._link.outage_seconds = file.outage_seconds or OUTAGE_SECONDS
        self._let_manage(file.management)
        reported = self._gateway.left_out
        changes = await self._gateway.apply(file.servers)
        for what, names in changes.items():
            if names:
                self._log("info", f"servers {what}", names=", ".join(names))
        for name, why in self._gateway.left_out.items():
            if reported.get(name) != why:
                self._log("error", f"the server {name} is left out, and tried again", why=why)
        if self._gateway.left_out:
            self._retry_at = monotonic() + self._retries.fail(0)
        else:
            self._retries = Circuit()
        if self._listener is not None:
            self._listener.follow()

    def _let_manage(self, settings: frozenset[str]) -> None:
        """Let agents make the proposals that the file allows."""
        if not self._options.may_manage:
            return
        present = self._gateway.management
        if present is None or present.settings != settings:
            taken = self._gateway.members.keys
            self._gateway.offer(ServerManagement(store_file(), taken, settings))


def _share_notes(link: Link | None, notes: ClientNotes) -> FindMemory:
    """Find the memories of clients that come over HTTP, at all replicas if there are others."""
    if link is None or not notes.is_used:
        return notes.of_token
    from pipeguard.state.postgres.notes import FleetNotes  # with a database's library

    return FleetNotes(link, say).find_memory


def check(options: ServeOptions) -> ServersFile:
    """Read everything that a start would read.

    Returns:
        The servers that would start, and the mode that they would be served in.

    Raises:
        PipeGuardError: a file or an option is wrong.
    """
    policy = load_wrap_policy(options.wrap)
    file = options.without_itself(options.sources.read(os.environ))
    options.must_allow(file.identity)
    for server in file.servers:
        try:
            server.parse_launch()
        except PipeGuardError as error:
            raise PolicyError(f"the server {server.name}: {error}") from None
    if "--listen" in options.wrap.values:
        _check_listening(options.wrap, policy.limits.frame_bytes, file.identity)
    missing = [
        f"the server {server.name}: {why}" for server in file.servers for why in _missing(server)
    ]
    return file._replace(mode=options.mode or file.mode, notes=(*file.notes, *missing))


def _missing(server: ServerSettings) -> Iterator[str]:
    """Describe programs and paths that a server would lack; a container has its own programs."""
    if server.isolate is not None:
        yield from missing_paths(server.isolate)
    elif server.command:
        program = server.command[0]
        path = os.path.join(server.cwd, program) if os.path.dirname(program) else program
        if which(path, path=server.env.get("PATH")) is None:
            yield f"{program}: not found, or not executable"


def _check_listening(options: WrapOptions, limit_bytes: int, identity: Identity | None) -> None:
    from pipeguard.runtime.http import ListeningPlace  # with an HTTP library

    path = existing_store()
    with ExitStack() as stack:
        stored = None
        if path is not None:
            stored = stack.enter_context(closing(TokenReader(open_store(path), say)))
        sign_ins = SignIns(dict, say)
        sign_ins.is_required = identity is not None
        ListeningPlace(options, limit_bytes, stored, sign_ins)


def requested_exporters(environ: Mapping[str, str]) -> tuple[str, str]:
    """The names of the exporters of traces and of metrics.

    A signal is asked for by its own exporter (`OTEL_TRACES_EXPORTER`), or by an endpoint of OTLP.
    The specification would export to localhost by default; a guard only calls addresses that were
    named.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return NONE, NONE
    return _exporter(environ, "TRACES"), _exporter(environ, "METRICS")


def _exporter(environ: Mapping[str, str], signal: str) -> str:
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    usual = "otlp" if any(environ.get(name, "").strip() for name in endpoints) else NONE
    return environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() or usual


def open_telemetry(environ: Mapping[str, str], log: Log, transport: str) -> Telemetry:
    """The telemetry that the environment asks for; if it is not available, tell people why.

    Args:
        environ: of the process.
        log: gets the exporters' complaints.
        transport: of the clients: `pipe` or `tcp`.
    """
    traces, metrics = requested_exporters(environ)
    if traces == metrics == NONE:
        return NO_TELEMETRY
    try:
        from pipeguard.gateway.opentelemetry_export import OpenTelemetry

        return OpenTelemetry(traces, metrics, environ, log, transport)
    except ModuleNotFoundError as error:
        why = f"OTEL_ variables ask for them, and {error.name} is not installed (the extra otel)"
        say(f"no traces and metrics: {why}")
    except (ImportError, ValueError) as error:
        say(f"no traces and metrics, because the OTEL_ variables are wrong: {error}")
    return NO_TELEMETRY
