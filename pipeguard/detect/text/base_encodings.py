"""Bytes written as letters: base64, base32, uuencode, hex; also compressed or UTF-16 text.

A *run* is a row of letters of one such alphabet. The cost is linear in the text for any input.
Sources: RFC 4648 (base64, base32, hex), POSIX `uuencode`, RFC 1950 and RFC 1952 (zlib, gzip).
"""

from __future__ import annotations

import re
from base64 import b32decode
from binascii import Error as Base64Error
from binascii import a2b_base64, unhexlify
from collections.abc import Callable, Iterator
from itertools import chain

from pipeguard.detect.text import encoding
from pipeguard.detect.text.encoding import (
    LEAST_RUN,
    Decoded,
    Decoder,
    Encoding,
    is_readable,
    legible,
    mark,
    search_in_runs,
)
from pipeguard.firewall.budgets import DecodingBudget
from pipeguard.firewall.lazy_regex import lazy_regex

MAX_RUN_BYTES = 2**20  # of one encoded run
MAX_INFLATED_BYTES = 2**20  # of one compressed run
HEAD_BYTES = 4096  # of a compressed run, which identify it
MAX_BASE32_BYTES = 2**15  # of one run: this decoder is slow
WIDE_BEFORE_BYTES = 12  # of base64 before its sign: a byte order mark and two letters
UU_LINE_BYTES = 45  # of plain text in each line but the last
LEAST_LONG = 40  # letters of a run that may be text in another script

_BASE64_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_UPPER_BASE32 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_LOWER_BASE32 = _UPPER_BASE32.lower()
_UU_ALPHABET = b"`" + bytes(range(0x21, 0x60))
# The bytes of plain text are 0x20 to 0x7E, so each letter of its encoding is from a part of the
# alphabet (RFC 4648, sections 4 and 6). Twelve letters from these parts are hardly ever chance, and
# are found at any alignment.
_FIRST = "[I-Za-f]"
_BASE64_GROUP = rf"{_FIRST}[C-HS-Xi-ny-z0-3][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9+/_-]"
_UU_GROUP = r"[(-?][\x22-'2-7B-GR-W][\x20!$%(),\-014589<=@ADEHILMPQTUXY\\\]`][\x20-`]"
_BASE32_GROUP = (
    "[E-P][ABEFIJMNQRUVYZ45][A-Z2-7][C-HS-X][ACEGIKMOQSUWY246][I-Z2-7][BCDJKLRSTZ23][A-Z2-7]"
)
# ASCII in UTF-16, as base64 and as hex: one of each pair of bytes is zero.
_FOURTH = "[AEIMQUYcgkosw048]"
_WIDE_BASE64 = f"{_FIRST}[AQgw][AB][A-Za-z0-9+/_-]A[C-H]{_FOURTH}A"
_WIDER_BASE64 = f"{_FIRST}[AQgw]AAA"  # the same in UTF-32
_WIDE_HEX = "(?:[2-7][0-9A-Fa-f](?:00){1,3}){6}"
_WIDE_SIGN = f"(?:{_WIDE_BASE64}){{2}}|(?:{_WIDER_BASE64}[A-Za-z0-9+/_-]{{11}}){{2}}|{_WIDE_HEX}"
_COMPRESSED_SIGN = (
    "(?:H4sI|eJ[w-z0-9+/_-]|eN[o-r]|eAE|eF[4-7])[A-Za-z0-9+/_-]{20}|"
    "(?:1[Ff]8[Bb]08|78(?:01|5[Ee]|9[Cc]|[Dd][Aa]))[0-9A-Fa-f]{30}"
)
_BETWEEN_PAIRS = r"[ :,;|/\t\r\n\x22'-]{1,4}"  # of hex digits

