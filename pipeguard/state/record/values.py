"""Values of the firewall as JSON, and back: policies, pins, notes and events.

A named tuple is an object of its fields, a verdict the name of its event, and a message its frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, EnumType
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pipeguard.firewall.finding import Verdict
from pipeguard.firewall.pins.fingerprint import fingerprint, lasting_part
from pipeguard.firewall.protocol.message import Message, parse
from pipeguard.firewall.protocol.strict_json import parse_json

FindVerdict = Callable[[str], Verdict]
# Members of pins, policies and exceptions that have fingerprints.
_FINGERPRINTS = {"approved_fingerprint", "held_fingerprint", "rejected", "approved", "content"}


def encode(value: Any) -> Any:
    """The JSON value of a value."""
    match value:
        case Verdict():
            return value.event
        case Message():
            return encode(value.frame)
        case bytes():
            return value.decode("utf-8", "surrogateescape")
        case Enum():
            return value.name
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: encode(item) for key, item in value.items()}
        value = (*value.values(),)  # pins, which have their keys
    return [*map(encode, value)] if isinstance(value, tuple | list | set | frozenset) else value


def decode(hint: Any, value: Any, find: FindVerdict) -> Any:
    """The value of a type that `encode` made JSON of.

    Args:
        hint: the type.
        value: JSON.
        find: the verdict of an event's name.

    Raises:
        ValueError, TypeError, LookupError, AttributeError, Refusal: it is no such value.
    """
    origin, (kind, *others) = get_origin(hint), get_args(hint) or [hint]
    if hint is Verdict:
        value = find(value)
    elif hint in (bytes, Message):
        data = value.encode("utf-8", "surrogateescape")
        value = data if hint is bytes else parse(data)
    elif hasattr(hint, "_fields"):
        hints = _list_hints(hint)
        value = hint(**{name: decode(hints[name], item, find) for name, item in value.items()})
    elif origin in (UnionType, Union):  # with None
        value = None if value is None else decode(kind, value, find)
    elif origin is Mapping:
        pins = [decode(others[0], item, find) for item in value]
        value = {(pin.kind, pin.name): pin for pin in pins}
    elif origin in (tuple, frozenset):
        value = origin([decode(kind, item, find) for item in value])
    elif isinstance(hint, EnumType):
        value = hint[value]
    elif not isinstance(value, int | float if hint is float else origin or hint):
        raise TypeError(f"{hint} expected, not {type(value).__name__}")
    return value


@cache
def _list_hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, localns={"JsonValue": object})  # which names itself


def keep_fingerprints(value: Any, masked: Any) -> Any:
    """A masked policy, or pins, with fingerprints that fit: those are no secrets.

    Args:
        value: as `encode` made it.
        masked: the same with surrogates.
    """
    if isinstance(value, list):
        return [*map(keep_fingerprints, value, masked)]
    if not isinstance(value, dict):
        return masked
    kept = {
        name: item if name in _FINGERPRINTS else keep_fingerprints(item, masked[name])
        for name, item in value.items()
    }
    for state in ("approved", "held"):
        text = kept.get(f"{state}_definition")
        if text and text != value[f"{state}_definition"]:
            definition = lasting_part(kept["kind"], parse_json(text.encode()))
            kept[f"{state}_fingerprint"] = fingerprint(definition)
    return kept
