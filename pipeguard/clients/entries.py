"""The servers in a client's file: kind, position, and whether each is guarded.

Reads; changes nothing. How a client writes entries is data of its YAML file (catalog.Shape).
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from pipeguard.clients import machine
from pipeguard.clients.catalog import ConfigScope, FileSpec, Shape, Transport
from pipeguard.clients.guarding import GuardedCommand, split_guarded
from pipeguard.clients.reading import (
    Reading,
    find_nodes,
    is_bare,
    may_name,
    read_text,
    repeated_keys,
)
from pipeguard.config.directories import read
from pipeguard.config.tree import Node, NodeKind, Span, Value, is_value
from pipeguard.errors import InputError
from pipeguard.unicode.display import NAME_CHARS, cut

MAX_ENTRIES_CHARS = 2**20  # of all servers of a file; as a policy's
MAX_FILE_BYTES = 64 * 2**20  # Claude Code's file also has projects and history: megabytes
MOST_SERVERS = 10_000  # of one file; no client starts as many
Keys = tuple[str | int, ...]
_SHARES = "it shares parts with other entries (anchors, aliases, tags or dotted keys)."


class GuardState(Enum):
    """The state of a server: guarded, or not and why."""

    GUARDED = "guarded"
    STALE = "stale"  # guarded, but its launcher does not exist any more
    OPEN = "not guarded"
    CANNOT = "cannot be guarded"
    LEFT = "left alone"  # not the user's server, or switched off


class ServerEntry(NamedTuple):
    """One entry.

    Attributes:
        client: the client's id.
        scope: whose entry it is.
        name: its name in the client.
        path: the keys, and positions in lists, that lead to the entry.
        line: its first line, from 1.
        command: the program, as in the entry; None for a remote server.
        args: the program's arguments.
        env: variables that the entry sets. Values may be secrets.
        env_names: names of variables that the entry forwards.
        cwd: its working directory, if the entry names one.
        url: a remote server's address, or None.
        url_key: the key of that address.
        transport: a remote server's transport, if the entry names one.
        headers: a remote server's headers. Values may be secrets.
        off: the entry is switched off.
        guard: the parts of its command, if that starts `pipeguard wrap`.
        spans: the values' positions in the file's text without a byte order mark, by `command`,
            `args.0`, `env.NAME`, `url`, `headers.NAME`.
        shape: how the client writes an entry.
        body: the keys that lead from the entry to its fields; empty if it has them itself.
        fields: the fields.
        odd: why the entry cannot be changed; empty if it can.
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
    env: Mapping[str, str] = {}
    env_names: tuple[str, ...] = ()
    cwd: str = ""
    url: str | None = None
    url_key: str = ""
    transport: Transport | None = None
    headers: Mapping[str, str] = {}
    off: bool = False
    guard: GuardedCommand | None = None
    spans: Mapping[str, Span] = {}
    odd: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The command that starts it, as in the file; empty for a remote server."""
        return () if self.command is None else (self.command, *self.args)

    @property
    def own_words(self) -> tuple[str, ...]:
        """The server's own command, without the guard."""
        return self.guard.command if self.guard else self.words

    @property
    def own_url(self) -> str | None:
        """The address without the guard."""
        return self.guard.url if self.guard else self.url

    @property
    def project(self) -> Path | None:
        """The folder of the project whose entry it is; None for the user's own."""
        folder = self.file.parent if self.scope is ConfigScope.PROJECT else None
        return folder.parent if folder and folder.name.startswith(".") else folder

    @property
    def has_authorization(self) -> bool:
        """True if the entry or its guard sends the header `Authorization`."""
        named = self.fields.get(self.shape.headers_env)
        headers = [*self.headers, *(self.guard.headers if self.guard else ())]
        headers += named if isinstance(named, Mapping) else ()
        bearer = (self.guard and self.guard.bearer) or self.fields.get(self.shape.bearer_env)
        return bool(bearer) or "authorization" in map(str.lower, headers)


class Config(NamedTuple):
    """One file, read.

    Attributes:
        path: its path in the client.
        specs: how each of its clients reads it.
        content: its bytes.
        text: its text, without a byte order mark; empty if it cannot be read at all.
        servers: the servers of all its clients, each once.
        problem: why PipeGuard must not change it; empty if it may.
        is_unread: clients may find servers in it that PipeGuard did not.
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

    @property
    def lock(self) -> str:
        """The ending of its client's own lock; empty if there is none."""
        return next((spec.lock for spec in self.specs if spec.lock), "")

    def tree(self) -> Node:
        """Its text as a tree."""
        return self.specs[0].syntax.read(self.text)


