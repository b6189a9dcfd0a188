"""The values and the strings in a JSON value, with their paths. Knows no message and no method."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.protocol.places import Path


def values_in(value: JsonValue, path: Path = ()) -> Iterator[tuple[Path, JsonValue]]:
    """Each value with its path: the value itself first, a container before its members."""
    yield path, value
    if type(value) is dict:
        for key, item in value.items():
            if type(item) is dict or type(item) is list:
                yield from values_in(item, (*path, key))
            else:
                yield (*path, key), item
    elif type(value) is list:
        for index, item in enumerate(value):
            if type(item) is dict or type(item) is list:
                yield from values_in(item, (*path, index))
            else:
                yield (*path, index), item


def strings_in(value: JsonValue) -> Iterator[tuple[Path, str]]:
    """Each string with its path. Numbers and keys are not strings."""
    return ((path, item) for path, item in values_in(value) if type(item) is str)


def texts_in(value: JsonValue) -> Iterator[str]:
    """Each string and each key, a key before what it names."""
    for path, item in values_in(value):
        if path and type(path[-1]) is str:
            yield path[-1]
        if type(item) is str:
            yield item


def with_strings(value: JsonValue, change: Callable[[str], str]) -> JsonValue:
    """A copy of a value in which each string is changed. Numbers and keys stay."""
    if type(value) is str:
        return change(value)
    if type(value) is dict:
        return {key: with_strings(item, change) for key, item in value.items()}
    if type(value) is list:
        return [with_strings(item, change) for item in value]
    return value
