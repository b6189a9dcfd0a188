"""The compiled rules, kept so that a start takes milliseconds instead of seconds.

Knows the file and who may have written it; not what a rule finds. A compiled database is much
like code, so a file is believed only if it is a regular one of ours that nobody else may write,
in a folder of which the same holds, made by this very version of everything. On any doubt the
rules are compiled anew. That the cache cannot be written is no error, only slow.

The file::

    magic, key (32 bytes), SHA-256 of the table (32 bytes)
    table: for each of seven parts its length (8 bytes, big-endian) and its CRC-32
    the parts: the rules' records as JSON; two databases for each of three surfaces
"""

# pathlib costs 5 ms, and a server is waiting
# ruff: noqa: PTH103, PTH105, PTH108, PTH118, PTH119, PTH120
from __future__ import annotations

import os
import stat
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from zlib import crc32

from pipeguard.core import rules, scan
from pipeguard.core.digest import sha256
from pipeguard.core.guard import Engines
from pipeguard.core.places import Surface
from pipeguard.errors import EngineError
from pipeguard.folders import cache_folder
from pipeguard.rulebook import load_rules, sources
from pipeguard.version import VERSION

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable, Iterator, Sequence

    from pipeguard.core.rules import Rule
    from pipeguard.rulebook import Source

MAGIC = b"pipeguard compiled rules 2\n"
KEPT_FILES = 4  # one for each version, engine and set of rules in use at once
MAX_PART_BYTES = 256 * 2**20  # more is no file of ours
_SURFACES = (Surface.TO_SERVER, Surface.TO_CLIENT, Surface.DEFINITIONS)
_DRAFT = ".rules-"
# Of the core: what makes of a rule a record and a database, and reads them again.
STDERR = 2
MOST_DESCRIPTORS = 4096  # that a process which compiles has open: it has just begun
_MAKERS = ("cues.py", "plan.py", "rules.py", "scan.py", "spellings.py")
_ROW_BYTES = 8 + 4
_TABLE_BYTES = (1 + 2 * len(_SURFACES)) * _ROW_BYTES
_HEAD_BYTES = len(MAGIC) + 32 + 32
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class _Doubt(Exception):  # noqa: N818  it is no error: the rules are compiled anew
    """The cached file is not to be believed."""


def engines(packs: Sequence[Source] | None = None, folder: str | None = None) -> Engines:
    """The rules of every pack, ready to run: from the cache, or compiled and put there.

    Args:
        packs: the packs' files; None for all there are.
        folder: of the cache; None for the usual one.

    Raises:
        RuleError: a pack is wrong.
        EngineError: the engine is absent, or does not take a pattern.
    """
    _return_large_blocks()
    packs = sources() if packs is None else packs
    folder = cache_folder() if folder is None else folder
    key = _key(packs)
    name = f"rules-{key.hex()[:16]}.compiled"
    try:
        return _read(folder, name, key)
    except (OSError, _Doubt):
        pass
    with _alone(folder):
        try:
            return _read(folder, name, key)  # another process may have compiled them meanwhile
        except (OSError, _Doubt):
            return _compile(packs, folder, name, key)


def _compile(packs: Sequence[Source], folder: str, name: str, key: bytes) -> Engines:
    import json

    chosen = load_rules(packs)
    blobs = [blob for pair in _build(chosen) for blob in pair]
    records = [rules.as_record(rule) | _UNREAD for rule in chosen]
    parts = [json.dumps(records, separators=(",", ":")).encode(), *blobs]
    with suppress(OSError, _Doubt):  # then the next start compiles again
        _write(folder, name, key, parts)
    return _engines(_rules(parts[0]), iter(blobs))


# What only people read of a rule; they read it from its pack.
_UNREAD: dict[str, object] = {"matches": [], "passes": [], "title": "", "why": "", "fix": ""}


def _build(chosen: Sequence[Rule]) -> list[tuple[bytes, bytes]]:
    """The databases of each surface, each made by a process of its own where that can be.

    Compiling takes seconds and leaves tens of megabytes behind, which the process that serves
    for the rest of the day should not keep.
    """
    if not _may_fork():
        return [scan.build(chosen, surface) for surface in _SURFACES]
    workers = [_Worker(chosen, surface) for surface in _SURFACES]
    try:
        return [worker.result() for worker in workers]
    finally:
        for worker in workers:
            worker.end()


