"""Tools through the gateway: the menu that finds them, and calls under their public names.

Shows and calls only tools in the catalogue that are not held and that this client may use. A call
that the policy blocks is forwarded to its Session, which refuses and records it.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from math import ceil
from secrets import token_hex
from time import monotonic

from pipeguard.errors import Refusal
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    as_list,
    as_object,
    read_object,
    serialise,
)
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session.replies import is_refusal
from pipeguard.gateway.catalog import may_be_tool, tools_of_server
from pipeguard.gateway.client_request import ClientRequest, Unavailable
from pipeguard.gateway.conversation import GatewayClient
from pipeguard.gateway.eras import INVALID_PARAMS, Declined
from pipeguard.gateway.life import definitions_wait
from pipeguard.gateway.management import ClientManagement
from pipeguard.gateway.menu import (
    CALLS,
    DESCRIBE,
    MORE,
    ORDER,
    OURS,
    RETRIEVE,
    ToolMode,
    ask_again,
    content,
    definitions,
    description,
    failure,
    own_usage,
    result_text,
    results,
    several_tools,
    signature,
    unclear_call,
    unknown_tool,
    wrong_variant,
)
from pipeguard.gateway.merged import Merged, with_task
from pipeguard.gateway.router import Router
from pipeguard.gateway.tools import CatalogTool, Filter

MOST_REST_CHARS = 4 * 2**20  # of results that were cut, kept for one client
BYTES_PER_TOKEN = 4  # of JSON in English, about
_OWN = frozenset({*CALLS, RETRIEVE, DESCRIBE, MORE})
NO_SERVER = "no server that this client's token reaches"
AUTO_TOKENS = 8_000  # of definitions, up to which an agent is given them all


class _Rest:
    """The rest of results that were too long, for `read_more`."""

    def __init__(self) -> None:
        self._size = 0
        self._texts: OrderedDict[str, str] = OrderedDict()

    def keep(self, text: str) -> str:
        """Keep a text; return its id. Discards the oldest texts if there are too many."""
        while self._texts and self._size + len(text) > MOST_REST_CHARS:
            self._size -= len(self._texts.popitem(last=False)[1])
        name = token_hex(4)
        self._texts[name] = text
        self._size += len(text)
        return name

    def take(self, name: str) -> str | None:
        """Take a kept text, and forget it."""
        text = self._texts.pop(name, None)
        self._size -= len(text or "")
        return text


class ToolCalls:
    """Answers `tools/list` and `tools/call` for one client.

    Args:
        client: the client.
        router: sends requests to servers.
        merged: knows the addresses of skills and pages.
    """

    def __init__(self, client: GatewayClient, router: Router, merged: Merged) -> None:
        self._merged = merged
        self._client, self._gateway, self._access = client, client.gateway, client.access
        self._management = ClientManagement(client)
        self._catalog = self._gateway.catalog
        self._router = router
        self._rest = _Rest()
        self._told: dict[str, int] = {}  # how many definitions of each server wait
        self._is_small, self._measured_version = True, -1
        self._listed: list[JsonValue] | None = None

    # --- lists ---------------------------------------------------------------------------

    def list_tools(self) -> list[JsonValue]:
        """The answer to `tools/list`."""
        own = self._management.definitions()
        if self._is_direct():
            allowed = self._access.filter_tools(self._catalog)
            tools = (tool for tool in allowed if not self._management.has(tool.public))
            shown = map(self._merged.show_found, tools)
            self._listed = [*({**tool.definition, "name": tool.public} for tool in shown), *own]
        else:
            self._listed = [*definitions(self._access.effects(), self._gateway.limits), *own]
        return self._listed

    def ask_about_waiting(self, servers: Iterable[str]) -> None:
        """Ask the user about waiting definitions of servers, unless the client has limits."""
        if self._access.finds() is None:
            for member in filter(None, map(self._gateway.members.get, servers)):
                member.ask_about_waiting(self._client)

    def may_have_changed(self) -> bool:
        """True if `tools/list` may return a different list than before.

        A limited client's list is compared: the change may concern tools that it cannot find.
        """
        before = self._listed
        return self._access.finds() is None or (before is not None and self.list_tools() != before)

    def servers(self) -> list[str]:
        """The servers whose tools this client may use."""
        return self._access.servers("tools/call")

    def _is_direct(self) -> bool:
        if self._gateway.mode is not ToolMode.AUTO:
            return self._gateway.mode is ToolMode.DIRECT
        if self._catalog.version != self._measured_version:
            allowed = self._access.filter_tools(self._catalog)
            size = sum(len(serialise(tool.definition)) for tool in allowed)
            self._is_small = size <= AUTO_TOKENS * BYTES_PER_TOKEN
            self._measured_version = self._catalog.version
        return self._is_small

    # --- calls ---------------------------------------------------------------------------

    async def call(self, request: ClientRequest) -> JsonObject:
        """Answer a `tools/call`.

        Raises:
            Declined: the request names no tool.
        """
        name, arguments = request.params.get("name"), request.params.get("arguments")
        if type(name) is not str:
            raise Declined(INVALID_PARAMS, "tools/call names no tool")
        try:
            return await self._call(request, name, arguments)
        except _NothingCalledError as why:
            return {"result": failure(str(why))}

    async def _call(self, request: ClientRequest, name: str, arguments: JsonValue) -> JsonObject:
        if self._management.has(name):
            return {"result": await self._management.call(name, as_object(arguments))}
        if self._is_direct():
            tool = self._tool(name)
            if tool is None:
                await self._wait_for_start(name)
                tool = self._tool(name)
            if tool is None:
                return await self._unknown(request, name)
            return await self._call_tool(request, tool, arguments)
        try:
            written = find_object(arguments, ARGUMENTS)
        except _UnclearCallError as why:
            raise _NothingCalledError(f"The call is not clear: {why}.\n{own_usage(name)}") from None
        if name in CALLS:
            return await self._called_by_menu(request, name, written)
        owns = {RETRIEVE: self._retrieve, DESCRIBE: self._describe, MORE: self._more}
        own = owns.get(name)
        return await self._unknown(request, name) if own is None else {"result": await own(written)}

    def find_tool_name(self, request: ClientRequest) -> str:
        """The name of the tool that a request calls; empty if there is no such tool."""
        name = request.params.get("name")
        if request.method != "tools/call" or type(name) is not str:
            return ""
        return name if name in _OWN or self._tool(name) is not None else ""

    async def _called_by_menu(
        self, request: ClientRequest, variant: str, call: JsonObject
    ) -> JsonObject:
        try:
            found = await self._resolve(call)
        except _NothingCalledError:
            refused = (self._find_refused(str(call.get(key, ""))) for key in NAME_KEYS)
            blocked = next(filter(None, refused), None)
            if blocked is None:
                raise
            found = blocked
        if ORDER.index(CALLS[variant]) < ORDER.index(found.effect):
            raise _NothingCalledError(wrong_variant(found))
        try:
            arguments = find_arguments(call, found)
        except _UnclearCallError as why:
            raise _NothingCalledError(unclear_call(found, variant, str(why))) from None
        return self._add_help(found, await self._call_tool(request, found, arguments))

    async def _call_tool(
        self, request: ClientRequest, tool: CatalogTool, arguments: JsonValue
    ) -> JsonObject:
        params: JsonObject = {**request.params, "name": tool.name, "arguments": arguments}
        if arguments is None:
            del params["arguments"]
        wait_seconds = await self._access.seconds_to_wait(tool)
        if wait_seconds:
            raise _NothingCalledError(
                f"Too many calls in a minute. Try again in {ceil(wait_seconds)} seconds."
            )
        began = monotonic()
        outcome = "unavailable"
        try:
            with self._gateway.sending(tool.server, request.method, tool.name) as span:
                params = span.carry(params)
                answer = await self._router.send(tool.server, request, params, tool.definition)
                span.record_answer(answer)
            result = answer.get("result")
            is_ok = isinstance(result, dict) and result.get("isError") is not True
            outcome = "ok" if is_ok else "error"
        except Unavailable as why:
            raise _NothingCalledError(
                f"The server {tool.server} of {tool.public} is not available: {why}"
            ) from None
        finally:
            self._gateway.telemetry.count_call(tool.server, outcome, monotonic() - began)
        if not isinstance(result, dict):
            return answer
        return with_task(tool.server, {"result": self._cut(result)})

    def _tool(self, name: str) -> CatalogTool | None:
        tool = self._catalog.find(name)
        return tool if tool is not None and self._may_call(tool) else None

    def _may_call(self, tool: CatalogTool) -> bool:
        return self._access.may_call(tool) and (tool.is_for_models or self._is_direct())

    def _find_refused(self, name: str) -> CatalogTool | None:
        """The blocked tool of a name, if this client could otherwise call it."""
        tool = self._gateway.find_refused(name, self.servers())
        return tool if tool is not None and self._access.may_call(tool) else None

    async def _resolve(self, call: JsonObject) -> CatalogTool:
        """Find the one tool that a model names, or tell it why there is none."""
        try:
            name = find_name(call)
        except _UnclearCallError as why:
            raise _NothingCalledError(
                f"The call is not clear: {why}. Nothing was called."
            ) from None
        tools = tools_of_server(self._catalog, name, self._may_call)
        if not tools:
            await self._wait_for_start(name)
            tools = tools_of_server(self._catalog, name, self._may_call)
        if len(tools) == 1:
            return tools[0]
        raise _NothingCalledError(several_tools(name, tools) if tools else self._nearest(name))

    async def _wait_for_start(self, name: str) -> None:
        """Wait, as a list does, for servers that may have a tool and are starting."""
        if starting := self._starting(name):
            await self._gateway.settle(only=starting)

    def _starting(self, name: str) -> list[str]:
        """The client's servers that are starting and may have a tool of this name."""
        return [each for each in self._gateway.starting(name) if each in self.servers()]

    async def _unknown(self, request: ClientRequest, name: str) -> JsonObject:
        tool = self._tool(name)
        if tool is None and (refused := self._find_refused(name)):
            return await self._call_tool(request, refused, request.params.get("arguments"))
        raise _NothingCalledError(wrong_variant(tool) if tool else self._nearest(name))

    def _nearest(self, name: str) -> str:
        if tool := self._find_refused(name):
            origin = self._gateway.members[tool.server].run.guard.policy.find_refusal(tool.name)
            return f"{origin} does not allow the tool {name!r} to be called."
        if starting := self._starting(name):
            return f"There is no tool {name!r} yet: {ask_again(starting)}"
        near = self._catalog.search(name, 3, self._access.finds())
        tools = [tool for tool, hit in near if tool.kind == "tool" and not hit.is_doubtful]
        text = unknown_tool(name, tools, has_search=not self._is_direct())
        return "\n".join([text, *self._missing(lambda server: may_be_tool(name, server))])

    # --- the menu's own --------------------------------------------------------------------

    async def _retrieve(self, arguments: JsonObject) -> JsonObject:
        await self._gateway.settle()
        limits = self._gateway.limits
        query, most = arguments.get("query"), limits.read_most(arguments.get("limit"))
        if type(query) is not str or not query.strip():
            raise _NothingCalledError(
                f"There is no query: what should be done?\n{own_usage(RETRIEVE)}"
            )
        if most is None:
            raise _NothingCalledError(
                f"The limit must be a whole number from 1 to {limits.tools_limit}."
            )
        only = self._access.finds() or Filter()
        server = arguments.get("server")
        if type(server) is str and server:
            if server not in self.servers():
                names = ", ".join(self.servers()) or NO_SERVER
                raise _NothingCalledError(f"There is no server {server!r}. Available: {names}")
            only = only._replace(servers=frozenset((server,)))
        found = self._catalog.search(query, most, only)
        missing = self._missing(
            lambda name: only.servers is None or name in only.servers, repeats=not found
        )
        if found:
            text = results([(self._merged.show_found(tool), hit) for tool, hit in found])
        elif any(name in self._gateway.starting() for name in only.servers or self.servers()):
            text = "No tool matches yet."
        else:
            names = ", ".join(self.servers())
            text = f"No tool matches. Try other words, or fewer. The servers are: {names}"
            text = text if names else f"No tool matches: there is {NO_SERVER}."
            return content("\n".join([*missing, text]))  # the reason first
        return content("\n".join([text, *missing]))

    def _missing(self, concerns: Callable[[str], bool], *, repeats: bool = True) -> list[str]:
        """List missing servers and definitions and the reasons, for the model to tell the user.

        Args:
            concerns: True for the name of a server in question.
            repeats: False to leave out waiting definitions that this client was already told of.
        """
        allowed = [server for server in self.servers() if concerns(server)]
        starting = [name for name in self._gateway.starting() if name in allowed]
        absent = {
            name: why
            for name, why in self._gateway.absent().items()
            if name in allowed and name not in starting
        }
        waiting = {
            name: count
            for name, count in self._gateway.waiting().items()
            if name in allowed and (repeats or self._told.get(name) != count)
        }
        self._told |= waiting
        self.ask_about_waiting(waiting)
        lines = [f"{name} is not available: {why}" for name, why in absent.items()]
        lines += [ask_again(starting)] if starting else []
        for name, count in waiting.items():
            lines.append(
                f"{name}: {definitions_wait(count)} for the user's approval. Tell the user."
            )
        return lines

    async def _describe(self, arguments: JsonObject) -> JsonObject:
        return content(description(await self._resolve(arguments)))

    async def _more(self, arguments: JsonObject) -> JsonObject:
        name = arguments.get("id")
        text = self._rest.take(name) if type(name) is str else None
        if text is None:
            raise _NothingCalledError(
                "There is nothing more under this id. Call the tool again, for less at a time."
            )
        return self._cut(content(text))

    # --- answers ---------------------------------------------------------------------------

    def _cut(self, result: JsonObject) -> JsonObject:
        """A result cut to the text that an agent reads at once."""
        if self._is_direct():
            return result
        left, rest = self._gateway.limits.response_chars, list[str]()
        shown: list[JsonValue] = []
        for block in as_list(result.get("content")):
            text = as_object(block).get("text")
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
        words = f"[{len(text):,} more characters: {MORE} with id {name!r}]"
        cut: JsonObject = {**result, "content": [*shown, {"type": "text", "text": words}]}
        cut.pop("structuredContent", None)  # it says all of it a second time
        return cut

    def _add_help(self, tool: CatalogTool, answer: JsonObject) -> JsonObject:
        """An answer with help for the model to fix its call, if the server reports a failure.

        Other arguments would not help against PipeGuard's own refusals or the end of a server, so
        those get none.
        """
        result, error = answer.get("result"), answer.get("error")
        is_wrong = as_object(result).get("isError") is True
        if not is_wrong and not isinstance(error, dict):
            return answer
        if not isinstance(result, dict):
            message = str(read_object(answer, "error").get("message"))
            result = {**content(message), "isError": True}
        if is_refusal(result) or result_text(result).startswith(OURS):
            return {"result": result}
        usage = f"Usage: {tool.public}({signature(tool.definition)})"
        said = as_list(result.get("content"))
        return {"result": {**result, "content": [*said, {"type": "text", "text": usage}]}}


