"""The extent of a cut: the text that is removed from strings with an order that a rule found.

Whole sentences are removed, and lines of the same paragraph, because an order rarely ends with the
sentence that gives it away. In a string that is JSON, only values of strings are removed, so that
it remains JSON. Knows strings and readings; firewall.session decides on the cut.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from operator import eq, itemgetter
from unicodedata import category, normalize

from pipeguard.detect.model.cascade import Selection
from pipeguard.detect.model.opener import Stretch, in_whole_characters
from pipeguard.detect.scanning.origin import Origin
from pipeguard.detect.scanning.scan_budget import Match, StringSpan
from pipeguard.detect.text.document import MessageText
from pipeguard.firewall.finding import Confidence
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import Path
from pipeguard.firewall.protocol.places import get_value
from pipeguard.native import find_native
from pipeguard.unicode.folding import Range, fold, soften, soften_json

LATIN_END = 0x250  # letters with accents before it are those of languages
VALUE_CHARS = 24  # of a value in JSON: a shorter one next to a longer one is an id or a name
MAX_JSON_CHARS = 2**20  # a longer string is not parsed as JSON
MAX_ESCAPE_CHARS = 11  # of an escape in JSON, without its last: two of four digits
WRAPPED_CHARS = 120  # of a line that the next one continues; a longer one is a paragraph
PLAIN = "text", "folded", "notice"  # readings of visible text
READ_ALIKE = 10  # a reading may change one in so many bytes of a passage
PARAGRAPH_CHARS = 480  # before and after an order: the limit for following its paragraph
_STRING = lazy_regex(r'(?s)"((?>(?>(?:[^"\\]++|\\.){1,500})*))"(?=(\s*:)?)')
_ESCAPE = lazy_regex(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u.{4}|\\.")
_LINE_END, _ESCAPED_LINE_END = lazy_regex(r"\n"), lazy_regex(r"\\[nr]")
# A line that may continue the previous one: not an item, table row, heading or log line.
_CONTINUES = lazy_regex(r"[ \t]*+(?>([>#;%+]++|//++|<\|)?)[ \t]*+(?:[^\W\d_]|[\"'(«“„‘])")
_FENCE = lazy_regex(r"[ \t]*(?:```|~~~)")
_MARK = lazy_regex(r"[ \t]*([>#;%+]+|//+|<\|)?")  # of each line of a quote, a comment, or a turn
_SENTENCE = lazy_regex(r"[.!?\u0964\u061f][\"'”’»)]*\s+|[\u3002\uff01\uff1f]+|\n+")
_SPACE = lazy_regex(r"\s+")
_WORD, _ESCAPED_WORD = lazy_regex(r"(\S+)"), lazy_regex(r"\\[nrt]|((?:\\[^nrt]|[^\s\\])+)")
_LETTER = lazy_regex(r"[^\W_]")


class Extents:
    """The parts of a text's strings that go with its orders."""

    def __init__(self, text: MessageText) -> None:
        self._text = text
        self._json_values: dict[Path, Sequence[Range] | None] = {}

    def of(self, origin: Origin, reach: Range, *, is_order: bool) -> tuple[StringSpan, ...]:
        """The parts of strings that go with a range; empty if its reading is decoded or joined.

        Args:
            origin: the way back from the reading.
            reach: the range.
            is_order: True for sentences of an order, which take adjacent ones with them.
        """
        is_plain = origin.chain in PLAIN and origin.outer is None
        if self._text.is_keyed or not (is_plain or origin.parts is not None):
            return ()
        room = PARAGRAPH_CHARS if is_order else 0
        _, low, high, _ = origin.trace(*reach)
        written = self._text.data[low:high]
        if origin.parts is not None:
            decoded = origin.parts.data[slice(*reach)]
            same = sum(map(eq, decoded, written))  # so few changes that it reads as before
            if len(decoded) != len(written) or READ_ALIKE * same < (READ_ALIKE - 1) * len(decoded):
                return ()
        low, high = in_whole_characters(self._text.data, low, high)
        cuts = [
            StringSpan(path, start, end)
            for path, string, first, last in self._text.find_strings(low, high)
            for start, end in self._in_string(path, string, (first, last), room)
            if _LETTER.search(string, start, end)
        ]
        return tuple(dict.fromkeys(cuts))

    def _in_string(self, path: Path, string: str, reach: Range, room: int) -> Iterator[Range]:
        """The parts of one string that go with a range of it, within the given room."""
        if path not in self._json_values:
            self._json_values[path] = json_values(string)
        values = self._json_values[path]
        if values is None:
            around = _paragraph(string, reach, (0, len(string)), room, _LINE_END)
            yield _trim(string, around, _WORD)
            return
        first, last = reach
        within = [each for each in values if each[0] < last and first < each[1]]
        parts = [(max(first, start), min(last, end)) for start, end in within]
        longest = max((high - low for low, high in parts), default=0)
        for bounds, (low, high) in zip(within, parts, strict=True):
            if high - low >= min(longest, VALUE_CHARS):
                around = _paragraph(string, (low, high), bounds, room, _ESCAPED_LINE_END)
                start = _find_escape(string, around[0], bounds[0])[0]
                end = _find_escape(string, around[1], bounds[0])[1]
                yield _trim(string, (start, end), _ESCAPED_WORD)


