"""A channel to a server that is given its client's roots: reads the roots as they pass.

They are the client's answers to `roots/list`, as a message of its own, or in `inputResponses` under
the key of the server's request (MCP 2025-06-18, client/roots; 2026-07-28, basic/patterns/mrtr). The
server's own messages are only searched for its requests.
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
        self._asked: dict[str, None] = {}  # ids, and keys in a list, as JSON

    def read(self) -> bytes | None:
        """Wait for the server's next frame; None once the channel has ended."""
        frame = self._channel.read()
        if frame is not None and METHOD.encode() in frame:
            self._note(_read(frame))
        return frame

    def write(self, frame: bytes) -> None:
        """Send the server one frame, after noting the roots in it.

        Raises:
            ChannelClosed: the peer is gone, or this side was closed.
        """
        found = self._answered_roots(_read(frame)) if self._asked else None
        if found is not None:
            self._on_roots(found)
        self._channel.write(frame)

    def write_ready(self, frame: bytes) -> bool:
        """Send the server one frame if it accepts it at once, and the frame has no roots."""
        return not self._asked and self._lined is not None and self._lined.write_ready(frame)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def _note(self, message: dict[str, object]) -> None:
        """Remember the ids and keys of the server's requests for roots."""
        names: list[object] = [[key] for key in _request_keys(message)]
        if message.get("method") == METHOD and "id" in message:
            names.append(message["id"])
        with self._lock:
            for name in map(json.dumps, names):
                self._asked.pop(name, None)
                self._asked[name] = None
            while len(self._asked) > MOST_ASKED:
                del self._asked[next(iter(self._asked))]

    def _answered_roots(self, message: dict[str, object]) -> tuple[str, ...] | None:
        """The roots in a client's message; None if it has none."""
        params = message.get("params")
        answers = params.get(RESPONSES) if isinstance(params, dict) else None
        answers = answers if isinstance(answers, dict) else {}
        named = {json.dumps([key]): answer for key, answer in answers.items()}
        if "method" not in message:
            named[json.dumps(message.get("id"))] = message.get("result")
        with self._lock:
            for name, answer in named.items():
                is_list = isinstance(answer, dict) and isinstance(answer.get("roots"), list)
                if name in self._asked and is_list:
                    del self._asked[name]
                    return root_addresses(answer)
        return None


def _read(frame: bytes) -> dict[str, object]:
    try:
        message = json.loads(frame)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _request_keys(message: dict[str, object]) -> Iterator[str]:
    """The keys of a message's requests for roots: in a result, or in a task it has or reports."""
    outer = [
        each for each in (message.get("result"), message.get("params")) if isinstance(each, dict)
    ]
    for holder in (*outer, *(each.get("task") for each in outer)):
        asked = holder.get("inputRequests") if isinstance(holder, dict) else None
        for key, request in asked.items() if isinstance(asked, dict) else ():
            if isinstance(request, dict) and request.get("method") == METHOD:
                yield key
