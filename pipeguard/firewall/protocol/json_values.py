"""JSON values as PipeGuard holds and writes them. Numbers keep their digits.

`_strict_json.c` writes them about eight times as fast. This module writes what it leaves.
"""

from collections.abc import Callable, Iterator
from enum import Enum
from json.encoder import encode_basestring
from typing import Final, Literal

from pipeguard.native import find_native


class Number(str):
    """A JSON number as its digits were on the wire: never rounded, never respelt."""

    __slots__ = ()


class Absent(Enum):
    """A stand-in for a missing value."""

    ABSENT = "absent"


ABSENT: Final[Literal[Absent.ABSENT]] = Absent.ABSENT
JsonValue = None | bool | Number | str | list["JsonValue"] | dict[str, "JsonValue"]
JsonObject = dict[str, JsonValue]
Path = tuple[str | int, ...]


def as_object(value: JsonValue) -> JsonObject:
    """A value if it is an object, else an empty object."""
    return value if isinstance(value, dict) else {}


def as_list(value: JsonValue) -> list[JsonValue]:
    """A value if it is a list, else an empty list."""
    return value if isinstance(value, list) else []


def read_object(value: JsonObject, name: str) -> JsonObject:
    """The member of an object; an empty object if it is none, or not there."""
    return as_object(value.get(name))


_LITERALS = {None: "null", True: "true", False: "false"}
_ENDS = {"\x85": r"\u0085", "\u2028": r"\u2028", "\u2029": r"\u2029"}


def without_line_ends(text: str) -> str:
    """The JSON text with each line end in a string escaped; the text itself if it has none."""
    if not text.isascii():
        for end, escape in _ENDS.items():
            if end in text:
                text = text.replace(end, escape)
    return text


NATIVE = find_native("firewall.protocol._strict_json")
MOST_BYTES = 2**31 - 1  # that `_strict_json.c` is asked to write


def serialise(value: JsonValue) -> bytes:
    """Write a value on one line; number tokens and key order are kept."""
    written = serialise_short(value, MOST_BYTES)
    return write_text(value) if written is None else written


def serialise_short(value: JsonValue, most_bytes: int) -> bytes | None:
    """Write a value with `_strict_json.c`; None if that cannot, or was not built.

    It writes no value that nests deeper than a frame's may, or takes more bytes than `most_bytes`.
    """
    return None if NATIVE is None else NATIVE.write_value(value, Number, most_bytes)


def serialise_canonical(value: object) -> bytes | None:
    """Write a value as RFC 8785 requires, with `_strict_json.c`; None if that cannot.

    It writes no number but integers of a few digits, and no key beyond the basic plane.
    """
    return None if NATIVE is None else NATIVE.write_canonical(value, Number)


def write_text(value: JsonValue) -> bytes:
    """Write a value without `_strict_json.c`.

    Raises:
        UnicodeEncodeError: a string has half a character.
    """
    parts: list[str] = []
    write_parts(value, parts)
    return without_line_ends("".join(parts)).encode("utf-8")


def write_parts(value: JsonValue, parts: list[str]) -> None:
    """Add the parts of a value's text; line ends in strings are not escaped."""
    if value is None or isinstance(value, bool):
        parts.append(_LITERALS[value])
    elif isinstance(value, Number):
        parts.append(str.__str__(value))
    elif isinstance(value, str):
        parts.append(encode_basestring(value))
    elif isinstance(value, list):
        opening = "["
        for item in value:
            parts.append(opening)
            write_parts(item, parts)
            opening = ","
        parts.append("]" if value else "[]")
    else:
        opening = "{"
        for key, item in value.items():
            parts.append(opening + encode_basestring(key) + ":")
            write_parts(item, parts)
            opening = ","
        parts.append("}" if value else "{}")


# --- json walk --------------------------------------------------------------------------
# The values and the strings in a JSON value, with their paths.


def walk_values(value: JsonValue, path: Path = ()) -> Iterator[tuple[Path, JsonValue]]:
    """Each value with its path: the value itself first, a container before its members."""
    yield path, value
    if type(value) is dict or type(value) is list:
        for step, item in value.items() if type(value) is dict else enumerate(value):
            if type(item) is dict or type(item) is list:
                yield from walk_values(item, (*path, step))
            else:
                yield (*path, step), item


def walk_strings(value: JsonValue) -> Iterator[tuple[Path, str]]:
    """Each string with its path. Numbers and keys are not strings."""
    return ((path, item) for path, item in walk_values(value) if type(item) is str)


def walk_texts(value: JsonValue) -> list[str]:
    """Each string and each key, a key before its value."""
    texts: list[str] = []
    _add_texts(value, texts)
    return texts


def _add_texts(value: JsonValue, texts: list[str]) -> None:
    if type(value) is str:
        texts.append(value)
    elif type(value) is dict:
        for key, item in value.items():
            texts.append(key)
            _add_texts(item, texts)
    elif type(value) is list:
        for item in value:
            _add_texts(item, texts)


def with_strings(value: JsonValue, change: Callable[[str], str]) -> JsonValue:
    """A copy of a value in which each string is changed. Numbers and keys stay."""
    if type(value) is str:
        return change(value)
    if type(value) is dict:
        return {key: with_strings(item, change) for key, item in value.items()}
    if type(value) is list:
        return [with_strings(item, change) for item in value]
    return value
