"""Runs of letters that stand for bytes: base64, base32, hex, and what is compressed in them.

The cost is linear in the text for any input. Sources: RFC 4648 (base64, base32, hex), RFC 1950 and
RFC 1952 (zlib, gzip).
"""

from __future__ import annotations

import re
from base64 import b32decode
from binascii import Error as Base64Error
from binascii import a2b_base64, unhexlify
from collections.abc import Callable, Iterable, Iterator

from pipeguard.core.text.budgets import DecodingBudget
from pipeguard.core.text.encoding import Decoded, Encoding, is_readable

MAX_RUN_BYTES = 2**20  # of one encoded run
MAX_INFLATED_BYTES = 2**20  # of one compressed run
HEAD_BYTES = 4096  # of a compressed run, by which it is recognised
MAX_BASE32_BYTES = 2**15  # of one run: this decoder is slow
WIDE_BEFORE_BYTES = 12  # of base64: a byte order mark and two letters, which have other groups
HOST_LABELS = 3  # at most that are the host's own, as `collector.acme.test`

BASE64_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
BASE32_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def _class(alphabet: str, indices: Iterable[int]) -> str:
    letters = {alphabet[index] for index in indices}
    letters |= {{"+": "-", "/": "_"}.get(letter, letter) for letter in letters}
    return "[" + "".join(sorted(re.escape(letter) for letter in letters)) + "]"


# The bytes of plain text are 0x20 to 0x7E, so each letter of its encoding comes from a part of
# the alphabet only (RFC 4648, sections 4 and 6). A run that keeps to those parts for twelve
# characters is hardly ever chance, and it is found at any alignment.
_BASE64_GROUP = (
    _class(BASE64_ALPHABET, range(8, 32))
    + _class(BASE64_ALPHABET, (i for i in range(64) if 2 <= i % 16 <= 7))
    + _class(BASE64_ALPHABET, (i for i in range(64) if i % 4 <= 1))
    + "[A-Za-z0-9+/_-]"
)
_BASE32_GROUP = (
    _class(BASE32_ALPHABET, range(4, 16))
    + _class(BASE32_ALPHABET, (i for i in range(32) if i % 4 <= 1))
    + "[A-Z2-7]"
    + _class(BASE32_ALPHABET, (i for i in range(32) if 2 <= i % 16 <= 7))
    + _class(BASE32_ALPHABET, (i for i in range(32) if i % 2 == 0))
    + _class(BASE32_ALPHABET, range(8, 32))
    + _class(BASE32_ALPHABET, (i for i in range(32) if 1 <= i % 8 <= 3))
    + "[A-Z2-7]"
)
# A letter of ASCII in UTF-16, as base64 and as hex: of each pair of bytes, one is zero.
_WIDE_BASE64 = (
    _class(BASE64_ALPHABET, range(8, 32))
    + "[AQgw][AB][A-Za-z0-9+/_-]A[C-H]"
    + _class(BASE64_ALPHABET, range(0, 64, 4))
    + "A"
)
_WIDER_BASE64 = _class(BASE64_ALPHABET, range(8, 32)) + "[AQgw]AAA"  # the same in UTF-32
_WIDE_HEX = "(?:[2-7][0-9A-Fa-f](?:00){1,3}){6}"
_WIDE_SIGN = f"(?:{_WIDE_BASE64}){{2}}|(?:{_WIDER_BASE64}[A-Za-z0-9+/_-]{{11}}){{2}}|{_WIDE_HEX}"
_COMPRESSED_SIGN = (
    "(?:H4sI|eJ[w-z0-9+/_-]|eN[o-r]|eAE|eF[4-7])[A-Za-z0-9+/_-]{20}|"
    "(?:1[Ff]8[Bb]08|78(?:01|5[Ee]|9[Cc]|[Dd][Aa]))[0-9A-Fa-f]{30}"
)
_BETWEEN_PAIRS = r"[ :,;|/\t\r\n\x22'-]{1,4}"  # between bytes that are written in hex
# What is written before a host's name where a program is told to reach it.
_BEFORE_HOST = "(?:://|@|: |dig |host |ping |nslookup )"

_BASE64 = re.compile(f"(?:{_BASE64_GROUP}){{4}}".encode())
_HEX = re.compile(rb"(?:[2-7][0-9A-Fa-f]|0[9AaDd]){8}")
_REST_OF_HEX = re.compile(rb"[0-9A-Fa-f]*+")
_BASE32 = re.compile(f"(?:{_BASE32_GROUP}){{2}}[A-Z2-7]*".encode())
_COMPRESSED = re.compile(_COMPRESSED_SIGN.encode())
_HEX_DIGITS = b"0123456789ABCDEFabcdef"
_UPPER_BASE32 = BASE32_ALPHABET.encode()
_LOWER_BASE32 = _UPPER_BASE32.lower()
_IN_RUN = bytes(
    0x61 if code < 0x80 and (chr(code).isalnum() or chr(code) in "+/_-") else 0x20
    for code in range(256)
)
_FORTY = b"a" * 40
_IN_BASE32 = bytes(0x61 if chr(code) in BASE32_ALPHABET else 0x20 for code in range(256))
_SIXTEEN = b"a" * 16
_LONG_RUN = re.compile(rb"[A-Za-z0-9][A-Za-z0-9+/_-]{39,}")
_REST_OF_RUN = re.compile(
    rb"[A-Za-z0-9+/_-]*+(?:\r?\n[A-Za-z0-9+/_-]{4,}+)*+(?:\r?\n[A-Za-z0-9+/_-]{2,3}(?==))?"
)
_SEPARATED_HEX = re.compile(
    b"(?:(?:0x)?[0-9A-Fa-f]{2}%s){7,2000}(?:0x)?[0-9A-Fa-f]{2}" % _BETWEEN_PAIRS.encode()
)
_PAIR_SEPARATORS = b" :,;|/\t\r\n\"'-"
_GROUPS_BEFORE = re.compile(rb"(?:[A-Za-z0-9+/_-]{4})+\Z")
_WIDE = re.compile(_WIDE_SIGN.encode())
_LABELS = re.compile(
    rf"{_BEFORE_HOST}([A-Za-z0-9_-]{{8,63}}+(?:\.[A-Za-z0-9_-]{{1,63}}+){{2,32}})".encode()
)
_STANDARD = bytes.maketrans(b"-_", b"+/")  # RFC 4648, section 5: the URL-safe alphabet
_TEXT = re.compile(rb"[ -~\t\r\n]*")


