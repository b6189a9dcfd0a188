"""The schema of a client's YAML file: its keys, and the values that they may have."""

from typing import Any

from pipeguard.clients.catalog import ALLOWED, SYSTEMS, ConfigScope, Shape, Transport

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
ANY: Schema = {}
_START = r"^(\{[^{}]+\}|\$[A-Z_][A-Z0-9_]*|/|[A-Z]:/)"  # of a place
_USUAL = Shape()


def each(item: Schema) -> Schema:
    """A list of items."""
    return {"type": "array", "items": item}


def words(*allowed: str) -> Schema:
    """One of some words."""
    return {"enum": [*allowed]}


def members(value: Schema) -> Schema:
    """A map of any names."""
    return {"type": "object", "propertyNames": TEXT, "additionalProperties": value}


def keys(allowed: dict[str, Schema], *required: str) -> Schema:
    """A map of certain keys."""
    return {
        "type": "object",
        "properties": allowed,
        "required": [*required],
        "additionalProperties": False,
    }


_PATHS: Schema = {"type": "string", "pattern": _START}
_ONE_SYSTEM: Schema = {"anyOf": [_PATHS, each(_PATHS)]}
PLACE: Schema = {"anyOf": [_ONE_SYSTEM, keys(dict.fromkeys(SYSTEMS, _ONE_SYSTEM))]}
TRANSPORTS = [transport.value for transport in Transport]
_TYPES = {str: TEXT, tuple: each(TEXT), bool: {"type": "boolean"}}
SHAPE: dict[str, Schema] = {
    **{name: _TYPES.get(type(getattr(_USUAL, name)), members(ANY)) for name in Shape._fields},
    "untold": words(*TRANSPORTS),
    "urls": members({"enum": [*TRANSPORTS, None]}),
    "words": keys(dict.fromkeys(TRANSPORTS, each(TEXT))),
    "expands": each(words("command", "args", "env", "url", "headers")),
}
_COMMON: dict[str, Schema] = {
    "format": words("json", "toml", "yaml"),
    "allows": each(words(*ALLOWED)),
    "servers": {"anyOf": [each(TEXT), each(each(TEXT))]},
    "named": TEXT,
    "shape": keys(SHAPE),
}
_FILE: dict[str, Schema] = {
    **_COMMON,
    "scope": words(*(scope.value for scope in ConfigScope)),
    "at": PLACE,
    "first": {"type": "boolean"},
    "lock": TEXT,
}
_UNASKED = {**_FILE, "setting": ANY, "value": ANY}
_SAMPLE: dict[str, Schema] = {
    "before": TEXT,
    "after": TEXT,
    "file": {"type": "integer"},
    "left": members(TEXT),
}
CLIENT = keys(
    {
        **_COMMON,
        **dict.fromkeys(("name", "before", "after", "list", "paste"), TEXT),
        "checked": {"type": "string", "pattern": r"^20\d\d-(0[1-9]|1[0-2])$"},
        "source": words("client", "agreed", "reported"),
        "folders": members(PLACE),
        "present": PLACE,
        "managed": PLACE,
        "files": each(keys(_FILE, "at")),
        "unasked": each(keys(_UNASKED, "at", "setting", "value")),
        "samples": each(keys(_SAMPLE, "before")),
    },
    "name",
)
