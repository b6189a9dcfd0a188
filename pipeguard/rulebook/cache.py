"""The compiled rules, kept so that a start takes milliseconds instead of seconds.

Knows the file and who may have written it; not what a rule finds. A compiled database is much
like code, so a file is believed only if it is a regular one of ours that nobody else may write,
in a folder of which the same holds, made by this very version of everything. On any doubt the
rules are compiled anew. That the cache cannot be written is no error, only slow.

The file::

    magic, key (32 bytes), SHA-256 of the index (32 bytes), length of the index (4 bytes)
    index, in JSON: for each part its length and its CRC-32; of which parts each surface's three
        plans and its gate are made
    the parts: the rules' records as JSON; databases, each once

A part is read when it is first needed: a session that only looks at results reads no rule before
one matches. The file stays open until then, so that nobody changes it in between.
"""

# pathlib costs 5 ms, and a server is waiting
# ruff: noqa: PTH100, PTH103, PTH105, PTH108, PTH118, PTH119, PTH120
from __future__ import annotations

import os
import stat
import sys
import threading
from contextlib import contextmanager, suppress
from functools import cache, partial
from typing import TYPE_CHECKING
from zlib import crc32

from pipeguard.config.directories import cache_folder
from pipeguard.core.digest import blake2b, sha256
from pipeguard.core.matching.pattern_set import Database, PatternSet, apart
from pipeguard.core.model.prefilter import Prefilter
from pipeguard.core.protocol.places import Surface
from pipeguard.core.rules import rule as rules
from pipeguard.core.scanning import databases as plans
from pipeguard.core.scanning import engine
from pipeguard.core.scanning.databases import LEAST_WEIGHT, Plans
from pipeguard.core.scanning.rule_partition import Residents, residents
from pipeguard.core.session.guard import Engines
from pipeguard.errors import EngineError
from pipeguard.rulebook.packs import load_rules, model, sources
from pipeguard.version import VERSION

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable, Iterator, Sequence

    from pipeguard.core.rules.rule import Rule
    from pipeguard.rulebook.packs import PackFile

MAGIC = b"pipeguard compiled rules 9\n"
KEPT_FILES = 4  # one for each version, engine and set of rules in use at once
MAX_PART_BYTES = 256 * 2**20  # more is no file of ours
_SURFACES = (Surface.TO_SERVER, Surface.TO_CLIENT, Surface.DEFINITIONS)
_DRAFT = ".rules-"
STDERR = 2
MOST_DESCRIPTORS = 4096  # that a process which compiles has open: it has just begun
_CODE_BYTES = 2**16  # of a module that are read at once; none has more
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_HEAD_BYTES = len(MAGIC) + 32 + 32 + 4
MAX_INDEX_BYTES = 2**16
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class _Doubt(Exception):  # noqa: N818  it is no error: the rules are compiled anew
    """The cached file is not to be believed."""


def load_engines(packs: Sequence[PackFile] | None = None, folder: str | None = None) -> Engines:
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
    name = _name(key)
    try:
        return _read(folder, name, key, packs)
    except (OSError, _Doubt):
        pass
    with _alone(folder):
        try:
            return _read(
                folder, name, key, packs
            )  # another process may have compiled them meanwhile
        except (OSError, _Doubt):
            made = _compile(packs, folder, name, key)
        try:
            return _read(folder, name, key, packs)  # so that only what is needed stays in memory
        except (OSError, _Doubt):
            return _engines(made)


def keep_in(folder: str) -> None:
    """Keep the rules of every pack in another folder too, compiled anew only where none are kept.

    Raises:
        RuleError: a pack is wrong.
        EngineError: the engine is absent, or does not take a pattern.
    """
    packs = sources()
    key = _key(packs)
    name = _name(key)
    with suppress(OSError, _Doubt):
        _read(folder, name, key, packs)
        return
    try:  # what is not believed where it stands would be believed as a copy
        with os.fdopen(_open(cache_folder(), name), "rb") as file:
            content = file.read(MAX_PART_BYTES)
    except (OSError, _Doubt):
        load_engines(packs, folder)
        return
    with suppress(OSError, _Doubt), _alone(folder):
        _make(folder)
        _put(folder, name, [content])


def _model(name: str) -> bytes:
    """A classifier's file, or a second reader's, which numpy is imported for.

    Its threads would wait in a loop for work that one does in less time, so that there are none;
    of what is begun later, nothing is to see that. Source: OpenBLAS, "Runtime variables".
    """
    if name.endswith(".network") and "numpy" not in sys.modules and _THREADS not in os.environ:
        os.environ[_THREADS] = "1"
        try:
            import numpy  # noqa: F401  loads it
        finally:
            del os.environ[_THREADS]
    return model(name)


_THREADS = "OPENBLAS_NUM_THREADS"


def are_kept(packs: Sequence[PackFile]) -> bool:
    """Whether the usual cache has these packs compiled, and is believed; compiles nothing."""
    key = _key(packs)
    try:
        _read(cache_folder(), _name(key), key, packs)
    except (OSError, _Doubt):
        return False
    return True


