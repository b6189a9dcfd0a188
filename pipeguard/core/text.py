"""All texts of one message as one buffer, and the way back from a byte to its string.

Two layouts. Towards the server each string stands as `key: value`, one a line, so that a rule
can ask for the name before a value. Towards the client the values stand one a line in order,
so that a sentence that is split over content blocks is read as the model reads it; keys and
values from fixed lists follow at the end, each once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from pipeguard.core.message import JsonValue, Number
from pipeguard.core.places import ASIDE, Path

MOST_BLOCKS = 64  # values between which a model's words could be cut in two
MIN_NUMBER_DIGITS = 9  # shorter numbers name nobody and nothing


class Text:
    """The strings of one value.

    Attributes:
        data: all strings in UTF-8, one a line.
    """

    __slots__ = ("_keyed", "_segments", "_value", "_values", "_ways", "data")

    def __init__(self, value: JsonValue, *, keyed: bool) -> None:
        segments: list[str] = []
        values: list[str] = []
        if keyed:
            _collect_keyed(value, segments, values)
        else:
            aside: dict[str, None] = {}
            _collect(value, values, aside)
            segments += values
            segments += aside
        self._values = values
        self._value = value
        self._keyed = keyed
        self._segments = segments
        self._ways: _Ways | None = None  # most texts are never asked
        self.data = "\n".join(segments).encode("utf-8")

    @property
    def is_several(self) -> bool:
        """True where something could be split over values: not in a result that is a table."""
        count = len(self._values)
        return count > 1 and (self._keyed or count <= MOST_BLOCKS)

    def joined(self) -> bytes:
        """The values with nothing between."""
        return "".join(self._values).encode("utf-8")

    def path_at(self, start: int) -> Path:
        """The path of the string at a byte of `data`."""
        return self._path_of(self._index(start))

    def span(self, start: int, end: int) -> tuple[int, int]:
        """A stretch of `data` as code points of the string that it begins in."""
        index = self._index(start)
        begins, ends = self._bounds()[index], self._bounds()[index + 1] - 1
        skipped, length = 0, len(self._segments[index])
        if self._keyed:
            _, skipped, value = self._located()[index]
            length = len(value)
        first = len(self.data[begins:start].decode("utf-8", "ignore")) - skipped
        last = first + len(self.data[start : min(end, ends)].decode("utf-8", "ignore"))
        return max(0, first), min(max(0, last), length)

    def _bounds(self) -> list[int]:
        ways = self._way_back()
        if not ways.starts:
            lengths = (len(segment.encode("utf-8")) + 1 for segment in self._segments)
            ways.starts = list(accumulate(lengths, initial=0))
        return ways.starts

    def _way_back(self) -> _Ways:
        if self._ways is None:
            walk = _walk_keyed if self._keyed else _walk
            self._ways = _Ways(list(walk(self._value, ())))
        return self._ways

    def _index(self, start: int) -> int:
        return max(0, min(bisect_right(self._bounds(), start) - 1, len(self._segments) - 1))

    def locate_joined(self, start: int, end: int) -> tuple[list[Path], bool]:
        """The strings under a stretch of `joined`; True where it is more than one."""
        places = self._located()
        ways = self._way_back()
        if not ways.joined_starts:
            lengths = (len(value.encode("utf-8")) for _, _, value in places)
            ways.joined_starts = list(accumulate(lengths, initial=0))
        first = bisect_right(ways.joined_starts, start) - 1
        last = bisect_right(ways.joined_starts, end - 1) - 1
        crossed = [path for path, _, value in places[first : last + 1] if value]
        return crossed, len(crossed) > 1

    def _path_of(self, index: int) -> Path:
        located = self._located()
        if index < len(located):
            return located[index][0]
        known = self._way_back().key_paths
        if index not in known:
            known[index] = next(_key_paths(self._value, self._segments[index]), ())
        return known[index]

    def _located(self) -> list[tuple[Path, int, str]]:
        """Path, length of the key before it, and value of each segment in order."""
        return self._way_back().places


@dataclass(slots=True)
class _Ways:
    """What is only needed once something was found.

    Attributes:
        places: of each value its path, the length of the key before it, and itself.
        starts: of each segment, in bytes of `data`.
        joined_starts: of each value, in bytes of the values joined.
        key_paths: of segments that are keys, once asked for.
    """

    places: list[tuple[Path, int, str]]
    starts: list[int] = field(default_factory=list)
    joined_starts: list[int] = field(default_factory=list)
    key_paths: dict[int, Path] = field(default_factory=dict)


def _collect(value: JsonValue, texts: list[str], aside: dict[str, None]) -> None:
    if type(value) is dict:
        for key, item in value.items():
            aside[key] = None
            if type(item) is str:
                if key in ASIDE:
                    aside[item] = None
                else:
                    texts.append(item)
            elif item is not None and item is not True and item is not False:
                _collect(item, texts, aside)
    elif type(value) is list:
        for item in value:
            if type(item) is str:
                texts.append(item)
            else:
                _collect(item, texts, aside)
    elif type(value) is str or (type(value) is Number and len(value) >= MIN_NUMBER_DIGITS):
        texts.append(value)


def _walk(value: JsonValue, path: Path) -> Iterator[tuple[Path, int, str]]:
    if type(value) is dict:
        for key, item in value.items():
            if type(item) is not str or key not in ASIDE:
                yield from _walk(item, (*path, key))
    elif type(value) is list:
        for index, item in enumerate(value):
            yield from _walk(item, (*path, index))
    elif type(value) is str or (type(value) is Number and len(value) >= MIN_NUMBER_DIGITS):
        yield path, 0, value


def _collect_keyed(value: JsonValue, texts: list[str], values: list[str]) -> None:
    if type(value) is dict:
        for key, item in value.items():
            if type(item) is str or (type(item) is Number and len(item) >= MIN_NUMBER_DIGITS):
                texts.append(f"{key}: {item}")
                values.append(item)
            else:
                texts.append(f"{key}: ")
                if type(item) is dict or type(item) is list:
                    _collect_keyed(item, texts, values)
    elif type(value) is list:
        for item in value:
            _collect_keyed(item, texts, values)
    elif type(value) is str or (type(value) is Number and len(value) >= MIN_NUMBER_DIGITS):
        texts.append(value)
        values.append(value)


def _walk_keyed(value: JsonValue, path: Path) -> Iterator[tuple[Path, int, str]]:
    if type(value) is dict:
        for key, item in value.items():
            if type(item) is str or (type(item) is Number and len(item) >= MIN_NUMBER_DIGITS):
                yield (*path, key), len(key) + 2, item
            else:
                yield (*path, key), len(key) + 2, ""
                yield from _walk_keyed(item, (*path, key))
    elif type(value) is list:
        for index, item in enumerate(value):
            yield from _walk_keyed(item, (*path, index))
    elif type(value) is str or (type(value) is Number and len(value) >= MIN_NUMBER_DIGITS):
        yield path, 0, value


def _key_paths(value: JsonValue, wanted: str, path: Path = ()) -> Iterator[Path]:
    """Where a key, or a value from a fixed list, stands."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == wanted or (key in ASIDE and item == wanted):
                yield (*path, key)
            yield from _key_paths(item, wanted, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _key_paths(item, wanted, (*path, index))
