"""Headers that repeat a body (MCP 2026-07-28): compared with it, or written for a new body."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from pipeguard.core.protocol import request_headers
from pipeguard.core.protocol.message import Message, parse
from pipeguard.core.session import replies
from pipeguard.errors import Refusal
from pipeguard.transports.http.server.admission import RequestRefused
from pipeguard.transports.http.server.refusals import RefusalReason
from pipeguard.transports.http.server.sessions import Sessions

HEADER_MISMATCH = -32020  # MCP 2026-07-28, basic/transports/streamable-http


def message_of(body: bytes) -> Message | None:
    """The message in a body; None where it is none, which the Session refuses."""
    with suppress(Refusal):
        message = parse(body)
        return message if isinstance(message, Message) else None
    return None


def check_headers(
    sessions: Sessions,
    headers: Mapping[str, str],
    message: Message,
    *,
    who: str = "",
    all_of_them: bool,
) -> None:
    """Check that headers repeat what the body says (2026-07-28).

    Args:
        sessions: know the tools, and so which parameters have headers.
        headers: of the request.
        message: its body.
        who: the name of the client's token, or empty.
        all_of_them: False where the server sees the headers, too, and asks for missing ones.

    Raises:
        RequestRefused: they say something else; with -32020.
    """
    missing = request_headers.missing(message.value, headers)
    if missing is not None:
        raise _mismatch(message, f"{missing} is missing")
    mirrored = _mirrored_parameters(sessions, message, who)
    wrong = request_headers.disagreement(message.value, headers, mirrored, all_required=all_of_them)
    if wrong is not None:
        raise _mismatch(message, wrong)


def headers_repeating(sessions: Sessions, frame: bytes) -> dict[str, str]:
    """The headers that repeat a message which was changed."""
    message = message_of(frame)
    if message is None:
        return {}
    return request_headers.headers_of(message.value, _mirrored_parameters(sessions, message))


def _mirrored_parameters(
    sessions: Sessions, message: Message, who: str = ""
) -> dict[str, tuple[str, ...]]:
    """The headers that repeat parameters of the called tool, with the parameters' paths."""
    params = message.value.get("params")
    name = params.get("name") if isinstance(params, dict) else None
    is_call = message.method == "tools/call" and type(name) is str
    return sessions.mirrored(str(name), who) if is_call else {}


def _mismatch(message: Message, what: str) -> RequestRefused:
    why = f"Header mismatch: {what}"
    frame = replies.error(message.id_token, HEADER_MISMATCH, why)
    return RequestRefused(RefusalReason.MISMATCH, 400, why, frame=frame)
