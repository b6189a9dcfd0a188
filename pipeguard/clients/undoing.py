"""Undoes setup's change of one file: byte for byte if possible, else entry by entry.

First, if the file is as setup left it, its backup is restored. Otherwise each entry whose text is
as setup left it gets its old text back, and servers that moved behind the gateway replace its
entry; the rest is not touched. Then every entry that is still guarded gets its open fields from the
guard's own words; one that was guarded before setup changed the file stays guarded, unless
everything must go. Any other entry that starts PipeGuard is left and reported.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from pipeguard.clients import edit, files, gateway_entry, guarding
from pipeguard.clients.entries import Config, Keys, ServerEntry, parse_config
from pipeguard.clients.history import GatewayMove, Record, records
from pipeguard.clients.machine import Machine
from pipeguard.clients.rewrite import open_fields
from pipeguard.clients.setting import with_bom
from pipeguard.config.tree import Edit, UneditableError, UnreadableError, apply_edits, regions

_BY_HAND = "its command starts PipeGuard, and no record says what it was: change it by hand"


class UndoMethod(Enum):
    """The way in which an entry was restored."""

    EXACT = "exact"  # the whole file, byte for byte
    SPLICED = "spliced"  # its own text, character for character
    BY_MEANING = "by meaning"  # its command or address; the formatting may differ
    LEFT = "left"  # not restored


class UndoneEntry(NamedTuple):
    """A restored entry, or one that was left.

    Attributes:
        name: the server's name in the client.
        method: how it was restored.
        why: a remark for people, or the obstacle.
    """

    name: str
    method: UndoMethod
    why: str = ""


class UndoPlan(NamedTuple):
    """The planned undoing of one file.

    Attributes:
        config: the file as it was read.
        content: its new content; None if there is nothing to do.
        undone: the restored entries.
        used: the records to delete afterwards.
        problem: why it must not be changed.
        kept: the names of entries that were guarded before setup changed the file, and stay so.
    """

    config: Config
    content: bytes | None = None
    undone: tuple[UndoneEntry, ...] = ()
    used: tuple[Record, ...] = ()
    problem: str = ""
    kept: frozenset[str] = frozenset()


def plan_undo(
    config: Config, machine: Machine, names: Collection[str] = (), *, everything: bool = False
) -> UndoPlan:
    """Plan to undo setup's changes of a file.

    Args:
        config: the file.
        machine: the machine of the file.
        names: the servers to undo; without any, all.
        everything: undo servers that were guarded before setup changed the file, too.
    """
    remaining = records(config.path)
    kept = frozenset[str]()
    if remaining and not (names or everything):
        first = parse_config(config.path, config.specs, remaining[-1].backup())
        kept = frozenset(server.name for server in first.servers if server.guard)
    steps = _Steps(config, names, kept)
    if not names:
        remaining = steps.restore_file(remaining)
    restored = steps.content
    steps.splice(remaining)
    steps.rewrite(remaining)
    if steps.content != restored:
        steps.edit_restored()
    if not steps.undone:
        return UndoPlan(config, problem=config.problem if steps.is_guarded() else "")
    content = steps.content if steps.content != config.content else None
    problem = steps.problem
    if content is not None:
        try:
            files.target(config.path, machine)
        except files.FileError as error:
            problem = str(error)
    return UndoPlan(config, content, tuple(steps.undone.values()), tuple(steps.used), problem, kept)


def undo(planned: UndoPlan, machine: Machine) -> None:
    """Carry out a plan.

    Raises:
        FileError: the file changed in the meantime, or cannot be written; nothing was changed.
    """
    if planned.content is not None:
        real = files.target(planned.config.path, machine)
        with files.lock_client(real, planned.config.lock):
            files.replace(real, planned.content, planned.config.digest)
    for record in planned.used:
        record.forget()


class _Steps:
    """The file's content, which the steps of undoing change."""

    def __init__(
        self, config: Config, names: Collection[str], left_guarded: frozenset[str]
    ) -> None:
        self.config = config
        self.content = config.content
        self.undone: dict[Keys, UndoneEntry] = {}
        self.used: list[Record] = []
        self.problem = ""
        self._names = names
        self._kept = left_guarded

    def restore_file(self, newest_first: Sequence[Record]) -> list[Record]:
        """Restore backups while the file is as a change left it; return the remaining records."""
        remaining = list(newest_first)
        while remaining:
            digest = hashlib.sha256(self.content).hexdigest()
            record = remaining[0]
            if digest == record.after_sha256:
                self.content = record.backup()
                self._note(record.entries, UndoMethod.EXACT)
            elif digest != record.before_sha256:  # else it was never written, or is undone already
                break
            self.used.append(remaining.pop(0))
        return remaining

    def edit_restored(self) -> None:
        """Note that the file is not the backup: only the entries have their old texts."""
        for path, undone in self.undone.items():
            if undone.method is UndoMethod.EXACT:
                self.undone[path] = UndoneEntry(undone.name, UndoMethod.SPLICED)

    def splice(self, newest_first: Sequence[Record]) -> None:
        """Give each entry its old text back if its text is still as a change left it."""
        for record in newest_first:
            config = self._parse()
            if config.problem:
                self.problem = config.problem
                return
            if record.move:
                self._put_back(config, record, record.move)
                continue
            tree = config.tree()
            edits = []
            for entry in record.entries:
                keys = entry.path[:-1]  # in a list it may have moved
                alike = (s for s in config.servers if s.name == entry.name and s.path[:-1] == keys)
                server = next(alike, None)
                if server is None or not self._is_wanted(server):
                    continue
                if edit.pieces(tree, server.path, config.text) == entry.after:
                    spans = regions(tree, server.path, config.text)
                    texts = entry.before
                    edits += [
                        Edit(span.start, span.end, text)
                        for span, text in zip(spans, texts, strict=True)
                    ]
                    self._note([server], UndoMethod.SPLICED)
            self.content = with_bom(apply_edits(config.text, edits), self.content)

    def rewrite(self, newest_first: Sequence[Record]) -> None:
        """Open the entries that are still guarded; leave others that start PipeGuard."""
        config = self._parse()
        if config.problem:
            return
        others = [server for server in config.servers if server.name not in self._kept]
        wanted = [server for server in others if self._is_wanted(server)]
        self._open(config, [server for server in wanted if server.guard])
        for server in wanted:
            if server.guard is None and guarding.runs_pipeguard(server.words):
                self.undone.setdefault(
                    server.path, UndoneEntry(server.name, UndoMethod.LEFT, _BY_HAND)
                )
        guarded = (item.name for item in self._parse().servers if item.guard)
        names = set(guarded) - self._kept
        for record in newest_first:
            if record.move is None and not names & {entry.name for entry in record.entries}:
                self.used.append(record)

    def _open(self, config: Config, guarded: Sequence[ServerEntry]) -> None:
        """Give entries their open fields: all at once, or else each by itself."""
        if not guarded:
            return
        syntax = config.specs[0].syntax
        wanted = [(server, open_fields(server)) for server in guarded]
        try:
            text, _ = edit.edit_entries(config.text, syntax, wanted)
        except UnreadableError as error:
            self.problem = str(error)
            return
        except UneditableError as error:
            if len(guarded) == 1:
                self._note(guarded, UndoMethod.LEFT, str(error))
                return
            half = len(guarded) // 2
            for part in (guarded[:half], guarded[half:]):
                now = self._parse()
                paths = {server.path for server in part}
                self._open(now, [server for server in now.servers if server.path in paths])
            return
        self.content = with_bom(text, self.content)
        why = "its formatting may differ from what it was"
        self._note(guarded, UndoMethod.BY_MEANING, why)

    def is_guarded(self) -> bool:
        """True if a file that cannot be parsed seems to have guarded entries."""
        return bool(self.config.problem) and b"pipeguard" in self.config.content

    def _put_back(self, config: Config, record: Record, move: GatewayMove) -> None:
        """Put servers back from behind the gateway, and remove the gateway's entry."""
        if self._names:
            wanted = [entry for entry in record.entries if entry.name in self._names]
            self._note(
                wanted, UndoMethod.LEFT, "it is behind the gateway with others: leave out --server"
            )
            return
        before = parse_config(config.path, config.specs, record.backup())
        changes = {entry.path: entry for entry in record.entries}
        try:
            text, names_taken = gateway_entry.put_back(config, before, changes, move.entry)
        except (UneditableError, UnreadableError) as error:
            self._note(record.entries, UndoMethod.LEFT, f"{error} Its text is in {record.folder}")
            return
        self.content = with_bom(text, self.content)
        self.used.append(record)
        self._note(record.entries, UndoMethod.SPLICED)
        others = [entry for entry in record.entries if entry.name in names_taken]
        self._note(others, UndoMethod.LEFT, "the client has another server of this name now")

    def _note(
        self, entries: Iterable[edit.EntryChange | ServerEntry], method: UndoMethod, why: str = ""
    ) -> None:
        for entry in entries:
            self.undone[entry.path] = UndoneEntry(entry.name, method, why)

    def _parse(self) -> Config:
        return parse_config(self.config.path, self.config.specs, self.content)

    def _is_wanted(self, server: ServerEntry) -> bool:
        return not self._names or server.name in self._names
