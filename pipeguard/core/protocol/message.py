"""A frame, parsed strictly, its bytes kept. Knows JSON and JSON-RPC's envelope, and no MCP.

A frame that two parsers could read differently is not a Message: duplicate keys, invalid
UTF-8, lone surrogates, NaN, a nesting bomb. It raises Refusal, with the id of the request
where that is certain, so that its sender can be answered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from json import JSONDecodeError, JSONDecoder
from json.encoder import encode_basestring
from typing import NamedTuple, NoReturn

from pipeguard.core.finding import MessageKind
from pipeguard.core.protocol import codes
from pipeguard.core.protocol.frame_outline import outlines, respelt
from pipeguard.core.protocol.framing import Lost, Oversized, one_line, without_line_ends
from pipeguard.errors import Refusal

MAX_DEPTH = 64  # nested arrays and objects; MCP's own messages need about 12
MAX_NODES = 100_000  # values in one message
MAX_KEYS = 10_000  # members of one object
MAX_ID_BYTES = 1024  # of a request's id
MAX_METHOD_BYTES = 1024
MAX_ID_DIGITS = 40  # an id is compared by its digits, never as a number
# Of each thread that reads frames: CPython counts how deep its parser is in C, and raises
# RecursionError at a depth for which this is enough (3.13 needs 2 MiB, the other versions less).
STACK_BYTES = 8 * 2**20

_LOST = {
    codes.PEER_GONE: "protocol.peer-gone",
    codes.UNSCANNABLE: "protocol.undecodable-answer",
    codes.PEER_BROKE_PROTOCOL: "protocol.malformed-answer",
}
ENVELOPE = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})

_INTEGER = re.compile(r"(?:0|-?[1-9][0-9]*)\Z", re.ASCII)  # not `-0`: peers answer it as `0`


class Number(str):
    """A JSON number as its digits stood on the wire: never rounded, never re-spelt."""

    __slots__ = ()


JsonValue = None | bool | Number | str | list["JsonValue"] | dict[str, "JsonValue"]
JsonObject = dict[str, JsonValue]


class Message(NamedTuple):  # a tuple, since there is one for each frame
    """One JSON-RPC message and the frame that it was read from.

    Attributes:
        frame: the bytes as they came, on one line (core.protocol.framing).
        kind: what it is.
        value: the parsed object; numbers are `Number`.
        method: for a request or a notification, else None.
        id_token: the id as it stood in the frame, as `7` or `"a"`; None for a notification.
    """

    frame: bytes
    kind: MessageKind
    value: JsonObject
    method: str | None
    id_token: str | None


def parse(frame: bytes) -> Message | list[JsonValue]:
    """Read one frame strictly.

    Args:
        frame: the bytes of one JSON text (RFC 8259), without the framing of its transport.

    Returns:
        The message; for a batch (MCP 2025-03-26) its members, not yet looked at.

    Raises:
        Refusal: the frame is not a message that every parser reads alike.
    """
    text = _text(frame)
    value = _parsed(frame, text)
    return value if isinstance(value, list) else envelope(one_line(frame, text), value)


def parse_json(frame: bytes) -> JsonValue:
    """Read strict JSON: no duplicate keys, no NaN, bounded depth and size.

    Raises:
        Refusal: it is not such a text; the id is given where it can be read for certain.
    """
    return _parsed(frame, _text(frame))


def _text(frame: bytes) -> str:
    if isinstance(frame, Oversized):
        raise Refusal(
            "protocol.frame-too-large",
            "the frame is larger than the limit",
            codes.UNSCANNABLE,
            _stray_id(frame),
        )
    if isinstance(frame, Lost):
        raise Refusal(_LOST[frame.code], frame.why, frame.code, frame.id_token)
    try:
        return frame.decode("utf-8")
    except UnicodeDecodeError:
        why = "the frame is not valid UTF-8"
        raise Refusal("protocol.invalid-utf8", why, codes.PARSE_ERROR, _stray_id(frame)) from None


def _parsed(frame: bytes, text: str) -> JsonValue:
    if len(frame) > MAX_NODES and holds_more_than(frame, MAX_NODES):
        raise Refusal(
            "protocol.too-many-values",
            f"the frame holds more than {MAX_NODES} values",
            codes.UNSCANNABLE,
            _stray_id(frame),
        )
    try:
        value: JsonValue = _decode(text)
    except RecursionError:  # the parser keeps count itself: see STACK_BYTES
        raise _too_deep(frame) from None
    except (JSONDecodeError, StopIteration):
        why = "the frame is not valid JSON"
        raise Refusal("protocol.invalid-json", why, codes.PARSE_ERROR, _stray_id(frame)) from None
    except _Refused as refused:
        raise Refusal(refused.rule, refused.why, refused.code, _stray_id(frame)) from None
    opened = frame.count(b"[") + frame.count(b"{")
    if opened > MAX_DEPTH and nests_deeper_than(value, MAX_DEPTH):
        raise _too_deep(frame)
    if _MAYBE_HALF.search(frame) and _HALF.search(frame.replace(rb"\\", b"  ")):
        raise Refusal(
            "protocol.lone-surrogate",
            "a string holds half a character",
            codes.INVALID_REQUEST,
            id_token_of(value.get("id")) if isinstance(value, dict) else None,
        )
    return value


def envelope(frame: bytes, value: JsonValue) -> Message:
    """Check JSON-RPC's envelope (JSON-RPC 2.0, sections 4 and 5; MCP basic/index).

    Raises:
        Refusal: with code -32600, and the id where it is well formed.
    """
    if not isinstance(value, dict):
        raise _invalid("protocol.not-an-object", "a message must be a JSON object", None)
    id_token = _id_token(value)
    _check_keys(value, id_token)
    if value.get("jsonrpc") != "2.0" or type(value["jsonrpc"]) is not str:
        raise _invalid("protocol.jsonrpc-version", '"jsonrpc" must be "2.0"', id_token)
    has_result, has_error = "result" in value, "error" in value
    if "method" in value:
        if has_result or has_error:
            raise _invalid(
                "protocol.request-and-response", "a message is a request or an answer", id_token
            )
        method = _method(value, id_token)
        kind = MessageKind.REQUEST if id_token is not None else MessageKind.NOTIFICATION
        return Message(frame, kind, value, method, id_token)
    if id_token is None and not (has_error and value.get("id", None) is None):
        raise _invalid("protocol.no-method", "the message has no method", None)
    if has_result == has_error:
        raise Refusal(
            "protocol.malformed-answer",
            "an answer has exactly one of result and error",
            codes.PEER_BROKE_PROTOCOL,
            id_token,
        )
    return Message(
        frame, MessageKind.RESULT if has_result else MessageKind.ERROR, value, None, id_token
    )


def answer_is_well_formed(value: JsonObject) -> bool:
    """True where `result` is an object, or `error` has an integer code and a message."""
    if "result" in value:
        return isinstance(value["result"], dict)
    error = value["error"]
    return (
        isinstance(error, dict)
        and isinstance(error.get("code"), Number)
        and _INTEGER.match(str(error["code"])) is not None
        and type(error.get("message")) is str
    )


def id_token_of(value: JsonValue) -> str | None:
    """The token of a well-formed id (`7`, `"a"`), None where it is none."""
    if isinstance(value, Number):
        whole = len(value) <= MAX_ID_DIGITS and _INTEGER.match(value)
        return str(value) if whole else None
    if isinstance(value, str) and len(value) <= MAX_ID_BYTES:
        try:
            token = serialise(value)
            return token.decode("utf-8") if len(token) <= MAX_ID_BYTES else None
        except UnicodeEncodeError:  # half a character: no answer could repeat it
            return None
    return None


def id_of(token: str) -> JsonValue:
    """An id, or a token of progress, as `id_token_of` told it."""
    return parse_json(token.encode()) if token.startswith('"') else Number(token)


def asked_in(value: JsonValue) -> list[str]:
    """The ids of the requests in a frame, as they stand in it."""
    found = []
    for member in value if isinstance(value, list) else [value]:
        if isinstance(member, dict) and "method" in member and "id" in member:
            token = id_token_of(member["id"])
            if token is not None:
                found.append(token)
    return found


def strays(frame: bytes) -> list[tuple[str, bool | None]]:
    """The ids in a refused frame, each with whether it is a request's."""
    found: dict[str, bool | None] = {}
    for outline in outlines(frame):
        token = _token(outline.id) if outline.id is not None else None
        if token is not None:
            found.setdefault(token, outline.asks)
    return list(found.items())


