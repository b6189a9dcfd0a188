"""One server of the gateway: how it is reached, what it offers, whether it is well.

Holds its Run (rules, pins, audit) and one conversation of the gateway's own, in which its tools are
listed. Clients' conversations with it are opened here, each behind a Session of its own.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from secrets import token_bytes
from typing import Protocol

from pipeguard.core.finding import Verdict
from pipeguard.core.flows.ledger import Flows
from pipeguard.core.protocol.json_values import JsonObject
from pipeguard.core.session.guard import Engines
from pipeguard.core.session.session import Session
from pipeguard.errors import PipeGuardError, StateError
from pipeguard.gateway.catalog import Catalog, Listing
from pipeguard.gateway.era_channel import dial_by_era
from pipeguard.gateway.eras import Opening
from pipeguard.gateway.health import watch_health
from pipeguard.gateway.leg import Leg, LegListener
from pipeguard.gateway.legs import Refused, Unavailable
from pipeguard.gateway.own_listener import OwnListener, listen_for_tools
from pipeguard.gateway.relisting import Relisting
from pipeguard.gateway.served_client import ServedClient
from pipeguard.gateway.server_log import ServerLog
from pipeguard.gateway.server_output import ServerOutput
from pipeguard.gateway.server_settings import ServerSettings
from pipeguard.gateway.server_state import State
from pipeguard.gateway.stateless_server import (
    StatelessServer,
    discovered,
    is_refusal,
    speaks_newest,
)
from pipeguard.gateway.turns import TakingTurns, Turns
from pipeguard.runtime.connect import RemoteDialler, local_dialler
from pipeguard.runtime.endpoints import login_of, remote_of, transport_of, url_of
from pipeguard.runtime.run import Mask, Run
from pipeguard.transports.channel import AsyncChannel, ChannelClosed, Dialler
from pipeguard.transports.http.client.multiplexer import Multiplexer
from pipeguard.transports.http.client.upstream import connect
from pipeguard.transports.judging import Judge
from pipeguard.transports.tasks import Tasks
from pipeguard.version import VERSION

KEY_BYTES = 32
FIRST_DELAY_SECONDS, MOST_DELAY_SECONDS = 0.5, 60.0  # between two starts of one that fails
JITTER = 0.25  # of a delay, either way: servers that fell together do not rise together
OPENING_SECONDS = 30.0  # for a server's answer to `initialize`; npx may install it first
# What the gateway can pass on to some client.
OUR_OPENING = Opening(
    {"roots": {"listChanged": True}, "sampling": {}, "elicitation": {}},
    {"name": "pipeguard", "version": VERSION},
)


class Owner(Protocol):
    """What a server belongs to."""

    catalog: Catalog
    turns: Turns

    def relisted(self, kinds: frozenset[str]) -> None:
        """What a server offers has changed: tools, prompts or resources."""

    def judged(self, server: str, verdict: Verdict) -> None:
        """Count a message to or from a server."""


class GatewayServer:
    """A server of the gateway.

    Args:
        settings: what the user says of it.
        owner: whose it is.
        engines: the compiled rules, shared by all.
        common: options of `wrap` for all servers.

    Attributes:
        settings: what the user says of it.
        state: how it is.
        why: why it is not ready, for people; empty where it is.
        waiting: how many of its definitions wait for approval.
        described: its answer to `initialize`.
    """

    def __init__(
        self,
        settings: ServerSettings,
        owner: Owner,
        engines: Engines,
        common: Mapping[str, str],
    ) -> None:
        """Load its pins and policy; nothing is started.

        Raises:
            PipeGuardError: an option is wrong, or its state cannot be read.
        """
        self.settings = settings
        self.state = State.STOPPED
        self.why = "it was not started yet"
        self.described: JsonObject = {}
        self._owner = owner
        self._options = options = settings.options(common)
        self._loop = asyncio.get_running_loop()
        self._log = ServerLog(settings.name, options)
        self._run = Run(settings.launched(), options, self._repinned, engines, self._log)
        self._run.guard.adopt(settings.tightened(self._run.guard.policy))
        self._output = ServerOutput(self._run.guard.name, Mask(engines))
        self._judge = TakingTurns(self._record, owner.turns, settings.name)
        self.waiting = 0
        self._relist_own: Callable[[frozenset[str]], None] | None = None
        self._count = 0
        self._tasks = Tasks()
        self._relisting = Relisting(lambda: self._leg, self._list_tools_again, self._tasks)
        self._dialler: Dialler | None = None
        self._leg: Leg | None = None
        self._stateless = StatelessServer(OUR_OPENING, self._made, self._dial, self.relist)
        self._settled = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The server's name, as the user gave it."""
        return self.settings.name

    @property
    def has_settled(self) -> bool:
        """True once its first start succeeded or failed."""
        return self._settled.is_set()

    def start(self) -> None:
        """Start it, and keep it running."""
        if self._keeping is None:
            self._run.begin()
            self._keeping = asyncio.create_task(self._keep())

    async def settle(self) -> None:
        """Wait until its first start succeeded or failed."""
        await self._settled.wait()

    async def stop(self) -> None:
        """End it."""
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
        self.state, self.why = State.STOPPED, "it was stopped"
        self._settled.set()  # nobody waits for its start any more
        await self._tasks.end()
        await self._hang_up()
        await asyncio.to_thread(self._run.close)

    async def open(self, listener: LegListener, opening: Opening, client: ServedClient) -> Leg:
        """A client's conversation with it.

        Args:
            listener: hears what it says unasked.
            opening: what the client says of itself.
            client: who it is for.

        Raises:
            Unavailable: it does not answer.
        """
        dialler = await self._ready()
        if opening.is_stateless:
            found = await self._stateless.open(listener, opening, client)
            if found is not None:
                return found
        leg = await self._dial(dialler, listener, client)
        if self._leg is not None and self._leg.is_stateless:
            leg.go_without_handshake(opening, self.described)
        else:
            await self._opened(leg, opening)
        return leg

    async def dial(self) -> AsyncChannel:
        """A channel to it whose frames are not judged yet, for its own endpoint.

        Raises:
            ChannelClosed: it does not answer.
        """
        return await dial_by_era(self.name, self._ready, self._stateless.dial)

    async def _ready(self) -> Dialler:
        """What opens channels to it, once it is there; raises Unavailable."""
        if self.state is State.STARTING:
            await self._settled.wait()
        if self._dialler is None or self.state is not State.READY:
            raise Unavailable(self.why)
        return self._dialler

    # --- its life -------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Start it, and start it again when it falls, each time after a longer while."""
        failures = 0
        self.why = "it is starting"
        while True:
            self.state = State.STARTING
            began = self._loop.time()
            gone = asyncio.Event()
            try:
                leg = await self._begin(gone)
                self._settled.set()
                self._log("info", "the server is ready")
                self.why = await watch_health(leg, gone, self._open_requests)
            except (Unavailable, PipeGuardError, OSError) as error:
                self.why = str(error)
            self.state = State.DOWN
            self._settled.set()
            await self._hang_up()
            if self._loop.time() - began > MOST_DELAY_SECONDS:
                failures = 0  # it ran well for long
            await self._pause(failures)
            failures += 1

    async def _pause(self, failures: int) -> None:
        """Wait before the next start, the longer the more often it failed, and say so."""
        delay = min(FIRST_DELAY_SECONDS * 2**failures, MOST_DELAY_SECONDS)
        seconds = delay * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  no secret
        times = f" {failures + 1} times in a row" if failures else ""
        self._log(
            "warning",
            f"the server is down{times}",
            why=self.why,
            see=f"pipeguard logs {self._run.guard.name}",
        )
        self.why += f"; it is started again in {seconds:.0f} s"
        await asyncio.sleep(seconds)

    def _open_requests(self) -> int:
        dialler = self._dialler
        return dialler.open_requests if isinstance(dialler, Multiplexer) else 0

    async def _begin(self, gone: asyncio.Event) -> Leg:
        """Open the gateway's own conversation, and list the tools.

        Args:
            gone: to be set once the conversation has ended.

        Raises:
            Unavailable: it does not answer.
            PipeGuardError: it cannot be started.
        """
        self._dialler = await self._made()
        listener = OwnListener(self.relist, self._tasks, gone.set)
        leg = self._leg = await self._dial(self._dialler, listener, ServedClient(Flows()))
        try:
            self.described = await self._opened(leg, OUR_OPENING)
            self._stateless.may_exist = speaks_newest(self.described)
        except Refused:  # it may make no handshakes
            leg = self._leg = await self._dial(self._dialler, listener, ServedClient(Flows()))
            if not await discovered(leg, OUR_OPENING):
                raise
            self.described = leg.described
            self._tasks.begin(listen_for_tools(leg))
        await self._list_tools(leg)
        self.state, self.why = State.READY, ""
        self._owner.relisted(frozenset({"tools", "prompts", "resources"}))
        return leg

    async def _hang_up(self) -> None:
        if self._leg is not None:
            await self._leg.close()
        await self._stateless.close()
        if self._dialler is not None:
            await self._dialler.close()
        self._leg = self._dialler = None

    async def _dial(self, dialler: Dialler, listener: LegListener, client: ServedClient) -> Leg:
        self._count += 1
        guard = self._run.guard.part(token_bytes(KEY_BYTES))
        guard.flows = client.flows
        session = Session(guard, f"{self._run.name}.{self._count}")
        if client.token:
            self._run.name_token(session.run, client.token)
        try:
            channel = await dialler.dial()
        except ChannelClosed as error:
            raise Unavailable(str(error)) from None
        return Leg(self.name, session, channel, self._judge, listener)

    async def _opened(self, leg: Leg, opening: Opening) -> JsonObject:
        try:
            async with asyncio.timeout(OPENING_SECONDS):
                answer = await leg.open(opening)
        except TimeoutError:
            await leg.close()
            raise Unavailable(f"it did not answer within {OPENING_SECONDS:.0f} s") from None
        except asyncio.CancelledError:  # the client is gone meanwhile
            await leg.close()
            raise
        result, error = answer.get("result"), answer.get("error")
        if not isinstance(result, dict):
            await leg.close()
            message = error.get("message") if isinstance(error, dict) else "it refused its opening"
            raise Refused(str(message)) if is_refusal(answer) else Unavailable(str(message))
        return result

    async def _made(self) -> Dialler:
        """What opens channels to it.

        Raises:
            PipeGuardError: an option is wrong, or a secret is missing.
        """
        options, limit = self._options, self._run.guard.policy.limits.frame_bytes
        if not options.command:
            login = login_of(options)
            own = login if login is not None and await login.header() is not None else None
            remote = remote_of(options, os.environ, limit, own)
            transport = transport_of(options, url_of(self.settings.url))
            return RemoteDialler(remote, transport, connect(remote))
        return Multiplexer(local_dialler(options, limit, self._output))

    # --- what it offers -------------------------------------------------------------------

    def relist(self) -> None:
        """List its tools again."""
        self._relisting.begin()

    async def _list_tools(self, leg: Leg) -> None:
        """Take over what its Session lets pass of its tools now, unless it is gone meanwhile."""
        definitions = await leg.list_tools() if leg.offers("tools") else []
        if leg is not self._leg or not leg.is_open:
            return
        said = self.settings
        listing = Listing(
            said.name,
            definitions,
            said.allow,
            said.block,
            said.overrides,
            said.tags,
            said.is_prefixed,
        )
        self._owner.catalog.put(listing, self._run.guard.tool)
        self._tell_waiting()

    async def _list_tools_again(self, leg: Leg) -> None:
        """The same, and have clients list them again."""
        await self._list_tools(leg)
        self._owner.relisted(frozenset({"tools"}))

    def _tell_waiting(self) -> None:
        """Say how many definitions wait for approval, whenever that changes."""
        waiting = sum(pin.held_definition is not None for pin in self._run.guard.pins.values())
        if waiting and waiting != self.waiting:
            self._log(
                "warning",
                f"{waiting} definitions wait for approval",
                do=f"pipeguard diff {self._run.guard.name};"
                f" pipeguard approve {self._run.guard.name} --all",
            )
        self.waiting = waiting

    def on_relist(self, relist: Callable[[frozenset[str]], None]) -> None:
        """Have clients of its own endpoint told what they should list again."""
        self._relist_own = relist

    def _repinned(self, kinds: frozenset[str]) -> None:
        """In the recorder's thread: somebody approved or revoked something."""
        with suppress(RuntimeError):  # the loop is closed: we end
            self._loop.call_soon_threadsafe(self._relist_all, kinds)

    def _relist_all(self, kinds: frozenset[str]) -> None:
        self.relist()
        if self._relist_own is not None:
            self._relist_own(kinds)

    def _record(self, verdict: Verdict) -> None:
        """Record a verdict.

        Raises:
            StateError: it cannot be recorded, and the policy says that nothing passes then.
        """
        self._owner.judged(self.name, verdict)
        if not self._run.record(verdict):
            raise StateError("the audit cannot be written, and the policy says to stop.")

    @property
    def run(self) -> Run:
        """What judges and records its frames."""
        return self._run

    @property
    def judge(self) -> Judge:
        """Judges frames to and from it, and records the verdicts."""
        return self._judge
