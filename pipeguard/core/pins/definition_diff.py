"""Where two definitions differ, place by place; knows JSON Schema's structure, judges nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from json import JSONDecoder
from typing import TYPE_CHECKING, Final, Literal

from pipeguard.core.pins.fingerprint import canonical
from pipeguard.core.protocol.json_values import JsonObject, JsonValue, Number, serialise
from pipeguard.core.protocol.places import value_at

if TYPE_CHECKING:
    from collections.abc import Iterator


class Absent(Enum):
    """Stands for a value that one of the two sides has not."""

    ABSENT = "absent"


ABSENT: Final[Literal[Absent.ABSENT]] = Absent.ABSENT
Side = JsonValue | Absent
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two definitions differ, and what stands there in each.

    Attributes:
        path: the keys that lead there, and positions in lists as digits.
        old: what the approved definition has.
        new: what the seen one has.
    """

    path: Path
    old: Side
    new: Side


class SchemaRole(Enum):
    """What stands at a path inside of a JSON Schema."""

    PARAMETER = "parameter"
    SUBSCHEMA = "subschema"
    KEYWORD = "keyword"


@dataclass(frozen=True, slots=True)
class SchemaPlace:
    """A path inside of a schema, read.

    Attributes:
        role: what stands there.
        label: the parameter for people, as `options.note` or `points[].x`; empty at the top.
        keyword: the keyword that it stands under, as `enum`.
    """

    role: SchemaRole
    label: str
    keyword: str


INPUTS = frozenset({"inputSchema", "arguments"})  # of a tool; of a prompt, read as a schema
_OPENED = INPUTS | {"annotations", "_meta"}
# Where a schema stands under a keyword (JSON Schema 2020-12, core, sections 8.2.4 and 10).
_OF_NAMED = frozenset({"patternProperties", "$defs", "definitions", "dependentSchemas"})
_OF_LISTED = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_OF_ONE = frozenset(
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

    Key order and the spelling of numbers are those of the canonical form: they are no difference.
    """
    value: JsonValue = _DECODER.decode(canonical(_DECODER.decode(text)).decode("utf-8"))
    if not isinstance(value, dict):
        return {"instructions" if isinstance(value, str) else "value": value}
    arguments = value.get("arguments")
    if isinstance(arguments, list):
        return {**value, "arguments": _as_schema(arguments)}
    return value


def differences(old: Side, new: Side, path: Path = ()) -> Iterator[Difference]:
    """Every place where two values differ, in the order of the old one's keys."""
    if (old is ABSENT or new is ABSENT) and _is_opened(path):
        # What came or went as a whole is told by its members.
        if new is ABSENT and isinstance(old, dict) and old:
            new = {}
        elif old is ABSENT and isinstance(new, dict) and new:
            old = {}
    if isinstance(old, dict) and isinstance(new, dict):
        for key in (*old, *(key for key in new if key not in old)):
            yield from differences(old.get(key, ABSENT), new.get(key, ABSENT), (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and (_nested(old) or _nested(new)):
        for i in range(max(len(old), len(new))):
            before: Side = old[i] if i < len(old) else ABSENT
            after: Side = new[i] if i < len(new) else ABSENT
            yield from differences(before, after, (*path, str(i)))
    elif old is ABSENT or new is ABSENT or serialise(old) != serialise(new):
        yield Difference(path, old, new)


def schema_place(path: Path) -> SchemaPlace:
    """Read a path inside of a schema; a parameter may itself be called `properties`.

    Args:
        path: the keys below the schema's own.
    """
    label, keyword, role = "", "", SchemaRole.SUBSCHEMA
    rest = list(path)
    while rest:
        keyword, role = rest.pop(0), SchemaRole.SUBSCHEMA
        if keyword == "properties" and rest:
            label, role = f"{label}.{rest.pop(0)}", SchemaRole.PARAMETER
        elif keyword in _OF_NAMED and rest:
            label = f"{label}.{keyword}.{rest.pop(0)}"
        elif keyword in _OF_LISTED and rest:
            label = f"{label}.{keyword}[{rest.pop(0)}]"
        elif keyword == "items":
            label = f"{label}[]"
        elif keyword in _OF_ONE:
            label = f"{label}.{keyword}"
        else:
            role = SchemaRole.KEYWORD
            break
    return SchemaPlace(role, label.lstrip("."), keyword)


class Parameters:
    """What a definition says of its parameters; each schema in it is looked up once."""

    def __init__(self, definition: JsonObject) -> None:
        self._definition = definition
        self._required: dict[Path, frozenset[str]] = {}

    def required(self, schema: Path) -> frozenset[str]:
        """The names that the schema at a path calls required."""
        known = self._required.get(schema)
        if known is None:
            names = value_at(self._definition, (*schema, "required"))
            listed = names if isinstance(names, list) else []
            known = frozenset(name for name in listed if isinstance(name, str))
            self._required[schema] = known
        return known

    def names(self, schema: Path) -> frozenset[str]:
        """The names of all parameters of the schema at a path."""
        properties = value_at(self._definition, (*schema, "properties"))
        return frozenset(properties if isinstance(properties, dict) else ())


def required_anew(
    old: Parameters, new: Parameters, schema: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of the parameters on both sides, those that became required, and those that ceased to be."""
    before, after = old.required(schema), new.required(schema)
    both = old.names(schema) & new.names(schema)
    return tuple(sorted((after - before) & both)), tuple(sorted((before - after) & both))


def _is_opened(path: Path) -> bool:
    if len(path) <= 1 or path[-1] != "properties":
        return len(path) == 1 and path[0] in _OPENED
    return schema_place(path[1:]).role is SchemaRole.KEYWORD


def _nested(values: list[JsonValue]) -> bool:
    return any(isinstance(value, dict | list) for value in values)


def _as_schema(arguments: list[JsonValue]) -> JsonValue:
    """A prompt's arguments in the shape of a schema, so that one reading serves both."""
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
