"""Prompts, resources, skills, completion, subscriptions and tasks of many servers, as those of one.

A prompt is called `server__prompt`. A resource keeps its address, unless another server has the
same: then it is shown as `server+address`, and a page as `ui://server+address`. All files of a
skill are shown alike, and an address in its folder is its server's. Lists are read page by page,
under cursors of ours. Source: MCP 2025-11-25, server/prompts, server/resources,
server/utilities/completion, basic/utilities/tasks; SEP-2640; MCP Apps 2026-01-26.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from pipeguard.firewall.pins.skills import MAIN_FILE
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    as_list,
    as_object,
    read_object,
    with_strings,
)
from pipeguard.gateway.catalog import hashed_name, public_name, short_hash
from pipeguard.gateway.client_request import ClientRequest, Unavailable
from pipeguard.gateway.conversation import (
    TASK_SEPARATOR,
    GatewayClient,
    show_task_id,
    show_task_ids,
)
from pipeguard.gateway.eras import INVALID_PARAMS, RESOURCE_NOT_FOUND, Declined, find_meta
from pipeguard.gateway.leg import Leg
from pipeguard.gateway.pages import (
    PROMPTS,
    RESOURCES,
    SKILLS,
    TASKS,
    TEMPLATES,
    ListKind,
    Pages,
)
from pipeguard.gateway.router import Router
from pipeguard.gateway.telemetry import TRACED
from pipeguard.gateway.tools import CatalogTool, to_text

MOST_REMEMBERED = 20_000  # items of one server and kind, for one client
LEVEL_SECONDS = 8.0  # for servers to take a level of logging
_GET = "skills/get"
MOST_FOLDER_CHARS = 2048  # of an address, in which the folder of a skill is looked for
_MAIN = f"/{MAIN_FILE}"
_PAGE = "ui://"  # begins the address of a page: clients draw no other (MCP Apps)
_EXPRESSION = re.compile(r"\{[^{}]*\}")


LISTS = {kind.method: kind for kind in (PROMPTS, RESOURCES, TEMPLATES, SKILLS, TASKS)}

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
        self._pages = Pages(client, self.show)
        self._prompts: dict[str, _Home] = {}  # server and name, by the public name
        self._homes: dict[str, _Home] = {}  # server and address or template, by the one shown
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
            "resources/directory/read": self.resource,
            _GET: self.resource,
            "completion/complete": self.completion,
            "logging/setLevel": self.set_level,
            **dict.fromkeys(
                ("tasks/get", "tasks/result", "tasks/cancel", "tasks/update"), self.task
            ),
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

    def show(self, kind: ListKind, server: str, item: JsonObject) -> JsonObject:
        """An item under its name in the gateway, by which the client may use it from now on."""
        if kind is TASKS:
            return _task_shown(server, item)
        name = item.get(kind.key)
        if type(name) is not str:
            return item
        home, shown, table = (server, name), {**item}, self._homes
        if kind is PROMPTS:
            table = self._prompts
            names = [self._public_name(server, name), public_name(server, name)]
            last = hashed_name(server, name)
            public = next((each for each in names if table.get(each, home) == home), last)
        else:
            files = [*map(as_object, as_list(item.get("resources")))]  # of a skill
            uris = [name, *(to_text(file.get("uri")) for file in files)]
            public, *others = self._find_free(server, uris)
            if files:
                pairs = zip(files, others, strict=True)
                shown["resources"] = [{**file, "uri": uri} for file, uri in pairs]
        if public not in table and self._remembered[kind.key, server] < MOST_REMEMBERED:
            self._remembered[kind.key, server] += 1
            table[public] = home
        return item if public == name else {**shown, kind.key: public}

    def _find_free(self, server: str, uris: list[str]) -> list[str]:
        """A server's addresses, with the first prefix with which none is another item's."""
        shown = uris
        for prefix in _prefixes(server):
            shown = [_add_prefix(prefix, uri) for uri in uris]
            homes = zip(map(self._locate, shown), uris, strict=True)
            if all(home in (None, (server, uri)) for home, uri in homes):
                break
        return shown

    def uri_shown(self, server: str, uri: JsonValue) -> JsonValue:
        """The address under which a client knows a resource of a server from now on."""
        return self.show(RESOURCES, server, {"uri": uri})["uri"]

    def show_found(self, tool: CatalogTool) -> CatalogTool:
        """A tool with the address of its page, or a skill with its own, for this client."""

        def show(text: str) -> str:
            return str(self.uri_shown(tool.server, text)) if text.startswith(_PAGE) else text

        if tool.kind == "skill":
            return tool._replace(public=str(self.uri_shown(tool.server, tool.public)))
        meta = with_strings(find_meta(tool.definition), show)
        return tool._replace(definition={**tool.definition, "_meta": meta}) if meta else tool

    # --- single ones ------------------------------------------------------------------------

    async def prompt(self, request: ClientRequest) -> JsonObject:
        """`prompts/get`, by the public name."""
        name = request.params.get("name")
        server, own = await self._find_prompt(request, name)
        return await self._send(server, request, {**request.params, "name": own})

    async def resource(self, request: ClientRequest) -> JsonObject:
        """A request for a resource, a folder or a skill, by the address shown to the client."""
        shown = request.params.get("uri")
        server, own = await self.find_home(request, shown)
        answer = await self._send(server, request, {**request.params, "uri": own})
        result = read_object(answer, "result")
        contents, children, skill = map(result.get, ("contents", "resources", "skill"))
        changed = {**result}
        if isinstance(contents, list):
            changed["contents"] = [
                {**item, "uri": shown}
                if isinstance(item, dict) and item.get("uri") == own
                else item
                for item in contents
            ]
        if isinstance(children, list):
            changed["resources"] = self._pages.show_all(RESOURCES, server, children)
        if isinstance(skill, dict):
            changed["skill"] = self.show(SKILLS, server, skill)
        return answer if changed == result else {"result": changed}

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

    async def _find_prompt(self, request: ClientRequest, public: JsonValue) -> _Home:
        if type(public) is str:
            if public not in self._prompts:
                await self._pages.search(request, [PROMPTS], lambda: public in self._prompts)
            if public in self._prompts:
                return self._prompts[public]
        raise Declined(INVALID_PARAMS, "there is no such prompt")

    async def find_home(self, request: ClientRequest, shown: JsonValue) -> _Home:
        """The server of a resource, and its address there.

        It is listed, or in the folder of a skill, or fits a template, or a tool names it as its
        page. A skill that no list has is asked for.

        Raises:
            Declined: there is no such resource.
        """
        if type(shown) is str:
            found = self._find_known(shown)
            if found is None:
                for tool in self._access.filter_tools(self._gateway.catalog):
                    self.show_found(tool)
                kinds = [RESOURCES, SKILLS, TEMPLATES]
                if shown.endswith(_MAIN):
                    asked: JsonObject = {"uri": shown}
                    kinds.append(SKILLS._replace(method=_GET, member="skill", params=asked))
                await self._pages.search(request, kinds, lambda: bool(self._locate(shown)))
                found = self._find_known(shown)
            if found is not None:
                return found
        raise Declined(RESOURCE_NOT_FOUND, "there is no such resource")

    def _locate(self, shown: str) -> _Home | None:
        """The home of an address as it was listed, or of the skill in whose folder it is."""
        found, folder = self._homes.get(shown), shown[:MOST_FOLDER_CHARS]
        while folder and not found:
            if main := self._homes.get(folder + _MAIN):
                found = main[0], main[1].removesuffix(_MAIN) + shown[len(folder) :]
            folder = folder.rpartition("/")[0]
        return found

    def _find_known(self, shown: str) -> _Home | None:
        """The home of an address, or of the most specific template that it fits."""
        if found := self._locate(shown):
            return found
        fitting = [each for each in self._homes if "{" in each and _fits(each, shown)]
        if not fitting:
            return None
        template = max(fitting, key=lambda each: len(_EXPRESSION.sub("", each)))
        server, own = self._homes[template]
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


def _prefixes(server: str) -> tuple[str, str, str]:
    """The prefixes with which a resource may be shown: none, unless another server has it.

    The others begin with the server's name as a URI's scheme (RFC 3986, section 3.1).
    """
    clean = re.sub(r"[^a-z0-9.-]", "-", server.casefold())
    scheme = clean if clean[:1].isalpha() else f"s-{clean}"
    return "", f"{scheme}+", f"{scheme}-{short_hash(server, '')}+"


def _add_prefix(prefix: str, uri: str) -> str:
    """An address with a prefix; that of a page still begins as one."""
    start = _PAGE if uri.startswith(_PAGE) else ""
    return f"{start}{prefix}{uri.removeprefix(start)}"


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
