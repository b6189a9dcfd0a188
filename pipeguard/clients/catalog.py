"""The facts in each client's YAML file, as values; reads nobody's configuration.

A file has these keys. `name` is required, and the tests demand `checked`, `source`, `files` or
`paste`, and with `files` a sample::

    name        the client's name for people
    checked     when the facts were last looked up: YYYY-MM
    source      client: its own source or documentation; agreed: several tools agree;
                reported: one secondary source
    before      what a person must know before its file is written
    after       what a person must do once its file has changed
    list        the client's own command that lists servers
    folders     name: places, the first that can be resolved is used; written as {name} in `at`
    present     folders or files of its own, which show that it is installed
    managed     an administrator's files that replace its servers: then nothing is changed
    files       where its servers are: each with `at`, `scope` (user, local or project), `first`,
                `lock`, and its own values for `format` to `shape` if they differ
    format      json, toml or yaml
    allows      for JSON: comments, trailing-commas, bom. The client refuses what is not listed
    servers     key paths to the servers, each tried; `*` is every key; [] the whole file
    named       the key of the name, where servers are a list
    shape       how an entry is written: fields of Shape
    link        a link that installs a server, with {name}, {json}, {base64}, {arguments}
    private     how a user's own entry overrides a project's of the same name: a command with
                {name} and {entry}, or the file for it
    paste       for a client without a file: what a person pastes, and where
    unasked     settings with which the agent calls every tool without asking: each with `at`,
                `scope` and `format` as a file, `setting` (the path to it) and `value`
    samples     texts of its files `before` and `after`, which the tests run; `left` names the
                `code` that clients.rewrite gives a server, or `open`; `file` is the index in
                `files` of the file that it is, 0 if it is not given

A place is a path that begins with a folder, as `{home}/.cursor/mcp.json`, or with a variable, as
`$CODEX_HOME`; it may contain `*`. It can differ by system: `{linux: …, macos: …, windows: …}`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from pipeguard.clients.catalog_errors import (
    CHECKED,
    FILE_KEYS,
    FOLDERS,
    KEYS,
    LISTS,
    OWN_KEYS,
    SAMPLE_KEYS,
    SYSTEMS,
    TEXT_KEYS,
    are_paths,
    find_errors,
    wrong_place,
    wrong_text,
)
from pipeguard.config.json_text import Json
from pipeguard.config.toml_text import Toml
from pipeguard.config.tree import Syntax
from pipeguard.config.yaml_text import Yaml
from pipeguard.errors import InputError, PolicyError
from pipeguard.unicode.display import suggestion

FOLDER = Path(__file__).parent


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


# The words of which a value is one.
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "scope": tuple(scope.value for scope in ConfigScope),
    "source": ("client", "agreed", "reported"),
    "format": ("json", "toml", "yaml"),
    "first": ("true", "false"),
    "untold": tuple(transport.value for transport in Transport),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """The form in which a client writes the entry of one server.

    Attributes:
        command: the key of the program.
        args: the key of its arguments; empty where the program stands in one list with them.
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
        untold: the transport of an address where the entry names none; None for auto-detection.
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
    """One kind of file that a client has servers in.

    Attributes:
        client: the client's id.
        scope: whose servers they are.
        places: its paths on each system, as the YAML file writes them.
        first: the client reads only the first path that exists.
        format: json, toml or yaml.
        allows: what the client accepts beyond standard JSON.
        servers: the key paths to the servers.
        named: the key of the name, where servers are a list.
        shape: how an entry is written.
        lock: the ending of the folder that the client uses as its lock.
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
        id: its YAML file's name without `.yaml`.
        name: its name for people.
        checked: when the facts were looked up, as `2026-11`.
        source: how certain they are.
        before: what a person must know before a file is written.
        after: what a person must do once a file has changed.
        list_command: the client's own command that lists servers.
        folders: names of folders, and the places where they may be.
        present: places that show that it is installed.
        managed: an administrator's files that replace its servers.
        files: the kinds of files that have its servers.
        link: a link that installs a server.
        unasked: settings with which the agent calls every tool without asking: the file, the
            path to the setting as its `servers`, and the value.
        private: how a user's own entry overrides one of a project.
        paste: what to do where there is no file.
        samples: texts before and after, which the tests run.
    """

    id: str
    name: str
    checked: str = ""
    source: str = ""
    before: str = ""
    after: str = ""
    list_command: str = ""
    folders: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    present: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    managed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: tuple[FileSpec, ...] = ()
    link: str = ""
    unasked: tuple[tuple[FileSpec, object], ...] = ()
    private: str = ""
    paste: str = ""
    samples: Sequence[Mapping[str, Any]] = ()