def settled_cuts(text: MessageText, matches: Sequence[Match]) -> list[Match]:
    """The matches, with cuts for related text in plain sight.

    Text that only another reading shows is not cut, because somebody hid it; but it goes with a
    nearly as sure passage in plain sight, as words without their accents do. The text that a
    cut leaves is judged again.
    """
    plain = _Passages(matches, Confidence.MEDIUM)
    settled = [_settle(text, match, matches, plain) for match in matches]
    sure = _Passages(settled, Confidence.HIGH)
    taken: dict[int, list[StringSpan]] = {}
    for match in settled:
        for cut in match.cuts if match.confidence is Confidence.MEDIUM else ():
            number = sure.near(cut, PARAGRAPH_CHARS)
            if number is not None:
                taken.setdefault(number, []).append(cut)
    for number, cuts in taken.items():
        together = dict.fromkeys((*settled[number].cuts, *cuts))
        settled[number] = settled[number]._replace(cuts=tuple(together))
    return settled


def _settle(text: MessageText, match: Match, matches: Sequence[Match], plain: _Passages) -> Match:
    """A match, with the cuts of the visible passage around it; without cuts if it is hidden."""
    if match.rule.is_private or (match.cuts and match.view != "folded"):
        return match
    if match.cuts and not any(_is_disguised(text, cut) for cut in match.cuts):
        return match
    for span in match.cuts or (StringSpan(match.path, match.start, match.end),):
        number = plain.near(span)
        if number is not None:
            return match._replace(cuts=match.cuts or matches[number].cuts)
    return match._replace(cuts=())


class _Passages:
    """The parts that go with matches, by their strings."""

    def __init__(self, matches: Sequence[Match], least: Confidence) -> None:
        """Collect the parts for matches in plain sight with enough confidence."""
        self._ranges: dict[Path, list[tuple[int, int, int]]] = {}
        for number, match in enumerate(matches):
            if match.view != "folded" and match.confidence >= least:
                for path, start, end in match.cuts:
                    self._ranges.setdefault(path, []).append((start, end, number))
        for path, ranges in self._ranges.items():
            apart: list[tuple[int, int, int]] = []
            for start, end, number in sorted(ranges):
                if apart and start <= apart[-1][1]:
                    apart[-1] = apart[-1][0], max(apart[-1][1], end), apart[-1][2]
                else:
                    apart.append((start, end, number))
            self._ranges[path] = apart

    def near(self, cut: StringSpan, room: int = 0) -> int | None:
        """The number of a match with a part so close to another; None if there is none."""
        ranges = self._ranges.get(cut.path, ())
        at = bisect_left(ranges, cut.end + room, key=itemgetter(0)) - 1
        return ranges[at][2] if at >= 0 and ranges[at][1] + room > cut.start else None


