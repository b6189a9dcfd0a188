"""The facts in each client's YAML file, as values; reads no user's configuration.

A file has these keys. `name` is required, and the tests demand `checked`, `source`, `files` or
`paste`, and with `files` a sample::

    name        the client's name for people
    checked     when the facts were last looked up: YYYY-MM
    source      client: its own source or documentation; agreed: several tools agree;
                reported: one secondary source
    before      advice to read before its file is written
    after       steps to take once its file has changed
    list        the client's own command that lists servers
    folders     name: places, the first that can be resolved is used; written as {name} in `at`
    present     folders or files of its own, which show that it is installed
    managed     an administrator's files that replace its servers: then nothing is changed
    files       where its servers are: each with `at`, `scope` (user, local or project), `first`,
                `lock`, and its own values for `format` to `shape` if they differ
    format      json, toml or yaml
    allows      for JSON: comments, trailing-commas, bom. The client refuses anything else
    servers     key paths to the servers, each tried; `*` is every key; [] the whole file
    named       the key of the name, if servers are a list
    shape       how an entry is written: fields of Shape
    paste       for a client without a file: the text to paste, and where
    unasked     settings with which the agent calls every tool without asking: each with `at`,
                `scope` and `format` as a file, `setting` (the path to it) and `value`
    samples     texts of its files `before` and `after`, which the tests run; `left` names the
                `code` that clients.rewrite gives a server, or `open`; `file` is the index in
                `files` of the file that it is, 0 if it is not given

A place is a path that begins with a folder, as `{home}/.cursor/mcp.json`, or with a variable, as
`$CODEX_HOME`; it may contain `*`. It can differ by system: `{linux: …, macos: …, windows: …}`.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pipeguard.config import json_text, toml_text, tree, yaml_text
from pipeguard.errors import InputError
from pipeguard.unicode.display import suggestion

FOLDER = Path(__file__).parent
SYSTEMS = ("linux", "macos", "windows")
BySystem = Mapping[str, tuple[str, ...]]  # places, by the system
# The keys with which a file's own values replace the client's.
FILE_KEYS = ("format", "allows", "servers", "named", "shape")
ALLOWED = ("comments", "trailing-commas", "bom")


class Transport(Enum):
    """The transport of a remote server; the values are those of `wrap --transport`."""

    HTTP = "streamable-http"
    SSE = "sse"
    WEBSOCKET = "websocket"


class ConfigScope(Enum):
    """The scope of the servers in a file."""

    USER = "user"  # this user's, everywhere
    LOCAL = "local"  # this user's, in one folder
    PROJECT = "project"  # those of everybody who has the repository


# Clients' words for each transport, the most usual one first.
_WORDS: Mapping[Transport, tuple[str, ...]] = {
    Transport.HTTP: ("http", "streamable-http", "streamableHttp", "streamable_http", "remote"),
    Transport.SSE: ("sse",),
    Transport.WEBSOCKET: ("ws", "websocket"),
}


class Shape(NamedTuple):
    """The form in which a client writes the entry of one server.

    Attributes:
        command: the key of the program.
        args: the key of its arguments; empty if one list holds the program and its arguments.
        env: the key of the variables for the server.
        env_names: the key of a list of variables that are passed on (Codex, Goose).
        nested: the key of an object that may contain all of these (Cline).
        urls: the keys of a remote server's address, with the transport if the key implies it.
        headers: the path to the headers.
        headers_env: the key of headers whose values are names of variables (Codex).
        bearer_env: the key of the name of a variable with a token (Codex).
        kinds: the keys that may name the kind of server.
        stdio: the word for a started server; empty to remove the key.
        kind_needed: an entry without a kind is ignored (opencode).
        words: the words for each transport, the first of which undoing writes.
        untold: the transport of an address if the entry names none; None for auto-detection.
        login: keys that say that the client itself logs in (OAuth).
        gone: keys of a remote entry to remove when the server is started instead.
        foreign: keys of remote entries that cannot be wrapped, and why.
        builtin: kinds that are not the user's servers, and why.
        fixed: keys that, when true, say that an entry is not the user's, and why.
        off: key and value that switch an entry off; written as `"off"`, which YAML else reads as
            false.
        expands: fields in which variables are expanded: command, args, env, url, headers.
        variable: a regular expression for a variable in a text.
        personal: the same for text that the client fills in for each of its users; empty for none.
    """

    command: str = "command"
    args: str = "args"
    env: str = "env"
    env_names: str = ""
    nested: str = ""
    urls: Mapping[str, Transport | None] = {"url": None}
    headers: tuple[str, ...] = ("headers",)
    headers_env: str = ""
    bearer_env: str = ""
    kinds: tuple[str, ...] = ("type",)
    stdio: str = "stdio"
    kind_needed: bool = False
    words: Mapping[Transport, tuple[str, ...]] = _WORDS
    untold: Transport | None = None
    login: tuple[str, ...] = ("oauth", "auth", "scopes", "clientId", "requiresOAuth")
    gone: tuple[str, ...] = ()
    foreign: Mapping[str, str] = {}
    builtin: Mapping[str, str] = {}
    fixed: Mapping[str, str] = {}
    off: Mapping[str, object] = {"disabled": True}
    expands: frozenset[str] = frozenset()
    variable: str = r"\$\{[^}]*\}|\$[A-Za-z_]\w*"
    personal: str = ""


class FileSpec(NamedTuple):
    """A kind of file in which a client keeps servers.

    Attributes:
        scope: whose servers they are.
        places: its paths on each system, as the YAML file writes them.
        first: the client reads only the first path that exists.
        format: json, toml or yaml.
        allows: what the client accepts beyond standard JSON.
        servers: the key paths to the servers.
        named: the key of the name, if servers are a list.
        lock: the ending of the folder that the client uses as its lock.
    """

    client: str
    scope: ConfigScope
    places: BySystem
    first: bool
    format: str
    allows: frozenset[str]
    servers: tuple[tuple[str, ...], ...]
    named: str
    shape: Shape
    lock: str = ""

    @property
    def syntax(self) -> tree.Syntax:
        """The format's reader and editor."""
        if self.format == "toml":
            return toml_text.Toml()
        if self.format == "yaml":
            return yaml_text.Yaml()
        return json_text.Json(
            comments="comments" in self.allows, trailing_commas="trailing-commas" in self.allows
        )


