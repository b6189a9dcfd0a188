"""Headers that repeat a body (MCP 2026-07-28): compared with it, and written anew for another."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from pipeguard.core.protocol import request_headers
from pipeguard.core.protocol.message import Message, parse
from pipeguard.core.session import replies
from pipeguard.errors import Refusal
from pipeguard.transports.http.server.admission import Refused
from pipeguard.transports.http.server.refusals import Ground
from pipeguard.transports.http.server.sessions import Conversations

HEADER_MISMATCH = -32020  # MCP 2026-07-28, basic/transports/streamable-http


def message_in(body: bytes) -> Message | None:
    """What a body says, to be compared with its headers; None where it is no message.

    The Session refuses that as well, and says so to the right one.
    """
    with suppress(Refusal):
        message = parse(body)
        return message if isinstance(message, Message) else None
    return None


def check_headers(
    conversations: Conversations, headers: Mapping[str, str], message: Message, *, all_of_them: bool
) -> None:
    """Look whether headers repeat what the body says (2026-07-28), before it is sent.

    Args:
        conversations: know the tools, and so which parameters have headers.
        headers: of the request.
        message: its body.
        all_of_them: False where the server sees the headers as well, and asks for what is missing.

    Raises:
        Refused: they say something else: with -32020.
    """
    absent = request_headers.missing(message.value, headers)
    if absent is not None:
        why = f"Header mismatch: {absent} is missing"
        raise _mismatch(message, why)
    mirrored = _parameters(conversations, message)
    wrong = request_headers.disagreement(message.value, headers, mirrored, all_of_them=all_of_them)
    if wrong is not None:
        why = f"Header mismatch: {wrong}"
        raise _mismatch(message, why)


def repeated_by(conversations: Conversations, frame: bytes) -> dict[str, str]:
    """The headers that repeat a message as it is sent."""
    message = message_in(frame)
    if message is None:
        return {}
    return request_headers.headers_of(message.value, _parameters(conversations, message))


def _parameters(conversations: Conversations, message: Message) -> dict[str, tuple[str, ...]]:
    """Of the tool that a message calls, the headers that repeat parameters, with their paths."""
    params = message.value.get("params")
    name = params.get("name") if isinstance(params, dict) else None
    calls = message.method == "tools/call" and type(name) is str
    return conversations.mirrored(str(name)) if calls else {}


def _mismatch(message: Message, why: str) -> Refused:
    frame = replies.error(message.id_token, HEADER_MISMATCH, why)
    return Refused(Ground.MISMATCH, 400, why, frame=frame)
