"""HTTP responses that several endpoints give, and server-sent events as they write them."""

from __future__ import annotations

from contextlib import suppress

from aiohttp import web

from pipeguard.errors import Refusal
from pipeguard.firewall.finding import MessageKind, Verdict
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import as_object
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session import replies
from pipeguard.transports.http import request_headers
from pipeguard.transports.http.headers import EVENTS, JSON
from pipeguard.transports.judging import parse_value
from pipeguard.transports.sse import ServerSentEvent, to_bytes

AWAKE_SECONDS = 25.0  # between two comments on a silent stream: less than proxies wait
KEEP_AWAKE = to_bytes(ServerSentEvent(None, comment=b""))
STREAM_HEADERS = {"Content-Type": EVENTS, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_VERSION_BYTES = request_headers.VERSION_META.encode()
_STATUSES = {"-32601": 404, **dict.fromkeys(("-32602", "-32020", "-32021", "-32022"), 400)}
_UNPARSED = frozenset({"protocol.invalid-json", "protocol.invalid-utf8"})


def as_event(frame: bytes) -> bytes:
    """A frame as a server-sent event; empty, a comment that keeps the connection awake."""
    return to_bytes(ServerSentEvent(frame)) if frame else KEEP_AWAKE


def as_events(frames: list[bytes]) -> bytes:
    """Frames as server-sent events."""
    return b"".join([to_bytes(ServerSentEvent(frame)) for frame in frames])


def answer_frames(frames: list[bytes]) -> web.Response:
    """The response with these frames: JSON for one, events for several, 502 for none."""
    if len(frames) == 1:
        return web.Response(body=frames[0], content_type=JSON)
    if not frames:
        return web.Response(status=502)
    return web.Response(body=as_events(frames), headers=STREAM_HEADERS)


def refusal_response(verdict: Verdict) -> web.Response:
    """The response to a message that is not forwarded."""
    is_readable = verdict.kind is not None or verdict.method is not None
    if verdict.reply is not None:
        # A blocked message is answered as the server would answer it.
        status = 200 if is_readable else 400
        return web.Response(status=status, body=verdict.reply, content_type=JSON)
    if verdict.kind is MessageKind.REQUEST:  # it was cancelled while it waited for a person
        return web.Response(headers=STREAM_HEADERS)
    if is_readable:
        return web.Response(status=202)
    finding = verdict.findings[0]
    code = codes.PARSE_ERROR if finding.rule in _UNPARSED else codes.INVALID_REQUEST
    body = replies.error(None, code, f"PipeGuard: {finding.note}")
    return web.Response(status=400, body=body, content_type=JSON)


def choose_status(frame: bytes) -> int:
    """The status that belongs to an answer (2026-07-28, basic/transports/streamable-http)."""
    with suppress(Refusal):
        error = as_object(as_object(parse_json(frame)).get("error"))
        return _STATUSES.get(str(error.get("code")), 200)
    return 200


async def is_stateless(request: web.BaseRequest, body: bytes) -> bool:
    """True for a message of a revision that has no sessions."""
    if request.headers.get(request_headers.VERSION, "") >= request_headers.STATELESS:
        return True
    if _VERSION_BYTES not in body:
        return False
    with suppress(Refusal):
        value = as_object(await parse_value(body))  # the words may be anywhere in it
        return request_headers.find_revision(value) is not None
    return False
