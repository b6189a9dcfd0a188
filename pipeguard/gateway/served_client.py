"""Who a conversation with a server is for, as a value."""

from __future__ import annotations

from typing import NamedTuple

from pipeguard.core.flows.ledger import Flows
from pipeguard.transports.http.client.task_owners import SharingClient


class ServedClient(NamedTuple):
    """A client of the gateway, or the gateway itself.

    Attributes:
        flows: what went through any server for it lately.
        token: the name of its token, for the audit; may be empty.
        sharing: what is its own at a server; the gateway has no tasks, and wants no log.
    """

    flows: Flows
    token: str = ""
    sharing: SharingClient = SharingClient("", is_listening=False)
