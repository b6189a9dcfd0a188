"""Runs of letters that stand for bytes: base64, base32, hex, and what is packed in base64.

Cost is linear in the text for any input. Sources: RFC 4648 (base64, base32, hex), RFC 1950 and
RFC 1952 (zlib, gzip).
"""

from __future__ import annotations

import re
from base64 import b32decode
from binascii import Error as Base64Error
from binascii import a2b_base64, unhexlify
from collections.abc import Callable, Iterator

from pipeguard.core.text.cues import B32, B32_GROUP, B64_GROUP, BETWEEN_HEX, CODE, CUES, OCTAL, Cue
from pipeguard.core.text.decoder import Budget, Decoded, Decoder, reads

MAX_RUN_BYTES = 2**20  # of one encoded run
MAX_INFLATED_BYTES = 2**20  # of one compressed run
HEAD_BYTES = 4096  # of one, by which it is known
MAX_BASE32_BYTES = 2**15  # of one run: this decoder is slow

_BASE64 = re.compile(f"(?:{B64_GROUP}){{4}}".encode())
_HEX = re.compile(rb"(?:[2-7][0-9A-Fa-f]|0[9AaDd]){8}")
_REST_OF_HEX = re.compile(rb"[0-9A-Fa-f]*+")
_BASE32 = re.compile(f"(?:{B32_GROUP}){{2}}[A-Z2-7]*".encode())
_COMPRESSED = re.compile(CUES[Cue.COMPRESSED].encode())
_HEX_DIGITS = b"0123456789ABCDEFabcdef"
_UPPER_BASE32 = B32.encode()
_LOWER_BASE32 = _UPPER_BASE32.lower()
_IN_RUN = bytes(
    0x61 if code < 0x80 and (chr(code).isalnum() or chr(code) in "+/_-") else 0x20
    for code in range(256)
)
_FORTY = b"a" * 40
_IN_BASE32 = bytes(0x61 if chr(code) in B32 else 0x20 for code in range(256))
_SIXTEEN = b"a" * 16
_LONG_RUN = re.compile(rb"[A-Za-z0-9][A-Za-z0-9+/_-]{39,}")
_REST_OF_RUN = re.compile(
    rb"[A-Za-z0-9+/_-]*+(?:\r?\n[A-Za-z0-9+/_-]{4,}+)*+(?:\r?\n[A-Za-z0-9+/_-]{2,3}(?==))?"
)
_SEPARATED_HEX = re.compile(
    b"(?:(?:0x)?[0-9A-Fa-f]{2}%s){7,2000}(?:0x)?[0-9A-Fa-f]{2}" % BETWEEN_HEX.encode()
)
_BETWEEN_HEX = b" :,;|/\t\r\n\"'-"
WIDE_BEFORE_BYTES = 12  # of base64: a mark and two letters, which have other groups
_GROUPS_BEFORE = re.compile(rb"(?:[A-Za-z0-9+/_-]{4})+\Z")
_WIDE = re.compile(CUES[Cue.WIDE].encode())
_BETWEEN = rb"[^0-9A-Za-z]{1,6}+(?:(?!U[+])[A-Za-z_.]{1,16}+[^0-9A-Za-z]{1,4}+)?"  # `65) + chr(75`
_CODES = tuple(
    (
        base,
        re.compile(b"(?:%s(?:%s|(?![0-9A-Za-z]))){8,4000}+" % (number, _BETWEEN)),
        re.compile(digits),
    )
    for base, number, digits in (
        (10, b"0{0,2}%s" % CODE.encode(), rb"[0-9]+"),
        (8, b"0?%s" % OCTAL.encode(), rb"[0-7]+"),
        (2, b"(?:0b)?0[01]{7}", rb"[01]{8}"),
        (16, b"U[+]00[2-7][0-9A-Fa-f]", rb"(?<=[+])[0-9A-Fa-f]+"),
    )
)
_BITS = re.compile(rb"(?:0[01]{7}){8,4000}+")
_STANDARD = bytes.maketrans(b"-_", b"+/")  # RFC 4648, section 5: the URL-safe alphabet
_TEXT = re.compile(rb"[ -~\t\r\n]*")


