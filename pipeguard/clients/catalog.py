"""What each client's YAML file says, as values; reads no configuration of anybody.

A file holds (all keys but `name` may be left out)::

    name        as people say it
    checked     when the facts were last looked up: YYYY-MM
    source      client: its own source or documentation; agreed: several tools agree;
                reported: one secondary source
    after       what a person must do once its file has changed
    list        its own command that lists servers
    folders     name: places, of which the first that is known holds; used as {name} in `at`
    present     folders or files of its own, which show that it is installed
    managed     files of an administrator that take its servers over: nothing is changed then
    files       where servers stand; each entry may say anew what `format` to `shape` say
    format      json, toml or yaml
    allows      of JSON: comments, trailing-commas, bom. What is not listed, the client refuses
    servers     key paths to the servers, each tried; `*` is every key; [] the whole file
    named       the key of the name, where servers are a list
    shape       how an entry is written: fields of Shape
    link        a link that installs a server, with {name}, {json}, {base64}
    private     how a user's own entry is put before a project's of the same name: a command with
                {name} and {entry}, or the file for it
    paste       for a client without a file: what a person pastes where
    samples     before and after, which the tests run

A place is a path that begins with a folder, as `{home}/.cursor/mcp.json`, or with a variable, as
`$CODEX_HOME`; it may hold `*`. It can differ by system: `{linux: …, macos: …, windows: …}`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipeguard.clients.json_text import Json
from pipeguard.clients.toml_text import Toml
from pipeguard.clients.tree import Syntax
from pipeguard.clients.yaml_text import Yaml
from pipeguard.errors import InputError

FOLDER = Path(__file__).parent
_FILE_KEYS = ("format", "allows", "servers", "named", "shape")
_KEYS = {
    *("name", "checked", "source", "after", "list", "folders", "present", "managed", "files"),
    *("link", "private", "paste", "samples"),
    *_FILE_KEYS,
}


class Transport(Enum):
    """How a remote server is spoken to; the values are those of `wrap --transport`."""

    HTTP = "streamable-http"
    SSE = "sse"
    WEBSOCKET = "websocket"


class ConfigScope(Enum):
    """Whose servers a file holds."""

    USER = "user"  # this user's, everywhere
    LOCAL = "local"  # this user's, in one folder
    PROJECT = "project"  # everybody's who has the repository


# What clients call each transport, the most usual word first.
_WORDS: Mapping[Transport, tuple[str, ...]] = {
    Transport.HTTP: ("http", "streamable-http", "streamableHttp", "streamable_http", "remote"),
    Transport.SSE: ("sse",),
    Transport.WEBSOCKET: ("ws", "websocket"),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """How a client writes the entry of one server.

    Attributes:
        command: the key of the program.
        args: the key of its arguments; empty where the program stands in one list with them.
        env: the key of the variables for the server.
        env_names: the key of a list of variables that are passed on (Codex, Goose).
        nested: the key of an object that holds all of these, where it is there (Cline).
        urls: the keys of a remote server's address, and its transport where the key says it.
        headers: the path to the headers.
        headers_env: the key of headers whose values are names of variables (Codex).
        bearer_env: the key of the name of a variable that holds a token (Codex).
        kinds: the keys that may say what kind of server it is.
        stdio: the word for a started server; empty: the key goes.
        kind_needed: an entry without a kind is none (opencode).
        words: the words for each transport, the first for undoing.
        untold: the transport of an address where nothing says it; None: found out.
        login: keys that say that the client logs in by itself (OAuth).
        gone: keys of a remote entry that have no place in a started one.
        foreign: keys that make a remote entry one that cannot be wrapped, and why.
        builtin: values of the kind that are no servers of the user, and why.
        fixed: keys that, when true, say that an entry is not the user's, and why.
        off: key and value that switch an entry off.
        expands: fields in which variables are replaced: command, args, env, url, headers.
        variable: a regular expression for a variable in a text.
        personal: the same for what the client puts in for each of its own users; empty for none.
    """

    command: str = "command"
    args: str = "args"
    env: str = "env"
    env_names: str = ""
    nested: str = ""
    urls: Mapping[str, Transport | None] = field(default_factory=lambda: {"url": None})
    headers: tuple[str, ...] = ("headers",)
    headers_env: str = ""
    bearer_env: str = ""
    kinds: tuple[str, ...] = ("type",)
    stdio: str = "stdio"
    kind_needed: bool = False
    words: Mapping[Transport, tuple[str, ...]] = field(default_factory=lambda: _WORDS)
    untold: Transport | None = None
    login: tuple[str, ...] = ("oauth", "auth", "scopes", "clientId", "requiresOAuth")
    gone: tuple[str, ...] = ()
    foreign: Mapping[str, str] = field(default_factory=dict)
    builtin: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    off: Mapping[str, object] = field(default_factory=lambda: {"disabled": True})
    expands: frozenset[str] = frozenset()
    variable: str = r"\$\{[^}]*\}|\$[A-Za-z_]\w*"
    personal: str = ""


@dataclass(frozen=True, slots=True)
class FileSpec:
    """Where a client keeps servers, and how.

    Attributes:
        client: the client's id.
        scope: whose servers they are.
        places: paths for each system, as the file says them.
        first: only the first that exists is read by the client.
        format: json, toml or yaml.
        allows: of JSON, what the client takes beyond the standard.
        servers: the paths to the servers.
        named: the key of the name, where servers are a list.
        shape: how an entry is written.
        lock: the client takes a folder of this ending as its lock.
    """

    client: str
    scope: ConfigScope
    places: Mapping[str, tuple[str, ...]]
    first: bool
    format: str
    allows: frozenset[str]
    servers: tuple[tuple[str, ...], ...]
    named: str
    shape: Shape
    lock: str = ""

    @property
    def syntax(self) -> Syntax:
        """The format's reader and editor."""
        if self.format == "toml":
            return Toml()
        if self.format == "yaml":
            return Yaml()
        return Json(
            comments="comments" in self.allows, trailing_commas="trailing-commas" in self.allows
        )


