"""What a server of the gateway belongs to, as far as it knows that."""

from __future__ import annotations

from typing import Protocol

from pipeguard.core.finding import Verdict
from pipeguard.core.flows.ledger_memory import LedgerMemory
from pipeguard.gateway.catalog import Catalog
from pipeguard.gateway.turns import Turns


class Owner(Protocol):
    """What a server belongs to.

    Attributes:
        catalog: the tools of all its servers.
        turns: of the servers on the loop.
        ledgers: bounds what is remembered of the flows of all clients.
    """

    catalog: Catalog
    turns: Turns
    ledgers: LedgerMemory

    def server_names(self) -> list[str]:
        """The names of all its servers."""

    def relisted(self, kinds: frozenset[str], *servers: str) -> None:
        """Tell clients what these servers offer anew: tools, prompts or resources."""

    def restarted(self, server: str) -> None:
        """A server is ready, after it was not: clients list again what it offers."""

    def judged(self, server: str, verdict: Verdict) -> None:
        """Count a message to or from a server."""
