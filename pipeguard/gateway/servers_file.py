"""Reads `pipeguard.yaml`: which servers are behind the gateway, and how agents get to them.

Knows the file's keys, and names line and column of all that is wrong in it. `mcpServers`, which
clients have, is read as `servers`. A server's settings are a value, as other sources of servers
make one, too. Starts nothing.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import NamedTuple

from pipeguard.auth.identity_key import Identity, read_identity
from pipeguard.config.isolate_key import IsolateEntry, read_isolate_entry
from pipeguard.config.options import WrapOptions
from pipeguard.config.policy_file import POLICY_KEYS
from pipeguard.config.policy_values import parse_choice, read_seconds
from pipeguard.config.strict_yaml import Document, YamlEntry
from pipeguard.errors import PolicyError
from pipeguard.firewall.policy import Layer, Policy
from pipeguard.gateway.menu import DEFAULT_LIMITS, MenuLimits, ToolMode
from pipeguard.gateway.tools import Override, ShownTools
from pipeguard.identity.server_name import Launched, identify_remote, identify_server
from pipeguard.isolation import check_entry
from pipeguard.launch.environment import refers
from pipeguard.runtime.endpoints import identify_upstream
from pipeguard.runtime.transports import AUTO, transport_names

IDLE_SECONDS = OUTAGE_SECONDS = 300.0


class Start(StrEnum):
    """The moment at which a server is started."""

    EAGER = "eager"  # with the gateway
    LAZY = "lazy"  # when it is first needed


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """One server, as `servers:` in pipeguard.yaml or a client's configuration has it.

    Attributes:
        name: the name for calls of its tools, and for its pins and audit.
        command: program and arguments, which may have `keyring:NAME`; empty if it has a URL.
        env: additional variables; values may be `keyring:NAME`.
        cwd: its working directory; empty for ours.
        url: of a server that runs elsewhere.
        headers: sent to that URL; values may be `keyring:NAME`.
        transport: `auto`, `streamable-http`, `sse` or `websocket`.
        trust: `review` holds its tools until a person approves them; `first-use` does not.
        allow: globs of its tools' names that agents may see; empty for all.
        block: globs of hidden names.
        overrides: other names and descriptions, by its own names.
        tags: further words by which its tools are found.
        is_prefixed: False if agents call its tools and prompts by its own names.
        timeout_seconds: for an answer; None for the policy's value.
        start: when it is started; None for the file's value.
        idle_seconds: the idle time after which a lazy one is stopped; None for the file's value.
        isolate: its isolation and grants; None for the policy's.
    """

    name: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    transport: str = "auto"
    trust: str = "review"
    allow: tuple[str, ...] = ()
    block: tuple[str, ...] = ()
    overrides: Mapping[str, Override] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    is_prefixed: bool = True
    timeout_seconds: float | None = None
    start: Start | None = None
    idle_seconds: float | None = None
    isolate: IsolateEntry | None = None

    def seconds_to_sleep(self) -> float | None:
        """The idle time after which it is stopped; None if it is not lazy.

        A server at a URL is not our process, so hanging up would gain nothing.
        """
        if self.start is not Start.LAZY:
            return None
        return (self.idle_seconds or IDLE_SECONDS) if self.command else inf

    def parse_launch(self) -> Launched:
        """Identify the server that its command or its address launches.

        Raises:
            PolicyError: its address is not supported.
        """
        if self.command:
            return identify_server(self.command, self.cwd or None)
        return identify_remote(self.url, identify_upstream(self.url).name)

    def shown_tools(self, has_tool: Callable[[str], bool]) -> ShownTools:
        """Its tools as agents see them.

        Args:
            has_tool: True if it is known to have a tool of a name.
        """
        return ShownTools(self.allow, self.block, self.overrides, has_tool)

    def tighten(self, policy: Policy) -> Policy:
        """A policy with this server's limits, and with the tools that agents may call."""
        if self.allow or self.block:
            layer = Layer(
                tools_allow=self.allow,
                tools_block=self.block,
                defaults=False,
                origin=f"`tools` of {self.name} in pipeguard.yaml",
            )
            policy = policy._replace(layers=(*policy.layers, layer))
        if self.timeout_seconds is None:
            return policy
        limits = policy.limits._replace(timeout_seconds=self.timeout_seconds)
        return policy._replace(limits=limits)

    def options(self, common: Mapping[str, str]) -> WrapOptions:
        """The settings as options of `wrap`, which starts and reaches servers.

        Args:
            common: options for all servers, such as `--policy`.
        """
        values = {**common, "--name": self.name, "--trust": self.trust}
        if self.cwd:
            values["--cwd"] = self.cwd
        if self.url:
            values |= {"--upstream": self.url, "--transport": self.transport}
        headers = self.headers.items()
        lists = {
            "--env": [f"{name}={value}" for name, value in self.env.items()],
            "--header": [f"{name}: {value}" for name, value in headers if not refers([value])],
            "--tag": list(self.tags) if self.command else [],
            "--header-env": [f"{name}={value}" for name, value in headers if refers([value])],
        }
        flags = ["--secret-arguments"]
        if (isolate := self.isolate) is not None:
            values["--isolate"] = isolate.engine
            lists |= {
                "--read": list(isolate.read),
                "--write": list(isolate.write),
                "--connect": list(isolate.hosts),
                "--loopback": list(isolate.loopback),
                "--limit": list(isolate.limits),
            }
            flags += ["--keep-home"] if isolate.keep_home else []
        given = {name: items for name, items in lists.items() if items}
        return WrapOptions(self.command, values, given, flags)


