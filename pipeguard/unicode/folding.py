"""Readings of a text letter by letter: folded, softened, squeezed. Knows Unicode, and no rules.

Works on UTF-8 bytes, a block at a time, so that plain ASCII costs nothing. Encodings are for
detect.text.decoders. Sources: Unicode UAX 15 (compatibility forms), UTS 39 (look-alikes), UAX 9 and
31 (invisible characters).
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate, starmap
from operator import itemgetter

from pipeguard.firewall.lazy_regex import lazy_regex

BLOCK = 4096  # bytes folded at a time: a block of plain ASCII is skipped
MAX_FOLDS = 70_000  # characters remembered: more than any text has, fewer than Unicode has
MOST_BLOCKS = 16  # whose letters are cached
MAX_EXPANSION = 6  # letters that a character is folded to: two ligatures of phrases have more

Range = tuple[int, int]

# UTS 39 look-alikes that NFKC does not change: Cyrillic, Greek, Armenian, Cherokee, Latin.
_LOOK_ALIKES = (
    "аaеeоoрpсcуyхxіiјjѕsԁdһhԛqԝwӏlАAВBЕEКKМMНHОOРPСCТTХXІIЈJЅSУYҮYүyѴVѵvԚQԜWԌGԀDҺHӀI"
    "αaοoρpνvιiκkυuχxϲcγyΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧX"
    "օoսuոnհhզqցgաwᎠDᎡRᎢTᎥiᎪAᎫJᎬEᎳWᎷMᎻHᎽYᏀGᏂhᏃZᏏbᏒRᏔWᏕSᏙVᏚSᏞLᏟCᏢPᏦKᏧdᏴB"
    "ꓐBꓑPꓓDꓔTꓖGꓗKꓙJꓚCꓜZꓝFꓟMꓠNꓡLꓢSꓣRꓦVꓧHꓪWꓫXꓬYꓮAꓰEꓲIꓳOꓴU"
    "ⲁaⲉeⲓiⲕkⲟoⲣpⲥcⲧtⲩyⲭxɓbɗdɦhɨiɭlɱmɳnʂsʈtʋvʐz"
    "ıiɡgɑaɩiᴀaʙbᴄcᴅdᴇeꜰfɢgʜhɪiᴊjᴋkʟlᴍmɴnᴏoᴘpʀrꜱsᴛtᴜuᴠvᴡwʏyᴢzøoØOłlŁLđdĐD"
    '‐-‑-‒-–-—-―-−-‘\'’\'‚\'“"”"„"«"»"⁄/∕/\u2028\n\u2029\n\u0085\n\u1680 。.'
)


class _Folds(dict[int, int | str]):
    """The folded form of each character, perhaps unchanged; computed when first needed."""

    def __missing__(self, code: int) -> int | str:
        if len(self) > MAX_FOLDS:
            self.clear()
        # A Greek sigma like a c has another one for compatibility, which looks like no letter.
        plain = chr(code) if chr(code) in _PLAIN else unicodedata.normalize("NFKC", chr(code))
        folded = "".join(map(_base, plain)) if len(plain) <= MAX_EXPANSION else chr(code)
        result = self[code] = code if folded == chr(code) else folded
        return result


def _base(character: str) -> str:
    """The plain letter for an accented one or a look-alike; empty for an invisible character."""
    code = ord(character)
    if _INVISIBLE.match(character):
        return ""
    if 0x00C0 <= code < 0x0250 or 0x1E00 <= code < 0x1F00:
        base = unicodedata.normalize("NFD", character)[0]
        character = base if base.isascii() else character
    return _PLAIN.get(character, character)


_INVISIBLE = lazy_regex(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\u0300-\u036f"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# White letters in black circles and squares, and halves of flags: none has a compatibility form.
_CAPITALS = {
    chr(first + step): chr(ord("A") + step)
    for first in (0x1F150, 0x1F170, 0x1F1E6)
    for step in range(26)
}
_PLAIN = dict(zip(_LOOK_ALIKES[::2], _LOOK_ALIKES[1::2], strict=True)) | _CAPITALS
_PLAIN |= {alike.lower(): plain.lower() for alike, plain in _PLAIN.items() if "Ꭰ" <= alike <= "Ᏽ"}
_ASCII = bytes(range(128))
_TYPOGRAPHY = frozenset("‘’“”„«»–—…•·°©®™§€£×→←✓")
_FEW = 60  # distinct characters, up to which a `replace` for each beats one `translate`
_folds = _Folds()


def fold(data: bytes) -> tuple[bytes, list[Range]]:
    """Fold compatibility forms, look-alikes, accents and invisible characters to plain letters.

    Case is kept: a rule may ignore it.

    Returns:
        The folded text, and the ranges of it that differ.
    """
    if data.isascii():  # most texts
        return data, []
    folded, changed, _ = fold_and_back(data)
    return folded, changed


def fold_and_back(data: bytes) -> tuple[bytes, list[Range], Unfolding]:
    """Fold a text; also return the way back to its original positions."""
    if data.isascii():
        return data, [], Unfolding(data, lambda: [(0, 0, False)])
    blocks = []
    changed: list[Range] = []
    table = []
    start = length = 0
    while start < len(data):
        end = _boundary(data, start + BLOCK)
        block = data[start:end]
        folded = block if block.isascii() else _fold_block(block)
        table.append((length, start, folded != block))
        if folded != block:
            extend(changed, length, length + len(folded))
        blocks.append(folded)
        start, length = end, length + len(folded)
    return b"".join(blocks), changed, Unfolding(data, lambda: table)


class _Sizes(dict[str, int]):
    """The bytes of each character's folded form; computed when first needed."""

    def __missing__(self, character: str) -> int:
        if len(self) > MAX_FOLDS:
            self.clear()
        size = self[character] = len(character.translate(_folds).encode())
        return size


