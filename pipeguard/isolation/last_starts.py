"""What isolated servers were given when each was started last, by name, in the state folder."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from pipeguard.config.atomic_write import replace_file
from pipeguard.errors import StateError
from pipeguard.isolation.extent import GIVEN, Extent, Given
from pipeguard.isolation.profile import ResourceLimits
from pipeguard.state.paths import existing_state_folder, state_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER, SUFFIX = "isolated", ".json"
VERSION = 1
MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_NAME_CHARS = 200  # as a file's name, with what is quoted in it


class LastStart(NamedTuple):
    """One start.

    Attributes:
        seconds: since 1970.
        extent: what the server was given; hosts and ports as they were changed while it ran.
        changed: when they were last, since 1970; 0 where they never were.
    """

    seconds: int
    extent: Extent
    changed: int = 0


def started_names() -> Iterator[str]:
    """The servers that were started isolated."""
    folder = existing_state_folder()
    if folder is not None:
        for path in sorted((folder / FOLDER).glob(f"*{SUFFIX}")):
            yield unquote(path.name.removesuffix(SUFFIX))


def load(name: str) -> LastStart | None:
    """The last start of a server; None where none was written, or not by this version."""
    folder, file_name = existing_state_folder(), _file_name(name)
    if folder is None or not file_name:
        return None
    try:
        with (folder / FOLDER / file_name).open("rb") as file:
            fields = json.loads(file.read(MAX_FILE_BYTES))
        return _parsed(fields) if fields["version"] == VERSION else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def save(name: str, extent: Extent) -> LastStart:
    """Write what a server is given that starts now.

    Raises:
        StateError: it cannot be written.
    """
    start = LastStart(int(time.time()), extent)
    _write(name, start)
    return start


def save_change(name: str, start: LastStart, extent: Extent) -> LastStart:
    """Write what a server is given now that runs, unless it was started again since, elsewhere.

    Args:
        name: of the server.
        start: as it was written last.
        extent: what it is given now.

    Raises:
        StateError: it cannot be written.
    """
    if load(name) != start:
        return start
    changed = LastStart(start.seconds, extent, int(time.time()))
    _write(name, changed)
    return changed


def _write(name: str, start: LastStart) -> None:
    file_name = _file_name(name)
    if not file_name:
        return
    path = Path(state_folder()) / FOLDER / file_name
    content = {"version": VERSION, **start._asdict(), "extent": start.extent.fields()}
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        replace_file(path, (json.dumps(content) + "\n").encode())
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error.strerror}.") from None


def forget(name: str) -> bool:
    """Remove what was written of a server; False where nothing was."""
    folder, file_name = existing_state_folder(), _file_name(name)
    with suppress(FileNotFoundError):
        if folder is not None and file_name:
            (folder / FOLDER / file_name).unlink()
            return True
    return False


def _file_name(name: str) -> str:
    """The name of a file; empty for a name that is too long for one."""
    text = quote(name, safe="")
    return "" if len(text) > MAX_NAME_CHARS or text.startswith(".") else f"{text}{SUFFIX}"


def _parsed(fields: dict[str, object]) -> LastStart:
    extent = fields["extent"]
    if not isinstance(extent, dict):
        raise TypeError("another type")
    values = {
        name: tuple(value) if isinstance(value, list) else value for name, value in extent.items()
    }
    for name in GIVEN:
        values[name] = tuple(Given(str(each["what"]), str(each["why"])) for each in values[name])
    values["limits"] = ResourceLimits(**extent["limits"])
    whole = Extent._make(values[name] for name in Extent._fields)
    return LastStart(int(str(fields["seconds"])), whole, int(str(fields.get("changed", 0))))