def runs_gateway(words: Sequence[str]) -> bool:
    """True for a command that runs `pipeguard serve`, which would start itself over and over."""
    program = words[0].replace("\\", "/").rpartition("/")[2] if words else ""
    is_ours = program.startswith("pipeguard") or "pipeguard" in words[1:4]
    return is_ours and "serve" in words[1:5]


# --- the file -------------------------------------------------------------------------

SECONDS = (0.001, 86400.0)  # that a server may take for an answer, or be idle

_LIMITS = {"top_k": 1_000, "tools_limit": 1_000, "response_chars": 4 * 2**20}  # and the most
_KEYS = (
    *("mode", "start", "idle", "outage", "identity"),
    *("servers", "mcpServers", "management", *_LIMITS),
)
_SERVER = (
    "command",
    "args",
    "env",
    "cwd",
    "url",
    "headers",
    "transport",
    "type",
    "enabled",
    "disabled",
    "trust",
    "tools",
    "tags",
    "prefix",
    "timeout",
    "start",
    "idle",
    "isolate",
)
_TOOLS = ("allow", "block", "overrides")
_SERVER_KEYS = ("servers", "mcpServers")
_ELSEWHERE = dict.fromkeys(POLICY_KEYS, "the policy:  pipeguard policy path")
_MANAGEMENT = ("add", "remove")
_TRANSPORTS: Mapping[str, str] = {
    **{name: name for name in transport_names()},
    "http": "streamable-http",  # as clients call them
    "ws": "websocket",
    "stdio": AUTO,
}
_TRUST: Mapping[str, str] = {"review": "review", "first-use": "first-use"}
_STARTS: Mapping[str, Start] = {start.value: start for start in Start}
_BOOLEANS: Mapping[str, bool] = {"true": True, "false": False}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}\Z")  # a part of a path, and of a tool's name
VARIABLE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


class ServersFile(NamedTuple):
    """The contents of a file.

    Attributes:
        servers: those that are enabled, in the file's order.
        mode: how agents get to their tools.
        start: the default time of starting servers.
        idle_seconds: the default time without work after which lazy servers are stopped.
        outage_seconds: for which calls continue without the store that replicas share; None for
            `OUTAGE_SECONDS`.
        notes: remarks for the user on how it was read.
        management: `add` if agents may propose servers, `remove` if they may withdraw that.
        limits: of the text that agents read at once.
        identity: whose sign-ins are accepted; None for nobody's.
    """

    servers: tuple[ServerSettings, ...] = ()
    mode: ToolMode = ToolMode.SEARCH
    start: Start = Start.EAGER
    idle_seconds: float = IDLE_SECONDS
    outage_seconds: float | None = None
    notes: tuple[str, ...] = ()
    management: frozenset[str] = frozenset()
    limits: MenuLimits = DEFAULT_LIMITS
    identity: Identity | None = None


