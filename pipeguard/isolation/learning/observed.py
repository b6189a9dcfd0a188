"""Observations of the last run of a server that learned, and the file that stores them.

Bounded: a server that opens a million files fills no disk; that more was seen is noted.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

from pipeguard.config.atomic_write import replace_file
from pipeguard.errors import StateError
from pipeguard.state.paths import existing_state_folder, state_folder

FOLDER = "learned"
SUFFIX = ".json"
MAX_FILES = 20_000
MAX_FILE_BYTES = 32 * 1024 * 1024
MAX_PATH_CHARS = 1000  # as JSON, so that the most files have room in the most bytes
MAX_NAME_CHARS = 200  # in the name of a file, which has at most 255 bytes
READ, LISTED, WRITTEN = "read", "listed", "written"
_RANKS = {READ: 0, LISTED: 1, WRITTEN: 2}


@dataclass(slots=True)
class Observed:
    """The resources that a server used, beyond those of every isolated server.

    Attributes:
        last: when they were saved, in seconds since 1970.
        package: the server's package, as `npm:NAME`; empty if it has none.
        files: paths, each with its strongest use: READ, LISTED (a folder) or WRITTEN.
        hosts: hosts it connected to, as the policy writes them.
        loopback: ports of this machine that it connected to.
        is_cut: True if some observations did not fit.
    """

    last: int = 0
    package: str = ""
    files: dict[str, str] = field(default_factory=dict)
    hosts: list[str] = field(default_factory=list)
    loopback: list[int] = field(default_factory=list)
    is_cut: bool = False

    def add_file(self, path: str, use: str) -> None:
        """Note a file."""
        known = self.files.get(path)
        is_long = max(len(path), len(json.dumps(path))) > MAX_PATH_CHARS
        if known is None and (len(self.files) >= MAX_FILES or is_long):
            self.is_cut = True
        elif known is None or _RANKS[use] > _RANKS[known]:
            self.files[path] = use

    def check(self) -> None:
        """Check every field: the file may contain other values.

        Raises:
            ValueError: PipeGuard did not write this.
        """
        kinds = (self.package, str), (self.files, dict), (self.hosts, list), (self.loopback, list)
        texts = (*self.hosts, *self.files)
        numbers = (self.last, *self.loopback)
        if not (
            all(type(each) is kind for each, kind in kinds)
            and all(type(each) is str for each in texts)
            and all(type(each) is int for each in numbers)
            and all(path[:1] == "/" and use in _RANKS for path, use in self.files.items())
        ):
            raise ValueError("another program's file")


def learned_names() -> Iterator[str]:
    """The servers with stored observations."""
    folder = existing_state_folder()
    if folder is None:
        return
    for path in sorted((folder / FOLDER).glob(f"*{SUFFIX}")):
        yield unquote(path.name.removesuffix(SUFFIX))


def load(name: str) -> Observed | None:
    """The observations of a server; None if there are none.

    Raises:
        StateError: the file cannot be read, or PipeGuard did not write it.
    """
    path = _path(name)
    try:
        with path.open("rb") as file:
            observed = Observed(**json.loads(file.read(MAX_FILE_BYTES)))
        observed.check()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError, AttributeError):
        raise StateError(
            f"{path} was changed, or is of another version. Remove it, and learn again: pipeguard"
            f" isolate forget {name}"
        ) from None
    return observed


def save(name: str, observed: Observed) -> None:
    """Replace the observations of the previous run by those of this one.

    Raises:
        StateError: it cannot be written.
    """
    path = _path(name)
    observed.last = int(time.time())
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        replace_file(path, (json.dumps(asdict(observed)) + "\n").encode())
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error.strerror}.") from None


def forget(name: str) -> None:
    """Remove a server's observations, if there are any."""
    _path(name).unlink(missing_ok=True)


def _path(name: str) -> Path:
    text = quote(name, safe="")
    if len(text) > MAX_NAME_CHARS or text.startswith("."):
        raise StateError(
            f"{name!r} is not a valid name for learning. Give the server another: --name"
        )
    return Path(state_folder()) / FOLDER / f"{text}{SUFFIX}"
