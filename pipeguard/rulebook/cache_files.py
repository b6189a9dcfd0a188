"""The files of the cache: their names, who may have written them, how they are read and removed.

::

    rules-KEY.index      names the files that the compiled rules consist of; each is named as soon
                         as it is there
    KEY-CRC32.db         a database, named by a hash of what it was compiled from, or records in
                         JSON, named by their own; and by a checksum
    clean-KEY.names      hashes of texts in which these rules find nothing, with which runs begin
    lock                 locked by the process that compiles (rulebook.compilation)

A compiled database is much like code. So a file is used only if it is a regular file of ours that
nobody else may write, in a folder of which the same is true. Content files are opened with the
index and read when they are first needed, so that they may be replaced or removed in between.

What the package's build compiled has the same form. It is part of the package, and trusted like its
code and its packs: it may also be root's.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from contextlib import contextmanager, suppress
from functools import cached_property
from hashlib import blake2b, sha256
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING
from zlib import crc32

from pipeguard.config.directories import Trusted, other_writer
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.records import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MAGIC = b"pipeguard compiled rules 12\n"
LOCK_NAME = "lock"
NAMES_MAGIC = b"clean names of pipeguard 1\n"
NAME_BYTES = 32
MOST_NAMES = 4096  # in a file; a run adds as many at most
MOST_INDEXES = 4  # one for each version, engine and set of rules in use at once
MAX_INDEX_BYTES = 2**16
MAX_NAMES_BYTES = 2 * MOST_NAMES * NAME_BYTES
MAX_CONTENT_BYTES = 256 * 2**20  # a larger file is not ours
INDEX_PATTERN = "rules-*.index"
_INDEX_PREFIX, _DRAFT_PREFIX = "rules-", ".rules-"
_CONTENT_NAME = r"[0-9a-f]{32}-[0-9a-f]{8}\.db"
_OURS = lazy_regex(rf"\.?rules-.*|{_CONTENT_NAME}")
_NAMES_PREFIX = "clean-"
_NATIVE = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "detect", "model"
)


class _UnusableFileError(OSError):
    """A file or folder of the cache that is damaged, or that somebody else could have written."""


class EngineFiles(NamedTuple):
    """The databases of one engine, by their numbers.

    Attributes:
        surfaces: all that any of its rules is run over.
        plain: databases for texts as they are.
        squeezed: databases for texts without spaces.
        acts: databases for what arguments do.
        opener: name and SHA-256 of the opener's file, which is shipped; empty if there is none.
    """

    surfaces: Sequence[str]
    plain: Sequence[int]
    squeezed: Sequence[int]
    acts: Sequence[int]
    opener: Sequence[str]


class CachedRules(NamedTuple):
    """Compiled rules in the cache.

    Attributes:
        rules: the file with the rules' records, in JSON.
        databases: the files of the databases, by their numbers; None for one that is not there yet.
        engines: the databases of each engine.
    """

    rules: CacheFile
    databases: Sequence[CacheFile | None]
    engines: Sequence[EngineFiles]

    @property
    def is_complete(self) -> bool:
        """True once every database is compiled."""
        return None not in self.databases

    @property
    def files(self) -> list[CacheFile]:
        """The content files that are there."""
        return [self.rules, *(file for file in self.databases if file is not None)]


class CacheFile:
    """An open file of the cache. It is closed when nothing refers to it any more.

    Attributes:
        name: of the file.
        is_shipped: True if it is part of the package, which others use too.
    """

    def __init__(self, path: str, descriptor: int, *, is_shipped: bool = False) -> None:
        self.name = os.path.basename(path)
        self.is_shipped = is_shipped
        self._path = path
        self._descriptor = descriptor
        self._lock = Lock()

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self._descriptor)  # at shutdown `os` may be gone

    def read(self, limit_bytes: int = MAX_CONTENT_BYTES) -> bytes:
        """All that is in it.

        It is not mapped: Hyperscan takes nothing but a copy, and a mapped file that is cut short
        ends the process (SIGBUS).

        Raises:
            OSError: it cannot be read, or is larger than a file of ours.
        """
        if os.fstat(self._descriptor).st_size > limit_bytes:
            raise _UnusableFileError("too large to be ours")
        with self._lock, open(self._descriptor, "rb", buffering=0, closefd=False) as file:
            file.seek(0)
            return file.readall()

    def content(self) -> bytes:
        """The content of a content file.

        Raises:
            OSError: it cannot be read, or is not what the name says.
        """
        content = self.read()
        if not self.name.endswith(f"-{crc32(content):08x}.db"):  # against malice: owner and rights
            raise _UnusableFileError("damaged")
        return content

    def remove(self) -> None:
        """Remove the file, unless it is shipped or another has been put in its place."""
        if self.is_shipped:
            return
        with suppress(OSError):
            if os.path.samestat(os.fstat(self._descriptor), os.lstat(self._path)):
                os.unlink(self._path)


def open_index(folder: str, key: bytes, *, is_shipped: bool = False) -> CachedRules:
    """Open compiled rules with all files that there are.

    Args:
        folder: of the cache, or in the package.
        key: of the compiled rules.
        is_shipped: True for the folder in the package.

    Raises:
        OSError: they are not there, are damaged, or somebody else could have written them.
    """
    with _trusted_folder(folder, is_shipped=is_shipped) as open_file:
        index = open_file(index_name(key)).read(MAX_INDEX_BYTES)
        body = index[len(MAGIC) + sha256().digest_size :]
        if index != _index(key, body):
            raise _UnusableFileError("of another version, or damaged")
        rules, names, engines = json.loads(body)
        return CachedRules(
            open_file(rules),
            [open_file(name) if name else None for name in names],
            [EngineFiles(*engine) for engine in engines],
        )


def make_folder(folder: str) -> None:
    """Make the folder where it does not exist.

    Raises:
        OSError: it cannot be made, or somebody else could write to it.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with _trusted_folder(folder):
        pass


