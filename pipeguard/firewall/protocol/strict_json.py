"""Strict JSON: a text that two parsers could read differently is refused.

Refused are duplicate keys, invalid UTF-8, lone surrogates, NaN, and more values or deeper nesting
than the limits. A Refusal carries the id of the request if it can be read for certain, so that its
sender can be answered.

`_strict_json.c` reads the same about five times as fast. This module reads frames that it does not
accept, and all frames if it was not built: only this module refuses.
"""

from __future__ import annotations

from json import JSONDecodeError, JSONDecoder
from typing import NoReturn

from pipeguard.errors import Refusal
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol import ids
from pipeguard.firewall.protocol.codes import (
    INVALID_REQUEST,
    PARSE_ERROR,
    PEER_BROKE_PROTOCOL,
    PEER_GONE,
    UNSCANNABLE,
)
from pipeguard.firewall.protocol.framing import KnownResult, Lost, Oversized, legible_id, one_line
from pipeguard.firewall.protocol.json_values import (
    MOST_BYTES,
    NATIVE,
    JsonObject,
    JsonValue,
    Number,
    as_object,
    serialise_short,
    write_text,
)

MAX_DEPTH = 64  # nested arrays and objects; MCP's own messages need about 12
MAX_NODES = 100_000  # values in one message
MAX_KEYS = 10_000  # members of one object
# Stack size of each thread that reads frames: CPython's C parser counts its depth and raises
# RecursionError at a depth for which this is enough (3.13 needs 2 MiB, the other versions less).
STACK_BYTES = 8 * 2**20

_LOST_RULES = {
    PEER_GONE: "protocol.peer-gone",
    UNSCANNABLE: "protocol.undecodable-answer",
    PEER_BROKE_PROTOCOL: "protocol.malformed-answer",
}


class ParsedFrame(bytes):
    """A frame with its value, so that later readers do not parse it again.

    The value takes about ten times the frame's memory, so a queue drops it (`without_value`).

    Attributes:
        value: of the frame; never changed.
        is_line: True if it is one line as it is (firewall.protocol.framing).
    """

    value: JsonValue
    is_line: bool

    @classmethod
    def of(cls, frame: bytes) -> ParsedFrame:
        """Read a frame.

        Raises:
            Refusal: it is not strict JSON, or exceeds a limit.
        """
        value, line = read_json(frame)
        parsed = cls.of_line(frame, value)
        parsed.is_line = line is frame
        return parsed

    @classmethod
    def write(cls, value: JsonValue) -> bytes:
        """Serialise a value; the frame carries it unless it nests too deep to be read."""
        short = cls.write_short(value, MOST_BYTES)
        if short is not None:
            return short
        frame = write_text(value)
        if _opens_too_much(frame) and nests_deeper_than(value, MAX_DEPTH):
            return frame
        return cls.of_line(frame, value)

    @classmethod
    def write_short(cls, value: JsonValue, most_bytes: int) -> ParsedFrame | None:
        """Serialise a value as `json_values.serialise_short` does; the frame has it."""
        frame = serialise_short(value, most_bytes)
        return None if frame is None else cls.of_line(frame, value)

    @classmethod
    def of_line(cls, line: bytes, value: JsonValue) -> ParsedFrame:
        """A frame on one line, whose value is known."""
        parsed = cls(line)
        parsed.value = value
        parsed.is_line = True
        return parsed


def without_value(frame: bytes) -> bytes:
    """Only the bytes of a frame that has its value; else the frame as it is."""
    return bytes(frame) if isinstance(frame, ParsedFrame) else frame


def parse_json(frame: bytes) -> JsonValue:
    """Read strict JSON.

    Raises:
        Refusal: it is not strict JSON, or exceeds a limit.
    """
    return frame.value if isinstance(frame, ParsedFrame) else read_json(frame)[0]


def read_json(frame: bytes) -> tuple[JsonValue, bytes]:
    """Read strict JSON; return the value, and the frame as one line (firewall.protocol.framing).

    Raises:
        Refusal: it is not strict JSON, or exceeds a limit.
    """
    if type(frame) in _WHOLE and _NATIVE is not None:
        read = _NATIVE.read_frame(frame, Number, (MAX_DEPTH, MAX_NODES, MAX_KEYS))
        if read is not None:
            value, is_line = read
            return value, frame if is_line else one_line(frame, frame.decode("utf-8"))
    if isinstance(frame, ParsedFrame):
        return frame.value, frame if frame.is_line else one_line(frame, frame.decode("utf-8"))
    text = _text(frame)
    return read_text(frame, text), one_line(frame, text)


