"""The access of one client of the gateway: everything, or the rights of its token.

Tools that may not be called cannot be found either. A token that is limited to some tools may not
use their servers' other parts. Knows no HTTP.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable
from time import monotonic

from pipeguard.firewall.policy import fits_any
from pipeguard.firewall.protocol.peers import CAPABILITIES
from pipeguard.gateway.catalog import Catalog, may_be_tool, tool_globs
from pipeguard.gateway.tools import CatalogTool, Filter
from pipeguard.state.tokens import EFFECTS, TokenScope

MINUTE_SECONDS = 60.0
NOTHING = TokenScope((), (), "")  # of a token that is not valid any more
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


class RateLimit:
    """Counts the calls of one token in all its conversations."""

    def __init__(self) -> None:
        self._calls: deque[float] = deque()

    def seconds_to_wait(self, per_minute: int, now: float) -> float:
        """Count a call; if there were too many in a minute, return the wait instead."""
        calls = self._calls
        while calls and calls[0] <= now - MINUTE_SECONDS:
            calls.popleft()
        if per_minute and len(calls) >= per_minute:
            return calls[-per_minute] + MINUTE_SECONDS - now
        if per_minute:
            calls.append(now)
        return 0.0


class ScopedAccess:
    """A client's access, by its token's current scope.

    Args:
        catalog: the tools of all servers.
        servers: the names of all servers.
        scope: returns the token's scope; None once the token is valid no more.
    """

    def __init__(
        self,
        catalog: Catalog,
        servers: Callable[[], Iterable[str]],
        scope: Callable[[], TokenScope | None],
    ) -> None:
        self._catalog = catalog
        self._servers = servers
        self._find_scope = scope
        self._limit = RateLimit()  # of all conversations of the token
        self._with_tools: tuple[object, frozenset[str]] = (None, frozenset())

    def _scope(self) -> TokenScope:
        return self._find_scope() or NOTHING

    def finds(self) -> Filter | None:
        """The names that it may find; None for all."""
        scope = self._scope()
        if scope.is_unlimited:
            return None
        is_all, servers = "*" in scope.tools, frozenset(self.servers("tools/call"))
        keys = None if is_all else frozenset(tool_globs(self._catalog, scope.tools))
        return Filter(servers, frozenset(list_effects(scope.effect)), keys)

    def may_call(self, tool: CatalogTool) -> bool:
        """True if it may call a tool."""
        return bool(self.filter_tools([tool]))

    def filter_tools(self, tools: Iterable[CatalogTool]) -> list[CatalogTool]:
        """The tools among these that it may call."""
        scope = self._scope()
        if scope.is_unlimited:
            return list(tools)
        effects = list_effects(scope.effect)
        return [
            tool
            for tool in tools
            if tool.effect in effects
            and fits_any(tool.server, scope.servers)
            and ("*" in scope.tools or bool(tool_globs([tool], scope.tools)))
        ]

    def may_manage(self) -> bool:
        """True if it may propose servers."""
        return self._scope().manages

    def may_use(self, server: str, method: str) -> bool:
        """True if it may send a server messages of a method, and receive such messages from it."""
        scope = self._scope()
        if not fits_any(server, scope.servers) or not list_effects(scope.effect):
            return False
        return "*" in scope.tools or (method in OF_TOOLS and self._names_tools(scope, server))

    def servers(self, method: str) -> list[str]:
        """Names of the servers to which it may send messages of a method."""
        return sorted(name for name in self._servers() if self.may_use(name, method))

    def effects(self) -> Collection[str]:
        """The effects of the tools that it may call."""
        return list_effects(self._scope().effect)

    def _names_tools(self, scope: TokenScope, server: str) -> bool:
        """True if a scope names tools of a server: by its name, or among its present tools."""
        version = self._catalog.version, scope
        if self._with_tools[0] != version:
            names = frozenset(tool.server for tool in self.filter_tools(self._catalog))
            self._with_tools = version, names
        return server in self._with_tools[1] or any(
            may_be_tool(glob, server) for glob in scope.tools
        )

    def seconds_to_wait(self) -> float:
        """Count a call; if there were too many in a minute, return the wait instead."""
        return self._limit.seconds_to_wait(self._scope().per_minute, monotonic())


def may_use_alone(scope: TokenScope | None, server: str) -> bool:
    """True if a token may use all of a server, and so its own endpoint."""
    if scope is None or not fits_any(server, scope.servers):
        return False
    return "*" in scope.tools and scope.effect == EFFECTS[-1] and not scope.per_minute


def list_effects(effect: str) -> Collection[str]:
    """The effects up to the highest allowed one."""
    return EFFECTS[: EFFECTS.index(effect) + 1] if effect in EFFECTS else ()
