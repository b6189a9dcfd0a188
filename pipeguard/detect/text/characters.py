"""Texts written as numbers of characters, in invisible characters, or right to left.

Sources: Unicode UAX 9 (direction), UTS 51 (flags), block E0000 (tags).
"""

import re
from binascii import unhexlify
from collections.abc import Iterator

from pipeguard.detect.text import escapes, word_disguises
from pipeguard.detect.text.encoding import Decoded, Encoding, is_readable, legible, mark
from pipeguard.firewall.budgets import DecodingBudget
from pipeguard.firewall.lazy_regex import lazy_regex

FEWEST_CODES = 8  # in a row
_CODE = "(?:3[2-9]|[4-9][0-9]|1[01][0-9]|12[0-6])"  # the number of a printable character
_OCTAL = "(?:0[oO]?)?(?:[4-7]|1[0-7])[0-7]"  # the same, with or without its zeros
_BETWEEN = rb"[^0-9A-Za-z]{1,6}+(?:(?!U[+])[A-Za-z_.]{1,16}+[^0-9A-Za-z]{1,4}+)?"  # `65) + chr(75`
_BINARY = lazy_regex(rb"[01]{6,8}")
_FAR = b" " * 32  # more than is between two numbers of a row
_DIGITS = bytes(
    code if code in b"U+" else 0x61 if code in b"0123456789" else 0x20 for code in range(256)
)
_BITS = mark(b"01")


# A row of numbers, a translation of digits to one letter, and the letters that each then has.
_Row = tuple[re.Pattern[bytes], bytes, bytes]


def _row(number: bytes) -> re.Pattern[bytes]:
    return lazy_regex(b"(?>%s(?:%s|(?![0-9A-Za-z]))){%d,4000}" % (number, _BETWEEN, FEWEST_CODES))


