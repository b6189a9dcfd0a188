"""What MCP 2026-07-28 repeats of a body in headers, and whether the two say the same.

Two readers that look at different places are two truths: who routes by a header would let pass
what the body forbids. Source: basic/transports/streamable-http, "Request Headers".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation

from pipeguard.core.message import JsonObject, JsonValue

VERSION = "MCP-Protocol-Version"
METHOD = "Mcp-Method"
NAME = "Mcp-Name"
PARAM = "Mcp-Param-"
VERSION_META = "io.modelcontextprotocol/protocolVersion"
STATELESS = "2026-07-28"  # the first revision without sessions
SCHEMA_KEY = "x-mcp-header"
MAX_MIRRORED = 64  # parameters of one tool
_MAX_DEPTH = 16
_NAMED = {
    **dict.fromkeys(("tools/call", "prompts/get"), "name"),
    "resources/read": "uri",
    **dict.fromkeys(("tasks/get", "tasks/update", "tasks/cancel", "tasks/result"), "taskId"),
}
_OPEN, _CLOSE = "=?base64?", "?="


def revision_of(value: JsonObject) -> str | None:
    """The revision that a message says it is of; None where a handshake has said it."""
    params = value.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    version = meta.get(VERSION_META) if isinstance(meta, dict) else None
    return version if type(version) is str else None


def headers_of(value: JsonObject, mirrored: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """The headers that a message of this revision is sent with.

    Args:
        value: a request or a notification.
        mirrored: of the tool that it calls, as `mirrored_by` tells.
    """
    headers = {METHOD: written(str(value.get("method", "")))}
    version, params = revision_of(value), value.get("params")
    if version is not None:
        headers[VERSION] = version
    if not isinstance(params, dict):
        return headers
    name = params.get(_NAMED.get(headers[METHOD], ""))
    if type(name) is str:
        headers[NAME] = written(name)
    for header, path in mirrored.items():
        found = _at(params.get("arguments"), path)
        text = _text(found)
        if text is not None:
            headers[PARAM + header] = written(text)
    return headers


def disagreement(
    value: JsonObject, headers: Mapping[str, str], mirrored: Mapping[str, tuple[str, ...]]
) -> str | None:
    """Which header says something else than the body, in a few words; None where none does.

    A header that is missing is for the server to miss. Names are compared whatever their case,
    values as they are, numbers by what they count.
    """
    for name, told in headers_of(value, mirrored).items():
        given = headers.get(name)
        if given is None:
            continue
        read = decoded(given)
        if read is None:
            return f"{name} cannot be decoded"
        if read != decoded(told) and not _same_number(read, told):
            return f"{name} differs from the body"
    params = value.get("params")
    named = _NAMED.get(str(value.get("method")))
    if headers.get(NAME) is not None and named is not None and isinstance(params, dict):
        return None if type(params.get(named)) is str else f"{NAME} differs from the body"
    return None


def mirrored_by(definition: JsonValue) -> dict[str, tuple[str, ...]]:
    """Of a tool, the headers that repeat its parameters, each with the parameter's path."""
    schema = definition.get("inputSchema") if isinstance(definition, dict) else None
    return dict(list(_mirrored(schema, (), 0))[:MAX_MIRRORED])


def written(text: str) -> str:
    """A value as a header carries it: as it is, or in base64 where a header cannot hold it."""
    plain = text.isascii() and text.isprintable() and text == text.strip()
    if plain and not (text.startswith(_OPEN) and text.endswith(_CLOSE)):
        return text
    return _OPEN + base64.b64encode(text.encode("utf-8", "surrogatepass")).decode() + _CLOSE


def decoded(value: str) -> str | None:
    """What a header's value stands for; None where it is not well formed."""
    if not (value.startswith(_OPEN) and value.endswith(_CLOSE)):
        return value
    inner = value[len(_OPEN) : -len(_CLOSE)]
    try:
        return base64.b64decode(inner, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None


def _mirrored(
    schema: JsonValue, path: tuple[str, ...], depth: int
) -> Iterator[tuple[str, tuple[str, ...]]]:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or depth >= _MAX_DEPTH:
        return
    for name, inner in properties.items():
        header = inner.get(SCHEMA_KEY) if isinstance(inner, dict) else None
        if type(header) is str:
            yield header, (*path, name)
        yield from _mirrored(inner, (*path, name), depth + 1)


def _at(value: JsonValue, path: tuple[str, ...]) -> JsonValue:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: JsonValue) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):  # a Number is its own spelling
        return str(value)
    return None


def _same_number(one: str, other: str) -> bool:
    try:
        return bool(one.strip() and Decimal(one) == Decimal(other))
    except InvalidOperation:
        return False
