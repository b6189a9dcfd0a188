"""The servers of this machine's clients, with how each is isolated."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeguard.assess.cures import setup_words
from pipeguard.assess.entry_extent import entry_extent, extent_if_isolated
from pipeguard.assess.extent_report import essence, extent_lines, label_texts, short_path, wrap_text
from pipeguard.assess.gateway_file import (
    GATEWAY,
    gateway_configs,
    is_of_gateway,
    pins_name,
    reads_file,
)
from pipeguard.assess.isolation import EntryIsolation, entry_isolation
from pipeguard.clients.catalog import clients
from pipeguard.clients.entries import Config, GuardState, ServerEntry, read_config
from pipeguard.clients.guarding import gateway_launcher
from pipeguard.clients.isolating import obstacle
from pipeguard.clients.machine import Machine, find
from pipeguard.clients.rewrite import GuardOptions, judge
from pipeguard.config.isolate_key import IsolateEntry, find_entries
from pipeguard.config.options import WrapOptions
from pipeguard.config.user_policy import user_policy_path
from pipeguard.errors import LaunchError, PipeGuardError
from pipeguard.gateway.discovery import read_own_text
from pipeguard.gateway.servers_file import parse_servers
from pipeguard.identity.server_name import identify_server
from pipeguard.isolation import Hardened, Isolation, ServerCommand, ServerPreview, preview_server
from pipeguard.runtime.start import running_guards
from pipeguard.state.store import Store
from pipeguard.unicode.display import visible

START_FIELD = 19  # of /proc/PID/stat, behind the name: the time after boot (proc(5))


@dataclass(frozen=True, slots=True)
class ServerHere:
    """A server that a client's entry starts here, or the gateway.

    Attributes:
        server: the entry.
        isolation: how it is isolated.
        touches: all that it would be given if it were started now.
    """

    server: ServerEntry
    isolation: EntryIsolation
    touches: ServerPreview

    @property
    def is_bare(self) -> bool:
        """True if a client starts it without PipeGuard."""
        return self.server.guard is None and not is_of_gateway(self.server)

    @property
    def client_name(self) -> str:
        """The client that starts it."""
        known = clients().get(self.server.client)
        return known.name if known is not None else self.server.client

    @property
    def command(self) -> ServerCommand:
        """The server's own command."""
        return ServerCommand(self.server.own_words)

    @property
    def name(self) -> str:
        """The value of its guard's `--name`, as in the audit; or else the name of its entry."""
        guard = self.server.guard
        return guard.name if guard is not None and guard.name else self.server.name

    @property
    def names(self) -> frozenset[str]:
        """Names of a server: by its entry, by an option, and by default."""
        guard = self.server.guard
        own = identify_server(self.server.own_words, guard.folder if guard else None).name
        return frozenset({self.server.name, self.name, own})

    @property
    def package(self) -> str:
        """The package that it fetches, as `REGISTRY:NAME`; empty where that is not known."""
        with suppress(LaunchError):
            return self.command.package
        return ""

    @property
    def variables(self) -> list[str]:
        """The names of the variables that its entry gives it."""
        return sorted({*self.server.env, *self.server.env_names})

    @property
    def isolator(self) -> str:
        """Name what isolates it."""
        held = self.isolation
        if self.is_bare:
            return "not guarded"
        if not held.is_held:
            return "no: learns" if held.engine == Isolation.LEARN else "no"
        return "its entry" if held.by_entry else "your policy"

    @property
    def isolated_how(self) -> str:
        """Describe its isolation."""
        held = self.isolation
        if self.is_bare:
            return f"NOT isolated: {self.client_name} starts it without PipeGuard"
        if not held.is_held:
            return (
                "learning: PipeGuard refuses it nothing"
                if held.engine == Isolation.LEARN
                else "not isolated"
            )
        here = "" if self.touches.extent is None else self.touches.extent.engine
        engine = held.engine if here in ("", held.engine) else f"{held.engine}: {here}"
        return f"isolated by {self.isolator} ({engine})"

    @property
    def essence(self) -> str:
        """Summarise what it can touch."""
        if not self.isolation.is_held:
            return (
                "all that its container's command gives it"
                if self.command.is_container
                else "all that you may do"
            )
        return summarise(self.touches)

    @property
    def if_isolated(self) -> ServerPreview:
        """All that it would be given if it were isolated."""
        is_held = self.isolation.is_held
        return self.touches if is_held else extent_if_isolated(self.server, machine_here())

    def fields(self) -> dict[str, object]:
        """For programs."""
        held = self.isolation
        return {
            "server": self.server.name,
            "name": self.name,
            "client": self.server.client,
            "file": str(self.server.file),
            "guarded": not self.is_bare,
            "engine": held.engine,
            "isolated": held.is_held,
            "given": list(held.given) if held.is_held else [],
            "variables": self.variables,
            "older_run": bool(older_run(self.server)),
            **self.touches.fields(),
        }

    def lines(self) -> Iterator[str]:
        """For people: all that it can touch."""
        held = self.isolation
        if not held.is_held:
            if self.command.is_container:
                yield "    it can touch all that its container's command gives it"
                yield from wrap_text(_mounts(self.command))
                return
            yield "    it can touch all that you may"
            return
        touches = self.touches
        if touches.problem:
            yield from wrap_text(f"It does not start: {touches.problem}")
        if touches.container is not None:
            yield from wrap_text(hardening(touches.container))
            yield from wrap_text(_mounts(self.command))
        if touches.extent is not None:
            yield from extent_lines(touches.extent)
            if self.variables:
                listed = visible(", ".join(self.variables))
                yield from label_texts("variables", [f"{listed}, of its entry"])

    def to_isolate(self) -> Iterator[str]:
        """The change of its entry that isolates it."""
        if is_of_gateway(self.server):
            yield "  To isolate it: `isolate: {}` in its entry in pipeguard.yaml"
            return
        said = self.isolation.by_entry
        where = visible(short_path(str(self.server.file)))
        change = f" (`--isolate auto` for `--isolate {said}` in {where})" if said else ""
        yield from wrap_text(f"To isolate it{change}:", "  ")
        words = (*setup_words(self.server, machine_here()), "--isolate")
        yield f"    {visible(shlex.join(words))}"

    def to_guard(self) -> Iterator[str]:
        """The command that guards it, and isolates it where that is possible."""
        problem = self.if_isolated.problem
        why = obstacle(self.server) or (f"it cannot be isolated: {problem}" if problem else "")
        words = setup_words(self.server, machine_here())
        words += () if why else ("--isolate",)
        yield from wrap_text(f"To guard it, as {why}:" if why else "To guard and isolate it:", "  ")
        yield f"    {visible(shlex.join(words))}"


