"""Prompts, resources, completion, subscriptions and tasks of many servers, as those of one.

A prompt is called `server__prompt`. A resource keeps its address, unless another server has the
same: then it is shown as `server+address`. Lists are read page by page, under cursors of ours.
Source: MCP 2025-11-25, server/prompts, server/resources, server/utilities/completion,
basic/utilities/tasks.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

from pipeguard.core.protocol import codes
from pipeguard.core.protocol.json_values import JsonObject, JsonValue, serialise
from pipeguard.gateway.catalog import hashed_name, public_name, short_hash
from pipeguard.gateway.client_request import ClientRequest
from pipeguard.gateway.conversation import GatewayChannel
from pipeguard.gateway.eras import INVALID_PARAMS, RESOURCE_NOT_FOUND, Declined
from pipeguard.gateway.leg import Leg
from pipeguard.gateway.legs import Legs, Unavailable
from pipeguard.gateway.router import Router

MOST_ITEMS = 1000  # of one page: many clients never ask for a second one
MOST_PAGE_BYTES = 2**20
MOST_REMEMBERED = 20_000  # items of one server and kind, for one client
MOST_PAGES = 100  # of servers, for one answer
PAGE_SECONDS = 8.0  # for one of them; a list does without a server that takes longer
_EXPRESSION = re.compile(r"\{[^{}]*\}")
_TASK_SEPARATOR = "/"


class Kind(NamedTuple):
    """A kind of list.

    Attributes:
        capability: that a server declares for it.
        member: of the result that has the items.
        key: of an item that names it.
    """

    capability: str
    member: str
    key: str


LISTS: dict[str, Kind] = {
    "prompts/list": Kind("prompts", "prompts", "name"),
    "resources/list": Kind("resources", "resources", "uri"),
    "resources/templates/list": Kind("resources", "resourceTemplates", "uriTemplate"),
}

_TASKS = Kind("tasks", "tasks", "taskId")


class Merged:
    """Answers for one client what is about prompts, resources and tasks.

    Args:
        legs: to the servers.
        router: sends requests to them.
        conversation: the client's.
        servers: names of those that it may use now, in their order.
        public: the name under which clients know a prompt, by its server's and its own.
    """

    def __init__(
        self,
        legs: Legs,
        router: Router,
        conversation: GatewayChannel,
        servers: Callable[[], list[str]],
        public: Callable[[str, str], str],
    ) -> None:
        self._legs = legs
        self._router = router
        self._conversation = conversation
        self._servers = servers
        self._public_name = public
        self._prompts: dict[str, tuple[str, str]] = {}  # server and name, by the public name
        self._homes: dict[str, tuple[str, str]] = {}  # server and address, by the address shown
        self._templates: dict[str, tuple[str, str]] = {}
        self._remembered: Counter[tuple[str, str]] = Counter()  # by key and server
        self._level: JsonValue = None

    def methods(self) -> dict[str, Callable[[ClientRequest], Awaitable[JsonObject]]]:
        """What answers which request."""
        return {
            **dict.fromkeys(LISTS, self.listed),
            "prompts/get": self.prompt,
            "resources/read": self.resource,
            "resources/subscribe": self.resource,
            "resources/unsubscribe": self.resource,
            "completion/complete": self.completion,
            "logging/setLevel": self.set_level,
            **dict.fromkeys(("tasks/get", "tasks/result", "tasks/cancel"), self.task),
            "tasks/list": self.tasks,
        }

    async def opened(self, leg: Leg) -> None:
        """Tell a server that is new what all others know."""
        if self._level is not None and leg.offers("logging") and not leg.is_stateless:
            with suppress(TimeoutError):
                async with asyncio.timeout(PAGE_SECONDS):
                    await leg.request("logging/setLevel", {"level": self._level})

    # --- lists ----------------------------------------------------------------------------

    async def listed(self, request: ClientRequest) -> JsonObject:
        """A page of all servers' items, in the order of the servers."""
        kind = LISTS[request.method]
        items, cursor = await self._page(request, request.method, kind)
        result: JsonObject = {kind.member: items}
        if cursor is not None:
            result["nextCursor"] = cursor
        return {"result": result}

    async def _page(
        self, request: ClientRequest, method: str, kind: Kind
    ) -> tuple[list[JsonValue], str | None]:
        servers = self._servers()
        server, cursor = self._place_of(request.params.get("cursor"), servers)
        items: list[JsonValue] = []
        size = pages = 0
        while server is not None:
            page, cursor = await self._part(request, method, kind, server, cursor)
            items += page
            size += sum(len(serialise(item)) for item in page)
            pages += cursor is not None
            is_full = len(items) >= MOST_ITEMS or size >= MOST_PAGE_BYTES or pages >= MOST_PAGES
            server = server if cursor is not None else _after(servers, server)
            if server is not None and is_full:
                return items, f"{server}\n{cursor or ''}"
        return items, None

    def _place_of(self, cursor: JsonValue, servers: list[str]) -> tuple[str | None, str | None]:
        """Where a page begins."""
        if cursor is None:
            return (servers[0] if servers else None), None
        server, found, inner = cursor.partition("\n") if type(cursor) is str else ("", "", "")
        if not found or server not in servers:
            raise Declined(INVALID_PARAMS, "the cursor is not one of this list")
        return server, inner or None

    async def _part(
        self, request: ClientRequest, method: str, kind: Kind, server: str, cursor: str | None
    ) -> tuple[list[JsonValue], str | None]:
        """One page of one server; nothing of one that does not answer, or has no such list."""
        request.leg = None  # it is at no server until it is sent
        try:
            async with asyncio.timeout(PAGE_SECONDS):
                return await self._part_in_time(request, method, kind, server, cursor)
        except Unavailable:
            return [], None
        except TimeoutError:
            self._conversation.give_up(request, f"no answer within {PAGE_SECONDS:g} s")
            return [], None

    async def _part_in_time(
        self, request: ClientRequest, method: str, kind: Kind, server: str, cursor: str | None
    ) -> tuple[list[JsonValue], str | None]:
        leg = await self._legs.to(server, request.opening)
        if not leg.offers(kind.capability):
            return [], None
        params = {key: value for key, value in request.params.items() if key != "cursor"}
        if cursor is not None:
            params["cursor"] = cursor
        answer = await self._conversation.ask(leg, request, params, method)
        result = answer.get("result")
        items = result.get(kind.member) if isinstance(result, dict) else None
        after = result.get("nextCursor") if isinstance(result, dict) else None
        shown = [
            self._shown(kind, server, item) if isinstance(item, dict) else item
            for item in (items if isinstance(items, list) else [])
        ]
        return shown, after if type(after) is str and after != cursor else None

    def _shown(self, kind: Kind, server: str, item: JsonObject) -> JsonObject:
        """An item under the name by which it is asked for through us."""
        if kind is _TASKS:
            return _task_shown(server, item)
        name = item.get(kind.key)
        if type(name) is not str:
            return item
        table = {"name": self._prompts, "uri": self._homes}.get(kind.key, self._templates)
        is_prompt = kind.key == "name"
        public = self._public_name(server, name) if is_prompt else name
        home = (server, name)
        if table.get(public, home) != home:  # another server has the same name or address
            public = public_name(server, name) if is_prompt else f"{_scheme(server)}+{name}"
        if table.get(public, home) != home:
            scheme = f"{_scheme(server)}-{short_hash(server, name)}"
            public = hashed_name(server, name) if is_prompt else f"{scheme}+{name}"
        if public not in table and self._remembered[kind.key, server] < MOST_REMEMBERED:
            self._remembered[kind.key, server] += 1
            table[public] = home
        return item if public == name else {**item, kind.key: public}

    # --- single ones ------------------------------------------------------------------------

    async def prompt(self, request: ClientRequest) -> JsonObject:
        """`prompts/get`, by the public name."""
        name = request.params.get("name")
        server, own = await self._prompt_of(request, name)
        return await self._send(server, request, {**request.params, "name": own})

    async def resource(self, request: ClientRequest) -> JsonObject:
        """`resources/read`, `subscribe` and `unsubscribe`, by the address that was shown."""
        shown = request.params.get("uri")
        server, own = await self.home_of(request, shown)
        answer = await self._send(server, request, {**request.params, "uri": own})
        result = answer.get("result")
        contents = result.get("contents") if isinstance(result, dict) else None
        if own == shown or not isinstance(result, dict) or not isinstance(contents, list):
            return answer
        renamed: list[JsonValue] = [
            {**item, "uri": shown} if isinstance(item, dict) and item.get("uri") == own else item
            for item in contents
        ]
        return {"result": {**result, "contents": renamed}}

    async def completion(self, request: ClientRequest) -> JsonObject:
        """`completion/complete`, for a prompt or a template."""
        ref = request.params.get("ref")
        ref = ref if isinstance(ref, dict) else {}
        if ref.get("type") == "ref/prompt":
            server, own = await self._prompt_of(request, ref.get("name"))
            ref = {**ref, "name": own}
        else:
            server, own = await self.home_of(request, ref.get("uri"))
            ref = {**ref, "uri": own}
        return await self._send(server, request, {**request.params, "ref": ref})

    async def set_level(self, request: ClientRequest) -> JsonObject:
        """`logging/setLevel`, of all servers: those too that are opened later."""
        self._level = self._conversation.opening.log_level = request.params.get("level")
        legs = [leg for leg in self._legs.open_now() if leg.offers("logging")]
        asking = (
            self._conversation.ask(leg, request, request.params)
            for leg in legs
            if not leg.is_stateless
        )
        with suppress(TimeoutError):  # one that does not answer keeps nobody waiting
            async with asyncio.timeout(PAGE_SECONDS):
                await asyncio.gather(*asking)
        return {"result": {}}

    async def task(self, request: ClientRequest) -> JsonObject:
        """`tasks/get`, `result` and `cancel`, by the id that was shown."""
        shown = request.params.get("taskId")
        server, found, own = (
            shown.partition(_TASK_SEPARATOR) if type(shown) is str else ("", "", "")
        )
        if not found or server not in self._servers():
            raise Declined(INVALID_PARAMS, "there is no such task")
        answer = await self._send(server, request, {**request.params, "taskId": own})
        return with_task(server, answer)

    async def tasks(self, request: ClientRequest) -> JsonObject:
        """`tasks/list`, of all servers."""
        items, cursor = await self._page(request, "tasks/list", _TASKS)
        result: JsonObject = {"tasks": items}
        if cursor is not None:
            result["nextCursor"] = cursor
        return {"result": result}

    def uri_shown(self, server: str, uri: JsonValue) -> JsonValue:
        """The address under which a client knows a resource of a server."""
        for shown, home in self._homes.items():
            if home == (server, uri):
                return shown
        return uri

    async def _prompt_of(self, request: ClientRequest, public: JsonValue) -> tuple[str, str]:
        if type(public) is str:
            if public not in self._prompts:
                await self._look_for(request, "prompts/list", lambda: public in self._prompts)
            if public in self._prompts:
                return self._prompts[public]
        raise Declined(INVALID_PARAMS, "there is no such prompt")

    async def home_of(self, request: ClientRequest, shown: JsonValue) -> tuple[str, str]:
        """The server of a resource, and its address there: by who listed it, or a template.

        Raises:
            Declined: there is no such resource.
        """
        if type(shown) is str:
            found = self._home_by_table(shown)
            if found is None:
                await self._look_for(request, "resources/list", lambda: shown in self._homes)
                await self._look_for(request, "resources/templates/list", lambda: False)
                found = self._home_by_table(shown)
            if found is not None:
                return found
        raise Declined(RESOURCE_NOT_FOUND, "there is no such resource")

    async def _look_for(
        self, request: ClientRequest, method: str, is_found: Callable[[], bool]
    ) -> None:
        """Read the lists of all servers, as far as they are bounded, until something is found."""
        for server in self._servers():
            cursor: str | None = None
            for _ in range(MOST_PAGES):
                asked = ClientRequest.like(request)
                _, cursor = await self._part(asked, method, LISTS[method], server, cursor)
                if is_found():
                    return
                if cursor is None:
                    break

    def _home_by_table(self, shown: str) -> tuple[str, str] | None:
        if shown in self._homes:
            return self._homes[shown]
        if shown in self._templates:  # completion names the template itself
            return self._templates[shown]
        template = max(
            (template for template in self._templates if _fits(template, shown)),
            key=lambda template: len(_EXPRESSION.sub("", template)),  # the most specific
            default=None,
        )
        if template is None:
            return None
        server, own = self._templates[template]
        prefix = template.removesuffix(own) if template.endswith(own) else ""
        return server, shown.removeprefix(prefix)

    async def _send(self, server: str, request: ClientRequest, params: JsonObject) -> JsonObject:
        if server not in self._servers():  # it was listed while the client might use it
            raise Declined(codes.PEER_GONE, "there is no such server any more")
        try:
            return await self._router.send(server, request, params)
        except Unavailable as why:
            raise Declined(
                codes.PEER_GONE, f"the server {server} is not available: {why}"
            ) from None