@cache
def clients() -> Mapping[str, Client]:
    """Every client by its id."""
    return {path.stem: read_client(path) for path in sorted(FOLDER.glob("*.yaml"))}


def client(name: str) -> Client:
    """The client with that id or name.

    Raises:
        InputError: there is none; the message suggests similar ones.
    """
    by_id = clients()
    wanted = name.strip().lower().replace(" ", "-").replace("_", "-")
    if wanted in by_id:
        return by_id[wanted]
    by_name = {item.name.lower().replace(" ", "-"): item for item in by_id.values()}
    if wanted in by_name:
        return by_name[wanted]
    near = suggestion(wanted, by_id, likeness=0.0, most=3)
    raise InputError(f"no client is called {name!r}.{near}")


def clients_called(name: str) -> list[Client]:
    """The client with that id or name, or all whose ids begin with it: `claude`, `gemini`.

    Raises:
        InputError: there is none; the message suggests similar ones.
    """
    begin = [item for key, item in clients().items() if key.startswith(f"{name.lower()}-")]
    return [client(name)] if name.lower() in clients() or not begin else begin


def read_client(path: Path) -> Client:
    """Read one file.

    Raises:
        PolicyError: it has an unknown key or a wrong value, or lacks one; the message names lines.
    """
    text = path.read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _client(path.stem, yaml.load(text, loader))  # noqa: S506  a safe loader
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        find_errors(text, str(path), [item.name for item in fields(Shape)], _CHOICES)
        raise PolicyError(f"{path} is not a client's file: {error}") from None


def _client(name: str, data: Mapping[str, Any]) -> Client:
    """Make a client of what its file says.

    Raises:
        ValueError: it has an unknown key. KeyError, TypeError: it lacks one, or a value is wrong.
    """
    if unknown := set(data) - KEYS:
        raise ValueError(f"unknown keys {sorted(unknown)}")
    if any(not isinstance(data.get(key, ""), str) for key in TEXT_KEYS):
        raise TypeError("a text is none")
    _expect_right_texts(data)
    if not isinstance(data.get("samples", []), list):
        raise TypeError("samples is no list")
    for each in data.get("samples", ()):
        if not {"before"} <= each.keys() <= {*SAMPLE_KEYS} or not _are_texts(each.get("left", ())):
            raise ValueError("a sample lacks `before`, or has an unknown key")
    if "checked" in data and not CHECKED.fullmatch(data["checked"]):
        raise ValueError("checked is no month")
    own_folders = data.get("folders", {})
    places = partial(_by_system, (*FOLDERS, *own_folders))
    common = {key: data[key] for key in FILE_KEYS if key in data}
    _file(name, {**common, "at": ()}, places)  # values that no file of its own uses, too
    return Client(
        id=name,
        name=data["name"],
        checked=data.get("checked", ""),
        source=_expect_word(data["source"], _CHOICES["source"]) if "source" in data else "",
        before=data.get("before", ""),
        after=data.get("after", ""),
        list_command=data.get("list", ""),
        folders={folder: places(at) for folder, at in own_folders.items()},
        present=places(data.get("present", ())),
        managed=places(data.get("managed", ())),
        files=tuple(_file(name, common | own, places) for own in data.get("files", ())),
        link=data.get("link", ""),
        unasked=tuple(
            (_file(name, {**own, "servers": [setting]}, places), value)
            for setting, value, own in map(_pop_setting, data.get("unasked", ()))
        ),
        private=data.get("private", ""),
        paste=data.get("paste", ""),
        samples=tuple(data.get("samples", ())),
    )


