"""The cost of judging one message, for all its texts together. Knows numbers, and no texts.

A message has one amount of work: a fixed part and a share for each byte. Every step subtracts its
usual cost on a processor of 2024, in nanoseconds; no clock is read, so the same message always gets
as far. So a list of hundreds of definitions, or a batch, costs no more than one text of the same
length. Matches of rules have an amount of their own, so that they leave enough for the rest. A
caller that finds too little left reports it: nothing passes unread.

Of thousands of real documents none takes all of its work. Of megabytes of manual pages in twelve
languages, those in Russian take most: 122 ns a byte.
"""

import re
from collections.abc import Callable, Iterable
from sys import getsizeof

WORK_NS = 50_000_000  # of a message
BYTE_NS = 130  # of each byte in it, which up to three engines scan
CALL_NS = 1_000  # of a replacement or a decoding
DECODED_NS = 20  # of a decoded byte
SEARCHED_NS = 5  # of a byte that a rule searches
FOUND_NS = 10_000  # of a match that is found
RATED_NS = 10_000  # of one that is rated
READ_AROUND_NS = 20_000  # of one that is rated by the sentences around it
REPORTED_NS = 100_000  # of one that is reported
PIECE_NS = 30_000  # of each of its pieces
MATCHES_NS = 50_000_000  # of all matches of a message
MATCHES_BYTE_NS = 220  # the share that each byte adds
READ_NS = 300  # of a byte that a classifier reads
SENTENCE_NS = 400_000  # of a sentence that a network reads
DOUBT_NS = 2_000_000  # at most, of a match that a classifier is asked about: is it an order?
# Added for each definition of a list, three sentences, and for all together: a client asks for
# a list once, and real ones instruct a model in every other sentence.
DEFINITION_NS = 3 * SENTENCE_NS
DEFINITIONS_NS = 300 * SENTENCE_NS
# Reading leaves this for the network, which reads the likeliest of it again.
KEPT_NS = 20 * SENTENCE_NS


class DecodingBudget:
    """The work that decoding a text may still take.

    Attributes:
        is_exceeded: True once something was left undecoded.
    """

    __slots__ = ("_left_ns", "is_exceeded")

    def __init__(self, length: int = 0, work_ns: int = WORK_NS) -> None:
        """Start with a text of `length` bytes, and an amount of work for any text."""
        self._left_ns = work_ns + BYTE_NS * length
        self.is_exceeded = False

    def grow(self, length: int) -> None:
        """Add the share of another text."""
        self._left_ns += BYTE_NS * length

    def call(self, times: int = 1) -> bool:
        """Take one call, or the cost of `times` calls; False if too little remains."""
        return self._decode(CALL_NS * times)

    def replace(
        self, pattern: re.Pattern[bytes], by: Callable[[re.Match[bytes]], bytes], text: bytes
    ) -> bytes:
        """Replace the matches of a pattern, one call each, until no call remains."""
        count = max(1, self._left_ns // CALL_NS)
        text, replacements = pattern.subn(by, text, count=count)
        self._left_ns -= CALL_NS * replacements
        self.is_exceeded = self.is_exceeded or replacements == count
        return text

    @property
    def decoded_bytes(self) -> int:
        """Decoded bytes that it still admits."""
        return self._left_ns // DECODED_NS

    def admits(self, data: bytes) -> bool:
        """Take decoded bytes; False if too little remains."""
        return self._decode(DECODED_NS * len(data))

    def _decode(self, cost_ns: int) -> bool:
        is_taken = self._take(cost_ns)
        self.is_exceeded = self.is_exceeded or not is_taken
        return is_taken

    def _take(self, cost_ns: int, kept_ns: int = 0) -> bool:
        """Take work if enough remains beyond the reserve; else take nothing and return False."""
        if cost_ns > self._left_ns - kept_ns:
            return False
        self._left_ns -= cost_ns
        return True


class Budgets(DecodingBudget):
    """The work that one message may still take. One thread at a time may use it.

    Attributes:
        network_scores: scores by network and sentence, so that a sentence that is judged again (in
            the message without its secret) costs nothing.
        doubt_scores: the same, by classifier and the sentences around a match.
    """

    __slots__ = ("_matches_left_ns", "doubt_scores", "network_scores")

    def __init__(self, length: int = 0) -> None:
        self._left_ns = WORK_NS + BYTE_NS * length  # as its base does, which would be another call
        self.is_exceeded = False
        self._matches_left_ns = MATCHES_NS + MATCHES_BYTE_NS * length
        self.network_scores: dict[tuple[str, str], float] = {}
        self.doubt_scores: dict[tuple[object, str], float] = {}

    def grow(self, length: int) -> None:
        """Add the share of another text."""
        self._left_ns += BYTE_NS * length
        self._matches_left_ns += MATCHES_BYTE_NS * length

    def grow_by_definitions(self, count: int) -> None:
        """Add the share of definitions that are judged together."""
        self._left_ns += min(DEFINITION_NS * count, DEFINITIONS_NS)

    def scan(self, length: int) -> bool:
        """Take bytes that a rule searches; if too few remain, take nothing and return False."""
        return self._take(SEARCHED_NS * length)

    def find(self) -> bool:
        """Take one match that is found; False if too little remained."""
        return self._match(FOUND_NS)

    def rate(self, *, reads_around: bool = False) -> bool:
        """Take one match that is rated; False if too little remained."""
        return self._match(READ_AROUND_NS if reads_around else RATED_NS)

    def report(self, pieces: int) -> bool:
        """Take one match that is reported, with its pieces; False if too little remained."""
        return self._match(REPORTED_NS + PIECE_NS * pieces)

    def _match(self, cost_ns: int) -> bool:
        self._matches_left_ns -= cost_ns
        return self._matches_left_ns >= 0

    def read(self, length: int) -> bool:
        """Take bytes that a classifier reads; if too few remain, take nothing and return False."""
        return self._take(READ_NS * length, KEPT_NS)

    def read_again(self) -> bool:
        """Take one sentence that a network reads; False if too little remains."""
        return self._take(SENTENCE_NS)

    @property
    def may_doubt(self) -> bool:
        """True if enough is left to ask a classifier about a match."""
        return self._left_ns - WORK_NS // 2 >= SENTENCE_NS

    def doubt(self, sentences: int) -> bool:
        """Take one match to ask a classifier about; False if too little remains.

        Args:
            sentences: around the match, each by itself and together.
        """
        # Without a doubt a match counts, and all is read.
        return self._take(min(DOUBT_NS, SENTENCE_NS * sentences), WORK_NS // 2)


class TooLongError(Exception):
    """Judging a message takes longer than the frames behind it may wait."""


# --- memory -----------------------------------------------------------------------------
# Memory use of texts whose length a peer chooses.

SLOT_BYTES = 64  # of a set, in which up to two thirds are empty


def measure_text(*texts: str | None) -> int:
    """Bytes that some texts take: one wide character makes each of its text four bytes wide."""
    return sum([getsizeof(text) for text in texts if text is not None])  # noqa: C419  faster


def size_of_all(texts: Iterable[str]) -> int:
    """Bytes that a set of texts takes, with its slots."""
    return sum([getsizeof(text) + SLOT_BYTES for text in texts])  # noqa: C419  faster
