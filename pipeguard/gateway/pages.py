"""Lists of many servers as one, page by page: all servers are asked at once, under one time limit.

A server that does not answer in time is left out, and the result says so; it is not asked again for
a while. Cursors are ours: a server's name and its own cursor.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pipeguard.firewall.protocol import codes, peers
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    as_list,
    read_object,
    serialise,
)
from pipeguard.gateway.client_request import ClientRequest, Unavailable
from pipeguard.gateway.conversation import GatewayClient
from pipeguard.gateway.eras import INVALID_PARAMS, Declined
from pipeguard.gateway.gateway import SILENT, STARTING
from pipeguard.gateway.leg import Leg

MOST_ITEMS = 1000  # of one page: many clients never ask for a second one
MOST_PAGE_BYTES = 2**20
MOST_PAGES = 100  # of servers, for one answer
MOST_LOOKED_AT = 20_000  # items of one server, to find one of them
PAGE_SECONDS = 8.0  # for one answer, however many servers there are
UNAVAILABLE = "pipeguard/unavailable"  # in `_meta` of a list: servers without an answer, and why


class ListKind(NamedTuple):
    """A kind of list.

    Attributes:
        method: the request for it.
        capability: the path of the one that a server declares for it.
        member: of the result that has the items, or the only one.
        key: of an item that names it.
        params: of the request.
    """

    method: str
    capability: tuple[str, ...]
    member: str
    key: str
    params: JsonObject = {}  # noqa: RUF012  nothing changes it


PROMPTS = ListKind("prompts/list", ("prompts",), "prompts", "name")
RESOURCES = ListKind("resources/list", ("resources",), "resources", "uri")
TEMPLATES = ListKind("resources/templates/list", ("resources",), "resourceTemplates", "uriTemplate")
SKILLS = ListKind("skills/list", ("extensions", peers.SKILLS), "skills", "uri")
TASKS = ListKind("tasks/list", ("tasks",), "tasks", "taskId")


class _Page(NamedTuple):
    """A page of one server's list.

    Attributes:
        items: as the server has them.
        cursor: of the next page; None at the end.
        why: the reason for a missing page; empty if there is a page, or no such list.
    """

    items: list[JsonValue]
    cursor: str | None = None
    why: str = ""


class Pages:
    """Reads lists of all servers for one client.

    Args:
        client: the client.
        shown: renames a server's item to its name for clients.
    """

    def __init__(
        self, client: GatewayClient, shown: Callable[[ListKind, str, JsonObject], JsonObject]
    ) -> None:
        self._client, self._gateway, self._access = client, client.gateway, client.access
        self._shown = shown

    async def result(self, request: ClientRequest, kind: ListKind) -> JsonObject:
        """A page of all servers' items, in the order of the servers.

        Raises:
            Declined: the cursor is not ours.
        """
        servers = self._access.servers(kind.method)
        start, cursor = _find_place(request.params.get("cursor"), servers)
        deadline = _deadline()
        # Of the first pages, all but those of servers behind the last one of this page are used.
        first = {
            server: asyncio.create_task(
                self._page(request, kind, server, deadline, None if number else cursor)
            )
            for number, server in enumerate(servers[start:])
        }
        page = _MergedPage()
        try:
            after = await self._fill(page, request, kind, first, deadline)
        finally:
            await _end(first.values())
        return page.result(kind, after)

    async def _fill(
        self,
        merged: "_MergedPage",
        request: ClientRequest,
        kind: ListKind,
        first: Mapping[str, asyncio.Task[_Page]],
        deadline: float,
    ) -> str | None:
        """Add the pages of servers while there is room and time; return the next cursor."""
        for server, reading in first.items():
            if merged.is_full:
                return _cursor(server, None)
            page = await reading
            merged.add(server, page, self.show_all(kind, server, page.items))
            while page.cursor is not None:
                cursor = page.cursor
                if not merged.is_full:
                    page = await self._page(request, kind, server, deadline, cursor)
                if page.cursor == cursor or page.why:  # not read, for want of room or time
                    return _cursor(server, cursor)
                merged.add(server, page, self.show_all(kind, server, page.items))
        return None

    async def search(
        self, request: ClientRequest, kinds: Iterable[ListKind], is_found: Callable[[], bool]
    ) -> None:
        """Learn the names of all servers' items, within limits, until one is found."""
        deadline = _deadline()
        walks = [
            (kind, server, asyncio.create_task(self._walk(request, kind, server, deadline)))
            for kind in kinds
            for server in self._access.servers(kind.method)
        ]
        try:
            for kind, server, walk in walks:
                self.show_all(kind, server, await walk)
                if is_found():
                    return
        finally:
            await _end(walk for _, _, walk in walks)

    async def _walk(
        self, request: ClientRequest, kind: ListKind, server: str, deadline: float
    ) -> list[JsonValue]:
        """The names of a server's items."""
        named: list[JsonValue] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self._page(request, kind, server, deadline, cursor)
            names = (item.get(kind.key) for item in page.items if isinstance(item, dict))
            named += ({kind.key: name} for name in names if type(name) is str)
            cursor = page.cursor
            if cursor is None or len(named) >= MOST_LOOKED_AT:
                break
        return named

    def show_all(self, kind: ListKind, server: str, items: Iterable[JsonValue]) -> list[JsonValue]:
        """A server's items under their names for the client."""
        return [
            self._shown(kind, server, item) if isinstance(item, dict) else item for item in items
        ]

    async def _page(
        self,
        request: ClientRequest,
        kind: ListKind,
        server: str,
        deadline: float,
        cursor: str | None,
    ) -> _Page:
        """One page of one server; empty if the server does not answer, or has no such list."""
        if why := self._gateway.why_silent(server, kind.method):
            return _Page([], why=why)
        part = ClientRequest.like(request)
        leg: Leg | None = None
        try:
            async with asyncio.timeout_at(deadline):
                leg = self._gateway.find_remembered(server) or await self._client.leg(
                    server, request.opening
                )
                return await self._read_page(leg, part, kind, cursor)
        except Unavailable as error:
            return _Page([], why=str(error))
        except TimeoutError:
            self._client.give_up(part, SILENT)
            if leg is None:  # a busy machine starts it slowly, and it may answer the next time
                return _Page([], why=STARTING)
            if cursor is None:  # it had all the time that there is
                self._gateway.was_silent(server, kind.method)
            return _Page([], why=SILENT)
        except asyncio.CancelledError:
            self._client.give_up(part, "the client no longer waits for this list")
            raise

    async def _read_page(
        self, leg: Leg, request: ClientRequest, kind: ListKind, cursor: str | None
    ) -> _Page:
        if not leg.offers(*kind.capability):
            return _Page([])
        params = {**request.params, **kind.params}
        if cursor is not None:
            params["cursor"] = cursor
        answer = await self._client.ask(leg, request, params, kind.method)
        if why := _find_failure(answer):
            return _Page([], why=why)
        result = read_object(answer, "result")
        found, after = result.get(kind.member), result.get("nextCursor")
        if type(after) is not str or after == cursor:
            after = None
        return _Page([found] if isinstance(found, dict) else as_list(found), after)


