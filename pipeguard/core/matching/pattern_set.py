"""Many patterns looked for at once: which of them could match in a block of text.

One Hyperscan database holds all patterns of a plan. A pass over a block costs time linear in the
block, whatever stands in it, and tells each pattern once. Knows patterns; what a match means is
for core.scanning.engine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import lru_cache, partial
from threading import Lock
from typing import Any

from pipeguard.errors import EngineError

_QUANTIFIER = re.compile(r"(?:[?*+]|\{\d*,?\d*\})?\??")
_CONTEXT = r"(?:\A|"  # a group that says what may stand before: the start of the text, or else


def make(groups: Mapping[int, Sequence[tuple[str, bool]]]) -> bytes:
    """Compile patterns for this machine's processor.

    Args:
        groups: of patterns, each with whether it ignores the case of ASCII letters, by the number
            that the first of a group is told by. Each group is a database of its own: some take
            minutes together that take seconds apart, and a pass over both is then the slower one.

    Returns:
        What `PatternSet` loads.

    Raises:
        EngineError: the engine is absent, or it does not take a pattern.
    """
    blobs = [_compiled(patterns, first) for first, patterns in groups.items() if patterns]
    return together(blobs or [_compiled([], 0)])


def together(blobs: Iterable[bytes]) -> bytes:
    """Several blobs as one, which `apart` takes apart again."""
    return b"".join((_SEVERAL, *(len(blob).to_bytes(8, "big") + blob for blob in blobs)))


def _compiled(patterns: Sequence[tuple[str, bool]], first: int) -> bytes:
    hyperscan = binding()
    once = hyperscan.HS_FLAG_SINGLEMATCH
    sources = [weaker(pattern).encode() for pattern, _ in patterns] or [b"\xff{9}"]
    flags = [once | (hyperscan.HS_FLAG_CASELESS if folds else 0) for _, folds in patterns] or [0]
    database = hyperscan.Database()
    ids = list(range(first, first + len(sources)))
    try:
        database.compile(expressions=sources, ids=ids, flags=flags)
    except hyperscan.HyperscanError as error:
        raise EngineError(f"the scan engine does not take a pattern: {error}") from None
    blob: bytes = hyperscan.dumpb(database)
    return blob


_SEVERAL = b"several\n"


def apart(blob: bytes) -> Iterator[bytes]:
    """What `together` put together, as the databases that `make` made."""
    at = len(_SEVERAL)
    if not blob.startswith(_SEVERAL) or at == len(blob):
        raise EngineError("compiled rules do not load: they are none")
    while at < len(blob):
        end = at + 8 + int.from_bytes(blob[at : at + 8], "big")
        yield blob[at + 8 : end]
        at = end


class Database:
    """One database, loaded when something is first looked for in it; for all threads."""

    __slots__ = ("_again", "_loaded", "_lock", "_read")

    def __init__(self, read: Callable[[], bytes], again: Callable[[], bytes]) -> None:
        """Know where it is read from.

        Args:
            read: gives it.
            again: gives it where what was read does not load.
        """
        self._read: Callable[[], bytes] | None = read
        self._again = again
        self._lock = Lock()
        self._loaded: Any = None

    def loaded(self) -> Any:
        """The engine's own.

        Raises:
            EngineError: it is not whole, or made for another processor.
        """
        with self._lock:
            if self._read is not None:
                try:
                    self._loaded = _load(self._read())
                except EngineError:
                    self._loaded = _load(self._again())
                self._read = None
            return self._loaded


def _load(blob: bytes) -> Any:
    hyperscan = binding()
    try:
        database = hyperscan.loadb(blob, hyperscan.HS_MODE_BLOCK)
        database.scratch = hyperscan.Scratch(database)  # without it, every scan fails
    except hyperscan.HyperscanError as error:
        raise EngineError(f"compiled rules do not load: {type(error).__name__}") from None
    return database


class PatternSet:
    """Compiled patterns. One thread at a time may use it."""

    def __init__(self, databases: bytes | Sequence[Database]) -> None:
        """Take what `make` made, or databases of it that are loaded when they are needed.

        Raises:
            EngineError: what was made is not whole, or made for another processor.
        """
        self._scratches: list[tuple[Any, Any]] = []
        self._hits: list[int] = []
        self._on_match = self._make_handler()
        if isinstance(databases, bytes):
            parts = [partial(bytes, part) for part in apart(databases)]
            self._databases: Sequence[Database] = [Database(part, part) for part in parts]
            self.load()
        else:
            self._databases = databases

    def load(self) -> None:
        """Load the databases, where something is going to be looked for soon.

        Raises:
            EngineError: one is not whole, or made for another processor.
        """
        if not self._scratches:
            loaded = [database.loaded() for database in self._databases]
            self._scratches = [(one, binding().Scratch(one)) for one in loaded]

    def share(self) -> PatternSet:
        """The same patterns for another thread: scratches of its own over the databases."""
        other = copy(self)
        other._scratches = []
        other._hits = []
        other._on_match = other._make_handler()
        return other

    def _make_handler(self) -> Callable[[int, int, int, int, object], None]:
        """What the engine calls for each match; made once, since every frame needs it."""
        found = self._hits.append
        return lambda pattern, _start, _end, _flags, _context: found(pattern)

    def look(self, data: bytes) -> list[int]:
        """The patterns that could match in a block, each once.

        Where is not told: of several matches the engine tells any one.

        Raises:
            EngineError: the engine failed.
        """
        hits = self._hits
        hits.clear()
        if not self._scratches:
            self.load()
        try:
            for database, scratch in self._scratches:
                database.scan(data, self._on_match, 0, None, scratch)
        except Exception as error:  # the binding has a class for each of its errors
            raise EngineError(f"the scan engine failed: {type(error).__name__}") from error
        return hits.copy() if hits else _NONE


_NONE: list[int] = []


def weaker(pattern: str) -> str:
    """A pattern that matches wherever the given one does, and compiles to a smaller automaton.

    What may stand before a match is left out, and an open tail is cut to its least length: the
    end of the match stays where it is or comes earlier. The rule's own expression decides.
    """
    return _without_optional_ends(
        _without_context(re.sub(r"\{([1-9]\d*),\d*\}\??$", r"{\1}", pattern))
    )


@lru_cache(maxsize=256)
def value_of(pattern: str, *, ignore_case: bool) -> re.Pattern[bytes]:
    """The part of a rule's expression that is the secret, for one that stands alone."""
    flags = re.ASCII | (re.IGNORECASE if ignore_case else 0)
    return re.compile(rf"(?<![A-Za-z0-9]){secret_of(pattern)}(?![A-Za-z0-9])".encode(), flags)


