"""Readings of a text: folded, squeezed, decoded. Knows Unicode and encodings, and no rules.

Everything works on UTF-8 bytes, and a view that cannot differ from its text costs one quick
question. Cost is linear in the text for any input: what is replaced by a Python call is
counted against a budget, and going over it is told, never passed over in silence.

Sources: Unicode UAX 15 (compatibility forms), UTS 39 (look-alikes), UAX 9 and 31 (invisible
characters), RFC 3986 section 2.1 (percent), RFC 4648 (base64, base32, hex), RFC 8259
section 7 (escapes).
"""

from __future__ import annotations

import re
import unicodedata
from base64 import b32decode
from binascii import Error as Base64Error
from binascii import a2b_base64, unhexlify
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum

BLOCK = 4096  # bytes folded at a time: a block of plain ASCII is passed over
MIN_TEXT_BYTES = 8  # decoded: what is shorter says nothing
AROUND_BYTES = 384  # of plain text on either side of something encoded that are read with it
MAX_CALLS = 40_000  # replacements and decodings made by Python calls in one text, about 30 ms
MAX_DECODED_BYTES = 4 * 2**20  # of all decoded readings of one text
MAX_RUN_BYTES = 2**20  # of one encoded run
MAX_BASE32_BYTES = 2**15  # of one run: this decoder is slow
MIN_PRINTABLE = 0.9  # of decoded bytes, or it is noise: images, digests, identifiers


Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Decoded:
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

    def admits(self, data: bytes) -> bool:
        """Take these decoded bytes into account; False where they are too many."""
        if len(data) > self.decoded_bytes:
            self.spent = True
            return False
        self.decoded_bytes -= len(data)
        return True


# --- folded -----------------------------------------------------------------------------

_INVISIBLE_RANGES = (
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5),
    (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x2800, 0x2800),
    (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB),
    (0x0300, 0x036F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE20, 0xFE2F),
)  # fmt: skip
_ASTRAL_INVISIBLE = re.compile("[\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+")
# UTS 39 look-alikes that NFKC leaves alone: Cyrillic, Greek, Armenian, Cherokee, Latin.
_LOOK_ALIKES = (
    "аaеeоoрpсcуyхxіiјjѕsԁdһhԛqԝwӏlАAВBЕEКKМMНHОOРPСCТTХXІIЈJЅS"
    "αaοoρpνvιiκkυuχxϲcγyΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧX"
    "օoսuոnհhզqցgաwᎠDᎡRᎢTᎪAᎬEᎳWᎻHᎷMᏚSᏟCᏢPᏙV"
    "ıiɡgɑaɩiᴀaʙbᴄcᴅdᴇeꜰfɢgʜhɪiᴊjᴋkʟlᴍmɴnᴏoᴘpʀrꜱsᴛtᴜuᴠvᴡwʏyᴢzøoØOłlŁLđdĐD"
    '‐-‑-‒-–-—-―-−-‘\'’\'‚\'“"”"„"«"»"⁄/∕/\u2028\n\u2029\n\u0085\n\u1680 。.'
)


def _fold_table() -> list[int | str | None]:
    table: list[int | str | None] = list(range(0x10000))
    for first, last in _INVISIBLE_RANGES:
        table[first : last + 1] = [None] * (last + 1 - first)
    for first, last in ((0x00C0, 0x0250), (0x1E00, 0x1F00)):
        for code in range(first, last):
            base = unicodedata.normalize("NFD", chr(code))[0]
            if base.isascii():
                table[code] = base
    for index in range(0, len(_LOOK_ALIKES), 2):
        table[ord(_LOOK_ALIKES[index])] = _LOOK_ALIKES[index + 1]
    return table


_ASCII = bytes(range(128))
_TYPOGRAPHY = frozenset("‘’“”„«»–—…•·°©®™§€£×→←✓")
_FEW = 60  # distinct characters: below, as many `replace` calls beat one `translate`
_folds: list[int | str | None] = []


