"""What judging one message may cost, in all of its parts together.

Each pool has what any message may use, and more for each byte that is read of it. So a list of
hundreds of definitions, or a batch, costs no more than one text of that length; and what is decoded
is bounded by what came. Where a pool is empty, whoever asked says so: nothing passes unread.
Knows numbers, and no texts.

The figures leave real documents alone: of thousands, and of megabytes made of them, none comes to
half of a pool's end but collections of attacks.
"""

from __future__ import annotations

from pipeguard.core.text.decoder import Budget

# What rules may look through, some 5 ns a byte, and how many times what came: each of a few rules
# looks through each reading, of which a text full of escapes has five.
LOOKED_BYTES, LOOKED_TIMES = 12 * 2**20, 32
# What a classifier reads of the passages whose words are worth it, 3 us a byte: all that came, and
# of a very long message a part, since in it some words stand together by chance.
READ_BYTES, READ_WHOLE_BYTES, READ_SHARE = 2**16, 2**20, 8
# Sentences that a network reads, 1 to 2 ms each, and bytes for each more of them.
NETWORK_TEXTS, NETWORK_SHARE = 256, 512
# Matches of patterns for which a classifier is asked if they are orders, 5 to 10 ms each.
DOUBTS, DOUBT_SHARE = 24, 4096


class Budgets:
    """What one message may still cost. One thread at a time may use it.

    Attributes:
        decoding: what its decoders may cost.
        said: what a network said of sentences, by its name and the sentence: they cost nothing
            when they are read again, as where a message is judged once more without a secret.
    """

    __slots__ = ("_doubts", "_looked", "_read", "_texts", "_whole", "decoding", "said")

    def __init__(self) -> None:
        self.decoding = Budget()
        self.said: dict[tuple[str, str], float] = {}
        self._looked = LOOKED_BYTES
        self._read = READ_BYTES
        self._whole = READ_WHOLE_BYTES
        self._texts = NETWORK_TEXTS * NETWORK_SHARE
        self._doubts = DOUBTS * DOUBT_SHARE

    def grow(self, length: int, *, classified: bool) -> None:
        """Take in a text of so many bytes, and whether a classifier reads in it."""
        self.decoding.grow(length)
        self._looked += LOOKED_TIMES * length
        if classified:
            whole = min(length, self._whole)
            self._whole -= whole
            self._read += whole + (length - whole) // READ_SHARE
            self._texts += length
            self._doubts += length

    def look(self, cost_bytes: int) -> bool:
        """Whether rules may look through so much more; it is taken only where they may."""
        if cost_bytes > self._looked:
            return False
        self._looked -= cost_bytes
        return True

    def read(self, length: int) -> bool:
        """Whether a classifier may read so many more bytes; they are taken only where it may."""
        if length > self._read:
            return False
        self._read -= length
        return True

    def read_again(self) -> bool:
        """Whether a network may read one more sentence."""
        if self._texts < NETWORK_SHARE:
            return False
        self._texts -= NETWORK_SHARE
        return True

    def doubt(self) -> bool:
        """Whether a classifier may be asked of one more match."""
        if self._doubts < DOUBT_SHARE:
            return False
        self._doubts -= DOUBT_SHARE
        return True
