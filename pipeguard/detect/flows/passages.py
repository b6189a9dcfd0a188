"""Passages that were cut out of results, by the lines in their place, to be put back into calls.

In memory only, and bounded: a line whose passage is forgotten is refused when it comes back. All
servers of a client share them, because a passage is no secret. It is put back before the call is
judged, so that every rule sees what the server would get.
"""

import json
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from threading import Lock

from pipeguard.firewall.budgets import measure_text
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, walk_texts, with_strings
from pipeguard.firewall.session.rewrite import CUT_SIGN, LINE
from pipeguard.records import NamedTuple

MAX_PASSAGES = 1000
MAX_PASSAGE_BYTES = 2**20  # a longer one is cut out for good
EDGE_CHARS = 200  # next to a line, in which signs of JSON are looked for
MAX_BYTES = 4 * 2**20  # of all passages, in memory; and of those put back into one call
MAX_LINES = 256  # that are replaced in one text

_LEFT = lazy_regex(r'(?:\\.|")[^"\\]*\Z')
_RIGHT = lazy_regex(r'[^"\\]*(?:\\.|")')
_HUNK = lazy_regex(r"(?m)^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NUMBER = lazy_regex(r"(?m)^(?: +\d+\t| *\d+→)|\A\d+\t")


class _Passage(NamedTuple):
    """A passage as it was in its source.

    Attributes:
        words: the passage.
        edges: the signs of JSON next to it: for each JSON string around it, the outermost first.
        has_crlf: True if the lines of the text around it end in CR LF.
    """

    words: str
    edges: tuple[tuple[str, str], ...]
    has_crlf: bool


class Passages:
    """The passages that were cut out of one client's results. Safe for any thread.

    Attributes:
        size_bytes: of all of them, in memory.
    """

    def __init__(self) -> None:
        self._passages: OrderedDict[str, _Passage] = OrderedDict()
        self.size_bytes = 0
        self._lock = Lock()  # one thread cuts, another puts back

    def keep(self, line: str, words: str, source: str) -> None:
        """Remember a passage.

        Args:
            line: the line in its place.
            words: the passage.
            source: the string it was cut out of.
        """
        *outer, text = next(_find_strings(source.replace(words, line, 1)), [source])
        edges = tuple(_find_edges(each, line) for each in outer)
        words = str(self.put_back(words))  # it may have an earlier line
        # Without the numbers that a tool wrote before its lines, as `cat -n` does.
        numbered = [match for match in _NUMBER.finditer(words) if match.start() > 0]
        if numbered and len(numbered) == words.count("\n"):
            words = _NUMBER.sub("", words)
        if measure_text(words) > MAX_PASSAGE_BYTES:
            return
        with self._lock:
            self._drop(line)
            self._passages[line] = _Passage(words, edges, "\r\n" in text)
            self.size_bytes += measure_text(words)
            while len(self._passages) > MAX_PASSAGES or self.size_bytes > MAX_BYTES:
                self._drop(next(iter(self._passages)))

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._passages.clear()
            self.size_bytes = 0

    def _drop(self, line: str) -> None:
        passage = self._passages.pop(line, None)
        self.size_bytes -= 0 if passage is None else measure_text(passage.words)

    def put_back(self, value: JsonValue) -> JsonValue:
        """A value with the passages in place of the lines in its strings.

        A line stays if its passage is unknown, or if too much would be put back.
        """
        room = MAX_BYTES

        def restore(text: str) -> str:
            nonlocal room
            lines = [*LINE.finditer(text)] if CUT_SIGN in text else []
            places = [*_find_strings(text)] if len(lines) <= MAX_LINES else []
            if len(places) != len(lines):  # or JSON spells a line with escapes
                return text
            done = ""
            at = 0
            for line, strings in zip(lines, places, strict=True):
                with self._lock:
                    passage = self._passages.get(line[0])
                room -= measure_text(line[0] if passage is None else passage.words)
                words = line[0]
                if passage is not None and room >= 0:
                    words = _spell(passage, words, strings)
                done, words = _fit_hunk(done + text[at : line.start()], words)
                done = done + words
                at = line.end()
            return done + text[at:]

        return with_strings(value, restore)


def _find_strings(text: str) -> Iterator[list[str]]:
    """For each line in a text, the strings around it: the text, then those of JSON in it."""
    value: JsonValue = None
    if text.lstrip()[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            value = json.loads(text)
    if value is None:
        yield from ([text] for _ in LINE.finditer(text))
        return
    for inner in walk_texts(value):
        if CUT_SIGN in inner:
            yield from ([text, *strings] for strings in _find_strings(inner))


def _spell(passage: _Passage, line: str, strings: list[str]) -> str:
    """Spell a passage as the text needs it in which its line is.

    In fewer JSON strings than it was, it is decoded: a client unpacked it. A part of a JSON
    document is in fewer, too, but has signs of JSON next to the line as they were in the source.

    Args:
        passage: the passage.
        line: the line in its place.
        strings: the strings around the line, the outermost first.
    """
    words = passage.words
    missing = len(passage.edges) - (len(strings) - 1)
    before, _, behind = strings[-1].partition(line)
    kept = (
        level
        for level, (left, right) in enumerate(passage.edges[: max(missing, 0)])
        if (left and before.endswith(left)) or (right and behind.startswith(right))
    )
    for _ in range(next(kept, missing)):
        words = _decode(words)
    if "\r\n" in before + behind and not passage.has_crlf:
        words = words.replace("\n", "\r\n")
    elif "\n" in before + behind and "\r\n" not in before + behind:
        words = words.replace("\r\n", "\n")
    for _ in range(-missing):
        words = json.dumps(words, ensure_ascii=False)[1:-1]
    return words


def _fit_hunk(before: str, words: str) -> tuple[str, str]:
    """The beginning of a unified diff, and a passage as lines of its last hunk, which it widens.

    Any other text, and a passage of one line, stay as they are.
    """
    hunk = next(reversed([*_HUNK.finditer(before)]), None) if "\n" in words else None
    if hunk is None:
        return before, words
    sign = before.rpartition("\n")[2][:1]
    more = words.count("\n")
    old, new = (
        f"{hunk[start]},{int(hunk[start + 1] or 1) + more * (sign != other)}"
        for start, other in ((1, "+"), (3, "-"))
    )
    widened = f"{before[: hunk.start()]}@@ -{old} +{new} @@{before[hunk.end() :]}"
    return widened, words.replace("\n", f"\n{sign}")


def _find_edges(text: str, line: str) -> tuple[str, str]:
    """The last sign of JSON before a line, and the first behind it, with what is between."""
    before, _, behind = text.partition(line)
    left = _LEFT.search(before[-EDGE_CHARS:])
    right = _RIGHT.match(behind[:EDGE_CHARS])
    return left[0] if left else "", right[0] if right else ""


def _decode(words: str) -> str:
    """The meaning of a part of a JSON string; the part itself if it is none."""
    with suppress(ValueError):
        return str(json.loads(f'"{words}"', strict=False))
    return words
