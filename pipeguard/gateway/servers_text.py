"""Adds servers to the text of `pipeguard.yaml`, and removes exactly what was added.

What is in the file stays: entries, comments, order. Reads and writes no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from pipeguard.clients.history import MovedServer
from pipeguard.config.container import Container
from pipeguard.config.tree import (
    Node,
    NodeKind,
    Style,
    UneditableError,
    UnreadableError,
    Value,
    line_end,
    line_start,
    newline,
    plain,
    quoted,
)
from pipeguard.config.yaml_text import Yaml
from pipeguard.gateway.moving import NAME_CHARS, is_described_by

HEADER = "# The servers that `pipeguard setup --gateway` moved here."
_KEYS = ("servers", "mcpServers")
_YAML = Yaml()


@dataclass(frozen=True, slots=True)
class Described:
    """A server to add.

    Attributes:
        entry: its name in the client.
        name: the name that it should get.
        fields: its fields in the file.
    """

    entry: str
    name: str
    fields: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Added:
    """A text with added servers.

    Attributes:
        text: the new text.
        frame: what was written around them; empty where the text had servers before.
        servers: the servers; one that the text had before has no text of its own.
    """

    text: str
    frame: str
    servers: tuple[MovedServer, ...]


def with_servers(text: str, servers: Iterable[Described]) -> Added:
    """Add servers to a text; one that describes the same server under the same name is shared.

    Raises:
        UneditableError: the text is written in a way that cannot be edited.
        UnreadableError: it is not valid YAML.
    """
    frame = _frame(text)
    text += frame
    moved = []
    for server in servers:
        present = _servers_in(text)
        for name in _candidates(server.name):
            if name not in present:
                text, piece = _with_server(text, name, server.fields)
                moved.append(MovedServer(server.entry, name, piece))
                break
            if is_described_by(server.fields, present[name]):
                moved.append(MovedServer(server.entry, name, ""))
                break
    return Added(text, frame, tuple(moved))


def without_servers(text: str, servers: Sequence[MovedServer], frame: str) -> str:
    """Remove servers that were added, as exactly as the text allows it, and an empty frame.

    Raises:
        UneditableError: that is not possible without touching something else.
        UnreadableError: the text is not valid YAML.
    """
    present = _servers_in(text)
    gone = [server for server in servers if server.name in present]
    expected = {name: data for name, data in present.items() if name not in {s.name for s in gone}}
    exact = text
    for server in gone:
        if server.text and exact.count(server.text) == 1:
            exact = exact.replace(server.text, "")
    result = exact if _reads_as(exact, expected) else _without_entries(text, gone)
    if not _reads_as(result, expected):
        raise UneditableError("a server cannot be removed without touching something else.")
    if frame and not expected and result.endswith(frame):
        result = result.removesuffix(frame)
    return result


def _candidates(name: str) -> Iterator[str]:
    yield name
    for number in count(2):
        end = f"-{number}"
        yield name[: NAME_CHARS - len(end)] + end


def _root(text: str) -> Node:
    """The outermost map.

    Raises:
        UneditableError: it is something else.
    """
    root = _YAML.read(text)
    if root.kind is not NodeKind.MAP or root.shared:
        raise UneditableError("its outermost value is not a map of keys.")
    return root


def _key(root: Node) -> str:
    """The key of the servers; empty where there is none."""
    return next((key for key in _KEYS if root.member(key)), "")


def _frame(text: str) -> str:
    """What must follow a text before servers can be added to it."""
    root = _root(text)
    if _key(root):
        return ""
    if root.style is Style.BRACKETS and "\n" not in text[root.start : root.end]:
        raise UneditableError("it has no servers: add `servers: {}` to it.")
    line_break = newline(text)
    start = line_break if text and not text.endswith("\n") else ""
    return f"{start}{HEADER}{line_break}{_KEYS[0]}:{line_break}"


def _servers_in(text: str) -> dict[str, Mapping[str, object]]:
    root = _root(text)
    data = plain(root.data())
    servers: dict[str, Mapping[str, object]] = {}
    for key in _KEYS:
        group = data.get(key) if isinstance(data, Mapping) else None
        for name, fields in group.items() if isinstance(group, Mapping) else ():
            servers[name] = fields if isinstance(fields, Mapping) else {}
    return servers


def _with_server(text: str, name: str, fields: Mapping[str, Value]) -> tuple[str, str]:
    """A text with one more server, and what was inserted."""
    root = _root(text)
    member = root.member(_key(root))
    assert member is not None  # noqa: S101  the frame has it
    node = member.value
    if node.kind is NodeKind.OTHER and node.start == node.end:  # nothing after the colon
        position, piece = line_end(text, member.end), newline(text) + _block(name, fields, 2, text)
    else:
        container = Container(text, _YAML, (member.key,))
        if container.is_in_brackets:
            entry = f"{quoted(name)}: {_YAML.literal(fields)}"
        else:
            indent = node.members[0].start - line_start(text, node.members[0].start)
            entry = _block(name, fields, indent, text)
        position, piece = container.addition(entry)
    before = _servers_in(text)
    result = text[:position] + piece + text[position:]
    if _servers_in(result) != {**before, name: _as_read(fields)}:
        raise UneditableError("the change would touch something else.")
    return result, piece


def _block(name: str, fields: Mapping[str, Value], indent: int, text: str) -> str:
    lines = [f"{' ' * indent}{name if name.isidentifier() else quoted(name)}:"]
    lines += [f"{' ' * (indent + 2)}{key}: {_YAML.literal(v)}" for key, v in fields.items()]
    return newline(text).join(lines)


def _as_read(fields: Mapping[str, Value]) -> dict[str, object]:
    """Fields as YAML's tree has them: every scalar is a text."""
    return {
        key: str(value).lower() if isinstance(value, bool) else plain(value)
        for key, value in fields.items()
    }


def _without_entries(text: str, servers: Sequence[MovedServer]) -> str:
    for key in _KEYS:
        root = _root(text)
        member = root.member(key)
        names = {item.key for item in member.value.members} if member else set()
        gone = [server.name for server in servers if server.name in names]
        if gone:
            text = Container(text, _YAML, (key,)).exchanged(gone, [])
    return text


def _reads_as(text: str, expected: Mapping[str, object]) -> bool:
    try:
        return _servers_in(text) == expected
    except (UneditableError, UnreadableError):
        return False
