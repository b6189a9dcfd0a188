"""What one client of the gateway may find and call: everything, or what its token says.

What may not be called cannot be found either. Knows no HTTP.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from fnmatch import fnmatchcase
from time import monotonic

from pipeguard.gateway.catalog import Catalog, CatalogTool, tool_globs
from pipeguard.gateway.search import Filter
from pipeguard.state.tokens import EFFECTS, TokenScope

MINUTE_SECONDS = 60.0


class RateLimit:
    """Counts the calls of one token, over all its conversations."""

    def __init__(self) -> None:
        self._calls: deque[float] = deque()

    def seconds_to_wait(self, per_minute: int, now: float) -> float:
        """Count a call; how long to wait instead where there were too many in a minute."""
        calls = self._calls
        while calls and calls[0] <= now - MINUTE_SECONDS:
            calls.popleft()
        if per_minute and len(calls) >= per_minute:
            return calls[-per_minute] + MINUTE_SECONDS - now
        if per_minute:
            calls.append(now)
        return 0.0


class ScopedAccess:
    """A client's access, by the scope that its token has now.

    Args:
        catalog: the tools of all servers.
        servers: the names of all servers.
        scope: returns the token's scope; None once the token is valid no more.
        limit: counts the calls of the token.
    """

    def __init__(
        self,
        catalog: Catalog,
        servers: Callable[[], Iterable[str]],
        scope: Callable[[], TokenScope | None],
        limit: RateLimit,
    ) -> None:
        self._catalog = catalog
        self._servers = servers
        self._scope = scope
        self._limit = limit

    def finds(self) -> Filter | None:
        """What it may find; None for everything."""
        scope = self._scope()
        if scope is None:
            return Filter(servers=[])
        if scope.is_unlimited:
            return None
        keys = None if "*" in scope.tools else tool_globs(self._catalog, scope.tools)
        return Filter(self.servers(), effects_up_to(scope.effect), keys)

    def may_call(self, tool: CatalogTool) -> bool:
        """True where it may call a tool."""
        return bool(self.allowed([tool]))

    def allowed(self, tools: Iterable[CatalogTool]) -> list[CatalogTool]:
        """Those of some tools that it may call."""
        scope = self._scope()
        if scope is None:
            return []
        if scope.is_unlimited:
            return list(tools)
        effects = effects_up_to(scope.effect)
        servers = self._servers_of(scope)
        return [
            tool
            for tool in tools
            if tool.effect in effects
            and tool.server in servers
            and ("*" in scope.tools or bool(tool_globs([tool], scope.tools)))
        ]

    def may_manage(self) -> bool:
        """True where it may propose servers."""
        scope = self._scope()
        return scope is not None and scope.manages

    def servers(self) -> list[str]:
        """Names of the servers that it may use."""
        scope = self._scope()
        return [] if scope is None else sorted(self._servers_of(scope))

    def effects(self) -> Collection[str]:
        """What the tools that it may call may do."""
        scope = self._scope()
        return () if scope is None else effects_up_to(scope.effect)

    def _servers_of(self, scope: TokenScope) -> set[str]:
        return {name for name in self._servers() if _matches(name, scope.servers)}

    def seconds_to_wait(self) -> float:
        """Count a call; how long to wait instead where there were too many in a minute."""
        scope = self._scope()
        return self._limit.seconds_to_wait(scope.per_minute if scope else 0, monotonic())


def may_use_server(scope: TokenScope, server: str) -> bool:
    """True where a token may use something of a server."""
    return _matches(server, scope.servers)


def may_use_alone(scope: TokenScope | None, server: str) -> bool:
    """True where a token may use all of a server, and so its own endpoint."""
    if scope is None or not _matches(server, scope.servers):
        return False
    return "*" in scope.tools and scope.effect == EFFECTS[-1] and not scope.per_minute


def effects_up_to(effect: str) -> Collection[str]:
    """The effects that are allowed where at most this one is."""
    return EFFECTS[: EFFECTS.index(effect) + 1] if effect in EFFECTS else ()


def _matches(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)
