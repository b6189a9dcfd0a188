"""What the servers and the clients of a gateway share: the catalogue, figures, who is there."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING

from pipeguard.detect.flows.ledger import Flows
from pipeguard.detect.flows.ledger_memory import LedgerMemory
from pipeguard.firewall.finding import Verdict
from pipeguard.gateway.catalog import Catalog
from pipeguard.gateway.conversation import GatewayChannel
from pipeguard.gateway.menu import ToolMode
from pipeguard.gateway.telemetry import Telemetry
from pipeguard.gateway.turns import Turns

if TYPE_CHECKING:
    from pipeguard.gateway.metrics import GatewayMetrics

SILENT, STARTING = "it did not answer in time", "it is still starting"
SILENT_SECONDS = 60.0  # for which a server is not asked again for a list that it did not give


class Hub:
    """What the servers and the clients of a gateway share.

    Args:
        mode: how agents get to the tools.

    Attributes:
        catalog: the tools of all servers.
        turns: of the servers on the loop.
        ledgers: bounds what is remembered of the flows of all clients.
        metrics: counts what goes through; None if nobody asks for that.
        telemetry: gets traces and metrics; likewise.
        mode: how agents get to the tools.
        server_names: of all servers.
        conversations: of the clients, with their flows.
    """

    def __init__(self, mode: ToolMode) -> None:
        self.catalog = Catalog()
        self.turns = Turns()
        self.ledgers = LedgerMemory()
        self.metrics: GatewayMetrics | None = None
        self.telemetry: Telemetry | None = None
        self.mode = mode
        self.server_names: Collection[str] = ()
        self.conversations: dict[GatewayChannel, Flows] = {}
        self._silences: dict[tuple[str, str], float] = {}  # until when, by server and method

    def join(self, conversation: GatewayChannel) -> None:
        """A client is there, and is to be told of changes."""
        if conversation not in self.conversations:
            self.conversations[conversation] = Flows(self.ledgers, conversation.token)

    def leave(self, conversation: GatewayChannel) -> None:
        """A client is gone."""
        self.conversations.pop(conversation, None)

    def is_silent(self, server: str, method: str) -> bool:
        """True if a server is not asked for a list now, since it did not give it lately."""
        return self._silences.get((server, method), 0.0) > asyncio.get_running_loop().time()

    def was_silent(self, server: str, method: str) -> None:
        """A server did not answer a list in time."""
        until = asyncio.get_running_loop().time() + SILENT_SECONDS
        self._silences[server, method] = until

    def forget_silences(self, server: str) -> None:
        """Ask a server for its lists again."""
        for key in [key for key in self._silences if key[0] == server]:
            del self._silences[key]

    def restarted(self, server: str) -> None:
        """A server is ready, after it was not: clients list again what it offers."""
        self.forget_silences(server)
        self.relisted(frozenset({"tools", "prompts", "resources"}), server)

    def relisted(self, kinds: frozenset[str], *servers: str) -> None:
        """Tell clients what these servers offer anew: tools, prompts or resources."""
        if self.mode is ToolMode.SEARCH:
            kinds -= {"tools"}  # the menu stays the same, whatever is found by it
        for conversation in self.conversations:
            conversation.relisted(kinds, *servers)

    def called(self, server: str, outcome: str, seconds: float) -> None:
        """Count a call of a server's tool: `ok`, `error` or `unavailable`."""
        if self.metrics is not None:
            self.metrics.called(server, outcome, seconds)
        if self.telemetry is not None:
            self.telemetry.called(server, outcome, seconds)

    def judged(self, server: str, verdict: Verdict) -> None:
        """Count a message to or from a server."""
        if self.metrics is not None:
            self.metrics.judged(server, verdict)
        if self.telemetry is not None:
            self.telemetry.judged(server, verdict)
