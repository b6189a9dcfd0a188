"""Tools by which agents propose servers, if the user's settings allow it.

An agent's proposal is stored and starts nothing: a person approves it (`pipeguard servers`), and
the definitions of the new server wait for review after that. An agent approves nothing, changes no
server, and withdraws only its own proposals.
"""

import asyncio
from functools import cache
from math import ceil

from pipeguard.errors import PipeGuardError
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue
from pipeguard.gateway.conversation import GatewayClient
from pipeguard.gateway.menu import content, failure
from pipeguard.gateway.neighbours import read_data
from pipeguard.gateway.proposed_servers import PROPOSE, ServerManagement

REMOVE, LIST = "remove_server", "list_servers"


@cache
def _read_definitions() -> dict[str, JsonObject]:
    found: dict[str, JsonObject] = read_data("management.yaml")
    return found


class ClientManagement:
    """The management tools of one client.

    Args:
        client: the caller.
    """

    def __init__(self, client: GatewayClient) -> None:
        self._gateway, self._access = client.gateway, client.access
        self._who = client.token

    def definitions(self) -> list[JsonValue]:
        """The definitions of the management tools that the client may call."""
        return [_read_definitions()[name] for name in self._names()]

    def has(self, name: str) -> bool:
        """True for the name of a management tool that the client may call."""
        return name in self._names()

    def _names(self) -> tuple[str, ...]:
        management = self._gateway.management
        if management is None or not self._access.may_manage():
            return ()
        allowed = management.settings
        offered = ((PROPOSE, "add"), (REMOVE, "remove"), (LIST, "add"))
        return tuple(name for name, needed in offered if needed in allowed)

    async def call(self, name: str, arguments: JsonObject) -> JsonObject:
        """Call a management tool that the client may call, and return the result."""
        management = self._gateway.management
        assert management is not None  # noqa: S101  else it has no such tool
        try:
            if name == LIST:
                return content(await self._list_servers(management))
            wait_seconds = management.seconds_to_wait(self._who)
            if wait_seconds:
                return failure(f"Too many proposals. Try again in {ceil(wait_seconds)} seconds.")
            change = management.propose if name == PROPOSE else management.remove
            return content(await asyncio.to_thread(change, self._who, arguments))
        except PipeGuardError as error:
            return failure(f"Not done: {error}")

    async def _list_servers(self, management: ServerManagement) -> str:
        absent, waiting = self._gateway.absent(), self._gateway.waiting()
        lines = []
        for name in self._access.servers("tools/call"):
            count = len(self._access.filter_tools(self._gateway.catalog.of(name)))
            state = absent.get(name, f"ready, {count} tools")
            held = "; some of its tools wait for the user" if name in waiting else ""
            lines.append(f"{name}: {state}{held}")
        lines += await asyncio.to_thread(management.list_proposals, self._who)
        return "\n".join(lines) or "There is no server."
