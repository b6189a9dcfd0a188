"""A text as it is, and all that is encoded in it, two layers deep. Knows encodings, and no tool."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeguard.core.lazy_regex import lazy_regex
from pipeguard.core.text import decoders
from pipeguard.core.text.budgets import DecodingBudget

MOST_PARTS = 64  # of the first layer that are decoded once more
BYTES = 256

# By a sign that must be in a text.
_SIGNED = {
    b"%": "percent",
    b"\\": "escapes",
    b"&": "entities",
    b"=": "quoted-printable",
}
# In long words.
_RUNS = ("base64", "hex", "long-run", "base32", "compressed")
_SPELLINGS = ("reversed", "rot13")
_LONG = lazy_regex(rb"\S{12,}")
_SEPARATED_HEX = lazy_regex(rb"(?:[0-9A-Fa-f]{2}[ :,-]{1,2}){7}")
_BETWEEN_PIECES = lazy_regex(rb"[\s\"',:]+")
_BETWEEN_LABELS = lazy_regex(rb"(?<=[0-9a-zA-Z])[.](?=[0-9a-zA-Z])")
_CODES = lazy_regex(rb"(?:\b\d{2,3}\b[ ,;:-]{1,2}){11,}\d{2,3}\b")


def readings(text: bytes) -> list[str]:
    """The text as it is, then all that is encoded in it, each reading once."""
    budget = DecodingBudget(len(text))
    first = _decoded(text, budget)
    second = [inner for part in first[:MOST_PARTS] for inner in _decoded(part, budget)]
    all_readings = [text, *first, *_read(text, _SPELLINGS, budget), *second]
    for between in (_BETWEEN_PIECES, _BETWEEN_LABELS):
        values = b"".join(between.split(text))
        if len(values) != len(text):
            all_readings += [values, *_read(values, _RUNS[:3], budget)]
    all_readings += [_from_codes(match[0]) for match in _CODES.finditer(text)]
    return [reading.decode("utf-8", "ignore") for reading in dict.fromkeys(all_readings)]


def _decoded(text: bytes, budget: DecodingBudget) -> list[bytes]:
    signed = [name for sign, name in _SIGNED.items() if sign in text]
    parts = _read(text, signed, budget) if signed else []
    if _SEPARATED_HEX.search(text):
        parts += _read(text, ("separated-hex",), budget)
    long = _LONG.findall(text)
    return parts + _read(b"\n".join(long), _RUNS, budget) if long else parts


def _read(text: bytes, names: Sequence[str], budget: DecodingBudget) -> list[bytes]:
    return [
        part.data
        for part in decoders.decode(text, {name: [(0, len(text))] for name in names}, budget)
    ]


def _from_codes(text: bytes) -> bytes:
    """The bytes that a row of decimal numbers stands for."""
    return bytes(number for number in map(int, re.findall(rb"\d+", text)) if number < BYTES)
