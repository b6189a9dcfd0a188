"""What MCP 2026-07-28 repeats of a body in headers, and whether the two say the same.

Two readers that look at different places are two truths: who routes by a header would let pass
what the body forbids. Source: basic/transports/streamable-http, "Request Headers".
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from itertools import islice

from pipeguard.core.protocol.json_values import JsonObject, JsonValue, Number, serialise
from pipeguard.core.protocol.places import value_at

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
    # Not `tasks/result`, which the extension has no more: its server says so itself.
    **dict.fromkeys(("tasks/get", "tasks/update", "tasks/cancel"), "taskId"),
}
_MIRRORED_TYPES = ("string", "integer", "boolean")
_OPEN, _CLOSE = "=?base64?", "?="
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}\Z")  # RFC 9110, section 5.6.2
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")  # RFC 8259, section 6


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
    return {name: written(text) for name, text in _told(value, mirrored).items()}


def disagreement(
    value: JsonObject,
    headers: Mapping[str, str],
    mirrored: Mapping[str, tuple[str, ...]],
    *,
    all_of_them: bool = False,
) -> str | None:
    """Which header says something else than the body, in a few words; None where none does.

    A header that is missing is for the server to miss, unless `all_of_them` are asked for; one
    that repeats nothing is a difference.
    Names are compared whatever their case, values as they are, numbers by what they count.
    """
    told = _told(value, mirrored)
    mirrors = [PARAM + name for name in mirrored]
    if value.get("method") in _NAMED:
        mirrors.append(NAME)
    for name in dict.fromkeys([*told, *mirrors]):
        given = headers.get(name)
        if given is None:
            if all_of_them and name in told:
                return f"{name} is missing"
            continue
        read = decoded(given)
        if read is None:
            return f"{name} cannot be decoded"
        said = told.get(name)
        if read != said and not (isinstance(said, Number) and _same_number(read, said)):
            return f"{name} differs from the body"
    return None


def missing(value: JsonObject, headers: Mapping[str, str]) -> str | None:
    """Which of the headers that every message has is not there; None where none is missing."""
    told = _told(value, {})
    return next(
        (name for name in (VERSION, METHOD, NAME) if name in told and name not in headers), None
    )


def mirrored_by(definition: JsonValue) -> dict[str, tuple[str, ...]]:
    """Of a tool, the headers that repeat its parameters, each with the parameter's path."""
    schema = definition.get("inputSchema") if isinstance(definition, dict) else None
    named = (
        (header, path)
        for path, inner in _parameters(schema)
        if type(header := inner.get(SCHEMA_KEY)) is str and _TOKEN.match(header)
    )
    paths: dict[str, tuple[str, tuple[str, ...]]] = {}
    for header, path in islice(named, MAX_MIRRORED):
        paths.setdefault(header.lower(), (header, path))
    return dict(paths.values())


def without_bad_tools(frame: bytes, value: JsonValue, asked: JsonValue) -> bytes:
    """A list of tools without those whose parameters ask for headers that cannot be.

    A client of this revision leaves them out (server/tools, "x-mcp-header"); one that speaks
    another transport does not know of headers, so it is done for it.

    Args:
        frame: an answer of the server's.
        value: the same, parsed.
        asked: the request that it answers.
    """
    if not isinstance(asked, dict) or not isinstance(value, dict):
        return frame
    result = value.get("result")
    if asked.get("method") != "tools/list" or revision_of(asked) is None:
        return frame
    tools = result.get("tools") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(tools, list):
        return frame
    kept = [tool for tool in tools if _is_well(tool)]
    if len(kept) == len(tools):
        return frame
    return serialise({**value, "result": {**result, "tools": kept}})


def _is_well(tool: JsonValue) -> bool:
    schema = tool.get("inputSchema") if isinstance(tool, dict) else None
    seen: set[str] = set()
    for _, inner in _parameters(schema):
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
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if isinstance(properties, dict) and len(path) < _MAX_DEPTH:
        for name, inner in properties.items():
            if isinstance(inner, dict):
                yield (*path, name), inner
                yield from _parameters(inner, (*path, name))


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


def _told(value: JsonObject, mirrored: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """What the headers repeat, not yet written as one."""
    told = {METHOD: str(value.get("method", ""))}
    version, params = revision_of(value), value.get("params")
    if version is not None:
        told[VERSION] = version
    if not isinstance(params, dict):
        return told
    name = params.get(_NAMED.get(told[METHOD], ""))
    if type(name) is str:
        told[NAME] = name
    for header, path in mirrored.items():
        text = _text(value_at(params.get("arguments"), path))
        if text is not None:
            told[PARAM + header] = text
    return told


def _text(value: JsonValue) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else None  # a Number is its own spelling


def _same_number(one: str, other: str) -> bool:
    try:
        return _NUMBER.match(one) is not None and Decimal(one) == Decimal(other)
    except InvalidOperation:
        return False