# For each base: a single number, and how a row is found.
_NUMBER = lazy_regex(rb"[0-9]{2,}")
_OCTAL_NUMBER = lazy_regex(rb"(?:0[oO])?([0-7]+)")
_HEX_NUMBER = lazy_regex(rb"(?<=[+])[0-9A-Fa-f]+")
_ROWS = (
    (10, _NUMBER, (_row(rb"0{0,3}%s(?:\.00?)?" % _CODE.encode()), _DIGITS, b"aa")),
    (8, _OCTAL_NUMBER, (_row(_OCTAL.encode()), _DIGITS, b"aa")),
    (2, _BINARY, (_row(b"(?:0b)?0{0,2}1[01]{5,6}"), _BITS, b"aaaaaa")),
    (16, _HEX_NUMBER, (_row(b"U[+]00[2-7][0-9A-Fa-f]"), _DIGITS, b"U+aa")),
    (2, _BINARY, (lazy_regex(rb"(?:0[01]{7}){8,4000}"), _BITS, b"aaaaaaaa")),
)
# The bytes of a private key in decimal: a sequence, its size, and a version or another sequence.
_APART = "[^0-9A-Za-z]{1,3}"
_KEY_SIGN = (
    f"48{_APART}(?:130{_APART}[0-9]{{1,3}}{_APART}[0-9]{{1,3}}|129{_APART}[0-9]{{3}}|"
    f"[4-9][0-9]|1[01][0-9]){_APART}(?:2{_APART}1|48){_APART}[0-9]"
)
_KEY_BYTES = lazy_regex(rb"48(?<![0-9]48)(?>[^0-9A-Za-z]{1,4}[12]?[0-9]{1,2}(?![0-9])){40,4000}")
# A line of a dump, as `xxd` and `hexdump -C` write it: an offset, and bytes in ones or pairs.
_OFFSET = "[0-9A-Fa-f]{4,7}0:?[ \\t]{1,2}"
_DUMP_LINE = lazy_regex(
    rb"(?<![0-9A-Za-z])%s((?:(?:[0-9A-Fa-f]{2}){1,2}[ \t]{1,2}){0,15}"
    rb"(?:[0-9A-Fa-f]{2}){1,2})(?![0-9A-Za-z])" % _OFFSET.encode()
)
DUMP_LINE_BYTES = 16
_TAGS = lazy_regex("[\U000e0020-\U000e007e]{2,}")
_FLAGS = lazy_regex("\U0001f3f4[\U000e0061-\U000e007a]{2,8}\U000e007f")
_SELECTORS = lazy_regex("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
_INVISIBLE_BITS = lazy_regex(
    "[\u2062\u2064]{64,}|[\u200b\u200c]{64,}|[\u200c\u200d]{64,}|[\u200b\u200d]{64,}"
)
_OVERRIDDEN = lazy_regex(rb"\xe2\x80\xae[^\n]*?(?:\xe2\x80\xac|\n|\Z)")
_BIDI = lazy_regex(rb"\xd8\x9c|\xe2\x80[\x8e\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]")


def _codes(data: bytes, start: int, end: int, budget: DecodingBudget) -> Iterator[Decoded]:
    """Decode numbers of characters in a row, bare or each in a call."""
    for base, number, row in _ROWS:
        for match in _find_rows(row, data, start, end):
            if not budget.call():
                return
            codes = (int(digits, base) for digits in number.findall(match[0]))
            plain = bytes(code for code in codes if code < 0x80)
            yield Decoded(plain, "codes", match.start(), match.end())
    for match in _KEY_BYTES.finditer(data, start, end):
        key = bytes(int(digits) & 0xFF for digits in re.findall(rb"[0-9]+", match[0]))
        if budget.call() and (text := legible(key)):
            yield Decoded(text, "codes", match.start(), match.end())


def _find_rows(row: _Row, data: bytes, start: int, end: int) -> Iterator[re.Match[bytes]]:
    """Find the rows, if enough numbers for one are near each other."""
    pattern, kinds, unit = row
    for part in data[start:end].translate(kinds).split(_FAR):
        stop = start + len(part) + len(_FAR)
        if part.count(unit) >= FEWEST_CODES:
            yield from pattern.finditer(data, start, min(end, stop))
        start = stop


def _decode_dump(data: bytes, start: int, end: int, budget: DecodingBudget) -> list[Decoded]:
    """Decode the lines of a dump, without its offsets and letters."""
    lines = [*_DUMP_LINE.finditer(data, start, end)]
    if not lines or not budget.call(len(lines)):
        return []
    digits = (line[1].translate(None, b" \t")[: 2 * DUMP_LINE_BYTES] for line in lines)
    plain = legible(unhexlify(b"".join(digits)))
    return [Decoded(plain, "hex", lines[0].start(), lines[-1].end())] if plain else []


def _tags(data: bytes, start: int, end: int, budget: DecodingBudget) -> list[Decoded]:
    text = _FLAGS.sub("", data[start:end].decode("utf-8", "ignore"))
    runs = (run[0] for run in _TAGS.finditer(text) if budget.call())
    lines = ["".join(chr(ord(character) - 0xE0000) for character in run) for run in runs]
    return [Decoded("\n".join(lines).encode(), "tags", start, end)] if lines else []


def _selectors(data: bytes, start: int, end: int, budget: DecodingBudget) -> Iterator[Decoded]:
    """Decode bytes written as variation selectors, 1 to 16 and the supplement."""
    for run in _SELECTORS.finditer(data[start:end].decode("utf-8", "ignore")):
        codes = map(ord, run[0])
        plain = bytes(c - 0xFE00 if c < 0xFF00 else c - 0xE0100 + 16 for c in codes)
        if budget.call() and is_readable(plain):
            yield Decoded(plain, "selectors", start, end)


def _bits(data: bytes, start: int, end: int, budget: DecodingBudget) -> Iterator[Decoded]:
    """Decode bits written as two invisible characters, eight to a byte."""
    for run in _INVISIBLE_BITS.finditer(data[start:end].decode("utf-8", "ignore")):
        for set_bit in set(run[0]):
            bits = "".join("1" if character == set_bit else "0" for character in run[0])
            whole = len(bits) // 8
            plain = int(bits[: whole * 8], 2).to_bytes(whole, "big")
            if budget.call() and is_readable(plain):
                yield Decoded(plain, "bits", start, end)


def _decode_overridden(
    data: bytes, start: int, end: int, budget: DecodingBudget
) -> Iterator[Decoded]:
    """Decode text after a right-to-left override as it is displayed (UAX 9)."""
    for match in _OVERRIDDEN.finditer(data, start, end):
        if not budget.call():
            break
        yield Decoded(
            word_disguises.reverse(_BIDI.sub(b"", match[0])), "reversed", match.start(), match.end()
        )


_CODES_SIGN = (
    f"(?:{_CODE}(?:\\.00?)?[^0-9A-Za-z]{{1,3}}){{5}}|(?i:chr?|char)[(]{_CODE}[)]|"
    f"[(]byte[)] ?{_CODE}|0b[01]{{6}}|(?:0?1[01]{{6}}[^0-9A-Za-z]{{1,3}}){{3}}|"
    f"(?:{escapes.OCTAL}[^0-9A-Za-z]){{5}}|(?:{_OCTAL}[^0-9A-Za-z]{{1,4}}){{8}}|"
    f"(?:0[01]{{7}}[^0-9A-Za-z]?){{3}}|U[+]00[2-7][0-9A-Fa-f]|{_KEY_SIGN}"
)
_DUMP_SIGN = f"{_OFFSET}(?:(?:[2-7][0-9A-Fa-f]){{1,2}}[ \\t]{{1,2}}){{4}}|{_OFFSET}30 ?[2-8]"
ENCODINGS = {
    "codes": Encoding(_CODES_SIGN, _codes),
    "dump": Encoding(_DUMP_SIGN, _decode_dump, is_opaque=True),
    "tags": Encoding("\\xf3\\xa0[\\x80\\x81]", _tags, is_invisible=True),
    "selectors": Encoding(
        "\\xf3\\xa0[\\x84-\\x87]|(?:\\xef\\xb8[\\x80-\\x8f]){4}", _selectors, is_invisible=True
    ),
    "bits": Encoding(
        "(?:\\xe2\\x81[\\xa2\\xa4]){8}|(?:\\xe2\\x80[\\x8b-\\x8d]){8}", _bits, is_invisible=True
    ),
    "overridden": Encoding("\\xe2\\x80\\xae", _decode_overridden),
}
