"""Who a conversation with a server is for, as a value."""

from __future__ import annotations

from typing import NamedTuple

from pipeguard.core.flows.ledger import Flows


class ServedClient(NamedTuple):
    """A client of the gateway, or the gateway itself.

    Attributes:
        flows: what went through any server for it lately.
        token: the name of its token, for the audit; may be empty.
    """

    flows: Flows
    token: str = ""
