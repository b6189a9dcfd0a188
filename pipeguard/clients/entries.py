"""The servers in a client's file: what each is, where it stands, and whether it is guarded.

Reads; changes nothing. What is said of an entry is data of its client's YAML file (catalog.Shape).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from pipeguard.clients import machine
from pipeguard.clients.catalog import ConfigScope, FileSpec, Shape, Transport
from pipeguard.clients.guarding import GuardedCommand, guarded
from pipeguard.clients.reading import Reading, may_name, nodes_at, read_text, twins_on_the_way
from pipeguard.clients.tree import Lines, Node, NodeKind, Span, Value
from pipeguard.config.directories import read
from pipeguard.errors import InputError

MAX_FILE_BYTES = 64 * 2**20  # Claude Code's holds projects and history; megabytes were seen
MOST_SERVERS = 10_000  # of one file; nobody's client starts as many
Keys = tuple[str | int, ...]


class GuardState(Enum):
    """Whether a server is guarded."""

    GUARDED = "guarded"
    STALE = "stale"  # guarded, by a launcher that is not there any more
    OPEN = "not guarded"
    CANNOT = "cannot be guarded"
    LEFT = "left alone"  # not a server of the user's, or switched off


@dataclass(frozen=True, slots=True)
class ServerEntry:
    """One entry.

    Attributes:
        client: the client's id.
        file: where it stands.
        scope: whose it is.
        name: as the client calls it.
        path: the keys, and positions in lists, that lead to the entry.
        line: where the entry begins, from 1.
        command: the program, as the entry says it; None for a remote server.
        args: its arguments.
        env: variables that the entry sets. Values may be secrets.
        env_names: variables that the entry passes on.
        cwd: the folder it is started in, as far as the entry says.
        url: a remote server's address, or None.
        url_key: the key that it stands under.
        transport: how a remote server is spoken to, as far as the entry says.
        headers: of a remote server. Values may be secrets.
        off: the entry is switched off.
        guard: what `pipeguard wrap` is told, where the entry starts it.
        spans: where values stand in the file's text without a byte order mark: `command`, `args.0`,
            `env.NAME`, `url`, `headers.NAME`.
        shape: how the client writes an entry.
        body: the keys that lead from the entry to its fields; empty where it has them itself.
        fields: the fields, as read.
        odd: why it is no entry that can be changed; empty where it is.
    """

    client: str
    file: Path
    scope: ConfigScope
    name: str
    path: Keys
    line: int
    shape: Shape
    fields: Mapping[str, Value]
    body: tuple[str, ...] = ()
    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    env_names: tuple[str, ...] = ()
    cwd: str = ""
    url: str | None = None
    url_key: str = ""
    transport: Transport | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    off: bool = False
    guard: GuardedCommand | None = None
    spans: Mapping[str, Span] = field(default_factory=dict)
    odd: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The command that starts it, as it stands; empty for a remote server."""
        return () if self.command is None else (self.command, *self.args)

    @property
    def own_words(self) -> tuple[str, ...]:
        """The same without the guard."""
        return self.guard.command if self.guard else self.words

    @property
    def own_url(self) -> str | None:
        """The address without the guard."""
        return self.guard.url if self.guard else self.url