def _is_disguised(text: MessageText, cut: StringSpan) -> bool:
    """True if letters are replaced, or separated by invisible characters; not for signs."""
    string = get_value(text.value, cut.path)
    words = string[cut.start : cut.end] if isinstance(string, str) else ""
    others = "".join(
        c
        for c in normalize("NFC", words)  # accents of their own are those of languages
        if not ((c.isalpha() and ord(c) < LATIN_END) or category(c)[0] in "PSZ")
    )
    return fold(others.encode())[0] != others.encode()


def json_values(string: str) -> list[Range] | None:
    """Find the strings of JSON text, without quotes and keys; None for any other text."""
    may_be_json = string[:BLANK_CHARS].lstrip()[:1] in _ENDS and len(string) <= MAX_JSON_CHARS
    if not may_be_json or not _is_json(string):
        return None
    return [match.span(1) for match in _STRING.finditer(string) if match[2] is None]


def _is_json(string: str) -> bool:
    """True for JSON, and for lines that are each JSON."""
    try:
        json.loads(string)
    except RecursionError:
        return False
    except ValueError:
        lines = string.strip().split("\n")
        return len(lines) > 1 and all(map(_is_json, filter(str.strip, lines)))
    return True


def _find_escape(string: str, at: int, start: int) -> Range:
    """The start of the escape around a place; else the place itself."""
    for low in range(max(start, at - MAX_ESCAPE_CHARS), at):
        before = string[start : low + 1]
        if (len(before) - len(before.rstrip("\\"))) % 2:  # the backslash itself is not escaped
            escape = _ESCAPE.match(string, low)
            if escape and escape.end() > at:
                return escape.span()
    return at, at


def _paragraph(
    string: str, reach: Range, bounds: Range, room: int, line_end: re.Pattern[str]
) -> Range:
    """The lines of the paragraph around a range, if there is room; otherwise its sentences.

    Args:
        string: the string.
        reach: the range.
        bounds: the largest range that may go.
        room: how many characters there may be before and after the range.
        line_end: a pattern for the end of a line.
    """
    if not room:
        return reach
    # Without letterless lines at its ends, which a pattern may begin with.
    own = [*pairwise([reach[0], *_ends(line_end, string, *reach), reach[1]])]
    worded = [each for each in own if _LETTER.search(line_end.sub("", string[slice(*each)]))]
    first, last = (worded[0][0], worded[-1][1]) if worded else reach
    near = max(bounds[0], first - room), min(bounds[1], last + room)
    lines = [bounds[0], *_ends(line_end, string, *near), bounds[1]]
    number = bisect_right(lines, first) - 1
    while number > 0 and _continues(string, lines[number - 1 : number + 2], line_end):
        number -= 1
    start = lines[number]
    number = min(bisect_left(lines, last), len(lines) - 1)
    while number < len(lines) - 1 and _continues(string, lines[number - 1 : number + 2], line_end):
        number += 1
    end = lines[number]
    if first - start > room:
        start = (_sentence_ends(string, first - room, first) or [first])[0]
    if end - last > room:
        end = (_sentence_ends(string, last, last + room) or [last])[-1]
    return start, end


def _continues(string: str, lines: Sequence[int], line_end: re.Pattern[str]) -> bool:
    """True if the second of two lines, given by three bounds, continues the first's paragraph."""
    before, start, end = lines
    above, line = string[before:start], _CONTINUES.match(string, start, end)
    is_blank = not _LETTER.search(line_end.sub("", above))
    if line is None or is_blank or len(above) > WRAPPED_CHARS or _FENCE.match(above):
        return False
    mark = _MARK.match(above)
    return mark is not None and line[1] == mark[1]


def _ends(pattern: re.Pattern[str], string: str, low: int, high: int) -> Iterator[int]:
    return (match.end() for match in pattern.finditer(string, low, high))


def _sentence_ends(string: str, low: int, high: int) -> list[int]:
    """The ends of sentences in a range, or else of words."""
    return [*_ends(_SENTENCE, string, low, high)] or [*_ends(_SPACE, string, low, high)]


