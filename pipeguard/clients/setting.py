"""One file from open to guarded: what would be done, shown first, and then just that.

`plan` reads and decides; `carry_out` writes what was planned, if the file is still the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeguard.clients import files, history
from pipeguard.clients.catalog import ConfigScope, client
from pipeguard.clients.edit import EntryChange, edited
from pipeguard.clients.entries import Config, GuardState, ServerEntry
from pipeguard.clients.guarding import SHARED_LAUNCHER
from pipeguard.clients.machine import Machine, managed_by
from pipeguard.clients.reading import BOM
from pipeguard.clients.rewrite import Judgement, Wishes, guarded_fields, judge
from pipeguard.clients.sharing import is_shared
from pipeguard.clients.tree import UneditableError

_TO_DO = (GuardState.OPEN, GuardState.STALE)
SHARED_FILE = "shared-file"  # why a server is not guarded: git has its file


@dataclass(frozen=True, slots=True)
class Standing:
    """How one server stands.

    Attributes:
        server: the entry.
        judgement: whether it is guarded, or can be.
        chosen: it is one of those that a person asked for.
    """

    server: ServerEntry
    judgement: Judgement
    chosen: bool = True

    @property
    def is_to_do(self) -> bool:
        """Whether it would be guarded now."""
        return self.chosen and self.judgement.state in _TO_DO


@dataclass(frozen=True, slots=True)
class ChangePlan:
    """What would be done to one file.

    Attributes:
        config: the file as it was read.
        standings: every server in it.
        content: what it would hold; None where nothing is to be done.
        changes: the entries that would change, as text, with their names.
        problem: why nothing in it may be changed.
    """

    config: Config
    standings: tuple[Standing, ...]
    content: bytes | None = None
    changes: tuple[tuple[str, EntryChange], ...] = ()
    problem: str = ""


def plan(config: Config, machine: Machine, launcher: Sequence[str], wishes: Wishes) -> ChangePlan:
    """Say how each server in a file stands, and what the file would hold with them guarded.

    Args:
        config: the file, read.
        machine: whose it is.
        launcher: the words that start PipeGuard.
        wishes: which servers, and what is allowed.
    """
    problem = config.problem or _forbidden(config, machine)
    if not problem and config.servers:
        try:
            files.target(config.path, machine)
        except files.FileError as error:
            problem = str(error)
    wishes = replace(wishes, off=wishes.off or bool(wishes.names))
    in_git = _is_in_git(config, machine)
    blocked = in_git and not wishes.shared
    standings = tuple(_standing(server, wishes, blocked=blocked) for server in config.servers)
    to_do = [one.server for one in standings if one.is_to_do]
    if problem or not to_do:
        return ChangePlan(config, standings, problem=problem)
    words = SHARED_LAUNCHER if in_git else tuple(launcher)
    return _planned(config, standings, to_do, words)


def carry_out(planned: ChangePlan, machine: Machine) -> history.Record | None:
    """Write what was planned, and keep what it takes to undo it.

    Raises:
        FileError: the file changed in the meantime, or cannot be written; nothing was changed.
        StateError: what it takes to undo it cannot be kept; nothing was changed.
    """
    content, config = planned.content, planned.config
    if content is None:
        return None
    real = files.target(config.path, machine)
    with files.locked(real, next((spec.lock for spec in config.specs if spec.lock), "")):
        if files.sha256(real) != config.digest:
            raise files.FileError("it changed in the meantime; nothing was written. Run it again.")
        entries = [history.ChangedEntry(name, change) for name, change in planned.changes]
        record = history.remember(
            config.specs[0].client, config.path, config.content, content, entries
        )
        try:
            files.replace(real, content, config.digest)
        except files.FileError:
            if files.sha256(real) != hashlib.sha256(content).hexdigest():
                record.forget()
            raise
    return record


def with_bom(text: str, like: bytes) -> bytes:
    """A text as bytes, with a byte order mark where the old ones have it."""
    return ((BOM if like.startswith(BOM.encode()) else "") + text).encode()


def _planned(
    config: Config,
    standings: Sequence[Standing],
    to_do: Sequence[ServerEntry],
    words: Sequence[str],
) -> ChangePlan:
    """All at once; where that cannot be, each that can be by itself."""
    syntax = config.specs[0].syntax
    wanted = [(server, guarded_fields(server, words)) for server in to_do]
    problems: dict[int, str] = {}
    try:
        result = edited(config.text, syntax, wanted)
    except UneditableError:
        possible = []
        for server, new in wanted:
            try:
                edited(config.text, syntax, [(server, new)])
                possible.append((server, new))
            except UneditableError as error:
                problems[id(server)] = str(error)
        wanted = possible
        result = edited(config.text, syntax, wanted)
    told = tuple(
        replace(one, judgement=Judgement(GuardState.CANNOT, "odd", problems[id(one.server)]))
        if id(one.server) in problems
        else one
        for one in standings
    )
    if not wanted:
        return ChangePlan(config, told)
    names = [server.name for server, _ in wanted]
    changes = tuple(zip(names, result.changes, strict=True))
    return ChangePlan(config, told, with_bom(result.text, config.content), changes)


def _standing(server: ServerEntry, wishes: Wishes, *, blocked: bool) -> Standing:
    judgement = judge(server, wishes)
    if blocked and judgement.state in _TO_DO and server.scope is ConfigScope.PROJECT:
        why = (
            "git has its file, and a path of this machine is wrong on others; --shared writes "
            "`pipeguard` alone, which everybody who has the repository must then install"
        )
        judgement = Judgement(GuardState.CANNOT, SHARED_FILE, why)
    named = not wishes.names or server.name in wishes.names
    return Standing(server, judgement, named and server.scope in wishes.scopes)


def _is_in_git(config: Config, machine: Machine) -> bool:
    return any(spec.scope is ConfigScope.PROJECT for spec in config.specs) and is_shared(
        config.path, machine
    )


def _forbidden(config: Config, machine: Machine) -> str:
    for spec in config.specs:
        managed: Path | None = managed_by(machine, client(spec.client))
        if managed:
            return (
                f"{managed} takes the servers over: whoever manages this machine must guard them."
            )
    return ""
