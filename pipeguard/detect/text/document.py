"""All strings of one message as one buffer, and the way back from a byte to its string.

Rules search the buffer; what they find is reported by path and code points, and only then is the
way back computed. Knows JSON values; which strings are read is decided in detect.text.layouts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import accumulate, islice

from pipeguard.detect.text.layouts import (
    LocatedString,
    Member,
    NamesAround,
    collect_members,
    collect_names,
    collect_values,
    find_keys,
    is_listed,
    locate_members,
    locate_values,
)
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, Path
from pipeguard.firewall.protocol.places import FIXED_VALUE_KEYS
from pipeguard.unicode.folding import fold

MAX_TOKEN_CHARS = 120  # of a value that could be one word or one expression
DOCUMENT_CHARS = 160  # a longer value is a document, if it has so many lines
DOCUMENT_LINES = 3
FEW_SEGMENTS = 16  # of a range, which are compared
SEGMENTS_AT_A_TIME = 256  # whose starts are computed together
BYTES_COUNTED = 2**12  # of `data`, whose code points are counted once

_CONTINUATIONS = bytes(range(0x80, 0xC0))  # of a code point in UTF-8, behind its first byte
LEAST_KEY = 10  # characters of a key that could be part of a secret
_COULD_BE_SECRET = lazy_regex(rf"(?=\D{{0,24}}[0-9])[!-~]{{{LEAST_KEY}}}")


class MessageText:
    """The strings of one value, laid out as lines: each line is a segment.

    Attributes:
        data: all segments in UTF-8, joined by line ends.
        value: the JSON value that contains the strings.
        values: the strings that are read joined, in order.
        is_several: True if there are several values, over which something could be split.
        is_keyed: True if each string is laid out as `key: value`.
    """

    __slots__ = (
        *("_has_codes", "_keys", "_members", "_named_count", "_names", "_positions", "_segments"),
        *("data", "is_keyed", "is_several", "value", "values"),
    )

    def __init__(self, value: JsonValue, *, keyed: bool) -> None:
        """Lay out a value: keyed, as towards a server, or unkeyed (detect.text.layouts)."""
        segments: list[str] = []
        values: list[str] = []
        self._keys: dict[str, None] = {}
        self._members: list[Member] = []
        self._has_codes = False
        self._named_count = 0
        self._names: list[NamesAround] = []
        if keyed:
            self._has_codes = collect_members(value, self._members, values, self._keys)
            segments += [text if key is None else f"{key}: {text}" for key, text in self._members]
        else:
            named: list[str] = []
            collect_values(value, values, named, self._keys)
            segments += values
            segments += named
            segments += self._keys
            self._named_count = len(named)
        self.value = value
        self.values = values
        self.is_several = len(values) > 1
        self.is_keyed = keyed
        self._segments = segments
        self._positions: _Positions | None = None  # most texts need none
        self.data = "\n".join(segments).encode("utf-8")

    @property
    def count(self) -> int:
        """The number of values."""
        return len(self.values)

    @property
    def segment_count(self) -> int:
        """The number of values and of what else is read with them, such as keys."""
        return len(self._segments)

    def members(self) -> list[Member]:
        """Keyed only: each string with its key, which an item of a list does not have.

        A member whose value is an object, a list or a short number has an empty string.
        """
        return self._members

    def has(self, key: str) -> bool:
        """True if the value is an object with this key."""
        return isinstance(self.value, dict) and key in self.value

    def path_of_segment(self, index: int) -> Path:
        """Keyed only: the path of the string of a segment."""
        return self._locate_segments()[index][0]

    def keys(self) -> Iterable[str]:
        """The names in it, each once."""
        return self._keys

    def names_around(self) -> list[NamesAround]:
        """Keyed only, of each segment: the names around it, and whether it is an argument."""
        if not self._names and self._members:
            collect_names(self.value, ((), False), self._names, 0, has_codes=self._has_codes)
        return self._names

    def sizes(self) -> Iterator[int]:
        """The bytes of each segment in `data`, with the line end."""
        plain = self.data.isascii()
        return (len(each if plain else each.encode("utf-8")) + 1 for each in self._segments)

    def stretch(self, index: int) -> tuple[int, int]:
        """The span of a segment's value in `data`."""
        if not self.is_keyed and index < len(self.values):  # with nothing before it
            return self._start(index), self._start(index + 1) - 1
        _, skipped, _ = self._locate(index)
        key = len(self._segments[index][:skipped].encode("utf-8"))
        return self._start(index) + key, self._start(index + 1) - 1

    def join_values(self) -> bytes:
        """The values with nothing between."""
        return "".join(self.values).encode("utf-8")

    def seams(self) -> Iterator[int]:
        """The places in `joined` where a value ends and the next begins."""
        lengths = (
            len(value if value.isascii() else value.encode("utf-8")) for value in self.values
        )
        return accumulate(islice(lengths, len(self.values) - 1))

    def segments(self, low: int, high: int) -> Iterator[tuple[int, int, Path]]:
        """Start, end and path of each segment that overlaps a range of `data`."""
        for index in range(self._index(low), self._index(high - 1) + 1):
            yield self._start(index), self._start(index + 1), self._index_path(index)

    def joined_keys(self) -> bytes:
        """The keys, each once, with nothing between; empty if none could be part of a secret."""
        long = [key for key in self._keys if len(key) >= LEAST_KEY]
        if not long or not any(map(_COULD_BE_SECRET.search, long)):
            return b""
        return "".join(self._keys).encode("utf-8")

    def locate_keys(self, start: int, end: int) -> tuple[list[Path], bool]:
        """The paths of the keys in a range of `joined_keys`; True if there are several."""
        ends = list(accumulate(len(key.encode("utf-8")) for key in self._keys))
        keys = list(self._keys)
        crossed = keys[bisect_right(ends, start) : bisect_right(ends, end - 1) + 1]
        paths = [self._find_key(key) for key in crossed if key]
        return paths, len(paths) > 1

    def find_path(self, start: int) -> Path:
        """The path of the string at a byte of `data`."""
        return self._index_path(self._index(start))

    def largest_part(self, low: int, high: int) -> tuple[int, int]:
        """The part of a range of `data` that is in one string: the longest of the first few."""
        first, last = self._index(low), self._index(high - 1)
        numbers = range(first, min(last, first + FEW_SEGMENTS) + 1)
        parts = [(max(low, self._start(n)), min(high, self._start(n + 1) - 1)) for n in numbers]
        return max(parts, key=lambda part: part[1] - part[0]) if last > first else (low, high)

    def is_most(self, start: int, size: int) -> bool:
        """True if the string at a byte of `data` is short, and so many bytes are most of it."""
        value = self.find_value(start)
        if not value.isascii():
            value = fold(value[: 4 * MAX_TOKEN_CHARS].encode("utf-8", "replace"))[0].decode()
        return len(value) <= MAX_TOKEN_CHARS and 5 * size >= 3 * len(value)

    def find_value(self, start: int) -> str:
        """The string at a byte of `data`."""
        index = self._index(start)
        return self._locate(index)[2] if self._is_located(index) else self._segments[index]

    def is_document(self, start: int) -> bool:
        """True if the string at a byte of `data` is a text of several lines."""
        return _is_document(self.find_value(start))

    def span(self, start: int, end: int) -> tuple[int, int]:
        """A range of `data` as code points of the string that it begins in."""
        index = self._index(start)
        first_byte, end_byte = self._start(index), self._start(index + 1) - 1
        skipped, length = 0, len(self._segments[index])
        if self.is_keyed or 0 <= index - len(self.values) < self._named_count:
            _, skipped, value = self._locate(index)
            length = len(value)
        skipped += self._count_code_points(first_byte)
        first = self._count_code_points(start) - skipped
        last = self._count_code_points(max(start, min(end, end_byte))) - skipped
        return max(0, first), min(max(0, last), length)

    def _count_code_points(self, place: int) -> int:
        """The number of code points before a byte of `data`, without one that it divides."""
        data, counts = self.data, self._compute().counts
        for start in range(BYTES_COUNTED * (len(counts) - 1), place, BYTES_COUNTED):
            part = data[start : start + BYTES_COUNTED]
            counts.append(counts[-1] + len(part.translate(None, _CONTINUATIONS)))
        number = min(place // BYTES_COUNTED, len(counts) - 1)
        rest = data[number * BYTES_COUNTED : place].translate(None, _CONTINUATIONS)
        is_divided = place < len(data) and data[place] in _CONTINUATIONS
        return counts[number] + len(rest) - is_divided

    def find_strings(self, low: int, high: int) -> Iterator[tuple[Path, str, int, int]]:
        """Unkeyed only: the values in a range of `data`, each with what of it is in the range.

        Yields:
            The path, the string, and the first and the last character. Numbers and keys, and what
            is listed once, are left out.
        """
        for index in range(self._index(low), self._index(high - 1) + 1):
            if index >= len(self.values) + self._named_count:
                return
            path, _, string = self._locate(index)
            start, end = max(low, self._start(index)), min(high, self._start(index + 1) - 1)
            if start < end and type(string) is str:
                yield path, string, *self.span(start, end)

    def path_of_value(self, number: int) -> Path:
        """Unkeyed only: the path of one of `values`."""
        return self._locate(number)[0]

    def locate_joined(self, start: int, end: int) -> tuple[list[Path], bool]:
        """The paths of the strings in a range of `joined`; True if there are several."""
        located = self._locate_segments()
        positions = self._compute()
        if not positions.joined_starts:
            lengths = (
                0 if self._is_left_out(path, value) else len(value.encode("utf-8"))
                for path, _, value in located
            )
            positions.joined_starts = list(accumulate(lengths, initial=0))
        first = bisect_right(positions.joined_starts, start) - 1
        last = bisect_right(positions.joined_starts, end - 1) - 1
        crossed = [
            path
            for path, _, value in located[first : last + 1]
            if value and not self._is_left_out(path, value)
        ]
        return crossed, len(crossed) > 1

    def _is_left_out(self, path: Path, value: str) -> bool:
        """True for a string of the keyed layout that is not one of `values`."""
        return self.is_keyed and bool(path) and path[-1] in FIXED_VALUE_KEYS and is_listed(value)

    def _compute(self) -> _Positions:
        if self._positions is None:
            self._positions = _Positions(
                locate_members(self.value, has_codes=self._has_codes)
                if self.is_keyed
                else locate_values(self.value)
            )
        return self._positions

    def _start(self, index: int) -> int:
        """The start of a segment in `data`."""
        starts = self._compute().starts
        for segment in self._segments[len(starts) - 1 : index]:
            starts.append(starts[-1] + len(segment.encode("utf-8")) + 1)
        return starts[index]

    def _index(self, start: int) -> int:
        """The number of the segment at a byte of `data`."""
        starts, last = self._compute().starts, len(self._segments) - 1
        while starts[-1] <= start and len(starts) <= last:
            self._start(min(last, len(starts) + SEGMENTS_AT_A_TIME))
        return max(0, min(bisect_right(starts, start) - 1, last))

    def _index_path(self, index: int) -> Path:
        if self._is_located(index):
            return self._locate(index)[0]
        return self._find_key(self._segments[index])

    def _find_key(self, key: str) -> Path:
        """The first path of a key; of one that is none, that of the value itself."""
        positions = self._compute()
        if positions.key_paths is None:
            positions.key_paths = find_keys(self.value)
        return positions.key_paths.get(key, ())

    def _is_located(self, index: int) -> bool:
        """False for a key of the unkeyed layout."""
        return self.is_keyed or index < len(self.values) + self._named_count

    def _locate(self, index: int) -> LocatedString:
        """One segment, which is not a key of the unkeyed layout."""
        positions = self._compute()
        missing = max(0, index + 1 - len(positions.located))
        positions.located.extend(islice(positions.unread, missing))
        return positions.located[index]

    def _locate_segments(self) -> list[LocatedString]:
        """Keyed, all segments; unkeyed, those of `values`."""
        positions = self._compute()
        positions.located.extend(positions.unread)
        return positions.located if self.is_keyed else positions.located[: len(self.values)]


@lru_cache(maxsize=2)  # a text is asked about for each match in it
def _is_document(value: str) -> bool:
    return len(value) > DOCUMENT_CHARS and value.count("\n") >= DOCUMENT_LINES


class _Positions:
    """Places of strings, computed only after a match, and only as far as needed.

    Attributes:
        unread: yields the strings that follow `located`.
        located: the strings, by the number of their segment.
        starts: of each segment, in bytes of `data`.
        counts: of the code points before each BYTES_COUNTED bytes of `data`.
        joined_starts: of each located string, in bytes of the joined values.
        key_paths: the first of each key, once one is asked for.
    """

    __slots__ = ("counts", "joined_starts", "key_paths", "located", "starts", "unread")

    def __init__(self, strings: Iterator[LocatedString]) -> None:
        self.unread = strings
        self.counts = [0]
        self.located: list[LocatedString] = []
        self.starts = [0]
        self.joined_starts: list[int] = []
        self.key_paths: dict[str, Path] | None = None