def _expect_right_texts(data: Mapping[str, Any]) -> None:
    for key in TEXT_KEYS & data.keys():
        for what in wrong_text(key, data[key]):
            raise ValueError(f"{key}: {what}")


def _pop_setting(data: Mapping[str, Any]) -> tuple[list[str], object, dict[str, Any]]:
    """Split a setting into the path to it, its value, and the file that it is in."""
    own = dict(data)
    return own.pop("setting"), own.pop("value"), own


def _expect_word(word: Any, words: Sequence[str]) -> str:
    if word not in words:
        raise ValueError(f"{word!r} is not one of {', '.join(words)}")
    return str(word)


def _file(
    name: str, data: Mapping[str, Any], by_system: Callable[[Any], Mapping[str, tuple[str, ...]]]
) -> FileSpec:
    if unknown := set(data) - {*OWN_KEYS, *FILE_KEYS}:
        raise ValueError(f"{name}: unknown keys {sorted(unknown)}")
    servers = data.get("servers", ["mcpServers"])
    if not are_paths(servers):
        raise TypeError("servers are no key paths")
    paths = servers if servers and isinstance(servers[0], list) else [servers]
    return FileSpec(
        client=name,
        scope=ConfigScope(data.get("scope", "user")),
        places=by_system(data["at"]),
        first=(False, True).index(data.get("first", False)) == 1,
        format=_expect_word(data.get("format", "json"), _CHOICES["format"]),
        allows=frozenset(
            _expect_word(each, LISTS["allows"]) for each in data.get("allows", LISTS["allows"])
        ),
        servers=tuple(tuple(path) for path in paths),
        named=data.get("named", ""),
        shape=_shape(name, data.get("shape", {})),
        lock=data.get("lock", ""),
    )


def _are_texts(values: Iterable[object]) -> bool:
    return all(isinstance(each, str) for each in values)


def _shape(name: str, data: Mapping[str, Any]) -> Shape:
    if unknown := set(data) - {item.name for item in fields(Shape)}:
        raise ValueError(f"{name}: unknown keys of a shape {sorted(unknown)}")
    _expect_right_texts(data)
    if any(isinstance(each, Mapping) and not _are_texts(each) for each in data.values()):
        raise TypeError("a key is no text")
    values = dict(data)
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
        values["expands"] = frozenset(
            _expect_word(each, LISTS["expands"]) for each in values["expands"]
        )
    for key, value in values.items():
        usual = getattr(_USUAL, key)
        values[key] = tuple(value) if isinstance(value, list) else value
        if usual is not None and not isinstance(values[key], type(usual)):
            raise TypeError(f"{key} has another type")
    return Shape(**values)


_USUAL = Shape()


def _by_system(folders: Sequence[str], places: Any) -> Mapping[str, tuple[str, ...]]:
    """Places for each system, from one text, a list, or a mapping by system."""
    if isinstance(places, Mapping):
        texts = {_expect_word(system, SYSTEMS): _texts(places[system]) for system in places}
    else:
        texts = dict.fromkeys(SYSTEMS, _texts(places))
    for what in chain.from_iterable(wrong_place(each, folders) for each in chain(*texts.values())):
        raise ValueError(what)
    return {system: texts.get(system, ()) for system in SYSTEMS}


def _texts(places: str | Sequence[str]) -> tuple[str, ...]:
    return (places,) if isinstance(places, str) else tuple(places)
