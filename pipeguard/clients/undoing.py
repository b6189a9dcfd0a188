"""One file from guarded to what it was: byte for byte if it can be, else entry for entry.

In this order: where the file is what setup left, its backup comes back. Else each entry whose text
is what setup left gets its old text back, and nothing else is touched. Else an entry that is still
guarded is taken out of its guard by its meaning. What is none of these is left, and said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum

from pipeguard.clients import files
from pipeguard.clients.edit import edited, pieces, regions
from pipeguard.clients.entries import Config, Keys, ServerEntry, parse_config
from pipeguard.clients.history import ChangedEntry, Record, records
from pipeguard.clients.machine import Machine
from pipeguard.clients.rewrite import open_fields
from pipeguard.clients.setting import with_bom
from pipeguard.clients.tree import Edit, UneditableError, UnreadableError, applied


class UndoMethod(Enum):
    """How an entry came back."""

    EXACT = "exact"  # the whole file, byte for byte
    SPLICED = "spliced"  # its own text, character for character
    BY_MEANING = "by meaning"  # its command or address; the formatting may differ
    LEFT = "left"  # it could not be


@dataclass(frozen=True, slots=True)
class Undone:
    """One entry.

    Attributes:
        name: as the client calls it.
        how: how it came back.
        why: what there is to say about it.
    """

    name: str
    how: UndoMethod
    why: str = ""


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """What undoing would do to one file.

    Attributes:
        config: the file as it was read.
        content: what it would hold; None where nothing is to be done.
        undone: the entries.
        used: the records that are of no use afterwards.
        problem: why nothing in it may be changed.
    """

    config: Config
    content: bytes | None = None
    undone: tuple[Undone, ...] = ()
    used: tuple[Record, ...] = ()
    problem: str = ""


def plan_undo(config: Config, machine: Machine, names: Collection[str] = ()) -> UndoPlan:
    """Say what undoing would do to a file, of the servers of these names or of all."""
    known = records(config.path)
    steps = _Steps(config, names)
    if not names:
        known = steps.exact(known)
    if not steps.is_whole:
        steps.spliced(known)
        steps.by_meaning(known)
    if not steps.undone:
        return UndoPlan(config, problem=config.problem if steps.is_guarded() else "")
    content = steps.content if steps.content != config.content else None
    problem = steps.problem
    if content is not None:
        try:
            files.target(config.path, machine)
        except files.FileError as error:
            problem = str(error)
    return UndoPlan(config, content, tuple(steps.undone.values()), tuple(steps.used), problem)


def undo(planned: UndoPlan, machine: Machine) -> None:
    """Write what was planned.

    Raises:
        FileError: the file changed in the meantime, or cannot be written; nothing was changed.
    """
    if planned.content is not None:
        real = files.target(planned.config.path, machine)
        lock = next((spec.lock for spec in planned.config.specs if spec.lock), "")
        with files.locked(real, lock):
            files.replace(real, planned.content, planned.config.digest)
    for record in planned.used:
        record.forget()


class _Steps:
    """The file's content on its way back."""

    def __init__(self, config: Config, names: Collection[str]) -> None:
        self.config = config
        self.content = config.content
        self.undone: dict[Keys, Undone] = {}
        self.used: list[Record] = []
        self.is_whole = False
        self.problem = ""
        self._names = names

    def exact(self, known: Sequence[Record]) -> list[Record]:
        """Back through every change whose result the file is; what is left of the records."""
        left = list(known)
        while left:
            digest = hashlib.sha256(self.content).hexdigest()
            record = left[0]
            if digest == record.after_sha256:
                self.content = record.backup()
                for entry in record.entries:
                    self.undone[entry.change.path] = Undone(entry.name, UndoMethod.EXACT)
            elif digest != record.before_sha256:  # else it was never written, or is undone already
                break
            self.used.append(left.pop(0))
        self.is_whole = not left and bool(self.used)
        return left

    def spliced(self, known: Sequence[Record]) -> None:
        """Every entry whose text is what a change made of it gets its old text back."""
        for record in known:
            config = self._parsed()
            if config.problem:
                self.problem = config.problem
                return
            tree, edits = config.tree(), []
            for entry in record.entries:
                server = self._server(config, entry)
                if server is None or not self._is_wanted(server):
                    continue
                if pieces(tree, server.path, config.text) == entry.change.after:
                    spans = regions(tree, server.path, config.text)
                    texts = entry.change.before
                    edits += [
                        Edit(span.start, span.end, text)
                        for span, text in zip(spans, texts, strict=True)
                    ]
                    self.undone[server.path] = Undone(server.name, UndoMethod.SPLICED)
            self.content = with_bom(applied(config.text, edits), self.content)

    def by_meaning(self, known: Sequence[Record]) -> None:
        """What is guarded still, by us or, where nothing is known of the file, by anybody."""
        config = self._parsed()
        if config.problem:
            return
        ours = {entry.name for record in known for entry in record.entries}
        for server in config.servers:
            if server.guard is None or not self._is_wanted(server) or server.path in self.undone:
                continue
            if known and server.name not in ours and not self._names:
                continue
            try:
                now = self._parsed()
                same = next(one for one in now.servers if one.path == server.path)
                syntax = now.specs[0].syntax
                result = edited(now.text, syntax, [(same, open_fields(same))])
                self.content = with_bom(result.text, self.content)
                why = "its formatting may differ from what it was"
                self.undone[server.path] = Undone(server.name, UndoMethod.BY_MEANING, why)
            except (UneditableError, UnreadableError) as error:
                self.undone[server.path] = Undone(server.name, UndoMethod.LEFT, str(error))
        guarded = {one.name for one in self._parsed().servers if one.guard is not None}
        for record in known:
            if not guarded & {entry.name for entry in record.entries}:
                self.used.append(record)

    def is_guarded(self) -> bool:
        """Whether the file seems to hold guarded entries, although it cannot be read."""
        return bool(self.config.problem) and b"pipeguard" in self.config.content

    def _parsed(self) -> Config:
        return parse_config(self.config.path, self.config.specs, self.content)

    def _is_wanted(self, server: ServerEntry) -> bool:
        return not self._names or server.name in self._names

    def _server(self, config: Config, entry: ChangedEntry) -> ServerEntry | None:
        """The entry as it stands now: a list's may have moved."""
        keys = entry.change.path[:-1]
        return next(
            (s for s in config.servers if s.name == entry.name and s.path[:-1] == keys), None
        )
