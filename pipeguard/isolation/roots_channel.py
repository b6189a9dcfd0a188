"""A channel to a server that is given its client's roots: hears them on their way.

They are what the client answers to `roots/list`, as a message of its own, or in `inputResponses`
under a key that the server asked them under (MCP 2025-06-18, client/roots; 2026-07-28,
basic/patterns/mrtr). What a server says itself is only looked at for what it asked.
"""

from __future__ import annotations

import json
from threading import Lock
from typing import TYPE_CHECKING

from pipeguard.isolation.roots import root_addresses
from pipeguard.transports.both_ways import LineBased

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeguard.transports.channel import Channel

METHOD, RESPONSES = "roots/list", "inputResponses"
MOST_ASKED = 64  # that wait for an answer; of more, the oldest are forgotten


class RootsChannel:
    """A Channel to one server.

    Args:
        channel: to the server, of judged frames.
        note: called with the addresses that the client answered.
    """

    def __init__(self, channel: Channel, note: Callable[[tuple[str, ...]], None]) -> None:
        self._channel = channel
        self._lined = channel if isinstance(channel, LineBased) else None
        self.lines = None if self._lined is None else self._lined.lines
        self._on_roots = note
        self._lock = Lock()
        self._asked: dict[str, None] = {}  # ids, as JSON
        self._keys: dict[str, None] = {}

    def read(self) -> bytes | None:
        """Wait for the server's next frame; None once the channel has ended."""
        frame = self._channel.read()
        if frame is not None and METHOD.encode() in frame:
            self._note(_read(frame))
        return frame

    def write(self, frame: bytes) -> None:
        """Send the server one frame, once the roots in it are noted.

        Raises:
            ChannelClosed: the peer is gone, or this side was closed.
        """
        with self._lock:
            is_waiting = bool(self._asked or (self._keys and RESPONSES.encode() in frame))
        found = self._answered_roots(_read(frame)) if is_waiting else None
        if found is not None:
            self._on_roots(found)
        self._channel.write(frame)

    def write_ready(self, frame: bytes) -> bool:
        """Send the server one frame if it takes it at once, and the frame has no roots."""
        if self._asked or self._keys:
            return False
        return self._lined is not None and self._lined.write_ready(frame)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def _note(self, message: dict[str, object]) -> None:
        """Remember what the server asks the roots under."""
        with self._lock:
            if message.get("method") == METHOD and "id" in message:
                _remember(self._asked, json.dumps(message["id"]))
            for key in _request_keys(message):
                _remember(self._keys, key)

    def _answered_roots(self, message: dict[str, object]) -> tuple[str, ...] | None:
        """The roots that a client's message has; None where it has none."""
        with self._lock:
            if "method" not in message and "result" in message:
                asked = json.dumps(message.get("id"))
                if asked not in self._asked:
                    return None
                del self._asked[asked]
                return root_addresses(message["result"])
            params = message.get("params")
            answers = params.get(RESPONSES) if isinstance(params, dict) else None
            for key, answer in answers.items() if isinstance(answers, dict) else ():
                is_list = isinstance(answer, dict) and isinstance(answer.get("roots"), list)
                if key in self._keys and is_list:
                    return root_addresses(answer)
        return None


def _read(frame: bytes) -> dict[str, object]:
    try:
        message = json.loads(frame)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _request_keys(message: dict[str, object]) -> Iterator[str]:
    """The keys that a message asks the roots under: a result's, or of a task in it or told."""
    outer = [
        each for each in (message.get("result"), message.get("params")) if isinstance(each, dict)
    ]
    for holder in (*outer, *(each.get("task") for each in outer)):
        asked = holder.get("inputRequests") if isinstance(holder, dict) else None
        for key, request in asked.items() if isinstance(asked, dict) else ():
            if isinstance(request, dict) and request.get("method") == METHOD:
                yield key


def _remember(names: dict[str, None], what: str) -> None:
    names.pop(what, None)
    names[what] = None
    while len(names) > MOST_ASKED:
        del names[next(iter(names))]
