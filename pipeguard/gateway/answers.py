"""What one client of the gateway is answered: which part of it answers which method.

The gateway describes itself as what its servers are together: it declares a capability where one
of them does. Sources: MCP 2025-11-25, basic/lifecycle; 2026-07-28, server/discover.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from pipeguard.core.protocol import codes, request_headers
from pipeguard.core.protocol.json_values import JsonObject, JsonValue
from pipeguard.core.protocol.message import Message
from pipeguard.gateway.catalog import Catalog
from pipeguard.gateway.conversation import REVISIONS, ClientRequest, Declined, GatewayChannel
from pipeguard.gateway.leg import Leg, Opening
from pipeguard.gateway.legs import Legs, Unavailable
from pipeguard.gateway.merged import Merged, with_task
from pipeguard.gateway.tool_calls import Access, ToolCalls, ToolMode
from pipeguard.version import VERSION

INSTRUCTIONS = (
    "Many servers' tools are behind this one. Search with retrieve_tools before you decide that"
    " something cannot be done, then call what it finds with the call_tool variant that it names."
)
_UNASKED = {  # what a server says unasked, and which list a client should then read again
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/message",
    "notifications/elicitation/complete",
}


class Hub(Protocol):
    """What all clients of a gateway share."""

    catalog: Catalog
    mode: ToolMode

    def described(self) -> Mapping[str, JsonObject]:
        """By server, its answer to `initialize`: of those that have answered."""

    async def open(self, server: str, conversation: GatewayChannel) -> Leg:
        """A client's conversation with a server.

        Raises:
            Unavailable: the server does not answer.
        """

    async def settle(self) -> None:
        """Wait until the servers that start at once have said what they are, but not for long."""

    def join(self, conversation: GatewayChannel) -> None:
        """A client is there, and is to be told of changes."""

    def leave(self, conversation: GatewayChannel) -> None:
        """A client is gone."""


class ClientAnswers:
    """Answers the requests of one client.

    Args:
        hub: what all clients share.
        conversation: the client's.
        access: what it may do.
    """

    def __init__(self, hub: Hub, conversation: GatewayChannel, access: Access) -> None:
        self._hub = hub
        self._conversation = conversation
        self._access = access
        self._legs = Legs(self._open)
        self._calls = ToolCalls(hub.catalog, self._legs, conversation, access, hub.mode)
        self._merged = Merged(self._legs, conversation, access.servers, hub.catalog.public_name)
        self._methods: dict[str, Callable[[ClientRequest], Awaitable[JsonObject]]] = {
            "initialize": self._initialize,
            "server/discover": self._discover,
            "ping": self._ping,
            "tools/list": self._list_tools,
            "tools/call": self._calls.call,
            **self._merged.methods(),
        }

    async def answer(self, request: ClientRequest) -> JsonObject:
        """The answer: an object with `result`, or with `error`.

        Raises:
            Declined: the gateway itself answers with an error.
        """
        self._learn(request)
        method = self._methods.get(request.method)
        if method is None:
            raise Declined(codes.METHOD_NOT_FOUND, f"Method not found: {request.method}")
        return await method(request)

    async def broadcast(self, method: str, params: JsonObject) -> None:
        """Tell all servers that are open for this client."""
        await self._legs.tell(method, params)

    def shown(self, leg: Leg, message: Message) -> JsonObject | None:
        """A server's notification as the client may read it; None where it is not for it."""
        params = message.value.get("params")
        body = params if isinstance(params, dict) else {}
        if message.method in _UNASKED:
            return message.value
        if message.method == "notifications/resources/updated":
            uri = self._merged.uri_shown(leg.server, body.get("uri"))
            return {**message.value, "params": {**body, "uri": uri}}
        if message.method == "notifications/tasks/status":
            shown = with_task(leg.server, {"result": body})["result"]
            return {**message.value, "params": shown}
        return None  # of tools, the catalogue tells when it has changed

    async def close(self) -> None:
        """Hang up on all servers."""
        self._hub.leave(self._conversation)
        await self._legs.close()

    async def _open(self, server: str) -> Leg:
        """A conversation with a server that the client may use.

        Raises:
            Unavailable: it may not, or the server does not answer.
        """
        if server not in self._access.servers():
            raise Unavailable("there is no such server")
        leg = await self._hub.open(server, self._conversation)
        await self._merged.opened(leg)
        return leg

    # --- openings -------------------------------------------------------------------------

    async def _initialize(self, request: ClientRequest) -> JsonObject:
        params = request.params
        wanted, declared = params.get("protocolVersion"), params.get("capabilities")
        info = params.get("clientInfo")
        revision = wanted if type(wanted) is str and wanted in REVISIONS else REVISIONS[0]
        self._conversation.opening = Opening(
            declared if isinstance(declared, dict) else {},
            info if isinstance(info, dict) else {"name": "unknown", "version": "0"},
            revision,
        )
        await self._hub.settle()
        self._hub.join(self._conversation)
        result: JsonObject = {
            "protocolVersion": revision,
            "capabilities": self._capabilities(),
            "serverInfo": _SERVER_INFO,
        }
        if self._hub.mode is not ToolMode.DIRECT:
            result["instructions"] = INSTRUCTIONS
        return {"result": result}

    async def _discover(self, request: ClientRequest) -> JsonObject:
        await self._hub.settle()
        result: JsonObject = {
            "resultType": "complete",
            "supportedVersions": [request_headers.STATELESS, *REVISIONS],
            "capabilities": self._capabilities(),
            "_meta": {"io.modelcontextprotocol/serverInfo": _SERVER_INFO},
        }
        if self._hub.mode is not ToolMode.DIRECT:
            result["instructions"] = INSTRUCTIONS
        return {"result": result}

    def _learn(self, request: ClientRequest) -> None:
        """Take what a client says of itself in each request (2026-07-28, basic/index, "Meta")."""
        meta = request.params.get("_meta")
        if not isinstance(meta, dict) or request_headers.VERSION_META not in meta:
            return
        info, declared = (
            meta.get(f"io.modelcontextprotocol/{name}")
            for name in ("clientInfo", "clientCapabilities")
        )
        # What asks the client something would have to wait for its next request: none is asked.
        del declared
        known: JsonObject = info if isinstance(info, dict) else {"name": "unknown", "version": "0"}
        self._conversation.opening = Opening({}, known)

    def _capabilities(self) -> JsonObject:
        """What the servers can do together (MCP 2025-11-25, basic/lifecycle)."""
        together: JsonObject = {"tools": {"listChanged": True}}
        allowed = self._access.servers()
        for server, described in self._hub.described().items():
            declared = described.get("capabilities")
            if server not in allowed or not isinstance(declared, dict):
                continue
            for name in ("prompts", "resources", "completions", "logging", "tasks"):
                detail, so_far = declared.get(name), together.get(name)
                if isinstance(detail, dict):
                    base = so_far if isinstance(so_far, dict) else {}
                    together[name] = {**base, **_true(detail)}
        return together

    async def _ping(self, _: ClientRequest) -> JsonObject:
        return {"result": {}}

    async def _list_tools(self, _: ClientRequest) -> JsonObject:
        await self._hub.settle()
        return {"result": {"tools": self._calls.listed()}}


def _true(detail: JsonObject) -> JsonObject:
    """Of a capability's details, those that are declared."""
    return {name: value for name, value in detail.items() if value not in (None, False)}


_SERVER_INFO: dict[str, JsonValue] = {
    "name": "pipeguard",
    "title": "PipeGuard",
    "version": VERSION,
}
