"""A sandboxed server's connections, as entries of the audit. Knows no socket."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pipeguard.firewall.finding import Action, Direction
from pipeguard.records import NamedTuple
from pipeguard.state.schema import MAX_NAME_CHARS
from pipeguard.state.verdict_writer import PendingVerdict

if TYPE_CHECKING:
    from pipeguard.firewall.finding import Finding

KIND = "connection"


class EndedConnection(NamedTuple):
    """A connection of a sandboxed server that ended, or was refused.

    Attributes:
        target: how and where to, as `connect api.example.com:443`.
        finding: why it was refused, or why it failed; None if it was neither.
        bytes_sent: from the server to the host.
        bytes_received: from the host to the server.
        seconds: from its beginning to its end.
    """

    target: str
    finding: Finding | None
    bytes_sent: int
    bytes_received: int
    seconds: float


def pending_connection(connection: EndedConnection, event: str) -> PendingVerdict:
    """A connection, ready to be written; one without a finding has no event."""
    finding = connection.finding
    action = Action.ALLOW if finding is None else finding.action
    findings = () if finding is None else (finding,)
    target = connection.target[:MAX_NAME_CHARS]
    return PendingVerdict(
        time.time(), "", Direction.TO_CLIENT, KIND, target, None, action, event, "",
        connection.bytes_received, findings, (), "", connection.bytes_sent, connection.seconds,
    )  # fmt: skip