def shipped_folder() -> str:
    """The folder of what the package's build compiled; it need not exist."""
    return os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "databases")


def find_content(folder: str, key: str) -> Iterator[bytes]:
    """The contents stored by a key in a folder, or shipped, that can be trusted."""
    for place, is_shipped in ((folder, False), (shipped_folder(), True)):
        with suppress(OSError), _trusted_folder(place, is_shipped=is_shipped) as open_file:
            names = [name for name in os.listdir(place) if name.startswith(f"{key}-")]
            yield from (open_file(name).content() for name in names)


def store(folder: str, content: bytes, key: str = "") -> str:
    """Write a content file; return its name.

    Args:
        folder: of the cache.
        content: of the file.
        key: in its name; empty for a hash of the content.

    Raises:
        OSError: it cannot be written.
    """
    key = key or blake2b(content, digest_size=16).hexdigest()
    name = f"{key}-{crc32(content):08x}.db"
    _write(folder, name, content)
    return name


class Index(NamedTuple):
    """The files that an index names, if they are there.

    Attributes:
        rules: the name of the file with the rules' records.
        databases: the names of the databases, by their numbers; empty for one that is not there.
        engines: the databases of each engine.
    """

    rules: str
    databases: Sequence[str]
    engines: Sequence[EngineFiles]


def write_index(folder: str, key: bytes, index: Index) -> None:
    """Write the index, or replace an earlier one that named fewer files.

    Raises:
        OSError: it cannot be written.
    """
    body = json.dumps(index, separators=(",", ":")).encode()
    _write(folder, index_name(key), _index(key, body))


def prune(folder: str, key: bytes) -> None:
    """Remove the oldest indexes, files that no index names, and drafts of killed processes.

    Raises:
        OSError: a file cannot be removed.
    """
    names = os.listdir(folder)
    indexes = [name for name in names if name.startswith(_INDEX_PREFIX)]
    indexes.sort(key=lambda name: os.lstat(os.path.join(folder, name)).st_mtime, reverse=True)
    indexes.sort(key=index_name(key).__ne__)
    needed = set(indexes[:MOST_INDEXES])
    for name in tuple(needed):  # searched, since the index of another version may have another form
        with suppress(OSError), _trusted_folder(folder) as open_file:
            index = open_file(name).read(MAX_INDEX_BYTES)
            needed.update(map(bytes.decode, re.findall(_CONTENT_NAME.encode(), index)))
    for name in names:
        if name not in needed and _OURS.fullmatch(name):
            os.unlink(os.path.join(folder, name))


