"""The gateway: all servers together, and the clients that use them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.core.finding import Verdict
from pipeguard.core.flows.ledger import Flows
from pipeguard.core.protocol.json_values import JsonObject
from pipeguard.core.session.guard import Engines
from pipeguard.errors import PipeGuardError
from pipeguard.gateway.access import RateLimit, ScopedAccess, may_use_alone, may_use_server
from pipeguard.gateway.answers import ClientAnswers
from pipeguard.gateway.catalog import Catalog
from pipeguard.gateway.conversation import GatewayChannel
from pipeguard.gateway.eras import Opening
from pipeguard.gateway.leg import Leg, LegListener
from pipeguard.gateway.legs import Unavailable
from pipeguard.gateway.member import GatewayServer
from pipeguard.gateway.served_client import ServedClient
from pipeguard.gateway.server_settings import ServerSettings
from pipeguard.gateway.server_state import ServerState, State
from pipeguard.gateway.tool_calls import ToolMode
from pipeguard.gateway.turns import Turns
from pipeguard.state.tokens import TokenScope
from pipeguard.transports.tasks import Tasks

SETTLING_SECONDS = 8.0  # for which a client waits at most for servers that start


if TYPE_CHECKING:
    from pipeguard.gateway.metrics import GatewayMetrics


class Changes(NamedTuple):
    """What became of the servers.

    Attributes:
        added: the names of new ones.
        changed: of those that were started again, since their settings are others.
        removed: of those that are gone.
        failed: why those that could not be added are not there, by name.
    """

    added: list[str]
    changed: list[str]
    removed: list[str]
    failed: dict[str, str]


class Gateway:
    """All servers behind one endpoint. To be made on the loop where it lives.

    Args:
        engines: the compiled rules.
        mode: how agents get to the tools.
        common: options of `wrap` for all servers, such as `--policy`.
        scope_of: what the client of a token may do, by the token's name; None where it is not
            valid any more.

    Attributes:
        catalog: the tools of all.
        turns: of the servers on the loop.
        metrics: counts what goes through; None where nobody asks for that.
        mode: how agents get to them.
        members: the servers, by name.
    """

    def __init__(
        self,
        engines: Engines,
        mode: ToolMode = ToolMode.SEARCH,
        common: Mapping[str, str] | None = None,
        scope_of: Callable[[str], TokenScope | None] = lambda _who: TokenScope(),
    ) -> None:
        self.catalog = Catalog()
        self.turns = Turns()
        self.metrics: GatewayMetrics | None = None
        self.mode = mode
        self.members: dict[str, GatewayServer] = {}
        self._engines = engines
        self._common = common or {}
        self._scope_of = scope_of
        self._limits: dict[str, RateLimit] = {}  # by the names of tokens
        self._stopping = Tasks()
        self._clients: dict[GatewayChannel, Flows] = {}

    async def apply(self, servers: Iterable[ServerSettings]) -> Changes:
        """Have exactly these servers: start new ones, end others, leave unchanged ones alone."""
        wanted = {server.name: server for server in servers}
        changes = Changes([], [], [], {})
        leaving = []
        for name, member in list(self.members.items()):
            if wanted.get(name) == member.settings:
                del wanted[name]
                continue
            (changes.changed if name in wanted else changes.removed).append(name)
            leaving.append(self._stopping.begin(self.members.pop(name).stop()))
        if [self.catalog.drop(name) for name in (*changes.removed, *changes.changed)]:
            self.relisted(frozenset({"tools", "prompts", "resources"}))
        if leaving:
            await asyncio.wait(leaving)
        for name, settings in wanted.items():
            try:
                member = GatewayServer(settings, self, self._engines, self._common)
            except PipeGuardError as error:
                changes.failed[name] = str(error)
                continue
            self.members[name] = member
            member.start()
            if name not in changes.changed:
                changes.added.append(name)
        return changes

    async def dial(self, who: str = "") -> GatewayChannel:
        """A client's side of the gateway, for the name of its token."""
        limit = self._limits.setdefault(who, RateLimit())
        access = ScopedAccess(
            self.catalog, lambda: self.members, lambda: self._scope_of(who), limit
        )
        return GatewayChannel(lambda conversation: ClientAnswers(self, conversation, access), who)

    def may_use_alone(self, who: str, server: str) -> bool:
        """True where a token may use the endpoint of a server alone."""
        return may_use_alone(self._scope_of(who), server)

    def may_use(self, who: str, server: str) -> bool:
        """True where a token may use a server at all."""
        scope = self._scope_of(who)
        return scope is not None and may_use_server(scope, server)

    async def close(self) -> None:
        """End all servers, also those that an edit is ending."""
        for member in self.members.values():
            self._stopping.begin(member.stop())
        if self._stopping:
            await asyncio.wait(self._stopping)

    # --- what clients ask of it -----------------------------------------------------------

    def described(self) -> Mapping[str, JsonObject]:
        """By server, its answer to `initialize`: of those that have answered."""
        return {name: member.described for name, member in self.members.items() if member.described}

    async def open(
        self, server: str, conversation: GatewayChannel, opening: Opening, listener: LegListener
    ) -> Leg:
        """A client's conversation with a server.

        Args:
            server: its name.
            conversation: the client's.
            opening: what the client says of itself.
            listener: hears what the server says unasked.

        Raises:
            Unavailable: the server does not answer.
        """
        member = self.members.get(server)
        if member is None:
            raise Unavailable("there is no such server any more")
        flows = self._clients.setdefault(conversation, Flows())
        return await member.open(listener, opening, ServedClient(flows, conversation.token))

    def definition_of(self, public: str) -> JsonObject | None:
        """The definition of a tool that clients call by its own name; None where they do not."""
        tool = None if self.mode is ToolMode.SEARCH else self.catalog.named(public)
        return None if tool is None else tool.definition

    def is_ready(self) -> bool:
        """True once each server has started, or failed to."""
        return all(member.has_settled for member in self.members.values())

    async def settle(self) -> None:
        """Wait until the servers that start at once have said what they are, but not for long."""
        waiting = [asyncio.ensure_future(member.settle()) for member in self.members.values()]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=SETTLING_SECONDS)
            for task in late:
                task.cancel()

    def called(self, server: str, outcome: str, seconds: float) -> None:
        """Count a call of a server's tool: `ok`, `error` or `unavailable`."""
        if self.metrics is not None:
            self.metrics.called(server, outcome, seconds)

    def absent(self) -> dict[str, str]:
        """Why servers cannot be used now, by name."""
        return {name: member.why for name, member in self.members.items() if member.why}

    def waiting(self) -> list[str]:
        """The servers with definitions that wait for approval."""
        return [name for name, member in self.members.items() if member.waiting]

    def may_see_all(self, who: str) -> bool:
        """True for a token without limits, but for its rate."""
        scope = self._scope_of(who)
        return scope is not None and scope == TokenScope(per_minute=scope.per_minute)

    def judged(self, server: str, verdict: Verdict) -> None:
        """Count a message to or from a server."""
        if self.metrics is not None:
            self.metrics.judged(server, verdict)

    def count(self) -> None:
        """Count what goes through from now on."""
        from pipeguard.gateway.metrics import GatewayMetrics

        self.metrics = GatewayMetrics(self._states, lambda: len(self._clients))

    def _states(self) -> dict[str, ServerState]:
        return {
            name: ServerState(
                member.state is State.READY, len(self.catalog.of(name)), member.waiting
            )
            for name, member in self.members.items()
        }

    def join(self, conversation: GatewayChannel) -> None:
        """A client is there, and is to be told of changes."""
        self._clients.setdefault(conversation, Flows())

    def leave(self, conversation: GatewayChannel) -> None:
        """A client is gone."""
        self._clients.pop(conversation, None)

    # --- what servers tell it -------------------------------------------------------------

    def relisted(self, kinds: frozenset[str]) -> None:
        """What a server offers has changed: tools, prompts or resources."""
        if self.mode is ToolMode.SEARCH:
            kinds -= {"tools"}  # the menu stays the same, whatever is found by it
        for conversation in self._clients:
            conversation.relisted(kinds)
