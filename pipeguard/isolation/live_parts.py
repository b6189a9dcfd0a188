"""The parts of a sandbox that change while it runs: client roots, and restored covers."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from pipeguard.isolation.covers import CoverWatch, covers_in_view, unwatched_message
from pipeguard.launch.lifeline import Lifeline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeguard.isolation.covers import Cover
    from pipeguard.isolation.live_mounts import Doorway
    from pipeguard.isolation.profile import Profile
    from pipeguard.isolation.roots import SandboxRoots
    from pipeguard.isolation.view import FileView, SandboxUser


def live_parts(  # noqa: PLR0917  what one server is
    view: FileView,
    profile: Profile,
    host: SandboxUser,
    needed: Sequence[str],
    say: Callable[[str], None],
    said_before: set[str],
) -> tuple[SandboxRoots | None, Doorway | None]:
    """Create what gives a server its roots, and what mounts them; None of each without need.

    Covers are watched from here on, before anything is mounted: what is replaced later is seen.

    Args:
        view: the files that it sees.
        profile: what it is given.
        host: this machine and its user.
        needed: what its program needs.
        say: tells the user what is refused, and that covers cannot be watched.
        said_before: the latter, once it was.

    Raises:
        OSError: the system has no descriptors left.
    """
    covers = covers_in_view(view)
    if not profile.roots and not covers:
        return None, None
    from pipeguard.isolation.live_mounts import Doorway

    def tell_unwatched(number: int) -> None:
        if (text := unwatched_message(number)) not in said_before:
            said_before.add(text)
            say(text)

    watch = _start_watch(covers, tell_unwatched)
    roots, requests = None, None
    if profile.roots:
        from pipeguard.isolation.roots import SandboxRoots

        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        roots, requests = SandboxRoots(ours, profile, host, needed, say), theirs.detach()
        roots.on_unwatched = tell_unwatched
    return roots, Doorway(covers, watch, requests, *os.pipe(), Lifeline())


def _start_watch(covers: Sequence[Cover], tell: Callable[[int], None]) -> CoverWatch | None:
    watch = None
    try:
        watch = CoverWatch()
        watch.follow(covers)
    except OSError as error:
        tell(error.errno or 0)
    return watch