_sizes = _Sizes()


class Unfolding:
    """The way back from a folded text to the original."""

    def __init__(self, data: bytes, list_blocks: Callable[[], list[tuple[int, int, bool]]]) -> None:
        """Store the original, and what lists its blocks for the first question.

        Args:
            data: the original.
            list_blocks: lists the folded and the original start of each block, and if it differs.
        """
        self._data = data
        self._list_blocks = list_blocks
        self._blocks: dict[int, tuple[str, list[int]]] = {}

    @cached_property
    def _table(self) -> list[tuple[int, int, bool]]:
        return self._list_blocks()

    def span(self, start: int, end: int) -> Range:
        """The place of a folded stretch in the original, in whole characters."""
        return self._at(start)[0], self._at(max(start, end - 1))[1]

    def place(self, at: int) -> int:
        """The position in the folded text of a byte of the original, between two characters."""
        number = bisect_right(self._table, at, key=itemgetter(1)) - 1
        folded_at, start, changed = self._table[number]
        if not changed:
            return folded_at + at - start
        _, ends = self._block(start)
        before = len(self._data[start:at].decode("utf-8", "replace"))
        return folded_at + (ends[min(before, len(ends)) - 1] if before else 0)

    def _at(self, place: int) -> Range:
        """The range of the character that a byte of the folded text comes from."""
        number = bisect_right(self._table, place, key=itemgetter(0)) - 1
        folded_at, at, changed = self._table[number]
        if not changed:
            start = min(at + place - folded_at, len(self._data))
            return start, min(start + 1, len(self._data))
        letters, ends = self._block(at)
        index = min(bisect_right(ends, place - folded_at), len(letters) - 1)
        start = at + len(letters[:index].encode())
        return start, start + len(letters[index].encode())

    def _block(self, at: int) -> tuple[str, list[int]]:
        """The letters of a block, and the end of each once folded, in bytes."""
        block = self._blocks.get(at)
        if block is None:
            if len(self._blocks) >= MOST_BLOCKS:  # rules need the same ones, one after the other
                self._blocks.clear()
            letters = self._data[at : _boundary(self._data, at + BLOCK)].decode("utf-8", "replace")
            block = letters, list(accumulate(map(_sizes.__getitem__, letters)))
            self._blocks[at] = block
        return block


def _boundary(data: bytes, end: int) -> int:
    """The next place from `end` on that is between two characters."""
    while end < len(data) and data[end] & 0xC0 == 0x80:
        end += 1
    return min(end, len(data))


def _fold_block(block: bytes) -> bytes:
    foreign = set(block.translate(None, _ASCII).decode("utf-8", "replace"))
    if foreign <= _TYPOGRAPHY:
        return block  # rules know curly quotes, and no word hides behind a dash
    # Character by character, which undoes composition again; to normalise the whole text would
    # order marks, which is quadratic in them (UAX 15, section 11).
    folding = [character for character in foreign if _folds[ord(character)] != ord(character)]
    text = block.decode("utf-8", "replace")
    if len(folding) <= _FEW:
        for character in folding:
            text = text.replace(character, str(_folds[ord(character)]))
    else:
        text = text.translate(_folds)
    return text.encode()


def keep(data: bytes, ranges: Sequence[Range]) -> tuple[bytes, Unfolding]:
    """Keep only some ranges of a text; also return the way back."""

    def list_blocks() -> list[tuple[int, int, bool]]:
        sizes = accumulate((high - low for low, high in ranges), initial=0)
        return [(size, low, False) for size, (low, _) in zip(sizes, ranges, strict=False)]

    return b"".join(map(data.__getitem__, starmap(slice, ranges))), Unfolding(data, list_blocks)


_BETWEEN_SECRETS = bytes(range(0x21)) + b"\"'`,;|\\\x7f"
_BETWEEN_WORDS = bytes(code for code in range(128) if not chr(code).isalnum())


