"""The two layouts of a message: the strings of its value that are read, and their order.

- Keyed, towards a server: each member as `key: value`, so that a rule can ask for the name before
  a value. A member without a string of its own has an empty one.
- Unkeyed, towards a client: the values in order, so that a sentence that is split over content
  blocks is read as the model reads it. After them come values with a sensitive key, behind that
  key; then keys and values from fixed lists (such as `type`), each once.

One walk lays out a value, and notes the way to each string by the containers around it.
`_layout.c` is five to ten times as fast; if it was not built, `lay_out_in_python` runs.
"""

from array import array
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import accumulate, repeat
from typing import TypeGuard

from pipeguard.detect.text.encoding import legible
from pipeguard.detect.words import credentials
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Number, Path, walk_values
from pipeguard.firewall.protocol.places import FIXED_VALUE_KEYS
from pipeguard.native import find_native
from pipeguard.records import NamedTuple

LONGEST_LISTED = 12  # characters, as `application/` has
MIN_NUMBER_DIGITS = 9  # shorter numbers identify nobody and nothing
LEAST_KEY = 10  # characters of a key that could be part of a secret
MOST_COLUMNS = 4  # of a table, one of which may be the characters of a text
LEAST_CODES = 16  # numbers in a list that may be the characters of a text
_KEY_BYTES = lazy_regex(r"48(?: (?:1[0-9]{2}|2[0-4][0-9]|25[0-5]|[0-9]{1,2})){40,}")
_CODES = 9, 10, 13, *range(0x20, 0x7F)
_CHARACTERS = tuple(
    {format(code, base) + fraction: chr(code) for code in _CODES for fraction in ("", ".0")}
    for base in "do"
)

Step = str | int | None  # a key, the index of an item, or nothing below the container

LONGEST_KEY = 100  # characters: a longer key is a text and not a name
LONGEST_NAMED = 600  # characters of a value that is read together with its key

# Words of the names that rules require before a value: of credentials, then of personal numbers.
_SENSITIVE = lazy_regex(
    rf"(?i){credentials.alternatives('KEYS')}|pat(?![a-z])|{credentials.alternatives('NUMBERS')}|id.?n",
)


def is_sensitive(key: str) -> bool:
    """True for a key whose value may be private."""
    return len(key) <= LONGEST_KEY and _has_sensitive_word(key)  # longer keys would fill the cache


@lru_cache(4096)
def _has_sensitive_word(key: str) -> bool:
    return _SENSITIVE.search(key) is not None


def sensitive_label(value: JsonObject) -> str:
    """The name in an object such as `{"name": "API_KEY", "value": ...}`, if sensitive; or empty.

    Lists of variables and headers are written so.
    """
    content = value.get("value")
    if type(content) is not str or len(content) > LONGEST_NAMED:
        return ""
    names = map(value.get, ("name", "key", "label", "variable"))
    return next((name for name in names if type(name) is str and is_sensitive(name)), "")


def text_of_codes(value: JsonValue) -> str:
    """The text given as character numbers in a list or an object; empty for any other value.

    The list may consist of rows, with the text in all numbers or in one column. The numbers may
    be decimal, or octal without a prefix. Numbers of the bytes of a key are in hexadecimal.
    """
    items = value.values() if type(value) is dict else value if type(value) is list else ()
    if len(items) < LEAST_CODES and list not in map(type, items):
        return ""
    rows = [item if type(item) is list else (item,) for item in items if type(item) is not dict]
    columns: list[list[JsonValue]] = [[number for row in rows for number in row]]
    table = [item.values() for item in items if type(item) is dict] or rows
    if len(table) >= LEAST_CODES and (table is rows) < len(table[0]) <= MOST_COLUMNS:
        columns += map(list, zip(*table, strict=False))
    texts: list[str] = []
    for at, column in enumerate(columns):
        numbers = [item for item in column if type(item) is Number]
        if len(numbers) >= LEAST_CODES:
            texts += _texts(numbers, is_column=at > 0)
    return "\n".join(texts)


def _texts(numbers: list[Number], *, is_column: bool) -> Iterator[str]:
    if numbers[0] == "48" and (digits := _KEY_BYTES.fullmatch(" ".join(numbers))):
        yield legible(bytes(map(int, digits[0].split()))).decode()
    numbers = [number for number in numbers if number != "0"]  # as between letters in UTF-16
    for by_number in _CHARACTERS[: 2 - is_column]:
        text = "".join(map(by_number.get, numbers, repeat("")))
        if len(numbers) >= LEAST_CODES and 4 * len(text) >= 3 * len(numbers) and not text.isdigit():
            yield text


# --- the two layouts --------------------------------------------------------------------


class Layout(NamedTuple):
    """The strings of a value as lines.

    The numbers are unsigned C integers.

    Attributes:
        data: all lines in UTF-8, joined by line ends.
        values: the strings that are read joined, in order.
        keys: the names; unkeyed, also values from fixed lists. Each once, in order.
        long_keys: the `keys` that have LEAST_KEY characters.
        strings: keyed, of each line; unkeyed, `values` and the strings behind labels.
        labels: unkeyed, of each line that follows `values`; behind these lines come the keys.
        starts: of each line in `data`, and of a further one.
        steps: the last step to each of `strings`.
        owners: the number of the container of each of `strings`.
        names: the last step to each container; the first one is the whole value.
        parents: the number of the container around each container.
    """

    data: bytes
    values: list[str]
    keys: dict[str, None]
    long_keys: list[str]
    strings: list[str]
    labels: list[str]
    starts: bytes
    steps: list[Step]
    owners: bytes
    names: list[Step]
    parents: bytes


