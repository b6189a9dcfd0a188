"""The servers of a record as one server on stdio, for tests of an agent. Judges nothing."""

import sys
from contextlib import suppress
from pathlib import Path

import click

from pipeguard.errors import Refusal
from pipeguard.firewall.pins.fingerprint import canonical
from pipeguard.firewall.protocol.json_values import (
    JsonValue,
    Number,
    as_object,
    read_object,
    serialise,
)
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.state.record.lines import MAX_LINE_BYTES, Fields, read_frame, read_lines

_TOKEN = "progressToken"  # noqa: S105  it is no secret
_Messages = list[Fields]
_Answers = dict[bytes, list[_Messages]]  # by request; each after its notifications


def serve_record(path: Path) -> bool:
    """Serve a record on standard input and output, until the client hangs up.

    Returns:
        True if the record has all requests of the client.

    Raises:
        RecordError: it cannot be read, or was changed.
    """
    recorded, has_all = _read_answers(path), True
    for line in iter(lambda: sys.stdin.buffer.readline(MAX_LINE_BYTES), b""):
        request = read_message({"frame": line.decode(errors="replace")})
        if request and not {"id", "method"} <= request.keys():
            continue
        key, token = _make_key(request), _find_token(request)
        if key not in recorded:
            has_all = False
            why = f"The record has no such request: {serialise(request).decode()}"
            recorded[key] = [[{"error": {"code": Number(-32601), "message": why}}]]
        messages, *later = recorded[key]
        recorded[key] = later or [messages]
        for message in messages:
            params = read_object(message, "params")
            if "method" not in message:
                message |= {"jsonrpc": "2.0", "id": request.get("id")}
            elif _TOKEN in params:
                params[_TOKEN] = token
            if token is not None or _TOKEN not in params:
                click.echo(serialise(message))
    return has_all


def read_message(fields: Fields) -> Fields:
    """The message of a record's line; empty if it has none, a batch, or one that is unreadable."""
    with suppress(Refusal, ValueError, TypeError, AttributeError):
        return as_object(parse_json(read_frame(fields) or b""))
    return {}


def _read_answers(path: Path) -> _Answers:
    answers: _Answers = {_make_key({"method": "ping"}): [[{"result": {}}]]}
    calls: dict[str, _Messages] = {}  # open ones by id: a request, then its notifications
    by_token: dict[str, _Messages] = {}  # of progress; answered ones, too
    for _, fields in read_lines(path):
        message = read_message(fields)
        id_ = str(message.get("id"))
        match fields.get("from"), message:
            case "client", {"id": _, "method": _}:
                calls[id_] = by_token[str(_find_token(message))] = [message]
            case "server", {"result": _} | {"error": _} if id_ in calls:
                request, *notifications = calls.pop(id_)
                answers.setdefault(_make_key(request), []).append([*notifications, message])
            case "server", {"params": {"progressToken": token}}:
                by_token.get(str(token), []).append(message)
            case "server", {"method": _} if "id" not in message:
                next(reversed(calls.values()), []).append(message)
    return answers


def _find_token(request: Fields) -> JsonValue:
    return read_object(read_object(request, "params"), "_meta").get(_TOKEN)


def _make_key(request: Fields) -> bytes:
    """The method and the params of a request, without `_meta`; of `initialize`, the method."""
    method, params = request.get("method"), {**read_object(request, "params"), "_meta": None}
    return canonical([method, method != "initialize" and params])
