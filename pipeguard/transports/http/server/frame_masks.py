"""Checks that a client masks its WebSocket frames, and does not flood us with small ones.

RFC 6455, section 5.1: a server must close the connection on an unmasked frame; the library does
not check. A megabyte of frames without a payload takes seconds to read, during which nobody else
is served. Knows frame headers, and no payload.
"""

from __future__ import annotations

CLOSE_UNMASKED = b"\x88\x02\x03\xea"  # a close frame with 1002, protocol error (section 7.4.1)
_MASKED, _LENGTH = 0x80, 0x7F
_SHORT, _LONG = 126, 127  # two or eight bytes of length follow (section 5.2)
_KEY_BYTES = 4
_WHOLE = frozenset({0x81, 0x82})  # a message in one frame: FIN, and text or binary
MESSAGE_BYTES = 24  # a shorter text is no JSON-RPC message
PART_BYTES = 1024  # a shorter part of a message is small; so is every ping and pong
MOST_SMALL, SMALL_A_SECOND = 1024, 64.0  # in a burst, and sustained


class FrameMasks:
    """Follows the frame headers of one client."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._payload_bytes = 0  # of the current frame, still to come
        self._small = 0.0  # small frames, less those that the time since has paid for
        self._checked_at = 0.0

    def allow(self, data: bytes, now: float) -> bool:
        """Check the next bytes; False on an unmasked frame, or on too many small ones.

        Args:
            data: as received.
            now: seconds on a clock that only goes forward.
        """
        self._small = max(0.0, self._small - SMALL_A_SECOND * (now - self._checked_at))
        self._checked_at = now
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