@dataclass(frozen=True, slots=True)
class Config:
    """One file, read.

    Attributes:
        path: as the client names it.
        specs: how each of its clients reads it.
        content: its bytes.
        text: its text, without a byte order mark; empty where it cannot be read at all.
        servers: those of all its clients, each once.
        problem: why nothing in it may be changed; empty where nothing speaks against it.
        is_unread: clients may read servers in it that are not among these.
    """

    path: Path
    specs: tuple[FileSpec, ...]
    content: bytes = b""
    text: str = ""
    servers: tuple[ServerEntry, ...] = ()
    problem: str = ""
    is_unread: bool = False

    @property
    def digest(self) -> str:
        """The SHA-256 of its bytes, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()

    def tree(self) -> Node:
        """Its text as a tree."""
        return self.specs[0].syntax.read(self.text)


def read_config(found: machine.ConfigFile) -> Config:
    """Read one file and all servers in it. What is wrong with it is told in `problem`."""
    try:
        if found.path.is_dir():
            return Config(found.path, found.specs, problem="it is a folder.")
        content, _ = read(str(found.path), MAX_FILE_BYTES, InputError)
    except (InputError, OSError) as error:
        told = str(error).removeprefix(f"{found.path} ")
        why = f"it {told}" if told else "unreadable"
        return Config(found.path, found.specs, problem=why, is_unread=True)
    return parse_config(found.path, found.specs, content)


def parse_config(path: Path, specs: Sequence[FileSpec], content: bytes) -> Config:
    """The same, of bytes.

    A client that is stricter than others, and cannot read the file, has no servers in it that could
    be changed; what it would read if it were not is told, as odd.
    """
    readings = {
        (spec.format, spec.allows): read_text(content, spec)
        for spec in {(spec.format, spec.allows): spec for spec in specs}.values()
    }
    of = {id(spec): readings[spec.format, spec.allows] for spec in specs}
    readers = [spec for spec in specs if not of[id(spec)].problem]
    found = _ParsedEntries(path)
    for spec in readers or specs:
        found.add(spec, of[id(spec)])
    problem = found.problem or ("" if readers else of[id(specs[0])].problem)
    for spec in specs if readers else ():
        if spec not in readers:
            found.add(
                spec, of[id(spec)], odd=f"its client cannot read the file: {of[id(spec)].problem}"
            )
    seen = next((of[id(spec)] for spec in readers or specs if of[id(spec)].tree), None)
    return Config(
        path,
        tuple(specs if found.problem else readers or specs),
        content,
        seen.text if seen else "",
        tuple(found.servers),
        problem,
        is_unread=bool(problem) and (seen is None or found.is_cut) and may_name(content, specs),
    )


class _ParsedEntries:
    """The servers of a file, spec for spec; what is wrong with some keeps none of the others back.

    Attributes:
        servers: each once. Of those that have the same place, the later lead nowhere by their path.
        problem: the first thing that is wrong.
        is_cut: there are more.
    """

    def __init__(self, path: Path) -> None:
        self.servers: list[ServerEntry] = []
        self.problem = ""
        self.is_cut = False
        self._path = path
        self._taken: set[Keys] = set()

    def add(self, spec: FileSpec, reading: Reading, odd: str = "") -> None:
        """Those of one client."""
        tree, lines = reading.tree, reading.lines
        if tree is None:
            return
        before = frozenset(self._taken)
        problems = list(twins_on_the_way(tree, spec, lines))
        for server in _servers(tree, lines, self._path, spec, problems):
            if server.path in before:
                continue
            if len(self.servers) == MOST_SERVERS:
                self.is_cut = True
                problems.append(f"it has more than {MOST_SERVERS:,} servers.")
                break
            self._keep(replace(server, odd=odd) if odd else server)
        if problems and not odd:
            self.problem = self.problem or problems[0]

    def _keep(self, server: ServerEntry) -> None:
        if server.path in self._taken:
            server = replace(server, path=(*server.path, len(self.servers)))
        self._taken.add(server.path)
        self.servers.append(server)


def _servers(
    tree: Node, lines: Lines, path: Path, spec: FileSpec, problems: list[str]
) -> Iterator[ServerEntry]:
    """Those of one client; what is not of its form is told, and keeps none of the others back."""
    if tree.kind is not NodeKind.MAP and () not in spec.servers:
        problems.append("its outermost value is no map of keys.")
    found_any = False
    for keys in spec.servers:
        if not keys and (found_any or not _is_bare(tree, spec)):
            continue
        for node, prefix in nodes_at(tree, keys):
            if not (node.value or node.members or node.items):
                continue  # an empty key
            if node.kind is not (NodeKind.LIST if spec.named else NodeKind.MAP):
                problems.append(
                    f"line {lines.of(node.start)}: {keys[-1] if keys else 'it'!r} is not "
                    f"{'a list' if spec.named else 'a map'} of servers."
                )
                continue
            found_any = True
            yield from _in(node, prefix, lines, path, spec)


def _is_bare(tree: Node, spec: FileSpec) -> bool:
    """Whether a whole file is a map, or a list, of servers."""
    if spec.named:
        return tree.kind is NodeKind.LIST
    wanted = {spec.shape.command, *spec.shape.urls}
    values = [member.value for member in tree.members]
    return bool(values) and all(
        value.kind is NodeKind.MAP and any(member.key in wanted for member in value.members)
        for value in values
    )


def _in(
    node: Node, prefix: Keys, lines: Lines, path: Path, spec: FileSpec
) -> Iterator[ServerEntry]:
    if spec.named:
        for index, item in enumerate(node.items):
            name = item.member(spec.named) if item.kind is NodeKind.MAP else None
            told = str(name.value.value) if name else f"#{index + 1}"
            yield _server(item, told, (*prefix, index), lines, path, spec)
    else:
        for member in node.members:
            yield _server(member.value, member.key, (*prefix, member.key), lines, path, spec)


def _server(
    entry: Node, name: str, keys: Keys, lines: Lines, path: Path, spec: FileSpec
) -> ServerEntry:
    shape = spec.shape
    line = lines.of(entry.start)
    nested = entry.member(shape.nested) if shape.nested else None
    inner = nested.value if nested and nested.value.kind is NodeKind.MAP else entry
    common = (spec.client, path, spec.scope, name, keys, line, shape)
    if inner.kind is not NodeKind.MAP:
        return ServerEntry(*common, {}, odd="it is written in a way that is not understood.")
    data = inner.data()
    assert isinstance(data, Mapping)  # noqa: S101  of a map
    odd = ""
    if entry.shared or any(child.shared for child in inner.walk()):
        odd = "it shares parts with other entries (anchors, aliases, tags or dotted keys)."
    whole = entry.data()
    spans = dict(_spans(inner, shape))
    words = _words(inner, shape)
    url_key = next((key for key in shape.urls if isinstance(data.get(key), str)), "")
    return ServerEntry(
        *common,
        data,
        body=(shape.nested,) if inner is not entry else (),
        command=words[0] if words else None,
        args=tuple(words[1:]),
        env=_texts(data.get(shape.env)),
        env_names=tuple(_listed(data.get(shape.env_names))) if shape.env_names else (),
        cwd=str(data.get("cwd") or ""),
        url=str(data[url_key]) if url_key else None,
        url_key=url_key,
        transport=_transport(data, url_key, shape),
        headers=_texts(_reached(data, shape.headers)),
        off=isinstance(whole, Mapping)
        and any(_same(whole.get(key, data.get(key)), off) for key, off in shape.off.items()),
        guard=guarded(words),
        spans=spans,
        odd=odd,
    )


def _words(inner: Node, shape: Shape) -> list[str]:
    """The command and its arguments as words; numbers as they are written."""
    command = inner.member(shape.command)
    if command is None:
        return []
    if command.value.kind is NodeKind.TEXT:
        listed = inner.member(shape.args) if shape.args else None
        return [str(command.value.value), *(_listed(listed.value.data()) if listed else ())]
    return [] if shape.args else _listed(command.value.data())


def _spans(inner: Node, shape: Shape) -> Iterator[tuple[str, Span]]:
    for member in inner.members:
        name = {shape.command: "command", shape.args: "args", shape.env: "env"}.get(
            member.key, "url" if member.key in shape.urls else member.key
        )
        value = member.value
        yield name, Span(value.start, value.end)
        for index, item in enumerate(value.items):
            yield f"{name}.{index}", Span(item.start, item.end)
        for one in value.members:
            yield f"{name}.{one.key}", Span(one.value.start, one.value.end)
    headers = inner.at(shape.headers)
    for one in headers.members if headers else ():
        yield f"headers.{one.key}", Span(one.value.start, one.value.end)


def _transport(data: Mapping[str, Value], url_key: str, shape: Shape) -> Transport | None:
    said = {str(data[key]) for key in shape.kinds if isinstance(data.get(key), str)}
    for transport, words in shape.words.items():
        if said & set(words):
            return None if said & {"remote"} else transport
    if not url_key:
        return None
    if re.match(r"wss?:", str(data[url_key]), re.IGNORECASE):
        return Transport.WEBSOCKET
    return shape.urls[url_key] or shape.untold


def _reached(data: Value, path: Sequence[str]) -> Value:
    for key in path:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _texts(value: Value) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    return {key: "" if one is None else _written(one) for key, one in value.items()}


def _listed(value: Value) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return []
    return [_written(one) for one in value]


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _same(value: Value, wanted: object) -> bool:
    """Whether a value is one that switches off; YAML's and TOML's own texts count as well."""
    if isinstance(wanted, bool):
        return value is wanted or (isinstance(value, str) and value.lower() == str(wanted).lower())
    return value == wanted
