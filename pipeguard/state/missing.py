"""Verdicts that a run could not write, noted next to the store until a row can say so.

A store that is locked, full or damaged takes no row, and the run may end before it takes one again.
So the run leaves a small file that says how many verdicts are missing, and the next to write to the
store puts a row in its place. A full disk stores no file content, but a symbolic link of less than
60 bytes, which is part of its inode (ext4, tmpfs, XFS): its target says the same without the
server. Knows files, not the verdicts.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pipeguard.firewall.finding import Action, Finding
from pipeguard.records import NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from pipeguard.state.audit import AuditEntry

SUFFIX = ".missing"
MAX_FILES = 100  # read at a time
MAX_BYTES = 4096  # of one file
TEXT_CHARS = 200  # of each text in it
SECOND_CHARS = len("2026-11-27T09:00:00")  # of a time, in a link
STALE_SECONDS = 10.0  # a live run rewrites its file each second; the run of an older one was killed


REPLACED = (
    "the store was removed or replaced while it was in use: what this run had written before is not"
    " in it"
)


class MissingVerdicts(NamedTuple):
    """The number of a run's verdicts that are not in the audit.

    Attributes:
        run: the name of its chain.
        server: the server's name; empty if it had no room.
        verdicts: how many are missing.
        since: when the store could not be written for the first time (ISO 8601, UTC).
        until: when it could not be written for the last time (ISO 8601, UTC).
        is_over: True if the run has ended.
    """

    run: str
    server: str
    verdicts: int
    since: str
    until: str
    is_over: bool

    def sentence(self) -> str:
        """The loss in a sentence for people."""
        of_server = f" of {self.server}" if self.server else ""
        return (
            f"verdicts missing of the run {self.run}{of_server}: {self.verdicts}; the store could"
            f" not be written from {self.since} to {self.until}"
        )


def gap_entry(note: str, when: str, event: str = "") -> AuditEntry:
    """An entry of the audit that replaces missing ones."""
    from pipeguard.state.audit import AuditEntry, findings_json

    findings = findings_json((Finding("audit.gap", "audit", action=Action.WARN, note=note),))
    return AuditEntry(when, kind="gap", action="warn", event=event, findings=findings)


def write_note(store: Path | str, missing: MissingVerdicts) -> bool:
    """Write a run's file next to the store, replacing its last one; False if that fails."""
    from pipeguard.config.atomic_write import replace_file

    path = f"{store}.{missing.run}{SUFFIX}"
    try:
        replace_file(path, json.dumps(missing._asdict()).encode("ascii"))
    except OSError:
        return _write_link(path, missing)
    return True


def _write_link(path: str, missing: MissingVerdicts) -> bool:
    """Write the file as a link, for a disk without room; False if that fails."""
    times = (moment[:SECOND_CHARS] for moment in (missing.since, missing.until))
    draft = f"{path}.new"
    with suppress(OSError):
        with suppress(FileNotFoundError):
            os.unlink(draft)
        os.symlink(" ".join((str(missing.verdicts), *times, str(int(missing.is_over)))), draft)
        os.replace(draft, path)
        return True
    return False


def remove_note(store: Path | str, run: str) -> None:
    """Remove a run's file, because no verdict is missing or a row reports the loss."""
    with suppress(OSError):
        os.unlink(f"{store}.{run}{SUFFIX}")


def read_notes(store: Path | str) -> list[MissingVerdicts]:
    """The files of runs that have ended or were killed."""
    folder, name = os.path.split(store)
    notes = []
    with suppress(OSError):
        files = sorted(os.listdir(folder or "."))
        ours = [file for file in files if file.startswith(f"{name}.") and file.endswith(SUFFIX)]
        for file in ours[:MAX_FILES]:
            missing = _read(os.path.join(folder, file), file[len(name) + 1 : -len(SUFFIX)])
            if missing is not None:
                notes.append(missing)
    return notes


def _read(path: str, run: str) -> MissingVerdicts | None:
    """The file of a finished run; None for any other file, and while the run continues."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        if os.path.islink(path):
            age_seconds = time.time() - os.lstat(path).st_mtime
            count, since, until, ended = os.readlink(path)[:MAX_BYTES].split(" ")
            missing = MissingVerdicts(run, "", int(count), since, until, ended == "1")
        else:
            with os.fdopen(os.open(path, flags), "rb") as file:
                age_seconds = time.time() - os.fstat(file.fileno()).st_mtime
                fields = json.loads(file.read(MAX_BYTES))
            server, since, until = (
                str(fields[name])[:TEXT_CHARS] for name in ("server", "since", "until")
            )
            missing = MissingVerdicts(
                run, server, int(fields["verdicts"]), since, until, fields["is_over"] is True
            )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return missing if missing.is_over or age_seconds > STALE_SECONDS else None
