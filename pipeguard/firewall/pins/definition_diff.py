"""The differences between two definitions. Knows the structure of JSON Schema; judges nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import zip_longest
from json import JSONDecoder

from pipeguard.firewall.pins.fingerprint import canonical
from pipeguard.firewall.protocol.json_values import (
    ABSENT,
    Absent,
    JsonObject,
    JsonValue,
    Number,
    as_object,
    serialise,
)

Side = JsonValue | Absent  # ABSENT if one of the two definitions lacks it
Path = tuple[str, ...]


class SchemaRole(Enum):
    """The role of a place in a JSON Schema."""

    PARAMETER = "parameter"
    SUBSCHEMA = "subschema"
    KEYWORD = "keyword"


@dataclass(frozen=True, slots=True)
class SchemaPlace:
    """A place in a schema.

    Attributes:
        label: the parameter, as people write it: `options.note`, `points[].x`; empty at the top.
        keyword: the keyword that it is under, as `enum`.
        schemas: in both definitions, the schema that has this parameter or keyword.
    """

    role: SchemaRole = SchemaRole.SUBSCHEMA
    label: str = ""
    keyword: str = ""
    schemas: tuple[Side, Side] = (ABSENT, ABSENT)

    def enter(self, key: str, old: Side, new: Side) -> SchemaPlace:
        """The place of a member; a parameter may itself be named `properties`.

        Args:
            key: of the member.
            old: the value at this place in the approved definition.
            new: in the definition seen now.
        """
        keyword = self.keyword
        role = self.role
        label = self.label
        if role is SchemaRole.KEYWORD and keyword == "properties":
            parameter = f"{label}.{key}".lstrip(".")
            return SchemaPlace(SchemaRole.PARAMETER, parameter, keyword, self.schemas)
        if role is SchemaRole.KEYWORD:
            part = f".{keyword}.{key}" if keyword in _WITH_NAMED_SCHEMAS else ""
            part = f".{keyword}[{key}]" if keyword in _WITH_LISTED_SCHEMAS else part
        else:
            keyword = key
            part = "[]" if key == "items" else f".{key}"
            if key not in _WITH_ONE_SCHEMA:
                return SchemaPlace(SchemaRole.KEYWORD, label, key, (old, new))
        return SchemaPlace(label=f"{label}{part}".lstrip("."), keyword=keyword) if part else self

    @property
    def required_names(self) -> tuple[frozenset[str], frozenset[str]]:
        """The names that are required in both definitions."""
        before, after = (_names(schema, "required", list) for schema in self.schemas)
        return before, after

    @property
    def required_anew(self) -> tuple[list[str], list[str]]:
        """Parameters of both sides that became required, and parameters that became optional."""
        before, after = self.required_names
        both = frozenset.intersection(
            *(_names(schema, "properties", dict) for schema in self.schemas)
        )
        return sorted((after - before) & both), sorted((before - after) & both)


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between two definitions.

    Attributes:
        path: the keys that lead to it, with list indexes as digits.
        old: the value in the approved definition.
        new: the value in the definition seen now.
        place: in the schema that the first key names.
    """

    path: Path
    old: Side
    new: Side
    place: SchemaPlace


INPUTS = frozenset({"inputSchema", "arguments"})  # of a tool; of a prompt, as a schema
_BY_MEMBER = INPUTS | {"annotations", "_meta"}
# Keywords that contain schemas (JSON Schema 2020-12, core, sections 8.2.4 and 10).
_WITH_NAMED_SCHEMAS = frozenset({"patternProperties", "$defs", "definitions", "dependentSchemas"})
_WITH_LISTED_SCHEMAS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_WITH_ONE_SCHEMA = frozenset(
    {
        "items",
        "additionalProperties",
        "unevaluatedProperties",
        "unevaluatedItems",
        "contains",
        "propertyNames",
        "contentSchema",
        "not",
        "if",
        "then",
        "else",
    }
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
    if isinstance(files := value.get("resources"), list):  # of a skill: by their addresses
        named: JsonObject = {str(as_object(file).get("uri")): file for file in files}
        if len(named) == len(files):
            return {**value, "resources": named}
    return value


def differences(
    old: Side, new: Side, path: Path = (), place: SchemaPlace = SchemaPlace()
) -> Iterator[Difference]:
    """Each difference between two values, in the order of the old one's keys."""
    is_keyword = place.role is SchemaRole.KEYWORD and path[-1] == "properties"
    if is_keyword or (len(path) == 1 and path[0] in _BY_MEMBER):
        # A whole that was added or removed is reported by its members.
        if new is ABSENT and isinstance(old, dict) and old:
            new = {}
        elif old is ABSENT and isinstance(new, dict) and new:
            old = {}
    members: list[tuple[str, Side, Side]] = []
    if isinstance(old, dict) and isinstance(new, dict):
        keys = (*old, *(key for key in new if key not in old))
        members = [(key, old.get(key, ABSENT), new.get(key, ABSENT)) for key in keys]
    elif isinstance(old, list) and isinstance(new, list) and (_has_nested(old) or _has_nested(new)):
        pairs = enumerate(zip_longest(old, new, fillvalue=ABSENT))
        members = [(str(number), before, after) for number, (before, after) in pairs]
    elif old is ABSENT or new is ABSENT or serialise(old) != serialise(new):
        yield Difference(path, old, new, place)
    for key, before, after in members:
        inner = place.enter(key, old, new) if path else place
        yield from differences(before, after, (*path, key), inner)


def _names(
    schema: Side, keyword: str, kind: type[list[JsonValue]] | type[JsonObject]
) -> frozenset[str]:
    """The names in a keyword of a schema."""
    names = schema.get(keyword) if isinstance(schema, dict) else None
    listed = names if isinstance(names, kind) else ()
    return frozenset(name for name in listed if isinstance(name, str))


def _has_nested(values: list[JsonValue]) -> bool:
    return any(isinstance(value, dict | list) for value in values)


def _as_schema(arguments: list[JsonValue]) -> JsonValue:
    """A prompt's arguments as a schema, so that they are compared as a tool's parameters are."""
    properties: JsonObject = {}
    names: list[JsonValue] = []
    for argument in arguments:
        members = as_object(argument)
        name = members.get("name")
        if type(name) is not str or name in properties:
            return arguments
        properties[name] = {k: v for k, v in members.items() if k not in {"name", "required"}}
        if members.get("required") is True:
            names.append(name)
    return {"properties": properties, "required": names}
