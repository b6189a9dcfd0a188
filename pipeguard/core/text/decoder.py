"""What every decoder gives and may cost. Knows no encoding."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

MIN_TEXT_BYTES = 8  # decoded: what is shorter says nothing
# Replacements and decodings made by Python calls, about a microsecond each; bytes for one more.
CALLS, CALL_SHARE = 40_000, 16
# Of all decoded readings, and how many times what came: text that was packed is some ten times as
# long, a text in which something is escaped is read once more for each way in which it is.
DECODED_BYTES, DECODED_TIMES = 2**18, 8
MIN_PRINTABLE = 0.9  # of decoded bytes, or it is noise: images, digests, identifiers
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\r\n"


class Decoded(NamedTuple):
    """What an encoded stretch of a text says.

    Attributes:
        data: the decoded bytes, UTF-8 or nearly.
        view: the encoding, as `base64`.
        start: where the stretch begins in its text, in bytes.
        end: where it ends.
    """

    data: bytes
    view: str
    start: int
    end: int


class Budget:
    """What decoding a message may still cost; `spent` is set once something was left undecoded."""

    __slots__ = ("calls", "decoded_bytes", "spent")

    def __init__(self, length: int = 0) -> None:
        """Begin with a text of so many bytes."""
        self.calls = CALLS
        self.decoded_bytes = DECODED_BYTES
        self.spent = False
        self.grow(length)

    def grow(self, length: int) -> None:
        """Take in a further text of so many bytes."""
        self.calls += length // CALL_SHARE
        self.decoded_bytes += DECODED_TIMES * length

    def call(self) -> bool:
        """Take one more call into account; False where they are too many."""
        self.calls -= 1
        self.spent = self.spent or self.calls < 0
        return self.calls >= 0

    def replace(
        self, pattern: re.Pattern[bytes], by: Callable[[re.Match[bytes]], bytes], text: bytes
    ) -> bytes:
        """Replace what a pattern matches, as far as the calls go."""
        text, made = pattern.subn(by, text, count=max(1, self.calls))
        self.calls -= made
        self.spent = self.spent or self.calls < 0
        return text

    def admits(self, data: bytes) -> bool:
        """Take these decoded bytes into account; False where they are too many."""
        if len(data) > self.decoded_bytes:
            self.spent = True
            return False
        self.decoded_bytes -= len(data)
        return True


# Reads a text from one byte to another, within a budget.
Decoder = Callable[[bytes, int, int, Budget], list[Decoded]]


def reads(plain: bytes) -> bool:
    """True where decoded bytes are text in UTF-8 rather than noise."""
    if len(plain) < MIN_TEXT_BYTES:
        return False
    noise = len(plain.translate(None, _PRINTABLE))
    if noise <= len(plain) * (1 - MIN_PRINTABLE):
        return True
    try:
        text = plain[:4096].decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < min(len(plain), 4096) - 3:
            return False  # not a character that was cut
        text = plain[: error.start].decode("utf-8")
    return sum(map(str.isprintable, text)) >= MIN_PRINTABLE * len(text)
