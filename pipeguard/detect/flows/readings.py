"""A text in all its readings: as it is, and its encoded parts. Knows no tools, and no rules."""

from collections.abc import Sequence
from functools import cache

from pipeguard.detect.matching.confirm import Finder
from pipeguard.detect.text import decoders, encoding
from pipeguard.detect.text.decoders import ENCODINGS
from pipeguard.firewall.budgets import DecodingBudget
from pipeguard.firewall.lazy_regex import lazy_regex

MOST_PARTS = 64  # of the first layer that are decoded once more

# By a sign that must be in a text.
_SIGNED = {b"%": "percent", b"\\": "escapes", b"&": "entities", b"=": "quoted-printable"}
# In long words.
_RUNS = "base64", "hex", "long-run", "base32", "compressed"
_SPELLINGS = "reversed", "rot13"
LONG_BYTES = 12  # of a word
_BETWEEN_PIECES = b" \t\n\r\f\v\"',:"
_LABELS_DOT = lazy_regex(rb"\.(?<=[0-9a-zA-Z]\.)(?=[0-9a-zA-Z])")
# Without its sign in a text, no decoder finds anything; RE2 rules it out in a tenth of the time.
_SIGNS = {
    name: ENCODINGS[name].sign
    for name in ("quoted-printable", "codes", "base64", "long-run", "base32", "compressed")
} | {
    "separated-hex": r"(?:[0-9A-Fa-f]{2}[ :,-]{1,2}){7}",
    "hex": "(?:[2-7][0-9A-Fa-f]|0[9AaDd]){8}",
}


def list_readings(text: bytes) -> list[str]:
    """The text as it is, then all its encoded parts, each reading once."""
    budget = DecodingBudget(len(text))
    first = _decode(text, budget)
    second = [inner for part in first[:MOST_PARTS] for inner in _decode(part, budget)]
    all_readings = [text, *first, *_read(text, _SPELLINGS, budget), *second]
    for values in (text.translate(None, _BETWEEN_PIECES), _LABELS_DOT.sub(b"", text)):
        if len(values) != len(text):
            all_readings += [values, *_read(values, _RUNS[:3], budget)]
    return [reading.decode("utf-8", "ignore") for reading in dict.fromkeys(all_readings)]


def _decode(text: bytes, budget: DecodingBudget) -> list[bytes]:
    signed = [name for sign, name in _SIGNED.items() if sign in text]
    parts = _read(text, [*signed, "separated-hex", "codes"], budget)
    if _has_sign(text, *_RUNS):
        long = b"\n".join([word for word in text.split() if len(word) >= LONG_BYTES])
        parts += _read(long, _RUNS, budget)
    return parts


def _read(text: bytes, names: Sequence[str], budget: DecodingBudget) -> list[bytes]:
    signs = {
        name: [(0, len(text))] for name in names if name not in _SIGNS or _has_sign(text, name)
    }
    return [part.data for part in decoders.decode(text, signs, budget)]


def _has_sign(text: bytes, *names: str) -> bool:
    return any(_finder(*names).finditer(text, 0, len(text)))


@cache
def _finder(*names: str) -> Finder:
    return Finder(
        "|".join(f"(?:{encoding.make_pattern(_SIGNS[name])})" for name in names), ignore_case=False
    )
