"""Check of clients' files: the guards in them must start, and unguarded servers are counted."""

import shlex
from collections.abc import Iterable, Iterator

from pipeguard.clients.catalog import ConfigScope
from pipeguard.clients.entries import GuardState, ServerEntry, read_config
from pipeguard.clients.guarding import SHARED_LAUNCHER, gateway_launcher
from pipeguard.clients.machine import Machine, find
from pipeguard.clients.rewrite import GuardOptions
from pipeguard.clients.setting import plan
from pipeguard.doctor.diagnosis import Diagnosis, InstallationCheck, good, note, wrong
from pipeguard.doctor.installation import read_version
from pipeguard.unicode.display import pluralize
from pipeguard.version import VERSION


def clients(machine: Machine) -> Iterable[Diagnosis]:
    """Check that the guards in clients' files start, and count the unguarded servers."""
    from pipeguard.auth.store import has_login
    from pipeguard.gateway.discovery import describe_mistakes

    configs = [read_config(file) for file in find(machine)]
    options = GuardOptions(is_logged_in=has_login)
    plans = [plan(config, machine, SHARED_LAUNCHER, options) for config in configs]
    servers = [judged for each in plans for judged in each.servers]
    judged = [(each.server, each.state) for each in servers]
    for config in configs:
        if config.problem:
            yield note(f"{config.path}: {config.problem}", "Fix the file in its client.")
    if mistakes := describe_mistakes():
        yield wrong(mistakes, "pipeguard serve --check")
    for server, _ in judged:
        if server.guard is not None and server.guard.is_stale:
            gone = f"is started by {server.guard.launcher[0]}, which does not exist"
            yield wrong(f"{server.name} in {server.file} {gone}", _guarding(server, machine))
    yield from _starting([server for server, state in judged if state is GuardState.GUARDED])
    count = {state: sum(other is state for _, other in judged) for state in GuardState}
    files = sum(bool(config.servers) for config in configs)
    summary = f"{pluralize(len(judged), 'server')} in {pluralize(files, 'file')}"
    is_open = count[GuardState.OPEN]
    cannot = count[GuardState.CANNOT]
    if is_open or cannot:
        parts = f"{is_open} not guarded, {cannot} that cannot be guarded"
        yield note(f"{summary}: {parts}", "pipeguard setup")
    elif not count[GuardState.STALE]:
        yield good(f"{summary}, all guarded" if judged else "no server in any client's file")


CHECKS = (InstallationCheck("clients", "clients", clients, waits="reading the files of clients"),)


def _guarding(server: ServerEntry, machine: Machine) -> str:
    """The command that writes today's launcher into a file."""
    words = ["pipeguard", "setup", server.client, "--server", server.name, "--yes"]
    if server.scope is ConfigScope.PROJECT:
        words += ["--scope", "project", "--project", str(machine.project)]
    return shlex.join(words)


def _starting(servers: Iterable[ServerEntry]) -> Iterator[Diagnosis]:
    """Find launchers of servers that do not start, or are of another version.

    Only launchers in the user's own files are run, never one that a repository names.
    """
    by_launcher: dict[tuple[str, ...], list[ServerEntry]] = {}
    for server in servers:
        guard = server.guard
        launcher = guard.launcher if guard else gateway_launcher(server.words)
        if launcher and server.scope is not ConfigScope.PROJECT:
            by_launcher.setdefault(launcher, []).append(server)
    for launcher, guarded in by_launcher.items():
        version = read_version(launcher)
        names = ", ".join(sorted({server.name for server in guarded}))
        what = f"{shlex.join(launcher)}, which guards {names},"
        if not version:
            yield wrong(f"{what} does not start", f"{shlex.join(launcher)} --version")
        elif version != VERSION:
            yield note(f"{what} is version {version}; this is {VERSION}", "pipeguard setup")