def fold(data: bytes) -> tuple[bytes, list[Range]]:
    """Compatibility forms, look-alikes, accents and invisible characters to plain letters.

    Case is kept: rules that do not care for it say so.

    Returns:
        The folded text, and the ranges of it that differ; none where nothing does.
    """
    if data.isascii():
        return data, []
    if not _folds:
        _folds.extend(_fold_table())
    blocks: list[bytes] = []
    changed: list[Range] = []
    start = length = 0
    while start < len(data):
        end = _boundary(data, start + BLOCK)
        block = data[start:end]
        folded = block if block.isascii() else _fold_block(block)
        if folded != block:
            if changed and changed[-1][1] == length:
                changed[-1] = (changed[-1][0], length + len(folded))
            else:
                changed.append((length, length + len(folded)))
        blocks.append(folded)
        start, length = end, length + len(folded)
    return b"".join(blocks), changed


def _boundary(data: bytes, end: int) -> int:
    """The next place from `end` on that does not cut a character."""
    while end < len(data) and data[end] & 0xC0 == 0x80:
        end += 1
    return min(end, len(data))


def _fold_block(block: bytes) -> bytes:
    foreign = set(block.translate(None, _ASCII).decode("utf-8", "replace"))
    if foreign <= _TYPOGRAPHY:
        return block  # rules know curly quotes, and no word hides behind a dash
    text = unicodedata.normalize("NFKC", block.decode("utf-8", "replace"))
    if text.isascii():
        return text.encode()
    distinct = [character for character in set(text) if character > "\x7f"]
    if max(distinct) > "\uffff":
        text = _ASTRAL_INVISIBLE.sub("", text)
    folding = [c for c in distinct if c <= "\uffff" and _folds[ord(c)] != ord(c)]
    if len(folding) <= _FEW:
        for character in folding:
            text = text.replace(character, str(_folds[ord(character)] or ""))
    else:
        text = text.translate(_folds)  # what lies beyond the table stays as it is
    return text.encode("utf-8", "replace")


# --- squeezed ---------------------------------------------------------------------------

_BETWEEN_SECRETS = b" \t\r\n\"'`,;|\\"
_BETWEEN_WORDS = bytes(code for code in range(128) if not chr(code).isalnum())


def squeeze(data: bytes, *, words: bool) -> bytes:
    """Take away what separates: all but letters and digits for words, else white space."""
    return data.translate(None, _BETWEEN_WORDS if words else _BETWEEN_SECRETS)


def unsqueezed(data: bytes, start: int, end: int, *, words: bool) -> tuple[int, int]:
    """Where a stretch of the squeezed text stands in the text itself."""
    between = _BETWEEN_WORDS if words else _BETWEEN_SECRETS
    return _nth_kept(data, between, start), _nth_kept(data, between, end - 1) + 1


def _nth_kept(data: bytes, between: bytes, count: int) -> int:
    position = 0
    while position < len(data):
        kept = len(data[position : position + BLOCK].translate(None, between))
        if kept > count:
            break
        count -= kept
        position += BLOCK
    for offset in range(position, len(data)):
        if data[offset] not in between:
            if count == 0:
                return offset
            count -= 1
    return len(data) - 1


# --- decoded ----------------------------------------------------------------------------
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
    UNDERSCORED = 11


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
CUES: dict[Cue, str] = {
    Cue.PERCENT: "%[0-9A-Fa-f]{2}",
    Cue.ESCAPE: r"\\(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|U000[0-9A-Fa-f]{5}|u\{[0-9A-Fa-f]{1,5}\})",
    Cue.SIMPLE_ESCAPE: r'\\[nrt"\\/]',
    Cue.TAGS: "\\xf3\\xa0[\\x80\\x81]",
    Cue.BASE64: f"(?:{_B64_GROUP}){{4}}",
    Cue.HEX: "(?:[2-7][0-9A-Fa-f]){8}",
    Cue.BASE32: f"(?:{_B32_GROUP}){{2}}",
    Cue.LONG_RUN: "[A-Za-z0-9+/_-]{40}",
    Cue.SEPARATED_HEX: "(?:(?:0x)?[2-7][0-9A-Fa-f][ :,-]{1,2}){7}(?:0x)?[2-7]",
    Cue.SPACED: r"[^A-Za-z0-9](?:[A-Za-z0-9][ ._*|,/-]){5}",
    Cue.RUN_TOGETHER: "[A-Za-z]{20}",
    Cue.UNDERSCORED: "[A-Za-z]{2}[_.*|-][A-Za-z]{2,16}[_.*|-][A-Za-z]{2}",
}
# Of these the squeezed reading may say something.
SQUEEZED_CUES = (Cue.SPACED, Cue.RUN_TOGETHER, Cue.UNDERSCORED)

