"""Targets on a disk: a file, or a folder with one file for each day of rows (UTC).

A line is a row. The part of a line that an exporter left when it was killed is cut off. A file that
is a link, or that no export began, is not changed.
"""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import suppress
from io import FileIO
from itertools import groupby
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING

from pipeguard.config.atomic_write import OWNER_ONLY, flush_folder, is_full, lock_file
from pipeguard.errors import InputError, StateError
from pipeguard.state.audit import COLUMNS, AuditEntry, parse_findings
from pipeguard.state.export.targets import TargetAwayError
from pipeguard.state.search import csv_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeguard.state.export.targets import ExportedRow

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_HEADER = f"id,{COLUMNS.replace(' ', '')}\n".encode()


class FileTarget:
    """A file or a folder.

    Args:
        to: its path; one that ends in a slash is a folder, which is created.
        form: `jsonl` or `csv`.

    Raises:
        InputError: it cannot be written, or it has other contents.
    """

    def __init__(self, to: str, form: str) -> None:
        self._form = form
        self._path = Path(os.path.abspath(to))
        self._is_folder = to.endswith(("/", os.sep)) or os.path.isdir(to)
        try:
            if not self._is_folder:
                self._append(self._path, ())
                return
            self._path.mkdir(0o700, exist_ok=True)
            if not os.access(self._path, os.W_OK | os.X_OK):
                raise InputError(f"{self._path} cannot be written: you have no permission.")
        except OSError as error:
            if not is_full(error):
                raise InputError(f"{self._path} cannot be written: {error.strerror}.") from None

    def __str__(self) -> str:
        return f"{self._form} {self._path}"

    def send(self, rows: Sequence[ExportedRow]) -> None:
        """Append rows to their files, and wait until the disk has them.

        Raises:
            InputError: a file has other contents.
            TargetAwayError: a file could not be written.
        """
        for path, group in groupby(rows, self._find_file):
            try:
                self._append(path, group)
            except OSError as error:
                raise TargetAwayError(f"{path} cannot be written: {error.strerror}.") from error

    def _find_file(self, row: ExportedRow) -> Path:
        if not self._is_folder:
            return self._path
        day = row["time"][:10]
        return self._path / f"{day if _DAY.fullmatch(day) else 'no-date'}.{self._form}"

    def _write(self, row: ExportedRow) -> str:
        if self._form == "csv":
            return csv_line(row.values())
        findings = row["findings"]
        with suppress(StateError):  # PipeGuard did not write them
            findings = parse_findings(AuditEntry("", findings=findings))
        return json.dumps({**row, "findings": findings}, separators=(",", ":"))

    def _append(self, path: Path, rows: Iterable[ExportedRow]) -> None:
        """Append rows to a file, all or none."""
        header = _HEADER if self._form == "csv" else b""
        content = "".join(f"{self._write(row)}\n" for row in rows).encode()
        with FileIO(os.fspath(path), "a+", opener=_open_own) as file:
            if sys.platform != "win32":  # there a lock keeps readers out
                lock_file(file.fileno())  # another exporter may write to it
            end = _cut_torn_line(file, path, header or b'{"id":"')
            try:
                _write_all(file, content if end else header + content)
            except OSError:
                with suppress(OSError):
                    file.truncate(end)
                raise
        if not end:
            flush_folder(path.parent)


def _open_own(path: str, flags: int) -> int:
    """Open a file that is no link; only its owner may read a new one."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), OWNER_ONLY)


def _cut_torn_line(file: FileIO, path: Path, start: bytes) -> int:
    """Cut off the part of a line at a file's end, and return the new end.

    Raises:
        InputError: the file does not begin as an export does.
    """
    size = file.seek(0, os.SEEK_END)
    if not size:
        return 0
    with mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        if not start.startswith(content[: len(start)]):
            raise InputError(f"{path} has other contents than such an export.")
        end = content.rfind(b"\n") + 1
    if end < size:
        file.truncate(end)
    return end


def _write_all(file: FileIO, data: bytes) -> None:
    """Write to the disk."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
    os.fsync(file.fileno())
