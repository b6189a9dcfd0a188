"""A text in all its readings: as it is, and its encoded parts. Knows no tools, and no rules."""

from collections.abc import Sequence
from functools import cache

from pipeguard.detect.flows.overlap import letters
from pipeguard.detect.matching.confirm import Finder
from pipeguard.detect.text import decoders, encoding
from pipeguard.detect.text.decoders import ENCODINGS
from pipeguard.detect.text.word_disguises import unleet, unleet_l
from pipeguard.firewall.budgets import DecodingBudget
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.unicode.name_words import words_of_any_script

MOST_PARTS = 64  # of the first layer that are decoded once more

# By a sign that must be in a text.
_SIGNED = {
    b"%": "percent",
    b"\\": "escapes",
    b"&": "entities",
    b"=": "quoted-printable",
    b"\xf3\xa0\x80": "tags",
    b"\xf3\xa0\x84": "selectors",
    b"\xe2\x80\x8c": "bits",
}
# The end of a line that is in a sentence, or ends one: not of an item of a list.
WRAPPED = lazy_regex(
    r"\n(?:(?<=[^\n]{30}\n)(?=[^\W\d_A-ZÀ-Þ])|(?<=[^\W\d_A-ZÀ-Þ][,;.!?]\n)(?=[^\W\d_]))"
)
# In long words.
_RUNS = "base64", "hex", "long-run", "base32", "compressed", "wide"
_SPELLINGS = "reversed", "rot13"
LONG_BYTES = 12  # of a word
LABEL_WORDS = 6  # before a part of a text
MOST_CHARS = 2048  # of a text that another one continues
_LEET = lazy_regex("[A-Za-z][01345789$@]+[A-Za-z]")
_BETWEEN_PIECES = b" \t\n\r\f\v\"',:"
_LABELS_DOT = lazy_regex(rb"\.(?<=[0-9a-zA-Z]\.)(?=[0-9a-zA-Z])")
# Without its sign in a text, no decoder finds anything; RE2 rules it out in a tenth of the time.
_SIGNS = {
    name: ENCODINGS[name].sign for name in ("quoted-printable", "codes", "uuencode", *_RUNS)
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


def list_apart(text: str) -> list[str]:
    """The letters of every second word of a text, and of all of them in other orders.

    Digits and signs that look like letters are read as these.
    """
    words = words_of_any_script(text)
    orders = words[::2], words[1::2], words[::-1], [word[::-1] for word in words]
    ways = [*map("".join, orders)]
    if _LEET.search(text):
        ways += [read(text.encode()).decode() for read in (unleet, unleet_l)]
    return [*dict.fromkeys(map(letters, ways))]


def find_part(text: str, source: str) -> str:
    """The longest line of a text that is in another one, perhaps encoded or behind some words."""
    lines = "\n".join(list_readings(text[:MOST_CHARS].encode()))[:MOST_CHARS].split("\n")
    ends = (line.split(" ", most)[-1] for line in lines for most in range(LABEL_WORDS))
    return next((end for end in sorted(ends, key=len, reverse=True) if end in source), "")


def _decode(text: bytes, budget: DecodingBudget) -> list[bytes]:
    signed = [name for sign, name in _SIGNED.items() if sign in text]
    parts = _read(text, [*signed, "separated-hex", "codes", "uuencode"], budget)
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