def lay_out(value: JsonValue, *, keyed: bool) -> Layout:
    """Lay out the strings of a value as lines.

    Raises:
        UnicodeEncodeError: a string has a lone surrogate.
    """
    if NATIVE is None:
        return lay_out_in_python(value, keyed=keyed)
    return Layout(*NATIVE.lay_out(value, keyed, READERS))


class _Walk:
    """One walk over a value, in Python."""

    def __init__(self, *, keyed: bool) -> None:
        self.keyed = keyed
        self.lines: list[bytes] = []
        self.values: list[str] = []
        self.keys: dict[str, None] = {}
        self.strings: list[str] = []
        self.steps: list[Step] = []
        self.owners: list[int] = []
        self.named: list[tuple[str, str, Step, int]] = []  # which are added after the others
        self.names: list[Step] = [None]
        self.parents = [0]

    def add(self, label: str | None, string: str, step: Step, owner: int) -> None:
        """Lay out a string as a line."""
        line = string if label is None else f"{label}: {string}"
        self.lines.append(line.encode())
        self.strings.append(string)
        self.steps.append(step)
        self.owners.append(owner)

    def add_value(self, value: str, step: Step, owner: int) -> None:
        """Lay out a string without its key, for joined reading."""
        self.add(None, value, step, owner)
        self.values.append(value)

    def read(self, value: JsonObject | list[JsonValue], owner: int) -> None:
        """Read a container."""
        if self.keyed and (text := text_of_codes(value)):
            self.add_value(text, None, owner)
        for step, item in value.items() if type(value) is dict else enumerate(value):
            if type(step) is str:
                self.add_member(step, item, owner)
            elif _is_string(item):
                self.add_value(item, step, owner)
            if type(item) is dict or type(item) is list:
                self.names.append(step)
                self.parents.append(owner)
                self.read(item, len(self.parents) - 1)
        if not self.keyed and type(value) is dict and (label := sensitive_label(value)):
            self.named.append((label, str(value["value"]), "value", owner))

    def add_member(self, key: str, item: JsonValue, owner: int) -> None:
        """Lay out the member of an object; keyed, one that is not a string has only its name."""
        self.keys[key] = None
        if self.keyed:
            self.add(key, item if _is_string(item) else "", key, owner)
            if _is_string(item) and not (key in FIXED_VALUE_KEYS and is_listed(item)):
                self.values.append(item)
        elif type(item) is str and key in FIXED_VALUE_KEYS:
            self.keys[item] = None
        elif _is_string(item):
            self.add_value(item, key, owner)
            if (type(item) is Number or len(item) <= LONGEST_NAMED) and is_sensitive(key):
                self.named.append((key, item, key, owner))


def lay_out_in_python(value: JsonValue, *, keyed: bool) -> Layout:
    """Lay out a value; `_layout.c` does the same some five times as fast."""
    walk = _Walk(keyed=keyed)
    if _is_string(value):
        walk.add_value(value, None, 0)
    elif type(value) is dict or type(value) is list:
        walk.read(value, 0)
    for named in walk.named:
        walk.add(*named)
    if not keyed:
        walk.lines += [key.encode() for key in walk.keys]
    return Layout(
        b"\n".join(walk.lines),
        walk.values,
        walk.keys,
        [key for key in walk.keys if len(key) >= LEAST_KEY],
        walk.strings,
        [label for label, *_ in walk.named],
        _numbers(accumulate((len(line) + 1 for line in walk.lines), initial=0)),
        walk.steps,
        _numbers(walk.owners),
        walk.names,
        _numbers(walk.parents),
    )


def _numbers(numbers: Iterable[int]) -> bytes:
    return array("I", numbers).tobytes()


NATIVE = find_native("detect.text._layout")
READERS = Number, FIXED_VALUE_KEYS, text_of_codes, is_sensitive, sensitive_label


def find_keys(value: JsonValue) -> dict[str, Path]:
    """The first path of each key, and of each value from a fixed list."""
    paths: dict[str, Path] = {}
    for path, item in walk_values(value):
        key = path[-1] if path else None
        if type(key) is str:
            paths.setdefault(key, path)
            if key in FIXED_VALUE_KEYS and isinstance(item, str):
                paths.setdefault(item, path)
    return paths


def _is_string(value: JsonValue) -> TypeGuard[str]:
    """True for a string, and for a number that is long enough to identify somebody."""
    return type(value) is str or (type(value) is Number and len(value) >= MIN_NUMBER_DIGITS)


def is_listed(value: str) -> bool:
    """True for a word such as `text` or `image/png`; False for a piece of a secret."""
    if type(value) is Number:
        return False
    return len(value) <= LONGEST_LISTED and (value.islower() or value == "2.0")