def read_config(file: machine.ConfigFile) -> Config:
    """Read one file and all servers in it; an error is in `problem`."""
    path = file.path
    specs = file.specs
    try:
        if path.is_dir():
            return Config(path, specs, problem="it is a folder.")
        content, _ = read(str(path), MAX_FILE_BYTES, InputError)
    except (InputError, OSError) as error:
        what = str(error).removeprefix(f"{path} ")
        problem = f"it {what}" if what else "unreadable"
        return Config(path, specs, problem=problem, is_unread=True)
    return parse_config(path, specs, content)


def parse_config(path: Path, specs: Sequence[FileSpec], content: bytes) -> Config:
    """Parse a file and all servers in it.

    If one client cannot read the file but others can, its servers cannot be changed. Those that a
    more lenient client would read are listed as odd.
    """
    readings = {
        (spec.format, spec.allows): read_text(content, spec)
        for spec in {(spec.format, spec.allows): spec for spec in specs}.values()
    }
    of = {id(spec): readings[spec.format, spec.allows] for spec in specs}
    readers = [spec for spec in specs if not of[id(spec)].problem]
    parsed = _EntryReader(path)
    for spec in readers or specs:
        parsed.add(spec, of[id(spec)])
    problem = parsed.problem or ("" if readers else of[id(specs[0])].problem)
    for spec in specs:
        if readers and spec not in readers:
            why = of[id(spec)].problem
            parsed.add(spec, of[id(spec)], odd=f"its client cannot read the file: {why}")
    first = next((of[id(spec)] for spec in readers or specs if of[id(spec)].tree), None)
    return Config(
        path,
        tuple(specs if parsed.problem else readers or specs),
        content,
        first.text if first else "",
        tuple(parsed.found),
        problem,
        is_unread=bool(problem) and (first is None or parsed.is_cut) and may_name(content, specs),
    )


class _EntryReader:
    """Finds the servers in a file, one client after another, and notes invalid entries.

    Attributes:
        found: the servers, each once; an invalid one does not hide others. If two have one place,
            the later one's path leads nowhere.
        problem: the first error.
        is_cut: there are more servers.
    """

    def __init__(self, path: Path) -> None:
        self.found: list[ServerEntry] = []
        self.problem = ""
        self.is_cut = False
        self._path = path
        self._taken: set[Keys] = set()

    def add(self, spec: FileSpec, reading: Reading, odd: str = "") -> None:
        """Add the servers of one client."""
        tree = reading.tree
        if tree is None:
            return
        self._spec = spec
        self._lines = reading.lines
        self._left_chars = MAX_ENTRIES_CHARS
        self._problems = [*repeated_keys(tree, spec, reading.lines)]
        before = frozenset(self._taken)
        for server in self._servers(tree):
            if server.path in before:
                continue
            if len(self.found) == MOST_SERVERS:
                self.is_cut = True
                self._problems.append(f"it has more than {MOST_SERVERS:,} servers.")
                break
            self._append(server._replace(odd=odd) if odd else server)
        if self._problems and not odd:
            self.problem = self.problem or self._problems[0]

    def _append(self, server: ServerEntry) -> None:
        if server.path in self._taken:
            server = server._replace(path=(*server.path, len(self.found)))
        self._taken.add(server.path)
        self.found.append(server)

    def _servers(self, tree: Node) -> Iterator[ServerEntry]:
        """The servers of the whole file."""
        spec = self._spec
        if tree.kind is not NodeKind.MAP and () not in spec.servers:
            self._problems.append("its outermost value is not a map of keys.")
        has_servers = False
        for keys in spec.servers:
            if not keys and (has_servers or not is_bare(tree, spec)):
                continue
            for node, prefix in find_nodes(tree, keys):
                if self._has_servers(node, keys):
                    has_servers = True
                    yield from self._in(node, prefix)

    def _has_servers(self, node: Node, keys: Sequence[str]) -> bool:
        """True if a node is a map, or a list, of servers; an empty one is ignored."""
        if not (node.value or node.members or node.items):
            return False
        is_list = bool(self._spec.named)
        if node.kind is (NodeKind.LIST if is_list else NodeKind.MAP):
            return True
        self._problems.append(
            f"line {self._lines.of(node.start)}: {keys[-1] if keys else 'it'!r} is not "
            f"{'a list' if is_list else 'a map'} of servers."
        )
        return False

    def _in(self, node: Node, prefix: Keys) -> Iterator[ServerEntry]:
        for member in node.members:
            if self._fits(member.value, member.key):
                yield self._entry(member.value, member.key, (*prefix, member.key))
        for index, item in enumerate(node.items):
            name = item.member(self._spec.named) if item.kind is NodeKind.MAP else None
            shown = str(name.value.value) if name else f"#{index + 1}"
            if self._fits(item, shown):
                yield self._entry(item, shown, (*prefix, index))

    def _fits(self, entry: Node, name: str) -> bool:
        """True if an entry fits into the file's size budget; if it does not, note the problem."""
        size = entry.end - entry.start + len(name)
        if size > self._left_chars:
            self.is_cut = True
            where = f"line {self._lines.of(entry.start)}: {cut(name, NAME_CHARS)!r}"
            self._problems.append(f"{where} is too long: servers may have 1 MiB in all.")
            return False
        self._left_chars -= size
        return True

    def _entry(self, entry: Node, name: str, keys: Keys) -> ServerEntry:
        spec = self._spec
        shape = self._spec.shape
        line = self._lines.of(entry.start)
        nested = entry.member(shape.nested) if shape.nested else None
        inner = nested.value if nested and nested.value.kind is NodeKind.MAP else entry
        common = (spec.client, self._path, spec.scope, name, keys, line, shape)
        if inner.kind is not NodeKind.MAP:
            return ServerEntry(*common, {}, odd="it is written in a way that is not understood.")
        data = inner.data()
        assert isinstance(data, Mapping)  # noqa: S101  the data of a map
        words = _words(inner, shape)
        url_key = next((key for key in shape.urls if isinstance(data.get(key), str)), "")
        return ServerEntry(
            *common,
            data,
            body=(shape.nested,) if inner is not entry else (),
            command=words[0] if words else None,
            args=tuple(words[1:]),
            env=_texts(data.get(shape.env)),
            env_names=tuple(list_values(data.get(shape.env_names))) if shape.env_names else (),
            cwd=str(data.get("cwd") or ""),
            url=str(data[url_key]) if url_key else None,
            url_key=url_key,
            transport=_transport(data, url_key, shape),
            headers=_texts(headers.data() if (headers := inner.at(shape.headers)) else None),
            off=_is_off(entry.data(), data, shape),
            guard=split_guarded(words),
            spans=dict(_spans(inner, shape)),
            odd=_SHARES if any(each.shared for each in (entry, *inner.walk())) else "",
        )


