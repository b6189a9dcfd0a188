"""Texts in which no rule matched, by their names.

Agents ask for the same again and again, and get the same. All messages of one name have the same
strings in the same places; their ids and progress tokens, which no rule reads, may differ.
"""

from hashlib import sha256
from typing import Protocol

from pipeguard.detect.text.layouts import MIN_NUMBER_DIGITS
from pipeguard.firewall.protocol.json_values import JsonValue, Number, serialise
from pipeguard.firewall.protocol.message import ENVELOPE, Message
from pipeguard.firewall.protocol.pending import Targets
from pipeguard.firewall.protocol.places import LISTS, OPENINGS, Surface, get_value
from pipeguard.firewall.session.guard import Context
from pipeguard.records import NamedTuple

# Messages of client and server before any call, with the same words in most runs.
HANDSHAKE = frozenset({*OPENINGS, *LISTS, "notifications/initialized", "ping"})
NAMED_BYTES = 2**22  # of a frame that may come again; its name costs 1 us/KB, and reading it 20
SHORT_BYTES = 1024  # of one that is remembered without hashing it
# As SDKs write the id: first or last, with or without spaces.
_AROUND_ID = (b'{"jsonrpc":"2.0","id":', b',"id":'), (b'{"jsonrpc": "2.0", "id": ', b', "id": ')
_ANSWER = b"to-client\0result\0tools/call\0"
_PROGRESS = b'"progressToken":'  # the key of a number that usually equals the id
_UNKNOWN = -1  # no kind of files


class LastingNames(Protocol):
    """Names of texts found clean in earlier runs, kept between runs."""

    def __contains__(self, name: bytes) -> bool:
        """True if no rule matched in the text."""

    def add(self, name: bytes) -> None:
        """Remember one."""


class TextName(NamedTuple):
    """The name of a value at its place; empty if it has none.

    Attributes:
        name: a hash, or of a short answer to a tool call all but its id.
        size_bytes: of the value.
        lasts: True if the value is part of most runs.
    """

    name: bytes = b""
    size_bytes: int = 0
    lasts: bool = False


NAMELESS = TextName()


class CleanTexts:
    """Names of clean texts, for any thread.

    Of two halves, each replaced as a whole, the older one is dropped once the newer is full.
    """

    MOST = 512  # of one half; both take 0.2 MB, or up to 1.2 with short frames

    def __init__(self, lasting: LastingNames | None) -> None:
        self._lasting = lasting
        self._new: dict[bytes, int | None] = {}
        self._old: dict[bytes, int | None] = {}

    def has(self, name: bytes, call: Targets, *, lasts: bool = False) -> bool:
        """True for such a text, as the result of a call; `lasts` if earlier runs count."""
        kind = self._new.get(name, self._old.get(name, _UNKNOWN))
        if kind is _UNKNOWN:
            return lasts and self._lasting is not None and name in self._lasting
        return kind is None or kind == call.facts.file_kind

    def add(self, name: bytes, call: Targets, *, lasts: bool = False) -> None:
        """Add a text, if it has a name, with the kind of its call's files if that was computed."""
        if not name:
            return
        if lasts and self._lasting is not None:
            self._lasting.add(name)
        if len(self._new) >= self.MOST:
            self._old, self._new = self._new, {}
        self._new[name] = call.facts.file_kind if call.is_read else None


def name_message(
    context: Context, surface: Surface, message: Message, value: JsonValue
) -> TextName:
    """Name a message; `value` is that of a handshake without definitions."""
    token = message.id_token or ""
    is_numbered = _is_unread(token)
    if context.method in HANDSHAKE:
        if is_numbered and isinstance(value, dict):
            value = {key: item for key, item in value.items() if key != "id"}
        return name_value(context, surface, value)
    frame = message.frame
    if not is_numbered or len(frame) > NAMED_BYTES or not message.value.keys() <= ENVELOPE:
        return NAMELESS
    rest = _without_id(frame, token)
    if not rest:
        return NAMELESS
    if rest.count(_PROGRESS) == 1:  # no string has it, whose quotes are escaped
        meta = get_value(message.value, ("params", "_meta"))
        progress = meta.get("progressToken") if isinstance(meta, dict) and len(meta) == 1 else None
        if isinstance(progress, Number) and len(progress) < MIN_NUMBER_DIGITS:
            rest = rest.replace(_PROGRESS + progress.encode(), _PROGRESS)
    place = f"{surface._value_}\0{context.part}\0{context.method}\0".encode()
    is_short = len(frame) <= SHORT_BYTES and place == _ANSWER
    return TextName(rest if is_short else _hash(place + rest), len(frame))


def name_value(context: Context, surface: Surface, value: JsonValue) -> TextName:
    """Name a value that is part of most runs."""
    names: list[JsonValue] = [step for step in context.prefix if isinstance(step, str)]
    try:
        text = serialise([surface.value, context.part, context.method, names, value])
    except UnicodeEncodeError:
        return NAMELESS
    return TextName(_hash(text), len(text), lasts=True)


def name_frame(frame: bytes, id_token: str) -> bytes:
    """Name a call, or the answer to one; empty if a rule reads the id."""
    rest = _without_id(frame, id_token) if _is_unread(id_token) else b""
    return _hash(_ANSWER + rest) if rest and len(frame) > SHORT_BYTES else rest


def _is_unread(id_token: str) -> bool:
    """True if no rule reads an id: not a string, nor in a list that may be text (text.layouts)."""
    return len(id_token) < MIN_NUMBER_DIGITS and id_token.isdecimal()


def _hash(text: bytes) -> bytes:
    return sha256(text).digest()  # most processors compute it twice as fast as blake2b


def _without_id(frame: bytes, id_token: str) -> bytes:
    """A frame without its id, in either of the usual places; empty if it is in another."""
    written = id_token.encode()
    for first, last in _AROUND_ID:
        if frame.startswith(first + written + b","):
            return frame[len(first) + len(written) :]
        if frame.endswith(last + written + b"}"):
            return frame[: -len(written) - 1]
    return b""
