"""Whether a client masks its WebSocket frames, and floods nobody with small ones.

RFC 6455, section 5.1: a server closes the connection when it gets a frame that is not masked; the
library does not ask. A megabyte of frames without a payload takes seconds to read, in which nobody
else is served. Knows frame headers, and no payload.
"""

from __future__ import annotations

CLOSE_UNMASKED = b"\x88\x02\x03\xea"  # a close frame with 1002, protocol error (section 7.4.1)
_MASKED, _LENGTH = 0x80, 0x7F
_SHORT, _LONG = 126, 127  # two or eight bytes of length follow (section 5.2)
_KEY_BYTES = 4
_WHOLE = frozenset({0x81, 0x82})  # a message in one frame: FIN, and text or binary
MESSAGE_BYTES = 24  # fewer are no message of JSON-RPC
PART_BYTES = 1024  # of a message in several frames; pings and pongs have fewer
MOST_SMALL, SMALL_A_SECOND = 1024, 64.0  # at once, and for as long as one likes


class Masks:
    """Follows the frames of one client."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._payload_bytes = 0  # of the frame that is under way, still to come
        self._small = 0.0  # frames, less those that had their time
        self._looked_at = 0.0

    def hold(self, data: bytes, now: float) -> bool:
        """Take the next bytes; False once a frame is not masked, or too many are small.

        Args:
            data: as they came.
            now: seconds on a clock that only goes forward.
        """
        self._small = max(0.0, self._small - SMALL_A_SECOND * (now - self._looked_at))
        self._looked_at = now
        at = 0
        while at < len(data):
            if self._payload_bytes:
                step = min(self._payload_bytes, len(data) - at)
                self._payload_bytes -= step
                at += step
                continue
            self._head.append(data[at])
            at += 1
            if len(self._head) == 2 and not self._head[1] & _MASKED:
                return False
            self._end_head()
            if self._small > MOST_SMALL:
                return False
        return True

    def _end_head(self) -> None:
        if len(self._head) < 2:
            return
        short = self._head[1] & _LENGTH
        more = {_SHORT: 2, _LONG: 8}.get(short, 0)
        if len(self._head) < 2 + more + _KEY_BYTES:
            return
        self._payload_bytes = int.from_bytes(self._head[2 : 2 + more], "big") if more else short
        least = MESSAGE_BYTES if self._head[0] in _WHOLE else PART_BYTES
        self._small += self._payload_bytes < least
        self._head.clear()