class Client(NamedTuple):
    """One client.

    Attributes:
        id: its YAML file's name without `.yaml`.
        checked: when the facts were looked up, as `2026-11`.
        source: how certain they are.
        before: advice to read before a file is written.
        after: steps to take once a file has changed.
        list_command: the client's own command that lists servers.
        folders: names of folders, and the places where they may be.
        present: places that show that it is installed.
        managed: an administrator's files that replace its servers.
        files: the kinds of files that have its servers.
        unasked: settings with which the agent calls every tool without asking: the file, the
            path to the setting as its `servers`, and the value.
        paste: instructions for a client without a file.
        samples: texts before and after, which the tests run.
    """

    id: str
    name: str
    checked: str = ""
    source: str = ""
    before: str = ""
    after: str = ""
    list_command: str = ""
    folders: Mapping[str, BySystem] = {}
    present: Mapping[str, tuple[str, ...]] = {}
    managed: Mapping[str, tuple[str, ...]] = {}
    files: tuple[FileSpec, ...] = ()
    unasked: tuple[tuple[FileSpec, object], ...] = ()
    paste: str = ""
    samples: Sequence[Mapping[str, Any]] = ()


@cache
def clients() -> Mapping[str, Client]:
    """Every client by its id."""
    return {path.stem: read_client(path) for path in sorted(FOLDER.glob("*.yaml"))}


def client(name: str) -> Client:
    """Return the client with this id or name.

    Raises:
        InputError: no client has it; the message suggests similar ones.
    """
    wanted = name.strip().lower().replace(" ", "-").replace("_", "-")
    names = {item.name.lower().replace(" ", "-"): item for item in clients().values()}
    known = {**names, **clients()}
    if wanted not in known:
        near = suggestion(wanted, clients(), likeness=0.0, most=3)
        raise InputError(f"no client is called {name!r}.{near}")
    return known[wanted]


def clients_called(name: str) -> list[Client]:
    """Return the client with this id or name, or all whose ids begin with it: `claude`, `gemini`.

    Raises:
        InputError: no client matches; the message suggests similar ones.
    """
    begin = [item for key, item in clients().items() if key.startswith(f"{name.lower()}-")]
    return [client(name)] if name.lower() in clients() or not begin else begin


def read_client(path: Path) -> Client:
    """Read one file, which comes with the package: tests/clients/test_samples.py checks each."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    data = yaml.load(path.read_bytes(), loader)  # noqa: S506  a safe loader
    name = path.stem
    common = {key: data[key] for key in FILE_KEYS if key in data}
    usual = ("name", "checked", "source", "before", "after", "paste")
    return Client(
        id=name,
        **{key: data[key] for key in usual if key in data},
        list_command=data.get("list", ""),
        folders={folder: _by_system(at) for folder, at in data.get("folders", {}).items()},
        present=_by_system(data.get("present", ())),
        managed=_by_system(data.get("managed", ())),
        files=tuple(_file(name, common | own) for own in data.get("files", ())),
        unasked=tuple(
            (_file(name, own | {"servers": [own["setting"]]}), own["value"])
            for own in data.get("unasked", ())
        ),
        samples=tuple(data.get("samples", ())),
    )


def _file(name: str, data: Mapping[str, Any]) -> FileSpec:
    servers = data.get("servers", ["mcpServers"])
    paths = servers if servers and isinstance(servers[0], list) else [servers]
    return FileSpec(
        client=name,
        scope=ConfigScope(data.get("scope", "user")),
        places=_by_system(data["at"]),
        first=data.get("first", False),
        format=data.get("format", "json"),
        allows=frozenset(data.get("allows", ALLOWED)),
        servers=tuple(tuple(path) for path in paths),
        named=data.get("named", ""),
        shape=_shape(data.get("shape", {})),
        lock=data.get("lock", ""),
    )


def _shape(data: Mapping[str, Any]) -> Shape:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    if "urls" in values:
        values["urls"] = {k: Transport(v) if v else None for k, v in values["urls"].items()}
    if "words" in values:
        words = {Transport(key): tuple(value) for key, value in values["words"].items()}
        values["words"] = {
            transport: tuple(dict.fromkeys(words.get(transport, ()) + _WORDS[transport]))
            for transport in Transport
        }
    if "untold" in values:
        values["untold"] = Transport(values["untold"])
    if "expands" in values:
        values["expands"] = frozenset(values["expands"])
    return Shape(**values)


def _by_system(places: Any) -> BySystem:
    """Places for each system, from one text, a list, or a mapping by system."""
    if not isinstance(places, Mapping):
        places = dict.fromkeys(SYSTEMS, places)
    texts = {system: places.get(system, ()) for system in SYSTEMS}
    return {
        system: (each,) if isinstance(each, str) else tuple(each) for system, each in texts.items()
    }