@dataclass(frozen=True, slots=True)
class Client:
    """One client.

    Attributes:
        id: its file's name without `.yaml`.
        name: as people say it.
        checked: when the facts were looked up, as `2026-11`.
        source: how sure they are.
        after: what a person must do once a file has changed.
        list_command: the client's own command that lists servers.
        folders: names of folders, and where they may be.
        present: what shows that it is installed.
        managed: files that take its servers over.
        files: where its servers stand.
        link: a link that installs a server.
        private: how a user's own entry comes before one of a project.
        paste: what to do where there is no file.
        samples: entries before and after, as the tests read them.
    """

    id: str
    name: str
    checked: str = ""
    source: str = ""
    after: str = ""
    list_command: str = ""
    folders: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    present: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    managed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: tuple[FileSpec, ...] = ()
    link: str = ""
    private: str = ""
    paste: str = ""
    samples: Sequence[Mapping[str, Any]] = ()


SYSTEMS = ("linux", "macos", "windows")


@cache
def clients() -> Mapping[str, Client]:
    """Every client by its id."""
    return {path.stem: read_client(path) for path in sorted(FOLDER.glob("*.yaml"))}


def client(name: str) -> Client:
    """The client of that id, or of that name.

    Raises:
        InputError: there is none; the message names what is near.
    """
    known = clients()
    wanted = name.strip().lower().replace(" ", "-").replace("_", "-")
    if wanted in known:
        return known[wanted]
    by_name = {one.name.lower().replace(" ", "-"): one for one in known.values()}
    if wanted in by_name:
        return by_name[wanted]
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else f" There are: {', '.join(known)}."
    raise InputError(f"no client is called {name!r}.{hint}")


def read_client(path: Path) -> Client:
    """Read one file.

    Raises:
        ValueError: it holds a key that nobody reads, or lacks its name.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    data = yaml.load(path.read_text(encoding="utf-8"), loader)  # noqa: S506  a safe loader
    if unknown := set(data) - _KEYS:
        raise ValueError(f"{path.name}: unknown keys {sorted(unknown)}")
    common = {key: data[key] for key in _FILE_KEYS if key in data}
    return Client(
        id=path.stem,
        name=data["name"],
        checked=str(data.get("checked", "")),
        source=data.get("source", ""),
        after=data.get("after", ""),
        list_command=data.get("list", ""),
        folders={name: _by_system(places) for name, places in data.get("folders", {}).items()},
        present=_by_system(data.get("present", ())),
        managed=_by_system(data.get("managed", ())),
        files=tuple(_file(path.stem, common | one) for one in data.get("files", ())),
        link=data.get("link", ""),
        private=data.get("private", ""),
        paste=data.get("paste", ""),
        samples=tuple(data.get("samples", ())),
    )


def _file(name: str, data: Mapping[str, Any]) -> FileSpec:
    if unknown := set(data) - {"scope", "at", "first", "lock", *_FILE_KEYS}:
        raise ValueError(f"{name}: unknown keys {sorted(unknown)}")
    servers = data.get("servers", ["mcpServers"])
    paths = servers if servers and isinstance(servers[0], list) else [servers]
    return FileSpec(
        client=name,
        scope=ConfigScope(data.get("scope", "user")),
        places=_by_system(data["at"]),
        first=bool(data.get("first", False)),
        format=data.get("format", "json"),
        allows=frozenset(data.get("allows", ("comments", "trailing-commas", "bom"))),
        servers=tuple(tuple(path) for path in paths),
        named=data.get("named", ""),
        shape=_shape(name, data.get("shape", {})),
        lock=data.get("lock", ""),
    )


def _shape(name: str, data: Mapping[str, Any]) -> Shape:
    known = {one.name for one in fields(Shape)}
    if unknown := set(data) - known:
        raise ValueError(f"{name}: unknown keys of a shape {sorted(unknown)}")
    given = dict(data)
    if "urls" in given:
        given["urls"] = {k: Transport(v) if v else None for k, v in given["urls"].items()}
    if "words" in given:
        words = {Transport(key): tuple(value) for key, value in given["words"].items()}
        given["words"] = {
            one: tuple(dict.fromkeys(words.get(one, ()) + _WORDS[one])) for one in Transport
        }
    if "untold" in given:
        given["untold"] = Transport(given["untold"])
    for key in ("headers", "kinds", "login", "gone"):
        if key in given:
            given[key] = tuple(given[key])
    if "expands" in given:
        given["expands"] = frozenset(given["expands"])
    return Shape(**given)


def _by_system(places: Any) -> Mapping[str, tuple[str, ...]]:
    """Places for each system: of one text, a list, or a mapping by system."""
    if isinstance(places, Mapping):
        return {system: _texts(places.get(system, ())) for system in SYSTEMS}
    return dict.fromkeys(SYSTEMS, _texts(places))


def _texts(places: str | Sequence[str]) -> tuple[str, ...]:
    return (places,) if isinstance(places, str) else tuple(places)
