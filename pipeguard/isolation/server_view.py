"""What an isolated server sees, from its command and its profile; starts nothing, makes nothing."""

# ruff: noqa: PTH100, PTH118
# pathlib costs 5 ms, and a server is waiting
from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.isolation.profile import Profile
from pipeguard.isolation.runtimes import files_among, folders_among, read_alone
from pipeguard.isolation.view import view_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeguard.isolation.runtimes import Runtime
    from pipeguard.isolation.view import FileView, SandboxUser


class ServerView(NamedTuple):
    """What one server sees.

    Attributes:
        profile: what it is given, with what its arguments name.
        needed: what its program needs, and what else it may only read in a folder that it may
            change.
        files: all its mounts.
        code: files among its arguments, of which one is the script that runs, often.
    """

    profile: Profile
    needed: tuple[str, ...]
    files: FileView
    code: tuple[str, ...] = ()


def server_view(  # noqa: PLR0913, PLR0917  what one server is
    arguments: Sequence[str],
    runtime: Runtime,
    profile: Profile,
    host: SandboxUser,
    folder: str,
    kept_home: str | None,
    fixed: tuple[str, ...] = (),
) -> ServerView:
    """The view of a server.

    Args:
        arguments: of its program.
        runtime: its program.
        profile: what it is given by name.
        host: this machine and its user.
        folder: that it starts in.
        kept_home: the folder that is its home, where that is kept between runs.
        fixed: files that it may read and not change, in a folder that it may change.

    Raises:
        PolicyError: what it is given cannot be.
        OSError: a path was moved meanwhile.
    """
    named = folders_among(arguments, folder, host, profile.write)
    among = tuple(path for path in named if path not in runtime.needed)
    among, held = read_alone(among, profile)
    files = files_among(arguments, folder, host, (*profile.write, *among))
    whole = Profile(read=files, write=among).with_more(profile)
    needed = (*runtime.needed, *fixed, *held)
    code = (os.path.abspath(os.path.join(folder, word)) for word in arguments if "\0" not in word)
    view = view_of(whole, host, needed, folder, kept_home)
    return ServerView(whole, needed, view, tuple(filter(os.path.isfile, code)))
