"""Records of what setup changed, so that it can be undone exactly: a folder for each change.

They are in the state folder, never next to the file: a client's file may contain secrets, and the
files next to it may be synchronised or committed to git. Each folder has the whole file as it was,
and a record of the changed entries. No folder is written twice.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pipeguard.clients.edit import EntryChange
from pipeguard.clients.entries import Keys
from pipeguard.config.atomic_write import replace_file
from pipeguard.errors import StateError
from pipeguard.state.paths import existing_state_folder, state_folder
from pipeguard.version import VERSION

FOLDER = "setup"
_RECORD = "record.json"
_BACKUP = "before"


class MovedServer(NamedTuple):
    """A server that moved behind the gateway.

    Attributes:
        entry: its name in the client.
        name: its name in the gateway's file.
        text: its text there, as setup wrote it; empty if the file had it before.
    """

    entry: str
    name: str
    text: str


class GatewayMove(NamedTuple):
    """Servers that a change moved behind the gateway.

    Attributes:
        entry: the path of the gateway's own entry; None if the client had one before.
        file: the gateway's file of servers.
        frame: the text around its servers, as setup wrote it; empty if the file had servers before.
    """

    entry: Keys | None
    file: Path
    frame: str = ""
    servers: tuple[MovedServer, ...] = ()


class Record(NamedTuple):
    """One change of one file.

    Attributes:
        client: the id of the client whose file it is.
        file: the file's path in the client.
        before_sha256: the hash of the file before.
        after_sha256: the hash of the file after.
        entries: the changed entries; those that moved behind the gateway have no text after.
        move: the servers that moved behind the gateway, if any.
    """

    folder: Path
    client: str
    file: Path
    before_sha256: str
    after_sha256: str
    entries: tuple[EntryChange, ...]
    move: GatewayMove | None = None

    def backup(self) -> bytes:
        """The whole file as it was.

        Raises:
            StateError: it cannot be read, or was changed.
        """
        try:
            content = (self.folder / _BACKUP).read_bytes()
        except OSError as error:
            raise StateError(f"{self.folder} cannot be read: {error.strerror}.") from None
        if hashlib.sha256(content).hexdigest() != self.before_sha256:
            raise StateError(f"{self.folder / _BACKUP} was changed since setup wrote it.")
        return content

    def forget(self) -> None:
        """Remove this record and its backup."""
        shutil.rmtree(self.folder, ignore_errors=True)


def remember(
    client: str,
    file: Path,
    contents: tuple[bytes, bytes],
    entries: Sequence[EntryChange],
    move: GatewayMove | None = None,
) -> Record:
    """Record a file before it is changed.

    Args:
        client: the id of the client whose file it is.
        file: its path.
        contents: the file before and after.
        entries: the entries that change.
        move: the servers that move behind the gateway.

    Raises:
        StateError: the record could not be written. Change nothing.
    """
    before, after = contents
    digest = hashlib.sha256(os.fsencode(file)).hexdigest()[:8]
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    try:
        top = state_folder() / FOLDER
        top.mkdir(mode=0o700, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{stamp}-{client}-{digest}-", dir=top))
        record = Record(
            folder,
            client,
            file,
            hashlib.sha256(before).hexdigest(),
            hashlib.sha256(after).hexdigest(),
            tuple(entries),
            move,
        )
        replace_file(folder / _BACKUP, before)
        replace_file(folder / _RECORD, json.dumps(_fields(record), indent=1, default=str).encode())
    except OSError as error:
        raise StateError(
            f"a backup cannot be written to the state folder: {error.strerror}."
        ) from None
    return record


def records(file: Path | None = None) -> list[Record]:
    """The records of one file or of all, the newest first; unreadable ones are skipped."""
    state = existing_state_folder()
    newest_first: list[Record] = []
    if state is None:
        return newest_first
    real = None if file is None else os.path.realpath(file)
    for folder in sorted((state / FOLDER).glob("*/"), reverse=True):
        record = _read(folder)
        if record and real in (None, os.path.realpath(record.file)):
            newest_first.append(record)
    return newest_first


def _fields(record: Record) -> dict[str, object]:
    fields: dict[str, object] = {"pipeguard": VERSION, **record._asdict()}
    del fields["folder"], fields["move"]
    fields["entries"] = [entry._asdict() for entry in record.entries]
    if record.move:
        fields["gateway"] = record.move._asdict()
    return fields


def _move(data: Mapping[str, Any] | None) -> GatewayMove | None:
    if data is None:
        return None
    entry = None if data["entry"] is None else tuple(data["entry"])
    servers = tuple(MovedServer(*map(str, parts)) for parts in data["servers"])
    return GatewayMove(entry, Path(data["file"]), str(data["frame"]), servers)


def _read(folder: Path) -> Record | None:
    try:
        data = json.loads((folder / _RECORD).read_bytes())
        return Record(
            folder,
            data["client"],
            Path(data["file"]),
            data["before_sha256"],
            data["after_sha256"],
            tuple(_entries(data["entries"])),
            _move(data.get("gateway")),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _entries(data: Sequence[dict[str, Any]]) -> Iterator[EntryChange]:
    for fields in data:
        keys, before, after = (fields[name] for name in ("path", "before", "after"))
        if not all(isinstance(each, list) for each in (keys, before, after)):
            raise TypeError("a record in another form")
        yield EntryChange(str(fields["name"]), tuple(keys), tuple(before), tuple(after))
