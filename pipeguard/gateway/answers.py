"""Answers for one client of the gateway: the part that answers each method.

The gateway describes itself as the sum of its servers: it declares a capability if one of them
does. Sources: MCP 2025-11-25, basic/lifecycle; 2026-07-28, server/discover.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from secrets import token_hex

from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, read_object
from pipeguard.firewall.protocol.message import Message
from pipeguard.firewall.protocol.peers import SKILLS
from pipeguard.gateway.client_request import ClientRequest, Unavailable
from pipeguard.gateway.conversation import GatewayClient, show_task_ids
from pipeguard.gateway.eras import (
    REVISIONS,
    SERVER,
    STATELESS,
    UNKNOWN,
    Declined,
    Opening,
    check_envelope,
    without_envelope,
    without_handshake,
    write_message,
)
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.hub import LISTS
from pipeguard.gateway.leg import Leg, LegListener
from pipeguard.gateway.menu import ToolMode
from pipeguard.gateway.merged import Merged, with_task
from pipeguard.gateway.router import UPDATED, InputCalls, LegSubscriptions, Router
from pipeguard.gateway.subscriptions import Subscriptions
from pipeguard.gateway.telemetry import TRACED
from pipeguard.gateway.tool_calls import ToolCalls
from pipeguard.version import VERSION

INSTRUCTIONS = (
    "Many servers' tools are behind this one. Search with retrieve_tools before you decide that"
    " something cannot be done, then call what it finds with the call_tool variant that it names."
)
# Requests that no longer exist without a handshake (MCP 2026-07-28, changelog).
_WITH_HANDSHAKE = {
    "initialize",
    "ping",
    "logging/setLevel",
    "resources/subscribe",
    "resources/unsubscribe",
    "tasks/result",
    "tasks/list",
}
# Methods that need no server, or wait for the servers they need.
_WAITING_THEMSELVES = {"server/discover", "tools/list", "tools/call"}
_CAPABILITIES = {  # of servers, and extensions, each with a method that needs it
    "prompts": "prompts/list",
    "resources": "resources/list",
    "completions": "completion/complete",
    "logging": "logging/setLevel",
    "tasks": "tasks/list",
    SKILLS: "skills/list",
}
_UNASKED = {  # unsolicited notifications, and the list to read again
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/message",
    "notifications/elicitation/complete",
}


async def dial(gateway: Gateway, who: str = "", session: str = "") -> GatewayClient:
    """Open the gateway for a client.

    Args:
        gateway: all servers.
        who: the name of the client's token, or empty.
        session: the id of its session, or empty.
    """
    return _AnsweredClient(gateway, who, session)


class _AnsweredClient(GatewayClient):
    """Answers the requests of one client."""

    def __init__(self, gateway: Gateway, token: str, session: str) -> None:
        super().__init__(gateway, token, session)
        self._input_calls = InputCalls(self, self._hear_unasked)
        self._leg_subscriptions = LegSubscriptions(self)
        router = Router(self, self._input_calls, self._leg_subscriptions)
        self._merged = Merged(self, router)
        self._calls = ToolCalls(self, router, self._merged)
        self._subscriptions = Subscriptions(self, self._servers, self._merged)
        self._traced_as = token_hex(8)  # in traces: a session's own id would let others in
        self._knows_of_handshake = self._has_settled = False
        self._methods: dict[str, Callable[[ClientRequest], Awaitable[JsonObject]]] = {
            "initialize": self._initialize,
            "server/discover": self._discover,
            "ping": self._ping,
            "subscriptions/listen": self._listen,
            "tools/list": self._list_tools,
            "tools/call": self._calls.call,
            **self._merged.methods(),
        }

    async def answer(self, request: ClientRequest) -> JsonObject:
        """The answer: an object with `result`, or with `error`.

        Raises:
            Declined: the gateway itself answers with an error.
        """
        if request.opening.is_stateless:
            check_envelope(request.params)
            if request.method in _WITH_HANDSHAKE:
                raise _unknown(request.method)
            if not self._has_settled and request.method not in _WAITING_THEMSELVES:
                await self.gateway.settle()
                self._has_settled = True
            try:
                answer = await self._answer(request)
            except Declined as declined:
                answer = declined.error()
            return without_handshake(request.method, request.params, answer)
        return await self._answer(request)

    async def _answer(self, request: ClientRequest) -> JsonObject:
        method = self._methods.get(request.method)
        if method is None:
            raise _unknown(request.method)
        if request.method not in TRACED:
            return await method(request)
        find_tool = self._calls.find_tool_name
        with self.gateway.telemetry.receiving(request, find_tool, self._traced_as) as span:
            answer = await method(request)
            span.record_answer(answer)
            return answer

    def announce_lists(self, kinds: frozenset[str], *servers: str) -> None:
        """Tell the client that servers' lists of tools, prompts or resources changed."""
        kinds = frozenset(kind for kind in kinds if self._concerns(kind, servers))
        self._subscriptions.announce_lists(kinds)
        if self._knows_of_handshake:
            for kind in sorted(kinds):
                self.say(write_message(f"notifications/{kind}/list_changed"))

    def _concerns(self, kind: str, servers: Iterable[str]) -> bool:
        """True if a change of servers' lists affects ones that the client may see."""
        if kind == "tools":
            return self._calls.may_have_changed()
        return any(self.access.may_use(server, f"{kind}/list") for server in servers)

    def finish(self) -> None:
        """Answer requests that would otherwise stay open: the client hangs up."""
        self._subscriptions.finish()

    def show_message(self, leg: Leg, message: Message) -> JsonObject | None:
        """A server's notification in the client's form; None if it is not for this client."""
        if not self.may_hear(leg, message):
            return None
        body = message.params
        if leg.is_stateless:
            body = without_envelope(body)  # the subscription is ours
        if message.method in _UNASKED:
            body = show_task_ids(leg.server, body)
            return {**message.value, "params": body} if body else message.value
        if message.method == UPDATED:
            uri = self._merged.uri_shown(leg.server, body.get("uri"))
            return {**message.value, "params": {**body, "uri": uri}}
        if message.method == "notifications/tasks/status":
            shown = with_task(leg.server, {"result": body})["result"]
            return {**message.value, "params": shown}
        return None  # the catalogue reports changes of tools

    async def hang_up(self) -> None:
        """Hang up on all servers."""
        self.gateway.conversations.pop(self, None)
        await self._leg_subscriptions.close()
        await self._subscriptions.close()
        await self._input_calls.close()
        await super().hang_up()

    async def open_server(self, server: str, opening: Opening) -> Leg:
        """A conversation with a server that the client may use.

        Raises:
            Unavailable: it may not, or the server does not answer.
        """
        if opening.is_stateless:
            # Not for a single call, so that nothing can be asked on it.
            unasked = Opening(opening.extensions, opening.client_info, opening.revision)
            return await self.open_leg(server, unasked, self._subscriptions)
        leg = await self.open_leg(server, opening, self)
        if leg.is_stateless:
            self._leg_subscriptions.follow(leg)
        try:
            await self._merged.send_level(leg)
        except asyncio.CancelledError:  # the client has left
            await leg.close()
            raise
        return leg

    async def open_leg(self, server: str, opening: Opening, listener: LegListener) -> Leg:
        if server not in self.access.servers("tools/call"):
            raise Unavailable("there is no such server")
        return await self.gateway.open(server, self, opening, listener)

    def _hear_unasked(self, leg: Leg, message: Message) -> None:
        self._subscriptions.receive_notification(leg, message)

    def _servers(self) -> dict[str, JsonObject]:
        """The running servers whose announcements the client may hear, with their offers."""
        gateway, members = self.gateway, self.gateway.members
        return {
            name: members[name].described if gateway.find_remembered(name) is None else {}
            for name in self.access.servers("subscriptions/listen")
            if name in members and members[name].described
        }

    # --- openings -------------------------------------------------------------------------

    async def _initialize(self, request: ClientRequest) -> JsonObject:
        params = request.params
        wanted = params.get("protocolVersion")
        revision = wanted if type(wanted) is str and wanted in REVISIONS else REVISIONS[0]
        info = read_object(params, "clientInfo") or UNKNOWN
        self.opening = Opening(read_object(params, "capabilities"), info, revision)
        self._knows_of_handshake = True
        self.gateway.join(self)
        if self.gateway.link is not None:  # it may have listed the tools at another replica
            self._calls.list_tools()
        return self._describe(
            {
                "protocolVersion": revision,
                "capabilities": self._capabilities(),
                "serverInfo": _SERVER_INFO,
            }
        )

    async def _discover(self, request: ClientRequest) -> JsonObject:
        return self._describe(
            {
                "supportedVersions": [STATELESS, *REVISIONS],
                "capabilities": _announcing(self._capabilities()),
                "_meta": {SERVER: _SERVER_INFO},
            }
        )

    def _describe(self, result: JsonObject) -> JsonObject:
        """The answer to an opening, with the menu's instructions for the model."""
        is_direct = self.gateway.mode is ToolMode.DIRECT
        return {"result": result if is_direct else {**result, "instructions": INSTRUCTIONS}}

    def _capabilities(self) -> JsonObject:
        """The union of all servers' capabilities (MCP 2025-11-25, basic/lifecycle).

        A client need not wait for servers that are starting: its lists do.
        """
        together: JsonObject = {"tools": {"listChanged": True}}
        for server in self.gateway.members:
            declared = self.gateway.capabilities(server)
            declared = {**declared, **read_object(declared, "extensions")}
            for name, method in _CAPABILITIES.items():
                detail = declared.get(name)
                if isinstance(detail, dict) and self.access.may_use(server, method):
                    base = read_object(together, name)
                    given = {key: each for key, each in detail.items() if each not in (None, False)}
                    together[name] = {**base, **given}
        if SKILLS in together:
            together["extensions"] = {SKILLS: together.pop(SKILLS)}
        return together

    async def _listen(self, request: ClientRequest) -> JsonObject:
        self.gateway.join(self)
        return await self._subscriptions.listen(request)

    async def _ping(self, _: ClientRequest) -> JsonObject:
        return {"result": {}}

    async def _list_tools(self, _: ClientRequest) -> JsonObject:
        if self.gateway.mode is not ToolMode.SEARCH:  # whose list does not depend on servers
            await self.gateway.settle()
            self._calls.ask_about_waiting(self._calls.servers())
        return {"result": {"tools": self._calls.list_tools()}}


def _announcing(capabilities: JsonObject) -> JsonObject:
    """Capabilities for `server/discover`: lists change when servers come and go."""
    return {
        name: {**detail, "listChanged": True}
        if name in LISTS and isinstance(detail, dict)
        else detail
        for name, detail in capabilities.items()
        if name != "tasks"  # of an extension now, which is another one
    }


def _unknown(method: str) -> Declined:
    why = "it names no server"
    if method in _WITH_HANDSHAKE:
        why = f"MCP {STATELESS} does not have it"
    return Declined(codes.METHOD_NOT_FOUND, f"Method not found: {method} ({why})")


_SERVER_INFO: dict[str, JsonValue] = {"name": "pipeguard", "title": "PipeGuard", "version": VERSION}
