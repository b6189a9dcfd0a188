"""The files of the cache: their form, who may have written them, how to read and remove them.

::

    rules-KEY.compiled   a set of rules, compiled: a head, the rules' records in JSON, and the
                         databases, each named by a hash of its sources
    clean-KEY.names      hashes of texts in which these rules found nothing in earlier runs
    key-STATE.hash       the key of the files in a state (rulebook.cache_key)

A compiled database is much like code. So a file is used only if it is a regular file of ours that
nobody else may write, in a folder that only we may write. The head of the rules is read when the
file is opened and each part when it is needed, so that the file may be replaced or removed in
between. A file is written whole and put in place by a rename.

Files compiled by the package's build have the same form. They are part of the package, and trusted
like its code and its packs: they may also be root's.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from functools import cached_property
from hashlib import sha256
from itertools import accumulate
from threading import Lock
from typing import TYPE_CHECKING
from zlib import crc32

from pipeguard.config.atomic_write import replace_file
from pipeguard.config.directories import Trusted, other_writer
from pipeguard.errors import EngineError
from pipeguard.records import NamedTuple
from pipeguard.rulebook.packs import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAGIC = b"pipeguard compiled rules 13 "
HASH_BYTES = 32  # of a key, a state, or the name of a text
MOST_NAMES = 4096  # in a file; a run adds at most as many
MOST_FILES = 4  # one for each version, engine and set of rules in use at once
MAX_HEAD_BYTES = 2**16
MAX_NAMES_BYTES = 2 * MOST_NAMES * HASH_BYTES
_SUFFIX = ".compiled"
COMPILED_PATTERN = f"rules-*{_SUFFIX}"


class EngineParts(NamedTuple):
    """The databases of one engine, by their numbers.

    Attributes:
        surfaces: all surfaces of its rules.
        plain: databases for texts as they are.
        squeezed: databases for texts without spaces.
        acts: databases for the effects of arguments.
        opener: name and SHA-256 of the shipped opener's file; empty if there is none.
    """

    surfaces: Sequence[str]
    plain: Sequence[int]
    squeezed: Sequence[int]
    acts: Sequence[int]
    opener: Sequence[str]


def serialize(
    key: bytes, rules: bytes, databases: Sequence[tuple[str, bytes]], engines: Sequence[EngineParts]
) -> bytes:
    """Build the content of a file of compiled rules.

    Args:
        key: of the compiled rules (rulebook.cache_key).
        rules: their records.
        databases: each with a hash of its sources.
        engines: the databases of each.
    """
    named = [("", rules), *databases]
    parts = [(name, len(content), crc32(content)) for name, content in named]
    head = _head_line(json.dumps((key.hex(), parts, engines), separators=(",", ":")).encode())
    return b"".join((head, *(content for _, content in named)))


def _head_line(head: bytes) -> bytes:
    return MAGIC + sha256(head).hexdigest().encode() + head + b"\n"


class CompiledRules:
    """Compiled rules, whose parts are read when they are needed.

    Attributes:
        key: of the compiled rules.
        engines: the databases of each engine.
    """

    def __init__(self, read: Callable[[int, int], bytes], path: str = "") -> None:
        """Read the head.

        Args:
            read: returns as many bytes from an offset of the file, or fewer at its end.
            path: of the file, which is removed once it is found to be damaged; empty to keep it.

        Raises:
            OSError: it is damaged, or of another version.
        """
        line, end, _ = read(0, MAX_HEAD_BYTES).partition(b"\n")
        head = line[len(MAGIC) + 2 * sha256().digest_size :]
        if line + end != _head_line(head):
            raise OSError("of another version, or damaged")
        key, self._parts, engines = json.loads(head)
        self.key = bytes.fromhex(key)
        self.engines = [EngineParts(*engine) for engine in engines]
        self._starts = [*accumulate((size for _, size, _ in self._parts), initial=len(line) + 1)]
        self._read = read
        self._path = path

    def find_database(self, name: str) -> bytes | None:
        """The database whose sources have this hash; None if there is none that is whole."""
        with suppress(EngineError):
            for number, (other, _, _) in enumerate(self._parts):
                if other == name:
                    return self.part(number)
        return None

    def part(self, number: int) -> bytes:
        """Read a part: 0 is the records of the rules, and each other a database.

        Raises:
            EngineError: it is damaged.
        """
        _, size, checksum = self._parts[number]
        with suppress(OSError):
            content = self._read(self._starts[number], size)
            if len(content) == size and crc32(content) == checksum:
                return content
        if self._path:
            with suppress(OSError):
                os.unlink(self._path)
        raise EngineError("the compiled rules are damaged, so nothing can be judged.")


def open_compiled(folder: str, key: bytes) -> CompiledRules:
    """Open the compiled rules in a folder.

    Args:
        folder: of the cache, or in the package.
        key: of the compiled rules.

    Raises:
        OSError: they are not there, are damaged, or somebody else could have written them.
    """
    compiled = _open(folder, file_name(key))
    if compiled.key != key:
        raise OSError("of other rules")
    return compiled


def open_all(folders: Sequence[str]) -> list[CompiledRules]:
    """All trusted compiled rules, in folders and shipped."""
    from glob import glob  # here, because no usual start needs it

    found = []
    for folder in (shipped_folder(), *folders):
        for path in glob(COMPILED_PATTERN, root_dir=folder):
            with suppress(OSError):
                found.append(_open(folder, path))
    return found


def _open(folder: str, name: str) -> CompiledRules:
    is_shipped = folder == shipped_folder()
    trusted = Trusted.ANY_GROUP if is_shipped else Trusted.ONLY_US
    path = "" if is_shipped else os.path.join(folder, name)
    return CompiledRules(_TrustedFile(folder, name, trusted).read, path)


def shipped_folder() -> str:
    """The folder of the files compiled by the package's build; it need not exist."""
    return os.path.join(PACKAGE, "databases")