def _may_fork() -> bool:
    """True where a copy of this process is sure to work: threads would be missing in it."""
    return hasattr(os, "fork") and threading.active_count() == 1


class _Worker:
    """A process that compiles one surface's rules and sends what it made through a pipe."""

    def __init__(self, chosen: Sequence[Rule], surface: Surface) -> None:
        self._again: Callable[[], tuple[bytes, bytes]] = lambda: scan.build(chosen, surface)
        self._read, write = os.pipe()
        self._process = os.fork()
        if self._process:
            os.close(write)
            return
        code = 1
        try:
            # Else this process holds the lock, and the end that it writes to, when the other dies.
            os.closerange(STDERR + 1, write)
            os.closerange(write + 1, MOST_DESCRIPTORS)
            plain, squeezed = scan.build(chosen, surface)
            with os.fdopen(write, "wb") as pipe:
                pipe.write(len(plain).to_bytes(8, "big") + plain + squeezed)
            code = 0
        finally:
            os._exit(code)  # nothing of the parent's is flushed or closed twice

    def result(self) -> tuple[bytes, bytes]:
        """What it made.

        Raises:
            EngineError: the engine is absent, or does not take a pattern.
        """
        with os.fdopen(self._read, "rb") as pipe:
            data = pipe.read()
        _, status = os.waitpid(self._process, 0)
        self._process = 0
        if status:
            return self._again()  # it fails here in the same way, and says why
        length = int.from_bytes(data[:8], "big")
        return data[8 : 8 + length], data[8 + length :]

    def end(self) -> None:
        """See to it that nothing is left of it, also where nobody asked for its result."""
        if self._process:
            import signal  # here, since only a failure needs it

            os.kill(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)
            os.close(self._read)
            self._process = 0


def _engines(chosen: Sequence[Rule], blobs: Iterator[bytes]) -> Engines:
    made = [scan.Engine(chosen, surface, next(blobs), next(blobs)) for surface in _SURFACES]
    return Engines(*made)


def _key(packs: Sequence[Source]) -> bytes:
    """What the databases depend on: the rules, the code that reads them, engine and processor."""
    key = sha256()
    machine = os.uname().machine if hasattr(os, "uname") else ""
    for word in (MAGIC, VERSION, sys.platform, machine, sys.byteorder, *_engine()):
        _add(key, word if isinstance(word, bytes) else word.encode())
    for name in _MAKERS:
        _add(key, _code(name))
    for pack in packs:
        _add(key, pack.content)
    return key.digest()


def _add(key: hashlib._Hash, content: bytes) -> None:
    key.update(len(content).to_bytes(8, "big"))
    key.update(content)


def _code(name: str) -> bytes:
    """A module's own text: in a repository it changes while the version does not."""
    try:
        with open(os.path.join(os.path.dirname(rules.__file__), name), "rb") as file:
            return file.read()
    except OSError:
        return b""  # in an archive; then the version says it all


def _engine() -> tuple[str, str]:
    """The binding's version; the engine's, and the features of the processor that it builds for."""
    try:
        import hyperscan
    except ImportError:
        return "", ""  # whoever compiles or loads a database tells it
    probe = hyperscan.Database()
    probe.compile(expressions=[b"a"], ids=[0], flags=[0])
    return getattr(hyperscan, "__version__", ""), str(probe.info())


def _read(folder: str, name: str, key: bytes) -> Engines:
    """Load a file, if it is to be believed.

    Raises:
        OSError: it cannot be read.
        _Doubt: it is not to be believed.
    """
    descriptor = _open(folder, name)
    try:
        head = _take(descriptor, _HEAD_BYTES)
        table = _take(descriptor, _TABLE_BYTES)
        if head != _head(key, table):
            raise _Doubt("made by another version, or damaged")
        parts = _parts(descriptor, table)
        found = _engines(_rules(next(parts)), parts)
    except EngineError as error:  # it says so of a database for another processor
        raise _Doubt(str(error)) from None
    finally:
        os.close(descriptor)
    return found


