"""Reads what a model wrote in a call of a `call_tool` variant: the tool's name and its arguments.

Models write arguments as a JSON text, beside the name, or under another key. What can be meant in
one way only is accepted; the server's Session judges it in the form in which it is sent on.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeguard.errors import Refusal
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.gateway.catalog import CatalogTool

NAME_KEYS = ("name", "tool", "tool_name")
ARGUMENTS = "arguments"
OTHER_ARGUMENTS_KEYS = ("args", "parameters", "params", "input", "tool_arguments", "tool_input")


class UnclearCallError(Exception):
    """What a call means cannot be told; its text says why, for the model."""


def name_in(call: JsonObject) -> str:
    """The name of the tool; empty where there is none.

    Raises:
        UnclearCallError: there are several.
    """
    names = {value for key in NAME_KEYS if type(value := call.get(key)) is str and value}
    if len(names) > 1:
        raise UnclearCallError(f"it names several tools: {', '.join(sorted(names))}")
    return next(iter(names), "")


def arguments_in(call: JsonObject, tool: CatalogTool) -> JsonObject:
    """The arguments for a tool.

    Args:
        call: the arguments of the `call_tool` variant.
        tool: that it names.

    Raises:
        UnclearCallError: what is meant cannot be told.
    """
    parameters = _parameters(tool)
    others = [key for key in call if key not in (*NAME_KEYS, ARGUMENTS)]
    if ARGUMENTS in call:
        if others:
            raise UnclearCallError(
                f"it has {_listed(others)} beside {ARGUMENTS!r}, in which they may belong"
            )
        return object_in(call[ARGUMENTS], ARGUMENTS)
    if len(others) == 1 and others[0] in OTHER_ARGUMENTS_KEYS and others[0] not in parameters:
        return object_in(call[others[0]], others[0])
    unknown = [key for key in others if key not in parameters]
    if unknown:
        raise UnclearCallError(f"it has {_listed(unknown)} in place of {ARGUMENTS!r}")
    if any(key in parameters for key in NAME_KEYS if key in call) and others:
        raise UnclearCallError(f"{_listed(others)} must be in {ARGUMENTS!r}")
    return {key: call[key] for key in others}


def object_in(value: JsonValue, key: str) -> JsonObject:
    """An object that may be written as a JSON text, or left out.

    Raises:
        UnclearCallError: it is something else.
    """
    if isinstance(value, dict):
        return value
    if value is None or value == "":
        return {}
    if type(value) is str:
        try:
            parsed = parse_json(value.encode("utf-8", "surrogatepass"))
        except Refusal as refusal:
            raise UnclearCallError(f"{key!r} is a text, and not one of a JSON object") from refusal
        if isinstance(parsed, dict):
            return parsed
    raise UnclearCallError(f"{key!r} is not a JSON object")


def _parameters(tool: CatalogTool) -> JsonObject:
    schema = tool.definition.get("inputSchema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return properties if isinstance(properties, dict) else {}


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(map(repr, keys))