def is_request_shaped(frame: bytes) -> bool | None:
    """True where a refused frame asks something, False where it answers; None where none tells."""
    return next((outline.asks for outline in outlines(frame)), None)


def serialise(value: JsonValue) -> bytes:
    """Write a value that was changed: number tokens and key order as they were, on one line."""
    parts: list[str] = []
    _write(value, parts)
    return without_line_ends("".join(parts)).encode("utf-8")


def rewritten(message: Message, value: JsonObject) -> Message:
    """A message with another value, written once."""
    return message._replace(frame=serialise(value), value=value)


def holds_more_than(frame: bytes, limit: int) -> bool:
    """True where there are more than `limit` values, with a container's members and itself."""
    if frame.count(b",") + frame.count(b"[") + frame.count(b"{") < limit:
        return False
    outside = _outside_strings(frame)
    return 1 + outside.count(b",") + outside.count(b"[") + outside.count(b"{") > limit


def nests_deeper_than(value: JsonValue, limit: int) -> bool:
    """True where arrays and objects nest more than `limit` deep, counted without recursion."""
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


def _outside_strings(frame: bytes) -> bytes:
    return b"".join(frame.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])


class _Refused(Exception):  # noqa: N818  becomes a Refusal where the frame is known
    def __init__(self, rule: str, why: str, code: int) -> None:
        super().__init__(why)
        self.rule = rule
        self.why = why
        self.code = code


