"""The schema of a client's YAML file: wrong keys and values, with their lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import partial

import yaml

from pipeguard.clients.catalog import ALLOWED, SYSTEMS, ConfigScope, Shape, Transport
from pipeguard.config.strict_yaml import Document, YamlEntry

# The folders that are the same for all clients, as Machine.folder resolves them; and the project.
FOLDERS = ("home", "config", "xdg", "unix", "appdata", "localappdata", "project")
_START = re.compile(r"\{[^{}]+\}|\$[A-Z_][A-Z0-9_]*|/|[A-Z]:/")
_YAML = "tag:yaml.org,2002:"
_NO_TEXTS = frozenset(_YAML + name for name in ("int", "float", "bool", "timestamp"))
Kind = Callable[[YamlEntry], object]


def check(text: str, source: str) -> None:
    """Check a client's file.

    Raises:
        PolicyError: it has an unknown key or a wrong value, or lacks one; the message names lines.
    """
    document = Document(text, source)
    assert document.root is not None, "not a client's file"
    own = document.root.known_fields(["folders"]) if document.root.is_mapping else {}
    place = partial(_place, [*FOLDERS, *(own["folders"].members() if own else ())])
    common: dict[str, Kind] = {
        "format": _word("json", "toml", "yaml"),
        "allows": _each(_word(*ALLOWED)),
        "servers": _paths,
        "named": _text,
        "shape": _keys(SHAPE),
    }
    file: dict[str, Kind] = {
        **common,
        "scope": _word(*(scope.value for scope in ConfigScope)),
        "at": place,
        "first": _word("true", "false"),
        "lock": _text,
    }
    sample: dict[str, Kind] = dict.fromkeys(("before", "after", "file"), _any)
    sample["left"] = _members(_any)
    client: dict[str, Kind] = {
        **common,
        **dict.fromkeys(("name", "before", "after", "list", "paste"), _text),
        "checked": _month,
        "source": _word("client", "agreed", "reported"),
        "folders": _members(place),
        "present": place,
        "managed": place,
        "files": _each(_keys(file, "at")),
        "unasked": _each(_keys(file | {"setting": _any, "value": _any}, "at", "setting", "value")),
        "samples": _each(_keys(sample, "before")),
    }
    _keys(client, "name")(document.root)
    document.finish()


def _is_list(entry: YamlEntry) -> bool:
    return isinstance(entry._node, yaml.SequenceNode)


def _expect_text(entry: YamlEntry) -> None:
    """Note what YAML reads as a number or a truth value: this value, or its keys."""
    node = entry._node
    for each in [key for key, _ in node.value] if entry.is_mapping else [node]:
        if each.tag in _NO_TEXTS:
            what = f'YAML reads `{each.value}` as no text: quote it: "{each.value}"'
            entry.document.wrong(each, entry.key, what)


def _any(_entry: YamlEntry) -> None:
    pass


def _text(entry: YamlEntry) -> None:
    if entry.is_mapping or _is_list(entry):
        entry.wrong("expected text")
    _expect_text(entry)


def _month(entry: YamlEntry) -> None:
    if not re.fullmatch(r"20[0-9]{2}-(0[1-9]|1[0-2])", entry.text() or ""):
        entry.wrong("expected a year and a month, as 2026-11")


def _word(*words: str) -> Kind:
    return lambda entry: entry.choice(dict.fromkeys(words))


def _each(kind: Kind) -> Kind:
    return lambda entry: [kind(each) for each in entry.items()]


def _keys(schema: Mapping[str, Kind], *required: str) -> Kind:
    def check_keys(entry: YamlEntry) -> None:
        if entry.is_mapping:
            _expect_text(entry)  # its keys
        for key, value in entry.fields(schema, required).items():
            schema[key](value)

    return check_keys


def _members(kind: Kind) -> Kind:
    def check_members(entry: YamlEntry) -> None:
        _expect_text(entry)
        for value in entry.members().values():
            kind(value)

    return check_members


def _paths(entry: YamlEntry) -> None:
    """One key path or a list of them."""
    keys = entry.items()
    for path in keys if any(_is_list(each) for each in keys) else [entry]:
        for each in path.items():
            each.text()
            _expect_text(each)


def _expression(entry: YamlEntry) -> None:
    try:
        re.compile(entry.text() or "")
    except re.error as error:
        entry.wrong(f"this is not a regular expression: {error}")


def _place(folders: Iterable[str], entry: YamlEntry) -> None:
    if entry.is_mapping:
        _keys(dict.fromkeys(SYSTEMS, partial(_place, folders)))(entry)
        return
    for each in entry.items() if _is_list(entry) else [entry]:
        place = each.text() or "/"
        for name in re.findall(r"\{([^{}]*)\}", place):
            if name not in folders:
                each.wrong(f"`{{{name}}}` is no folder")
        if not _START.match(place):
            each.wrong(f"`{place}` begins with none of {{folder}}, $VARIABLE and /")


def _transport(entry: YamlEntry) -> None:
    if entry._node.tag != f"{_YAML}null":
        _word(*(transport.value for transport in Transport))(entry)


_OF_TYPES: Mapping[type, Kind] = {str: _text, tuple: _each(_text), bool: _word("true", "false")}
_USUAL = Shape()
SHAPE: Mapping[str, Kind] = {
    **{
        item.name: _OF_TYPES.get(type(getattr(_USUAL, item.name)), _members(_any))
        for item in fields(Shape)
    },
    "untold": _transport,
    "urls": _members(_transport),
    "words": _keys(dict.fromkeys((each.value for each in Transport), _each(_text))),
    "expands": _each(_word("command", "args", "env", "url", "headers")),
    **dict.fromkeys(("variable", "personal"), _expression),
}
