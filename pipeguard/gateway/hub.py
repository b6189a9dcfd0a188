"""State that the servers and clients of a gateway share, and turns of its servers on the loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Hashable
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

from pipeguard.auth.identity_key import find_owner
from pipeguard.detect.flows.ledger import Flows
from pipeguard.detect.flows.ledger_memory import LedgerMemory
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.firewall.session.lifecycle import WaitingRoom
from pipeguard.firewall.session.memory import ClientMemory
from pipeguard.firewall.session.session import SessionTape
from pipeguard.gateway.catalog import Catalog
from pipeguard.gateway.eras import Opening
from pipeguard.gateway.leg import Leg
from pipeguard.gateway.menu import ToolMode
from pipeguard.gateway.telemetry import NO_TELEMETRY

if TYPE_CHECKING:
    from pipeguard.state.postgres.link import Link

# Given the name of a client's token, and the id of its session; each may be empty.
FindMemory = Callable[[str, str], ClientMemory | None]
LISTS = frozenset(("tools", "prompts", "resources"))  # whose changes are announced
SILENT_SECONDS = 60.0  # for which a server is not asked again for a list that it did not give


class ClientConversation(Protocol):
    """A client's conversation, as the servers see it.

    Attributes:
        token: the name of the client's token, or empty.
        session_id: of the client's session, or empty.
        owner: identifies the client.
        opening: the client's description of itself.
        tape: of its record; None if there is none.
    """

    token: str
    session_id: str
    owner: Hashable
    opening: Opening
    tape: SessionTape | None

    def announce_lists(self, kinds: frozenset[str], *servers: str) -> None:
        """Announce changed lists of these servers, or of the gateway if none are named."""

    def tell_audit_loss(self) -> None:
        """Warn the client of lost audit rows."""

    def ask_user(self, leg: Leg, params: JsonObject) -> None:
        """Ask the client's user a question of PipeGuard's."""


class Hub:
    """State that the servers and clients of a gateway share.

    Args:
        mode: how agents get to the tools.

    Attributes:
        catalog: the tools of all servers.
        turns: of the servers on the loop.
        ledgers: bounds the memory for the flows of all clients.
        waiting_room: of all calls that wait for a person.
        telemetry: gets traces and metrics.
        server_names: of all servers.
        link: to the store that replicas share; None if this is the only one.
        begin_tape: begins the record of a client, if one is wanted.
        conversations: of the clients, with their flows.
        find_memory: finds the memory of a client, by its token's name and its session's id.
        silences: until when servers are not asked for a list, by server and method.
    """

    def __init__(self, mode: ToolMode) -> None:
        self.catalog = Catalog(lambda: self.server_names)
        self.turns = Turns()
        self.ledgers = LedgerMemory()
        self.waiting_room = WaitingRoom()
        self.telemetry = NO_TELEMETRY
        self.mode = mode
        self.server_names: Collection[str] = ()
        self.link: Link | None = None
        self.conversations: dict[ClientConversation, Flows] = {}
        self._shared = WeakValueDictionary[tuple[str, str], Flows]()
        self.begin_tape: Callable[[], SessionTape | None] = lambda: None
        self.find_memory: FindMemory = lambda _token, _session: None
        self._has_lost_rows = False
        self.silences: dict[tuple[str, str], float] = {}  # until when, by server and method

    def join(self, conversation: ClientConversation) -> None:
        """Add a client, to be notified of changes."""
        if conversation not in self.conversations:
            token = find_owner(conversation.token)
            session_id = "" if token else conversation.session_id
            flows = Flows(self.ledgers, token, self.find_memory(token, session_id))
            if flows.client is not None:  # all conversations of a token know the same
                flows = self._shared.setdefault((token, session_id), flows)
            self.conversations[conversation] = flows

    def was_silent(self, server: str, method: str) -> None:
        """Note that a server did not answer a list in time."""
        until = asyncio.get_running_loop().time() + SILENT_SECONDS
        self.silences[server, method] = until

    def note_restart(self, server: str) -> None:
        """Allow requests for a server's lists again: it is ready, or about to be replaced."""
        for key in [key for key in self.silences if key[0] == server]:
            del self.silences[key]

    def announce_lists(self, kinds: frozenset[str], *servers: str) -> None:
        """Notify clients that these servers' tools, prompts or resources must be listed again."""
        if self.mode is ToolMode.SEARCH:
            kinds -= {"tools"}  # the menu stays the same, whatever is found by it
        for conversation in self.conversations:
            conversation.announce_lists(kinds, *servers)

    def tell_audit_loss(self) -> None:
        """Warn clients of lost audit rows, once for all servers."""
        if not self._has_lost_rows:
            for conversation in self.conversations:
                conversation.tell_audit_loss()
            self._has_lost_rows = True


# --- turns ------------------------------------------------------------------------------
# Turns on the event loop, one server after the other: no server waits for one with much to do.


class Turns:
    """Lets a server proceed at once, but only one waiting server in each pass of the loop.

    A server that has had its turn in a pass waits behind all others. For one loop.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # the next server's first
        self._had_turn: set[str] = set()  # in this pass
        self._is_scheduled = False

    async def wait(self, server: str) -> None:
        """Wait for a server's turn."""
        if server not in self._waiting and server not in self._had_turn:
            self._had_turn.add(server)
            self._schedule()
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(server, deque()).append(turn)
        self._schedule()
        await turn

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._give)

    def _give(self) -> None:
        """Give the next server one turn, and move it behind all others."""
        self._is_scheduled = False
        self._had_turn.clear()
        while self._waiting:
            server = next(iter(self._waiting))
            turns = self._waiting.pop(server)
            turn = turns.popleft()
            if turns:
                self._waiting[server] = turns
            if not turn.done():  # who waited may have been cancelled
                self._had_turn.add(server)
                turn.set_result(None)
                self._schedule()
                break