# --- call arguments ---------------------------------------------------------------------
# Reads a model's call of a `call_tool` variant: the tool's name and its arguments.

NAME_KEYS = ("name", "tool", "tool_name")
ARGUMENTS = "arguments"
OTHER_ARGUMENTS_KEYS = ("args", "parameters", "params", "input", "tool_arguments", "tool_input")


class _NothingCalledError(Exception):
    """The gateway's own answer instead of a server's: its text tells the model what to do."""


class _UnclearCallError(Exception):
    """A call whose meaning is unclear; its text gives the model the reason."""


def find_name(call: JsonObject) -> str:
    """The name of the tool; empty if there is none.

    Raises:
        UnclearCallError: there are several.
    """
    names = {value for key in NAME_KEYS if type(value := call.get(key)) is str and value}
    if len(names) > 1:
        raise _UnclearCallError(f"it names several tools: {', '.join(sorted(names))}")
    return next(iter(names), "")


def find_arguments(call: JsonObject, tool: CatalogTool) -> JsonObject:
    """The arguments for a tool.

    Args:
        call: the arguments of the `call_tool` variant.
        tool: the named tool.

    Raises:
        UnclearCallError: the arguments are ambiguous.
    """
    parameters = read_object(read_object(tool.definition, "inputSchema"), "properties")
    others = [key for key in call if key not in (*NAME_KEYS, ARGUMENTS)]
    if ARGUMENTS in call:
        if others:
            raise _UnclearCallError(
                f"it has {_quote_list(others)} beside {ARGUMENTS!r}, in which they may belong"
            )
        return find_object(call[ARGUMENTS], ARGUMENTS)
    if len(others) == 1 and others[0] in OTHER_ARGUMENTS_KEYS and others[0] not in parameters:
        return find_object(call[others[0]], others[0])
    unknown = [key for key in others if key not in parameters]
    if unknown:
        raise _UnclearCallError(f"it has {_quote_list(unknown)} in place of {ARGUMENTS!r}")
    if any(key in parameters for key in NAME_KEYS if key in call) and others:
        raise _UnclearCallError(f"{_quote_list(others)} must be in {ARGUMENTS!r}")
    return {key: call[key] for key in others}


def find_object(value: JsonValue, key: str) -> JsonObject:
    """An object that may be written as a JSON text, or left out.

    Raises:
        UnclearCallError: it is something else.
    """
    if isinstance(value, dict):
        return value
    if value is None or value == "":
        return {}
    if type(value) is str:
        try:
            parsed = parse_json(value.encode("utf-8", "surrogatepass"))
        except Refusal as refusal:
            raise _UnclearCallError(f"{key!r} is a text, and not one of a JSON object") from refusal
        if isinstance(parsed, dict):
            return parsed
    raise _UnclearCallError(f"{key!r} is not a JSON object")


def _quote_list(keys: Iterable[str]) -> str:
    return ", ".join(map(repr, keys))
