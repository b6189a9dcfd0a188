"""The headers in which MCP 2026-07-28 repeats parts of a body, compared with it.

If they differ, two readers see two requests: a proxy that routes by a header could pass a request
that its body forbids. Source: basic/transports/streamable-http, "Request Headers".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import TYPE_CHECKING

from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    Number,
    as_object,
    serialise,
)
from pipeguard.firewall.protocol.places import get_value

if TYPE_CHECKING:
    from multidict import MultiMapping

VERSION = "MCP-Protocol-Version"
METHOD = "Mcp-Method"
NAME = "Mcp-Name"
PARAM = "Mcp-Param-"
VERSION_META = "io.modelcontextprotocol/protocolVersion"
STATELESS = "2026-07-28"  # the first revision without sessions
SCHEMA_KEY = "x-mcp-header"
MAX_MIRRORED = 64  # parameters of one tool that headers repeat
_MAX_DEPTH = 16
_NAMED = {
    **dict.fromkeys(("tools/call", "prompts/get"), "name"),
    "resources/read": "uri",
    # Not `tasks/result`, which the extension no longer has: its server says so itself.
    **dict.fromkeys(("tasks/get", "tasks/update", "tasks/cancel"), "taskId"),
}
_MIRRORED_TYPES = ("string", "integer", "boolean")
Mirrored = dict[str, tuple[str, ...]]  # headers that repeat parameters, with their paths
_OPEN, _CLOSE = "=?base64?", "?="
_TOKEN = lazy_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}\Z")  # RFC 9110, section 5.6.2
_NUMBER = lazy_regex(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")  # RFC 8259, section 6


def find_revision(value: JsonObject) -> str | None:
    """The revision that a message states; None if a handshake agreed on it."""
    version = as_object(as_object(value.get("params")).get("_meta")).get(VERSION_META)
    return version if type(version) is str else None


def make_headers(value: JsonObject, mirrored: Mirrored) -> dict[str, str]:
    """The headers to send with a message of this revision.

    Args:
        value: a request or a notification.
        mirrored: of the tool that it calls, from `find_mirrored`.
    """
    return {name: encode_header(text) for name, text in _repeat_values(value, mirrored).items()}


def disagreement(
    value: JsonObject,
    headers: MultiMapping[str],
    mirrored: Mirrored,
    *,
    all_required: bool = False,
) -> str | None:
    """Name the header that is missing, repeated or different from the body; else None.

    Names are compared without case, values as they are, numbers by value.

    Args:
        value: the body.
        headers: of the request.
        mirrored: of the tool that it calls, from `find_mirrored`.
        all_required: False if the server notices missing headers of parameters. A header that could
            repeat a value missing from the body is a difference; others are ignored.
    """
    repeated = _repeat_values(value, mirrored)
    for name in list_repeating(value, mirrored):
        given = headers.getall(name, ())
        if not given:
            if name in repeated and (all_required or not name.startswith(PARAM)):
                return f"{name} is missing"
            continue
        if len(given) > 1:
            return f"{name} comes twice"
        decoded = decode_header(given[0])
        if decoded is None:
            return f"{name} cannot be decoded"
        wanted = repeated.get(name)
        is_same_number = isinstance(wanted, Number) and _are_equal(decoded, wanted)
        if decoded != wanted and not is_same_number:
            return f"{name} differs from the body"
    return None


def find_mirrored(definition: JsonValue) -> Mirrored:
    """The headers that repeat a tool's parameters, each with the parameter's path."""
    schema = as_object(definition).get("inputSchema")
    named = (
        (header, path)
        for path, inner in _parameters(schema)
        if type(header := inner.get(SCHEMA_KEY)) is str and _TOKEN.match(header)
    )
    paths: dict[str, tuple[str, tuple[str, ...]]] = {}
    for header, path in islice(named, MAX_MIRRORED):
        paths.setdefault(header.lower(), (header, path))
    return dict(paths.values())


def without_bad_tools(frame: bytes, value: JsonValue, request: JsonValue) -> bytes:
    """An answer without the tools whose parameters ask for invalid headers.

    A client of this revision leaves them out (server/tools, "x-mcp-header"). A client on another
    transport knows nothing of headers, so they are left out for it.

    Args:
        frame: an answer from the server.
        value: the same, parsed.
        request: the request that it answers.
    """
    asked, answer = as_object(request), as_object(value)
    result = as_object(answer.get("result"))
    tools = result.get("tools")
    if asked.get("method") != "tools/list" or not find_revision(asked):
        return frame
    valid = [tool for tool in tools if _has_valid_headers(tool)] if isinstance(tools, list) else []
    if not isinstance(tools, list) or len(valid) == len(tools):
        return frame
    return serialise({**answer, "result": {**result, "tools": valid}})


def _has_valid_headers(tool: JsonValue) -> bool:
    seen: set[str] = set()
    for _, inner in _parameters(as_object(tool).get("inputSchema")):
        if SCHEMA_KEY not in inner:
            continue
        header = inner[SCHEMA_KEY]
        if type(header) is not str or not _TOKEN.match(header) or header.lower() in seen:
            return False
        if inner.get("type") not in _MIRRORED_TYPES:
            return False
        seen.add(header.lower())
    return True


def _parameters(
    schema: JsonValue, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], JsonObject]]:
    """The schema of each parameter with its path, a parameter before its members."""
    if len(path) < _MAX_DEPTH:
        for name, inner in as_object(as_object(schema).get("properties")).items():
            if isinstance(inner, dict):
                yield (*path, name), inner
                yield from _parameters(inner, (*path, name))


def encode_header(text: str) -> str:
    """A value as the value of a header: as it is, or in base64 if a header cannot contain it."""
    plain = text.isascii() and text.isprintable() and text == text.strip()
    if plain and not (text.startswith(_OPEN) and text.endswith(_CLOSE)):
        return text
    return _OPEN + base64.b64encode(text.encode("utf-8", "surrogatepass")).decode() + _CLOSE


def decode_header(value: str) -> str | None:
    """The value that a header's value encodes; None if it is malformed."""
    if not (value.startswith(_OPEN) and value.endswith(_CLOSE)):
        return value
    inner = value[len(_OPEN) : -len(_CLOSE)]
    try:
        return base64.b64decode(inner, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None


def _repeat_values(value: JsonObject, mirrored: Mirrored) -> dict[str, str]:
    """The values that the headers repeat, not encoded, by header name."""
    repeated = {METHOD: str(value.get("method", ""))}
    version, params = find_revision(value), as_object(value.get("params"))
    if version is not None:
        repeated[VERSION] = version
    name = params.get(_NAMED.get(repeated[METHOD], ""))
    if type(name) is str:
        repeated[NAME] = name
    for header, path in mirrored.items():
        text = _text(get_value(params.get("arguments"), path))
        if text is not None:
            repeated[PARAM + header] = text
    return repeated


def list_repeating(value: JsonObject, mirrored: Mirrored) -> list[str]:
    """The headers that repeat, or could repeat, something in the body."""
    mirrors = [PARAM + name for name in mirrored]
    if value.get("method") in _NAMED:
        mirrors.append(NAME)
    return [*dict.fromkeys([*_repeat_values(value, mirrored), *mirrors])]


def _text(value: JsonValue) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else None  # a Number is its own spelling


def _are_equal(number: str, other: str) -> bool:
    try:
        return _NUMBER.match(number) is not None and Decimal(number) == Decimal(other)
    except InvalidOperation:
        return False
