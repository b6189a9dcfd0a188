"""Tools by which agents propose servers, where the user's settings allow it.

An agent's proposal is stored and starts nothing: a person approves it (`pipeguard servers`), and
the definitions of the new server wait for review after that. An agent approves nothing, changes no
server, and takes back only what it proposed itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from math import ceil
from time import monotonic
from typing import Protocol

from pipeguard.core.protocol.json_values import JsonObject, JsonValue
from pipeguard.errors import InputError, PipeGuardError
from pipeguard.gateway import menu
from pipeguard.gateway.access import RateLimit
from pipeguard.gateway.catalog import Catalog, CatalogTool
from pipeguard.gateway.proposed_servers import checked_entry
from pipeguard.gateway.servers_file import ManagementSettings
from pipeguard.log import say
from pipeguard.state.proposals import ProposalState, proposals, propose, withdraw
from pipeguard.state.store import Store

PROPOSE, REMOVE, LIST = "propose_server", "remove_server", "list_servers"
PER_MINUTE = 5  # proposals and removals of one token; a person reads each

_TEXT: JsonObject = {"type": "string"}
_TEXTS: JsonObject = {"type": "array", "items": _TEXT}
_PAIRS: JsonObject = {"type": "object", "additionalProperties": _TEXT}


class ManagedHub(Protocol):
    """What management needs to know of all servers.

    Attributes:
        catalog: the tools of all.
    """

    catalog: Catalog

    @property
    def management(self) -> ServerManagement | None:
        """What agents may change; None where they may propose nothing."""

    def absent(self) -> dict[str, str]:
        """Why servers cannot be used now, by name."""

    def waiting(self) -> list[str]:
        """The servers with definitions that wait for approval."""


class ManagingAccess(Protocol):
    """What one client may do."""

    def servers(self, method: str) -> list[str]:
        """Names of the servers to which it may send messages of a method."""

    def allowed(self, tools: Iterable[CatalogTool]) -> list[CatalogTool]:
        """Those of some tools that it may call."""

    def may_manage(self) -> bool:
        """True where it may propose servers."""


class ServerManagement:
    """What agents may change about the servers of a gateway.

    Args:
        store: where proposals are.
        taken: returns names that no proposal may have.
        settings: what the user allows.

    Attributes:
        settings: as they are now.
    """

    def __init__(
        self, store: str, taken: Callable[[], Iterable[str]], settings: ManagementSettings
    ) -> None:
        self.settings = settings
        self._store = store
        self._taken = taken
        self._limits: dict[str, RateLimit] = {}  # by the names of tokens

    def seconds_to_wait(self, who: str) -> float:
        """Count a change by a token; how long to wait instead where there were too many."""
        limit = self._limits.setdefault(who, RateLimit())
        return limit.seconds_to_wait(PER_MINUTE, monotonic())

    async def propose(self, who: str, arguments: JsonObject) -> str:
        """Store a proposal of a token; what to tell the agent.

        Raises:
            PipeGuardError: it is refused.
        """
        fields = {**arguments}
        name, reason = fields.pop("name", None), fields.pop("reason", None)
        if type(name) is not str or type(reason) is not str or not reason.strip():
            raise InputError(f"{PROPOSE} needs a name and a reason, which the user reads.")
        if name.casefold() in {taken.casefold() for taken in self._taken()}:
            raise InputError(f"there is a server {name} already, and no agent changes one.")
        entry = checked_entry(name, fields)

        def store() -> None:
            with Store.open(self._store) as opened:
                propose(opened, name, entry, who, reason)

        await asyncio.to_thread(store)
        say(f"an agent proposes the server {name}: pipeguard servers show {name}")
        return (
            f"The server {name} is proposed. It is started once the user approves it, and its tools"
            " are found once the user has read them: tell the user that it waits."
        )

    async def remove(self, who: str, arguments: JsonObject) -> str:
        """Take back a proposal of a token; what to tell the agent.

        Raises:
            PipeGuardError: it is refused.
        """
        given = arguments.get("name")
        name = given if isinstance(given, str) else ""

        def store() -> ProposalState | None:
            with Store.open(self._store) as opened:
                return withdraw(opened, name, who)

        if await asyncio.to_thread(store) is None:
            return f"The proposal of {name} is taken back."
        say(f"an agent asks to remove the server {name}: pipeguard servers show {name}")
        return f"The server {name} is removed once the user approves that: tell the user."

    async def proposed(self, who: str) -> list[str]:
        """A line for each proposal of a token that a person has not approved."""

        def lines() -> list[str]:
            with Store.open(self._store) as opened:
                return [
                    f"{each.name}: you proposed it, and it waits for the user"
                    for each in proposals(opened)
                    if each.proposed_by == who and each.state is ProposalState.WAITING
                ]

        return await asyncio.to_thread(lines)


class ClientManagement:
    """The management tools of one client.

    Args:
        hub: what all clients share.
        access: what the client may do.
        who: the name of its token, or empty.
    """

    def __init__(self, hub: ManagedHub, access: ManagingAccess, who: str) -> None:
        self._hub = hub
        self._access = access
        self._who = who

    def definitions(self) -> list[JsonValue]:
        """The definitions of those that the client may call."""
        return [_DEFINITIONS[name] for name in self._names()]

    def has(self, name: str) -> bool:
        """True for the name of one that the client may call."""
        return name in self._names()

    def _names(self) -> tuple[str, ...]:
        management = self._hub.management
        if management is None or not self._access.may_manage():
            return ()
        allowed = management.settings
        offered = ((PROPOSE, allowed.add), (REMOVE, allowed.remove), (LIST, allowed.add))
        return tuple(name for name, is_offered in offered if is_offered)

    async def call(self, name: str, arguments: JsonObject) -> JsonObject:
        """The result of a call of one that the client may call."""
        management = self._hub.management
        assert management is not None  # noqa: S101  else it has no such tool
        try:
            if name == LIST:
                return menu.content(await self._listed(management))
            wait_seconds = management.seconds_to_wait(self._who)
            if wait_seconds:
                text = f"Too many proposals. Try again in {ceil(wait_seconds)} seconds."
                return menu.content(text, is_error=True)
            change = management.propose if name == PROPOSE else management.remove
            return menu.content(await change(self._who, arguments))
        except PipeGuardError as error:
            return menu.content(f"Not done: {error}", is_error=True)

    async def _listed(self, management: ServerManagement) -> str:
        absent, waiting = self._hub.absent(), set(self._hub.waiting())
        lines = []
        for name in self._access.servers("tools/call"):
            count = len(self._access.allowed(self._hub.catalog.of(name)))
            state = absent.get(name, f"ready, {count} tools")
            held = "; some of its tools wait for the user" if name in waiting else ""
            lines.append(f"{name}: {state}{held}")
        return "\n".join([*lines, *await management.proposed(self._who)]) or "There is no server."


def _tool(
    name: str, description: str, properties: JsonObject, *required: str, **hints: bool
) -> JsonObject:
    return {
        "name": name,
        "description": description,
        "inputSchema": {
            "type": "object",
            "properties": properties,
            "required": list(required),
            "additionalProperties": False,
        },
        "annotations": {**hints},
    }


_NAME: JsonObject = {**_TEXT, "description": "Letters, digits, `.`, `_` and `-`."}
_DEFINITIONS: dict[str, JsonObject] = {
    PROPOSE: _tool(
        PROPOSE,
        "Propose an MCP server to the user: either a `command` to start or a `url`. Nothing starts"
        " before the user approves it. No secrets.",
        {
            "name": _NAME,
            "reason": {**_TEXT, "description": "What the user gets by it, in a sentence."},
            "command": _TEXT,
            "args": _TEXTS,
            "env": _PAIRS,
            "cwd": _TEXT,
            "url": _TEXT,
            "headers": _PAIRS,
            "transport": _TEXT,
        },
        "name",
        "reason",
        readOnlyHint=False,
        destructiveHint=False,
    ),
    REMOVE: _tool(
        REMOVE,
        "Take back a server that you proposed. One that runs is removed once the user approves.",
        {"name": _NAME},
        "name",
        readOnlyHint=False,
        destructiveHint=True,
    ),
    LIST: _tool(LIST, "List the servers and your proposals.", {}, readOnlyHint=True),
}
