"""A user's settings of one server of the gateway, as a value. Starts nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf

from pipeguard.config.isolate_key import IsolateEntry
from pipeguard.config.options import WrapOptions
from pipeguard.firewall.policy import Layer, Policy
from pipeguard.gateway.tools import Override, ShownTools
from pipeguard.identity.server_name import Launched, identify_remote, identify_server
from pipeguard.launch.environment import refers
from pipeguard.runtime.endpoints import name_remote, read_url

IDLE_SECONDS = 300.0


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
        return identify_remote(self.url, name_remote(read_url(self.url)))

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