class CleanNames:
    """Names of texts in which compiled rules find nothing, of this run and of earlier ones.

    They are trusted as the rules are: whoever can write them could also write compiled rules that
    find nothing. Once a rule, a module or an engine changes, the key changes, and no name counts.
    """

    def __init__(self, folder: str, key: bytes) -> None:
        """Take the folder of the cache and the key of the rules; nothing is read yet."""
        self._folder, self._key = folder, key
        self._new: dict[bytes, None] = {}

    @cached_property
    def _body_key(self) -> bytes:
        """A hash of the rules' key and of Python, RE2 and the extensions, which read texts, too."""
        spec = find_spec("re2")
        folders = [_NATIVE, *((spec.submodule_search_locations or ()) if spec is not None else ())]
        places = [entry.path for folder in folders for entry in os.scandir(folder)]
        files = sorted(place for place in places if place.endswith((".so", ".pyd")))
        seen = [(path, (status := os.stat(path)).st_size, status.st_mtime_ns) for path in files]
        return sha256(self._key + repr((sys.version, seen)).encode()).digest()

    @cached_property
    def _old(self) -> dict[bytes, None]:
        return self._read()

    def _read(self) -> dict[bytes, None]:
        with suppress(OSError), _trusted_folder(self._folder) as open_file:
            content = open_file(self._file_name).read(MAX_NAMES_BYTES)
            head = NAMES_MAGIC + self._body_key
            if content.startswith(head) and (len(content) - len(head)) % NAME_BYTES == 0:
                at = range(len(head), len(content), NAME_BYTES)
                return dict.fromkeys(content[start : start + NAME_BYTES] for start in at)
        return {}

    @property
    def _file_name(self) -> str:
        return f"{_NAMES_PREFIX}{self._body_key.hex()[:16]}.names"

    @property
    def has_new(self) -> bool:
        """True once this run has added one."""
        return bool(self._new)

    def __bool__(self) -> bool:
        """True if there are any."""
        return bool(self._new or self._old)

    def __contains__(self, name: bytes) -> bool:
        """True for the name of such a text."""
        return name in self._old or name in self._new

    def add(self, name: bytes) -> None:
        """Remember one for later runs."""
        if len(self._new) < MOST_NAMES and name not in self._old:
            self._new[name] = None

    def save(self) -> None:
        """Write them, with what other runs wrote meanwhile; the oldest are dropped if need be.

        Raises:
            OSError: they cannot be written.
        """
        if not self._new or not self._key:
            return
        make_folder(self._folder)
        names = [*(self._read() | self._new)][-MOST_NAMES:]
        _write(self._folder, self._file_name, NAMES_MAGIC + self._body_key + b"".join(names))
        listed = [name for name in os.listdir(self._folder) if name.startswith(_NAMES_PREFIX)]
        listed.sort(key=lambda name: os.lstat(os.path.join(self._folder, name)).st_mtime)
        for name in listed[:-MOST_INDEXES]:
            os.unlink(os.path.join(self._folder, name))


def index_name(key: bytes) -> str:
    """The name of the index of compiled rules."""
    return f"{_INDEX_PREFIX}{key.hex()[:16]}.index"


def _index(key: bytes, body: bytes) -> bytes:
    return MAGIC + sha256(key + body).digest() + body


def _write(folder: str, name: str, content: bytes) -> None:
    """Put a file in place as a whole, or not at all."""
    import tempfile

    descriptor, draft = tempfile.mkstemp(prefix=_DRAFT_PREFIX, dir=folder)  # 0600
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.replace(draft, os.path.join(folder, name))
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise


@contextmanager
def _trusted_folder(
    folder: str, *, is_shipped: bool = False
) -> Iterator[Callable[[str], CacheFile]]:
    """A function that opens a file of a folder, after a check of both.

    Raises:
        OSError: the folder cannot be opened, or somebody else could write to it.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
    if os.name != "posix":  # there the access list of the user's own folder keeps others out
        yield lambda name: CacheFile(
            path := os.path.join(folder, name), os.open(path, flags), is_shipped=is_shipped
        )
        return
    trusted = Trusted.ANY_GROUP if is_shipped else Trusted.ONLY_US
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    parent = _check(parent, stat.S_IFDIR, trusted)

    def open_file(name: str) -> CacheFile:
        descriptor = _check(os.open(name, flags, dir_fd=parent), stat.S_IFREG, trusted)
        return CacheFile(os.path.join(folder, name), descriptor, is_shipped=is_shipped)

    try:
        yield open_file
    finally:
        os.close(parent)


def _check(descriptor: int, kind: int, trusted: Trusted) -> int:
    """A descriptor, closed with an error if others could have written what it refers to."""
    status = os.fstat(descriptor)
    if stat.S_IFMT(status.st_mode) == kind and not other_writer(status, trusted):
        return descriptor
    os.close(descriptor)
    raise _UnusableFileError("not a regular file or folder, or somebody else could have written it")
