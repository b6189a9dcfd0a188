"""Prompts, resources, completion, subscriptions and tasks of many servers, as those of one.

A prompt is called `server__prompt`. A resource keeps its address, unless another server has the
same: then it is shown as `server+address`. Lists are read page by page, under cursors of ours.
Source: MCP 2025-11-25, server/prompts, server/resources, server/utilities/completion,
basic/utilities/tasks.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, read_object
from pipeguard.gateway.catalog import hashed_name, public_name, short_hash
from pipeguard.gateway.client_request import ClientRequest, Unavailable
from pipeguard.gateway.conversation import (
    TASK_SEPARATOR,
    GatewayClient,
    show_task_id,
    show_task_ids,
)
from pipeguard.gateway.eras import INVALID_PARAMS, RESOURCE_NOT_FOUND, Declined
from pipeguard.gateway.leg import Leg
from pipeguard.gateway.pages import PROMPTS, RESOURCES, TASKS, TEMPLATES, ListKind, Pages
from pipeguard.gateway.router import Router
from pipeguard.gateway.telemetry import TRACED

MOST_REMEMBERED = 20_000  # items of one server and kind, for one client
LEVEL_SECONDS = 8.0  # for servers to take a level of logging
_EXPRESSION = re.compile(r"\{[^{}]*\}")


LISTS = {kind.method: kind for kind in (PROMPTS, RESOURCES, TEMPLATES, TASKS)}

_Home = tuple[str, str]  # a server, and the name or address of an item there


class Merged:
    """Answers one client's requests about prompts, resources and tasks.

    Args:
        client: the client.
        router: sends requests to servers.
    """

    def __init__(self, client: GatewayClient, router: Router) -> None:
        self._client, self._gateway, self._access = client, client.gateway, client.access
        self._router = router
        self._public_name = self._gateway.catalog.public_name
        self._pages = Pages(client, self._show_all)
        self._prompts: dict[str, _Home] = {}  # server and name, by the public name
        self._homes: dict[str, _Home] = {}  # server and address, by the address shown
        self._templates: dict[str, _Home] = {}
        self._remembered: Counter[tuple[str, str]] = Counter()  # by key and server
        self._level: JsonValue = None

    def methods(self) -> dict[str, Callable[[ClientRequest], Awaitable[JsonObject]]]:
        """The answering method for each request."""
        return {
            **dict.fromkeys(LISTS, self.list_merged),
            "prompts/get": self.prompt,
            "resources/read": self.resource,
            "resources/subscribe": self.resource,
            "resources/unsubscribe": self.resource,
            "completion/complete": self.completion,
            "logging/setLevel": self.set_level,
            **dict.fromkeys(("tasks/get", "tasks/result", "tasks/cancel"), self.task),
        }

    async def send_level(self, leg: Leg) -> None:
        """Send a server the client's log level; one that does not answer must not delay others."""
        is_logging = leg.offers("logging") and self._access.may_use(leg.server, "logging/setLevel")
        if self._level is not None and is_logging and not leg.is_stateless:
            with suppress(TimeoutError):
                async with asyncio.timeout(LEVEL_SECONDS):
                    await leg.request("logging/setLevel", {"level": self._level})

    # --- lists ----------------------------------------------------------------------------

    async def list_merged(self, request: ClientRequest) -> JsonObject:
        """A page of all servers' items, in the order of the servers."""
        return {"result": await self._pages.result(request, LISTS[request.method])}

    def _show_all(self, kind: ListKind, server: str, item: JsonObject) -> JsonObject:
        """An item under its name in the gateway."""
        if kind is TASKS:
            return _task_shown(server, item)
        name = item.get(kind.key)
        if type(name) is not str:
            return item
        table = {"name": self._prompts, "uri": self._homes}.get(kind.key, self._templates)
        if kind.key == "name":
            names = [self._public_name(server, name), public_name(server, name)]
            last = hashed_name(server, name)
        else:
            *names, last = _addresses(server, name)
        home = (server, name)
        public = next((each for each in names if table.get(each, home) == home), last)
        if public not in table and self._remembered[kind.key, server] < MOST_REMEMBERED:
            self._remembered[kind.key, server] += 1
            table[public] = home
        return item if public == name else {**item, kind.key: public}

    # --- single ones ------------------------------------------------------------------------

    async def prompt(self, request: ClientRequest) -> JsonObject:
        """`prompts/get`, by the public name."""
        name = request.params.get("name")
        server, own = await self._find_prompt(request, name)
        return await self._send(server, request, {**request.params, "name": own})

    async def resource(self, request: ClientRequest) -> JsonObject:
        """`resources/read`, `subscribe` and `unsubscribe`, by the address shown to the client."""
        shown = request.params.get("uri")
        server, own = await self.find_home(request, shown)
        answer = await self._send(server, request, {**request.params, "uri": own})
        result = read_object(answer, "result")
        contents = result.get("contents")
        if own == shown or not isinstance(contents, list):
            return answer
        renamed: list[JsonValue] = [
            {**item, "uri": shown} if isinstance(item, dict) and item.get("uri") == own else item
            for item in contents
        ]
        return {"result": {**result, "contents": renamed}}

    async def completion(self, request: ClientRequest) -> JsonObject:
        """`completion/complete`, for a prompt or a template."""
        ref = read_object(request.params, "ref")
        if ref.get("type") == "ref/prompt":
            server, own = await self._find_prompt(request, ref.get("name"))
            ref = {**ref, "name": own}
        else:
            server, own = await self.find_home(request, ref.get("uri"))
            ref = {**ref, "uri": own}
        return await self._send(server, request, {**request.params, "ref": ref})

    async def set_level(self, request: ClientRequest) -> JsonObject:
        """`logging/setLevel`, for all servers, including those opened later."""
        self._level = self._client.opening.log_level = request.params.get("level")
        await asyncio.gather(*map(self.send_level, self._client.open_legs()))
        return {"result": {}}

    async def task(self, request: ClientRequest) -> JsonObject:
        """`tasks/get`, `result` and `cancel`, by the id shown to the client."""
        shown = request.params.get("taskId")
        server, found, own = shown.partition(TASK_SEPARATOR) if type(shown) is str else ("", "", "")
        if not found or server not in self._access.servers(request.method):
            raise Declined(INVALID_PARAMS, "there is no such task")
        answer = await self._send(server, request, {**request.params, "taskId": own})
        return with_task(server, answer)

    def uri_shown(self, server: str, uri: JsonValue) -> JsonValue:
        """The address under which a client knows a resource of a server."""
        if type(uri) is not str:
            return uri
        shown = _addresses(server, uri)
        return next((each for each in shown if self._homes.get(each) == (server, uri)), uri)

    async def _find_prompt(self, request: ClientRequest, public: JsonValue) -> _Home:
        if type(public) is str:
            if public not in self._prompts:
                await self._pages.search(request, [PROMPTS], lambda: public in self._prompts)
            if public in self._prompts:
                return self._prompts[public]
        raise Declined(INVALID_PARAMS, "there is no such prompt")

    async def find_home(self, request: ClientRequest, shown: JsonValue) -> _Home:
        """The server of a resource, and its address there: by earlier listings, or a template.

        Raises:
            Declined: there is no such resource.
        """
        if type(shown) is str:
            found = self._home_by_table(shown)
            if found is None:
                await self._pages.search(
                    request, [RESOURCES, TEMPLATES], lambda: shown in self._homes
                )
                found = self._home_by_table(shown)
            if found is not None:
                return found
        raise Declined(RESOURCE_NOT_FOUND, "there is no such resource")

    def _home_by_table(self, shown: str) -> _Home | None:
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
        if server not in self._access.servers(request.method):  # it was listed when allowed
            raise Declined(codes.PEER_GONE, "this server no longer exists")
        try:
            if request.method not in TRACED:
                return await self._router.send(server, request, params)
            with self._gateway.sending(server, request.method) as span:
                answer = await self._router.send(server, request, span.carry(params))
                span.record_answer(answer)
                return answer
        except Unavailable as why:
            raise Declined(
                codes.PEER_GONE, f"the server {server} is not available: {why}"
            ) from None


def with_task(server: str, answer: JsonObject) -> JsonObject:
    """An answer whose task has its id in the gateway."""
    result = answer.get("result")
    if not isinstance(result, dict):
        return answer
    task = result.get("task")
    if isinstance(task, dict) and type(task.get("taskId")) is str:
        return {"result": {**result, "task": _task_shown(server, task)}}
    return {"result": show_task_ids(server, _task_shown(server, result))}


def _task_shown(server: str, task: JsonObject) -> JsonObject:
    own = task.get("taskId")
    return {**task, "taskId": show_task_id(server, own)} if type(own) is str else task


def _addresses(server: str, uri: str) -> tuple[str, str, str]:
    """The addresses under which a resource may be shown: its own, unless another server has it.

    The others begin with the server's name as a URI's scheme (RFC 3986, section 3.1).
    """
    clean = re.sub(r"[^a-z0-9.-]", "-", server.casefold())
    scheme = clean if clean[:1].isalpha() else f"s-{clean}"
    return uri, f"{scheme}+{uri}", f"{scheme}-{short_hash(server, uri)}+{uri}"


def _fits(template: str, uri: str) -> bool:
    """True if a URI may match a template (RFC 6570), judged by the template's literal parts."""
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
