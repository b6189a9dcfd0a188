"""Opens the stretches of a text that a classifier has to read: a linear model over all of the text.

Almost no text contains an order to the model, and a classifier takes a microsecond a word. So
this model reads everything, with few and cheap features, and only opens: unopened text is not read
for orders, and opened text is not a finding yet.

- A **token** is a run of letters (bytes from 128 on are letters), of digits, or of one mark, of
  `TOKEN_BYTES` at most. All other bytes are gaps. ASCII letters are read in lower case, digits
  as 0.
- A **segment** is a sentence, a line, or `SEGMENT_TOKENS` tokens of a longer one. It begins with
  its first token.
- A **window** is up to three segments that follow each other. Its score is a bias, and for each
  kind of feature the sum of weights over the root of their number: stems (the first 5 bytes of a
  token, 10 beyond ASCII) with pairs of stems, and four bytes from each byte of a token on. A token
  whose pair is among the last `REPEAT_TOKENS` ones does not count: tables repeat themselves; and no
  window ends with a segment without counted tokens.

`_opener.c` is the same in C, some fifteen times as fast; if it was not built, this runs, with
numpy (`opener_sums`). training/opener.py makes the weights.
"""

from collections.abc import Callable
from functools import cached_property

from pipeguard.detect.model.opener_weights import WINDOW_SEGMENTS, Weights, Window, unpack_opener
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.native import find_native
from pipeguard.records import NamedTuple

WHOLE_BYTES = 768  # up to this length, a text is read whole or not at all
LEAST_SCORE = -1e9  # of a text without words
AROUND_BYTES = 200  # before and after a window: the limit for following a sentence
# Marks that end a sentence, too: U+3002, U+FF01, U+FF1F, U+0964. ASCII ones of the same length in
# bytes take their place.
_MARKS = b"\xe3\x80\x82", b"\xef\xbc\x81", b"\xef\xbc\x9f", b"\xe0\xa5\xa4"
_ASCII_MARK = b".\n\n"
_SENTENCE_END = lazy_regex(rb"[.!?]\s+|\n|\xe3\x80\x82|\xef\xbc[\x81\x9f]|\xe0\xa5\xa4\s*")


class Stretch(NamedTuple):
    """A part of a text that a classifier should read.

    Attributes:
        start: of the first byte.
        end: after the last byte.
        score: of its best window, in logits.
    """

    start: int
    end: int
    score: float


Windows = Callable[[bytes, Weights], list[Window]]


class Opener:
    """The linear model of one surface. Several threads may use it."""

    def __init__(self, read: Callable[[], bytes | memoryview]) -> None:
        """Remember the source of the weights; the first text loads them.

        Args:
            read: reads the file that `packed` wrote, and raises EngineError.
        """
        self._read = read

    def load(self) -> None:
        """Load the weights before the first text.

        Raises:
            EngineError: they are missing, or are not the ones that are named.
        """
        _ = self._load

    @cached_property
    def _load(self) -> tuple[Windows, Weights]:
        weights = unpack_opener(self._read())
        return native() or portable(), weights

    def stretches(self, data: bytes) -> list[Stretch]:
        """The stretches of a text that are worth reading, in their order.

        Raises:
            EngineError: the weights are missing, or are not the ones that are named.
            ValueError, KeyError: they are no weights.
        """
        windows, weights = self._load
        opened = windows(with_ascii_marks(data), weights)
        if opened and len(data) <= WHOLE_BYTES:
            return [Stretch(0, len(data), max(score for *_, score in opened))]
        stretches: list[Stretch] = []
        for start, end, score in opened:
            before = _before(data, start)
            if stretches:  # the sentences before it are already read there
                before = max(before, min(start, stretches[-1].end))
            stretches.append(Stretch(before, end, score))
        return stretches

    def score(self, data: bytes) -> float:
        """The score of the best window of a text, whether it is opened or not.

        Raises:
            EngineError: the weights are missing, or are not the ones that are named.
            ValueError, KeyError: they are no weights.
        """
        windows, weights = self._load
        scored = windows(with_ascii_marks(data), weights._replace(threshold=LEAST_SCORE))
        return max((score for *_, score in scored), default=LEAST_SCORE)


def _before(data: bytes, start: int) -> int:
    """Find the beginning of the sentences to read with the one at `start`."""
    low = max(0, start - AROUND_BYTES)
    ends = [match.end() for match in _SENTENCE_END.finditer(data, low, start)]
    if low == 0:
        ends.insert(0, 0)
    return ends[-WINDOW_SEGMENTS] if len(ends) >= WINDOW_SEGMENTS else min(ends, default=start)


def widen(data: bytes, first: int, last: int) -> tuple[int, int]:
    """A part of a text and the sentences around it, as a range of whole sentences."""
    low, high = max(0, first - AROUND_BYTES), min(len(data), last + AROUND_BYTES)
    ends = [match.end() for match in _SENTENCE_END.finditer(data, low, first)]
    low = ends[-1] if ends else _character(data, low)
    end = _SENTENCE_END.search(data, last, high)
    return low, end.end() if end else _character(data, high)


def in_whole_characters(data: bytes, start: int, end: int) -> tuple[int, int]:
    """A range of a text, widened to whole characters at both ends."""
    while start > 0 and start < len(data) and data[start] & 0xC0 == 0x80:
        start -= 1
    return start, _character(data, end)


def _character(data: bytes, at: int) -> int:
    """Round a place up to the start of a character."""
    while at < len(data) and data[at] & 0xC0 == 0x80:
        at += 1
    return at


def native() -> Windows | None:
    """The form in C; None if it was not built."""
    form = find_native("detect.model._opener")
    return None if form is None else form.windows


def portable() -> Windows:
    """The form in numpy, which takes 80 ms to import."""
    from pipeguard.detect.model.opener_sums import windows

    return windows


def with_ascii_marks(data: bytes) -> bytes:
    """A text with ASCII signs at the ends of sentences, each byte at its place."""
    if not data.isascii():
        for mark in _MARKS:
            if mark[:1] in data:  # a byte is found some fifty times as fast
                data = data.replace(mark, _ASCII_MARK)
    return data
