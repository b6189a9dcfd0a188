"""Readings of what a text has encoded in it. Knows encodings, and no rules.

Everything works on UTF-8 bytes, and a view that cannot differ from its text costs one quick
question. Cost is linear in the text for any input: what is replaced by a Python call is
counted against a budget, and going over it is told, never passed over in silence.

Sources: RFC 3986 section 2.1 (percent), RFC 4648 (base64, base32, hex), RFC 8259 section 7
(escapes), the Unicode block of tags.
"""

from __future__ import annotations

import re
from base64 import b32decode
from binascii import Error as Base64Error
from binascii import a2b_base64, a2b_qp, unhexlify
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from itertools import accumulate
from typing import NamedTuple

from pipeguard.core import spellings
from pipeguard.core.folding import Range, merged

MIN_TEXT_BYTES = 8  # decoded: what is shorter says nothing
PIECE_BYTES = 2048  # read at a time for the way back
AROUND_BYTES = 384  # of plain text on either side of something encoded that are read with it
MAX_CALLS = 40_000  # replacements and decodings made by Python calls in one text, about 30 ms
MAX_DECODED_BYTES = 4 * 2**20  # of all decoded readings of one text
MAX_RUN_BYTES = 2**20  # of one encoded run
MAX_INFLATED_BYTES = 2**20  # of one compressed run
MAX_BASE32_BYTES = 2**15  # of one run: this decoder is slow
HOST_LABELS = 3  # at most that are the host's own, as `collector.acme.test`
ENTITY_ROUNDS = 3  # `&amp;amp;#105;` is one letter in the end
MIN_PRINTABLE = 0.9  # of decoded bytes, or it is noise: images, digests, identifiers


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


_Decoder = Callable[[bytes, int, int, "Budget"], list[Decoded]]


class Budget:
    """What decoding may still cost; `spent` is set once something was left undecoded."""

    __slots__ = ("calls", "decoded_bytes", "spent")

    def __init__(self) -> None:
        self.calls = MAX_CALLS
        self.decoded_bytes = MAX_DECODED_BYTES
        self.spent = False

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


#
# What can be decoded is found by cues: patterns that the scan engine runs in the same pass as
# the rules, so that a block of text in which nothing is encoded costs nothing here.


class Cue(IntEnum):
    """A sign that a block of text holds something encoded."""

    PERCENT = 0
    ESCAPE = 1
    SIMPLE_ESCAPE = 2
    TAGS = 3
    BASE64 = 4
    HEX = 5
    BASE32 = 6
    LONG_RUN = 7
    SEPARATED_HEX = 8
    SPACED = 9  # letters that stand apart
    RUN_TOGETHER = 10  # words that do not
    ENTITY = 11
    QUOTED_PRINTABLE = 12
    SELECTORS = 13  # bytes as variation selectors
    BITS = 14  # bits as invisible characters
    LABELS = 15  # of a host name, or the like
    COMPRESSED = 16
    TURNED = 17  # by thirteen letters
    REVERSED = 18
    LEET = 19
    OVERRIDDEN = 20  # text that is shown from right to left


_B64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_B32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def _class(alphabet: str, indices: Iterator[int] | range) -> str:
    letters = {alphabet[index] for index in indices}
    letters |= {{"+": "-", "/": "_"}.get(letter, letter) for letter in letters}
    return "[" + "".join(sorted(re.escape(letter) for letter in letters)) + "]"