def _trim(string: str, reach: Range, word: re.Pattern[str]) -> Range:
    """A range without the white space at its ends."""
    if word is _WORD:  # which often matches in a long range
        end = reach[0] + len(part := string[slice(*reach)].rstrip())
        return end - len(part.lstrip()), end
    words = [match.span() for match in word.finditer(string, *reach) if match[1]]
    return (words[0][0], words[-1][1]) if words else (reach[0], reach[0])


# --- json strings -----------------------------------------------------------------------
# The strings of JSON in a string of a message that is itself JSON.

MOST_BYTES = 2**20  # of a text; a longer one is not searched
MOST_LEVELS = 2  # of JSON within strings of JSON
LEAST_BYTES = 12  # of a string that may have meaning
FRAGMENT_BYTES = 48  # of a string: a shorter one may be a piece of a sentence
EDGE_BYTES = 2  # of a match beyond its string
BLANK_CHARS = 64  # before and after JSON
_JSON = lazy_regex(
    rb"(?s)(?>(?>(?:[\s{}\[\],:0-9.eE+-]++|true|false|null"
    rb"|\"(?>(?>(?:[^\"\\\n]++|\\.){1,500})*)\"){1,500})*)",
)
_JSON_STRING = lazy_regex(rb"(?s)\"((?>(?>(?:[^\"\\]++|\\.){1,500})*))\"(\s*+:)?")
_NEXT_ITEM = lazy_regex(rb"\"\s*+,\s*+\"")
_OPENING = lazy_regex(rb"\s{0,63}+[\[{]")
_ENDS = {"{": "}", "[": "]", '"': '"'}


class JsonValues:
    """The strings of JSON in a text, without their quotes, except names and short values.

    Only a text that is all JSON has any. A string that is JSON itself has strings of its own. A
    key of one word is a name.
    """

    def __init__(self, text: MessageText) -> None:
        """Remember the text; the first question reads it."""
        self._text = text

    @cached_property
    def data(self) -> bytes:
        """The text as a model reads it, with escapes replaced in place."""
        data = self._text.data
        return data if self._text.is_keyed or b"\\" not in data else soften(self._read[0])

    @property
    def length(self) -> int:
        """The bytes of the text without repeated strings; for JSON, its strings without keys."""
        text = self._text
        _, others, json, _, _ = self._read
        length = len(text.data) - others
        seen = set()  # strings are repeated, as a result's in its structured content
        for number, value in enumerate(text.values):
            if value in seen and not (json and text.stretch(number) in json):
                length -= len(value.encode())
            seen.add(value)
        return length

    @property
    def are_there(self) -> bool:
        """True if there are any; False for most texts."""
        return bool(self._read[3])

    def select(self, data: bytes, stretches: Sequence[Stretch], origin: Origin) -> Selection:
        """The stretches of a reading; for JSON, the parts of its strings in each."""
        if not _is_plain(origin) or not self.are_there:
            return Selection(data, stretches)
        parts: dict[Stretch, None] = {}
        wholes = []
        for stretch in stretches:
            _, low, high, _ = origin.trace(stretch.start, stretch.end)
            within = self.within(low, high)
            spans = (_in_reading(span, origin) for span in within)
            parts |= dict.fromkeys(Stretch(*span, stretch.score) for span in spans)
            names = self.names(low, high)
            if within and not may_continue(within, names):
                wholes.append((stretch, b" ".join(names).decode("utf-8", "ignore")))
            else:
                parts[stretch] = None
        return Selection(data, [*parts], wholes)

    def around(self, start: int, end: int, origin: Origin) -> Range | None:
        """The string of JSON around a range of a reading, if it says much more.

        None if there is none. A string that says little more is a label, as of a button.
        """
        if not _is_plain(origin) or not self.are_there:
            return None
        _, low, high, _ = origin.trace(start, end)
        span = self.string_around(low, high)
        if span is None or 2 * (high - low) >= span[1] - span[0]:
            return None
        return _in_reading(span, origin)

    def within(self, low: int, high: int) -> list[Range]:
        """The parts of strings in a range of the text, in order."""
        starts, ends = self._read[3:]
        first, last = bisect_right(ends, low), bisect_left(starts, high)
        return [
            (max(low, start), min(high, end))
            for start, end in zip(starts[first:last], ends[first:last], strict=True)
        ]

    def names(self, low: int, high: int) -> list[bytes]:
        """The surroundings of the strings in a range: names, short values and marks."""
        bounds = [low, *(at for part in self.within(low, high) for at in part), high]
        data = self.data
        return [data[start:end] for start, end in [*pairwise(bounds)][::2]]

    def string_around(self, low: int, high: int) -> Range | None:
        """The string around a range of the text, perhaps with a quote; None without one."""
        starts, ends = self._read[3:]
        at = bisect_right(starts, low + EDGE_BYTES) - 1
        is_in = at >= 0 and starts[at] < high and low < ends[at] and high <= ends[at] + EDGE_BYTES
        return (starts[at], ends[at]) if is_in else None

    @cached_property
    def _read(self) -> tuple[bytes, int, set[Range], list[int], list[int]]:
        """The text, the bytes of JSON that are no strings, its places, and those of strings."""
        data, others, json, spans = bytearray(self._text.data), 0, set[Range](), list[int]()
        unwrap = _unwrap_json if NATIVE is None else NATIVE.unwrap_json
        for low, high in _candidates(self._text):
            size = unwrap(data, low, high, spans)
            if size >= 0:
                json.add((low, high))
                others += high - low - size
        return bytes(data), others, json, spans[::2], spans[1::2]


