"""Whether a wall falls when its server is started again: the policy gives now what it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeguard.isolation.profile import READ_ROOTS, WRITE_ROOTS
from pipeguard.isolation.run_later import is_held_back
from pipeguard.isolation.sensitive import is_within
from pipeguard.isolation.walls.wall import READ, ROOTS, WRITE

if TYPE_CHECKING:
    from pipeguard.isolation.profile import Profile
    from pipeguard.isolation.view import SandboxUser
    from pipeguard.isolation.walls.wall import Wall


def falls_at_next_start(wall: Wall, had: Profile, later: Profile, host: SandboxUser) -> bool:
    """Whether what a wall is about is given from the next start on, and was not before.

    Args:
        wall: that the server hit.
        had: what it got when it was started.
        later: what it gets when it is started again.
        host: this machine and its user.
    """
    if wall.rule == ROOTS:
        return not had.roots and later.roots in {READ_ROOTS, WRITE_ROOTS}
    if wall.rule == WRITE:
        given = set(later.write) - set(had.write)
    elif wall.rule == READ:
        given = {*later.read, *later.write} - {*had.read, *had.write}
    else:
        return False
    return any(
        is_within(wall.subject, each)
        and not is_held_back(wall.subject, each, host.home, host.sensitive)
        for each in given
    )
