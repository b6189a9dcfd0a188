"""The place of a target in the audit: a file for each cursor, which one exporter uses at a time."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.config.atomic_write import lock_file, open_file, replace_file
from pipeguard.config.directories import read
from pipeguard.errors import InputError, PipeGuardError, StateError
from pipeguard.state.paths import state_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_BYTES = 64 * 1024  # of a cursor
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class ExportPlace(NamedTuple):
    """The last row that a target acknowledged.

    Attributes:
        target: of the rows, with their format.
        number: of the row in the store; 0 before the first.
        uid: the row's name, as `RUN/7`.
        digest: the row's hash, which no row of another store has.
    """

    target: str
    number: int = 0
    uid: str = ""
    digest: str = ""


class ExportCursor:
    """The place of one exporter, kept in a file.

    Attributes:
        place: as it was written last.
    """

    def __init__(self, path: Path, target: str) -> None:
        self._path = path
        self.place = ExportPlace(target)
        for draft in path.parent.glob(f".{path.name}.*.new"):  # of an exporter that was killed
            draft.unlink()
        if path.exists():
            content, _ = read(str(path), MAX_BYTES, StateError)
            try:
                self.place = ExportPlace(**json.loads(content))
                self.place.number.to_bytes(8)  # as the store has them
            except (TypeError, ValueError, AttributeError, OverflowError, RecursionError):
                raise StateError(
                    f"the cursor {path} is damaged. Without it, all rows are exported again."
                ) from None

    def move(self, place: ExportPlace) -> None:
        """Write a place to the disk.

        Raises:
            PipeGuardError: the file could not be written; it has the place before.
        """
        try:
            replace_file(self._path, json.dumps(place._asdict()).encode())
        except OSError as error:
            raise PipeGuardError(f"{self._path} cannot be written: {error.strerror}.") from error
        self.place = place


@contextmanager
def open_cursor(name: str, target: str) -> Iterator[ExportCursor]:
    """Read a cursor, and keep other exporters from it.

    Args:
        name: the cursor's name.
        target: of the rows, with their format.

    Raises:
        InputError: the name cannot be one, or the cursor is of another target.
        PipeGuardError: another exporter uses it, or it cannot be locked.
        StateError: its file cannot be read.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is no cursor's name: letters, digits, - and _, at most 64.")
    path = state_folder() / f"export-{name}.json"
    try:
        descriptor = open_file(path.with_suffix(".lock"))
        lock_file(descriptor, waits=False)
    except OSError as error:
        raise PipeGuardError(f"the cursor {name} is not free: {error.strerror}.") from None
    with open(descriptor):
        cursor = ExportCursor(path, target)
        if cursor.place.target != target:
            raise InputError(f"the cursor {name} is of another target: {cursor.place.target}.")
        yield cursor