# The bytes of plain text are 0x20 to 0x7E, so each letter of its encoding comes from a part of
# the alphabet only (RFC 4648, sections 4 and 6): a run that keeps to those parts for twelve
# characters is hardly ever chance, and it is found at any alignment.
_B64_GROUP = (
    _class(_B64, range(8, 32))
    + _class(_B64, (i for i in range(64) if 2 <= i % 16 <= 7))
    + _class(_B64, (i for i in range(64) if i % 4 <= 1))
    + "[A-Za-z0-9+/_-]"
)
_B32_GROUP = (
    _class(_B32, range(4, 16))
    + _class(_B32, (i for i in range(32) if i % 4 <= 1))
    + "[A-Z2-7]"
    + _class(_B32, (i for i in range(32) if 2 <= i % 16 <= 7))
    + _class(_B32, (i for i in range(32) if i % 2 == 0))
    + _class(_B32, range(8, 32))
    + _class(_B32, (i for i in range(32) if 1 <= i % 8 <= 3))
    + "[A-Z2-7]"
)
# What stands before a host's name where one is asked for.
_HOST = r"(?:://|@|: |\b(?:dig|host|ping|nslookup)\s)"
# Weaker than the expressions below wherever that makes a much smaller automaton.
CUES: dict[Cue, str] = {
    Cue.PERCENT: "%[0-9A-Fa-f]{2}",
    Cue.ESCAPE: r"\\(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|U000[0-9A-Fa-f]{5}|u\{[0-9A-Fa-f]{1,5}\})",
    Cue.SIMPLE_ESCAPE: r'\\[nrt"\\/]',
    Cue.TAGS: "\\xf3\\xa0[\\x80\\x81]",
    Cue.BASE64: f"(?:{_B64_GROUP}){{3}}",
    Cue.HEX: "(?:[2-7][0-9A-Fa-f]){8}",
    Cue.BASE32: "[A-Z2-7]{16}",
    Cue.LONG_RUN: "[A-Za-z0-9+/_-]{40}",
    Cue.SEPARATED_HEX: "(?:(?:0x)?[2-7][0-9A-Fa-f][ :,-]{1,2}){7}(?:0x)?[2-7]",
    Cue.SPACED: r"[^A-Za-z0-9](?:[A-Za-z0-9][ ._*|,/-]){5}",
    Cue.RUN_TOGETHER: "[A-Za-z]{20}",
    Cue.ENTITY: "&(?:#[0-9]{2}|#[Xx][0-9A-Fa-f]{2}|[A-Za-z]{2,6};)",
    Cue.QUOTED_PRINTABLE: "(?:=[0-9A-F]{2}[^=\\n]{0,3}){3}|[A-Za-z0-9,.]=\\r?\\n[A-Za-z0-9]",
    Cue.SELECTORS: "\\xf3\\xa0[\\x84-\\x87]|(?:\\xef\\xb8[\\x80-\\x8f]){4}",
    Cue.BITS: "(?:\\xe2\\x81[\\xa2\\xa4]){8}|(?:\\xe2\\x80[\\x8b-\\x8d]){8}",
    Cue.LABELS: rf"{_HOST}(?:[A-Za-z0-9_-]{{8,63}}\.[A-Za-z_-]{{0,20}}[0-9][A-Za-z0-9_-]{{4}}|"
    r"[A-Za-z0-9_-]{30,63}\.[A-Za-z0-9_-]{4})",
    Cue.COMPRESSED: "(?:H4sI|eJ[w-z0-9+/_-]|eN[o-r]|eAE|eF[4-7])[A-Za-z0-9+/_-]{20}",
    Cue.TURNED: spellings.TURNED,
    Cue.REVERSED: spellings.REVERSED,
    Cue.LEET: spellings.LEET,
    Cue.OVERRIDDEN: "\\xe2\\x80\\xae",
}
# Of these the squeezed reading may say something.
SQUEEZED_CUES = (Cue.SPACED, Cue.RUN_TOGETHER)

