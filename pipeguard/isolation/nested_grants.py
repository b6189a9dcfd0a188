"""Grants that lie in folders which a server may change: what of them is mounted, and what is not.

A file or folder that is mounted by itself can be neither renamed nor removed, and what is moved to
it is copied. So what its folder gives anyway is not mounted again. The server may then put a link
there, of which its next start makes nothing: what leads out of such a folder is refused.
"""

# pathlib costs 5 ms, and a server is waiting
from __future__ import annotations

from typing import TYPE_CHECKING

from pipeguard.errors import PolicyError
from pipeguard.isolation.run_later import is_held_back, run_later_in
from pipeguard.isolation.runtimes import leaves
from pipeguard.isolation.sensitive import holder_of, is_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeguard.isolation.profile import Profile
    from pipeguard.isolation.view import SandboxUser


def check_leading_out(profile: Profile) -> None:
    """Refuse links that the server may have made.

    Raises:
        PolicyError: a grant leads by a link out of a folder that the server may change.
    """
    for written, path in profile.links:
        for folder in profile.write:
            if leaves(folder, written, path):
                raise PolicyError(
                    f"{written} leads out of {folder} to {path}. The server may change that folder,"
                    " and may have made the link. Remove the link, or name the path that it leads"
                    " to."
                )


def without_nested(
    profile: Profile, host: SandboxUser, needed: Sequence[str]
) -> tuple[Profile, tuple[str, ...]]:
    """A profile without what it may change in a folder that it may change, and what stays fixed.

    Args:
        profile: what is given.
        host: this machine and its user.
        needed: what the server's program needs, which is mounted by itself in any case.

    Returns:
        The profile, and what is run later in folders that it names no more: still only read.
    """
    kept: list[str] = []
    fixed: list[str] = []
    for path in profile.write:
        around = [each for each in profile.write if each != path and is_within(path, each)]
        is_special = (
            holder_of(path, host.sensitive) is not None
            or any(is_held_back(path, each, host.home, host.sensitive) for each in around)
            or any(is_within(path, each) or is_within(each, path) for each in needed)
        )
        if is_special or not around:
            kept.append(path)
        else:
            git = profile.changes_git
            fixed += run_later_in(path, host.home, host.sensitive, changes_git=git)
    named = (each for each in fixed if each not in kept)
    return profile._replace(write=tuple(kept)), tuple(named)
