"""What results asked of the client, so that an answer to nothing is seen.

A result may ask, and the client answers by the same request again (MCP 2026-07-28
basic/patterns/mrtr). Knows keys and states by their hashes: both are the server's, of any length.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from threading import Lock

from pipeguard.core.digest import sha256
from pipeguard.core.protocol.json_values import JsonObject, JsonValue, serialise

MAX_REMEMBERED = 1024  # keys, and states, of one conversation


class Questions:
    """What was asked in one conversation, the newest."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._asked: dict[bytes, None] = {}
        self._states: dict[bytes, None] = {}

    def ask(self, body: JsonObject) -> None:
        """Remember what a result asks, or what a task does (extension, `notifications/tasks`)."""
        asked, state = body.get("inputRequests"), body.get("requestState")
        keys = reversed(asked) if isinstance(asked, dict) else ()  # of too many, the last
        hashes = [_hash(key) for key in islice(keys, MAX_REMEMBERED)]
        states = [] if state is None else [_hash(state)]
        with self._lock:
            _remember(self._asked, reversed(hashes))
            _remember(self._states, states)

    def are_answered_by(self, params: JsonObject) -> bool:
        """True where all that a request answers was asked, and its state is one that was given."""
        given, state = params.get("inputResponses"), params.get("requestState")
        if state is not None and _hash(state) not in self._states:
            return False
        return not isinstance(given, dict) or all(_hash(key) in self._asked for key in given)


def _remember(known: dict[bytes, None], hashes: Iterable[bytes]) -> None:
    for one in hashes:
        while len(known) >= MAX_REMEMBERED:
            del known[next(iter(known))]
        known[one] = None


def _hash(value: JsonValue) -> bytes:
    return sha256(serialise(value)).digest()
