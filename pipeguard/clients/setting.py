"""Guards the servers of one file: plans a change that can be shown, then makes exactly that.

`plan` reads and decides; `carry_out` writes the plan, if the file is still the same.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeguard.clients import catalog, files, guarding, history, reading
from pipeguard.clients.edit import EntryChange, edit_entries
from pipeguard.clients.entries import (
    MAX_ENTRIES_CHARS,
    MAX_FILE_BYTES,
    Config,
    GuardState,
    Keys,
    ServerEntry,
    parse_config,
)
from pipeguard.clients.machine import Machine, is_in_repository, managing_file
from pipeguard.clients.rewrite import (
    NOT_ISOLATED,
    TO_DO,
    GuardOptions,
    JudgedServer,
    guarded_fields,
    is_to_isolate,
    judge,
)
from pipeguard.config.tree import UneditableError
from pipeguard.identity.launch import parse
from pipeguard.identity.server_name import identify_server
from pipeguard.identity.words import distinguishing_words

OWN_GUARD = "own-guard"  # the code of a guarded server that could move behind the gateway
SHARED_FILE = "shared-file"  # the code of a server in a file of a repository


class ChangePlan(NamedTuple):
    """The planned change of one file.

    Attributes:
        config: the file as it was read.
        servers: every server in it.
        content: its new content; None if there is nothing to do.
        changes: the entries that would change, as text.
        problem: why it must not be changed.
        move: the move behind the gateway; None if each server gets a guard of its own.
        is_shared: its guards start `pipeguard` from the PATH, by no path of this machine.
    """

    config: Config
    servers: tuple[JudgedServer, ...]
    content: bytes | None = None
    changes: tuple[EntryChange, ...] = ()
    problem: str = ""
    move: history.GatewayMove | None = None
    is_shared: bool = False

    @property
    def open_count(self) -> int:
        """The number of servers that it would guard or move."""
        return sum(server.is_to_do for server in self.servers)


def find_gone(server: ServerEntry) -> str:
    """Return the path of a server's own program if the entry gives one and it is missing."""
    program = next(iter(server.own_words), "")
    return program if Path(program).is_absolute() and not Path(program).exists() else ""


def plan(
    config: Config, machine: Machine, launcher: Sequence[str], options: GuardOptions
) -> ChangePlan:
    """Judge each server in a file, and plan the file's content with the chosen ones guarded.

    Args:
        config: the file, read.
        machine: the user's machine.
        launcher: the words that start PipeGuard.
        options: the servers to guard, and the permitted changes.
    """
    problem = refusal(config, machine)
    is_project = any(spec.scope is catalog.ConfigScope.PROJECT for spec in config.specs)
    in_git = is_project and is_in_repository(config.path)
    is_held = in_git and not options.shared
    servers = tuple(_judge(server, options, is_held=is_held) for server in config.servers)
    if problem or not any(server.is_to_do for server in servers):
        return ChangePlan(config, servers, problem=problem)
    words = guarding.SHARED_LAUNCHER if in_git else tuple(launcher)
    return _plan(config, servers, words)._replace(is_shared=in_git)


def refusal(config: Config, machine: Machine) -> str:
    """Explain why a file must not be changed; empty if it may be."""
    problem = config.problem or _forbidden(config, machine)
    if not problem and config.servers:
        try:
            files.target(config.path, machine)
        except files.FileError as error:
            problem = str(error)
    return problem


def plan_all(
    configs: Sequence[Config],
    machine: Machine,
    launcher: Sequence[str],
    options: GuardOptions,
    everywhere: Iterable[Config],
) -> list[ChangePlan]:
    """Plan the content of several files, so that no two different servers share pins.

    Args:
        configs: the files, read.
        machine: the user's machine.
        launcher: the words that start PipeGuard.
        options: the servers to guard, and the permitted changes.
        everywhere: the files of all clients, whose guarded servers have their names already.
    """
    plans = [plan(config, machine, launcher, options) for config in configs]
    if names := _distinct_names(plans, everywhere):
        options = options._replace(renamed=names)
        plans = [plan(config, machine, launcher, options) for config in configs]
    return plans


def describe_sharing(name: str) -> str:
    """Explain that an entry shares its pins with a different one, and which name to give it."""
    other = "another entry, which starts it with other arguments"
    return f"shares its pins with {other}: write --name {name} in this one"


def _distinct_names(
    plans: Iterable[ChangePlan], everywhere: Iterable[Config]
) -> dict[tuple[Path, Keys], str]:
    """Choose names for servers whose name is already used with other arguments.

    They include servers that can only be guarded in a copy.
    """
    present = [server for config in everywhere for server in config.servers if server.guard]
    judged = [each for plan in plans for each in plan.servers]
    copied = [each.server for each in judged if each.code == SHARED_FILE]
    to_do = [*(each.server for each in judged if each.is_to_do), *copied]
    used: dict[str, tuple[str, list[str]]] = {}
    names = {}
    for server in (*present, *(server for server in to_do if server.guard is None)):
        if not server.own_words:
            continue
        name = server.guard.name if server.guard else server.name
        name = name or identify_server(server.own_words).name
        startup = _startup(server)
        first = used.setdefault(name, startup)
        if startup == first or not _is_alike(startup[0], first[0], server):
            continue  # another server gets digits in the store
        own = f"{name}-{server.client}"
        candidates = (own, *(f"{own}-{number}" for number in range(2, len(used) + 3)))
        name = next(name for name in candidates if used.get(name, startup) == startup)
        used[name] = startup
        names[server.file, server.path] = name
    return names