def _parts(descriptor: int, table: bytes) -> Iterator[bytes]:
    """One part at a time, so that no more than one stands in memory beside the databases."""
    for at in range(0, _TABLE_BYTES, _ROW_BYTES):
        size = int.from_bytes(table[at : at + 8], "big")
        if size > MAX_PART_BYTES:
            raise _Doubt("no file of ours")
        part = _take(descriptor, size)
        if _check(part) != table[at + 8 : at + _ROW_BYTES]:
            raise _Doubt("damaged")
        yield part


def _check(part: bytes) -> bytes:
    """A check against damage; against malice the file's owner and rights are checked."""
    return crc32(part).to_bytes(4, "big")


def _rules(part: bytes) -> tuple[Rule, ...]:
    import json

    return tuple(map(rules.from_record, json.loads(part)))


def _take(descriptor: int, size: int) -> bytes:
    chunks = []
    while size and (chunk := os.read(descriptor, size)):
        chunks.append(chunk)
        size -= len(chunk)
    if size:
        raise _Doubt("cut short")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _return_large_blocks() -> None:
    """Have glibc give large blocks back to the system when they are freed.

    By default it raises the size from which on it does with each that is freed (mallopt(3),
    M_MMAP_THRESHOLD), so that what held these files and each large frame would stay ours.
    """
    if sys.platform == "linux":
        import ctypes

        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none, and keeps less
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)


_M_MMAP_THRESHOLD = -3  # <malloc.h>
_LARGE_BLOCK_BYTES = 256 * 1024


def _head(key: bytes, table: bytes) -> bytes:
    return MAGIC + key + sha256(table).digest()


def _open(folder: str, name: str) -> int:
    """A descriptor of a file that only we could have written; what is checked is what is read."""
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
    if os.name != "posix":  # there the user's own folder keeps others out by its access list
        return os.open(os.path.join(folder, name), flags)
    parent = _open_folder(folder)
    try:
        descriptor = os.open(
            name, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=parent
        )
    finally:
        os.close(parent)
    try:
        _believe(os.fstat(descriptor), stat.S_IFREG)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open_folder(folder: str) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _believe(os.fstat(descriptor), stat.S_IFDIR)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _believe(status: os.stat_result, kind: int) -> None:
    """Only we ourselves: root's cache in our folder would be as odd as anybody else's."""
    if stat.S_IFMT(status.st_mode) != kind:
        raise _Doubt("no regular file, or no folder")
    if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_WRITE:
        raise _Doubt("somebody else could have written it")


def _write(folder: str, name: str, key: bytes, parts: Sequence[bytes]) -> None:
    """Put a file in place whole, or not at all."""
    import tempfile

    _make(folder)
    rows = (len(part).to_bytes(8, "big") + _check(part) for part in parts)
    table = b"".join(rows)
    descriptor, draft = tempfile.mkstemp(prefix=_DRAFT, dir=folder)  # 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines([_head(key, table), table, *parts])
        os.replace(draft, os.path.join(folder, name))
    except BaseException:
        os.unlink(draft)
        raise
    _prune(folder, name)


def _make(folder: str) -> None:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if os.name == "posix":
        os.close(_open_folder(folder))


def _prune(folder: str, name: str) -> None:
    """Remove the files that were longest unused, and drafts of processes that were killed."""
    with os.scandir(folder) as entries:
        ours = [
            (entry.stat(follow_symlinks=False).st_mtime, entry.path)
            for entry in entries
            if entry.name.startswith(("rules-", _DRAFT)) and entry.name != name
        ]
    drafts = [path for _, path in ours if os.path.basename(path).startswith(_DRAFT)]
    kept = sorted(file for file in ours if file[1] not in drafts)
    for path in (*drafts, *(path for _, path in kept[: -(KEPT_FILES - 1)])):
        os.unlink(path)


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    """One process at a time compiles: the others wait for what it makes, where they can."""
    descriptor = _lock(folder)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(folder: str) -> int | None:
    if os.name != "posix":
        return None
    import fcntl

    try:
        _make(folder)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(os.path.join(folder, "lock"), flags, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except (OSError, _Doubt):
        return None
    return descriptor
