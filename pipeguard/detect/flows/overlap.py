"""The overlap of two texts: passages, in any spelling. Knows texts, and no tools.

One text came from a tool, the other goes to one. Passages are compared by only their letters and
digits.
"""

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from types import ModuleType
from unicodedata import normalize

from pipeguard.detect.text.decoders import common_prefix
from pipeguard.native import find_native
from pipeguard.records import NamedTuple
from pipeguard.unicode.folding import fold

PASSAGE_CHARS = 14  # letters and digits in a row, in both: shorter rows are shared by chance
PASSAGE_STEP = 3  # letters between two tried starts of a passage,
MOST_PLACES = 128  # and at most so many of these places
MOST_BESIDE = 512  # letters of a text beside its longest value, if that was said before
SEARCHED_BYTES = 64 * 2**20  # for one call: 30 to 60 ms
SENT_SHARE = 8  # a sent byte costs this much less than a searched one
ENOUGH_CHARS = 512  # shared by both texts: more are not counted
FEW_WORDS = 4  # of a row, if one text instructs a model
PIECE_CHARS = 8  # of a value that is divided
LEAST_VALUE = 4  # characters of a value that is looked up in C
MANY_SIGNS = 128  # different ones in a text, of which each is not searched for on its own

_SMALL = bytes(range(256)).lower()
_SIGNS = bytes(code for code in range(128) if not chr(code).isalnum())
_WIDE = bytes(range(128, 256))  # all of each character beyond ASCII, in UTF-8
_ASCII = bytes(range(128))


class Overlap(NamedTuple):
    """The overlap of two texts.

    Attributes:
        chars: letters and digits in passages that both have, up to ENOUGH_CHARS or a passage more.
        longest: of these, in one passage.
    """

    chars: int
    longest: int


def squeeze(text: str) -> str:
    """Only ASCII letters and digits, in small letters."""
    return text.encode("utf-8", "replace").translate(_SMALL, _SIGNS + _WIDE).decode()


def letters(text: str) -> str:
    """Only letters and digits of any script, in small letters, as they look without accents."""
    if text.isascii():
        return squeeze(text)
    data = lower(normalize("NFKC", text)).encode("utf-8", "ignore").translate(_SMALL, _SIGNS)
    bare = data.decode()
    signs = {*data.translate(None, _ASCII).decode()}
    if len(signs) > MANY_SIGNS:
        return "".join(map(_spell, bare))
    for sign in signs:
        bare = bare.replace(sign, _spell(sign))
    return bare


@lru_cache(2**14)
def _spell(sign: str) -> str:
    """The letters and digits that a sign looks like, the same for its capital; may be empty."""
    small = fold(lower(normalize("NFKC", sign)).encode())[0].decode()
    plain = fold(small.upper().encode())[0].decode().lower()
    return "".join(filter(str.isalnum, plain))


class SearchBudget:
    """The bytes of earlier results that one call may still have searched.

    Attributes:
        is_spent: True once a request exceeded the rest.
    """

    def __init__(self, limit_bytes: int = SEARCHED_BYTES) -> None:
        self._left = limit_bytes
        self.is_spent = False

    def take(self, size: int) -> bool:
        """Take this many bytes; False if too little is left."""
        is_left = size <= self._left
        self._left -= size if is_left else 0
        self.is_spent = self.is_spent or not is_left
        return is_left