@dataclass(frozen=True, slots=True)
class _Here:
    """Read how servers of this machine are isolated (assess.isolation)."""

    machine: Machine
    isolate_entries: tuple[IsolateEntry, ...]
    root: Path | None = None
    is_repository: bool = False


def servers_here(entries: tuple[IsolateEntry, ...]) -> tuple[ServerHere, ...]:
    """The servers that are started here, in the order of their files, also without PipeGuard.

    Args:
        entries: what the user's policy says about isolation.
    """
    machine = machine_here()
    here = _Here(machine, entries)
    configs = read_configs(machine)
    found = []
    for server in (server for config in configs for server in config.servers):
        isolation = entry_isolation(here, server)
        is_through = server.guard is not None or is_of_gateway(server)
        if isolation is not None and (is_through or _is_started_bare(server)):
            extent = entry_extent(server, isolation, machine)
            found.append(ServerHere(server, isolation, extent))
    return tuple(found)


def older_run(server: ServerEntry) -> str:
    """Say that the server of an entry has run since before that or the policy changed."""
    since = RunningProcesses().find_start(server)
    files = (str(server.file), user_policy_path() or "")
    changes = [(_modified_time(path), path) for path in files]
    changed, path = max(changes)
    if since is None or changed <= since:
        return ""
    then, later = (
        datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
        for seconds in (since, changed)
    )
    return (
        f"It has run since {then}, and {visible(short_path(path))} changed on {later}."
        " Differences apply from its next start, except hosts and ports of your policy."
    )


def _modified_time(path: str) -> float:
    with suppress(OSError):
        return Path(path).stat().st_mtime
    return 0.0