def file_name(key: bytes) -> str:
    """The name of the file of compiled rules."""
    return f"rules-{key.hex()[:16]}{_SUFFIX}"


def make_folder(folder: str) -> None:
    """Make the folder if it does not exist.

    Raises:
        OSError: it cannot be made, or somebody else could write to it.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if os.name == "posix":
        os.close(_open_trusted(folder, stat.S_IFDIR, Trusted.ONLY_US))


def put(folder: str, name: str, content: bytes) -> None:
    """Write a file whole, or not at all; remove the oldest of its kind.

    A caller that writes rules holds the lock of the folder, and also removes abandoned drafts.

    Raises:
        OSError: it cannot be written, or another file cannot be removed.
    """
    make_folder(folder)
    replace_file(os.path.join(folder, name), content)
    prefix = name.partition("-")[0]
    listed = os.listdir(folder)
    for draft in listed if prefix == "rules" else ():
        if draft.startswith((".rules-", ".clean-")):  # of a killed process
            os.unlink(os.path.join(folder, draft))
    others = [other for other in listed if other.startswith(f"{prefix}-") and other != name]
    others.sort(key=lambda other: os.lstat(os.path.join(folder, other)).st_mtime, reverse=True)
    for other in others[MOST_FILES - 1 :]:
        os.unlink(os.path.join(folder, other))


class CleanNames:
    """Names of texts in which compiled rules found nothing, in this run and in earlier ones.

    They are trusted as the rules are: whoever can write them could also write compiled rules that
    find nothing. Once a rule, a module, an engine or Python changes, no name counts.

    Attributes:
        new: the names that this run has added.
    """

    def __init__(self, folder: str, key: bytes) -> None:
        """Store the folder of the cache and the state of what reads texts; read nothing yet."""
        self._folder, self._key = folder, key
        self._file_name = f"clean-{key.hex()}.names"
        self.new: dict[bytes, None] = {}

    @cached_property
    def _old(self) -> dict[bytes, None]:
        return self._read()

    def _read(self) -> dict[bytes, None]:
        content = read_trusted(self._folder, self._file_name, MAX_NAMES_BYTES)
        if len(content) % HASH_BYTES:
            return {}
        starts = range(0, len(content), HASH_BYTES)
        return dict.fromkeys(content[start : start + HASH_BYTES] for start in starts)

    def __bool__(self) -> bool:
        """True if there are any names."""
        return bool(self.new or self._old)

    def __contains__(self, name: bytes) -> bool:
        """True for the name of a clean text."""
        return name in self._old or name in self.new

    def add(self, name: bytes) -> None:
        """Add a name for later runs."""
        if len(self.new) < MOST_NAMES and name not in self._old:
            self.new[name] = None

    def save(self) -> None:
        """Write the names, merged with those that other runs wrote; drop the oldest if need be.

        Raises:
            OSError: they cannot be written.
        """
        if not self.new or not self._key:
            return
        names = [*(self._read() | self.new)][-MOST_NAMES:]
        put(self._folder, self._file_name, b"".join(names))


def read_trusted(folder: str, name: str, size: int) -> bytes:
    """Read up to `size` bytes of a file of the cache; empty if others could have written it."""
    with suppress(OSError):
        return _TrustedFile(folder, name, Trusted.ONLY_US).read(0, size)
    return b""


class _TrustedFile:
    """A file that only trusted users could have written; closed with its last reference.

    It is not mapped: Hyperscan takes nothing but a copy, and a mapped file that is cut short ends
    the process (SIGBUS).
    """

    def __init__(self, folder: str, name: str, trusted: Trusted) -> None:
        """Open a file in a folder, after checking both.

        Raises:
            OSError: one cannot be opened, or somebody else could have written it.
        """
        self._lock = Lock()
        if os.name != "posix":  # there the access list of the user's own folder keeps others out
            flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
            self._descriptor = os.open(os.path.join(folder, name), flags)
            return
        parent = _open_trusted(folder, stat.S_IFDIR, trusted)
        try:
            self._descriptor = _open_trusted(name, stat.S_IFREG, trusted, parent)
        finally:
            os.close(parent)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if hasattr(self, "_descriptor"):
            close(self._descriptor)  # at shutdown `os` may be gone

    def read(self, offset: int, size: int) -> bytes:
        """Read up to `size` bytes from an offset.

        Raises:
            OSError: it cannot be read.
        """
        with self._lock, open(self._descriptor, "rb", buffering=0, closefd=False) as file:
            file.seek(offset)
            return file.read(size) or b""


def _open_trusted(path: str, kind: int, trusted: Trusted, parent: int | None = None) -> int:
    """Open a file or folder that only trusted users could have written.

    Raises:
        OSError: it cannot be opened, is of another kind, or somebody else could have written it.
    """
    no_link = 0 if parent is None else os.O_NOFOLLOW
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | no_link
    descriptor = os.open(path, flags, dir_fd=parent)
    status = os.fstat(descriptor)
    if stat.S_IFMT(status.st_mode) == kind and not other_writer(status, trusted):
        return descriptor
    os.close(descriptor)
    raise OSError("not a regular file or folder, or somebody else could have written it")
