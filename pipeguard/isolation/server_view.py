"""The view of an isolated server, from its command and profile; starts nothing, makes nothing."""

import os
from collections.abc import Sequence
from os.path import abspath, isdir, isfile, join
from typing import NamedTuple

from pipeguard.errors import PolicyError
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.run_later import find_run_later, is_held_back, is_of_git
from pipeguard.isolation.runtimes import Runtime, leaves, paths_among, read_alone
from pipeguard.isolation.sensitive import is_in_any, is_inside, overlaps
from pipeguard.isolation.view import FileView, SandboxUser, build_view


def without_nested(
    profile: Profile, host: SandboxUser, needed: Sequence[str]
) -> tuple[Profile, tuple[str, ...]]:
    """A profile without writable paths nested in others, and the paths that stay read-only.

    Args:
        profile: the grants.
        host: this machine and its user.
        needed: paths that the server's program needs, which have mounts of their own anyway.

    Returns:
        The profile, and files run later in folders that it no longer names: still read-only.
    """
    kept = []
    fixed: list[str] = []
    for path in profile.write:
        around = [each for each in profile.write if each != path and is_inside(path, each)]
        is_special = (
            is_in_any(path, host.sensitive)
            or any(is_held_back(path, each, host.home, host.sensitive) for each in around)
            or overlaps(path, needed)
        )
        if is_special or not around:
            kept.append(path)
        else:
            git = profile.serves_git
            fixed += find_run_later(path, host.home, host.sensitive, changes_git=git)
    named = (each for each in fixed if each not in kept)
    return profile._replace(write=tuple(kept)), tuple(named)


class ServerView(NamedTuple):
    """The view of one server.

    Attributes:
        profile: its grants, including those from its arguments.
        needed: paths its program needs, and other read-only paths in changeable folders.
        files: all its mounts.
        code: files among its arguments; often one of them is the script that runs.
    """

    profile: Profile
    needed: tuple[str, ...]
    files: FileView
    code: tuple[str, ...] = ()


def server_view(
    arguments: Sequence[str],
    runtime: Runtime,
    profile: Profile,
    *,
    host: SandboxUser,
    folder: str,
    kept_home: str | None,
    fixed: tuple[str, ...] = (),
) -> ServerView:
    """The view of a server.

    Args:
        arguments: its program's, as returned by runtimes.with_paths.
        runtime: its program.
        profile: its explicit grants.
        host: this machine and its user.
        folder: its working directory.
        kept_home: the folder that is its home, if that is kept between runs.
        fixed: read-only files in a folder that it may change.

    Raises:
        PolicyError: a grant is impossible.
        OSError: a path was moved in the meantime.
    """
    named, files = given_among(arguments, runtime.needed, profile, host, folder)
    among, held = read_alone(named, profile)
    git = tuple(path for path in among if is_of_git(path) and not _may_change_git(path, profile))
    among = tuple(path for path in among if path not in git)
    given = Profile(read=(*files, *git), write=among).with_more(profile)
    for written, path in given.links:
        if folder_left := next((f for f in given.write if leaves(f, written, path)), ""):
            raise PolicyError(
                f"{written} leads out of {folder_left} to {path}. The server may change that"
                " folder, and may have made the link."
            )
    alone = (*runtime.needed, *fixed, *held, *git)
    whole, later = without_nested(given, host, alone)
    needed = (*alone, *later)
    code = (abspath(join(folder, word)) for word in arguments if "\0" not in word)
    view = build_view(whole, host, needed, folder, kept_home)
    if profile.serves_git:
        from pipeguard.isolation.git_settings import find_settings  # of few servers

        changed = next(filter(isdir, whole.write), folder)
        settings = find_settings(host, os.environ, changed)
        view = view._replace(mounts=(*settings, *view.mounts))  # the user's grants cover them
    return ServerView(whole, needed, view, tuple(filter(isfile, code)))


def _may_change_git(path: str, profile: Profile) -> bool:
    """True if an argument names a repository's own folder to change it: not `--exclude .git`."""
    return profile.serves_git or is_in_any(path, filter(is_of_git, profile.write))


def given_among(
    arguments: Sequence[str],
    needed: Sequence[str],
    profile: Profile,
    host: SandboxUser,
    folder: str,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The folders among a server's arguments and variables, and the files, which are read-only.

    Args:
        arguments: its program's, as returned by runtimes.with_paths.
        needed: paths its program needs, which an argument must not make changeable.
        profile: its explicit grants, and the paths in its variables.
        host: this machine and its user.
        folder: its working directory.
    """
    named = tuple(paths_among((*arguments, *profile.named), folder, host, profile.write))
    folders = tuple(path for path in named if path not in needed and isdir(path))
    files = filter(isfile, named)
    return folders, tuple(path for path in files if not is_in_any(path, folders))
