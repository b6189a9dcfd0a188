"""Tools through the gateway: the menu that finds them, and calls under their public names.

Says no more of a tool than the catalogue has, and calls none that the catalogue has not: what was
blocked, held or is not for this client cannot be called by its name either.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import StrEnum
from math import ceil
from secrets import token_hex
from time import monotonic
from typing import Protocol

from pipeguard.core.protocol.json_values import JsonObject, JsonValue, serialise
from pipeguard.gateway import menu
from pipeguard.gateway.catalog import Catalog, CatalogTool
from pipeguard.gateway.client_request import ClientRequest
from pipeguard.gateway.eras import INVALID_PARAMS, Declined
from pipeguard.gateway.legs import Unavailable
from pipeguard.gateway.merged import with_task
from pipeguard.gateway.router import Router
from pipeguard.gateway.search import Filter

DEFAULT_RESULT_CHARS = 20_000  # about 5,000 tokens: what an agent reads of one result at once
MOST_REST_CHARS = 4 * 2**20  # of results that were cut, kept for one client
BYTES_PER_TOKEN = 4  # of JSON in English, about
AUTO_TOKENS = 8_000  # of definitions, up to which an agent is given them all


class ToolMode(StrEnum):
    """How an agent gets to the tools."""

    SEARCH = "search"
    DIRECT = "direct"
    AUTO = "auto"


class Access(Protocol):
    """What one client may do."""

    def finds(self) -> Filter | None:
        """What it may find; None for everything."""

    def may_call(self, tool: CatalogTool) -> bool:
        """True where it may call a tool."""

    def servers(self) -> list[str]:
        """Names of the servers that it may use."""

    def seconds_to_wait(self) -> float:
        """Count a call; how long to wait instead where there were too many in a minute."""


class Rest:
    """What is left of results that were too long, for `read_more`."""

    def __init__(self, most_chars: int = MOST_REST_CHARS) -> None:
        self._most = most_chars
        self._size = 0
        self._texts: OrderedDict[str, str] = OrderedDict()

    def keep(self, text: str) -> str:
        """Keep a text; return its id. The oldest go where there are too many."""
        while self._texts and self._size + len(text) > self._most:
            self._size -= len(self._texts.popitem(last=False)[1])
        name = token_hex(4)
        self._texts[name] = text
        self._size += len(text)
        return name

    def take(self, name: str) -> str | None:
        """A text that was kept, which is then kept no more."""
        text = self._texts.pop(name, None)
        self._size -= len(text or "")
        return text


class ToolHub(Protocol):
    """What the tools of all clients have in common.

    Attributes:
        catalog: the tools of all servers.
        mode: how agents get to them.
    """

    catalog: Catalog
    mode: ToolMode

    def called(self, server: str, outcome: str, seconds: float) -> None:
        """Count a call of a server's tool: `ok`, `error` or `unavailable`."""

    def absent(self) -> dict[str, str]:
        """Why servers cannot be used now, by name."""

    def waiting(self) -> list[str]:
        """The servers with definitions that wait for approval."""