def find_shared(sent: str, source: str, excluded: str, budget: SearchBudget) -> Overlap:
    """Find the passages of a text that are in another one.

    Args:
        sent: the text, as only its letters, like both others.
        source: where it may come from.
        excluded: a text whose passages do not count: they were there before.
        budget: of the call.
    """
    form = native()
    limits = _step(sent), PASSAGE_CHARS, ENOUGH_CHARS
    if not budget.take(len(source) + len(sent) // SENT_SHARE):
        return Overlap(0, 0)
    found = form.find_shared(sent, source, excluded, limits) if form is not None else None
    if found is not None:
        return Overlap(*found)
    places = max(0, len(sent) - PASSAGE_CHARS + 1) // _step(sent) + 1
    if not budget.take(len(source) * places):
        return Overlap(0, 0)
    return _walk(sent, source, excluded)


def _walk(sent: str, source: str, excluded: str) -> Overlap:
    step = _step(sent)
    chars = longest = at = behind = 0
    while at + PASSAGE_CHARS <= len(sent) and chars < ENOUGH_CHARS:
        place = source.find(sent[at : at + PASSAGE_CHARS])
        if place < 0:
            at += step
            continue
        before = source[max(0, place - at + behind) : place]
        start = at - common_prefix(sent[behind:at][::-1], before[::-1])
        most = slice(ENOUGH_CHARS)
        end = at + common_prefix(sent[at:][most], source[place:][most])
        if sent[start:end] not in excluded:
            chars = chars + end - start
            longest = max(longest, end - start)
        at = behind = end
    return Overlap(chars, longest)


def find_held(
    values: Sequence[str], texts: Sequence[str], budget: SearchBudget
) -> dict[int, list[int]]:
    """Find which values each text has, in the newest texts if the budget ends.

    Args:
        values: each once.
        texts: the oldest first.
        budget: of the call.

    Returns:
        By the number of each text that has some, the numbers of the values, in their order.
    """
    if not values:
        return {}
    newest = 0 if budget.take(sum(map(len, texts))) else len(texts)
    while newest and budget.take(len(texts[newest - 1])):
        newest -= 1
    form = native()
    found: dict[int, list[int] | None] = dict.fromkeys(range(newest, len(texts)))
    if form is not None and min(map(len, values)) >= LEAST_VALUE:
        held = form.held(values, texts[newest:])
        found = {newest + at: numbers for at, numbers in held.items()}
    for at in reversed([at for at, numbers in found.items() if numbers is None]):
        is_read = budget.take(len(texts[at]) * len(values))
        found[at] = [number for number, each in enumerate(values) if is_read and each in texts[at]]
    return {at: sorted(numbers) for at, numbers in found.items() if numbers}


def lower(text: str) -> str:
    """A text in small letters, none of which depends on its place in a word."""
    return text.lower().replace("ς", "σ")


def list_probes(sent: str) -> list[str]:
    """List parts of a text, one of which is in any source with something for `find_shared`."""
    starts = range(0, len(sent) - PASSAGE_CHARS + 1, _step(sent))
    return [sent[at : at + PASSAGE_CHARS] for at in starts]


def list_new_probes(sent: str, value: str, excluded: str) -> list[str]:
    """List parts of a text, one of which is in any source of a passage that was not said before.

    Args:
        sent: the text.
        value: a part of it.
        excluded: was said; if the value is in it, only passages that go beyond the value are new.
    """
    at = sent.find(value)
    beside = PASSAGE_CHARS - 1
    if at < 0 or len(sent) - len(value) > MOST_BESIDE or value not in excluded:
        return list_probes(sent)
    rest = sent[: at + beside], sent[max(0, at + len(value) - beside) :]
    return [row for text in rest for row in rows(text, PASSAGE_CHARS)]


@cache
def native() -> ModuleType | None:
    """The form in C; None if it was not built."""
    return find_native("detect.model._overlap")


def _step(sent: str) -> int:
    return max(PASSAGE_STEP, len(sent) // MOST_PLACES)


def in_pieces(bare: str, whole: str) -> bool:
    """True if most of a value is in a text, in pieces of some letters each."""
    if len(bare) < 2 * PIECE_CHARS:
        return False
    parts = pieces(bare)
    count = sum(piece in whole for piece in parts)
    return count >= 2 and 5 * count >= 3 * len(parts)


def pieces(bare: str) -> list[str]:
    """Divide a value into pieces, up to its end."""
    starts = [*range(0, len(bare) - PIECE_CHARS, PIECE_CHARS), len(bare) - PIECE_CHARS]
    return [bare[at : at + PIECE_CHARS] for at in starts]


def rows(text: str, size: int) -> set[str]:
    """All rows of so many characters in the words of a text."""
    return {word[at : at + size] for word in text.split() for at in range(len(word) - size + 1)}


def shingles(text: str) -> Iterator[str]:
    """Rows of a few words, one for every second word."""
    words = text.split()
    return (
        " ".join(words[at : at + FEW_WORDS])
        for at in range(0, len(words) - FEW_WORDS + 1, FEW_WORDS // 2)
    )
