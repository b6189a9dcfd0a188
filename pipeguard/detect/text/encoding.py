"""The interface of an encoding: a sign that finds it, and a decoder. Knows no encodings."""

import re
from collections.abc import Callable, Iterable, Iterator

from pipeguard.firewall.budgets import DecodingBudget
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.records import NamedTuple
from pipeguard.unicode.folding import Range, extend, fold

AROUND_BYTES = 384  # of plain text before and after encoded characters, which are read with them
UNCUT_BYTES = 32  # after the last escape of a window, so that it is not cut
LEAST_RUN = 16  # letters in a row that may be bytes
MIN_TEXT_BYTES = 8  # decoded: a shorter text says nothing
MIN_PRINTABLE = 0.9  # share of decoded bytes; with less they are an image, a digest or an id
KEY_BYTES = 2400  # of a private key, as RSA with 4096 bits has
# The start of PKCS#1, PKCS#8, SEC 1 and PKCS#12 in DER (X.690, 8), and of OpenSSH's format.
_PRIVATE_KEY = lazy_regex(
    rb"(?s)\x30(?:\x82..|\x81.|[\x2e-\x7f])"
    rb"(?:\x02\x01[\0\1\3][\x02\x04\x30]|\x30.\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01[\x05\x0c])"
    rb"|openssh-key-v1\0"
)
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\r\n"


class Decoded(NamedTuple):
    """An encoded stretch of a text, decoded.

    Attributes:
        data: the decoded bytes, UTF-8 or nearly.
        view: the encoding, as findings name it, such as `base64`.
        start: where the stretch begins in its text, in bytes.
        end: where it ends.
        reader: decodes any part of the stretch by itself; None if the encoding does not allow
            that. A finding is then about the whole stretch.
        is_reversed: True if the stretch is read from its end.
    """

    data: bytes
    view: str
    start: int
    end: int
    reader: Callable[[bytes], bytes] | None = None
    is_reversed: bool = False


# Decodes a range of a text (first byte, end), within a budget.
Decoder = Callable[[bytes, int, int, DecodingBudget], Iterable[Decoded]]


Sign = str | Callable[[], str]  # a pattern, or a function that builds a long one to compile


def make_pattern(sign: Sign) -> str:
    """The pattern of a sign."""
    return sign if isinstance(sign, str) else sign()


class Encoding(NamedTuple):
    """One way to encode a text.

    Attributes:
        sign: a pattern by which Hyperscan finds each block that may contain this encoding. It may
            match more than `decode` accepts, if that makes a much smaller automaton.
        decode: decodes a range of a text.
        squeezed_sign: the sign in a text without spaces, where more letters are neighbours by
            chance; empty if the encoding is not looked for there.
        to_server_only: True if it is only looked for in texts to a server.
        is_invisible: True if the encoded text is invisible. Nobody hides harmless words.
        is_opaque: True if people cannot read the encoded text.
        is_open: True if everybody can: a rule for only encoded text means little there.
    """

    sign: Sign
    decode: Decoder
    squeezed_sign: str = ""
    to_server_only: bool = False
    is_invisible: bool = False
    is_opaque: bool = False
    is_open: bool = False


def is_readable(plain: bytes) -> bool:
    """True if decoded bytes are text in UTF-8 rather than noise."""
    if len(plain) < MIN_TEXT_BYTES:
        return False
    noise = len(plain.translate(None, _PRINTABLE))
    if noise <= len(plain) * (1 - MIN_PRINTABLE):
        return True
    try:
        text = plain[:4096].decode()
    except UnicodeDecodeError as error:
        if error.start < min(len(plain), 4096) - 3:
            return False  # invalid, and not just a character cut at the end
        text = plain[: error.start].decode()
    text = fold(text.encode())[0].decode()  # without invisible characters
    return sum(map(str.isprintable, text)) >= MIN_PRINTABLE * len(text)


def legible(plain: bytes) -> bytes:
    """Decoded bytes if they are text; for a private key, its start in hexadecimal; else nothing."""
    if is_readable(plain):
        return plain
    return plain[:KEY_BYTES].hex().encode() if _PRIVATE_KEY.match(plain) else b""


def mark(signs: bytes) -> bytes:
    """A table for `translate` that maps each of these bytes to `a`, and others to a space."""
    return bytes(0x61 if code in signs else 0x20 for code in range(256))


def runs(data: bytes, start: int, end: int, kinds: bytes, least: int) -> Iterator[Range]:
    """The stretches of at least this many bytes of one kind.

    Args:
        data: the text.
        start: of the range in which to look.
        end: of it.
        kinds: for each byte `a` if it is of the kind, else a space.
        least: the bytes of a stretch.
    """
    letters = data[start:end].translate(kinds)
    row = _find_run(letters, 0, least)
    while row:
        yield start + row[0], start + row[1]
        row = _find_run(letters, row[1], least)


def _find_run(letters: bytes, at: int, least: int) -> Range | None:
    """The next row of at least so many `a`."""
    low = letters.find(b"a" * least, at)
    if low < 0:
        return None
    end = letters.find(b" ", low)
    return low, end if end >= 0 else len(letters)


def search_in_runs(
    pattern: re.Pattern[bytes], data: bytes, reach: Range, kinds: bytes, least: int = LEAST_RUN
) -> Callable[[int], re.Match[bytes] | None]:
    """Make a search for at least this many letters, which looks only at long runs of them.

    Args:
        pattern: of letters of one kind.
        data: the text.
        reach: the range that is searched.
        kinds: for each byte `a` if it is of the kind, else a space.
        least: the letters of a run.
    """
    start, end = reach
    letters = data[start:end].translate(kinds)

    def search(position: int) -> re.Match[bytes] | None:
        row = _find_run(letters, position - start, least)
        while row:
            if match := pattern.search(data, start + row[0], start + row[1]):
                return match
            row = _find_run(letters, row[1], least)
        return None

    return search


def in_windows(view: str, sign: str, reader: Callable[[bytes], bytes]) -> Decoder:
    """A decoder for encoded characters within a text: it decodes a window around each sign.

    Any part of a window can be decoded by itself.

    Args:
        view: the encoding, as findings name it.
        sign: a pattern for the encoded characters.
        reader: decodes a text, and leaves plain text as it is.
    """
    pattern = lazy_regex(sign.encode())

    def decode(data: bytes, start: int, end: int, budget: DecodingBudget) -> list[Decoded]:
        return [
            Decoded(reader(data[low:high]), view, low, high, reader)
            for low, high in windows(pattern, data, start, end, budget)
        ]

    return decode


def windows(
    pattern: re.Pattern[bytes], data: bytes, start: int, end: int, budget: DecodingBudget
) -> list[Range]:
    """The ranges around the matches of a pattern; ranges that meet are merged."""
    ranges: list[Range] = []
    position = start
    while (match := pattern.search(data, position, end)) and budget.call():
        low = max(start, match.start() - AROUND_BYTES)
        # Later signs in reach belong to the window, whose end moves so that the last is not cut.
        sign = data[match.start() : match.start() + 1]
        last = data.rfind(sign, match.start(), min(end, match.end() + AROUND_BYTES))
        high = min(end, max(match.end() + AROUND_BYTES, last + UNCUT_BYTES))
        extend(ranges, low, high)
        position = max(match.end(), last)
    return ranges
