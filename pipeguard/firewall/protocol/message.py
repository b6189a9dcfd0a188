"""One JSON-RPC message, parsed strictly, with its bytes. Knows the envelope, and nothing of MCP."""

from pipeguard.errors import Refusal
from pipeguard.firewall.finding import MessageKind
from pipeguard.firewall.protocol import codes, ids, spelling, strict_json
from pipeguard.firewall.protocol.json_values import (
    NATIVE,
    JsonObject,
    JsonValue,
    Number,
    as_object,
)
from pipeguard.records import NamedTuple

MAX_METHOD_BYTES = 1024
ENVELOPE = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_ENVELOPE = spelling.spellings(ENVELOPE)
_KINDS = (*MessageKind,)  # in the order of `_strict_json.c`


class Message(NamedTuple):  # a tuple, because there is one for each frame
    """One JSON-RPC message and the frame that it was read from.

    Attributes:
        frame: the bytes as they came, on one line (firewall.protocol.framing).
        kind: a request, a notification or an answer.
        value: the parsed object; numbers are `Number`.
        method: of a request or a notification, else None.
        id_token: the id as it is written in the frame, as `7` or `"a"`; None for a notification.
    """

    frame: bytes
    kind: MessageKind
    value: JsonObject
    method: str | None
    id_token: str | None

    @property
    def params(self) -> JsonObject:
        """The params of a request or a notification; empty if it has none."""
        return as_object(self.value.get("params"))


class PlainOutline(NamedTuple):
    """A tool call or its result without the value: enough for a look at a plain one.

    Attributes:
        id_token: as in `Message`.
        tool: the tool that is called; None for a result.
        progress_token: the token under which progress is reported, written as the id; or None.
        arguments: the arguments of the call, as they are written; empty if there are none.
        data: the texts, laid out as lines; of a result, JSON without its escapes.
        joined: the texts without names or separators.
        seam: the offset in `joined` of the last of several texts; -1 if none could be split.
        may_hold_address: False if no argument has a web address.
        ends: the ends of arguments in which a key could begin.
        values: the short values among the arguments: ids, names, addresses.
    """

    id_token: str
    tool: str | None
    progress_token: str | None
    arguments: bytes
    data: bytes
    joined: bytes
    seam: int
    may_hold_address: bool
    ends: list[str]
    values: frozenset[str]


def parse(frame: bytes) -> Message | list[JsonValue]:
    """Read one frame strictly.

    Args:
        frame: the bytes of one JSON text (RFC 8259), without the framing of its transport.

    Returns:
        The message; for a batch (MCP 2025-03-26) its members, not yet checked.

    Raises:
        Refusal: the frame is not a message that every parser reads alike.
    """
    value, line = strict_json.read_json(frame)
    return value if isinstance(value, list) else envelope(line, value)


def envelope(frame: bytes, value: JsonValue) -> Message:
    """Check the JSON-RPC envelope (JSON-RPC 2.0, sections 4 and 5; MCP basic/index).

    Raises:
        Refusal: the envelope is not valid; carries the id if that is well formed.
    """
    if not isinstance(value, dict):
        raise _invalid("protocol.not-an-object", "a message must be a JSON object", None)
    plain = None if NATIVE is None else NATIVE.read_envelope(value, Number)
    if plain is not None:
        kind, method, id_token = plain
        return Message(frame, _KINDS[kind], value, method, id_token)
    return read_envelope(frame, value)


def read_envelope(frame: bytes, value: JsonObject) -> Message:
    """Check the envelope of an object without `_strict_json.c`, which accepts only plain ones.

    Raises:
        Refusal: as of `envelope`.
    """
    id_token = _id_token(value)
    _check_members(value, id_token)
    if value.get("jsonrpc") != "2.0" or type(value["jsonrpc"]) is not str:
        raise _invalid("protocol.jsonrpc-version", '"jsonrpc" must be "2.0"', id_token)
    has_result, has_error = "result" in value, "error" in value
    if "method" in value:
        if has_result or has_error:
            why = "a message is either a request or an answer"
            raise _invalid("protocol.request-and-response", why, id_token)
        method = _method(value, id_token)
        kind = MessageKind.REQUEST if id_token is not None else MessageKind.NOTIFICATION
        return Message(frame, kind, value, method, id_token)
    if id_token is None and not (has_error and value.get("id", None) is None):
        raise _invalid("protocol.no-method", "the message has no method", None)
    if has_result == has_error:
        why = "an answer has exactly one of result and error"
        raise Refusal("protocol.malformed-answer", why, codes.PEER_BROKE_PROTOCOL, id_token)
    return Message(
        frame, MessageKind.RESULT if has_result else MessageKind.ERROR, value, None, id_token
    )


def rewritten(message: Message, value: JsonObject) -> Message:
    """The message with another value, serialised."""
    return message._replace(frame=strict_json.ParsedFrame.write(value), value=value)


def with_id(message: Message, id_token: str) -> Message:
    """The answer with the id as its request spells it."""
    id_ = message.value["id"]
    if (type(id_) is Number and id_ == id_token) or ids.write_id(id_) == id_token:
        return message
    spelled = rewritten(message, {**message.value, "id": ids.read_id(id_token)})
    return spelled._replace(id_token=id_token)


def readdress(answer: Message, id_token: str) -> bytes | None:
    """The frame of an answer with another id in its bytes; None if that needs a rewrite.

    The answer has no members but its version, its id and its result or error.
    """
    span = None if NATIVE is None or len(answer.value) != 3 else NATIVE.find_id(answer.frame)
    if span is None:
        return None
    whole = memoryview(answer.frame)  # a part of it is not copied twice
    return b"".join((whole[: span[0]], id_token.encode("utf-8"), whole[span[1] :]))


def _check_members(value: JsonObject, id_token: str | None) -> None:
    if not value.keys() <= ENVELOPE and spelling.has_look_alike(
        value, _ENVELOPE, spelling.folded_name
    ):
        raise spelling.look_alike("the message", id_token)
    if "params" not in value:
        return
    params = value["params"]
    if type(params) is not dict:
        raise _invalid("protocol.params-not-an-object", "params must be an object", id_token)
    if len(params) > 1 and len({key.casefold() for key in params}) != len(params):
        why = "two members of params differ in case only"
        raise _invalid("protocol.key-look-alike", why, id_token)
    if "_meta" in params and type(params["_meta"]) is not dict:
        raise _invalid("protocol.meta-not-an-object", "_meta must be an object", id_token)


def _id_token(value: JsonObject) -> str | None:
    if "id" not in value:
        return None
    token = ids.write_id(value["id"]) if "method" in value else ids.write_answered_id(value["id"])
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


def _invalid(rule: str, why: str, id_token: str | None) -> Refusal:
    return Refusal(rule, why, codes.INVALID_REQUEST, id_token)
