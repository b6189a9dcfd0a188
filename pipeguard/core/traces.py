"""What two texts share: values, words in a row, in any spelling. Knows texts, and no tool.

One text came from a tool, the other goes to one. Values are looked for as they are, in parts, in
other case and with signs between; words in rows of a few.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from pipeguard.core import views
from pipeguard.core.checks import entropy
from pipeguard.core.cues import Cue
from pipeguard.core.decoding import Budget

TOKEN_CHARS = 12  # shorter ones stand in two places by chance
NAME_CHARS = 8  # of what is named to a model that is told what to do with it
SECRET_ENTROPY = 3.0  # bits a character
SHINGLE_WORDS = 6  # in a row, the same in both
FEW_WORDS = 4  # the same, where one text tells a model what to do
MOST_SECRETS = 200  # looked for of one text
SECRET_TEXT = 2**18  # characters of it that are looked through for them
LONG_CHARS = 20
PIECE_CHARS = 8  # of a value that is divided
MOST_PARTS = 64  # that are decoded once more

# By a sign that must stand in a text; and in words that are long.
_SIGNED = {
    b"%": (Cue.PERCENT,),
    b"\\": (Cue.ESCAPE, Cue.SIMPLE_ESCAPE),
    b"&": (Cue.ENTITY,),
    b"=": (Cue.QUOTED_PRINTABLE,),
}
_RUNS = (Cue.BASE64, Cue.HEX, Cue.LONG_RUN, Cue.BASE32, Cue.COMPRESSED)
_SPELLINGS = (Cue.REVERSED, Cue.TURNED)
_LONG = re.compile(rb"\S{12,}")
_BYTES = re.compile(rb"(?:[0-9A-Fa-f]{2}[ :,-]{1,2}){7}")


def readings(text: bytes) -> list[str]:
    """The text as it is, and all that is encoded in it, two deep."""
    budget = Budget()
    first = _decoded(text, budget)
    inner = [part for one in first[:MOST_PARTS] for part in _decoded(one, budget)]
    found = [text, *first, *_read(text, _SPELLINGS, budget), *inner]
    values = b"".join(_BETWEEN_PIECES.split(text))
    if len(values) != len(text):
        found += [values, *_read(values, _RUNS[:3], budget)]
    return [one.decode("utf-8", "ignore") for one in dict.fromkeys(found)]


def _decoded(text: bytes, budget: Budget) -> list[bytes]:
    cues = [cue for sign, some in _SIGNED.items() if sign in text for cue in some]
    found = _read(text, cues, budget) if cues else []
    if _BYTES.search(text):
        found += _read(text, (Cue.SEPARATED_HEX,), budget)
    long = _LONG.findall(text)
    return found + _read(b"\n".join(long), _RUNS, budget) if long else found


def _read(text: bytes, cues: Sequence[Cue], budget: Budget) -> list[bytes]:
    return [
        part.data for part in views.decode(text, {cue: [(0, len(text))] for cue in cues}, budget)
    ]


_BETWEEN_PIECES = re.compile(rb"[\s\"',:]+")


def squeezed(text: str) -> str:
    """Letters and digits alone, in small letters."""
    return _BETWEEN.sub("", text).lower()


_BETWEEN = re.compile(r"[^A-Za-z0-9]+")
_TOKEN = re.compile(rf"[A-Za-z0-9_@.+/=-]{{{TOKEN_CHARS},256}}")
_PLAIN = re.compile(rf"[A-Za-z0-9_-]{{{TOKEN_CHARS},256}}")
_NAME = re.compile(rf"[A-Za-z0-9_@.+/=-]{{{NAME_CHARS},256}}")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-fA-F]+")
_NAMED = re.compile(
    r"(?:pass(?:word|wd|phrase)?|secret|token|key|credentials?|dsn)[\w-]{0,20}[\"']?"
    r"\s?([=:]|\bis\b)\s?[\"']?([^\s\"',;<>]{8,200})",
    re.IGNORECASE,
)


def tokens(text: str) -> Iterator[str]:
    """Runs of letters and digits, with and without what may stand in a value or before it."""
    for token in _TOKEN.findall(text):
        yield token
        _, equals, value = token.partition("=")
        if equals and len(value) >= TOKEN_CHARS:
            yield value
        yield from (part for part in _PLAIN.findall(token) if part != token)


def names(text: str) -> Iterator[str]:
    """What a call names: an account, an address, a branch; no plain words."""
    for name in _NAME.findall(text):
        bare = name.strip(".-/=")
        if len(bare) >= NAME_CHARS and not bare.isalpha():
            yield bare


def words(text: str) -> list[str]:
    """The longer words of a text, in small letters."""
    return list(dict.fromkeys(re.findall(r"[a-z_]{6,40}", text.lower())))[:64]


def is_telling(token: str) -> bool:
    """True for what two texts do not share by chance."""
    return any(map(str.isdigit, token)) or "@" in token


def is_secret(token: str) -> bool:
    """True for what is made to be guessed by nobody: no id, no digest, no path, no address."""
    if "/" in token or "@" in token or _UUID.fullmatch(token) or _HEX.fullmatch(token):
        return False
    parts = _PARTS.findall(token)
    if len(parts) > 1 and all(part.isdigit() or _PLAIN_WORD.match(part) for part in parts):
        return False  # words and numbers, as `production-eu-west-1` has
    return entropy(token.encode()) >= SECRET_ENTROPY and not token.isdigit()


def is_random(token: str) -> bool:
    """True for a secret that is longer than ids are, where nothing else tells that it is one."""
    return len(token) >= LONG_CHARS and _MIXED.search(token) is not None and is_secret(token)


_PARTS = re.compile(r"[A-Za-z0-9]+")
_PLAIN_WORD = re.compile(r"(?:[A-Z]?[a-z]+|[A-Z]+)\Z")


def named(text: str) -> list[str]:
    """The values that a text calls a password, a token or the like."""
    return [value for sign, value in _NAMED.findall(text) if sign == "=" or not _WORD.match(value)]


_WORD = re.compile(
    r"[A-Za-z]?[a-z-]*[.!?]?\Z"
)  # a plain word says what a token is for, and is none


def in_pieces(bare: str, whole: str) -> bool:
    """True where most of a value stands in a text, in pieces of some letters each."""
    if len(bare) < 2 * PIECE_CHARS:
        return False
    starts = [*range(0, len(bare) - PIECE_CHARS, PIECE_CHARS), len(bare) - PIECE_CHARS]
    found = sum(bare[at : at + PIECE_CHARS] in whole for at in starts)
    return found >= 2 and 5 * found >= 3 * len(starts)


def secrets(text: str, looks: Callable[[str], bool]) -> dict[str, str]:
    """What looks like a secret in a text, by its letters and digits alone."""
    found: dict[str, str] = {}
    for token in tokens(text[:SECRET_TEXT]):
        if len(found) >= MOST_SECRETS:
            break
        if "=" in token.rstrip("=") or _UUID.search(token):
            continue
        if _MIXED.search(token) and looks(token):
            found[squeezed(token)] = token
    return {bare: token for bare, token in found.items() if len(bare) >= TOKEN_CHARS}


# Digits among letters: a word that only ends in a number is a name.
_MIXED = re.compile(r"[A-Za-z][0-9]+[A-Za-z]|[0-9][A-Za-z]+[0-9]|[a-z][A-Z]+[a-z]+[A-Z0-9]")


def shingles(text: str, words_in_row: int = SHINGLE_WORDS) -> Iterable[str]:
    """Rows of words, one every few words."""
    words = text.split()
    return (
        " ".join(words[at : at + words_in_row])
        for at in range(0, len(words) - words_in_row + 1, max(1, words_in_row // 2))
    )


# Whoever writes for a model speaks to it: `AI agents: …`, `Dear assistant, …`, `agents must …`.
_ADDRESSED = re.compile(
    r"(?<![\w-])(?:ais?|llms?|agents?|assistants?|chatbots?|bots?|copilots?|(?:language )?models?)"
    r"(?: (?:agents?|assistants?|models?|visitors?|shoppers?|readers?|users?|systems?|bots?))?"
    r"(?: (?:that|who|which)? ?(?:reads?|reading|visits?|sees?)(?: [^.,:;\n]{1,40})?)?"
    r"(?:\s?[,:]|\s(?:must|should|shall|have to|has to|needs? to|are to|is to|please)\b)",
    re.IGNORECASE,
)


def addressed(text: str) -> str:
    """The part of a text from where it speaks to a model on; empty where it does to none."""
    found = _ADDRESSED.search(text)
    return text[found.start() : found.start() + ADDRESSED_CHARS] if found else ""


ADDRESSED_CHARS = 4000
