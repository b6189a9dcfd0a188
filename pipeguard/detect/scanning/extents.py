"""The extent of a cut: what of which strings goes with an order that a rule found.

Whole sentences go, and lines of the same paragraph, because an order rarely ends with the sentence
that gives it away. In a string that is JSON, values of strings go and nothing else, so that it is
JSON still. Knows strings and readings; firewall.session decides what is cut.
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
from pipeguard.unicode.folding import Range, fold, soften, soften_json

LATIN_END = 0x250  # letters with accents before it are those of languages
VALUE_CHARS = 24  # of a value in JSON: a shorter one beside a longer one is an id or a name
MAX_JSON_CHARS = 2**20  # a longer string is not looked at as JSON
MAX_ESCAPE_CHARS = 11  # of an escape in JSON, without its last: two of four digits
WRAPPED_CHARS = 120  # of a line that the next one continues; a longer one is a paragraph
PLAIN = ("text", "folded", "notice")  # readings of what anybody can read
READ_ALIKE = 10  # of so many bytes of a passage, a reading may change one
PARAGRAPH_CHARS = 480  # before and after an order: how far its paragraph is followed
_STRING = lazy_regex(r'"((?:[^"\\]|\\.)*+)"(?=(\s*:)?)', re.DOTALL)
_ESCAPE = lazy_regex(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u.{4}|\\.")
_LINE_END, _ESCAPED_LINE_END = lazy_regex(r"\n"), lazy_regex(r"\\[nr]")
# A line that may continue the one before: no item of a list, row of a table, heading or log line.
_CONTINUES = lazy_regex(r"[ \t]*+([>#;%+]++|//++|<\|)?+[ \t]*+(?:[^\W\d_]|[\"'(«“„‘])")
_FENCE = lazy_regex(r"[ \t]*(?:```|~~~)")
_MARK = lazy_regex(r"[ \t]*([>#;%+]+|//+|<\|)?")  # of each line of a quote, a comment, or a turn
_SENTENCE = lazy_regex(r"[.!?\u0964\u061f][\"'”’»)]*\s+|[\u3002\uff01\uff1f]+|\n+")
_SPACE = lazy_regex(r"\s+")
_WORD, _ESCAPED_WORD = lazy_regex(r"(\S+)"), lazy_regex(r"\\[nrt]|((?:\\[^nrt]|[^\s\\])+)")
_LETTER = lazy_regex(r"[^\W_]")


class Extents:
    """The parts of a text's strings that go with the orders in it."""

    def __init__(self, text: MessageText) -> None:
        self._text = text
        self._json_values: dict[Path, Sequence[Range] | None] = {}

    def of(self, origin: Origin, reach: Range, *, is_order: bool) -> tuple[StringSpan, ...]:
        """The parts of strings that go with a range; none if its reading is decoded or joined.

        Args:
            origin: the way back from the reading.
            reach: the range.
            is_order: True for sentences of an order, with which those next to them go.
        """
        is_plain = origin.chain in PLAIN and origin.outer is None
        if self._text.is_keyed or not (is_plain or origin.parts is not None):
            return ()
        room = PARAGRAPH_CHARS if is_order else 0
        _, low, high, _ = origin.trace(*reach)
        written = self._text.data[low:high]
        if origin.parts is not None:
            decoded = origin.parts.data[slice(*reach)]
            same = sum(map(eq, decoded, written))  # so little is changed that it is read as it is
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
        """The parts of one string that go with a range of it, and with what there is room for."""
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
    """The matches, with cuts of what is in plain sight and goes together.

    What only another reading shows is not cut, because somebody hid it; but it goes with a passage
    in plain sight that is nearly as sure, as words without their accents do. What a cut leaves is
    judged again.
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
    """A match, with the cuts of a passage in plain sight that it is in; with none if hidden."""
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
    """The parts of strings that go with matches, by their strings."""

    def __init__(self, matches: Sequence[Match], least: Confidence) -> None:
        """Collect those of matches in plain sight that are so sure."""
        self._ranges: dict[Path, list[tuple[int, int, int]]] = {}
        for number, match in enumerate(matches):
            if match.view != "folded" and match.confidence >= least:
                for path, start, end in match.cuts:
                    self._ranges.setdefault(path, []).append((start, end, number))
        for path, ranges in self._ranges.items():
            apart: list[tuple[int, int, int]] = []
            for start, end, number in sorted(ranges):
                if apart and start <= apart[-1][1]:
                    apart[-1] = (apart[-1][0], max(apart[-1][1], end), apart[-1][2])
                else:
                    apart.append((start, end, number))
            self._ranges[path] = apart

    def near(self, cut: StringSpan, room: int = 0) -> int | None:
        """The number of a match of which a part is so near to another; None if there is none."""
        ranges = self._ranges.get(cut.path, ())
        at = bisect_left(ranges, cut.end + room, key=itemgetter(0)) - 1
        return ranges[at][2] if at >= 0 and ranges[at][1] + room > cut.start else None


def _is_disguised(text: MessageText, cut: StringSpan) -> bool:
    """True if letters are replaced by others, or separated by what nobody sees; not for signs."""
    string = get_value(text.value, cut.path)
    words = string[cut.start : cut.end] if isinstance(string, str) else ""
    others = "".join(
        c
        for c in normalize("NFC", words)  # accents of their own are those of languages
        if not ((c.isalpha() and ord(c) < LATIN_END) or category(c)[0] in "PSZ")
    )
    return fold(others.encode())[0] != others.encode()


def json_values(string: str) -> list[Range] | None:
    """Find the strings of JSON text, without quotes and keys; None for other text."""
    may_be_json = string[:BLANK_CHARS].lstrip()[:1] in _ENDS and len(string) <= MAX_JSON_CHARS
    if not may_be_json or not _is_json(string):
        return None
    return [match.span(1) for match in _STRING.finditer(string) if match[2] is None]


def _is_json(string: str) -> bool:
    """True for JSON, and for lines of which each is JSON."""
    try:
        json.loads(string)
    except RecursionError:
        return False
    except ValueError:
        lines = string.strip().split("\n")
        return len(lines) > 1 and all(map(_is_json, filter(str.strip, lines)))
    return True


def _find_escape(string: str, at: int, start: int) -> Range:
    """The escape that a place is within; else the place."""
    for low in range(max(start, at - MAX_ESCAPE_CHARS), at):
        before = string[start : low + 1]
        if (len(before) - len(before.rstrip("\\"))) % 2:  # it is no escaped backslash itself
            escape = _ESCAPE.match(string, low)
            if escape and escape.end() > at:
                return escape.span()
    return at, at


def _paragraph(
    string: str, reach: Range, bounds: Range, room: int, line_end: re.Pattern[str]
) -> Range:
    """The lines of one paragraph around a range, as far as there is room: else its sentences.

    Args:
        string: the string.
        reach: the range.
        bounds: of what may go.
        room: how many characters before and after the range there may be.
        line_end: what ends a line.
    """
    if not room:
        return reach
    first, last = _worded_lines(string, reach, line_end)
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


def _worded_lines(string: str, reach: Range, line_end: re.Pattern[str]) -> Range:
    """A range without lines at its ends that have no letter, with which a pattern may begin."""
    lines = [*pairwise([reach[0], *_ends(line_end, string, *reach), reach[1]])]
    worded = [each for each in lines if _LETTER.search(line_end.sub("", string[slice(*each)]))]
    return (worded[0][0], worded[-1][1]) if worded else reach


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
    if word is _WORD:  # of which a long range has many
        end = reach[0] + len(part := string[slice(*reach)].rstrip())
        return end - len(part.lstrip()), end
    words = [match.span() for match in word.finditer(string, *reach) if match[1]]
    return (words[0][0], words[-1][1]) if words else (reach[0], reach[0])


# --- json strings -----------------------------------------------------------------------
# Where the strings of JSON are, in a string of a message that is itself JSON.

MOST_BYTES = 2**20  # of a text; in a longer one nothing is looked for
MOST_LEVELS = 2  # of JSON within strings of JSON
LEAST_BYTES = 12  # of a string that may say something
FRAGMENT_BYTES = 48  # of a string: a shorter one may be a piece of a sentence
EDGE_BYTES = 2  # of a match beyond its string
BLANK_CHARS = 64  # before and after JSON
_JSON = lazy_regex(
    rb"(?:[\s{}\[\],:0-9.eE+-]++|true|false|null|\"(?:[^\"\\\n]++|\\.)*+\")*+", re.DOTALL
)
_JSON_STRING = lazy_regex(rb"\"((?:[^\"\\]++|\\.)*+)\"(?P<colon>\s*+:)?+", re.DOTALL)
_NEXT_ITEM = lazy_regex(rb"\"\s*+,\s*+\"")
_BEFORE_JSON = b"{[ \t\n\r\v\f"  # what it begins with, or what may be before that
_ENDS = {"{": "}", "[": "]", '"': '"'}


class JsonValues:
    """The strings of JSON in a text, without their quotes: those that may say something.

    What is not all JSON has none. A string that is JSON itself has strings of its own. A key of one
    word is a name, and so is a short value.
    """

    def __init__(self, text: MessageText) -> None:
        """Remember the text; the first question reads it."""
        self._text = text

    @property
    def data(self) -> bytes:
        """The text as a model reads it, with what escapes mean in their place."""
        data = self._text.data
        return data if self._text.is_keyed or b"\\" not in data else self._read[0]

    @property
    def length(self) -> int:
        """The bytes of the text without repeated strings; of JSON, its strings without keys."""
        return self._read[1]

    @property
    def are_there(self) -> bool:
        """False for most texts: there is none."""
        return bool(self._ranges and self._read[2])

    def select(self, data: bytes, stretches: Sequence[Stretch], origin: Origin) -> Selection:
        """The stretches of a reading; of JSON, the parts of its strings that are in each."""
        if not _is_plain(origin) or not self.are_there:
            return Selection(data, stretches)
        parts: dict[Stretch, None] = {}
        wholes: list[tuple[Stretch, str]] = []
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
        """The string of JSON that contains a range of a reading, and says much more.

        None if there is none. One that says little more is a label, as of a button.
        """
        if not _is_plain(origin) or not self.are_there:
            return None
        _, low, high, _ = origin.trace(start, end)
        span = self.string_around(low, high)
        if span is None or 2 * (high - low) >= span[1] - span[0]:
            return None
        return _in_reading(span, origin)

    def within(self, low: int, high: int) -> list[Range]:
        """The parts of strings that are in a range of the text, in their order."""
        _, _, starts, ends = self._read
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
        """The string that contains a range of the text, perhaps with a quote; None without one."""
        _, _, starts, ends = self._read
        at = bisect_right(starts, low + EDGE_BYTES) - 1
        is_in = at >= 0 and starts[at] < high and low < ends[at] and high <= ends[at] + EDGE_BYTES
        return (starts[at], ends[at]) if is_in else None

    @cached_property
    def _ranges(self) -> list[Range]:
        """The places of values that are JSON."""
        return list(_json(self._text))

    @cached_property
    def _read(self) -> tuple[bytes, int, list[int], list[int]]:
        """The text, its length, and where its strings begin and end."""
        text, spans, json = self._text, list[Range](), self._ranges
        data, length = bytearray(text.data), len(text.data) - _repeated_bytes(text, set(json))
        for low, high in json:
            length += _unwrap(data, (low, high), spans, MOST_LEVELS) - (high - low)
        softened = text.data if text.is_keyed else soften(bytes(data))
        return softened, length, [start for start, _ in spans], [end for _, end in spans]


def _is_plain(origin: Origin) -> bool:
    """True for a reading of the text itself, folded or not."""
    return origin.chain in ("text", "folded") and origin.outer is None


def _in_reading(span: Range, origin: Origin) -> Range:
    """The place of a range of the text in a reading of it."""
    unfolding = origin.unfolding
    return span if unfolding is None else (unfolding.place(span[0]), unfolding.place(span[1]))


def _repeated_bytes(text: MessageText, json: set[Range]) -> int:
    """The bytes of strings that a text has again, as a result's structured content has its text.

    Args:
        text: of a message.
        json: the ranges that are counted otherwise.
    """
    seen: set[str] = set()
    repeated = 0
    for number, value in enumerate(text.values):
        if value in seen and not (json and text.stretch(number) in json):
            repeated += len(value.encode("utf-8"))
        seen.add(value)
    return repeated


def may_continue(strings: Sequence[Range], names: Sequence[bytes]) -> bool:
    """True if one of some strings may continue another: items of a list, or all are short.

    Args:
        strings: of JSON.
        names: what is around and between them.
    """
    is_short = all(end - start < FRAGMENT_BYTES for start, end in strings)
    return is_short or any(map(_NEXT_ITEM.fullmatch, names[1:-1]))


def _json(text: MessageText) -> Iterator[Range]:
    """The places of values that are JSON."""
    if text.is_keyed or len(text.data) > MOST_BYTES:
        return
    for number, value in enumerate(text.values):
        if value[:1].isalnum():
            continue  # most, at once
        closing = _ENDS.get(value[:BLANK_CHARS].lstrip()[:1])
        if closing is None or closing != value[-BLANK_CHARS:].rstrip()[-1:]:
            continue
        if closing != '"' or "\\" in value:  # other quoted words are no JSON for sure
            low, high = text.stretch(number)
            if _JSON.fullmatch(text.data, low, high):
                yield low, high


def _unwrap(data: bytearray, json: Range, spans: list[Range], levels: int) -> int:
    """Soften a range that is JSON, and the strings in it that are JSON, up to so many levels.

    Args:
        data: changed in place.
        json: the range.
        spans: gets those of the strings that may say something.
        levels: of JSON within strings of JSON.

    Returns:
        The bytes of all strings that are no keys.
    """
    length = 0
    found = _JSON_STRING.finditer(data, *json)
    strings = [(*each.span(1), each.lastgroup == "colon") for each in found]
    data[slice(*json)] = soften_json(bytes(data[slice(*json)]))
    for start, end, is_key in strings:
        if (
            levels
            and data[start] in _BEFORE_JSON
            and bytes(data[start : start + BLANK_CHARS]).lstrip()[:1] in (b"{", b"[")
            and _JSON.fullmatch(data, start, end)
        ):
            length += _unwrap(data, (start, end), spans, levels - 1)
            continue
        length += 0 if is_key else end - start
        if end - start >= LEAST_BYTES and not (is_key and b" " not in data[start:end]):
            spans.append((start, end))
    return length
