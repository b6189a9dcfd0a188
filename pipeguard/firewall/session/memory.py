"""The memory of calls: events for a detector, and notes that a client's ledgers share.

Notes are put and read by transports (`transports.pump`), because both are I/O; a Session takes a
new one as an event (`events.Learned`).
"""

from collections.abc import Sequence
from typing import Any, Protocol

from pipeguard.firewall.finding import Finding
from pipeguard.firewall.protocol.pending import PendingRequest
from pipeguard.records import NamedTuple


class SentCall(NamedTuple):
    """A call that is forwarded; `is_granted` if a person allowed it."""

    tool: str
    frame: bytes
    findings: Sequence[Finding]
    is_granted: bool


class SettledCall(NamedTuple):
    """A judged call, by the event of its verdict; `is_sent` unless its receiver never got it."""

    event: str
    is_sent: bool


class ReturnedResult(NamedTuple):
    """The result of a request, even if it was blocked."""

    request: PendingRequest
    frame: bytes
    now: float


CallEvent = SentCall | SettledCall | ReturnedResult

# --- shared by the ledgers of a client --------------------------------------------------


class Note(NamedTuple):
    """A piece of what one ledger remembers, for the others of its client.

    Attributes:
        server: that it is about.
        fields: what only ledgers read: texts, whole numbers and truth values.
        frame: a whole answer or request.
        age_seconds: for how long they could have read it.
        is_urgent: False if calls may be judged without it for a while.
    """

    server: str
    fields: Sequence[Any]
    frame: bytes
    age_seconds: float = 0.0
    is_urgent: bool = True


class ClientMemory(Protocol):
    """The notes of one client's ledgers, as one of these sees them. Safe for any thread.

    It never fails: if its store does, it takes and gives nothing more.

    Attributes:
        is_remote: True if only results that matter to a later call are worth a note.
    """

    is_remote: bool

    def put(self, notes: Sequence[Note]) -> None:
        """Put notes, which the others can read at once."""

    def read_new(self) -> list[Note]:
        """Read what the others have put since the last time, the oldest first."""


class SharingLedger(Protocol):
    """A ledger as transports see it.

    Attributes:
        client: the memory of its client's ledgers; None if it is the only one.
    """

    client: ClientMemory | None

    def take_notes(self) -> list[Note]:
        """Take what it has noted for the others since the last time."""

    def learn(self, note: Note, now: float) -> None:
        """Remember what another one noted, in seconds on the session's clock."""
