"""Whether a client masks its WebSocket frames, as it must; the library does not ask.

RFC 6455, section 5.1: a server closes the connection when it gets a frame that is not masked.
Knows frame headers, and no payload.
"""

from __future__ import annotations

CLOSE_UNMASKED = b"\x88\x02\x03\xea"  # a close frame with 1002, protocol error (section 7.4.1)
_MASKED, _LENGTH = 0x80, 0x7F
_SHORT, _LONG = 126, 127  # two or eight bytes of length follow (section 5.2)
_KEY_BYTES = 4


class Masks:
    """Follows the frames of one client."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._payload_bytes = 0  # of the frame that is under way, still to come

    def hold(self, data: bytes) -> bool:
        """Take the next bytes; False once a frame is not masked."""
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
        return True

    def _end_head(self) -> None:
        if len(self._head) < 2:
            return
        short = self._head[1] & _LENGTH
        more = {_SHORT: 2, _LONG: 8}.get(short, 0)
        if len(self._head) < 2 + more + _KEY_BYTES:
            return
        self._payload_bytes = int.from_bytes(self._head[2 : 2 + more], "big") if more else short
        self._head.clear()
