"""All texts of one message as one buffer, and the way back from a byte to its string.

Two layouts. Towards the server each string stands as `key: value`, one a line, so that a rule
can ask for the name before a value. Towards the client the values stand one a line in order,
so that a sentence that is split over content blocks is read as the model reads it; values whose
name tells what they are follow with it, and at the end keys and values from fixed lists, each once.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate, chain, islice
from typing import TypeGuard

from pipeguard.core.protocol.json_values import JsonObject, JsonValue, Number
from pipeguard.core.protocol.json_walk import values_in
from pipeguard.core.protocol.places import ASIDE, Path
from pipeguard.core.unicode.folding import fold
from pipeguard.core.words.credentials import KEYS

LONGEST_KEY = 100  # characters: a longer key is a text, and no name
LONGEST_NAMED = 600  # characters of a value that is read together with its name
MOST_TOKEN = 120  # characters of a value that could be one word or one expression
DOCUMENT_CHARS = 160  # and more: a text, where it has lines
DOCUMENT_LINES = 3
MORE = 256  # segments of which the start is looked for at a time
LONGEST_LISTED = 12  # characters, as `application/` has
MIN_NUMBER_DIGITS = 9  # shorter numbers name nobody and nothing

_Place = tuple[Path, int, str]
_Member = tuple[str | None, str]  # a key, which an item of a list does not have, and its string


class MessageText:
    """The strings of one value.

    Attributes:
        data: all strings in UTF-8, one a line.
        value: that they stand in.
    """

    __slots__ = (
        *("_keyed", "_keys", "_members", "_named", "_segments", "_values", "_ways"),
        *("data", "value"),
    )

    def __init__(self, value: JsonValue, *, keyed: bool) -> None:
        segments: list[str] = []
        values: list[str] = []
        self._keys: dict[str, None] = {}
        self._named: list[str] = []
        self._members: list[_Member] = []
        if keyed:
            _collect_keyed(value, self._members, values, self._keys)
            segments += [text if key is None else f"{key}: {text}" for key, text in self._members]
        else:
            _collect(value, values, self._keys, self._named)
            segments += values
            segments += self._named
            segments += self._keys
        self._values = values
        self.value = value
        self._keyed = keyed
        self._segments = segments
        self._ways: _Ways | None = None  # most texts are never asked
        self.data = "\n".join(segments).encode("utf-8")

    @property
    def is_several(self) -> bool:
        """True where something could be split over values."""
        return len(self._values) > 1

    @property
    def is_keyed(self) -> bool:
        """True where each string stands as `key: value`."""
        return self._keyed

    @property
    def count(self) -> int:
        """How many strings there are."""
        return len(self._values)

    @property
    def values(self) -> list[str]:
        """The values that are read with nothing between, in order."""
        return self._values

    def members(self) -> list[_Member]:
        """Towards a server: each string with its key, which an item of a list does not have.

        A member whose value is an object, a list or a short number has an empty string.
        """
        return self._members

    def has(self, key: str) -> bool:
        """True where the value is an object with a key."""
        return isinstance(self.value, dict) and key in self.value

    def strings(self) -> Iterator[tuple[Path, str, int]]:
        """Each string towards a server: its path, itself, and the number of its segment."""
        for index, (path, _, value) in enumerate(self._located()):
            if value:
                yield path, value, index

    def sizes(self) -> Iterator[tuple[Path, int]]:
        """Each string towards a server with its key: its path, and how many bytes it has."""
        plain = self.data.isascii()
        for (path, _, _), segment in zip(self._located(), self._segments, strict=True):
            yield path, (len(segment) if plain else len(segment.encode("utf-8"))) + 1

    def stretch(self, index: int) -> tuple[int, int]:
        """Where the value of a segment stands in `data`."""
        _, skipped, _ = self._place(index)
        key = len(self._segments[index][:skipped].encode("utf-8"))
        return self._start(index) + key, self._start(index + 1) - 1

    def joined(self) -> bytes:
        """The values with nothing between."""
        return "".join(self._values).encode("utf-8")

    def segments(self, low: int, high: int) -> Iterator[tuple[int, int, Path]]:
        """The strings with their keys that stand between two bytes of `data`, and their paths."""
        for index in range(self._index(low), self._index(high - 1) + 1):
            yield self._start(index), self._start(index + 1), self._path_of(index)

    def joined_keys(self) -> bytes:
        """The keys, each once, with nothing between; empty where they are but names."""
        if not any(map(_COULD_HOLD.search, self._keys)):
            return b""
        return "".join(self._keys).encode("utf-8")

    def locate_keys(self, start: int, end: int) -> tuple[list[Path], bool]:
        """The keys under a stretch of `joined_keys`; True where it is more than one."""
        ends = list(accumulate(len(key.encode("utf-8")) for key in self._keys))
        keys = list(self._keys)
        crossed = keys[bisect_right(ends, start) : bisect_right(ends, end - 1) + 1]
        paths = [next(_key_paths(self.value, key), ()) for key in crossed if key]
        return paths, len(paths) > 1

    def path_at(self, start: int) -> Path:
        """The path of the string at a byte of `data`."""
        return self._path_of(self._index(start))

    def is_most(self, start: int, size: int) -> bool:
        """True where so many bytes are most of a short string, the one at a byte of `data`."""
        _, _, value = self._place(self._index(start))
        if not value.isascii():
            value = fold(value[: 4 * MOST_TOKEN].encode("utf-8", "replace"))[0].decode()
        return len(value) <= MOST_TOKEN and 5 * size >= 3 * len(value)

    def value_at(self, start: int) -> str:
        """The string at a byte of `data`."""
        return self._place(self._index(start))[2]

    def is_document(self, start: int) -> bool:
        """True where the string at a byte of `data` has the lines of a text, and is no value."""
        value = self.value_at(start)
        return len(value) > DOCUMENT_CHARS and value.count("\n") >= DOCUMENT_LINES

    def span(self, start: int, end: int) -> tuple[int, int]:
        """A stretch of `data` as code points of the string that it begins in."""
        index = self._index(start)
        begins, ends = self._start(index), self._start(index + 1) - 1
        skipped, length = 0, len(self._segments[index])
        if self._keyed or len(self._values) <= index < len(self._values) + len(self._named):
            _, skipped, value = self._place(index)
            length = len(value)
        first = len(self.data[begins:start].decode("utf-8", "ignore")) - skipped
        last = first + len(self.data[start : min(end, ends)].decode("utf-8", "ignore"))
        return max(0, first), min(max(0, last), length)

    def path_of_value(self, number: int) -> Path:
        """The path of one of `values`, where they are read without their keys."""
        return self._place(number)[0]

    def _start(self, index: int) -> int:
        """Where a segment starts, in bytes of `data`."""
        starts = self._way_back().starts
        for segment in self._segments[len(starts) - 1 : index]:
            starts.append(starts[-1] + len(segment.encode("utf-8")) + 1)
        return starts[index]

    def _way_back(self) -> _Ways:
        if self._ways is None:
            if self._keyed:
                walk = _keyed_values(self.value)
            else:
                walk = chain(_values(self.value), _walk_named(self.value, ()))
            self._ways = _Ways(walk)
        return self._ways

    def _index(self, start: int) -> int:
        starts, last = self._way_back().starts, len(self._segments) - 1
        while starts[-1] <= start and len(starts) <= last:
            self._start(min(last, len(starts) + MORE))
        return max(0, min(bisect_right(starts, start) - 1, last))

    def locate_joined(self, start: int, end: int) -> tuple[list[Path], bool]:
        """The strings under a stretch of `joined`; True where it is more than one."""
        places = self._located()
        ways = self._way_back()
        if not ways.joined_starts:
            lengths = (
                0 if self._is_aside(path, value) else len(value.encode("utf-8"))
                for path, _, value in places
            )
            ways.joined_starts = list(accumulate(lengths, initial=0))
        first = bisect_right(ways.joined_starts, start) - 1
        last = bisect_right(ways.joined_starts, end - 1) - 1
        crossed = [
            path
            for path, _, value in places[first : last + 1]
            if value and not self._is_aside(path, value)
        ]
        return crossed, len(crossed) > 1

    def _is_aside(self, path: Path, value: str) -> bool:
        """True where a value was left out of those that are read with nothing between."""
        return self._keyed and bool(path) and path[-1] in ASIDE and _is_listed(value)

    def _path_of(self, index: int) -> Path:
        if self._keyed or index < len(self._values) + len(self._named):
            return self._place(index)[0]
        known = self._way_back().key_paths
        if index not in known:
            known[index] = next(_key_paths(self.value, self._segments[index]), ())
        return known[index]

    def _place(self, index: int) -> _Place:
        """Path, length of the key before it, and value of a segment."""
        ways = self._way_back()
        ways.places.extend(islice(ways.walk, max(0, index + 1 - len(ways.places))))
        return ways.places[index]

    def _located(self) -> list[_Place]:
        """Those of each segment in order."""
        ways = self._way_back()
        ways.places.extend(ways.walk)
        return ways.places if self._keyed else ways.places[: len(self._values)]


class _Ways:
    """What is only needed once something was found, as far as it was needed.

    Attributes:
        walk: goes on with `places`.
        places: of each value its path, the length of the key before it, and itself.
        starts: of each segment, in bytes of `data`.
        joined_starts: of each value, in bytes of the values joined.
        key_paths: of segments that are keys, once asked for.
    """

    __slots__ = ("joined_starts", "key_paths", "places", "starts", "walk")

    def __init__(self, walk: Iterator[_Place]) -> None:
        self.walk = walk
        self.places: list[_Place] = []
        self.starts = [0]
        self.joined_starts: list[int] = []
        self.key_paths: dict[int, Path] = {}


def _collect(value: JsonValue, texts: list[str], aside: dict[str, None], named: list[str]) -> None:
    if type(value) is dict:
        _collect_members(value, texts, aside, named)
    elif type(value) is list:
        for item in value:
            if type(item) is str:
                texts.append(item)
            else:
                _collect(item, texts, aside, named)
    elif type(value) is str or (type(value) is Number and len(value) >= MIN_NUMBER_DIGITS):
        texts.append(value)


def _collect_members(
    value: JsonObject, texts: list[str], aside: dict[str, None], named: list[str]
) -> None:
    for key, item in value.items():
        aside[key] = None
        if type(item) is str:
            if key in ASIDE:
                aside[item] = None
            else:
                texts.append(item)
                if len(item) <= LONGEST_NAMED and _is_telling(key):
                    named.append(f"{key}: {item}")
        elif item is not None and item is not True and item is not False:
            _collect(item, texts, aside, named)
            if type(item) is Number and len(item) >= MIN_NUMBER_DIGITS and _is_telling(key):
                named.append(f"{key}: {item}")
    if name := _name_beside(value):
        named.append(f"{name}: {value['value']}")


def _walk_named(value: JsonValue, path: Path) -> Iterator[_Place]:
    """The values that stand behind their names once more, in the order of `_collect`."""
    if type(value) is dict:
        for key, item in value.items():
            if type(item) is str:
                if key not in ASIDE and len(item) <= LONGEST_NAMED and _is_telling(key):
                    yield (*path, key), len(key) + 2, item
            else:
                yield from _walk_named(item, (*path, key))
                if type(item) is Number and len(item) >= MIN_NUMBER_DIGITS and _is_telling(key):
                    yield (*path, key), len(key) + 2, item
        if name := _name_beside(value):
            yield (*path, "value"), len(name) + 2, str(value["value"])
    elif type(value) is list:
        for index, item in enumerate(value):
            yield from _walk_named(item, (*path, index))


def _name_beside(value: JsonObject) -> str:
    """The name of what stands as `value` beside it, as in a list of variables; or empty."""
    held = value.get("value")
    if type(held) is not str or len(held) > LONGEST_NAMED:
        return ""
    for key in ("name", "key", "label", "variable"):
        name = value.get(key)
        if type(name) is str and _is_telling(name):
            return name
    return ""


def _is_telling(key: str) -> bool:
    """True for a key that could say that its value is private."""
    return len(key) <= LONGEST_KEY and _tells(key)  # a longer one is not to be remembered


@lru_cache(maxsize=4096)
def _tells(key: str) -> bool:
    return _TELLING.search(key) is not None


# Words of the names that rules ask for before a value: of credentials, then of personal numbers.
_TELLING = re.compile(
    f"{'|'.join(KEYS)}|"
    "card|cc|pan|iban|konto|account|ssn|social|tin|tax|routing|aba|npi|dea|nino|insurance|nhs|sin|"
    "nas|zehut|id.?n|person|pnr|amka|nir|secu|steuer|idnr|dni|nie|nif|fisc|bsn|pesel|cnp|egn|"
    "regist|niss|insz|cislo|číslo|rč|hetu|tunnus|ahv|avs|nss|pps|cpr|cpf|cnpj|cuit|cuil|rut|run|curp|"
    "aadh|uid|passport|mrz|vin|chassis|imei|tfn|abn|nric|fin|kimlik|tck|inn|snils|rrn|jumin|sfz|"
    "number|身份|居民|マイナ|個人|주민|инн|снилс|егн|αμκα|ת|आधार",
    re.IGNORECASE,
)
_COULD_HOLD = re.compile(r"(?=\D{0,24}[0-9])[!-~]{10}")


def _values(value: JsonValue) -> Iterator[_Place]:
    """The values that are read with nothing between, in the order of `_collect`."""
    for path, item in values_in(value):
        if _is_text(item) and not (type(item) is str and path and path[-1] in ASIDE):
            yield path, 0, item


def _collect_keyed(
    value: JsonValue, members: list[_Member], values: list[str], keys: dict[str, None]
) -> None:
    if type(value) is dict:
        for key, item in value.items():
            keys[key] = None
            if type(item) is str or (type(item) is Number and len(item) >= MIN_NUMBER_DIGITS):
                members.append((key, item))
                if key not in ASIDE or not _is_listed(item):
                    values.append(item)
            else:
                members.append((key, ""))
                if type(item) is dict or type(item) is list:
                    _collect_keyed(item, members, values, keys)
    elif type(value) is list:
        for item in value:
            _collect_keyed(item, members, values, keys)
    elif type(value) is str or (type(value) is Number and len(value) >= MIN_NUMBER_DIGITS):
        members.append((None, value))
        values.append(value)


def _is_text(value: JsonValue) -> TypeGuard[str]:
    """True for a string, and for a number that is long enough to name somebody."""
    return type(value) is str or (type(value) is Number and len(value) >= MIN_NUMBER_DIGITS)


def _is_listed(value: str) -> bool:
    """True for what a schema lists, as `text` or `image/png`, and not for a piece of a secret."""
    if type(value) is Number:
        return False
    return len(value) <= LONGEST_LISTED and (value.islower() or value == "2.0")


def _keyed_values(value: JsonValue) -> Iterator[_Place]:
    """The segments of `_collect_keyed`: each member, empty where it has no text of its own."""
    for path, item in values_in(value):
        if path and type(path[-1]) is str:
            yield path, len(path[-1]) + 2, item if _is_text(item) else ""
        elif _is_text(item):
            yield path, 0, item


def _key_paths(value: JsonValue, wanted: str) -> Iterator[Path]:
    """The paths of a key, or of a value from a fixed list."""
    for path, item in values_in(value):
        if path and (path[-1] == wanted or (path[-1] in ASIDE and item == wanted)):
            yield path
