"""A client's one entry that runs `pipeguard serve`, in place of the servers behind the gateway.

Edits the text of a client's file, both ways, and proves that independent parsers read the result as
intended. Reads and writes no file.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from pipeguard.clients.catalog import Shape
from pipeguard.clients.edit import EntryChange, prove_data
from pipeguard.clients.entries import Config, Keys, ServerEntry
from pipeguard.clients.guarding import gateway_launcher
from pipeguard.config.container import Container
from pipeguard.config.tree import Syntax, Value, plain
from pipeguard.config.yaml_text import Yaml

NAME = "pipeguard"


def with_gateway(
    config: Config, servers: Sequence[ServerEntry], launcher: Sequence[str]
) -> tuple[str, tuple[EntryChange, ...], Keys | None]:
    """Take servers out of a client's text, and put the gateway's entry in place of the first.

    Args:
        config: the client's file.
        servers: the servers, and an entry of the gateway if it is to be replaced.
        launcher: the words that start PipeGuard.

    Returns:
        The new text; the removed entries, without a text after; and the path of the new entry, None
        if the gateway had an entry.

    Raises:
        UneditableError: the edit would change something else.
    """
    syntax = config.specs[0].syntax
    expected = copy.deepcopy(plain(config.tree().data()))
    text = config.text
    entry = None
    changes = []
    needs_entry = not any(
        gateway_launcher(server.words) and server not in servers for server in config.servers
    )
    for path, group in _by_container(servers).items():
        container = Container(text, syntax, path)
        keys = [server.path[-1] for server in group]
        changes += [
            EntryChange(server.name, server.path, container.pieces(server.path[-1]), ())
            for server in group
        ]
        new = []
        fields = {}
        name = _unused_name(config, servers)
        named = next(spec.named for spec in config.specs if spec.client == group[0].client)
        if needs_entry:
            needs_entry = False
            entry = (*path, min(key for key in keys if isinstance(key, int)) if named else name)
            fields = _fields(group, launcher)
            new = [container.format_entry(name, named, fields)]
            if named:
                fields = {named: name, **fields}
        text = container.replace_entries(keys, new)
        _exchange(_at(expected, path), keys, {name: _as_read(fields, syntax)} if new else {})
    prove_data(syntax, text, expected)
    return text, tuple(changes), entry


def put_back(
    config: Config, before: Config, changes: Mapping[Keys, EntryChange], entry: Keys | None
) -> tuple[str, tuple[str, ...]]:
    """Put servers that were taken out back, and remove the gateway's entry.

    Args:
        config: the client's file as it is.
        before: the same before the change.
        changes: the changed entries, by their paths in `before`.
        entry: the path that the gateway's entry got; None if it was there before.

    Returns:
        The new text, and the names of omitted servers, which the client now uses for others.

    Raises:
        UneditableError: the edit would change something else.
    """
    syntax = config.specs[0].syntax
    expected = copy.deepcopy(plain(config.tree().data()))
    old = before.tree()
    text = config.text
    taken = []
    present = {(server.path[:-1], server.name) for server in config.servers}
    gone = [server for server in before.servers if server.path in changes]
    for path, group in _by_container(gone).items():
        here = (s for s in config.servers if entry and s.path[:-1] == path == entry[:-1])
        gateway = next((server for server in here if gateway_launcher(server.words)), None)
        replaced = {(path, gateway.name)} if gateway else set()
        missing = [s for s in group if (path, s.name) not in present - replaced]
        taken += [server.name for server in group if server not in missing]
        pieces = [piece for server in missing for piece in changes[server.path].before]
        keys = [gateway.path[-1]] if gateway else []
        if pieces or keys:
            text = Container(text, syntax, path).replace_entries(keys, pieces)
        nodes = {server.path[-1]: old.at(server.path) for server in missing}
        _exchange(_at(expected, path), keys, {k: plain(n.data()) for k, n in nodes.items() if n})
    prove_data(syntax, text, expected)
    return text, tuple(taken)


def _fields(servers: Sequence[ServerEntry], launcher: Sequence[str]) -> dict[str, Value]:
    """The fields of the gateway's entry; with a name, and the switch, if its neighbours have it."""
    shape = servers[0].shape
    like = servers[0].fields
    fields = new_fields(shape, [*launcher, "serve"])
    if isinstance(like.get("name"), str):
        fields["name"] = NAME
    on = {key: not off for key, off in shape.off.items() if key in like and isinstance(off, bool)}
    return {**fields, **on}


def _as_read(fields: Mapping[str, Value], syntax: Syntax) -> dict[str, Value]:
    """Convert fields to what a syntax reads back: in YAML's tree every scalar is a text."""
    return {
        key: str(value).lower() if isinstance(value, bool) and isinstance(syntax, Yaml) else value
        for key, value in fields.items()
    }


def _unused_name(config: Config, servers: Sequence[ServerEntry]) -> str:
    names = {server.name for server in config.servers if server not in servers}
    candidates = (f"{NAME}-{number}" if number > 1 else NAME for number in count(1))
    return next(name for name in candidates if name not in names)


def _by_container(servers: Iterable[ServerEntry]) -> dict[Keys, list[ServerEntry]]:
    groups: dict[Keys, list[ServerEntry]] = {}
    for server in servers:
        groups.setdefault(server.path[:-1], []).append(server)
    return groups


def _at(data: Any, path: Keys) -> Any:
    for key in path:
        data = data[key]
    return data


def _exchange(data: Any, gone: Sequence[str | int], new: Mapping[Any, Any]) -> None:
    """Remove entries of a map or list, and put new ones in place of the first, or last."""
    if isinstance(data, list):
        start = min((key for key in gone if isinstance(key, int)), default=len(data))
        kept = [item for index, item in enumerate(data) if index not in gone]
        data[:] = [*kept[:start], *new.values(), *kept[start:]]
        return
    for key in gone:
        del data[key]
    data.update(new)


def new_fields(shape: Shape, words: Sequence[str]) -> dict[str, Value]:
    """The fields of a new entry that a client starts."""
    kind: dict[str, Value] = {shape.kinds[0]: shape.stdio} if shape.kinds and shape.stdio else {}
    if not shape.args:
        return {**kind, shape.command: list(words)}
    return {**kind, shape.command: words[0], shape.args: list(words[1:])}