def _base64(data: bytes, start: int, end: int, budget: DecodingBudget) -> list[Decoded]:
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
        if not is_readable(longer):
            text = _TEXT.match(longer)
            if text and text.end() > len(plain):
                plain, end = text[0], max(end, start + text.end() // made * size)
            break
        plain, end = longer, min(stop, start + step)
    return plain, end


def _long_run(data: bytes, start: int, end: int, budget: DecodingBudget) -> list[Decoded]:
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
            if is_readable(plain):
                found.append(Decoded(plain, view, match.start(), position))
                break
        else:
            if match[0].islower() or _BASE64.match(match[0]):
                continue  # neither mixed as base64 is, nor left to this cue
            position = _end_of_run(data, position, MAX_RUN_BYTES)
            plain = _from_base64(data[match.start() : position])
            if is_readable(plain):
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


def _hex(data: bytes, start: int, end: int, budget: DecodingBudget) -> list[Decoded]:
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


def _separated_hex(data: bytes, start: int, end: int, budget: DecodingBudget) -> list[Decoded]:
    found = []
    for match in _SEPARATED_HEX.finditer(data, start, end):
        plain = unhexlify(match[0].replace(b"0x", b"").translate(None, _PAIR_SEPARATORS))
        if budget.call() and is_readable(plain):
            found.append(Decoded(plain, "hex", match.start(), match.end()))
    return found


def _wide(data: bytes, start: int, end: int, budget: DecodingBudget) -> list[Decoded]:
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
        if is_readable(plain):
            found.append(Decoded(plain, view, low, position))
    return found


def _base32(data: bytes, start: int, end: int, budget: DecodingBudget) -> list[Decoded]:
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
        if budget.call() and is_readable(plain):
            found.append(Decoded(plain, "base32", match.start(), match.end()))
    return found


def _from_base32(run: bytes) -> bytes:
    token = run[:MAX_BASE32_BYTES].upper()
    try:
        return b32decode(token + b"=" * (-len(token) % 8))
    except Base64Error:
        return b32decode(token[: len(token) // 8 * 8])


def _compressed(data: bytes, start: int, end: int, budget: DecodingBudget) -> list[Decoded]:
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
        if is_readable(plain):
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


def _labels(data: bytes, start: int, end: int, budget: DecodingBudget) -> list[Decoded]:
    """The labels of host names, joined: data leaves in them when the name is looked up.

    Read with and without the last ones, which are the host's own and would spoil an encoding.
    """
    found: list[Decoded] = []
    for match in _LABELS.finditer(data, start, end):
        labels = match[1].split(b".")
        for own in range(min(len(labels), HOST_LABELS + 1)):
            if budget.call():
                plain = b"".join(labels[: len(labels) - own])
                found.append(Decoded(plain, "labels", match.start(1), match.end()))
    return found


ENCODINGS: dict[str, Encoding] = {
    "base64": Encoding(
        f"(?:{_BASE64_GROUP}){{3}}", _base64, f"(?:{_BASE64_GROUP}){{5}}", is_opaque=True
    ),
    "hex": Encoding("(?:[2-7][0-9A-Fa-f]){8}", _hex, "(?:[2-7][0-9A-Fa-f]){16}", is_opaque=True),
    "base32": Encoding("[A-Z2-7]{16}", _base32, f"(?:{_BASE32_GROUP}){{3}}", is_opaque=True),
    "long-run": Encoding("[A-Za-z0-9+/_-]{40}", _long_run),
    "separated-hex": Encoding(
        f"(?:(?:0x)?[2-7][0-9A-Fa-f]{_BETWEEN_PAIRS}){{7}}(?:0x)?[2-7]", _separated_hex
    ),
    "compressed": Encoding(_COMPRESSED_SIGN, _compressed, _COMPRESSED_SIGN),
    "wide": Encoding(_WIDE_SIGN, _wide, _WIDE_SIGN),
    "labels": Encoding(
        rf"{_BEFORE_HOST}(?:[A-Za-z0-9_-]{{8,63}}\.[A-Za-z_-]{{0,20}}[0-9][A-Za-z0-9_-]{{4}}|"
        r"[A-Za-z0-9_-]{30,63}\.[A-Za-z0-9_-]{4})",
        _labels,
        to_server_only=True,
    ),
}