def with_task(server: str, answer: JsonObject) -> JsonObject:
    """An answer whose task has the id by which it is asked for through us."""
    result = answer.get("result")
    if not isinstance(result, dict):
        return answer
    task = result.get("task")
    if isinstance(task, dict) and type(task.get("taskId")) is str:
        return {"result": {**result, "task": _task_shown(server, task)}}
    return {"result": _task_shown(server, result)}


def _task_shown(server: str, task: JsonObject) -> JsonObject:
    own = task.get("taskId")
    return {**task, "taskId": f"{server}{_TASK_SEPARATOR}{own}"} if type(own) is str else task


def _after(servers: list[str], server: str) -> str | None:
    position = servers.index(server) + 1
    return servers[position] if position < len(servers) else None


def _scheme(server: str) -> str:
    """A server's name as the beginning of a URI's scheme (RFC 3986, section 3.1)."""
    clean = re.sub(r"[^a-z0-9.-]", "-", server.casefold())
    return clean if clean[:1].isalpha() else f"s-{clean}"


def _fits(template: str, uri: str) -> bool:
    """True where an address may be one of a template (RFC 6570), told by its plain parts."""
    parts = _EXPRESSION.split(template)
    position = len(parts[0])
    if len(parts) < 2 or not uri.startswith(parts[0]) or not uri.endswith(parts[-1]):
        return False
    for part in parts[1:-1]:
        found = uri.find(part, position)
        if found < 0:
            return False
        position = found + len(part)
    return position <= len(uri) - len(parts[-1])