_BASE64 = lazy_regex(f"(?:{_BASE64_GROUP}){{4}}".encode())
_HEX = lazy_regex(rb"(?:[2-7][0-9A-Fa-f]|0[9AaDd]){8}")
_REST_OF_HEX = lazy_regex(rb"[0-9A-Fa-f]*+")
_BASE32 = lazy_regex(f"(?:{_BASE32_GROUP}){{2}}[A-Z2-7]*".encode())
_COMPRESSED = lazy_regex(_COMPRESSED_SIGN.encode())
_UU = lazy_regex(f"(?:{_UU_GROUP}){{4}}".encode())
_UU_TO_BASE64 = bytes.maketrans(b" " + _UU_ALPHABET, b"A" + _BASE64_ALPHABET)
_HEX_DIGITS = b"0123456789ABCDEFabcdef"
_IN_RUN = mark(_BASE64_ALPHABET + b"_-")
_IN_BASE32 = mark(_UPPER_BASE32)
_IN_HEX = mark(_HEX_DIGITS)
_IN_UU = mark(b" " + _UU_ALPHABET)
_LONG_RUN = lazy_regex(rb"[A-Za-z0-9][A-Za-z0-9+/_-]{39,}")
_REST_OF_RUN = lazy_regex(
    rb"[A-Za-z0-9+/_-]*+(?>(?>(?:\r?\n[A-Za-z0-9+/_-]{4,}+){1,500})*)(?:\r?\n[A-Za-z0-9+/_-]{2,3}(?==))?"
)
_SEPARATED_HEX = lazy_regex(
    rb"(?:\\x[0-9A-Fa-f]{2}){8,2000}|(?:(?:0x)?[0-9A-Fa-f]{2}%s){7,2000}(?:0x)?[0-9A-Fa-f]{2}"
    % _BETWEEN_PAIRS.encode()
)
# The majority of such pairs, found in each row; faster, because no digit begins them.
_PAIRS = lazy_regex(
    rf"{_BETWEEN_PAIRS[:-5]}(?:(?:0x)?[\dA-Fa-f]{{2}}{_BETWEEN_PAIRS}){{6}}".encode()
)
_PAIR_SEPARATORS = b" :,;|/\t\r\n\"'-"
_IN_PAIRS = mark(_HEX_DIGITS + _PAIR_SEPARATORS + rb"\x")
_GROUPS_BEFORE = lazy_regex(rb"(?:[A-Za-z0-9+/_-]{4})+\Z")
_WIDE = lazy_regex(_WIDE_SIGN.encode())
_STANDARD = bytes.maketrans(b"-_", b"+/")  # RFC 4648, section 5: the URL-safe alphabet
_TEXT = lazy_regex(rb"[ -~\t\r\n]*")


def _decode_runs(pattern: re.Pattern[bytes], kinds: bytes, form: _Form) -> Decoder:
    """Make a decoder from letters that can only be text on, as far as the run decodes to text."""
    view, rest, decoder = form

    def decode(data: bytes, start: int, end: int, budget: DecodingBudget) -> Iterator[Decoded]:
        search = search_in_runs(pattern, data, (start, end), kinds)
        stop = position = start
        while (match := search(position)) and budget.call():
            if match.end() > stop:
                stop = _end_of_run(rest, data, match.end())
            plain, position = _decode_text(data, match.start(), match.end(), stop, decoder)
            yield Decoded(plain, view, match.start(), position)

    return decode


def _end_of_run(
    rest: re.Pattern[bytes], data: bytes, at: int, max_bytes: int = MAX_RUN_BYTES
) -> int:
    """Find the end of a run that continues at a byte; of base64, also over line ends."""
    match = rest.match(data, at, at + max_bytes)
    return match.end() if match else at