def parse_servers(text: str, source: str, variables: Mapping[str, str]) -> ServersFile:
    """Read one file.

    Args:
        text: the YAML document.
        source: its name, for errors.
        variables: the values of `${env:NAME}`.

    Raises:
        PolicyError: with line, column and key of all errors.
    """
    document = Document(text, source)
    file = _Reader(variables).file(document.root) if document.root is not None else ServersFile()
    document.finish()
    return file


def parse_client_file(text: str, source: str, variables: Mapping[str, str]) -> ServersFile:
    """Read the servers of a client's file with `mcpServers`; ignore its other keys.

    Args:
        text: the JSON or YAML document.
        source: its name, for errors.
        variables: the values of `${env:NAME}`.

    Raises:
        PolicyError: with line, column and key of all errors.
    """
    document = Document(text, source)
    keys = {} if document.root is None else document.root.known_fields(_SERVER_KEYS)
    servers = _Reader(variables).enabled_servers(keys)
    document.finish()
    return ServersFile(servers)


def parse_server(
    text: str, source: str, name: str, variables: Mapping[str, str]
) -> ServerSettings | None:
    """Read a file that describes a single server; None if that is switched off.

    Args:
        text: the YAML document: the part under a name in `servers:`.
        source: its name, for errors.
        name: the server's.
        variables: the values of `${env:NAME}`.

    Raises:
        PolicyError: with line, column and key of all errors.
    """
    document = Document(text, source)
    if document.root is None:
        raise PolicyError(f"{source}: it is empty.")
    server = _Reader(variables).server(name, document.root)
    document.finish()
    return server


