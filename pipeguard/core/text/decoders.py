"""Readings of what a text has encoded in it, and the way back. Knows encodings, and no rules.

Everything works on UTF-8 bytes. Cost is linear in the text for any input: what is replaced by a
Python call is counted against a budget, and going over it is told, never passed over in silence.
The encodings themselves stand in core.text.base_encodings, core.text.escapes and
core.text.word_disguises; here are those of single characters.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

from pipeguard.core.text import base_encodings as runs
from pipeguard.core.text import escapes, word_disguises
from pipeguard.core.text.cues import HOST, Cue
from pipeguard.core.text.decoder import Budget, Decoded, Decoder, reads
from pipeguard.core.unicode.folding import Range, merged

PIECE_BYTES = 2048  # read at a time for the way back
HOST_LABELS = 3  # at most that are the host's own, as `collector.acme.test`

_TAGS = re.compile("[\U000e0020-\U000e007e]{2,}")
_FLAGS = re.compile("\U0001f3f4[\U000e0061-\U000e007a]{2,8}\U000e007f")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
_BITS = re.compile(
    "[\u2062\u2064]{64,}|[\u200b\u200c]{64,}|[\u200c\u200d]{64,}|[\u200b\u200d]{64,}"
)
_LABELS = re.compile(
    rf"{HOST}([A-Za-z0-9_-]{{8,63}}+(?:\.[A-Za-z0-9_-]{{1,63}}+){{2,32}})".encode()
)
_OVERRIDDEN = re.compile(rb"\xe2\x80\xae[^\n]*?(?:\xe2\x80\xac|\n|\Z)")
_BIDI = re.compile(rb"\xd8\x9c|\xe2\x80[\x8e\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]")


def decode(data: bytes, cued: dict[Cue, list[Range]], budget: Budget) -> list[Decoded]:
    """Each stretch of the text that decodes to something readable, one level deep.

    Args:
        data: the text.
        cued: for each cue that was seen, the ranges of bytes to look into, in order.
        budget: what it may cost; shared by all levels of one message.
    """
    found: list[Decoded] = []
    for start, end in merged([*cued.pop(Cue.ESCAPE, ()), *cued.pop(Cue.SIMPLE_ESCAPE, ())]):
        found += escapes.escapes(data, start, end, budget)
    for cue, ranges in cued.items():
        decoder = _DECODERS.get(cue, _nothing)
        for start, end in ranges:
            found += decoder(data, start, end, budget)
    return [
        item
        if item.data.isascii() and b"\0" not in item.data
        else item._replace(data=_valid(item.data))
        for item in found
        if budget.admits(item.data)
    ]


def _valid(data: bytes) -> bytes:
    """As UTF-8, without zeros: those of UTF-16 stand between letters."""
    return data.replace(b"\0", b"").decode("utf-8", "replace").encode("utf-8")


def _small(text: bytes) -> bytes:
    """Halves of flags as small letters: as capitals, they are folded."""
    return text.decode("utf-8", "replace").translate(_INDICATORS).encode()


_INDICATORS = {code: chr(code - 0x1F1E6 + ord("a")) for code in range(0x1F1E6, 0x1F200)}


class Parts:
    """All that was decoded from one reading, and the way back to it.

    Attributes:
        data: the decoded texts, one a line.
    """

    __slots__ = ("_ends", "_found", "_pieces", "_read", "data")

    def __init__(self, found: list[Decoded], read: bytes) -> None:
        self._found = found
        self._read = read
        self._ends: list[int] = []  # once asked for, where each part ends in `data`
        self._pieces: dict[int, list[int]] = {}
        self.data = b"\n".join(part.data for part in found)

    def at(self, start: int) -> Decoded:
        """The part that a byte of `data` stands in."""
        return self._found[self._index(start)]

    def origin(self, start: int, end: int) -> Range:
        """About where a stretch of `data` stands in the text that it was decoded from."""
        index = self._index(start)
        part, begins = self._found[index], self._ends[index - 1] if index else 0
        if part.view == "reversed":
            return max(part.start, part.end + begins - end), part.end + begins - start
        reader = _PIECEWISE.get(part.view)
        if reader is None:
            return part.start, part.end
        if index not in self._pieces:
            cuts = range(part.start, part.end, PIECE_BYTES)
            texts = (self._read[cut : min(cut + PIECE_BYTES, part.end)] for cut in cuts)
            lengths = (len(reader(text)) for text in texts)
            self._pieces[index] = list(accumulate(lengths, initial=begins))
        pieces = self._pieces[index]
        nth = min(bisect_right(pieces, start), len(pieces) - 1) - 1
        first = min(part.start + nth * PIECE_BYTES + start - pieces[nth], part.end - 1)
        return first, min(max(first + end - start, first + 1), part.end)

    def as_written(self, start: int, end: int) -> bool:
        """True for a stretch of `data` that stands in what it was decoded from, as it is."""
        part = self.at(start)
        return (
            part.view in _PIECEWISE
            and self._read.find(self.data[start:end], part.start, part.end) >= 0
        )

    def _index(self, start: int) -> int:
        if not self._ends:
            self._ends.extend(accumulate(len(part.data) + 1 for part in self._found))
        return min(bisect_right(self._ends, start), len(self._ends) - 1)


def _tags(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    text = _FLAGS.sub("", data[start:end].decode("utf-8", "ignore"))
    runs = [_untag(run[0]) for run in _TAGS.finditer(text) if budget.call()]
    return [Decoded("\n".join(runs).encode(), "tags", start, end)] if runs else []


def _untag(run: str) -> str:
    return "".join(chr(ord(character) - 0xE0000) for character in run)


def _selectors(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    """Bytes written as variation selectors: the first sixteen, and the rest."""
    found: list[Decoded] = []
    text = data[start:end].decode("utf-8", "ignore")
    for run in _SELECTORS.finditer(text):
        codes = (ord(character) for character in run[0])
        plain = bytes(c - 0xFE00 if c < 0xFF00 else c - 0xE0100 + 16 for c in codes)
        if budget.call() and reads(plain):
            found.append(Decoded(plain, "selectors", start, end))
    return found


def _bits(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    """Bits written as two invisible characters, eight to a byte."""
    found: list[Decoded] = []
    text = data[start:end].decode("utf-8", "ignore")
    for run in _BITS.finditer(text):
        for one in set(run[0]):
            bits = "".join("1" if character == one else "0" for character in run[0])
            whole = len(bits) // 8
            plain = int(bits[: whole * 8], 2).to_bytes(whole, "big")
            if budget.call() and reads(plain):
                found.append(Decoded(plain, "bits", start, end))
    return found


def _labels(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    """The labels of a name with nothing between: what is sent out by asking for a host.

    Read with and without its last ones, which are the host's own and would spoil an encoding.
    """
    found: list[Decoded] = []
    for match in _LABELS.finditer(data, start, end):
        labels = match[1].split(b".")
        for own in range(min(len(labels), HOST_LABELS + 1)):
            if budget.call():
                plain = b"".join(labels[: len(labels) - own])
                found.append(Decoded(plain, "labels", match.start(1), match.end()))
    return found


def _overridden(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    """What stands between an override to the left and its end, as a reader sees it (UAX 9)."""
    found: list[Decoded] = []
    for match in _OVERRIDDEN.finditer(data, start, end):
        if not budget.call():
            break
        plain = _BIDI.sub(b"", match[0])
        found.append(Decoded(word_disguises.reverse(plain), "reversed", match.start(), match.end()))
    return found


def _respelt(view: str, readers: Sequence[Callable[[bytes], bytes]]) -> Decoder:
    """A decoder of a whole stretch in which a watched word stands in another spelling."""

    def decoder(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
        texts = (reader(data[start:end]) for reader in readers if start < end and budget.call())
        return [Decoded(text, view, start, end) for text in texts]

    return decoder


def _nothing(data: bytes, start: int, end: int, budget: Budget) -> list[Decoded]:
    return []


# Readings that are as long as what they were read from, or keep what stands around.
_PIECEWISE: dict[str, Callable[[bytes], bytes]] = {
    **escapes.READERS,
    "rot13": word_disguises.rot13,
    "leet": word_disguises.unleet,
    "indicators": _small,
}
_DECODERS: dict[Cue, Decoder] = {
    **escapes.DECODERS,
    **runs.DECODERS,
    Cue.TAGS: _tags,
    Cue.SELECTORS: _selectors,
    Cue.BITS: _bits,
    Cue.LABELS: _labels,
    Cue.TURNED: _respelt("rot13", [word_disguises.rot13]),
    Cue.REVERSED: _respelt("reversed", [word_disguises.reverse]),
    Cue.LEET: _respelt("leet", [word_disguises.unleet, word_disguises.unleet_l]),
    Cue.SPACED: escapes.windowed("spelled", Cue.SPACED, word_disguises.unspell),
    Cue.OVERRIDDEN: _overridden,
    Cue.INDICATORS: escapes.windowed("indicators", Cue.INDICATORS, _small),
}
