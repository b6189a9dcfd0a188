"""The target of an assessment: clients' files of a machine or a repository, policy, pins and audit.

Only reads: it does not create a store on a machine that has none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.assess.gateway_file import gateway_config, gateway_configs, is_of_gateway
from pipeguard.assess.isolation import (
    EntryIsolation,
    IsolationSource,
    entry_isolation,
    isolate_entries,
)
from pipeguard.clients.entries import Config, GuardState, ServerEntry, read_config
from pipeguard.clients.machine import Machine, find, find_in_repository
from pipeguard.clients.rewrite import GuardOptions, JudgedServer, judge
from pipeguard.config import directories, isolate_key, tree, user_policy
from pipeguard.detect.flows.tool_labels import Label
from pipeguard.firewall import finding
from pipeguard.state.paths import STATE_DIR_VARIABLE, STORE_NAME

if TYPE_CHECKING:
    from pipeguard.detect.detector import Engines

ServerKey = tuple[Path, tuple[str | int, ...]]


@dataclass(frozen=True)
class AssessmentTarget:
    """The target of an assessment.

    Attributes:
        root: the repository; None for a machine.
        configs: clients' files that have servers or cannot be read, and the gateway's.
        engines: the compiled rules.
        policies: the policy files in force: the user's, the project's.
        store: the store of pins and audit, if it exists.
        options: what counts as a login.
        contents: the offers of the servers that were connected to, by `key_of`.
    """

    machine: Machine
    root: Path | None
    configs: tuple[Config, ...]
    engines: Engines
    policies: tuple[Path | None, Path | None] = (None, None)
    store: Path | None = None
    options: GuardOptions = field(default_factory=GuardOptions)
    contents: Mapping[ServerKey, Contents] = field(default_factory=dict)

    @property
    def base(self) -> Path:
        """The folder that paths are shown relative to."""
        return self.root or self.machine.home

    @property
    def is_repository(self) -> bool:
        """True if it is a repository, which others have as well."""
        return self.root is not None

    @cached_property
    def all_servers(self) -> tuple[ServerEntry, ...]:
        """Every entry with a command or an address, including switched-off entries."""
        entries = (server for config in self.configs for server in config.servers)
        return tuple(entry for entry in entries if entry.words or entry.url)

    @cached_property
    def servers(self) -> tuple[ServerEntry, ...]:
        """The user's entries that a client would start or call."""
        return tuple(
            entry for entry in self.all_servers if self.judge(entry).state is not GuardState.LEFT
        )

    def judge(self, server: ServerEntry) -> JudgedServer:
        """The judgement of a server: guarded, open, or why it cannot be guarded."""
        if is_of_gateway(server):
            return JudgedServer(server, GuardState.LEFT if server.off else GuardState.GUARDED)
        return judge(server, self.options)

    def line(self, server: ServerEntry, key: str) -> int:
        """The line of a value in an entry, as `env.TOKEN` or `args.2`; else that of the entry."""
        span = server.spans.get(key)
        config = self._by_path.get(server.file)
        if span is None or config is None:
            return server.line
        return self._lines(config.path).of(span.start)

    def client_ids(self, server: ServerEntry) -> tuple[str, ...]:
        """The ids of all clients that read a server's entry."""
        config = self._by_path.get(server.file)
        specs = config.specs if config else ()
        return tuple(dict.fromkeys((server.client, *(spec.client for spec in specs))))

    def find_definitions(self, server: ServerEntry) -> Contents | None:
        """The definitions that a server offers; None if it was not connected to."""
        return self.contents.get(make_key(server))

    @cached_property
    def isolate_entries(self) -> isolate_key.IsolateEntries:
        """Isolation settings of the user's policy."""
        return isolate_entries(self.policies[0])

    def isolation(self, server: ServerEntry) -> EntryIsolation | None:
        """Find how a server is isolated; None for one not started here, and for the gateway."""
        source = IsolationSource(self.machine, self.isolate_entries, self.root)
        return entry_isolation(source, server)

    @cached_property
    def problem_with_engine(self) -> Callable[[str], str]:
        """Explain why servers that an engine isolates would not start here; tries it once."""
        from pipeguard.isolation import find_engine_problem

        return cache(find_engine_problem)

    @cached_property
    def _lines(self) -> Callable[[Path], tree.Lines]:
        return cache(lambda path: tree.Lines(self._by_path[path].text))

    @cached_property
    def _by_path(self) -> dict[Path, Config]:
        return {config.path: config for config in self.configs}


def make_key(server: ServerEntry) -> ServerKey:
    """The key of an entry in `contents`."""
    return server.file, server.path


def of_machine(
    machine: Machine, engines: Engines, options: GuardOptions | None = None
) -> AssessmentTarget:
    """Target the user's files, and those of the project that they are in."""
    here = str(machine.project or machine.home)
    user = user_policy.user_policy_path()
    project = user_policy.project_policy_path(here)
    return AssessmentTarget(
        machine,
        None,
        read_configs(machine),
        engines,
        (Path(user) if user else None, Path(project) if project else None),
        _store(machine.environment),
        options or GuardOptions(),
    )


def read_configs(machine: Machine) -> tuple[Config, ...]:
    """Find the files with servers that concern the user: those of clients, and the gateway's.

    For the gateway, that includes the file in the current folder.
    """
    here = () if machine.project is None else (machine.project,)
    return _with_content((*map(read_config, find(machine)), *gateway_configs(*here)))


def of_repository(root: Path, machine: Machine, engines: Engines) -> AssessmentTarget:
    """Target only the files of a repository, and nothing of this machine's user."""
    project = root / ".pipeguard.yaml"
    policies = (None, project if project.is_file() else None)
    configs = _with_content((*map(read_config, find_in_repository(root)), *gateway_config(root)))
    return AssessmentTarget(machine, root, configs, engines, policies)


def _with_content(configs: Iterable[Config]) -> tuple[Config, ...]:
    return tuple(config for config in configs if config.servers or config.problem)


def _store(environment: Mapping[str, str]) -> Path | None:
    override = environment.get(STATE_DIR_VARIABLE)
    folder = os.path.expanduser(override) if override else directories.usual_state_folder()
    path = Path(folder) / STORE_NAME
    return path if path.is_file() else None


# --- contents ---------------------------------------------------------------------------
# A server's offer, and the rules' findings in it: values only.


class Offer(NamedTuple):
    """One definition that a server listed.

    Attributes:
        kind: `tool`, `prompt`, `resource` or `template`.
        name: its name, URI or URI template.
        labels: a tool's capabilities.
    """

    kind: str
    name: str
    labels: Label = Label.NONE


class Flagged(NamedTuple):
    """A rule's finding in a server's description of itself.

    Attributes:
        finding: the finding, masked.
        what: its definition, as `tool read_file`; else the kind of message.
    """

    finding: finding.Finding
    what: str


@dataclass(frozen=True, slots=True)
class Contents:
    """The result of connecting to a server.

    Attributes:
        problem: why the contents are missing or incomplete, or empty.
        offers: the definitions that it listed.
        flagged: the rules' findings.
        drifted: definitions that differ from their pins, as `tool read_file`.
        info: its name and version, as it gives them.
        seconds: the time that it took.
    """

    problem: str = ""
    offers: tuple[Offer, ...] = ()
    flagged: tuple[Flagged, ...] = ()
    drifted: tuple[str, ...] = ()
    info: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def labels(self) -> Label:
        """Capabilities of all of its tools together."""
        union = Label.NONE
        for offer in self.offers:
            union |= offer.labels
        return union
