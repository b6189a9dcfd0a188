"""Whether others get a file with its git repository: read from the repository, and git is not run.

A repository that was cloned, or came as an archive, may hold a configuration by which git itself
starts programs. So nothing of it is obeyed: two kinds of files are read, the index and the lists
of ignored files (git's documentation: gitformat-index, gitignore, gitrepository-layout), each up
to a limit. What cannot be read, or is written in a way that is not known here, counts as shared:
then a person is asked to say `--shared`.
"""

# A path is taken as it is written where a link matters; Path.resolve raises on a loop of links.
# ruff: noqa: PTH208
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
_VERSIONS = (2, 3)  # of the index; in version 4 names are cut down to where they differ
_STARS = re.compile(r"\*{2,}\Z")
_EXCLUDES = re.compile(
    r"^[ \t]*excludesfile[ \t]*=[ \t]*(.+?)[ \t]*$", re.IGNORECASE | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One line of a list of ignored files.

    Attributes:
        segments: between slashes; `**` stands for any number of folders.
        takes_back: it begins with `!`.
        folders_only: it ends with a slash.
    """

    segments: tuple[str, ...]
    takes_back: bool
    folders_only: bool


def is_shared(path: Path, machine: Machine) -> bool:
    """Whether git has a file, or would take it: others get it with the repository.

    Args:
        path: the file, as its client names it.
        machine: whose list of files that git ignores everywhere counts.
    """
    real = Path(os.path.realpath(path))
    top = repository(real.parent)
    if top is None:
        return False
    parts = real.relative_to(top).parts
    try:
        folder, common = _git_folders(top)
        return _is_tracked(folder, parts) or not _is_ignored(top, common, parts, machine)
    except (InputError, OSError, UnicodeError):
        return True


def _git_folders(top: Path) -> tuple[Path, Path]:
    """The folder of the index, and the one that worktrees of a repository have in common."""
    folder = top / ".git"
    if not folder.is_dir():  # of a worktree or a submodule
        text = _text(folder).strip()
        if not text.startswith("gitdir:"):
            raise InputError(f"{folder} names no folder of git.")
        folder = _below(top, text.removeprefix("gitdir:").strip())
    common = folder / "commondir"
    return folder, _below(folder, _text(common).strip()) if common.is_file() else folder


def _below(base: Path, place: str) -> Path:
    """A folder that a repository names.

    Raises:
        InputError: it is on another machine, which would learn who asks.
    """
    if place.startswith(("//", "\\\\")):
        raise InputError(f"{place} is on another machine.")
    return base / place


def _is_tracked(folder: Path, parts: Sequence[str]) -> bool:
    """Whether the index has a file.

    Each name in it ends with a zero byte, whatever hash it stands beside. A file whose name ends
    alike is taken for it, and so is one in a folder that a sparse index holds as a whole.
    """
    path = folder / "index"
    if not os.path.lexists(path):
        return False
    if any(name.startswith("sharedindex.") for name in os.listdir(folder)):
        return True  # the index is in two parts
    index, _ = read(str(path), MAX_INDEX_BYTES, InputError)
    if index[:4] != b"DIRC" or int.from_bytes(index[4:8], "big") not in _VERSIONS:
        return True
    index = index.lower()  # as systems compare names that know no case
    names = ["/".join(parts), *("/".join((*parts[:end], "")) for end in range(1, len(parts)))]
    return any(os.fsencode(name).lower() + b"\0" in index for name in names)


def _is_ignored(top: Path, common: Path, parts: Sequence[str], machine: Machine) -> bool:
    """Whether a file, or a folder that it is in, is ignored; the last pattern that fits decides."""
    everywhere = [*_listed(_users_list(machine)), *_listed(common / "info" / "exclude")]
    lists: list[tuple[int, Sequence[_Pattern]]] = [(0, everywhere)]
    lists += (
        (depth, list(_listed(top.joinpath(*parts[:depth], ".gitignore"))))
        for depth in range(len(parts))
    )
    for end in range(1, len(parts) + 1):
        ignored = False
        for depth, patterns in lists[: end + 1]:
            for one in patterns:
                if (end < len(parts) or not one.folders_only) and _fits(one, parts[depth:end]):
                    ignored = not one.takes_back
        if ignored:
            return True
    return False


def _fits(pattern: _Pattern, parts: Sequence[str]) -> bool:
    reached = {0}
    for segment in pattern.segments:
        if segment == "**":
            reached = set(range(min(reached), len(parts) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(parts) and _is(parts[at], segment)}
        if not reached:
            return False
    return len(parts) in reached


def _is(name: str, segment: str) -> bool:
    return name == segment or (("*" in segment or "?" in segment) and fnmatchcase(name, segment))


def _listed(path: Path) -> Iterator[_Pattern]:
    """The patterns of a list; none where there is no list.

    Raises:
        InputError: it cannot be read, or is too long.
    """
    if not path.is_file():
        return
    lines = _text(path).replace("\r\n", "\n").split("\n")  # nothing else ends a line of git's
    if len(lines) > MOST_PATTERNS:
        raise InputError(f"{path} has more than {MOST_PATTERNS} lines.")
    for line in lines:
        takes_back = line.startswith("!")
        written = line.removeprefix("!").rstrip(" ")
        if not written or line.startswith("#"):
            continue
        if "\\" in written or "[" in written:  # not known here: it may take back, and not ignore
            written = "**" if takes_back else ""
        bare = written.strip("/")
        if not bare:
            continue
        segments = [*bare.split("/")] if "/" in written.rstrip("/") else ["**", bare]
        segments = ["**" if _STARS.match(segment) else segment for segment in segments]
        if segments[-1] == "**":  # all that is in a folder, and not the folder itself
            segments.append("*")
        yield _Pattern(tuple(segments), takes_back, written.endswith("/"))


def _users_list(machine: Machine) -> Path:
    """The list that holds for all of a user's repositories: named in git's own file, or usual."""
    own = machine.home / ".gitconfig"
    named = _EXCLUDES.findall(_text(own)) if own.is_file() else []
    if named:
        place: str = named[-1].strip('"')
        return machine.home / place.removeprefix("~/")
    return Path(machine.folder("xdg") or machine.home, "git", "ignore")


def _text(path: Path) -> str:
    return read(str(path), MAX_TEXT_BYTES, InputError)[0].decode("utf-8", "surrogateescape")
