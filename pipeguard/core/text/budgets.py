"""What judging one message may cost, all its texts together.

Each pool has a fixed amount, and more for each byte that is read of the message. So hundreds of
definitions in a list, or a batch, cost no more than one text of the same length, and the decoded
readings are bounded by the length of the message. Whoever finds a pool empty reports it: nothing
passes unread. Knows numbers, and no texts.

Real documents do not come near the limits: of thousands, and of megabytes made of them, only
collections of attacks use up half of a pool.
"""

from __future__ import annotations

import re
from collections.abc import Callable

# Replacements and decodings by Python calls, about a microsecond each; one more for so many bytes.
CALLS, CALL_SHARE = 40_000, 16
# Decoded bytes, and how many more for each byte of the message: compressed text is about ten times
# as long as what came, and a text with escapes is read once for each kind of escape in it.
DECODED_BYTES, DECODED_TIMES = 2**18, 8
# Bytes that rules look through, about 5 ns each, and how many more for each byte of the message: a
# few rules look through each reading, and a text full of escapes has five readings.
LOOKED_BYTES, LOOKED_TIMES = 12 * 2**20, 32
# Bytes that a classifier reads, 3 us each: the message to its first MiB, and a share of the rest,
# since in a very long message some telling words stand side by side by chance.
READ_BYTES, READ_WHOLE_BYTES, READ_SHARE = 2**16, 2**20, 8
# Sentences that a network reads, 1 to 2 ms each; one more for so many bytes.
NETWORK_TEXTS, NETWORK_SHARE = 256, 512
# Matches for which a classifier is asked whether they are orders, 5 to 10 ms each.
DOUBTS, DOUBT_SHARE = 24, 4096


class DecodingBudget:
    """What decoding a message may still cost.

    Attributes:
        calls: Python calls that are left.
        decoded_bytes: decoded bytes that are left.
        spent: True once something was left undecoded.
    """

    __slots__ = ("calls", "decoded_bytes", "spent")

    def __init__(self, length: int = 0) -> None:
        """Begin with a text of so many bytes."""
        self.calls = CALLS
        self.decoded_bytes = DECODED_BYTES
        self.spent = False
        self.grow(length)

    def grow(self, length: int) -> None:
        """Allow for a further text of so many bytes."""
        self.calls += length // CALL_SHARE
        self.decoded_bytes += DECODED_TIMES * length

    def call(self) -> bool:
        """Take one call; False where none is left."""
        self.calls -= 1
        self.spent = self.spent or self.calls < 0
        return self.calls >= 0

    def replace(
        self, pattern: re.Pattern[bytes], by: Callable[[re.Match[bytes]], bytes], text: bytes
    ) -> bytes:
        """Replace the matches of a pattern, as far as the calls suffice."""
        text, made = pattern.subn(by, text, count=max(1, self.calls))
        self.calls -= made
        self.spent = self.spent or self.calls < 0
        return text

    def admits(self, data: bytes) -> bool:
        """Take decoded bytes; False where not so many are left."""
        if len(data) > self.decoded_bytes:
            self.spent = True
            return False
        self.decoded_bytes -= len(data)
        return True


class Budgets:
    """What one message may still cost. One thread at a time may use it.

    Attributes:
        decoding: what its decoders may cost.
        network_scores: what a network said of a sentence, by the network's name and the sentence.
            A sentence that is judged again, as in a message without its secret, costs nothing.
    """

    __slots__ = ("_doubts", "_looked", "_read", "_texts", "_whole", "decoding", "network_scores")

    def __init__(self) -> None:
        self.decoding = DecodingBudget()
        self.network_scores: dict[tuple[str, str], float] = {}
        self._looked = LOOKED_BYTES
        self._read = READ_BYTES
        self._whole = READ_WHOLE_BYTES
        self._texts = NETWORK_TEXTS * NETWORK_SHARE
        self._doubts = DOUBTS * DOUBT_SHARE

    def grow(self, length: int, *, classified: bool) -> None:
        """Allow for a text of so many bytes.

        Args:
            length: of the text, in bytes.
            classified: True where a classifier may read in it.
        """
        self.decoding.grow(length)
        self._looked += LOOKED_TIMES * length
        if classified:
            whole = min(length, self._whole)
            self._whole -= whole
            self._read += whole + (length - whole) // READ_SHARE
            self._texts += length
            self._doubts += length

    def look(self, cost_bytes: int) -> bool:
        """Take bytes that rules look through; False, and none is taken, where fewer are left."""
        if cost_bytes > self._looked:
            return False
        self._looked -= cost_bytes
        return True

    def read(self, length: int) -> bool:
        """Take bytes that a classifier reads; False, and none is taken, where fewer are left."""
        if length > self._read:
            return False
        self._read -= length
        return True

    def read_again(self) -> bool:
        """Take one sentence for a network; False where none is left."""
        if self._texts < NETWORK_SHARE:
            return False
        self._texts -= NETWORK_SHARE
        return True

    def doubt(self) -> bool:
        """Take one question whether a match is an order; False where none is left."""
        if self._doubts < DOUBT_SHARE:
            return False
        self._doubts -= DOUBT_SHARE
        return True