class ToolCalls:
    """Answers `tools/list` and `tools/call` for one client."""

    def __init__(self, hub: ToolHub, router: Router, access: Access) -> None:
        self._hub = hub
        self._catalog = hub.catalog
        self._router = router
        self._access = access
        self._rest = Rest()
        self._is_small, self._measured_version = True, -1
        self.most_chars = DEFAULT_RESULT_CHARS

    # --- lists ---------------------------------------------------------------------------

    def listed(self) -> list[JsonValue]:
        """What `tools/list` gives."""
        if self._is_direct():
            return [{**tool.definition, "name": tool.public} for tool in self._allowed()]
        return menu.definitions(self._access.servers())

    def _is_direct(self) -> bool:
        if self._hub.mode is not ToolMode.AUTO:
            return self._hub.mode is ToolMode.DIRECT
        if self._catalog.version != self._measured_version:
            size = sum(len(serialise(tool.definition)) for tool in self._allowed())
            self._is_small = size <= AUTO_TOKENS * BYTES_PER_TOKEN
            self._measured_version = self._catalog.version
        return self._is_small

    def _allowed(self) -> list[CatalogTool]:
        return [tool for tool in self._catalog if self._access.may_call(tool)]

    # --- calls ---------------------------------------------------------------------------

    async def call(self, request: ClientRequest) -> JsonObject:
        """Answer a `tools/call`.

        Raises:
            Declined: the request names no tool.
        """
        name, arguments = request.params.get("name"), request.params.get("arguments")
        if type(name) is not str:
            raise Declined(INVALID_PARAMS, "tools/call names no tool")
        arguments = arguments if isinstance(arguments, dict) else {}
        if self._is_direct():
            tool = self._tool(name)
            if tool is None:
                return {"result": self._unknown(name)}
            return await self._called(request, tool, request.params.get("arguments"))
        if name in menu.CALLS:
            return await self._called_by_menu(request, name, arguments)
        own = {
            menu.RETRIEVE: self._retrieved,
            menu.DESCRIBE: self._described,
            menu.MORE: self._more,
        }.get(name)
        return {"result": self._unknown(name) if own is None else own(arguments)}

    async def _called_by_menu(
        self, request: ClientRequest, variant: str, arguments: JsonObject
    ) -> JsonObject:
        name = menu.name_in(arguments)
        tool = self._tool(name)
        if tool is None:
            return {"result": self._unknown(name)}
        if menu.ORDER.index(menu.CALLS[variant]) < menu.ORDER.index(tool.effect):
            return {"result": menu.content(menu.wrong_variant(tool), is_error=True)}
        answer = await self._called(request, tool, arguments.get("arguments", {}))
        return self._helped(tool, answer)

    async def _called(
        self, request: ClientRequest, tool: CatalogTool, arguments: JsonValue
    ) -> JsonObject:
        params: JsonObject = {**request.params, "name": tool.name}
        if arguments is None:
            params.pop("arguments", None)
        else:
            params["arguments"] = arguments
        wait_seconds = self._access.seconds_to_wait()
        if wait_seconds:
            text = f"Too many calls in a minute. Try again in {ceil(wait_seconds)} seconds."
            return {"result": menu.content(text, is_error=True)}
        began = monotonic()
        outcome = "unavailable"
        try:
            answer = await self._router.call(tool.server, request, params, tool.definition)
            result = answer.get("result")
            is_ok = isinstance(result, dict) and result.get("isError") is not True
            outcome = "ok" if is_ok else "error"
        except Unavailable as why:
            text = f"The server {tool.server} of {tool.public} is not available: {why}"
            return {"result": menu.content(text, is_error=True)}
        finally:
            self._hub.called(tool.server, outcome, monotonic() - began)
        if not isinstance(result, dict):
            return answer
        return with_task(tool.server, {"result": self._cut(result)})

    def _tool(self, name: str) -> CatalogTool | None:
        tool = self._catalog.named(name)
        return tool if tool is not None and self._access.may_call(tool) else None

    def _unknown(self, name: str) -> JsonObject:
        near = self._catalog.search(name, 3, self._access.finds())
        tools, has_search = (tool for tool, _ in near), not self._is_direct()
        text = menu.unknown_tool(name, tools, has_search=has_search)
        return menu.content(text, is_error=True)

    # --- the menu's own --------------------------------------------------------------------

    def _retrieved(self, arguments: JsonObject) -> JsonObject:
        query, limit = arguments.get("query"), arguments.get("limit")
        if type(query) is not str or not query.strip():
            return menu.content(
                f"{menu.RETRIEVE} needs a query: what should be done?", is_error=True
            )
        try:
            most = int(str(limit)) if limit is not None else menu.DEFAULT_RESULTS
        except ValueError:
            most = menu.DEFAULT_RESULTS
        only = self._access.finds() or Filter()
        server = arguments.get("server")
        if type(server) is str and server:
            if server not in self._access.servers():
                names = ", ".join(self._access.servers())
                return menu.content(
                    f"There is no server {server!r}. There are: {names}", is_error=True
                )
            only = only._replace(servers=[server])
        found = self._catalog.search(query, min(max(most, 1), menu.MOST_RESULTS), only)
        if not found:
            names = ", ".join(self._access.servers())
            words = f"No tool matches. Try other words, or fewer. The servers are: {names}"
            return menu.content("\n".join([words, *self._missing()]))
        return menu.content(menu.results(found))

    def _missing(self) -> list[str]:
        """What cannot be found now and why, so that the model can tell the user."""
        allowed = self._access.servers()
        absent = {name: why for name, why in self._hub.absent().items() if name in allowed}
        waiting = [name for name in self._hub.waiting() if name in allowed]
        lines = [f"{name} is not available: {why}" for name, why in absent.items()]
        if waiting:
            names = ", ".join(waiting)
            lines.append(f"Tools of {names} wait until the user approves them: tell the user.")
        return lines

    def _described(self, arguments: JsonObject) -> JsonObject:
        name = menu.name_in(arguments)
        tool = self._tool(name)
        return self._unknown(name) if tool is None else menu.content(menu.description(tool))

    def _more(self, arguments: JsonObject) -> JsonObject:
        name = arguments.get("id")
        text = self._rest.take(name) if type(name) is str else None
        if text is None:
            words = "There is nothing more under this id. Call the tool again, for less at a time."
            return menu.content(words, is_error=True)
        return self._cut(menu.content(text))

    # --- what comes back -------------------------------------------------------------------

    def _cut(self, result: JsonObject) -> JsonObject:
        """A result of which no more text is left than an agent reads at once."""
        blocks = result.get("content")
        if not isinstance(blocks, list) or self._is_direct():
            return result
        left, rest = self.most_chars, list[str]()
        shown: list[JsonValue] = []
        for block in blocks:
            text = block.get("text") if isinstance(block, dict) else None
            if not isinstance(block, dict) or type(text) is not str:
                shown.append(block)
                continue
            if left > 0:
                shown.append(block if len(text) <= left else {**block, "text": text[:left]})
            if len(text) > left:
                rest.append(text[max(left, 0) :])
            left -= len(text)
        if not rest:
            return result
        text = "\n".join(rest)
        name = self._rest.keep(text)
        words = f"[{len(text):,} more characters: {menu.MORE} with id {name!r}]"
        cut: JsonObject = {**result, "content": [*shown, {"type": "text", "text": words}]}
        cut.pop("structuredContent", None)  # it says all of it a second time
        return cut

    def _helped(self, tool: CatalogTool, answer: JsonObject) -> JsonObject:
        """An answer with what a model needs to mend its call, where it failed."""
        result, error = answer.get("result"), answer.get("error")
        is_wrong = isinstance(result, dict) and result.get("isError") is True
        if not is_wrong and not isinstance(error, dict):
            return answer
        usage = f"Usage: {tool.public}({menu.signature(tool.definition)})"
        if isinstance(result, dict):
            blocks = result.get("content")
            said = blocks if isinstance(blocks, list) else []
            return {"result": {**result, "content": [*said, {"type": "text", "text": usage}]}}
        message = error.get("message") if isinstance(error, dict) else ""
        return {"result": menu.content(f"{message}\n{usage}", is_error=True)}
