"""Observations of a server from all runs that learned, and the file that stores them.

Bounded: a server that opens a million files fills no disk; that more was seen is noted.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, unquote

from pipeguard.config.atomic_write import replace_file
from pipeguard.errors import StateError
from pipeguard.state.paths import existing_state_folder, state_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = "learned"
SUFFIX = ".json"
VERSION = 1
MAX_FILES, MAX_HOSTS = 20_000, 1_000
MAX_FILE_BYTES = 32 * 1024 * 1024
MAX_PATH_CHARS = 1000  # as JSON, so that the most files have room in the most bytes
MAX_NAME_CHARS = 200  # in the name of a file, where 255 bytes are the most
READ, LISTED, WRITTEN = "read", "listed", "written"
_T = TypeVar("_T")
_RANKS = {READ: 0, LISTED: 1, WRITTEN: 2}


@dataclass(slots=True)
class Observed:
    """The resources that a server used, beyond those of every isolated server.

    Attributes:
        runs: how many added to it.
        last: when the last one ended, in seconds since 1970.
        package: that it is, as `npm:NAME`; empty where it is none.
        files: paths, each with the most that was done: READ, LISTED (a folder) or WRITTEN.
        hosts: ports by host name, or by address where no name was seen.
        private: of these names those that led into a private network.
        names: that it asked for, whether it connected then or not.
        loopback: ports of this machine that it connected to.
        bound: ports that it listened at itself.
        sockets: paths of Unix sockets that it connected to.
        is_cut: whether more was seen than there is room for.
    """

    runs: int = 0
    last: int = 0
    package: str = ""
    files: dict[str, str] = field(default_factory=dict)
    hosts: dict[str, set[int]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    loopback: set[int] = field(default_factory=set)
    bound: set[int] = field(default_factory=set)
    sockets: set[str] = field(default_factory=set)
    is_cut: bool = False
    private: set[str] = field(default_factory=set)

    def add_file(self, path: str, use: str) -> None:
        """Take note of a file."""
        known = self.files.get(path)
        if known is None and (len(self.files) >= MAX_FILES or _is_long(path)):
            self.is_cut = True
        elif known is None or _RANKS[use] > _RANKS[known]:
            self.files[path] = use

    def add_host(self, host: str, port: int) -> None:
        """Take note of a connection."""
        if host in self.hosts or len(self.hosts) < MAX_HOSTS:
            self.hosts.setdefault(host, set()).add(port)
        else:
            self.is_cut = True

    def add_socket(self, path: str) -> None:
        """Take note of a connection to a Unix socket."""
        if len(self.sockets) < MAX_HOSTS:
            self.sockets.add(path)
        else:
            self.is_cut = True

    def add(self, other: Observed) -> None:
        """Take note of all that another has; its runs count too."""
        self.runs += other.runs
        self.last = max(self.last, other.last)
        self.package = other.package or self.package
        for path, use in other.files.items():
            self.add_file(path, use)
        for host, ports in other.hosts.items():
            for port in ports:
                self.add_host(host, port)
        self.private |= other.private & self.hosts.keys()
        self.names |= other.names
        self.is_cut = self.is_cut or len(self.names) > MAX_HOSTS
        self.names = set(sorted(self.names)[:MAX_HOSTS])
        self.loopback |= other.loopback
        self.bound |= other.bound
        for path in other.sockets - self.sockets:
            self.add_socket(path)
        self.is_cut = self.is_cut or other.is_cut


def _is_long(path: str) -> bool:
    """True if a path is longer in the file than we write down."""
    return len(path) > MAX_PATH_CHARS or len(json.dumps(path)) > MAX_PATH_CHARS


def learned_names() -> Iterator[str]:
    """The servers of which something was learned."""
    folder = existing_state_folder()
    if folder is None:
        return
    for path in sorted((folder / FOLDER).glob(f"*{SUFFIX}")):
        yield unquote(path.name.removesuffix(SUFFIX))


def load(name: str) -> Observed | None:
    """The observations of a server; None where there are none.

    Raises:
        StateError: the file cannot be read, or is none of ours.
    """
    path = _path(name)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        return _parse_fields(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StateError(
            f"{path} was changed by something else. Remove it, and learn again: pipeguard"
            f" isolate forget {name}"
        ) from None


def save_more(name: str, observed: Observed) -> None:
    """Add what one run saw to what is there.

    Raises:
        StateError: it cannot be read or written.
    """
    with _alone():
        known = load(name) or Observed()
        known.add(observed)
        known.last = int(time.time())
        path = _path(name)
        try:
            replace_file(path, (json.dumps(_fields(known)) + "\n").encode())
        except OSError as error:
            raise StateError(f"{path} cannot be written: {error.strerror}.") from None


def forget(name: str) -> bool:
    """Remove what was learned of a server; False where nothing was."""
    try:
        _path(name).unlink()
    except FileNotFoundError:
        return False
    return True


class _alone:  # noqa: N801  reads as what it is, in a with statement
    """One process at a time: two runs that end together add up."""

    def __enter__(self) -> None:
        import fcntl

        folder = state_folder() / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        self._file = (folder / ".lock").open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _path(name: str) -> Path:
    text = quote(name, safe="")
    if len(text) > MAX_NAME_CHARS or text.startswith("."):
        raise StateError(
            f"{name!r} is not a valid name for learning. Give the server another: --name"
        )
    return Path(state_folder()) / FOLDER / f"{text}{SUFFIX}"


def _fields(observed: Observed) -> dict[str, object]:
    return {
        "version": VERSION,
        "runs": observed.runs,
        "last": observed.last,
        "package": observed.package,
        "files": observed.files,
        "hosts": {host: sorted(ports) for host, ports in observed.hosts.items()},
        "private": sorted(observed.private),
        "names": sorted(observed.names),
        "loopback": sorted(observed.loopback),
        "bound": sorted(observed.bound),
        "sockets": sorted(observed.sockets),
        "cut": observed.is_cut,
    }


def _parse_fields(fields: dict[str, object]) -> Observed:
    if fields["version"] != VERSION:
        raise ValueError("another version")
    observed = Observed(int(_is(fields["runs"], int)), int(_is(fields["last"], int)))
    observed.package = _is(fields["package"], str)
    for path, use in _is(fields["files"], dict).items():
        if use not in _RANKS or not path.startswith("/"):
            raise ValueError("no file")
        observed.add_file(path, use)
    for host, ports in _is(fields["hosts"], dict).items():
        for port in ports:
            observed.add_host(host, _is(port, int))
    observed.private = {_is(name, str) for name in _is(fields.get("private", []), list)}
    observed.names = {_is(name, str) for name in _is(fields["names"], list)}
    observed.loopback = {_is(port, int) for port in _is(fields["loopback"], list)}
    observed.bound = {_is(port, int) for port in _is(fields["bound"], list)}
    observed.sockets = {_is(path, str) for path in _is(fields["sockets"], list)}
    observed.is_cut = _is(fields["cut"], bool)
    return observed


def _is(value: object, kind: type[_T]) -> _T:
    if not isinstance(value, kind):
        raise TypeError("another type")
    return value
