"""The folder of records: who may write there, a file for each session, and what each one holds.

Removes old records and no other files: the folder may have some.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from pipeguard.config.directories import other_writer
from pipeguard.config.policy_file import DAY_SECONDS, RecordSettings
from pipeguard.errors import PolicyError
from pipeguard.identity.server_name import clean_name
from pipeguard.state.record.lines import Fields, RecordError, is_record, read_lines


class RecordFolder(RecordSettings):
    """A folder of records."""

    def open(self) -> None:
        """Make the folder if it is missing, and check that only this user can write there.

        Raises:
            PolicyError: another user can, or this one cannot.
        """
        try:
            os.makedirs(self.path, 0o700, exist_ok=True)
            TemporaryFile(dir=self.path).close()
        except OSError as error:
            raise PolicyError(f"{self.path} cannot have records: {error.strerror}.") from None
        if who := other_writer(os.stat(self.path)):
            raise PolicyError(f"{who} may write to {self.path}, so nothing is recorded there.")

    def create(self, name: str, run: str) -> str:
        """Create the file of a record, empty; return its path.

        Args:
            name: of the server, or the gateway.
            run: names the session, or the process, whose records are then numbered.

        Raises:
            OSError: it cannot be created.
        """
        stem = f"{self.path}/{clean_name(name)}-{run}"
        path, number = f"{stem}.jsonl", 1
        while os.path.lexists(path):
            number += 1
            path = f"{stem}-{number}.jsonl"
        Path(path).touch(0o600, exist_ok=False)
        return path

    def prune(self, now: float) -> None:
        """Remove records that are too old, and then the oldest beyond the folder's size.

        Another start may do so at the same time.

        Args:
            now: in seconds since 1970.
        """
        oldest = now - self.keep_days * DAY_SECONDS if self.keep_days else 0
        left_bytes = self.total_bytes
        with suppress(OSError):
            records = filter(is_record, list_records([self.path]))
            for path in sorted(records, key=os.path.getmtime, reverse=True):
                left_bytes -= os.path.getsize(path)
                if left_bytes < 0 or os.path.getmtime(path) < oldest:
                    path.unlink()


def list_records(paths: Iterable[str]) -> list[Path]:
    """The files at paths, and those in the folders among them that are named as records are."""
    return [
        record
        for path in map(Path, paths)
        for record in sorted(path.glob("*.jsonl")) or [path]  # a file has none below it
    ]


def summarise(path: Path) -> Fields:
    """Read a record to its end, or to the first line that was changed.

    Returns:
        The path of the `record`, when it `started`, how many `frames` it has and how many were
        `lost`, and its `end`. Without one `frames` is None, and `end` a reason.
    """
    merged = Fields(end="it has no end")
    try:
        for _, line in read_lines(path):
            merged |= line
    except RecordError as error:
        merged |= {"frames": None, "end": str(error)}
    names = "started", "frames", "lost", "end"
    return {"record": str(path)} | {name: merged.get(name) for name in names}