def _is_off(entry: Value, data: Mapping[str, Value], shape: Shape) -> bool:
    return isinstance(entry, Mapping) and any(
        is_value(entry.get(key, data.get(key)), off) for key, off in shape.off.items()
    )


def _words(inner: Node, shape: Shape) -> list[str]:
    """The command and its arguments as words; a number as the file writes it."""
    command = inner.member(shape.command)
    if command is None:
        return []
    if command.value.kind is NodeKind.TEXT:
        args = inner.member(shape.args) if shape.args else None
        return [str(command.value.value), *(list_values(args.value.data()) if args else ())]
    return [] if shape.args else list_values(command.value.data())


def _spans(inner: Node, shape: Shape) -> Iterator[tuple[str, Span]]:
    for member in inner.members:
        name = {shape.command: "command", shape.args: "args", shape.env: "env"}.get(
            member.key, "url" if member.key in shape.urls else member.key
        )
        value = member.value
        yield name, Span(value.start, value.end)
        for index, item in enumerate(value.items):
            yield f"{name}.{index}", Span(item.start, item.end)
        for inside in value.members:
            yield f"{name}.{inside.key}", Span(inside.value.start, inside.value.end)
    if headers := inner.at(shape.headers):
        for header in headers.members:
            yield f"headers.{header.key}", Span(header.value.start, header.value.end)


def _transport(data: Mapping[str, Value], url_key: str, shape: Shape) -> Transport | None:
    kinds = {str(data[key]) for key in shape.kinds if isinstance(data.get(key), str)}
    for transport, words in shape.words.items():
        if kinds & set(words):
            return None if kinds & {"remote"} else transport
    if not url_key:
        return None
    if re.match(r"wss?:", str(data[url_key]), re.IGNORECASE):
        return Transport.WEBSOCKET
    return shape.urls[url_key] or shape.untold


def _texts(value: Value) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    return {key: "" if item is None else _as_text(item) for key, item in value.items()}


def list_values(value: Value) -> list[str]:
    """The items of a list as texts; none for any other value."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return []
    return [_as_text(item) for item in value]


def _as_text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
