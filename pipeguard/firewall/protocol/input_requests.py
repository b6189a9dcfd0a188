"""Which input requests a server made, so that an answer to none of them is noticed.

A result may ask for input, and the client answers by sending the same request again (MCP
2026-07-28, basic/patterns/mrtr). Keys and states are the server's and of any length: only their
hashes are kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from threading import Lock

from pipeguard.firewall.digest import sha256
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, serialise

MAX_REMEMBERED = 1024  # keys of one conversation, and as many states


class InputRequests:
    """The newest input requests of one conversation."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._keys: dict[bytes, None] = {}
        self._states: dict[bytes, None] = {}

    def record(self, body: JsonObject) -> None:
        """Record what a result asks for, or a task (extension, `notifications/tasks`)."""
        requests, state = body.get("inputRequests"), body.get("requestState")
        keys = reversed(requests) if isinstance(requests, dict) else ()  # of too many, the last
        hashes = [_hash(key) for key in islice(keys, MAX_REMEMBERED)]
        states = [] if state is None else [_hash(state)]
        with self._lock:
            _remember(self._keys, reversed(hashes))
            _remember(self._states, states)

    def cover(self, params: JsonObject) -> bool:
        """True if all that a request answers was asked for, and its state was given out."""
        responses, state = params.get("inputResponses"), params.get("requestState")
        if state is not None and _hash(state) not in self._states:
            return False
        return not isinstance(responses, dict) or all(_hash(key) in self._keys for key in responses)


def _remember(remembered: dict[bytes, None], hashes: Iterable[bytes]) -> None:
    for digest in hashes:
        while len(remembered) >= MAX_REMEMBERED:
            del remembered[next(iter(remembered))]
        remembered[digest] = None


def _hash(value: JsonValue) -> bytes:
    return sha256(serialise(value)).digest()
