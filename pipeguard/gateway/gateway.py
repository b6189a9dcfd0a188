"""The gateway: all servers together, and the clients that use them."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

from pipeguard.auth.identity_key import find_owner
from pipeguard.detect.detector import Engines
from pipeguard.errors import PipeGuardError
from pipeguard.firewall.protocol.json_values import JsonObject, read_object
from pipeguard.gateway.access import RateLimits, ScopedAccess, may_use_alone
from pipeguard.gateway.catalog import MARKS, may_be_tool, short_name
from pipeguard.gateway.client_request import ServedClient, Unavailable
from pipeguard.gateway.eras import Opening
from pipeguard.gateway.hub import LISTS, ClientConversation, Hub
from pipeguard.gateway.leg import Leg, LegListener
from pipeguard.gateway.life import MOST_REASON_CHARS, UP, State, definitions_wait
from pipeguard.gateway.member import GatewayServer
from pipeguard.gateway.menu import DEFAULT_LIMITS, MenuLimits, ToolMode
from pipeguard.gateway.proposed_servers import ServerManagement
from pipeguard.gateway.servers_file import ServerSettings
from pipeguard.gateway.telemetry import CallSpan
from pipeguard.gateway.tool_offer import SKILLS_OFFERED, remembered_capabilities
from pipeguard.gateway.tools import CatalogTool, Effect, Override
from pipeguard.state.postgres.rates import seconds_to_wait
from pipeguard.state.tokens import TokenScope
from pipeguard.transports.http.client.task_owners import SharingClient
from pipeguard.transports.recently_used import RecentlyUsed
from pipeguard.transports.tasks import Tasks
from pipeguard.unicode.display import show

SILENT, STARTING = "it did not answer in time", "it is still starting"
MOST_CALLERS = 10_000  # tokens, and subjects in their groups; each takes about a kilobyte
SETTLING_SECONDS = 8.0  # after a server's start, for which clients wait for it
# Of a server that has not answered yet: it answers missing ones with an empty list.
_MAY_HAVE: JsonObject = {
    "prompts": {"listChanged": True},
    "resources": {"listChanged": True, "subscribe": True},
    "completions": {},
    "logging": {},
    "tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}},
    "extensions": SKILLS_OFFERED,
}


class Gateway(Hub):
    """All servers behind one endpoint. To be made on the loop where it lives.

    Args:
        engines: the compiled rules.
        mode: how agents get to the tools.
        common: options of `wrap` for all servers, such as `--policy`.
        scopes_of: the rights of a caller, by its name; none if its token is no longer valid.

    Attributes:
        members: the servers, by name.
        left_out: why other servers could not be made, by name.
        management: lets agents propose servers; None if they may not.
        is_read_only: True if clients may only call tools that change nothing.
        limits: of the text that agents read at once.
    """

    def __init__(
        self,
        engines: Engines,
        mode: ToolMode = ToolMode.SEARCH,
        common: Mapping[str, str] | None = None,
        scopes_of: Callable[[str], Sequence[TokenScope]] = lambda _who: (TokenScope(),),
    ) -> None:
        super().__init__(mode)
        self.members: dict[str, GatewayServer] = {}
        self.server_names = self.members.keys()
        self.left_out: dict[str, str] = {}
        self.management: ServerManagement | None = None
        self.is_read_only = False
        self.limits = DEFAULT_LIMITS
        self._engines = engines
        self._common = common or {}
        self._scopes_of = scopes_of
        self._access = RecentlyUsed[ScopedAccess](MOST_CALLERS)
        self._limits = RecentlyUsed[RateLimits](MOST_CALLERS)  # a subject's are for all its groups
        self._stopping, self._announcing = Tasks(), Tasks()
        self._ready: list[str] = []  # servers whose start is to be announced
        self._has_answered = False  # a client, once it needed no server that was starting

    async def apply(self, servers: Iterable[ServerSettings]) -> dict[str, list[str]]:
        """Run exactly these servers: start new ones, end others, keep unchanged ones.

        Returns:
            The names of changed servers, by what was done with them.
        """
        wanted = {server.name: server for server in servers}
        added, changed, removed = list[str](), list[str](), list[str]()
        leaving: dict[str, asyncio.Task[None]] = {}
        for name, member in list(self.members.items()):
            if wanted.get(name) == member.settings and not member.run.stopped:
                del wanted[name]
                continue
            (changed if name in wanted else removed).append(name)
            leaving[name] = self._stopping.begin(self.members.pop(name).stop())
            super().note_restart(name)
        dropped = (*removed, *changed)
        if [self.catalog.drop(name) for name in dropped]:
            self.announce_lists(LISTS, *dropped)
        failed = {}
        for name, settings in wanted.items():
            try:
                member = GatewayServer(settings, self, self._engines, self._common)
            except PipeGuardError as error:
                failed[name] = show(str(error), MOST_REASON_CHARS)
                continue
            self.members[name] = member
            self.left_out.pop(name, None)
            member.start(leaving.get(name))
            if name not in leaving:
                added.append(name)
        if leaving:
            await asyncio.wait(leaving.values())
        self.left_out = failed
        return {"added": added, "started again with other settings": changed, "removed": removed}

    def access(self, who: str) -> ScopedAccess:
        """The access of a token's client."""
        return self._access.find(who, lambda: self._make_access(who))

    def _make_access(self, who: str) -> ScopedAccess:
        owner = find_owner(who)
        return ScopedAccess(
            self.catalog,
            lambda: {*self.members, *self.left_out},
            lambda: self._client_scopes(who),
            None if self.link is None else partial(seconds_to_wait, self.link, owner),
            limits=self._limits.find(owner, RateLimits),
        )

    def may_use_alone(self, who: str, server: str) -> bool:
        """True if a token may use a server's own endpoint."""
        scopes = () if self.is_read_only else self._scopes_of(who)
        return any(may_use_alone(scope, server) for scope in scopes)

    def _client_scopes(self, who: str) -> Sequence[TokenScope]:
        """The access of a token's client in this gateway."""
        scopes = self._scopes_of(who)
        return [scope.only_reading() for scope in scopes] if self.is_read_only else scopes

    async def close(self) -> None:
        """End all servers, including those that an edit is ending."""
        await self._announcing.end()
        for member in self.members.values():
            self._stopping.begin(member.stop())
        if self._stopping:
            await asyncio.wait(self._stopping)

    # --- for clients ----------------------------------------------------------------------

    async def open(
        self, server: str, conversation: ClientConversation, opening: Opening, listener: LegListener
    ) -> Leg:
        """A client's conversation with a server.

        Args:
            server: its name.
            conversation: the client's.
            opening: the client's description of itself.
            listener: receives the server's unsolicited messages.

        Raises:
            Unavailable: the server does not answer.
        """
        member = self.members.get(server)
        if member is None:
            raise Unavailable(self.left_out.get(server, "this server no longer exists"))
        self.join(conversation)
        access = self.access(conversation.token)

        def may_use(name: str) -> bool:
            tools = (tool for tool in self.catalog.of(server) if tool.name == name)
            return any(map(access.may_call, tools))

        sharing = SharingClient(conversation.owner, may_use)
        flows = self.conversations[conversation]
        client = ServedClient(flows, conversation.token, sharing, conversation.tape)
        return await member.open(listener, opening, client)

    def find_definition(self, public: str, who: str) -> JsonObject | None:
        """The definition of a tool, by the name that a token's client uses; None otherwise."""
        tool = None if self.mode is ToolMode.SEARCH else self.catalog.find(public)
        return tool.definition if tool is not None and self.access(who).may_call(tool) else None

    def starting(self, tool: str | None = None) -> list[str]:
        """The servers whose first start is in progress, even after a change of settings.

        Args:
            tool: only servers that may have a tool of this name.
        """
        return [
            name
            for name, member in self.members.items()
            if not member.has_settled
            if tool is None or may_be_tool(tool, name) or not member.settings.is_prefixed
        ]

    async def settle(
        self, limit_seconds: float | None = None, only: Collection[str] | None = None
    ) -> None:
        """Wait until servers have started or failed to.

        Args:
            limit_seconds: of each, from its start on; None for as long as clients wait.
            only: their names; None for all.
        """
        limit_seconds = SETTLING_SECONDS if limit_seconds is None else limit_seconds
        late = [name for name in self.starting() if only is None or name in only]
        if late:
            deadline = max(self.members[name].began for name in late) + limit_seconds
            settling = [asyncio.ensure_future(self.members[name].settle()) for name in late]
            left = max(deadline - asyncio.get_running_loop().time(), 0)
            await asyncio.wait(settling, timeout=left)
            for task in settling:
                task.cancel()
        self._has_answered = True

    def note_restart(self, server: str) -> None:
        """Let clients list again once a server is ready, together with others that are starting.

        Before the first answer to any client, no client has a list without it.
        """
        super().note_restart(server)
        if not self._has_answered:
            return
        self._ready.append(server)
        if len(self._ready) == 1:
            self._announcing.begin(self._announce_ready())

    async def _announce_ready(self) -> None:
        """Announce servers that are ready, once no list waits for the others."""
        await self.settle()
        ready, self._ready = self._ready, []
        self.announce_lists(LISTS, *ready)

    def capabilities(self, server: str) -> JsonObject:
        """The capabilities of a server; for one that has not answered yet, all possible ones."""
        member = self.members[server]
        if member.described:
            return read_object(member.described, "capabilities")
        if member.has_settled:
            return {}
        kinds = remembered_capabilities(member.run.guard.pins.all().values())
        return {
            name: detail
            for name, detail in _MAY_HAVE.items()
            if not kinds or name in kinds or name not in ("prompts", "resources", "extensions")
        }

    def why_silent(self, server: str, method: str) -> str:
        """Explain why a server's list is not worth waiting for now; empty if it is."""
        member, now = self.members.get(server), asyncio.get_running_loop().time()
        if member is not None and not member.has_settled:
            return STARTING if now > member.began + SETTLING_SECONDS else ""
        return SILENT if self.silences.get((server, method), 0.0) > now else ""

    def use(self, server: str) -> bool:
        """Note that a server is needed; False if its open conversations are about to end."""
        return server in self.members and self.members[server].use()

    def find_remembered(self, server: str) -> Leg | None:
        """A conversation with the pins of a server that is asleep; None for other servers."""
        member = self.members.get(server)
        return member.remembered if member and member.state is State.ASLEEP else None

    def offer(self, management: ServerManagement | None) -> None:
        """Let agents propose the changes that the user allows."""
        self.management = management
        for conversation in self.conversations:
            conversation.announce_lists(frozenset({"tools"}))

    def set_menu(self, mode: ToolMode, limits: MenuLimits) -> None:
        """Change the mode in which agents get to the tools, and the limits."""
        if (mode, limits) != (self.mode, self.limits):
            self.mode, self.limits = mode, limits
            for conversation in self.conversations:
                conversation.announce_lists(frozenset({"tools"}))

    def sending(self, server: str, method: str, tool: str = "") -> CallSpan:
        """The span of the call to a server, of a tool or by another method."""
        member = self.members.get(server)
        url = "" if member is None else member.settings.url
        return self.telemetry.sending(method, server, url, tool)

    def absent(self) -> dict[str, str]:
        """Explain why servers cannot be used now, by name."""
        down = {name: member.why for name, member in self.members.items() if member.why}
        return down | self.left_out

    def describe_absent(self) -> str:
        """Count the servers that are starting or down; empty if all can be used."""
        starting = [member.state for member in self.members.values()].count(State.STARTING)
        absent = len(self.absent()) - starting
        total = len(self.members) + len(self.left_out)
        return "; ".join(
            f"{count} of {total} servers {'is' if count == 1 else 'are'} {what}"
            for count, what in ((starting, "starting"), (absent, "down"))
            if count
        )

    def waiting(self) -> dict[str, int]:
        """The numbers of definitions that wait for approval, by server."""
        counts = {name: member.offer.waiting for name, member in self.members.items()}
        return {name: count for name, count in counts.items() if count}

    def describe_missing(self) -> dict[str, str]:
        """Explain, by name, why servers lack tools or wait; never for a model."""
        down = {name: each.reason for name, each in self.members.items() if each.why}
        missing = down | self.left_out
        for name, count in self.waiting().items():
            command = f"pipeguard approve {self.members[name].run.guard.name} --all"
            missing.setdefault(name, f"{definitions_wait(count)} for approval: {command}")
        return missing

    def find_refused(self, name: str, servers: Iterable[str]) -> CatalogTool | None:
        """The tool that a name means and the policy blocks; its server's Session refuses it."""
        for server in servers:
            if (member := self.members.get(server)) is None:
                continue
            for tool in member.offer.refused:
                own = member.settings.overrides.get(tool, Override()).name or tool
                names = [f"{server}{mark}{tool}" for mark in MARKS]
                shown = short_name(server, own) if member.settings.is_prefixed else own
                if name in (*names, shown):
                    return CatalogTool(-1, name, server, tool, {}, Effect.READ)
        return None

    def may_see_all(self, who: str) -> bool:
        """True for a token whose only limit is its rate."""
        return any(scope.is_unlimited for scope in self._scopes_of(who))

    def figures(self) -> dict[str, dict[str, float]]:
        """The present values of gauges, by name and by server; "" for all servers together."""
        members = self.members.items()
        ups = {name: float(member.state in UP) for name, member in members}
        return {
            "server.up": dict.fromkeys(self.left_out, 0.0) | ups,
            "tools": {name: len(self.catalog.of(name)) for name in self.members},
            "definitions.waiting": {name: member.offer.waiting for name, member in members},
            "audit.rows.lost": {name: member.run.lost_rows for name, member in members},
            "clients": {"": len(self.conversations)},
            "flow.bytes": {"": self.ledgers.total_bytes},
        }