def _name(key: bytes) -> str:
    return f"rules-{key.hex()[:16]}.compiled"


def _compile(packs: Sequence[PackFile], folder: str, name: str, key: bytes) -> _Made:
    import json

    chosen = load_rules(packs)
    records = [rules.as_record(rule) | _UNREAD for rule in chosen]
    parts = [json.dumps(records, separators=(",", ":")).encode()]
    numbers: dict[bytes, int] = {}
    layout: list[_Layout] = []
    for surface, blobs in zip(_SURFACES, _build(chosen), strict=True):
        # What two surfaces look for is the same database, and stands there once.
        parted = [
            [numbers.setdefault(one, len(numbers) + 1) for one in (apart(b) if b else ())]
            for b in blobs
        ]
        over = {over.value for rule in residents(chosen, surface) for over in rule.surfaces}
        layout.append((sorted(over), parted))
    made = _Made([*parts, *numbers], layout)
    with suppress(OSError, _Doubt):  # then the next start compiles again
        _write(folder, name, key, made)
    return made


# What only people read of a rule; they read it from its pack.
_UNREAD: dict[str, object] = {"matches": [], "passes": [], "title": "", "why": "", "fix": ""}


def _build(chosen: Sequence[Rule]) -> list[tuple[bytes, ...]]:
    """The databases of each surface, each made by a process of its own where that can be.

    Compiling takes seconds and leaves tens of megabytes behind, which the process that serves
    for the rest of the day should not keep.
    """
    if not _may_fork():
        return [plans.build(chosen, surface, model) for surface in _SURFACES]
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
        self._again: Callable[[], tuple[bytes, ...]] = lambda: plans.build(chosen, surface, model)
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
            made = plans.build(chosen, surface, model)
            with os.fdopen(write, "wb") as pipe:
                pipe.writelines(len(blob).to_bytes(8, "big") + blob for blob in made)
            code = 0
        finally:
            os._exit(code)  # nothing of the parent's is flushed or closed twice

    def result(self) -> tuple[bytes, ...]:
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
        blobs: list[bytes] = []
        at = 0
        while at < len(data):
            end = at + 8 + int.from_bytes(data[at : at + 8], "big")
            blobs.append(data[at + 8 : end])
            at = end
        return tuple(blobs)

    def end(self) -> None:
        """See to it that nothing is left of it, also where nobody asked for its result."""
        if self._process:
            import signal  # here, since only a failure needs it

            os.kill(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)
            os.close(self._read)
            self._process = 0


_Layout = tuple[list[str], list[list[int]]]  # what an engine is run over, the parts of its plans


class _Made:
    """The parts of a file, in memory."""

    def __init__(self, parts: list[bytes], layout: list[_Layout]) -> None:
        self.parts = parts
        self.layout = layout

    def part(self, number: int) -> bytes:
        """A part of it."""
        return self.parts[number]

    def again(self, number: int) -> bytes:
        """The same: there is no other."""
        return self.parts[number]


class _CacheFile:
    """The parts of a file that is believed, read when they are asked for.

    One that turns out to be damaged, or for another processor, is made anew with all others.
    """

    def __init__(
        self, descriptor: int, begin: int, rows: list[tuple[int, int]], layout: list[_Layout]
    ) -> None:
        self.layout = layout
        self._descriptor = descriptor
        self._rows = rows
        self._begins = [begin + sum(size for size, _ in rows[:at]) for at in range(len(rows))]
        self._lock = threading.Lock()
        self._made: _Made | None = None
        self.remake: Callable[[], _Made] | None = None

    def part(self, number: int) -> bytes:
        """A part of it, as it was written."""
        with self._lock:
            try:
                os.lseek(self._descriptor, self._begins[number], os.SEEK_SET)
                size, check = self._rows[number]
                part = _take(self._descriptor, size)
                if crc32(part) == check:  # against malice the file's owner and rights are checked
                    return part
            except (OSError, _Doubt):
                pass
        return self.again(number)

    def again(self, number: int) -> bytes:
        """A part of what is made anew.

        Raises:
            EngineError: it is another thing than what was kept.
        """
        with self._lock:
            if self._made is None and self.remake is not None:
                self._made = self.remake()
            if self._made is None or self._made.layout != self.layout:
                raise EngineError("the compiled rules are damaged. Start again.")
            return self._made.part(number)

    def __del__(self) -> None:
        os.close(self._descriptor)


def _engines(kept: _Made | _CacheFile) -> Engines:
    """The engines over the parts of a file, of which nothing is read yet."""

    @cache
    def chosen() -> tuple[Rule, ...]:
        return _rules(kept)

    @cache
    def database(number: int) -> Database:
        return Database(partial(kept.part, number), partial(kept.again, number))

    made = []
    for surface, (over, looks) in zip(_SURFACES, kept.layout, strict=True):
        held = Residents(chosen, surface, frozenset(map(Surface, over)))
        plain, squeezed, acts = (PatternSet([*map(database, one)]) for one in looks[:3])
        gate = None
        if looks[3]:
            weights, words = looks[3]
            gate = Prefilter(partial(kept.part, weights), database(words), LEAST_WEIGHT)
        made.append(engine.Engine(held, surface, Plans(plain, squeezed, acts, gate), _model))
    return Engines(*made)