def _decode_text(
    data: bytes, start: int, end: int, stop: int, decoder: Callable[[bytes], bytes]
) -> tuple[bytes, int]:
    """Decode as much of a run as is text.

    Letters decoded at the wrong alignment soon stop being text, and hide nothing after them.

    Args:
        data: the text that contains the run.
        start: of whole groups of letters that are text.
        end: of these.
        stop: where the run ends.
        decoder: of any number of whole groups.

    Returns:
        The plain text, and the end of its source.
    """
    plain = decoder(data[start:end])
    size = step = end - start
    plain_size = len(plain)
    while end < stop:
        step *= 8  # so that all attempts cost little more than the last
        longer = decoder(data[start : min(stop, start + step)])
        if not is_readable(longer):
            text = _TEXT.match(longer)
            if text and text.end() > len(plain):
                plain = text[0]
                end = max(end, start + text.end() // plain_size * size)
            break
        plain = longer
        end = min(stop, start + step)
    return plain, end


def _long_run(data: bytes, start: int, end: int, budget: DecodingBudget) -> Iterator[Decoded]:
    """Decode whole runs: non-ASCII text has no letters that can only be text."""
    position = joined = start  # lines up to `joined` were tried as one run
    search = search_in_runs(_LONG_RUN, data, (start, end), _IN_RUN, LEAST_LONG)
    while (match := search(position)) and budget.call():
        position = match.end()
        for view, plain in _on_one_line(match[0]):
            if text := legible(plain):
                yield Decoded(text, view, match.start(), position)
                break
        else:
            if match[0].islower() or _BASE64.match(match[0]):
                continue  # base64 has both cases; ASCII in base64 is found by its own sign
            stops = {position: None}  # the next line may be another run, or a word
            if position > joined:
                joined = _end_of_run(_REST_OF_RUN, data, position)
                stops = dict.fromkeys((joined, position))
            runs = (
                Decoded(_from_base64(data[match.start() : stop]), "base64", match.start(), stop)
                for stop in stops
            )
            run = next((run for run in runs if is_readable(run.data)), None)
            if run is not None:
                yield run
                position = run.end


def _on_one_line(run: bytes) -> Iterator[tuple[str, bytes]]:
    """A run decoded as hex and as base32, if it has only letters of these."""
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


def _from_hex(run: bytes) -> bytes:
    return unhexlify(run[: len(run) // 2 * 2])


# The view of an encoding, the rest of a run behind its first letters, and the decoder of letters.
_Form = tuple[str, re.Pattern[bytes], Callable[[bytes], bytes]]
_AS_BASE64: _Form = "base64", _REST_OF_RUN, _from_base64
_AS_HEX: _Form = "hex", _REST_OF_HEX, _from_hex
_base64 = _decode_runs(_BASE64, _IN_RUN, _AS_BASE64)
_hex = _decode_runs(_HEX, _IN_HEX, _AS_HEX)


def _separated_hex(data: bytes, start: int, end: int, budget: DecodingBudget) -> Iterator[Decoded]:
    rows = encoding.runs(data, start, end, _IN_PAIRS, LEAST_RUN)
    rows = (row for row in rows if _PAIRS.search(data, *row) or data.find(rb"\x", *row) >= 0)
    for match in chain.from_iterable(_SEPARATED_HEX.finditer(data, *row) for row in rows):
        digits = match[0].replace(b"0x", b"").replace(b"\\x", b"")
        plain = legible(unhexlify(digits.translate(None, _PAIR_SEPARATORS)))
        if budget.call() and plain:
            yield Decoded(plain, "hex", match.start(), match.end())


def _wide(data: bytes, start: int, end: int, budget: DecodingBudget) -> Iterator[Decoded]:
    """Decode base64 or hex of ASCII in UTF-16 or UTF-32: its zeros are left out."""
    position = start
    while (match := _WIDE.search(data, position, end)) and budget.call():
        low = match.start()
        view, rest, decoder = _AS_BASE64 if match[0].strip(_HEX_DIGITS) else _AS_HEX
        if view == "base64":
            before = _GROUPS_BEFORE.search(data, max(start, low - WIDE_BEFORE_BYTES), low)
            low = before.start() if before else low
        position = _end_of_run(rest, data, match.end())
        plain = decoder(data[low:position]).translate(None, b"\0\xff\xfe")  # the byte order mark
        if is_readable(plain):
            yield Decoded(plain, view, low, position)


def _base32(data: bytes, start: int, end: int, budget: DecodingBudget) -> Iterator[Decoded]:
    position = start
    search = search_in_runs(_BASE32, data, (start, end), _IN_BASE32)
    while match := search(position):
        position = match.end()
        plain = _from_base32(match[0])
        budget.is_exceeded = budget.is_exceeded or len(match[0]) > MAX_BASE32_BYTES
        if budget.call() and is_readable(plain):
            yield Decoded(plain, "base32", match.start(), position)


def _from_base32(run: bytes) -> bytes:
    token = run[:MAX_BASE32_BYTES].upper()
    try:
        return b32decode(token + b"=" * (-len(token) % 8))
    except Base64Error:
        return b32decode(token[: len(token) // 8 * 8])


def _uu(data: bytes, start: int, end: int, budget: DecodingBudget) -> Iterator[Decoded]:
    """Decode lines that begin with their length, with or without `begin` and `end`."""
    position = start
    search = search_in_runs(_UU, data, (start, end), _IN_UU)
    while match := search(position):
        low = at = match.start() - 1
        position = match.end()
        plain = []
        while start <= at < end and budget.call():
            size = (data[at] - 0x20) & 0x3F
            stop = at + 1 + -(-size // 3) * 4
            line = data[at + 1 : min(stop, end)].translate(_UU_TO_BASE64)
            plain.append(_from_base64(line)[:size])
            position = max(position, stop)
            at = data.find(b"\n", stop, min(end, stop + 2)) + 1
            if not at or size != UU_LINE_BYTES:
                break
        if is_readable(text := b"".join(plain)):
            yield Decoded(text, "uuencode", low, position)


def _decompress(data: bytes, start: int, end: int, budget: DecodingBudget) -> Iterator[Decoded]:
    position = start
    remaining = budget.decoded_bytes
    if remaining <= 0:
        budget.is_exceeded = True
        return
    while (match := _COMPRESSED.search(data, position, end)) and budget.call():
        position = match.end()
        view, rest, decoder = _AS_HEX if match[0][:1] in b"17" else _AS_BASE64
        head = data[match.start() : _end_of_run(rest, data, position, HEAD_BYTES)]
        if not _inflate(decoder(head), HEAD_BYTES)[0]:
            continue  # the sign is in the run by chance
        position = _end_of_run(rest, data, position)
        packed = decoder(data[match.start() : position])
        plain, is_cut = _inflate(packed, min(MAX_INFLATED_BYTES, remaining))
        remaining -= len(plain)
        budget.is_exceeded = budget.is_exceeded or is_cut
        if text := legible(plain):
            yield Decoded(text, f"{view}>compressed", match.start(), position)
        if remaining <= 0:
            budget.is_exceeded = True  # even if that was exactly the end
            break


def _inflate(packed: bytes, max_bytes: int) -> tuple[bytes, bool]:
    """Decompress zlib (RFC 1950) or gzip (RFC 1952) up to a length; True if there is more."""
    import zlib  # imported here because few texts need it

    unpacker = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # either header
    try:
        return unpacker.decompress(packed, max_bytes), bool(unpacker.unconsumed_tail)
    except zlib.error:
        return b"", False


_SEPARATED_HEX_SIGN = (
    f"(?:(?:0x)?[2-7][0-9A-Fa-f]{_BETWEEN_PAIRS}){{7}}(?:0x)?[2-7]|"
    rf"30(?:{_BETWEEN_PAIRS}0x|\\x)(?:8[12]|[2-7][0-9A-Fa-f])"
)
ENCODINGS = {
    "base64": Encoding(
        f"(?:{_BASE64_GROUP}){{3}}", _base64, f"(?:{_BASE64_GROUP}){{5}}", is_opaque=True
    ),
    "hex": Encoding("(?:[2-7][0-9A-Fa-f]){8}", _hex, "(?:[2-7][0-9A-Fa-f]){16}", is_opaque=True),
    "base32": Encoding("[A-Z2-7]{16}", _base32, f"(?:{_BASE32_GROUP}){{3}}", is_opaque=True),
    "uuencode": Encoding(f"(?:{_UU_GROUP}){{4}}", _uu, to_server_only=True),
    "long-run": Encoding("[A-Za-z0-9+/_-]{40}", _long_run),
    "separated-hex": Encoding(_SEPARATED_HEX_SIGN, _separated_hex),
    "compressed": Encoding(_COMPRESSED_SIGN, _decompress, _COMPRESSED_SIGN),
    "wide": Encoding(_WIDE_SIGN, _wide, _WIDE_SIGN),
}