class RunningProcesses:
    """The guards that run now with the same state folder; only Linux tells."""

    def __init__(self) -> None:
        self._guards = list(running_guards())

    def find_start(self, server: ServerEntry) -> float | None:
        """The start of the oldest process of an entry, in seconds since 1970; None without one."""
        words = () if server.guard is None else server.words[len(server.guard.launcher) :]
        started = []
        for guard in self._guards:
            process = Path("/proc", guard.process)
            serves = guard.verb == "serve" and reads_file(guard.words, process / "cwd", server)
            if serves or (words and guard.words[-len(words) :] == tuple(words)):
                with suppress(OSError):  # it has ended
                    stat = (process / "stat").read_text("utf-8", "replace")
                    started.append(int(stat.rpartition(")")[2].split()[START_FIELD]))
        if not started:
            return None
        boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return boot + min(started) / os.sysconf("SC_CLK_TCK")


def unread_files() -> list[str]:
    """Why servers in some files are not known, each as a sentence with the file.

    What `pipeguard serve` would say of its own file is said of that.
    """
    found = [
        f"{config.path}: {config.problem}"
        for config in read_configs(machine_here())
        if config.is_unread and config.specs[0].client != GATEWAY
    ]
    for config in gateway_configs():
        try:
            parse_servers(read_own_text(str(config.path)), str(config.path), os.environ)
        except PipeGuardError as error:
            found.append(str(error))
    return found


def machine_here() -> Machine:
    """This machine, with the project that the user is in."""
    folder = Path.cwd()
    return Machine.here(None if folder == Path.home() else folder)


def stored_targets(store: Store, target: str) -> Iterator[str]:
    """A target with the stored name of a server in place of its entry's."""
    for config in read_configs(machine_here()):
        for server in config.servers:
            if target == server.name or target.startswith(f"{server.name}/"):
                yield f"{pins_name(store, server)}{target[len(server.name) :]}"


def read_configs(machine: Machine) -> list[Config]:
    """The clients' files, and the gateway's."""
    return [*(read_config(file) for file in find(machine)), *gateway_configs()]


def _is_started_bare(server: ServerEntry) -> bool:
    """True if a client starts a server by this entry, without PipeGuard."""
    state = judge(server, GuardOptions()).state
    return not gateway_launcher(server.words) and state in (GuardState.OPEN, GuardState.CANNOT)


def summarise(touches: ServerPreview) -> str:
    """Summarise what an isolated server can touch."""
    if touches.problem:
        return f"does not start: {visible(touches.problem)}"
    if touches.container is not None:
        network = "a network by its own words" if touches.container.is_open else "no network"
        return f"its own container; {network}"
    return essence(touches.extent) if touches.extent is not None else ""


def preview_command(words: tuple[str, ...], entries: tuple[IsolateEntry, ...]) -> ServerPreview:
    """All that the server of a command would be given here, by its words and the policy.

    Args:
        words: the command.
        entries: what the user's policy says about isolation.
    """
    name = identify_server(words, None).name
    said = next((each.engine for each in find_entries(name, entries)), Isolation.AUTO)
    engine = Isolation.AUTO if said in (Isolation.NONE, Isolation.LEARN) else said
    return preview_server(WrapOptions(words, {}, {}, ()), name, engine, {}, str(Path.cwd()))


def preview_lines(words: tuple[str, ...], preview: ServerPreview) -> Iterator[str]:
    """Describe for people what the server of a command would be given."""
    if preview.problem or preview.extent is None:
        yield from wrap_text(f"It would not start isolated: {preview.problem}", "")
        return
    yield f"Isolated ({preview.extent.engine}), it would get:"
    yield from extent_lines(preview.extent)
    if needs := ServerCommand(words).describe_needs({}, str(Path.home())):
        yield from wrap_text(needs, "  ")
    yield f"  Start it so:  pipeguard wrap --isolate auto -- {visible(shlex.join(words))}"
    yield "  To give it more, before the `--`:  --read PATH, --write PATH, --connect HOST"


def _mounts(command: ServerCommand) -> str:
    """List the files that a container's own options give it."""
    try:
        mounted = command.mounts
    except PipeGuardError as error:
        return f"PipeGuard cannot tell what it mounts: {error}"
    listed = visible(", ".join(mounted))
    return f"Its command mounts {listed}." if mounted else "It mounts no file of yours."


def hardening(container: Hardened) -> str:
    """Describe what is added to a container's options."""
    said = " ".join(map(visible, container.added))
    text = f"Isolated, it is started with: {said}" if said else "Its words leave nothing open."
    opened = "\nIts command gives it a network: PipeGuard does not judge its connections."
    return text + opened * container.is_open
