"""The patterns that could match in a block of text: one pass of Hyperscan over the block.

A pass is linear in the length of the block, whatever it contains, and reports each pattern once.
Patterns that are slow in Hyperscan are searched for in C, where that was built.
Knows patterns; detect.scanning.engine decides the meaning of a match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from threading import Lock
from typing import Any

from pipeguard.errors import EngineError
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.native import find_native
from pipeguard.records import NamedTuple

MISSING = (
    "the scan engine (hyperscan) is not installed: it has wheels for Linux and macOS on x86-64 and "
    "arm64, and for Windows on x86-64. Nothing passes unjudged, so nothing runs."
)
_PART = lazy_regex(r"(?s)\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\)(?:[?*+]|\{\d*,?\d*\})?\??|.")
_SECRET = "(?P<secret>"  # noqa: S105  opens the group that is a secret
_TABLES_MARK = "tables"  # begins a database that C may replace
NATIVE = find_native("detect.matching._signs")


class PatternGroup(NamedTuple):
    """Patterns that are compiled into one database.

    Some patterns compile in minutes together and in seconds apart, and a pass over two smaller
    databases is faster, too.

    Attributes:
        ids: of the patterns.
        patterns: each as `(regex, ignore_case)`; only ASCII letters have a case.
        tables: with which C finds the same faster (_signs.c); empty if it does not.
    """

    ids: tuple[int, ...]
    patterns: tuple[tuple[str, bool], ...]
    tables: bytes = b""


def group_patterns(
    first: int, groups: Iterable[Sequence[tuple[str, bool]]]
) -> tuple[PatternGroup, ...]:
    """Groups of patterns as `(regex, ignore_case)`, whose ids are numbered consecutively."""
    numbered = []
    for group in filter(None, groups):
        numbered.append(PatternGroup(tuple(range(first, first + len(group))), tuple(group)))
        first += len(group)
    return tuple(numbered)


def compile_group(group: PatternGroup) -> bytes:
    """Compile patterns for this machine's processor, in one thread, without Python's lock.

    Returns:
        A serialised database, perhaps behind what a function in C needs.

    Raises:
        EngineError: Hyperscan is missing, or rejects a pattern.
    """
    hyperscan = binding()
    once = hyperscan.HS_FLAG_SINGLEMATCH
    database = hyperscan.Database()
    try:
        database.compile(
            expressions=[weaker(pattern).encode() for pattern, _ in group.patterns],
            ids=list(group.ids),
            flags=[
                once | (hyperscan.HS_FLAG_CASELESS if ignore_case else 0)
                for _, ignore_case in group.patterns
            ],
        )
    except hyperscan.HyperscanError as error:
        raise EngineError(f"the scan engine does not take a pattern: {error}") from None
    blob: bytes = hyperscan.dumpb(database)
    if not group.tables:
        return blob
    head = " ".join([_TABLES_MARK, str(len(group.tables)), *map(str, group.ids)])
    return b"%b\n%b%b" % (head.encode(), group.tables, blob)


class Database:
    """A compiled database, loaded when it is first needed; threads may share it."""

    __slots__ = "_loaded", "_lock", "_read"

    def __init__(self, read: Callable[[], bytes]) -> None:
        """Store a function that returns the serialised database."""
        self._read: Callable[[], bytes] | None = read
        self._lock = Lock()
        self._loaded: Any = None

    def handle(self) -> Any:
        """The function that searches, and what makes the memory for it.

        Raises:
            EngineError: the database is damaged, or was compiled for another processor.
        """
        with self._lock:
            if self._read is not None:
                self._loaded, self._read = _load(self._read()), None
            return self._loaded


def _load(blob: bytes) -> tuple[Any, Any]:
    if blob.startswith(_TABLES_MARK.encode()):
        head, _, rest = blob.partition(b"\n")
        size, *ids = map(int, head.split()[1:])
        tables, blob = rest[:size], rest[size:]
        if NATIVE is not None:
            memory = tuple(ids), tables
            return NATIVE.find, lambda: memory
    hyperscan = binding()
    try:
        database = hyperscan.loadb(blob, hyperscan.HS_MODE_BLOCK)
        database.scratch = hyperscan.Scratch()  # not the one the binding would make
    except hyperscan.HyperscanError as error:
        raise EngineError(f"compiled rules do not load: {type(error).__name__}") from None
    return database.scan, partial(hyperscan.Scratch, database)


class PatternSet:
    """Compiled patterns, ready to search. One thread at a time may use it.

    Attributes:
        count: the number of databases.
    """

    def __init__(self, databases: Sequence[Database]) -> None:
        """Store the databases, which are loaded when they are first needed."""
        self._databases, self.count = databases, len(databases)
        self._scans: list[tuple[Any, Any]] = []  # of each database, with its scratch memory
        self._hits: list[int] = []
        add = self._hits.append  # made once, and not for each frame:
        self._on_match = lambda pattern, _start, _end, _flags, _context: add(pattern)

    @classmethod
    def of(cls, blobs: Iterable[bytes]) -> PatternSet:
        """A set of serialised databases, loaded at once.

        Raises:
            EngineError: one is damaged, or was compiled for another processor.
        """
        patterns = cls([Database(partial(bytes, blob)) for blob in blobs])
        patterns.load()
        return patterns

    def load(self) -> None:
        """Load the databases now, so that the first search does not have to.

        Raises:
            EngineError: one is damaged, or was compiled for another processor.
        """
        if not self._scans:
            loaded = [database.handle() for database in self._databases]
            self._scans = [(scan, make_scratch()) for scan, make_scratch in loaded]

    def prepare(self) -> None:
        """Load the databases, without the scratch memory of the searching thread.

        Raises:
            EngineError: one is damaged, or was compiled for another processor.
        """
        for database in self._databases:
            database.handle()

    def share(self) -> PatternSet:
        """Clone the patterns for another thread: shared databases, scratch memory of its own."""
        return PatternSet(self._databases)

    def look(self, data: bytes, only: Iterable[int] | None = None) -> list[int]:
        """The ids of the patterns that could match in a block, each once.

        The position is not reported: of several matches Hyperscan may report any.

        Args:
            data: the block.
            only: the numbers of the databases that matter; None for all of them.

        Raises:
            EngineError: Hyperscan failed.
        """
        hits, on_match = self._hits, self._on_match
        hits.clear()
        if not self._scans:
            self.load()
        scans = self._scans
        try:
            for scan, scratch in scans if only is None else map(scans.__getitem__, only):
                scan(data, on_match, 0, None, scratch)
        except Exception as error:  # the binding has a class for each of its errors
            raise EngineError(f"the scan engine failed: {type(error).__name__}") from error
        return hits.copy()


def weaker(pattern: str) -> str:
    """A pattern with its open tail cut to the least length, which compiles to a smaller automaton.

    It matches wherever the given one does, up to the same place or an earlier one.
    """
    return re.sub(r"\{([1-9]\d*),\d*\}\??$", r"{\1}", pattern)


BOUNDED = lazy_regex(r"(?s)\\.|\[\\s\\S\]\{\d+,\d+\}|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(\d+),(\d+)\}")
FEW = 24  # repetitions that may be counted: each count is a state


def unbound(pattern: str) -> str:
    """A pattern whose long repetitions have no upper bound: it matches more, and is smaller.

    For tokens, whose bounds count the text between a name and its value, a third smaller and
    faster; for sentences with two distant ends, the larger matches cost more than that saves.
    """
    return BOUNDED.sub(_without_bound, pattern)


def _without_bound(token: re.Match[str]) -> str:
    if token[1] is None or int(token[2]) - int(token[1]) < FEW:
        return token[0]
    return {"0": "*", "1": "+"}.get(token[1], f"{{{token[1]},}}")


def secret_group(pattern: str) -> str:
    """The group `secret` of a pattern, without its name; the whole pattern if it has none."""
    start = pattern.find(_SECRET)
    if start < 0:
        return pattern
    end = depth = 0
    for part in _PART.finditer(pattern, start):
        depth += (part[0] == "(") - (part[0][0] == ")")
        if depth == 0:
            end = part.end()
            break
    return "(?:" + pattern[start + len(_SECRET) : end]


def binding() -> Any:
    """Hyperscan's Python module.

    Raises:
        EngineError: it is not installed.
    """
    try:
        import hyperscan
    except ImportError:
        raise EngineError(MISSING) from None
    return hyperscan