def _key(packs: Sequence[PackFile]) -> bytes:
    """What the databases depend on: the rules, the code that reads them, engine and processor.

    Not the expressions themselves: to know them takes 90 ms, which the cache is there to save, and
    this takes 3. A rule becomes expressions through much of the core, and which modules those are
    changes, so all of it counts, and this one. Classifiers' files count by the hashes that the
    rules name them by; Python does by its tables of characters.
    """
    key = blake2b(digest_size=32)  # three times as fast as SHA-256 without OpenSSL
    machine = os.uname().machine if hasattr(os, "uname") else ""
    python = ".".join(map(str, sys.version_info[:2]))
    for word in (MAGIC, VERSION, python, sys.platform, machine, sys.byteorder, *_engine()):
        _add(key, word if isinstance(word, bytes) else word.encode())
    for name in _makers():
        _add(key, name.encode())
        _add(key, _code(name))
    for pack in packs:
        _add(key, pack.content)
    return key.digest()


def _makers() -> list[str]:
    """The modules that may have a part in what a rule is compiled to, from the package's root."""
    found = [os.path.join("rulebook", name) for name in ("packs.py", "cache.py")]
    for folder, folders, files in os.walk(os.path.join(_PACKAGE, "core")):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        place = os.path.relpath(folder, _PACKAGE)
        found += [os.path.join(place, name) for name in sorted(files) if name.endswith(".py")]
    return found  # in an archive there are none to read; then the version says it all


def _add(key: hashlib.blake2b, content: bytes) -> None:
    key.update(len(content).to_bytes(8, "big"))
    key.update(content)


def _code(name: str) -> bytes:
    """A module's own text: in a repository it changes while the version does not."""
    try:
        descriptor = os.open(os.path.join(_PACKAGE, name), os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError:
        return b""
    try:
        text = b""
        while chunk := os.read(descriptor, _CODE_BYTES):
            text += chunk
        return text
    finally:
        os.close(descriptor)


def _engine() -> tuple[str, str]:
    """The binding's version; the engine's, and the features of the processor that it builds for."""
    try:
        import hyperscan
    except ImportError:
        return "", ""  # whoever compiles or loads a database tells it
    probe = hyperscan.Database()
    probe.compile(expressions=[b"a"], ids=[0], flags=[0])
    return getattr(hyperscan, "__version__", ""), str(probe.info())


def _read(folder: str, name: str, key: bytes, packs: Sequence[PackFile]) -> Engines:
    """Open a file, if it is to be believed.

    Raises:
        OSError: it cannot be read.
        _Doubt: it is not to be believed.
    """
    descriptor = _open(folder, name)
    try:
        kept = _kept(descriptor, key)
    except BaseException:
        os.close(descriptor)
        raise
    kept.remake = partial(_remake, packs, folder, name, key)
    return _engines(kept)


def _kept(descriptor: int, key: bytes) -> _CacheFile:
    head = _take(descriptor, _HEAD_BYTES)
    length = int.from_bytes(head[-4:], "big")
    if length > MAX_INDEX_BYTES:
        raise _Doubt("no file of ours")
    index = _take(descriptor, length)
    if head != _head(key, index):
        raise _Doubt("made by another version, or damaged")
    rows, layout = _index(index)
    begin = _HEAD_BYTES + length
    sizes = [size for size, _ in rows]
    if max(sizes) > MAX_PART_BYTES or os.fstat(descriptor).st_size != begin + sum(sizes):
        raise _Doubt("no file of ours, or cut short")
    return _CacheFile(descriptor, begin, rows, layout)


def _remake(packs: Sequence[PackFile], folder: str, name: str, key: bytes) -> _Made:
    with _alone(folder):
        return _compile(packs, folder, name, key)


def _index(written: bytes) -> tuple[list[tuple[int, int]], list[_Layout]]:
    import json

    rows, layout = json.loads(written)
    return [(size, check) for size, check in rows], [(over, plans) for over, plans in layout]


def _rules(kept: _Made | _CacheFile) -> tuple[Rule, ...]:
    import json

    return tuple(map(rules.from_record, json.loads(kept.part(0))))


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


def _head(key: bytes, index: bytes) -> bytes:
    return MAGIC + key + sha256(index).digest() + len(index).to_bytes(4, "big")


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


def _write(folder: str, name: str, key: bytes, made: _Made) -> None:
    """Put a file in place whole, or not at all."""
    import json

    _make(folder)
    rows = [(len(part), crc32(part)) for part in made.parts]
    index = json.dumps([rows, made.layout], separators=(",", ":")).encode()
    _put(folder, name, [_head(key, index), index, *made.parts])
    _prune(folder, name)


def _put(folder: str, name: str, content: Sequence[bytes]) -> None:
    import tempfile

    descriptor, draft = tempfile.mkstemp(prefix=_DRAFT, dir=folder)  # 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(content)
        os.replace(draft, os.path.join(folder, name))
    except BaseException:
        os.unlink(draft)
        raise


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
