"""Sessions that any replica continues: an id holds its client's opening, sealed.

A replica that does not know an id opens it, and opens the session at its servers again. An id opens
only at its endpoint and with its token, and for a week. Sources: MCP 2025-11-25, basic/transports,
"Session Management", and basic/lifecycle, "Initialization".
"""

import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from time import time
from typing import NamedTuple, Protocol

from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    as_object,
    read_object,
    serialise,
)
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.transports.http.server.sessions import digest

LIFE_SECONDS = 7 * 86_400
MOST_TEXT_BYTES = 720  # as many as an id of 1,024 characters holds, which headers have room for
MOST_NAME_CHARS = 40
_USUAL = ("roots", "sampling", "elicitation", "tasks")  # the other capabilities may be long
_BOUND_TO_REPLICA = ("resources/subscribe", "logging/setLevel")


class SharedSessions(Protocol):
    """The sessions of all replicas, by the SHA-256 of their ids."""

    def seal(self, text: bytes, about: bytes) -> bytes:
        """Seal a text, which opens only with the same `about`."""

    def open(self, sealed: bytes, about: bytes) -> bytes | None:
        """The sealed text; None if no replica sealed it."""

    def has_ended(self, session: bytes) -> bool:
        """True if it ended, or belongs to another replica, as far as is known here."""

    async def is_free(self, session: bytes) -> bool:
        """True if it did not end, and belongs to no replica."""

    async def claim(self, session: bytes) -> bool:
        """Let it belong to this replica; False if it is over."""

    async def end(self, session: bytes) -> None:
        """End it at all replicas."""


class SealedSessions(NamedTuple):
    """The sessions of one endpoint at all replicas.

    Attributes:
        shared: the sessions of all endpoints.
        endpoint: its path, and the server behind it.
    """

    shared: SharedSessions
    endpoint: str

    def make_id(self, opening: JsonObject, who: str) -> str:
        """Make the id of a session.

        Args:
            opening: the parameters of `initialize`. What has no room is left out.
            who: the name of the client's token, or empty.
        """
        capabilities = read_object(opening, "capabilities")
        info = read_object(opening, "clientInfo")
        kept: JsonObject = {
            "made": f"{time():.0f}",
            "protocolVersion": _shorten(opening.get("protocolVersion")),
            "clientInfo": {name: _shorten(info.get(name)) for name in ("name", "version")},
        }
        usual: JsonObject = {name: capabilities[name] for name in _USUAL if name in capabilities}
        texts = (
            zlib.compress(serialise({**kept, "capabilities": declared}))
            for declared in (capabilities, usual, {})
        )
        text = next(text for text in texts if len(text) <= MOST_TEXT_BYTES)
        return _encode(self.shared.seal(text, self._about(who)))

    def open_id(self, session_id: str, who: str) -> JsonObject | None:
        """The opening of an id; None unless it was made for this endpoint and client, this week."""
        try:
            sealed = urlsafe_b64decode(session_id + "=" * (-len(session_id) % 4))
        except ValueError:
            return None
        text = self.shared.open(sealed, self._about(who))
        if text is None or _encode(sealed) != session_id:  # one session has one id
            return None
        opening = as_object(parse_json(zlib.decompress(text)))
        age_seconds = time() - int(str(opening.pop("made")))
        return opening if age_seconds < LIFE_SECONDS else None

    def has_ended(self, session_id: str) -> bool:
        """True if it ended, or belongs to another replica, as far as is known here."""
        return self.shared.has_ended(digest(session_id))

    async def find_opening(self, session_id: str, who: str) -> JsonObject | None:
        """The opening of a session that may continue here; None for any other."""
        opening = self.open_id(session_id, who)
        is_free = opening is not None and await self.shared.is_free(digest(session_id))
        return opening if is_free else None

    async def claim(self, session_id: str) -> bool:
        """Let it belong to this replica; False if it is over."""
        return await self.shared.claim(digest(session_id))

    async def end(self, session_id: str) -> None:
        """End it at all replicas."""
        await self.shared.end(digest(session_id))

    def _about(self, who: str) -> bytes:
        return f"session\0{self.endpoint}\0{who}".encode()


def is_bound_to_replica(message: JsonValue) -> bool:
    """True for a request, or a batch with one, that leaves something in one replica."""
    if isinstance(message, list):
        return any(map(is_bound_to_replica, message))
    request = as_object(message)
    return request.get("method") in _BOUND_TO_REPLICA or "task" in read_object(request, "params")


def _shorten(value: JsonValue) -> str:
    return value[:MOST_NAME_CHARS] if type(value) is str else ""


def _encode(sealed: bytes) -> str:
    return urlsafe_b64encode(sealed).rstrip(b"=").decode()