_PERCENT = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
_ESCAPE = re.compile(b"(?:" + CUES[Cue.ESCAPE].encode() + b")+")
_ANY_ESCAPE = re.compile(rb'(?:\\[nrt"\\/xuU][^\\]{0,80})+')
_SIMPLE_ESCAPES = (
    (b"\\\\", b"\\"), (b"\\n", b"\n"), (b"\\r", b"\r"), (b"\\t", b"\t"), (b'\\"', b'"'),
    (b"\\/", b"/"),
)  # fmt: skip
_TAGS = re.compile("[\U000e0020-\U000e007e]{2,}")
_FLAGS = re.compile("\U0001f3f4[\U000e0061-\U000e007a]{2,8}\U000e007f")
_BASE64 = re.compile(CUES[Cue.BASE64].encode())
_HEX = re.compile(rb"(?:[2-7][0-9A-Fa-f]|0[9AaDd]){8,}")
_BASE32 = re.compile(CUES[Cue.BASE32].encode() + rb"[A-Z2-7]*")
_LOWER_BASE32 = re.compile(rb"[a-z2-7]{40,}\Z")
_LONG_RUN = re.compile(rb"[A-Za-z0-9+/_-]{40,}")
_REST_OF_RUN = re.compile(rb"[A-Za-z0-9+/_-]*+(?:\r?\n[A-Za-z0-9+/_-]{4,}+)*+")
_SEPARATED_HEX = re.compile(rb"(?:(?:0x)?[0-9A-Fa-f]{2}[ :,-]{1,2}){7,2000}(?:0x)?[0-9A-Fa-f]{2}")
_STANDARD = bytes.maketrans(b"-_", b"+/")  # RFC 4648, section 5: the URL-safe alphabet
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\r\n"


def decode(data: bytes, cued: dict[Cue, list[Range]], budget: Budget) -> list[Decoded]:
    """Each stretch of the text that decodes to something readable, one level deep.

    Args:
        data: the text.
        cued: for each cue that was seen, the ranges of bytes to look into, in order.
        budget: what it may cost; shared by all levels of one message.
    """
    found: list[Decoded] = []
    escapes = sorted({*cued.pop(Cue.ESCAPE, ()), *cued.pop(Cue.SIMPLE_ESCAPE, ())})
    for start, end in escapes:
        found += _escapes(data, start, end, budget)
    for cue, ranges in cued.items():
        decoder = _DECODERS.get(cue, _nothing)
        for start, end in ranges:
            found += decoder(data, start, end, budget)
    return [
        item if item.data.isascii() else replace(item, data=_valid(item.data))
        for item in found
        if budget.admits(item.data)
    ]


def _valid(data: bytes) -> bytes:
    return data.decode("utf-8", "replace").encode("utf-8")


def origin(part: Decoded, data: bytes, start: int, end: int) -> Range:
    """Where a stretch of something decoded stands in the text that it was decoded from."""
    if part.view not in _PIECEWISE:
        return part.start, part.end
    return tuple(  # type: ignore[return-value]  # two in, two out
        part.start + _source_of(part.view, data[part.start : part.end], offset)
        for offset in (start, end)
    )


def _source_of(view: str, block: bytes, offset: int) -> int:
    """The shortest head of a block whose reading is as long as `offset`."""
    low, high = 0, len(block)
    while low < high:
        middle = (low + high) // 2
        if len(_PIECEWISE[view](block[:middle])) < offset:
            low = middle + 1
        else:
            high = middle
    return low


