"""The files that `scan` is given: by name, by folder, by pattern. Not a command itself."""

# Path neither expands an absolute pattern nor walks a folder without its links on Python 3.11.

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeguard.errors import InputError
from pipeguard.unicode.display import visible

STDIN = "-"
_MAGIC = "*?["
_SEPARATORS = os.sep + (os.altsep or "")


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
    def fail(error: OSError) -> None:
        raise InputError(f"{visible(str(error.filename))} cannot be read: {error.strerror}.")

    for root, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(root, name)
            if not name.startswith(".") and _is_own_file(path):
                yield path


def _matching(pattern: str) -> Iterator[str]:
    """The files that match; a pattern may come in quotes, where the shell does not expand it."""
    if any(sign in pattern for sign in _MAGIC):
        drive, rest = os.path.splitdrive(pattern)
        begin = drive + rest[: len(rest) - len(rest.lstrip(_SEPARATORS))]
        steps = [step for step in re.split(f"[{re.escape(_SEPARATORS)}]+", rest) if step]
        found = dict.fromkeys(_expanded(begin, tuple(steps)))
        yield from sorted(path for path in found if _is_own_file(path))


def _expanded(folder: str, steps: tuple[str, ...]) -> Iterator[str]:
    """The paths that the steps of a pattern lead to; `**` stands for folders, and for no links.

    A link to a folder above it would lead to every file again and again, as `glob` follows it.
    """
    if not steps:
        yield folder
        return
    step, rest = steps[0], steps[1:]
    if step == "**":
        while rest[:1] == ("**",):
            rest = rest[1:]
        steps = ("**", *rest)
        rest = rest or ("*",)
        yield from _expanded(folder, rest)
        for name in _names(folder):
            path = os.path.join(folder, name)
            if not name.startswith(".") and os.path.isdir(path) and not os.path.islink(path):
                yield from _expanded(path, steps)
    elif any(sign in step for sign in _MAGIC):
        for name in fnmatch.filter(_names(folder), step):
            if step.startswith(".") or not name.startswith("."):
                yield from _expanded(os.path.join(folder, name), rest)
    else:
        yield from _expanded(os.path.join(folder, step), rest)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder or "."))
    except (NotADirectoryError, FileNotFoundError):
        return []
    except OSError as error:
        raise InputError(f"{visible(folder)} cannot be read: {error.strerror}.") from None


def _is_own_file(path: str) -> bool:
    """Whether it is a file, and neither a link nor a pipe, which would be waited for."""
    return os.path.isfile(path) and not os.path.islink(path)
