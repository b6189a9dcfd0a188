"""What your programs run later, outside, in folders that a server may write: only read there.

Git runs what its settings, hooks and index lead to, whoever wrote them (git-config(1),
`core.fsmonitor`); editors, clients and shells run what stands in theirs.
"""

# ruff: noqa: PTH118, PTH119, PTH120
# pathlib costs 5 ms, and a server is waiting
from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING

from pipeguard.isolation.repositories import GIT, MOST_ENTRIES, find_named, submodules_of
from pipeguard.isolation.sensitive import is_within

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

RUN_LATER = (
    *(GIT, ".husky", ".envrc", ".vscode", ".idea", ".devcontainer"),
    *(".mcp.json", ".cursor", ".claude", ".codex", ".gemini"),
)
OF_GIT_SERVERS = ("hooks", "config")  # of `.git`, that a server of git itself only reads
RUN_LATER_OF_HOME = (
    *("bin", ".local/bin", ".cargo/bin", ".gitconfig", ".config/git", ".config/environment.d"),
    *(".bash_aliases", ".bash_logout", ".zlogin", ".zlogout", ".xprofile", ".xsession", ".vimrc"),
    *(".xsessionrc", ".pam_environment", ".tmux.conf", ".config/tmux", ".config/nvim", ".emacs"),
    *(".emacs.d", ".local/share/systemd"),
)


def run_later_in(
    folder: str, home_folder: str, sensitive: Sequence[str], *, changes_git: bool
) -> Iterator[str]:
    """What there is in a folder, and in those below, that is run later.

    Args:
        folder: that a server may change.
        home_folder: the user's.
        sensitive: paths that stay covered, so that nothing in them is looked at.
        changes_git: whether it may change repositories, which then keep hooks and settings alone.
    """
    if is_of_git(folder):
        return  # named by hand
    paths = _of_home_in(folder, home_folder)
    for path in islice(find_named(folder, RUN_LATER), MOST_ENTRIES):
        if os.path.basename(path) != GIT:
            paths.append(path)
        elif changes_git:
            paths += (os.path.join(path, name) for name in OF_GIT_SERVERS)
        else:
            paths += (path, *submodules_of(path))
    covered = _covered_in(folder, sensitive)
    for path in dict.fromkeys(paths):
        is_there = os.path.lexists(path) and os.path.realpath(path) == path
        if is_there and not any(path != each and is_within(path, each) for each in covered):
            yield path


def find_made(
    given: Collection[str], mounted: Collection[str], home_folder: str, since: float
) -> Iterator[str]:
    """Find what is run later and came into folders while a server could change them.

    Args:
        given: the folders.
        mounted: what was mounted by itself, and so was there when the server started.
        home_folder: the user's.
        since: when it started, in seconds since 1970. Nobody sets the time at which a file was
            changed or moved last (`st_ctime`, inode(7)).
    """
    known = {each for path in mounted for each in (path, os.path.dirname(path))}
    for folder in given:
        if not any(folder != each and is_within(folder, each) for each in given):
            found = find_named(folder, RUN_LATER, with_links=True)
            paths = (*islice(found, MOST_ENTRIES), *_of_home_in(folder, home_folder))
            yield from (path for path in paths if path not in known and _is_new(path, since))


def _is_new(path: str, since: float) -> bool:
    try:
        return os.lstat(path).st_ctime >= since
    except OSError:
        return False


def is_held_back(path: str, folder: str, home_folder: str, sensitive: Sequence[str]) -> bool:
    """Whether a path in a folder has to be named for itself, though the folder may be changed.

    Something that stays covered there, or that is run later and only read.
    """
    later, covered = _of_home_in(folder, home_folder), _covered_in(folder, sensitive)
    names = path[len(folder) :].split("/") if is_within(path, folder) else ()
    is_later = any(name in RUN_LATER for name in names)
    return is_later or any(is_within(path, each) for each in (*later, *covered))


def _of_home_in(folder: str, home_folder: str) -> list[str]:
    """Where what is run later of a home would be, in a folder that is one."""
    names = RUN_LATER_OF_HOME if folder == home_folder else ()
    return [os.path.join(folder, name) for name in names]


def _covered_in(folder: str, sensitive: Sequence[str]) -> list[str]:
    """What stays covered in a folder."""
    return [each for each in sensitive if each != folder and is_within(each, folder)]


def is_of_git(path: str) -> bool:
    """Whether a path is a repository's own folder or file, or in one."""
    return GIT in path.split("/")


def holder_of_later(path: str, home_folder: str) -> str | None:
    """What is run later that a path is, or is in, whatever folder is given."""
    parts = path.split("/")
    for count, name in enumerate(parts, 1):
        if name in RUN_LATER:
            return "/".join(parts[:count])
    of_home = (os.path.join(home_folder, name) for name in RUN_LATER_OF_HOME)
    return next((each for each in of_home if is_within(path, each)), None)


def changed_git(write: Sequence[str], fixed: Collection[str]) -> Iterator[str]:
    """The repositories' own files and folders that a server may change.

    Args:
        write: what it may change.
        fixed: what in that it may only read.
    """
    for folder in write:
        found = (folder,) if is_of_git(folder) else find_named(folder, (GIT,))
        yield from (each for each in found if each not in fixed)