def _is_alike(identity: str, other: str, server: ServerEntry) -> bool:
    """True for the same server, or an entry of the same program with other arguments."""
    programs = (each.split("\n")[:2] for each in (identity, other))
    return identity == other or (server.guard is None and next(programs) == next(programs))


def _startup(server: ServerEntry) -> tuple[str, list[str]]:
    """Identify the server that an entry starts, and the arguments that may change its offer."""
    folder = server.cwd or "/"
    launch = parse(server.own_words, folder)
    identity = identify_server(server.own_words, server.cwd or None).identity
    return identity, distinguishing_words(launch.rest, launch.folder)


def carry_out(planned: ChangePlan, machine: Machine) -> history.Record | None:
    """Record how to undo a plan, then carry it out.

    Raises:
        FileError: the file changed in the meantime, or cannot be written; nothing was changed.
        StateError: the record cannot be written; nothing was changed.
    """
    content = planned.content
    config = planned.config
    if content is None:
        return None
    real = files.target(config.path, machine)
    with files.lock_client(real, config.lock):
        record = history.remember(
            config.specs[0].client,
            config.path,
            (config.content, content),
            planned.changes,
            planned.move,
        )
        try:
            files.replace(real, content, config.digest)
        except files.FileError:
            if files.sha256(real) != hashlib.sha256(content).hexdigest():
                record.forget()
            raise
    return record


def with_bom(text: str, like: bytes) -> bytes:
    """Encode a text, with a byte order mark if the old content has one."""
    return ((reading.BOM if like.startswith(reading.BOM.encode()) else "") + text).encode()


def _plan(config: Config, servers: Sequence[JudgedServer], words: Sequence[str]) -> ChangePlan:
    """Plan to guard all servers that can be: together, or else each by itself."""
    syntax = config.specs[0].syntax
    wanted = [
        (item.server, guarded_fields(item.server, words, isolate=item.isolates, name=item.renamed))
        for item in servers
        if item.is_to_do
    ]
    problems = {}
    try:
        text, changes = edit_entries(config.text, syntax, wanted)
    except UneditableError:
        possible = []
        for server, new in wanted:
            try:
                edit_entries(config.text, syntax, [(server, new)])
                possible.append((server, new))
            except UneditableError as error:
                problems[id(server)] = str(error)
        text, changes = edit_entries(config.text, syntax, possible)
    judged = tuple(
        item._replace(state=GuardState.CANNOT, code="odd", why=problems[id(item.server)])
        if id(item.server) in problems
        else item
        for item in servers
    )
    if not changes:
        return ChangePlan(config, judged)
    content = with_bom(text, config.content)
    if problem := _find_excess(config, content):
        return ChangePlan(config, judged, problem=problem)
    return ChangePlan(config, judged, content, changes)


def _find_excess(config: Config, content: bytes) -> str:
    """Explain why a guarded file would be too large to read and undo; empty if it is not."""
    if len(content) <= MAX_ENTRIES_CHARS:
        return ""
    is_small = len(content) <= MAX_FILE_BYTES
    if is_small and not parse_config(config.path, config.specs, content).problem:
        return ""
    return "with these servers guarded it would be too large to read: choose some by --server NAME."


def _judge(server: ServerEntry, options: GuardOptions, *, is_held: bool) -> JudgedServer:
    judged = judge(server, options)
    if is_held and judged.state in TO_DO and server.scope is catalog.ConfigScope.PROJECT:
        why = (
            "its file is in a repository, so others may get the change: `pipeguard setup --isolate"
            " --shared` makes it"
            if judged.code == NOT_ISOLATED
            else "its file is in a repository, and a path from this machine won't work on others:"
            " `pipeguard setup --shared` writes the word `pipeguard`, which all who have the"
            " repository must install"
        )
        judged = JudgedServer(server, GuardState.CANNOT, SHARED_FILE, why)
    named = not options.names or server.name in options.names
    return judged._replace(
        chosen=named and server.scope in options.scopes,
        isolates=judged.state in TO_DO and is_to_isolate(server, options),
        renamed=options.renamed.get((server.file, server.path), ""),
    )


def _forbidden(config: Config, machine: Machine) -> str:
    for spec in config.specs:
        managed = managing_file(machine, catalog.client(spec.client))
        if managed:
            return f"{managed} replaces its servers: whoever manages this machine must guard them."
    return ""