def _base64(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    """From each group of letters that can only be text on, as far as its run goes on as text."""
    found: list[Decoded] = []
    position = stop = start
    while (match := _BASE64.search(data, position, end)) and budget.call():
        if match.end() > stop:
            stop = _end_of_run(data, match.end(), MAX_RUN_BYTES)
        plain, position = _text_from(data, match.start(), match.end(), stop, _from_base64)
        found.append(Decoded(plain, "base64", match.start(), position))
    return found


def _end_of_run(data: bytes, at: int, most: int) -> int:
    """Where a run of base64 ends that goes on at a place, over line ends as well."""
    rest = _REST_OF_RUN.match(data, at, at + most)
    return rest.end() if rest else at


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
        if not reads(longer):
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
        stop = letters.find(b" ", at + len(_FORTY))
        match = _LONG_RUN.search(data, start + at, end if stop < 0 else start + stop)
        if match is None:
            if stop < 0:
                break
            position = start + stop  # a rule, as of dashes, or too little after one
            continue
        position = match.end()
        for view, plain in _on_one_line(match[0]):
            if reads(plain):
                found.append(Decoded(plain, view, match.start(), position))
                break
        else:
            if match[0].islower() or _BASE64.match(match[0]):
                continue  # neither mixed as base64 is, nor left to this cue
            position = _end_of_run(data, position, MAX_RUN_BYTES)
            plain = _from_base64(data[match.start() : position])
            if reads(plain):
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
            stop = _end_of_hex(data, match.end(), MAX_RUN_BYTES)
        plain, position = _text_from(data, match.start(), match.end(), stop, _from_hex)
        found.append(Decoded(plain, "hex", match.start(), position))
    return found


def _end_of_hex(data: bytes, at: int, most: int) -> int:
    rest = _REST_OF_HEX.match(data, at, at + most)
    return rest.end() if rest else at


def _from_hex(run: bytes) -> bytes:
    return unhexlify(run[: len(run) // 2 * 2])


def _separated_hex(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    found = []
    for match in _SEPARATED_HEX.finditer(data, start, end):
        plain = unhexlify(match[0].replace(b"0x", b"").translate(None, _BETWEEN_HEX))
        if budget.call() and reads(plain):
            found.append(Decoded(plain, "hex", match.start(), match.end()))
    return found


def _wide(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    """Base64 or hex of UTF-16 or UTF-32, as far as it is ASCII: the zeros are left out."""
    found: list[Decoded] = []
    position = start
    while (match := _WIDE.search(data, position, end)) and budget.call():
        low = match.start()
        if match[0].strip(_HEX_DIGITS):
            before = _GROUPS_BEFORE.search(data, max(start, low - WIDE_BEFORE_BYTES), low)
            low = before.start() if before else low
            position = _end_of_run(data, match.end(), MAX_RUN_BYTES)
            view, plain = "base64", _from_base64(data[low:position])
        else:
            position = _end_of_hex(data, match.end(), MAX_RUN_BYTES)
            view, plain = "hex", _from_hex(data[low:position])
        plain = plain.translate(None, b"\0\xff\xfe")  # a mark of the bytes' order, too
        if reads(plain):
            found.append(Decoded(plain, view, low, position))
    return found


def _codes(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    """Numbers of characters in a row, as they are or each in a call."""
    found: list[Decoded] = []
    for base, row, number in (*_CODES, (2, _BITS, _CODES[2][2])):
        for match in row.finditer(data, start, end):
            if not budget.call():
                return found
            codes = (int(one, base) for one in number.findall(match[0]))
            plain = bytes(code for code in codes if code < 0x80)
            found.append(Decoded(plain, "codes", match.start(), match.end()))
    return found


def _base32(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    found = []
    position = start
    letters = data[start:end].translate(_IN_BASE32)
    while (at := letters.find(_SIXTEEN, position - start)) >= 0:
        stop = letters.find(b" ", at)
        match = _BASE32.search(data, start + at, end if stop < 0 else start + stop)
        position = match.end() if match else end if stop < 0 else start + stop
        if match is None:
            continue
        plain = _from_base32(match[0])
        budget.spent = budget.spent or len(match[0]) > MAX_BASE32_BYTES
        if budget.call() and reads(plain):
            found.append(Decoded(plain, "base32", match.start(), match.end()))
    return found


def _from_base32(run: bytes) -> bytes:
    token = run[:MAX_BASE32_BYTES].upper()
    try:
        return b32decode(token + b"=" * (-len(token) % 8))
    except Base64Error:
        return b32decode(token[: len(token) // 8 * 8])


def _compressed(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    found: list[Decoded] = []
    position, left = start, budget.decoded_bytes
    if left <= 0:
        budget.spent = True
        return found
    while (match := _COMPRESSED.search(data, position, end)) and budget.call():
        position = match.end()
        is_hex = match[0][:1] in b"17"
        view, decoder = ("hex", _from_hex) if is_hex else ("base64", _from_base64)
        end_of_run = _end_of_hex if is_hex else _end_of_run
        head = data[match.start() : end_of_run(data, position, HEAD_BYTES)]
        if not _inflated(decoder(head), HEAD_BYTES)[0]:
            continue  # four letters by chance, in a long run
        position = end_of_run(data, position, MAX_RUN_BYTES)
        packed = decoder(data[match.start() : position])
        plain, is_cut = _inflated(packed, min(MAX_INFLATED_BYTES, left))
        left -= len(plain)
        budget.spent = budget.spent or is_cut
        if reads(plain):
            found.append(Decoded(plain, f"{view}>compressed", match.start(), position))
        if left <= 0:
            budget.spent = True  # even where it was packed to its last byte
            break
    return found


def _inflated(packed: bytes, most: int) -> tuple[bytes, bool]:
    """What gzip or zlib packed, as far as it goes; True where it is more (RFC 1950, RFC 1952)."""
    import zlib  # here, since few texts need it

    unpacker = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # either header
    try:
        return unpacker.decompress(packed, most), bool(unpacker.unconsumed_tail)
    except zlib.error:
        return b"", False


DECODERS: dict[Cue, Decoder] = {
    Cue.BASE64: _base64,
    Cue.HEX: _hex,
    Cue.BASE32: _base32,
    Cue.LONG_RUN: _long_run,
    Cue.SEPARATED_HEX: _separated_hex,
    Cue.COMPRESSED: _compressed,
    Cue.WIDE: _wide,
    Cue.CODES: _codes,
}
