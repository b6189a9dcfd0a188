"""What judging one message may cost, for all its texts together. Knows numbers, and no texts.

Each budget is a fixed amount plus a share for each byte of the message. So a list of hundreds of
definitions, or a batch, costs no more than one text of the same length. Whoever exceeds a budget
reports it: nothing passes unread.

Real documents do not come near the limits: among thousands, and among megabytes made of them, only
collections of attacks use half of a budget.
"""

from __future__ import annotations

import re
from collections.abc import Callable

# Replacements and decodings: Python calls, about 1 us each; one more for so many bytes.
CALLS, CALL_SHARE = 40_000, 16
# Decoded bytes, and how many more for each byte of the message: compressed text becomes about ten
# times as long, and a text with escapes is read once for each kind of escape in it.
DECODED_BYTES, DECODED_TIMES = 2**18, 8
# Bytes that rules search, about 5 ns each, and how many more for each byte of the message: a few
# rules search each reading, and a text full of escapes has five readings.
SCAN_BYTES, SCAN_TIMES = 12 * 2**20, 32
# Bytes that a classifier reads, 3 us each: of a message its first MiB and a share of the rest, for
# in a very long message some words of orders are neighbours by chance.
READ_BYTES, READ_WHOLE_BYTES, READ_SHARE = 2**16, 2**20, 8
# Sentences that a network reads, 1 to 2 ms each; one more for so many bytes.
NETWORK_TEXTS, NETWORK_SHARE = 256, 512
# Matches that a classifier is asked about (is it an order?), 5 to 10 ms each.
DOUBTS, DOUBT_SHARE = 24, 4096


class DecodingBudget:
    """What decoding a message may still cost.

    Attributes:
        calls: Python calls that remain.
        decoded_bytes: decoded bytes that remain.
        is_exceeded: True once something was left undecoded.
    """

    __slots__ = ("calls", "decoded_bytes", "is_exceeded")

    def __init__(self, length: int = 0) -> None:
        """Start with a text of so many bytes."""
        self.calls = CALLS
        self.decoded_bytes = DECODED_BYTES
        self.is_exceeded = False
        self.grow(length)

    def grow(self, length: int) -> None:
        """Add the share of another text of so many bytes."""
        self.calls += length // CALL_SHARE
        self.decoded_bytes += DECODED_TIMES * length

    def call(self) -> bool:
        """Take one call; False if none remains."""
        self.calls -= 1
        self.is_exceeded = self.is_exceeded or self.calls < 0
        return self.calls >= 0

    def replace(
        self, pattern: re.Pattern[bytes], by: Callable[[re.Match[bytes]], bytes], text: bytes
    ) -> bytes:
        """Replace the matches of a pattern, one call each, until no call remains."""
        text, replacements = pattern.subn(by, text, count=max(1, self.calls))
        self.calls -= replacements
        self.is_exceeded = self.is_exceeded or self.calls < 0
        return text

    def admits(self, data: bytes) -> bool:
        """Take decoded bytes; False if fewer remain."""
        if len(data) > self.decoded_bytes:
            self.is_exceeded = True
            return False
        self.decoded_bytes -= len(data)
        return True


class Budgets:
    """What one message may still cost. One thread at a time may use it.

    Attributes:
        decoding: what its decoders may cost.
        network_scores: scores by network and sentence, so that a sentence that is judged again (in
            the message without its secret) costs nothing.
    """

    __slots__ = (
        *("_doubt_share", "_network_share", "_read_bytes", "_scan_bytes", "_whole_bytes"),
        *("decoding", "network_scores"),
    )

    def __init__(self) -> None:
        self.decoding = DecodingBudget()
        self.network_scores: dict[tuple[str, str], float] = {}
        self._scan_bytes = SCAN_BYTES
        self._read_bytes = READ_BYTES
        self._whole_bytes = READ_WHOLE_BYTES
        self._network_share = NETWORK_TEXTS * NETWORK_SHARE
        self._doubt_share = DOUBTS * DOUBT_SHARE

    def grow(self, length: int, *, classified: bool) -> None:
        """Add the share of a text.

        Args:
            length: of the text, in bytes.
            classified: True if a classifier may read parts of it.
        """
        self.decoding.grow(length)
        self._scan_bytes += SCAN_TIMES * length
        if classified:
            whole = min(length, self._whole_bytes)
            self._whole_bytes -= whole
            self._read_bytes += whole + (length - whole) // READ_SHARE
            self._network_share += length
            self._doubt_share += length

    def scan(self, cost_bytes: int) -> bool:
        """Take bytes that rules search; False, and none is taken, if fewer remain."""
        if cost_bytes > self._scan_bytes:
            return False
        self._scan_bytes -= cost_bytes
        return True

    def read(self, length: int) -> bool:
        """Take bytes that a classifier reads; False, and none is taken, if fewer remain."""
        if length > self._read_bytes:
            return False
        self._read_bytes -= length
        return True

    def read_again(self) -> bool:
        """Take one sentence that a network reads; False if none remains."""
        if self._network_share < NETWORK_SHARE:
            return False
        self._network_share -= NETWORK_SHARE
        return True

    def doubt(self) -> bool:
        """Take one match that a classifier is asked about; False if none remains."""
        if self._doubt_share < DOUBT_SHARE:
            return False
        self._doubt_share -= DOUBT_SHARE
        return True
