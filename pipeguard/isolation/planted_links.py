"""Links on the path of a client's root that a server may have made, in this run or before.

A server may have been given any folder that an argument or a root gives unasked, and have put links
there. Who follows one that leads out of its folder would give what nobody named.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from pipeguard.isolation.runtimes import may_be_meant
from pipeguard.isolation.sensitive import contains_path

if TYPE_CHECKING:
    from pipeguard.isolation.view import SandboxUser

MOST_LINKS = 40  # as the kernel follows (path_resolution(7))


def resolve_target(path: str, host: SandboxUser) -> str | None:
    """Resolve a path; None where it passes a link that a server may have made.

    Followed are links that stand in the home itself, or in a folder that we cannot change: none of
    these is given to a server unasked.

    Args:
        path: an absolute one.
        host: this machine and its user.

    Raises:
        OSError: a link leads in circles, or is gone meanwhile.
    """
    place, rest, plantable = "/", path.split("/")[::-1], set[str]()
    links = 0
    while rest:
        name = rest.pop()
        step = os.path.dirname(place) if name == ".." else os.path.join(place, name).rstrip("/")
        if name in ("", ".", "..") or not os.path.islink(step):
            place = step or "/"
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if may_be_meant(place, host) and os.access(place, os.W_OK):
            plantable.add(place)
        target = os.readlink(step)
        place = "/" if target.startswith("/") else place
        rest += target.split("/")[::-1]
    return place if all(contains_path(place, each) for each in plantable) else None
