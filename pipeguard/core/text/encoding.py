"""What an encoding is: the sign that finds it, and the decoder that reads it. Knows none itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from pipeguard.core.text.budgets import DecodingBudget
from pipeguard.core.unicode.folding import Range

AROUND_BYTES = 384  # of plain text before and after something encoded that are read with it
UNCUT_BYTES = 32  # of several escapes in a row that are fewer than their sign needs
MIN_TEXT_BYTES = 8  # decoded: what is shorter says nothing
MIN_PRINTABLE = 0.9  # of decoded bytes; with fewer they are images, digests or identifiers
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\r\n"


class Decoded(NamedTuple):
    """An encoded stretch of a text, decoded.

    Attributes:
        data: the decoded bytes, UTF-8 or nearly.
        view: the encoding, as findings name it: `base64`.
        start: where the stretch begins in its text, in bytes.
        end: where it ends.
        reader: decodes any part of the stretch alone, where the encoding allows that. A finding is
            then located within the stretch; otherwise it is about the whole stretch.
    """

    data: bytes
    view: str
    start: int
    end: int
    reader: Callable[[bytes], bytes] | None = None


# Decodes what is encoded between two bytes of a text, within a budget.
Decoder = Callable[[bytes, int, int, DecodingBudget], list[Decoded]]


class Encoding(NamedTuple):
    """One way to encode a text.

    Attributes:
        sign: a pattern for Hyperscan that finds each block in which something may be encoded so.
            It may match more than `decode` accepts, wherever that makes a much smaller automaton.
        decode: decodes what is encoded so between two bytes of a text.
        squeezed_sign: the sign in a text without spaces, where letters stand side by side by
            chance; empty where the encoding is not looked for there.
        to_server_only: True where only texts that go to a server are looked through.
        is_invisible: True where nobody sees what is written so. Nobody hides harmless words.
        is_opaque: True where nobody can read what is written so.
    """

    sign: str
    decode: Decoder
    squeezed_sign: str = ""
    to_server_only: bool = False
    is_invisible: bool = False
    is_opaque: bool = False


def is_readable(plain: bytes) -> bool:
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


def in_windows(
    view: str, sign: str, reader: Callable[[bytes], bytes], *, in_pieces: bool = True
) -> Decoder:
    """A decoder of characters in the midst of a text: a window around each sign is read whole.

    Args:
        view: the encoding, as findings name it.
        sign: a pattern for what is encoded.
        reader: decodes a text, and leaves what is not encoded.
        in_pieces: True where any part of the window can be decoded alone.
    """
    pattern = re.compile(sign.encode())

    def decode(data: bytes, start: int, end: int, budget: DecodingBudget) -> list[Decoded]:
        return [
            Decoded(reader(data[low:high]), view, low, high, reader if in_pieces else None)
            for low, high in windows(pattern, data, start, end, budget)
        ]

    return decode


def windows(
    pattern: re.Pattern[bytes], data: bytes, start: int, end: int, budget: DecodingBudget
) -> list[Range]:
    """The matches of a pattern, each with the text around it; neighbours are joined."""
    found: list[Range] = []
    position = start
    while (match := pattern.search(data, position, end)) and budget.call():
        low = max(start, match.start() - AROUND_BYTES)
        # What follows near by is in the window. Its last escape is not cut, and may move the end.
        sign = data[match.start() : match.start() + 1]
        last = data.rfind(sign, match.start(), min(end, match.end() + AROUND_BYTES))
        high = min(end, max(match.end() + AROUND_BYTES, last + UNCUT_BYTES))
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], high)
        else:
            found.append((low, high))
        position = max(match.end(), last)
    return found
