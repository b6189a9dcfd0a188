"""JSON values as PipeGuard holds them, and how they are written. Numbers keep their digits."""

from __future__ import annotations

from json.encoder import encode_basestring

from pipeguard.firewall.protocol.framing import without_line_ends


class Number(str):
    """A JSON number as its digits were on the wire: never rounded, never respelt."""

    __slots__ = ()


JsonValue = None | bool | Number | str | list["JsonValue"] | dict[str, "JsonValue"]
JsonObject = dict[str, JsonValue]


def serialise(value: JsonValue) -> bytes:
    """Write a value on one line; number tokens and key order are kept."""
    parts: list[str] = []
    _write(value, parts)
    return without_line_ends("".join(parts)).encode("utf-8")


def _write(value: JsonValue, parts: list[str]) -> None:
    if value is None:
        parts.append("null")
    elif value is True:
        parts.append("true")
    elif value is False:
        parts.append("false")
    elif isinstance(value, Number):
        parts.append(str.__str__(value))
    elif isinstance(value, str):
        parts.append(encode_basestring(value))
    elif isinstance(value, list):
        opening = "["
        for item in value:
            parts.append(opening)
            _write(item, parts)
            opening = ","
        parts.append("]" if value else "[]")
    else:
        opening = "{"
        for key, item in value.items():
            parts.append(opening + encode_basestring(key) + ":")
            _write(item, parts)
            opening = ","
        parts.append("}" if value else "{}")