class _Reader(NamedTuple):
    """Read the keys; note errors at their entries, and leave these out."""

    variables: Mapping[str, str]

    def file(self, root: YamlEntry) -> ServersFile:
        keys = root.fields(_KEYS, elsewhere=_ELSEWHERE)
        enabled = self.enabled_servers(keys)
        allowed = keys["management"].fields(_MANAGEMENT) if "management" in keys else {}
        management = frozenset(
            key for key in _MANAGEMENT if parse_choice(allowed.get(key), _BOOLEANS) is True
        )
        return ServersFile(
            enabled,
            parse_choice(keys.get("mode"), {mode.value: mode for mode in ToolMode})
            or ToolMode.SEARCH,
            parse_choice(keys.get("start"), _STARTS) or Start.EAGER,
            read_seconds(keys.get("idle"), SECONDS) or IDLE_SECONDS,
            read_seconds(keys.get("outage"), SECONDS),
            identity=read_identity(keys["identity"]) if "identity" in keys else None,
            management=management,
            limits=_limits(keys),
        )

    def enabled_servers(self, keys: Mapping[str, YamlEntry]) -> tuple[ServerSettings, ...]:
        """The servers that are switched on."""
        servers: dict[str, ServerSettings | None] = {}
        for key in _SERVER_KEYS:
            members = keys[key].members() if key in keys else {}
            for name, entry in members.items():
                if name in servers:
                    entry.wrong("another server has this name")
                servers[name] = self.server(name, entry)
        return tuple(server for server in servers.values() if server is not None)

    def server(self, name: str, entry: YamlEntry) -> ServerSettings | None:
        """A server; None if it is switched off, or wrong."""
        if not NAME.match(name):
            entry.wrong("a server's name has at most 50 letters, digits, `.`, `_` and `-`")
        keys = entry.fields(_SERVER)
        if ("command" in keys) == ("url" in keys):
            entry.wrong("a server has either a `command` or a `url`")
        for key in ("args", "env", "cwd", "isolate"):
            if key in keys and "url" in keys:
                keys[key].wrong("a server at a `url` is not started, so this does nothing")
        if "headers" in keys and "command" in keys:
            keys["headers"].wrong("a server with a `command` is not reached over HTTP")
        tools = keys["tools"].fields(_TOOLS) if "tools" in keys else {}
        transport = keys.get("transport", keys.get("type"))
        program = self._expand(keys.get("command"))
        server = ServerSettings(
            name,
            command=(program, *self._texts(keys.get("args"))) if program else (),
            env=self._pairs(keys.get("env")),
            cwd=self._expand(keys.get("cwd")),
            url=self._expand(keys.get("url")),
            headers=self._pairs(keys.get("headers")),
            transport=(parse_choice(transport, _TRANSPORTS) or "auto"),
            trust=parse_choice(keys.get("trust"), _TRUST) or "review",
            allow=self._texts(tools.get("allow")),
            block=self._texts(tools.get("block")),
            overrides=_overrides(tools.get("overrides")),
            tags=self._texts(keys.get("tags")),
            is_prefixed=parse_choice(keys.get("prefix"), _BOOLEANS) is not False,
            timeout_seconds=read_seconds(keys.get("timeout"), SECONDS),
            start=parse_choice(keys.get("start"), _STARTS),
            idle_seconds=read_seconds(keys.get("idle"), SECONDS),
            isolate=_isolate_entry(name, keys.get("isolate")),
        )
        is_on = parse_choice(keys.get("enabled"), _BOOLEANS) is not False
        return (
            server if is_on and parse_choice(keys.get("disabled"), _BOOLEANS) is not True else None
        )

    def _texts(self, entry: YamlEntry | None) -> tuple[str, ...]:
        return tuple(self._expand(item) for item in entry.items()) if entry is not None else ()

    def _pairs(self, entry: YamlEntry | None) -> dict[str, str]:
        members = entry.members() if entry is not None else {}
        return {name: self._expand(value) for name, value in members.items()}

    def _expand(self, entry: YamlEntry | None) -> str:
        """A text with its variables replaced; notes an error for one that is not set."""
        text = entry.text() if entry is not None else None
        if entry is None or text is None:
            return ""

        def value(match: re.Match[str]) -> str:
            if match[1] not in self.variables:
                entry.wrong(f"the variable {match[1]} is not set")
            return self.variables.get(match[1], "")

        return VARIABLE.sub(value, text)


def _isolate_entry(name: str, entry: YamlEntry | None) -> IsolateEntry | None:
    if entry is None:
        return None
    read = read_isolate_entry(name, entry)
    check_entry(entry)
    return read


def _limits(keys: Mapping[str, YamlEntry]) -> MenuLimits:
    given: dict[str, int] = {}
    for key, most in _LIMITS.items():
        entry = keys.get(key)
        text = (entry.text() or "") if entry is not None else ""
        if text.isascii() and text.isdigit() and 1 <= len(text.lstrip("0")) < 8:
            given[key] = int(text)
        if entry is not None and not 1 <= given.get(key, 0) <= most:
            entry.wrong(f"give a number from 1 to {most}")
    limits = DEFAULT_LIMITS._replace(**given)
    if "top_k" not in given:
        limits = limits._replace(top_k=min(limits.top_k, limits.tools_limit))
    elif limits.top_k > limits.tools_limit:
        keys["top_k"].wrong(f"a search finds at most {limits.tools_limit} tools (`tools_limit`)")
    return limits


def _overrides(entry: YamlEntry | None) -> dict[str, Override]:
    found: dict[str, Override] = {}
    if entry is None:
        return found
    for name, override in entry.members().items():
        keys = override.fields(("name", "description"))
        texts = {key: value.text() or "" for key, value in keys.items()}
        given = Override(**texts)
        same = [own for own, other in found.items() if given.name and other.name == given.name]
        if same:
            keys["name"].wrong(f"the tool {same[0]} already has this name")
        found[name] = given
    return found
