"""Tells whether git shares a file with others, without running git.

A cloned or unpacked repository may have a configuration that makes git start programs. So only two
kinds of its files are read, each up to a limit: the index and the lists of ignored files (git's
documentation: gitformat-index, gitignore, gitrepository-layout). A file counts as shared if these
cannot be read, or have an unknown format: then a person must say `--shared`.
"""

# Path.resolve raises on a loop of links.
from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from pipeguard.clients.machine import Machine, repository
from pipeguard.config.directories import read
from pipeguard.errors import InputError

MAX_INDEX_BYTES = 256 * 2**20  # a million files take about a hundred
MAX_TEXT_BYTES = 2**20
MOST_PATTERNS = 10_000  # of one list
_VERSIONS = (2, 3)  # of the index; version 4 compresses names
_STARS = re.compile(r"\*{2,}\Z")
_EXCLUDES = re.compile(
    r"^[ \t]*excludesfile[ \t]*=[ \t]*(.+?)[ \t]*$", re.IGNORECASE | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One line of a list of ignored files.

    Attributes:
        segments: its parts between slashes; `**` matches any number of folders.
        negates: it begins with `!`.
        folders_only: it ends with a slash.
    """

    segments: tuple[str, ...]
    negates: bool
    folders_only: bool


def find_sharing(path: Path, machine: Machine) -> str:
    """Describe how git gives a file to others with the repository.

    Args:
        path: the file's path in its client.
        machine: the machine of the user whose own list of ignored files applies.

    Returns:
        Words for people; empty if git ignores the file, or it is in no repository.
    """
    real = Path(os.path.realpath(path))
    top = repository(real.parent)
    if top is None:
        return ""
    parts = real.relative_to(top).parts
    try:
        folder, common = _git_folders(top)
        if _is_tracked(folder, parts):
            return "git tracks its file"
        return "" if _is_ignored(top, common, parts, machine) else "this file would be committed"
    except (InputError, OSError, UnicodeError):
        return "git may track its file"


def _git_folders(top: Path) -> tuple[Path, Path]:
    """Return the repository's own git folder, and the one that its worktrees share."""
    folder = top / ".git"
    if not folder.is_dir():  # a worktree or a submodule
        text = _text(folder).strip()
        if not text.startswith("gitdir:"):
            raise InputError(f"{folder} does not name git's folder.")
        folder = _below(top, text.removeprefix("gitdir:").strip())
    common = folder / "commondir"
    return folder, _below(folder, _text(common).strip()) if common.is_file() else folder


def _below(base: Path, place: str) -> Path:
    """The path of a folder that a repository names.

    Raises:
        InputError: it is on another machine, which would notice the access.
    """
    if place.startswith(("//", "\\\\")):
        raise InputError(f"{place} is on another machine.")
    return base / place


def _is_tracked(folder: Path, parts: Sequence[str]) -> bool:
    """True if the index has a file.

    Each name in it ends with a zero byte, whatever hash precedes it. A file whose name only has the
    same ending counts as tracked, and so does a folder that a sparse index has as a whole.
    """
    path = folder / "index"
    if not os.path.lexists(path):
        return False
    if any(name.startswith("sharedindex.") for name in os.listdir(folder)):
        return True  # the index is split
    index, _ = read(str(path), MAX_INDEX_BYTES, InputError)
    if index[:4] != b"DIRC" or int.from_bytes(index[4:8], "big") not in _VERSIONS:
        return True
    index = index.lower()  # some systems ignore case
    names = ["/".join(parts), *("/".join((*parts[:end], "")) for end in range(1, len(parts)))]
    return any(os.fsencode(name).lower() + b"\0" in index for name in names)


def _is_ignored(top: Path, common: Path, parts: Sequence[str], machine: Machine) -> bool:
    """True if a file, or a folder that it is in, is ignored; the last matching pattern decides."""
    everywhere = [*_patterns(_users_list(machine)), *_patterns(common / "info" / "exclude")]
    lists: list[tuple[int, Sequence[_Pattern]]] = [(0, everywhere)]
    lists += (
        (depth, list(_patterns(top.joinpath(*parts[:depth], ".gitignore"))))
        for depth in range(len(parts))
    )
    for end in range(1, len(parts) + 1):
        matching = [
            pattern
            for depth, patterns in lists[: end + 1]
            for pattern in patterns
            if (end < len(parts) or not pattern.folders_only)
            and _matches(pattern, parts[depth:end])
        ]
        if matching and not matching[-1].negates:
            return True
    return False


def _matches(pattern: _Pattern, parts: Sequence[str]) -> bool:
    reached = {0}
    for segment in pattern.segments:
        if segment == "**":
            reached = set(range(min(reached), len(parts) + 1)) if reached else reached
        else:
            fits = fnmatchcase if {*"*?"} & {*segment} else str.__eq__  # fnmatch compiles each
            reached = {
                at + 1 for at, name in enumerate(parts) if at in reached and fits(name, segment)
            }
    return len(parts) in reached


def _patterns(path: Path) -> Iterator[_Pattern]:
    """Yield the patterns of an ignore file, if it exists.

    Raises:
        InputError: it cannot be read, or is too long.
    """
    if not path.is_file():
        return
    lines = _text(path).replace("\r\n", "\n").split("\n")  # git ends lines with nothing else
    if len(lines) > MOST_PATTERNS:
        raise InputError(f"{path} has more than {MOST_PATTERNS} lines.")
    for line in lines:
        negates = line.startswith("!")
        pattern = line.removeprefix("!").rstrip(" ")
        if not pattern or line.startswith("#"):
            continue
        if "\\" in pattern or "[" in pattern:  # not supported: it may negate, but never ignores
            pattern = "**" if negates else ""
        bare = pattern.strip("/")
        if not bare:
            continue
        segments = [*bare.split("/")] if "/" in pattern.rstrip("/") else ["**", bare]
        segments = ["**" if _STARS.match(segment) else segment for segment in segments]
        if segments[-1] == "**":  # everything in a folder, but not the folder itself
            segments.append("*")
        yield _Pattern(tuple(segments), negates, pattern.endswith("/"))


def _users_list(machine: Machine) -> Path:
    """Return the user's ignore file for all repositories: from git's configuration, or default."""
    own = machine.home / ".gitconfig"
    named = _EXCLUDES.findall(_text(own)) if own.is_file() else []
    if named:
        place: str = named[-1].strip('"')
        return machine.home / place.removeprefix("~/")
    return Path(machine.folder("xdg") or machine.home, "git", "ignore")


def _text(path: Path) -> str:
    return read(str(path), MAX_TEXT_BYTES, InputError)[0].decode("utf-8", "surrogateescape")