def _percent(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    return [
        Decoded(_plain_of_percent(data[low:high]), "percent", low, high)
        for low, high in _around(_PERCENT, data, start, end, budget)
    ]


def _around(
    pattern: re.Pattern[bytes], data: bytes, start: int, end: int, budget: Budget
) -> list[Range]:
    """The stretches that hold a pattern, with what stands around, neighbours joined."""
    windows: list[Range] = []
    for match in pattern.finditer(data, start, end):
        if not budget.call():
            break
        low = max(start, match.start() - AROUND_BYTES)
        high = min(end, match.end() + AROUND_BYTES)
        if windows and low <= windows[-1][1]:
            windows[-1] = (windows[-1][0], high)
        else:
            windows.append((low, high))
    return windows


def _plain_of_percent(block: bytes) -> bytes:
    return _PERCENT.sub(_unpercent, block)


def _unpercent(match: re.Match[bytes]) -> bytes:
    return unhexlify(match[0].replace(b"%", b""))


def _escapes(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    return [
        Decoded(_plain_of_escapes(data[low:high]), "escapes", low, high)
        for low, high in _around(_ANY_ESCAPE, data, start, end, budget)
    ]


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
    try:
        text = run.decode("unicode_escape")
    except UnicodeDecodeError:  # beyond the last code point
        return match[0]
    # Two escaped surrogates are one character (RFC 8259, section 7).
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _tags(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    text = _FLAGS.sub("", data[start:end].decode("utf-8", "ignore"))
    runs = [_untag(run[0]) for run in _TAGS.finditer(text) if budget.call()]
    return [Decoded("\n".join(runs).encode(), "tags", start, end)] if runs else []


def _untag(run: str) -> str:
    return "".join(chr(ord(character) - 0xE0000) for character in run)


def _base64(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    """From each group of letters that can only be text on to the end of its run."""
    found: list[Decoded] = []
    position = start
    while (match := _BASE64.search(data, position, end)) and budget.call():
        stop = _REST_OF_RUN.match(data, match.end(), match.end() + MAX_RUN_BYTES)
        position = stop.end() if stop else match.end()
        plain = _from_base64(data[match.start() : position].translate(None, b"\r\n"))
        if _reads(plain) or _reads(plain := plain[: len(match[0]) * 3 // 4]):
            found.append(Decoded(plain, "base64", match.start(), position))
    return found


def _long_run(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    """Base64 of text that is not ASCII: decoded whole, kept where it is valid UTF-8."""
    found: list[Decoded] = []
    position = start
    while (match := _LONG_RUN.search(data, position, end)) and budget.call():
        stop = _REST_OF_RUN.match(data, match.end(), match.end() + MAX_RUN_BYTES)
        position = stop.end() if stop else match.end()
        run = data[match.start() : position]
        if not run.islower() and not _BASE64.search(run[:64]):
            plain = _from_base64(run.translate(None, b"\r\n"))
            if _reads(plain):
                found.append(Decoded(plain, "base64", match.start(), position))
        elif _LOWER_BASE32.match(run):
            plain = _from_base32(run)
            if _reads(plain):
                found.append(Decoded(plain, "base32", match.start(), position))
    return found


def _from_base64(token: bytes) -> bytes:
    if len(token) % 4 == 1:
        token = token[:-1]
    try:
        return a2b_base64(token.translate(_STANDARD) + b"=" * (-len(token) % 4))
    except Base64Error:
        return b""


def _hex(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    return [
        Decoded(unhexlify(match[0]), "hex", match.start(), match.end())
        for match in _HEX.finditer(data, start, end)
        if budget.call()
    ]


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
        if budget.call() and _reads(plain):
            found.append(Decoded(plain, "base32", match.start(), match.end()))
    return found


def _from_base32(run: bytes) -> bytes:
    token = run[:MAX_BASE32_BYTES].upper()
    try:
        return b32decode(token + b"=" * (-len(token) % 8))
    except Base64Error:
        return b32decode(token[: len(token) // 8 * 8])


# Readings that keep what stands around: the way back is found by reading heads of the text.
_PIECEWISE: dict[str, Callable[[bytes], bytes]] = {
    "percent": _plain_of_percent,
    "escapes": _plain_of_escapes,
}


def _nothing(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    return []


_DECODERS: dict[Cue, Callable[[bytes, int, int, Budget], list[Decoded]]] = {
    Cue.PERCENT: _percent,
    Cue.TAGS: _tags,
    Cue.BASE64: _base64,
    Cue.HEX: _hex,
    Cue.BASE32: _base32,
    Cue.LONG_RUN: _long_run,
    Cue.SEPARATED_HEX: _separated_hex,
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