def _is_plain(origin: Origin) -> bool:
    """True for a reading of the text itself, folded or not."""
    return origin.chain in ("text", "folded") and origin.outer is None


def _in_reading(span: Range, origin: Origin) -> Range:
    """The place in a reading of a range of the text."""
    unfolding = origin.unfolding
    return span if unfolding is None else (unfolding.place(span[0]), unfolding.place(span[1]))


def may_continue(strings: Sequence[Range], names: Sequence[bytes]) -> bool:
    """True if one string may continue another: they are items of a list, or all are short.

    Args:
        strings: of JSON.
        names: the text around and between them.
    """
    is_short = all(end - start < FRAGMENT_BYTES for start, end in strings)
    return is_short or any(map(_NEXT_ITEM.fullmatch, names[1:-1]))


def _candidates(text: MessageText) -> Iterator[Range]:
    """The places of values that may be JSON."""
    if text.is_keyed or len(text.data) > MOST_BYTES:
        return
    for number, value in enumerate(text.values):
        closing = None if value[:1].isalnum() else _ENDS.get(value[:BLANK_CHARS].lstrip()[:1])
        if closing is None or closing != value[-BLANK_CHARS:].rstrip()[-1:]:
            continue
        if closing != '"' or "\\" in value:  # other quoted words are certainly not JSON
            yield text.stretch(number)


def _unwrap_json(
    data: bytearray, low: int, high: int, spans: list[int], levels: int = MOST_LEVELS
) -> int:
    """Soften a range if it is JSON, and the strings in it that are JSON.

    Args:
        data: changed in place.
        low: the start of the range.
        high: its end.
        spans: gets the starts and ends of the strings that may have meaning.
        levels: of JSON within strings of JSON.

    Returns:
        The bytes of all strings that are no keys; -1 for no JSON.
    """
    if not _JSON.fullmatch(data, low, high):
        return -1
    length, strings = 0, [each.regs[1:] for each in _JSON_STRING.finditer(data, low, high)]
    data[low:high] = soften_json(bytes(data[low:high]))
    for (start, end), (colon, _) in strings:
        may_be_json = levels and _OPENING.match(data, start, end)
        inner = _unwrap_json(data, start, end, spans, levels - 1) if may_be_json else -1
        length += inner if inner >= 0 else (end - start) * (colon < 0)
        is_name = colon >= 0 and b" " not in data[start:end]
        if inner < 0 and end - start >= LEAST_BYTES and not is_name:
            spans += start, end
    return length


NATIVE = find_native("detect._outline")