SOFTENED = 400  # bytes a backslash: a text with more backslashes is JSON or the like

# Line ends and quotes as JSON escapes them, three times, twice and once, and the replacement of
# the same length.
_MEANT = {b"n": b" ", b"t": b" ", b"r": b" ", b'"': b'"'}
_ESCAPED_SPACES = tuple(
    [(backslash + sign, meant.rjust(len(backslash) + 1)) for sign, meant in _MEANT.items()]
    for backslash in (b"\\\\\\", b"\\\\", b"\\")
)
_ROW = lazy_regex(rb"\\{2,}+")
FEW_ROWS = 256  # of backslashes in a text that are replaced one by one


def soften(data: bytes) -> bytes:
    """Replace escaped line ends and quotes by spaces and quotes, all other bytes in place.

    A model reads JSON in a string as its text; so do rules then, at the same offsets.
    """
    if data.count(b"\\") * SOFTENED < len(data):
        return data  # detect.text.decoders reads the few escapes
    data, rows = _soften_rows(data)
    for escapes in _ESCAPED_SPACES[-1:] if rows else _ESCAPED_SPACES:
        for escaped, meant in escapes:
            data = data.replace(escaped, meant)
    return data


def _soften_rows(data: bytes) -> tuple[bytes, bool]:
    """Replace text that is escaped two or three times; False if there is too much of it."""
    at = data.find(b"\\\\")
    if at < 0:
        return data, True
    softened = bytearray(data)
    for _ in range(FEW_ROWS):
        row = _ROW.match(data, at)
        end = row.end() if row else at
        meant = _MEANT.get(data[end : end + 1])
        if meant is not None:
            low = max(at, end - 3)
            softened[low : end + 1] = meant.rjust(end + 1 - low)
        at = data.find(b"\\\\", end)
        if at < 0:
            return bytes(softened), True
    return data, False


# In a row: the first backslash is outside the group, so that `re` finds it.
_JSON_ESCAPES = lazy_regex(rb"\\[\"\\/bfnrt](?>(?>(?:\\[\"\\/bfnrt]){1,500})*)")
_OF_ESCAPES = bytes.maketrans(b"bfnrt", b"  \n \t")


def soften_json(data: bytes) -> bytes:
    """Replace escapes of JSON by their meaning, all other bytes in place; code points stay.

    A row of escapes keeps its end: so an escape of an escape remains one.
    """
    return _JSON_ESCAPES.sub(
        lambda row: row[0][1::2].translate(_OF_ESCAPES).rjust(len(row[0])), data
    )


def squeeze(data: bytes, *, words: bool) -> bytes:
    """Remove separators: all but letters and digits for words, else white space and quotes."""
    return data.translate(None, _BETWEEN_WORDS if words else _BETWEEN_SECRETS)


class Spaced:
    """A text that was squeezed, and the way back to it.

    Attributes:
        data: the text with its separators.
    """

    __slots__ = "_counts", "_last", "data"

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._last: tuple[tuple[int, int, bool], Range] | None = None  # a match is located again
        self._counts: dict[bytes, list[int]] = {}  # squeezed bytes up to the end of each block

    def span(self, start: int, end: int, *, words: bool) -> Range:
        """The place of a stretch of the squeezed text in the original text."""
        asked, last = (start, end, words), self._last
        if last is None or last[0] != asked:
            between = _BETWEEN_WORDS if words else _BETWEEN_SECRETS
            place = self._place(between, start), self._place(between, end - 1) + 1
            self._last = last = asked, place
        return last[1]

    def _place(self, between: bytes, count: int) -> int:
        """The place of the byte after so many others, not counting separators."""
        data, counts = self.data, self._counts.get(between)
        if counts is None:  # once: a long text may have a match in each line
            parts = (data[at : at + BLOCK] for at in range(0, len(data), BLOCK))
            counts = list(accumulate(len(part.translate(None, between)) for part in parts))
            self._counts[between] = counts
        number = bisect_right(counts, count)
        position, step = number * BLOCK, BLOCK // 8
        count -= counts[number - 1] if number else 0
        while step and position < len(data):
            size = len(data[position : position + step].translate(None, between))
            if size > count:
                step //= 8  # it is in these bytes: look closer
            else:
                count -= size
                position += step
        return min(position, len(data) - 1)


def extend(ranges: list[Range], low: int, high: int) -> None:
    """Add a range that begins in the last one or after it."""
    if ranges and low <= ranges[-1][1]:
        ranges[-1] = ranges[-1][0], max(high, ranges[-1][1])
    else:
        ranges.append((low, high))


def merge(ranges: list[Range]) -> list[Range]:
    """Merge ranges of the same bytes: sorted, none touching another."""
    apart: list[Range] = []
    for low, high in sorted(ranges):
        extend(apart, low, high)
    return apart
