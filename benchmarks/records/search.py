"""Reads a record as somebody does who looks for secrets: undoes any two disguises, joins pieces.

Written from the standards and from `benchmarks.detection.disguise`, not from PipeGuard's views.
"""

import base64
import html
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from random import Random
from urllib.parse import unquote

from benchmarks.detection.disguise import _LOOK_ALIKES
from benchmarks.detection.json_tree import Json, JsonPath, strings
from benchmarks.detection.mint import fill, formats, mint

GRAM = 8  # characters of its random part that survive are a leak
PHRASE = 24  # of a phrase of words
DEPTH = 2  # disguises of one text
OTHERS, SOME = 100, 12  # values of a format, whose runs of eight are not random
SHARED = 3  # characters that half of some of them share are not random, either
_PUBLIC = re.compile(
    r"\W(private_key_id|client_id|uid|kid|[xyat])\"?: ?\"?[\d-]*$|Public-Lines: 2\n(.{64}\n)?$"
)
_NAMES = ("<word", "<host", "<pick", "<pem-public")
_LATIN = {wide: thin for thin, wide in _LOOK_ALIKES.items()}
_RUN = re.compile(r"[A-Za-z0-9+/_\-\s]{12,}")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}[ :]?){6,}")
_ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})")
_SHORT = re.compile(r'\\([\\"/nrtbf])')


@cache
def shared_parts(name: str) -> tuple[frozenset[str], set[str]]:
    """Short runs that half of a format's values share, and runs of eight of any of them."""
    values = [mint(name, f"other {number}") for number in range(OTHERS)]
    seen = Counter(part for value in values[:SOME] for part in windows(value, SHARED))
    short = frozenset(part for part, times in seen.items() if times >= SOME // 2)
    return short, set[str]().union(*map(windows, values))


def windows(text: str, size: int = GRAM) -> set[str]:
    """Each run of so many characters."""
    return {text[at : at + size] for at in range(len(text) - size + 1)}


def random_grams(name: str, seed: str) -> frozenset[str]:
    """The runs of eight characters of a minted value that only chance decided."""
    dice, runs, before = Random(f"{name} {seed}"), list[str](), ""
    short, long = shared_parts(name)
    for part in _parts(formats()[name].recipe):
        text = fill(part, dice)
        if part.startswith("<") and not part.startswith(_NAMES) and not _PUBLIC.search(before):
            runs += _chance(text, short)
        before += text
    size = PHRASE if any(" " in run for run in runs) else GRAM
    runs = [part for run in runs for part in re.split(r"[.\n]", run)]
    longest = max(runs, key=len, default=mint(name, seed))
    if len(longest) < size:
        return frozenset([longest])
    return frozenset().union(*(windows(run, size) for run in runs)) - long


def _parts(recipe: str) -> Iterator[str]:
    start = depth = 0
    for at, letter in enumerate(recipe):
        if letter == "<" and not depth and at > start:
            yield recipe[start:at]
            start = at
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == ">" and not depth:
            yield recipe[start : at + 1]
            start = at + 1
    if start < len(recipe):
        yield recipe[start:]


def _chance(text: str, common: frozenset[str]) -> Iterator[str]:
    fixed = {
        at + step
        for at in range(len(text) - SHARED + 1)
        if text[at : at + SHARED] in common
        for step in range(SHARED)
    }
    marked = "".join("\0" if at in fixed else letter for at, letter in enumerate(text))
    yield from filter(None, marked.split("\0"))


# --- undoing --------------------------------------------------------------------------------


def from_base64(text: str) -> Iterator[str]:
    """What base64 in it says, from each of four places on."""
    for run in _RUN.findall(text):
        whole = re.sub(r"\s", "", run).replace("-", "+").replace("_", "/")
        for start in range(4):
            size = len(whole) - start
            part = whole[start : start + size - (size % 4 == 1)]
            data = base64.b64decode(part + "=" * (-len(part) % 4))
            yield data.decode("latin-1")
            yield data.decode("utf-8", "ignore")


def from_hex(text: str) -> Iterator[str]:
    """What pairs of hex digits in it say."""
    for run in _HEX.findall(text):
        digits = re.sub(r"[ :]", "", run)
        yield bytes.fromhex(digits).decode("utf-8", "replace")
        yield bytes.fromhex(digits[1:-1]).decode("latin-1")


def without_escapes(text: str) -> Iterator[str]:
    """JSON's and JavaScript's escapes undone."""
    units = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    short = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
    yield _SHORT.sub(lambda match: short.get(match[1], match[1]), text)
    yield units


def fold(text: str) -> str:
    """Marks left out, and forms and look-alikes replaced."""
    letters = unicodedata.normalize("NFKD", text.translate(_LATIN))
    return "".join(c for c in letters if unicodedata.category(c) not in ("Cf", "Mn"))


UNDOERS: dict[str, Callable[[str], Iterable[str]]] = {
    "base64": from_base64,
    "hex": from_hex,
    "percent": lambda text: [unquote(text)],
    "html": lambda text: [html.unescape(text)],
    "escapes": without_escapes,
    "quoted-printable": lambda text: [
        re.sub(r"=([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), re.sub(r"=\r?\n", "", text))
    ],
    "folded": lambda text: [fold(text)],
    "spaces": lambda text: [re.sub(r"\s+", "", text)],
    "dots": lambda text: [text.replace(".", "")],
    "reversed": lambda text: [text[::-1]],
}


def read_all(text: str) -> set[str]:
    """A text, and all that it says after one or two disguises are undone."""
    seen = last = {text}
    for _ in range(DEPTH):
        made = {made for each in last for undo in UNDOERS.values() for made in undo(each)}
        last = {each for each in made if len(each) >= GRAM} - seen
        seen = seen | last
    return seen


def keys(value: Json) -> Iterator[str]:
    """Each key of the objects in a JSON value."""
    members = value if isinstance(value, list) else []
    if isinstance(value, dict):
        yield from value
        members = [*value.values()]
    for member in members:
        yield from keys(member)


def texts_of(frames: Iterable[tuple[str, str]]) -> set[str]:
    """The texts of a record's frames, each with its side: strings, keys, and all of them joined."""
    texts, places = set[str](), defaultdict[JsonPath, list[str]](list)
    for side, frame in frames:
        texts.add(frame)
        try:
            message = json.loads(frame)
        except (ValueError, RecursionError):
            continue
        listed = [*strings(message)]
        for path, text in listed:
            places[side, *path].append(text)
        within = [text for _, text in listed]
        texts.update(within, keys(message), ["".join(within), "".join(keys(message))])
    return texts.union(*(["".join(each)] for each in places.values()))