def secret_of(pattern: str) -> str:
    """The group of a pattern that is the secret; all of it where there is none."""
    start = pattern.find("(?P<secret>")
    return pattern if start < 0 else pattern[start : _group_end(pattern, start)]


def _without_optional_ends(pattern: str) -> str:
    """Leave out what may be absent at either end of a pattern without alternatives at its top."""
    start = 2 if pattern.startswith(r"\b") else 0
    if pattern.startswith("(", start) and not _has_alternatives(pattern):
        end = _group_end(pattern, start)
        if _OPTIONAL.search(pattern[:end]):
            return _without_optional_ends(pattern[end:])
    return pattern


_OPTIONAL = re.compile(r"\)(?:\?|\*|\{0,\d*\})\??$")


def _has_alternatives(pattern: str) -> bool:
    """True where a bar stands outside of all groups."""
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "|":
            return True
        if character == "(":
            at = _group_end(pattern, at)
        elif character == "[":
            at = _class_end(pattern, at) + 1
        else:
            at += 2 if character == "\\" else 1
    return False


def _without_context(pattern: str) -> str:
    start = pattern.find(_CONTEXT)
    while start >= 0:
        pattern = pattern[:start] + pattern[_group_end(pattern, start) :]
        start = pattern.find(_CONTEXT, start)
    return pattern


def _group_end(pattern: str, start: int) -> int:
    """The index after the group that opens at `start`, and after its quantifier."""
    depth, at = 0, start
    while True:
        character = pattern[at]
        if character == "\\":
            at += 1
        elif character == "[":
            at = _class_end(pattern, at)
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                quantifier = _QUANTIFIER.match(pattern, at + 1)
                return quantifier.end() if quantifier else at + 1
        at += 1


def _class_end(pattern: str, start: int) -> int:
    """The index of the bracket that closes the class which opens at `start`."""
    at = start + 2 if pattern[start + 1] == "^" else start + 1
    at += pattern[at] == "]"
    while pattern[at] != "]":
        at += 2 if pattern[at] == "\\" else 1
    return at


def binding() -> Any:
    """The scan engine's module.

    Raises:
        EngineError: it is not installed.
    """
    try:
        import hyperscan
    except ImportError:
        raise EngineError(
            "the scan engine (hyperscan) is not installed: it has wheels for Linux and macOS on "
            "x86-64 and arm64, and for Windows on x86-64. Nothing passes unjudged, so nothing runs."
        ) from None
    return hyperscan
