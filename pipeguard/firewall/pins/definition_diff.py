"""The differences between two definitions. Knows the structure of JSON Schema; judges nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from json import JSONDecoder
from typing import TYPE_CHECKING, Final, Literal

from pipeguard.firewall.pins.fingerprint import canonical
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Number, serialise
from pipeguard.firewall.protocol.places import get_value

if TYPE_CHECKING:
    from collections.abc import Iterator


class Absent(Enum):
    """A stand-in for a value that one of the two definitions lacks."""

    ABSENT = "absent"


ABSENT: Final[Literal[Absent.ABSENT]] = Absent.ABSENT
Side = JsonValue | Absent
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between two definitions.

    Attributes:
        path: the keys that lead to it, with list indexes as digits.
        old: the value in the approved definition.
        new: the value in the definition seen now.
    """

    path: Path
    old: Side
    new: Side


class SchemaRole(Enum):
    """The role of a place in a JSON Schema."""

    PARAMETER = "parameter"
    SUBSCHEMA = "subschema"
    KEYWORD = "keyword"


@dataclass(frozen=True, slots=True)
class SchemaPlace:
    """A place in a schema.

    Attributes:
        role: what it is.
        label: the parameter, as people write it: `options.note`, `points[].x`; empty at the top.
        keyword: the keyword that it is under, as `enum`.
    """

    role: SchemaRole
    label: str
    keyword: str


INPUTS = frozenset({"inputSchema", "arguments"})  # of a tool; of a prompt, as a schema
_BY_MEMBER = INPUTS | {"annotations", "_meta"}
# Keywords that contain schemas (JSON Schema 2020-12, core, sections 8.2.4 and 10).
_WITH_NAMED_SCHEMAS = frozenset({"patternProperties", "$defs", "definitions", "dependentSchemas"})
_WITH_LISTED_SCHEMAS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_WITH_ONE_SCHEMA = frozenset(
    [
        "items",
        "additionalProperties",
        "unevaluatedProperties",
        "unevaluatedItems",
        "contains",
        "propertyNames",
        "not",
        "if",
        "then",
        "else",
        "contentSchema",
    ]
)
_DECODER = JSONDecoder(parse_float=Number, parse_int=Number)


def read(text: str) -> JsonObject:
    """Parse a definition; a bare string is a server's instructions.

    Key order and number spelling become canonical, so that they make no difference.
    """
    value: JsonValue = _DECODER.decode(canonical(_DECODER.decode(text)).decode("utf-8"))
    if not isinstance(value, dict):
        return {"instructions" if isinstance(value, str) else "value": value}
    arguments = value.get("arguments")
    if isinstance(arguments, list):
        return {**value, "arguments": _as_schema(arguments)}
    return value


def differences(old: Side, new: Side, path: Path = ()) -> Iterator[Difference]:
    """Each difference between two values, in the order of the old one's keys."""
    if (old is ABSENT or new is ABSENT) and _is_by_member(path):
        # What was added or removed as a whole is reported by its members.
        if new is ABSENT and isinstance(old, dict) and old:
            new = {}
        elif old is ABSENT and isinstance(new, dict) and new:
            old = {}
    if isinstance(old, dict) and isinstance(new, dict):
        for key in (*old, *(key for key in new if key not in old)):
            yield from differences(old.get(key, ABSENT), new.get(key, ABSENT), (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and (_has_nested(old) or _has_nested(new)):
        for i in range(max(len(old), len(new))):
            before: Side = old[i] if i < len(old) else ABSENT
            after: Side = new[i] if i < len(new) else ABSENT
            yield from differences(before, after, (*path, str(i)))
    elif old is ABSENT or new is ABSENT or serialise(old) != serialise(new):
        yield Difference(path, old, new)


def schema_place(path: Path) -> SchemaPlace:
    """Find the role of a place in a schema; a parameter may itself be named `properties`.

    Args:
        path: the keys below the schema's own.
    """
    label, keyword, role = "", "", SchemaRole.SUBSCHEMA
    rest = list(path)
    while rest:
        keyword, role = rest.pop(0), SchemaRole.SUBSCHEMA
        if keyword == "properties" and rest:
            label, role = f"{label}.{rest.pop(0)}", SchemaRole.PARAMETER
        elif keyword in _WITH_NAMED_SCHEMAS and rest:
            label = f"{label}.{keyword}.{rest.pop(0)}"
        elif keyword in _WITH_LISTED_SCHEMAS and rest:
            label = f"{label}.{keyword}[{rest.pop(0)}]"
        elif keyword == "items":
            label = f"{label}[]"
        elif keyword in _WITH_ONE_SCHEMA:
            label = f"{label}.{keyword}"
        else:
            role = SchemaRole.KEYWORD
            break
    return SchemaPlace(role, label.lstrip("."), keyword)


class Parameters:
    """The parameters of a definition; each schema in it is looked up once."""

    def __init__(self, definition: JsonObject) -> None:
        self._definition = definition
        self._required: dict[Path, frozenset[str]] = {}

    def required_names(self, schema: Path) -> frozenset[str]:
        """The names that the schema at a path lists as required."""
        required = self._required.get(schema)
        if required is None:
            names = get_value(self._definition, (*schema, "required"))
            listed = names if isinstance(names, list) else []
            required = frozenset(name for name in listed if isinstance(name, str))
            self._required[schema] = required
        return required

    def names(self, schema: Path) -> frozenset[str]:
        """The names of all parameters in the schema at a path."""
        properties = get_value(self._definition, (*schema, "properties"))
        return frozenset(properties if isinstance(properties, dict) else ())


def required_anew(
    old: Parameters, new: Parameters, schema: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The parameters of both sides that became required, and those that became optional."""
    before, after = old.required_names(schema), new.required_names(schema)
    both = old.names(schema) & new.names(schema)
    return tuple(sorted((after - before) & both)), tuple(sorted((before - after) & both))


def _is_by_member(path: Path) -> bool:
    if len(path) <= 1 or path[-1] != "properties":
        return len(path) == 1 and path[0] in _BY_MEMBER
    return schema_place(path[1:]).role is SchemaRole.KEYWORD


def _has_nested(values: list[JsonValue]) -> bool:
    return any(isinstance(value, dict | list) for value in values)


def _as_schema(arguments: list[JsonValue]) -> JsonValue:
    """A prompt's arguments as a schema, so that they are compared as a tool's parameters are."""
    properties: JsonObject = {}
    names: list[JsonValue] = []
    for argument in arguments:
        name = argument.get("name") if isinstance(argument, dict) else None
        if not isinstance(argument, dict) or type(name) is not str or name in properties:
            return arguments
        properties[name] = {k: v for k, v in argument.items() if k not in {"name", "required"}}
        if argument.get("required") is True:
            names.append(name)
    return {"properties": properties, "required": names}