# What repeats a group is held short or possessive: `re` keeps 140 bytes for each repetition.
_PERCENT = re.compile(rb"(?:%[0-9A-Fa-f]{2})++")
_ESCAPE = re.compile(b"(?:" + CUES[Cue.ESCAPE].encode() + b"){1,500}")
_ANY_ESCAPE = re.compile(rb'\\[nrt"\\/xuU]')
_SIMPLE_ESCAPES = (
    (b"\\\\", b"\\"), (b"\\n", b"\n"), (b"\\r", b"\r"), (b"\\t", b"\t"), (b'\\"', b'"'),
    (b"\\/", b"/"),
)  # fmt: skip
_TAGS = re.compile("[\U000e0020-\U000e007e]{2,}")
_FLAGS = re.compile("\U0001f3f4[\U000e0061-\U000e007a]{2,8}\U000e007f")
_BASE64 = re.compile(f"(?:{_B64_GROUP}){{4}}".encode())
_HEX = re.compile(rb"(?:[2-7][0-9A-Fa-f]|0[9AaDd]){8}")
_REST_OF_HEX = re.compile(rb"[0-9A-Fa-f]*+")
_BASE32 = re.compile(f"(?:{_B32_GROUP}){{2}}[A-Z2-7]*".encode())
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
_BITS = re.compile(
    "[\u2062\u2064]{64,}|[\u200b\u200c]{64,}|[\u200c\u200d]{64,}|[\u200b\u200d]{64,}"
)
_LABELS = re.compile(
    rf"{_HOST}([A-Za-z0-9_-]{{8,63}}+(?:\.[A-Za-z0-9_-]{{1,63}}+){{2,32}})".encode()
)
_OVERRIDDEN = re.compile(rb"\xe2\x80\xae[^\n]*?(?:\xe2\x80\xac|\n|\Z)")
_BIDI = re.compile(rb"\xd8\x9c|\xe2\x80[\x8e\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]")
_COMPRESSED = re.compile(CUES[Cue.COMPRESSED].encode())
_HEX_DIGITS = b"0123456789ABCDEFabcdef"
_UPPER_BASE32 = _B32.encode()
_LOWER_BASE32 = _UPPER_BASE32.lower()
_IN_RUN = bytes(
    0x61 if code < 0x80 and (chr(code).isalnum() or chr(code) in "+/_-") else 0x20
    for code in range(256)
)
_FORTY = b"a" * 40
_LONG_RUN = re.compile(rb"[A-Za-z0-9][A-Za-z0-9+/_-]{39,}")
_REST_OF_RUN = re.compile(
    rb"[A-Za-z0-9+/_-]*+(?:\r?\n[A-Za-z0-9+/_-]{4,}+)*+(?:\r?\n[A-Za-z0-9+/_-]{2,3}(?==))?"
)
_SEPARATED_HEX = re.compile(rb"(?:(?:0x)?[0-9A-Fa-f]{2}[ :,-]{1,2}){7,2000}(?:0x)?[0-9A-Fa-f]{2}")
_STANDARD = bytes.maketrans(b"-_", b"+/")  # RFC 4648, section 5: the URL-safe alphabet
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\r\n"
_TEXT = re.compile(rb"[ -~\t\r\n]*")


def decode(data: bytes, cued: dict[Cue, list[Range]], budget: Budget) -> list[Decoded]:
    """Each stretch of the text that decodes to something readable, one level deep.

    Args:
        data: the text.
        cued: for each cue that was seen, the ranges of bytes to look into, in order.
        budget: what it may cost; shared by all levels of one message.
    """
    found: list[Decoded] = []
    for start, end in merged([*cued.pop(Cue.ESCAPE, ()), *cued.pop(Cue.SIMPLE_ESCAPE, ())]):
        found += _escapes(data, start, end, budget)
    for cue, ranges in cued.items():
        decoder = _DECODERS.get(cue, _nothing)
        for start, end in ranges:
            found += decoder(data, start, end, budget)
    return [
        item if item.data.isascii() else item._replace(data=_valid(item.data))
        for item in found
        if budget.admits(item.data)
    ]


def _valid(data: bytes) -> bytes:
    return data.decode("utf-8", "replace").encode("utf-8")


class Parts:
    """All that was decoded from one reading, and the way back to it.

    Attributes:
        data: the decoded texts, one a line.
    """

    __slots__ = ("_ends", "_found", "_pieces", "_read", "data")

    def __init__(self, found: list[Decoded], read: bytes) -> None:
        self._found = found
        self._read = read
        self._ends: list[int] = []  # once asked for, where each part ends in `data`
        self._pieces: dict[int, list[int]] = {}
        self.data = b"\n".join(part.data for part in found)

    def at(self, start: int) -> Decoded:
        """The part that a byte of `data` stands in."""
        return self._found[self._index(start)]

    def origin(self, start: int, end: int) -> Range:
        """About where a stretch of `data` stands in the text that it was decoded from."""
        index = self._index(start)
        part, begins = self._found[index], self._ends[index - 1] if index else 0
        if part.view == "reversed":
            return max(part.start, part.end + begins - end), part.end + begins - start
        reader = _PIECEWISE.get(part.view)
        if reader is None:
            return part.start, part.end
        if index not in self._pieces:
            cuts = range(part.start, part.end, PIECE_BYTES)
            texts = (self._read[cut : min(cut + PIECE_BYTES, part.end)] for cut in cuts)
            lengths = (len(reader(text)) for text in texts)
            self._pieces[index] = list(accumulate(lengths, initial=begins))
        pieces = self._pieces[index]
        nth = min(bisect_right(pieces, start), len(pieces) - 1) - 1
        first = min(part.start + nth * PIECE_BYTES + start - pieces[nth], part.end - 1)
        return first, min(max(first + end - start, first + 1), part.end)

    def _index(self, start: int) -> int:
        if not self._ends:
            self._ends.extend(accumulate(len(part.data) + 1 for part in self._found))
        return min(bisect_right(self._ends, start), len(self._ends) - 1)


