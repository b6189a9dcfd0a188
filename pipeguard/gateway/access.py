"""The access of one client of the gateway: everything, or the rights of its token.

Tools that may not be called cannot be found either. A token that is limited to some tools may not
use their servers' other parts. Knows no HTTP.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from time import monotonic

from pipeguard.firewall.policy import fits_any
from pipeguard.firewall.protocol.peers import CAPABILITIES
from pipeguard.gateway.catalog import Catalog, may_be_tool, tool_globs
from pipeguard.gateway.tools import CatalogTool, Filter
from pipeguard.runtime.rate_limit import RateLimit
from pipeguard.state.tokens import EFFECTS, TokenScope

# The methods that belong to calls of tools, in either direction. Any other one, known or not, is
# for clients that may use all of a server.
OF_TOOLS = frozenset(
    [
        "tools/list",
        "tools/call",
        "tasks/get",
        "tasks/result",
        "tasks/cancel",
        "tasks/update",
        "tasks/list",
        "notifications/tasks/status",
        *(*CAPABILITIES, "notifications/elicitation/complete"),
    ]
)


class RateLimits(dict[TokenScope, RateLimit]):
    """The calls of one token or subject, by the scopes that limit it."""


class ScopedAccess:
    """A client's access, by its present scopes: it may do what any of them allows.

    Args:
        catalog: the tools of all servers.
        servers: the names of all servers.
        scopes: returns the scopes of its token, or of its subject's groups; none once the token is
            valid no more.
        ask_others: counts a call by a scope with those at other replicas; returns the wait if there
            were too many. None if there are no others.
        limits: of its token, or of its subject in whatever groups; new ones if None.
    """

    def __init__(
        self,
        catalog: Catalog,
        servers: Callable[[], Iterable[str]],
        scopes: Callable[[], Sequence[TokenScope]],
        ask_others: Callable[[TokenScope], Awaitable[float]] | None = None,
        *,
        limits: RateLimits | None = None,
    ) -> None:
        self._catalog = catalog
        self._servers = servers
        self._find_scopes = scopes
        self._ask_others = ask_others
        self._limits = RateLimits() if limits is None else limits
        self._with_tools: dict[TokenScope, frozenset[str]] = {}
        self._version = -1  # of the catalogue, for these

    def finds(self) -> Filter | None:
        """The names that it may find; None for all."""
        scopes = self._find_scopes()
        if any(scope.is_unlimited for scope in scopes):
            return None
        is_all = len(scopes) == 1 and "*" in scopes[0].tools
        allowed = () if is_all else self.filter_tools(self._catalog)
        keys = None if is_all else frozenset(tool.key for tool in allowed)
        return Filter(frozenset(self.servers("tools/call")), frozenset(self.effects()), keys)

    def may_call(self, tool: CatalogTool) -> bool:
        """True if it may call a tool."""
        return bool(self.filter_tools([tool]))

    def filter_tools(self, tools: Iterable[CatalogTool]) -> list[CatalogTool]:
        """The tools among these that it may call."""
        scopes = self._find_scopes()
        if any(scope.is_unlimited for scope in scopes):
            return list(tools)
        return [tool for tool in tools if any(_allows(scope, tool) for scope in scopes)]

    def may_manage(self) -> bool:
        """True if it may propose servers."""
        return any(scope.manages for scope in self._find_scopes())

    def may_use(self, server: str, method: str) -> bool:
        """True if it may send a server messages of a method, and receive such messages from it."""
        return any(
            fits_any(server, scope.servers)
            and bool(list_effects(scope.effect))
            and ("*" in scope.tools or (method in OF_TOOLS and self._names_tools(scope, server)))
            for scope in self._find_scopes()
        )

    def servers(self, method: str) -> list[str]:
        """Names of the servers to which it may send messages of a method."""
        return sorted(name for name in self._servers() if self.may_use(name, method))

    def effects(self) -> Collection[str]:
        """The effects of the tools that it may call."""
        return max(
            (list_effects(scope.effect) for scope in self._find_scopes()), key=len, default=()
        )

    def _names_tools(self, scope: TokenScope, server: str) -> bool:
        """True if a scope names tools of a server: by its name, or among its present tools."""
        if self._version != self._catalog.version:
            self._with_tools.clear()
            self._version = self._catalog.version
        if scope not in self._with_tools:
            servers = (tool.server for tool in self._catalog if _allows(scope, tool))
            self._with_tools[scope] = frozenset(servers)
        return server in self._with_tools[scope] or any(
            may_be_tool(glob, server) for glob in scope.tools
        )

    async def seconds_to_wait(self, tool: CatalogTool) -> float:
        """Count a call by a scope that allows it; if each had too many, return the wait instead."""
        waits = list[float]()
        for scope in sorted(self._find_scopes(), key=lambda scope: scope.per_minute):
            if _allows(scope, tool):
                waits.append(await self._count_call(scope))
            if waits and not waits[-1]:
                return 0.0
        return min(waits, default=0.0)

    async def _count_call(self, scope: TokenScope) -> float:
        limit = self._limits.setdefault(scope, RateLimit(scope.per_minute))
        wait_seconds = limit.seconds_to_wait(monotonic())
        if wait_seconds or not scope.per_minute or self._ask_others is None:
            return wait_seconds
        return await self._ask_others(scope)


def _allows(scope: TokenScope, tool: CatalogTool) -> bool:
    """True if a scope alone allows calls of a tool."""
    return (
        tool.effect in list_effects(scope.effect)
        and fits_any(tool.server, scope.servers)
        and ("*" in scope.tools or bool(tool_globs([tool], scope.tools)))
    )


def may_use_alone(scope: TokenScope, server: str) -> bool:
    """True if a scope allows all of a server, and so its own endpoint."""
    if not fits_any(server, scope.servers):
        return False
    return "*" in scope.tools and scope.effect == EFFECTS[-1] and not scope.per_minute


def list_effects(effect: str) -> Collection[str]:
    """The effects up to the highest allowed one."""
    return EFFECTS[: EFFECTS.index(effect) + 1] if effect in EFFECTS else ()