def _pairs(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    value = dict(pairs)
    if len(pairs) != len(value) or len(pairs) > MAX_KEYS:
        raise _bad_keys(len(pairs), len(value))
    return value


def _bad_keys(written: int, different: int) -> _Refused:
    if written != different:
        why = "an object has the same key twice"
        return _Refused("protocol.duplicate-key", why, codes.INVALID_REQUEST)
    why = f"an object has more than {MAX_KEYS} keys"
    return _Refused("protocol.too-many-keys", why, codes.UNSCANNABLE)


def _constant(name: str) -> NoReturn:
    raise JSONDecodeError("not JSON", name, 0)


_DECODER = JSONDecoder(
    object_pairs_hook=_pairs, parse_float=Number, parse_int=Number, parse_constant=_constant
)
_scan_once: Callable[[str, int], tuple[JsonValue, int]] = _DECODER.scan_once  # type: ignore[attr-defined]  # not in typeshed
_WHITE_SPACE = " \t\r\n"  # RFC 8259, section 2


def _decode(text: str) -> JsonValue:
    if text[:1] not in ("{", "["):
        value: JsonValue = _DECODER.decode(text)
        return value
    # What `decode` does, without two searches for white space that is hardly ever there.
    value, end = _scan_once(text, 0)
    if end != len(text) and text[end:].strip(_WHITE_SPACE):
        raise JSONDecodeError("more than one value", text, end)
    return value


def _check_keys(value: JsonObject, id_token: str | None) -> None:
    if not value.keys() <= ENVELOPE:
        for key in value.keys() - ENVELOPE:
            if key.casefold() in ENVELOPE or respelt(key) in ENVELOPE:
                raise _invalid(
                    "protocol.key-look-alike",
                    "a member differs from a JSON-RPC member in how it is spelt only",
                    id_token,
                )
    if "params" not in value:
        return
    params = value["params"]
    if type(params) is not dict:
        raise _invalid("protocol.params-not-an-object", "params must be an object", id_token)
    if len(params) > 1 and len({key.casefold() for key in params}) != len(params):
        raise _invalid(
            "protocol.key-look-alike", "two members of params differ in case only", id_token
        )
    if "_meta" in params and type(params["_meta"]) is not dict:
        raise _invalid("protocol.meta-not-an-object", "_meta must be an object", id_token)


def _id_token(value: JsonObject) -> str | None:
    if "id" not in value:
        return None
    token = id_token_of(value["id"])
    if token is None and not (value["id"] is None and "error" in value and "method" not in value):
        raise _invalid("protocol.invalid-id", "an id is a string or an integer", None)
    return token


def _method(value: JsonObject, id_token: str | None) -> str:
    method = value["method"]
    if type(method) is not str or not method or len(method) > MAX_METHOD_BYTES:
        raise _invalid("protocol.invalid-method", "a method is a short string", id_token)
    if not method.isprintable() and any(character < " " for character in method):
        raise _invalid("protocol.invalid-method", "a method has no control characters", id_token)
    return method


def _too_deep(frame: bytes) -> Refusal:
    why = f"values are nested more than {MAX_DEPTH} deep"
    return Refusal("protocol.too-deep", why, codes.UNSCANNABLE, _stray_id(frame))


def _invalid(rule: str, why: str, id_token: str | None) -> Refusal:
    return Refusal(rule, why, codes.INVALID_REQUEST, id_token)


_MAYBE_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
# An escape for half a character without the other half beside it (RFC 8259, section 8.2).
_HALF = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|[c-fC-F](?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F]))"
)


def _stray_id(frame: bytes) -> str | None:
    """The id under which the sender of a frame can be told, or one of a batch."""
    return next((token for token, _ in strays(frame)), None)


def _token(written: bytes) -> str | None:
    """The token of an id as it stands in a frame."""
    try:
        text = written.decode("utf-8")
        return id_token_of(_decode(text) if text.startswith('"') else Number(text))
    except (ValueError, StopIteration):
        return None


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
