"""One server of the gateway: its connection, its offer and its health.

Holds its Run (rules, pins, audit) and one conversation of the gateway's own, in which its tools are
listed. Clients' conversations with it are opened here, each behind a Session of its own.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from secrets import token_bytes
from weakref import WeakSet

from pipeguard.config.options import WrapOptions
from pipeguard.detect.detector import Engines, use_flows
from pipeguard.detect.flows.ledger import Flows
from pipeguard.errors import StateError
from pipeguard.firewall.finding import Action, Direction, MessageKind, Verdict
from pipeguard.firewall.policy import Mode
from pipeguard.firewall.protocol.json_values import JsonObject, read_object
from pipeguard.firewall.protocol.message import Message
from pipeguard.firewall.protocol.peers import Peers
from pipeguard.firewall.session.session import Session
from pipeguard.gateway.client_request import Refused, ServedClient, Unavailable
from pipeguard.gateway.eras import REVISIONS, Opening
from pipeguard.gateway.hub import LISTS, ClientConversation, Hub
from pipeguard.gateway.leg import Leg, LegListener, ListedTools
from pipeguard.gateway.life import ServerLife, State
from pipeguard.gateway.menu import OURS
from pipeguard.gateway.server_output import ServerOutput
from pipeguard.gateway.servers_file import ServerSettings
from pipeguard.gateway.stateless_server import (
    OUR_OPENING,
    EraChannel,
    StatelessServer,
    discover,
    is_refusal,
)
from pipeguard.gateway.tool_offer import (
    RememberedServer,
    ToolOffer,
    list_at_start,
    remembered_capabilities,
)
from pipeguard.log import Log
from pipeguard.runtime.connect import LocalDialler, in_own_thread, remote_dialler
from pipeguard.runtime.policy_watch import CHANGED
from pipeguard.runtime.questions import Questions
from pipeguard.runtime.run import Mask, Run
from pipeguard.transports.channel import AsyncChannel, ChannelClosed
from pipeguard.transports.http.client.multiplexer import Multiplexer
from pipeguard.transports.http.client.task_owners import OwnedDialler, SharingClient
from pipeguard.transports.judging import Judge
from pipeguard.transports.tasks import Tasks

HELD = "trust.held"
KEY_BYTES = 32
STOPPED = "the user stopped the gateway, or changed or removed this server, before it answered"
RESTARTED, RECONNECTED = "PipeGuard starts it again.", "PipeGuard connects to it again."
PING_SECONDS = 30.0  # between two pings
ANSWER_SECONDS = 10.0  # for an answer to one
MOST_MISSED = 3  # pings in a row
IDLE_LOOK_SECONDS = 0.5  # between two looks whether one that is about to be idle still works
PAUSE_SECONDS = 0.05  # in which further changes are covered by one listing
MOST_PAUSE_SECONDS = 2.0  # while a server says without end that its tools have changed
OPENING_SECONDS = 30.0  # for a server's answer to `initialize`; npx may install it first


class _ServerLog(Log):
    """The log of one server among many: each line has its name, except those about the policy.

    Findings on a held definition are not logged again each time it is listed.
    """

    def __init__(self, server: str, options: WrapOptions) -> None:
        super().__init__(options.values.get("--log-level"), options.values.get("--log-format"))
        self._server = server

    def __call__(self, level: str, event: str, **fields: object) -> None:
        """Write one line; secrets in `fields` are masked already."""
        named = {} if event.startswith(CHANGED) else {"server": self._server}
        if not event.endswith(f" {HELD}"):
            super().__call__(level, event, **named, **fields)


class GatewayServer(ServerLife):
    """A server of the gateway.

    Args:
        settings: the user's settings for it.
        hub: shared with the other servers.
        engines: the compiled rules, shared by all.
        common: options of `wrap` for all servers.

    Attributes:
        name: as the user gave it.
        described: its answer to `initialize`.
        remembered: a conversation with its pins; None if there is none.
        run: judges and records its frames.
        judge: judges frames to and from it, and records the verdicts.
        offer: its offer to agents.
        relist_own: tells clients of its own endpoint to list again; None if it has none.
    """

    def __init__(
        self, settings: ServerSettings, hub: Hub, engines: Engines, common: Mapping[str, str]
    ) -> None:
        """Load its pins and policy; start nothing.

        Raises:
            PipeGuardError: an option is wrong, or its state cannot be read.
        """
        self._options = options = settings.options(common)
        super().__init__(_ServerLog(settings.name, options), settings.seconds_to_sleep())
        self.settings, self.name = settings, settings.name
        self.described: JsonObject = {}
        self._hub = hub
        self.run = run = Run(
            settings.parse_launch(), options, self._follow_pins, engines, self._log
        )
        run.on_loss = lambda: self._loop.call_soon_threadsafe(hub.tell_audit_loss)
        run.on_stopped, self._questions = self._ask_user, Questions(run)
        run.guard.questions = lambda: self._questions
        run.adjust(settings.tighten)
        if hub.link is not None:
            run.guard.shared.why_out = hub.link.why_out
        # Of clients of its own endpoint.
        use_flows(run.guard, Flows(hub.ledgers, client=hub.find_memory("", "")))
        self._output = ServerOutput(run.guard.name, Mask(run.engines))
        self.judge = Judge(self._record, partial(hub.turns.wait, settings.name))
        self.offer = ToolOffer(settings, hub.catalog, run, self._log, lambda: hub.server_names)
        self.relist_own: Callable[[frozenset[str]], None] | None = None
        self._count, self._tasks = 0, Tasks()
        self._is_relisting = self._is_outdated = False
        self._dialler: OwnedDialler | None = None
        self._leg: Leg | None = None
        makes = partial(self._make_dialler, self._tell_end)
        self._stateless = StatelessServer(makes, self._dial, self)
        self.remembered: Leg | None = None
        self._gone = asyncio.Event()
        self._own_channels = self._opening = 0
        self._legs: WeakSet[Leg] = WeakSet()

    def start(self, after: asyncio.Task[None] | None = None) -> None:
        """Start it, and keep it running; start a lazy one with pins only when it is needed."""
        self.run.begin()
        super().start(after)

    async def stop(self) -> None:
        """End it."""
        for leg in self._legs:
            leg.loss, leg.again = self.run.stopped or STOPPED, ""
        await super().stop()
        await self._tasks.end()
        await self._hang_up()
        await self._remember(None)
        await asyncio.to_thread(self.run.close)

    async def open(self, listener: LegListener, opening: Opening, client: ServedClient) -> Leg:
        """A client's conversation with it.

        Args:
            listener: receives its unsolicited messages.
            opening: the client's description of itself.
            client: the client.

        Raises:
            Unavailable: it does not answer.
        """
        self._opening += 1
        try:
            return await self._open(listener, opening, client)
        finally:
            self._opening -= 1
            self.use()  # its opener has not sent a request yet

    async def _open(self, listener: LegListener, opening: Opening, client: ServedClient) -> Leg:
        dialler = await self._ready()
        if opening.is_stateless:
            found = await self._stateless.open(listener, opening, client)
            if found is not None:
                return found
        leg = await self._dial(dialler, listener, client)
        if self._leg is not None and self._leg.is_stateless:
            leg.go_without_handshake(opening, self.described)
        else:
            await self._open_leg(leg, opening)
        return leg

    async def dial(self, client: SharingClient) -> AsyncChannel:
        """An unjudged channel to it, for a client of its own endpoint.

        Raises:
            ChannelClosed: it does not answer.
        """
        await self._reach()
        self._own_channels += 1
        return EraChannel(partial(self._dial_own, client), self._close_own)

    async def _dial_own(self, client: SharingClient, is_stateless: bool) -> AsyncChannel:  # noqa: FBT001  a callback's
        dialler = await self._reach()
        channel = await self._stateless.dial(client) if is_stateless else None
        return channel or await dialler.dial(client)

    async def _reach(self) -> OwnedDialler:
        try:
            return await self._ready()
        except Unavailable as why:
            raise ChannelClosed(f"the server {self.name} is not available: {why}") from None

    def _close_own(self) -> None:
        self._own_channels -= 1

    async def _ready(self) -> OwnedDialler:
        """Wait for the dialler of its channels; raises Unavailable."""
        await self.wake()
        assert self._dialler is not None  # noqa: S101  it is ready
        return self._dialler

    def _open_requests(self) -> int:
        dialler = None if self._dialler is None else self._dialler.inner
        return dialler.open_requests if isinstance(dialler, Multiplexer) else 0

    def _seconds_left(self) -> float:
        """The remaining time without work until it is idle."""
        is_busy = any(leg.is_busy for leg in self._legs) or self._open_requests()
        tasks = self._stateless.has_tasks or bool(self._dialler and self._dialler.tasks.are_left())
        if is_busy or tasks or self._opening or self._own_channels:
            self.use()
        return self.seconds_to_idle()

    async def _watch(self) -> str:
        """Wait until it is gone, idle, or no longer answers; empty if it is idle.

        Pings show its health (MCP 2025-11-25, basic/utilities/ping). A busy server may be slow to
        answer, so only one without work is given up.
        """
        assert self._leg is not None  # noqa: S101  it has begun
        missed = lost_pings = 0
        next_ping = self._loop.time() + PING_SECONDS
        while missed < MOST_MISSED:
            left = max(self._seconds_left(), IDLE_LOOK_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(next_ping, self._loop.time() + left)):
                    await self._gone.wait()
            if self._gone.is_set():
                return "it ended by itself"
            if self._seconds_left() <= 0:
                return ""
            if self._loop.time() < next_ping:
                continue
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._leg.request("ping")  # any answer will do
                missed = 0
            except TimeoutError:
                lost_pings += 1
                missed = 0 if self._open_requests() > lost_pings else missed + 1
            next_ping = self._loop.time() + PING_SECONDS
        return f"it did not answer {MOST_MISSED} pings in a row"

    async def _recall(self) -> bool:
        """Load its offer from its pins, without starting it; False if there is none."""
        pins = self.run.guard.pins.all().values()
        if not remembered_capabilities(pins):
            return False
        self.run.follow_approvals()
        session = Session(self.run.guard.part(token_bytes(KEY_BYTES)), f"{self.run.name}.pins")
        channel = RememberedServer(self.name, pins)
        leg = Leg(self.name, session, channel, Judge(lambda _: None), self)
        opened = await self._open_leg(leg, OUR_OPENING)
        self.described = self.described or opened
        self.offer.put((await leg.list_tools()).definitions)
        self.offer.count_waiting()
        await self._remember(leg)
        return True

    async def _remember(self, leg: Leg | None) -> None:
        before, self.remembered = self.remembered, leg
        if before is not None:
            await before.finish()  # somebody may be reading a list of it

    async def _begin(self) -> None:
        """Open the gateway's own conversation, and list the tools.

        Raises:
            Unavailable: it does not answer.
            PipeGuardError: it cannot be started.
        """
        self._gone = asyncio.Event()
        self.run.guard.pins.start_anew()
        self._dialler = await self._make_dialler()
        leg = self._leg = await self._dial(self._dialler, self, ServedClient(Flows()))
        try:
            self.described = await self._open_leg(leg, OUR_OPENING)
            # A server without the newest handshake does not know MCP without one either.
            self._stateless.may_exist = self.described.get("protocolVersion") == REVISIONS[0]
        except Refused:  # it may make no handshakes
            leg = self._leg = await self._dial(self._dialler, self, ServedClient(Flows()))
            if not await discover(leg, OUR_OPENING):
                raise
            self.described = leg.described
            self._tasks.begin(leg.listen({"toolsListChanged": True}))
        await self._list_tools(leg)
        await list_at_start(leg, self._tasks, self.offer.count_waiting)
        self._hub.note_restart(self.name)

    async def _hang_up(self) -> None:
        if self._dialler is not None and isinstance(self._dialler.inner, Multiplexer):
            self._dialler.inner.hang_up()  # no client continues with a process about to end
        if self._leg is not None:
            await self._leg.close()
        await self._stateless.close()
        if self._dialler is not None:
            await self._dialler.close()
        self._leg = self._dialler = None

    async def _dial(
        self, dialler: OwnedDialler, listener: LegListener, client: ServedClient
    ) -> Leg:
        self._count += 1
        guard = self.run.guard.part(token_bytes(KEY_BYTES))
        use_flows(guard, client.flows)
        name = f"{self.run.name}.{self._count}"
        session = Session(guard, name, waiting_room=self._hub.waiting_room)
        session.tape = client.tape
        if client.token:
            self.run.name_token(session.run, client.token)
        try:
            channel = await dialler.dial(client.sharing)
        except ChannelClosed as error:
            raise Unavailable(str(error)) from None
        leg = Leg(self.name, session, channel, self.judge, listener)
        leg.again = RESTARTED if self._options.command else RECONNECTED
        self._legs.add(leg)
        return leg

    def ask_about_waiting(self, conversation: ClientConversation) -> None:
        """Ask a client's user about definitions that wait, if the client opens links."""
        leg, opening = self._leg or self.remembered, conversation.opening
        if leg is None or self.run.guard.policy.mode is Mode.OBSERVE:
            return
        peers = Peers.read_client(opening.revision, opening.capabilities)
        if params := self._questions.ask_for_approval(self.offer.find_waiting(), peers):
            conversation.ask_user(leg, params)

    def _ask_user(self, verdict: Verdict) -> None:
        """Ask the user in the client about a stopped call, if it declared elicitation."""
        run = verdict.event.rpartition(".")[0]
        leg = next((leg for leg in self._legs if leg.session.run == run), None)
        if leg is None or leg is self._leg or verdict.direction is not Direction.TO_SERVER:
            return
        can_ask = "elicitation" in leg.session.state.peers.capabilities
        if not can_ask or (leg.asks_in_results and verdict.action is not Action.ASK):
            return  # or it is answered, and the call can no longer ask

        def send(frames: list[bytes]) -> None:
            with suppress(RuntimeError):  # the loop is closed: we end
                self._loop.call_soon_threadsafe(leg.tell_client, frames)

        self._questions.consider(verdict, leg.session, send)

    async def _open_leg(self, leg: Leg, opening: Opening) -> JsonObject:
        seconds = max(OPENING_SECONDS, self.settings.timeout_seconds or 0)
        try:
            async with asyncio.timeout(seconds):
                answer = await leg.open(opening)
        except TimeoutError:
            await leg.close()
            raise Unavailable(
                f"it did not answer within {seconds:.0f} s (`timeout` in its entry)"
            ) from None
        except asyncio.CancelledError:  # the client has left
            await leg.close()
            raise
        result = answer.get("result")
        if not isinstance(result, dict):
            await leg.close()
            message = read_object(answer, "error").get("message", "it refused its opening")
            why = str(message).removeprefix(f"{OURS}: ")
            raise Refused(why) if is_refusal(answer) else Unavailable(why)
        return result

    async def _make_dialler(self, on_exit: Callable[[str], None] | None = None) -> OwnedDialler:
        """The dialler of its channels.

        Args:
            on_exit: called when a process ended by itself; None for the one that its life follows.

        Raises:
            PipeGuardError: an option is wrong, or a secret is missing.
        """
        options, limit = self._options, self.run.guard.policy.limits.frame_bytes
        if not options.command:
            return OwnedDialler(await remote_dialler(options, limit))
        # In a thread: fetching an isolated server's package must not delay other servers.
        local = await in_own_thread(
            "make", partial(LocalDialler, options, limit, self._output, self.run, is_shared=True)
        )
        local.on_exit = on_exit or partial(setattr, self, "ending")
        return OwnedDialler(Multiplexer(local))

    def _tell_end(self, ending: str) -> None:
        """Log that the process for clients without handshakes ended by itself."""
        if self._stateless.is_used:
            event = "the server ended, and is started again when it is called"
            self._log("warning", event, why=ending)

    # --- on the gateway's own legs: LegListener ---------------------------------------------

    def receive_request(self, leg: Leg, message: Message) -> None:
        """Decline: no client is connected."""
        self._tasks.begin(leg.decline(message, "no client is connected that could answer"))

    def receive_notification(self, leg: Leg, message: Message) -> None:
        """List again if its tools have changed; ignore changes that clients follow themselves."""
        if message.method == "notifications/tools/list_changed":
            self.relist()

    def lose_server(self, leg: Leg) -> None:
        """Note the server's end."""
        if leg is self._leg:
            self._gone.set()

    def relist(self) -> None:
        """List its tools again, because they have changed."""
        self._is_outdated = True
        if self._leg is not None and not self._is_relisting:
            self._is_relisting = True
            self._tasks.begin(self._list_tools_again(self._leg))

    async def _list_tools(self, leg: Leg) -> None:
        """List its tools, and keep those that its Session passes unless it ended meanwhile.

        Raises:
            Unavailable: it does not answer.
        """
        listed = await leg.list_tools() if leg.offers("tools") else ListedTools([])
        if leg is self._leg and leg.is_open:
            self.offer.take(listed)

    async def _list_tools_again(self, leg: Leg) -> None:
        """Refresh its tools and tell clients to list again, until no listing is outdated."""
        pause_seconds = PAUSE_SECONDS
        try:
            while self._is_outdated and leg is self._leg:
                await asyncio.sleep(pause_seconds)
                self._is_outdated = False
                with suppress(Unavailable):  # it keeps the old ones, and the offer says so
                    await self._list_tools(leg)
                self.offer.count_waiting()
                self._hub.announce_lists(frozenset({"tools"}), self.name)
                pause_seconds = min(2 * pause_seconds, MOST_PAUSE_SECONDS)
        finally:
            self._is_relisting = False

    def _follow_pins(self, kinds: frozenset[str]) -> None:
        """Note an approval or a revocation, in the recorder's thread."""
        with suppress(RuntimeError):  # the loop is closed: we end
            self._loop.call_soon_threadsafe(self._relist_all, kinds)

    def _relist_all(self, kinds: frozenset[str]) -> None:
        if self.state is State.ASLEEP:
            self._tasks.begin(self._recall_again())
        else:
            self.relist()
        if self.relist_own is not None:
            self.relist_own(kinds)

    async def _recall_again(self) -> None:
        """Load its offer again after an approval or revocation while it is not running."""
        with suppress(Unavailable):
            await self._recall()
        self._hub.announce_lists(LISTS, self.name)

    def _record(self, verdict: Verdict) -> None:
        """Record a verdict.

        Raises:
            StateError: it cannot be recorded, and the policy then stops everything.
        """
        if verdict.kind is MessageKind.REQUEST and verdict.method != "ping":
            self.use()
        if verdict.pins and (verdict.method or "").startswith("skills/"):
            self.offer.put_skills()
        self._hub.telemetry.count_verdict(self.name, verdict)
        if not self.run.record(verdict):
            raise StateError("the audit cannot be written, and the policy says to stop.")
