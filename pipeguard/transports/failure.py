"""Why an answer will not come."""

from __future__ import annotations

from typing import NamedTuple

from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.framing import Lost

CONNECTION_LOST = "the connection to the server was lost before the answer came"


class Failure(NamedTuple):
    """Why an answer will not come, as the client is told.

    Attributes:
        why: in words for the client.
        code: of the JSON-RPC error, from firewall.protocol.codes.
        sent: False if the request certainly never reached the server.
    """

    why: str
    code: int = codes.PEER_GONE
    sent: bool = True

    def lost(self, id_token: str) -> Lost:
        """A frame in place of the answer to one request."""
        return Lost.of(id_token, self.why, self.code, sent=self.sent)
