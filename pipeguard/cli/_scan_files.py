"""The files that `scan` is given: by name, by folder, by pattern. Not a command itself."""

# Path neither expands an absolute pattern nor walks a folder without its links on Python 3.11.
# ruff: noqa: PTH112, PTH113, PTH114, PTH118, PTH207

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeguard.core.unicode.display import visible
from pipeguard.errors import InputError

STDIN = "-"
_MAGIC = "*?["


@dataclass(frozen=True, slots=True)
class ScanFiles:
    """What is to be judged.

    Attributes:
        paths: of files, each once, in the order of the words that name them.
        chosen: those that a person named one by one; what cannot be read of others is skipped.
    """

    paths: tuple[str, ...]
    chosen: frozenset[str]

    @property
    def is_one(self) -> bool:
        """True for one file by its name, or standard input."""
        return len(self.paths) == 1 and self.paths[0] in self.chosen


def scan_files(words: Sequence[str]) -> ScanFiles:
    """The files that words name: a file, a folder with all below it, or a pattern (`**/*.md`).

    Hidden files and folders, and links, are left out where no word names them.

    Raises:
        InputError: a word names nothing, or standard input is not the only one.
    """
    if STDIN in words and len(words) > 1:
        raise InputError("standard input (-) is judged alone: leave out the files, or -.")
    paths: dict[str, None] = {}
    chosen = set()
    for word in words:
        if word == STDIN or os.path.isfile(word):
            chosen.add(word)
            paths[word] = None
            continue
        found = list(_below(word) if os.path.isdir(word) else _matching(word))
        if not found:
            raise InputError(f"{visible(word)!r} names no file.")
        paths |= dict.fromkeys(found)
    return ScanFiles(tuple(paths), frozenset(chosen))


def _below(folder: str) -> Iterator[str]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(root, name)
            if not name.startswith(".") and not os.path.islink(path):
                yield path


def _matching(pattern: str) -> Iterator[str]:
    """The files that match; a pattern may come in quotes, where the shell does not expand it."""
    if any(sign in pattern for sign in _MAGIC):
        for path in sorted(glob.glob(pattern, recursive=True)):
            if os.path.isfile(path) and not os.path.islink(path):
                yield path
