"""The outline of a frame that could not be parsed: its id and the names of its top-level members.

Its sender waits for an answer under that id, or the frame answers a request with that id. A wrong
guess ends at most one of the sender's own requests, so this reads on where a parser must stop. It
reads at most `MAX_TOKENS` tokens in order, and never repairs anything.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import NamedTuple

from pipeguard.errors import Refusal
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.framing import KEPT_BYTES, Oversized
from pipeguard.firewall.protocol.ids import id_token_of
from pipeguard.firewall.protocol.json_values import Number
from pipeguard.firewall.protocol.spelling import folded_name

MAX_TOKENS = 100_000  # read in one frame, in about 50 ms
MAX_MESSAGES = 100  # of a batch

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = lazy_regex(_STRING + rb'|[{}\[\],:"]|[^\s{}\[\],:"]++', re.DOTALL)
_NESTED = lazy_regex(_STRING + rb'|[{}\[\]"]', re.DOTALL)  # below the top only the depth counts
# The last members of a frame are at its top level: some SDKs write the id there, after the result.
_ID = rb'"id"\s*:\s*(-?\d{1,40}|"[^"\\\x00-\x1f]{0,1024}")\s*'
_MEMBER = rb'"(?:jsonrpc|method)"\s*:\s*"[^"\\]{0,200}"\s*'
_TAIL = lazy_regex(
    rb"[\}\]]\s*,\s*(?:" + _MEMBER + rb",\s*){0,2}" + _ID + rb"(?:,\s*" + _MEMBER + rb"){0,2}\}\s*$"
)
_BOM = b"\xef\xbb\xbf"


class Outline(NamedTuple):
    """What can be read of one message.

    Attributes:
        id: its id as it is written in the frame, or None.
        names: the folded names of its top-level members (firewall.protocol.spelling).
    """

    id: bytes | None
    names: frozenset[str]

    @property
    def asks(self) -> bool | None:
        """True for a request, False for an answer, None if the names do not tell."""
        if self.names & {"method", "params"}:
            return True
        return False if self.names & {"result", "error"} else None


def outlines(frame: bytes) -> list[Outline]:
    """The outline of a message, or of each message of a batch; empty if the frame is neither."""
    if isinstance(frame, Oversized):
        return _with_tail(_Scan(frame.head).messages, frame.tail)
    scan = _Scan(frame.removeprefix(_BOM))
    return scan.messages if scan.is_whole else _with_tail(scan.messages, bytes(frame[-KEPT_BYTES:]))


def legible_ids(frame: bytes) -> list[tuple[str, bool | None]]:
    """The id tokens that can be read in a refused frame, each with `Outline.asks`."""
    tokens: dict[str, bool | None] = {}
    for outline in outlines(frame):
        token = _id_token(outline.id) if outline.id is not None else None
        if token is not None:
            tokens.setdefault(token, outline.asks)
    return list(tokens.items())


def legible_id(frame: bytes) -> str | None:
    """The first id token that can be read in a refused frame, or None."""
    return next((token for token, _ in legible_ids(frame)), None)


def is_request_shaped(frame: bytes) -> bool | None:
    """`Outline.asks` of the first message in a refused frame; None if there is none."""
    return next((outline.asks for outline in outlines(frame)), None)


def is_answer(frame: bytes, refusal: Refusal, *, asks: bool | None) -> bool:
    """True if a refused frame of a server with an id is the answer to that request.

    What was not read to its end, or is not JSON-RPC, may be text or the beginning of a
    notification: it is an answer only if it has a result or an error.

    Args:
        frame: the frame.
        refusal: why it was refused.
        asks: `Outline.asks` of it.
    """
    if asks is not None or isinstance(frame, Oversized) or refusal.code == codes.PARSE_ERROR:
        return asks is False
    return refusal.rule != "protocol.jsonrpc-version"


def answered_ids(frame: bytes, refusal: Refusal) -> list[str]:
    """The ids of the requests that a refused frame of a server answers."""
    return [token for token, asks in legible_ids(frame) if is_answer(frame, refusal, asks=asks)]


class _Scan:
    """One pass over the tokens of the first JSON value.

    Attributes:
        messages: the outlines so far.
        is_whole: True once the value was read to its end, or turned out to be no message.
    """

    def __init__(self, data: bytes) -> None:
        self.messages: list[Outline] = []
        self.is_whole = False
        self._depth = 0
        self._level = 0  # the depth of the current message's members; 0 outside a message
        self._is_batch = False
        self._id: bytes | None = None
        self._names: set[str] = set()
        self._key: str | None = None
        position = 0
        for _ in range(MAX_TOKENS):
            pattern = _NESTED if 0 < self._level < self._depth else _TOKEN
            match = pattern.search(data, position)
            if match is None or match[0] == b'"':  # the end, or an unterminated string
                break
            token, position = match[0], match.end()
            self._take(token, is_ended=position < len(data) or token.startswith(b'"'))
            if self.is_whole:
                return
        self._end()

    def _take(self, token: bytes, *, is_ended: bool) -> None:
        if token in (b"{", b"["):
            self._open(token)
        elif self._depth == 0:
            self.is_whole = True  # a frame that begins with anything else is no message
        elif token in (b"}", b"]"):
            self._depth -= 1
            self._key = None
            if self._depth < self._level:
                self._end()
            self.is_whole = self._depth == 0 or len(self.messages) == MAX_MESSAGES
        elif 0 < self._level == self._depth:
            self._member(token, is_ended=is_ended)

    def _open(self, token: bytes) -> None:
        if self._depth == 0:
            self._is_batch = token == b"["
        self._depth += 1
        self._key = None
        if self._level == 0 and token == b"{" and self._depth == 1 + self._is_batch:
            self._level, self._id, self._names = self._depth, None, set()

    def _member(self, token: bytes, *, is_ended: bool) -> None:
        if token == b",":
            self._key = None
        elif token == b":":
            return
        elif self._key is None:
            self._key = _name(token)
            self._names.add(self._key)
        else:
            if self._key == "id" and self._id is None and is_ended:
                self._id = token
            self._key = None

    def _end(self) -> None:
        if self._level:
            self.messages.append(Outline(self._id, frozenset(self._names)))
            self._level = 0


def _name(token: bytes) -> str:
    """The folded name of a key. `id` must be spelt exactly, because an answer repeats it."""
    text = token.strip(b'"').decode("utf-8", "replace")
    with suppress(ValueError):
        text = str(json.loads(token, strict=False))
    name = folded_name(text)
    return name if name != "id" or text == "id" else ""


def _with_tail(messages: list[Outline], tail: bytes) -> list[Outline]:
    """The outlines, with the id at the end of the frame if a single message has none."""
    if len(messages) > 1 or (messages and messages[0].id is not None):
        return messages
    last = _TAIL.search(tail)
    if last is None:
        return messages
    names = messages[0].names if messages else frozenset()
    return [Outline(last[1], names | ({"method"} if b'"method"' in last[0] else frozenset()))]


def _id_token(written: bytes) -> str | None:
    """The token of an id as it is written in a frame; None if it is not well formed."""
    with suppress(ValueError):
        text = written.decode("utf-8")
        return id_token_of(json.loads(text) if text.startswith('"') else Number(text))
    return None