def _windowed(view: str, cue: Cue, reader: Callable[[bytes], bytes]) -> _Decoder:
    """A decoder of what keeps the text around it: windows round each cue are read as a whole."""
    pattern = re.compile(CUES[cue].encode())

    def decoder(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
        return [
            Decoded(reader(data[low:high]), view, low, high)
            for low, high in _around(pattern, data, start, end, budget)
        ]

    return decoder


def _percent(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    return [
        Decoded(budget.replace(_PERCENT, _unpercent, data[low:high]), "percent", low, high)
        for low, high in _around(_PERCENT, data, start, end, budget)
    ]


def _around(
    pattern: re.Pattern[bytes], data: bytes, start: int, end: int, budget: Budget
) -> list[Range]:
    """The stretches that hold a pattern, with what stands around, neighbours joined."""
    windows: list[Range] = []
    position = start
    while (match := pattern.search(data, position, end)) and budget.call():
        low = max(start, match.start() - AROUND_BYTES)
        high = min(end, match.end() + AROUND_BYTES)
        if windows and low <= windows[-1][1]:
            windows[-1] = (windows[-1][0], high)
        else:
            windows.append((low, high))
        # What follows near by is in the window; the last of it may push its end on.
        position = max(match.end(), data.rfind(data[match.start() : match.start() + 1], 0, high))
    return windows


def _plain_of_percent(block: bytes) -> bytes:
    return _PERCENT.sub(_unpercent, block)


def _unpercent(match: re.Match[bytes]) -> bytes:
    return unhexlify(match[0].replace(b"%", b""))


def _escapes(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    found: list[Decoded] = []
    for low, high in _around(_ANY_ESCAPE, data, start, end, budget):
        plain = budget.replace(_ESCAPE, _unescape, data[low:high])
        found.append(Decoded(_plain_of_simple(plain), "escapes", low, high))
    return found


def _plain_of_escapes(block: bytes) -> bytes:
    return _plain_of_simple(_ESCAPE.sub(_unescape, block))


def _plain_of_simple(text: bytes) -> bytes:
    for written, meant in _SIMPLE_ESCAPES:
        if written in text:
            text = text.replace(written, meant)
    return text


def _unescape(match: re.Match[bytes]) -> bytes:
    run = match[0]
    if b"{" in run:
        run = re.sub(rb"\\u\{([0-9A-Fa-f]+)\}", lambda m: b"\\U" + m[1].rjust(8, b"0"), run)
    text = run.decode("unicode_escape")  # no digits reach beyond the last code point
    # Two escaped surrogates are one character (RFC 8259, section 7).
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _tags(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    text = _FLAGS.sub("", data[start:end].decode("utf-8", "ignore"))
    runs = [_untag(run[0]) for run in _TAGS.finditer(text) if budget.call()]
    return [Decoded("\n".join(runs).encode(), "tags", start, end)] if runs else []


def _untag(run: str) -> str:
    return "".join(chr(ord(character) - 0xE0000) for character in run)


def _base64(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    """From each group of letters that can only be text on, as far as its run goes on as text."""
    found: list[Decoded] = []
    position = stop = start
    while (match := _BASE64.search(data, position, end)) and budget.call():
        if match.end() > stop:
            rest = _REST_OF_RUN.match(data, match.end(), match.end() + MAX_RUN_BYTES)
            stop = rest.end() if rest else match.end()
        plain, position = _text_from(data, match.start(), match.end(), stop, _from_base64)
        found.append(Decoded(plain, "base64", match.start(), position))
    return found


def _text_from(
    data: bytes, start: int, end: int, stop: int, decoder: Callable[[bytes], bytes]
) -> tuple[bytes, int]:
    """The longest reading of a run that is text, from a stretch of whole groups that is.

    What was read as text from the wrong letter on ends soon, and hides nothing after it.
    """
    plain = decoder(data[start:end])
    size, made = end - start, len(plain)
    step = size
    while end < stop:
        step *= 8  # so that all that is tried costs little more than the last of it
        longer = decoder(data[start : min(stop, start + step)])
        if not _reads(longer):
            text = _TEXT.match(longer)
            if text and text.end() > len(plain):
                plain, end = text[0], max(end, start + text.end() // made * size)
            break
        plain, end = longer, min(stop, start + step)
    return plain, end


def _long_run(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    """Text that is not ASCII has no groups to know it by: a run is decoded whole."""
    found: list[Decoded] = []
    position = start
    letters = data[start:end].translate(_IN_RUN)  # a search for one letter, forty times over
    while (at := letters.find(_FORTY, position - start)) >= 0 and budget.call():
        match = _LONG_RUN.search(data, start + at, end)
        if match is None:
            break
        position = match.end()
        for view, plain in _on_one_line(match[0]):
            if _reads(plain):
                found.append(Decoded(plain, view, match.start(), position))
                break
        else:
            if match[0].islower() or _BASE64.match(match[0]):
                continue  # neither mixed as base64 is, nor left to this cue
            rest = _REST_OF_RUN.match(data, position, position + MAX_RUN_BYTES)
            position = rest.end() if rest else position
            plain = _from_base64(data[match.start() : position])
            if _reads(plain):
                found.append(Decoded(plain, "base64", match.start(), position))
    return found


def _on_one_line(run: bytes) -> Iterator[tuple[str, bytes]]:
    """What a run says in hex and in base32, where it has their letters alone."""
    if not run.strip(_HEX_DIGITS) and not _HEX.match(run):
        yield "hex", _from_hex(run)
    if not run.strip(_LOWER_BASE32) or (not run.strip(_UPPER_BASE32) and not _BASE32.match(run)):
        yield "base32", _from_base32(run)


def _from_base64(token: bytes) -> bytes:
    token = token.translate(None, b"\r\n")
    if len(token) % 4 == 1:
        token = token[:-1]
    try:
        return a2b_base64(token.translate(_STANDARD) + b"=" * (-len(token) % 4))
    except Base64Error:
        return b""


def _hex(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    found: list[Decoded] = []
    position = stop = start
    while (match := _HEX.search(data, position, end)) and budget.call():
        if match.end() > stop:
            rest = _REST_OF_HEX.match(data, match.end(), match.end() + MAX_RUN_BYTES)
            stop = rest.end() if rest else match.end()
        plain, position = _text_from(data, match.start(), match.end(), stop, _from_hex)
        found.append(Decoded(plain, "hex", match.start(), position))
    return found


def _from_hex(run: bytes) -> bytes:
    return unhexlify(run[: len(run) // 2 * 2])


def _separated_hex(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    found = []
    for match in _SEPARATED_HEX.finditer(data, start, end):
        plain = unhexlify(match[0].replace(b"0x", b"").translate(None, b" :,-"))
        if budget.call() and _reads(plain):
            found.append(Decoded(plain, "hex", match.start(), match.end()))
    return found


def _base32(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    found = []
    for match in _BASE32.finditer(data, start, end):
        plain = _from_base32(match[0])
        budget.spent = budget.spent or len(match[0]) > MAX_BASE32_BYTES
        if budget.call() and _reads(plain):
            found.append(Decoded(plain, "base32", match.start(), match.end()))
    return found


def _from_base32(run: bytes) -> bytes:
    token = run[:MAX_BASE32_BYTES].upper()
    try:
        return b32decode(token + b"=" * (-len(token) % 8))
    except Base64Error:
        return b32decode(token[: len(token) // 8 * 8])


def _plain_of_entities(block: bytes) -> bytes:
    import html  # here, since its table of names is large

    text = block.decode("utf-8", "replace")
    for _ in range(ENTITY_ROUNDS):
        plain = html.unescape(text)
        if plain == text:
            break
        text = plain
    return text.encode("utf-8", "replace")


def _plain_of_quoted_printable(block: bytes) -> bytes:
    return a2b_qp(block)


def _selectors(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    """Bytes written as variation selectors: the first sixteen, and the rest."""
    found: list[Decoded] = []
    text = data[start:end].decode("utf-8", "ignore")
    for run in _SELECTORS.finditer(text):
        codes = (ord(character) for character in run[0])
        plain = bytes(c - 0xFE00 if c < 0xFF00 else c - 0xE0100 + 16 for c in codes)
        if budget.call() and _reads(plain):
            found.append(Decoded(plain, "selectors", start, end))
    return found


def _bits(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    """Bits written as two invisible characters, eight to a byte."""
    found: list[Decoded] = []
    text = data[start:end].decode("utf-8", "ignore")
    for run in _BITS.finditer(text):
        for one in set(run[0]):
            bits = "".join("1" if character == one else "0" for character in run[0])
            whole = len(bits) // 8
            plain = int(bits[: whole * 8], 2).to_bytes(whole, "big")
            if budget.call() and _reads(plain):
                found.append(Decoded(plain, "bits", start, end))
    return found


def _labels(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    """The labels of a name with nothing between: what is sent out by asking for a host.

    Read with and without its last ones, which are the host's own and would spoil an encoding.
    """
    found: list[Decoded] = []
    for match in _LABELS.finditer(data, start, end):
        labels = match[1].split(b".")
        for own in range(min(len(labels), HOST_LABELS + 1)):
            if budget.call():
                plain = b"".join(labels[: len(labels) - own])
                found.append(Decoded(plain, "labels", match.start(1), match.end()))
    return found


def _overridden(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    """What stands between an override to the left and its end, as a reader sees it (UAX 9)."""
    found: list[Decoded] = []
    for match in _OVERRIDDEN.finditer(data, start, end):
        if not budget.call():
            break
        plain = _BIDI.sub(b"", match[0])
        found.append(Decoded(spellings.reverse(plain), "reversed", match.start(), match.end()))
    return found


def _compressed(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    found: list[Decoded] = []
    position = start
    while (match := _COMPRESSED.search(data, position, end)) and budget.call():
        rest = _REST_OF_RUN.match(data, match.end(), match.end() + MAX_RUN_BYTES)
        position = rest.end() if rest else match.end()
        plain = _inflated(_from_base64(data[match.start() : position]), budget)
        if _reads(plain):
            found.append(Decoded(plain, "base64>compressed", match.start(), position))
    return found


def _inflated(packed: bytes, budget: Budget) -> bytes:
    """What gzip or zlib packed, as far as it goes and is not too much (RFC 1950, RFC 1952)."""
    import zlib

    unpacker = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # either header
    try:
        plain = unpacker.decompress(packed, MAX_INFLATED_BYTES)
    except zlib.error:
        return b""
    budget.spent = budget.spent or bool(unpacker.unconsumed_tail)
    return plain


def _respelt(view: str, readers: Sequence[Callable[[bytes], bytes]]) -> _Decoder:
    """A decoder of a whole stretch in which a watched word stands in another spelling."""

    def decoder(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
        texts = (reader(data[start:end]) for reader in readers if start < end and budget.call())
        return [Decoded(text, view, start, end) for text in texts]

    return decoder


# Readings that keep what stands around: the way back is found by reading heads of the text.
_PIECEWISE: dict[str, Callable[[bytes], bytes]] = {
    "percent": _plain_of_percent,
    "escapes": _plain_of_escapes,
    "entities": _plain_of_entities,
    "quoted-printable": _plain_of_quoted_printable,
    "rot13": spellings.rot13,
    "leet": spellings.unleet,
}


def _nothing(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    return []


_DECODERS: dict[Cue, _Decoder] = {
    Cue.PERCENT: _percent,
    Cue.TAGS: _tags,
    Cue.BASE64: _base64,
    Cue.HEX: _hex,
    Cue.BASE32: _base32,
    Cue.LONG_RUN: _long_run,
    Cue.SEPARATED_HEX: _separated_hex,
    Cue.ENTITY: _windowed("entities", Cue.ENTITY, _plain_of_entities),
    Cue.QUOTED_PRINTABLE: _windowed(
        "quoted-printable", Cue.QUOTED_PRINTABLE, _plain_of_quoted_printable
    ),
    Cue.SELECTORS: _selectors,
    Cue.BITS: _bits,
    Cue.LABELS: _labels,
    Cue.COMPRESSED: _compressed,
    Cue.TURNED: _respelt("rot13", [spellings.rot13]),
    Cue.REVERSED: _respelt("reversed", [spellings.reverse]),
    Cue.LEET: _respelt("leet", [spellings.unleet, spellings.unleet_l]),
    Cue.SPACED: _windowed("spelled", Cue.SPACED, spellings.unspell),
    Cue.OVERRIDDEN: _overridden,
}


def _reads(plain: bytes) -> bool:
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