class _MergedPage:
    """A page of ours, while it is filled.

    Attributes:
        items: of all servers so far.
        unavailable: why servers gave nothing, by name.
    """

    def __init__(self) -> None:
        self.items: list[JsonValue] = []
        self.unavailable: JsonObject = {}
        self._size = self._pages = 0

    @property
    def is_full(self) -> bool:
        """True if the next page of a server belongs on another page of ours."""
        return (
            len(self.items) >= MOST_ITEMS
            or self._size >= MOST_PAGE_BYTES
            or self._pages >= MOST_PAGES
        )

    def add(self, server: str, page: _Page, shown: list[JsonValue]) -> None:
        """Add a server's page, whose items are shown under these names."""
        self.items += shown
        self._size += sum(len(serialise(item)) for item in shown)
        self._pages += page.cursor is not None
        if page.why:
            self.unavailable[server] = page.why

    def result(self, kind: ListKind, cursor: str | None) -> JsonObject:
        """The result of a list, in MCP's form."""
        result: JsonObject = {kind.member: self.items}
        if cursor is not None:
            result["nextCursor"] = cursor
        if self.unavailable:
            result["_meta"] = {UNAVAILABLE: self.unavailable}
        return result


def _find_failure(answer: JsonObject) -> str:
    """Explain why a server's answer is missing; empty if the answer is its own."""
    error = read_object(answer, "error")
    is_ours = str(error.get("code")) in map(str, codes.OURS)
    return str(error.get("message")) if is_ours else ""


def _deadline() -> float:
    return asyncio.get_running_loop().time() + PAGE_SECONDS


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _find_place(cursor: JsonValue, servers: Sequence[str]) -> tuple[int, str | None]:
    """The beginning of a page: the position of a server, and its own cursor."""
    if cursor is None:
        return 0, None
    server, separator, inner = cursor.partition("\n") if type(cursor) is str else ("", "", "")
    if not separator or server not in servers:
        raise Declined(INVALID_PARAMS, "the cursor does not belong to this list")
    return servers.index(server), inner or None


def _cursor(server: str, inner: str | None) -> str:
    return f"{server}\n{inner or ''}"