def read_text(frame: bytes, text: str) -> JsonValue:
    """Read strict JSON without `_strict_json.c`.

    Args:
        frame: the bytes.
        text: the same, decoded.

    Raises:
        Refusal: it is not strict JSON, or exceeds a limit.
    """
    if len(frame) > MAX_NODES and holds_more_than(frame, MAX_NODES):
        why = f"the frame has more than {MAX_NODES} values"
        raise Refusal("protocol.too-many-values", why, UNSCANNABLE, legible_id(frame))
    try:
        value: JsonValue = _DECODER.decode(text)
    except RecursionError:  # the parser counts its own depth: see STACK_BYTES
        raise _too_deep(frame) from None
    except JSONDecodeError:
        why = "the frame is not valid JSON"
        raise Refusal("protocol.invalid-json", why, PARSE_ERROR, legible_id(frame)) from None
    except Refusal as refusal:  # of `_make_object`, which does not know the frame
        raise Refusal(refusal.rule, refusal.why, refusal.code, legible_id(frame)) from None
    if _opens_too_much(frame) and nests_deeper_than(value, MAX_DEPTH):
        raise _too_deep(frame)
    if (
        b"\\u" in frame
        and _MAYBE_SURROGATE.search(frame)
        and _LONE_SURROGATE.search(frame.replace(rb"\\", b"  "))
    ):
        raise Refusal(
            "protocol.lone-surrogate",
            "a string contains a lone surrogate, which is half a character",
            INVALID_REQUEST,
            ids.write_id(as_object(value).get("id")),
        )
    return value


def holds_more_than(frame: bytes, limit: int) -> bool:
    """True if the text has more than `limit` values; a container counts, and so do its members."""
    if frame.count(b",") + frame.count(b"[") + frame.count(b"{") < limit:
        return False
    outside = b"".join(frame.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    return 1 + outside.count(b",") + outside.count(b"[") + outside.count(b"{") > limit


def nests_deeper_than(value: JsonValue, limit: int) -> bool:
    """True if arrays and objects nest more than `limit` deep. Does not recurse."""
    level = [value] if type(value) is dict or type(value) is list else []
    for _ in range(limit):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return False
    return bool(level)


def _opens_too_much(frame: bytes) -> bool:
    """False for a text that cannot nest too deep."""
    return frame.count(b"[") + frame.count(b"{") > MAX_DEPTH


def _text(frame: bytes) -> str:
    if type(frame) not in _WHOLE:
        if isinstance(frame, Oversized):
            why = "the frame is larger than the limit"
            raise Refusal("protocol.frame-too-large", why, UNSCANNABLE, legible_id(frame))
        if isinstance(frame, Lost):
            raise Refusal(_LOST_RULES[frame.code], frame.why, frame.code, frame.id_token)
    try:
        return frame.decode("utf-8")
    except UnicodeDecodeError:
        why = "the frame is not valid UTF-8"
        raise Refusal("protocol.invalid-utf8", why, PARSE_ERROR, legible_id(frame)) from None


def _make_object(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    value = dict(pairs)
    if len(value) == len(pairs) <= MAX_KEYS:
        return value
    if len(pairs) != len(value):
        why = "an object has the same key twice"
        raise Refusal("protocol.duplicate-key", why, INVALID_REQUEST)
    why = f"an object has more than {MAX_KEYS} keys"
    raise Refusal("protocol.too-many-keys", why, UNSCANNABLE)


def _refuse_constant(name: str) -> NoReturn:
    raise JSONDecodeError("not JSON", name, 0)  # NaN, Infinity, -Infinity


_DECODER = JSONDecoder(
    object_pairs_hook=_make_object,
    parse_float=Number,
    parse_int=Number,
    parse_constant=_refuse_constant,
)
_NATIVE = NATIVE
_WHOLE = frozenset({bytes, KnownResult})


def _too_deep(frame: bytes) -> Refusal:
    why = f"values are nested more than {MAX_DEPTH} deep"
    return Refusal("protocol.too-deep", why, UNSCANNABLE, legible_id(frame))


_MAYBE_SURROGATE = lazy_regex(rb"\\u[dD][89a-fA-F]")
# An escaped surrogate without its other half next to it (RFC 8259, section 8.2).
_LONE_SURROGATE = lazy_regex(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|[c-fC-F](?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F]))"
)
