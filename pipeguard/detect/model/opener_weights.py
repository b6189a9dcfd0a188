"""The weights of an opener, as a file and in memory, and the limits of what it reads.

detect.model.opener explains them; `_opener.c` has the same numbers.
"""

from pipeguard.detect.model.model_file import cut_tables, read_header
from pipeguard.records import NamedTuple

WORD_BITS, GRAM_BITS = 19, 17
SEGMENT_TOKENS, TOKEN_BYTES, WINDOW_SEGMENTS = 48, 64, 3
REPEAT_TOKENS = 16  # how far back a pair of stems is a repetition
FEWEST = 8  # with fewer features of a kind, none counts for more
MOST_BYTES = 2048  # of joined windows; the rest begins another stretch
MOST_STRETCHES = 1024  # of one text; the last one has all that follows it
MAGIC = b"pipeguard opener 1\n"

Window = tuple[int, int, float]  # the first byte, after the last one, the score


class Weights(NamedTuple):
    """The contents of an opener's file.

    Attributes:
        words: a signed byte for each stem and pair, by hash.
        grams: a signed byte for four bytes of a token, by hash.
        scale: the value of one step of a weight.
        bias: added to the score of each window.
        threshold: the score from which a window is opened.
    """

    words: bytes | memoryview
    grams: bytes | memoryview
    scale: float
    bias: float
    threshold: float


def unpack_opener(content: bytes | memoryview) -> Weights:
    """The weights in a file that training.packing wrote; parts of `content`, not copies.

    Raises:
        ValueError, KeyError: it is not an opener.
    """
    header, tables = read_header(content, MAGIC)
    words, grams = cut_tables(tables, (1 << WORD_BITS, 1 << GRAM_BITS))
    numbers = (float(header[name]) for name in ("scale", "bias", "threshold"))
    return Weights(words, grams, *numbers)
