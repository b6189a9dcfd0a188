"""What an isolated server sees at a path, by its view alone: no file is looked at."""

from __future__ import annotations

import os.path
from enum import Enum
from typing import TYPE_CHECKING

from pipeguard.isolation.sensitive import is_within
from pipeguard.isolation.view import MountKind

if TYPE_CHECKING:
    from pipeguard.isolation.view import FileView

MAX_LINKS = 8


class Sight(Enum):
    """What a server can do with this machine's file at a path."""

    CHANGED = "changed"
    READ = "read"
    NOTHING = "nothing"  # it does not see it; what it has there may be its own


def is_own_folder(view: FileView, path: str) -> bool:
    """Whether a path is a folder of the server's own, in which it may write."""
    return any(mount.kind is MountKind.EMPTY and mount.path == path for mount in view.mounts)


def sight_of(view: FileView, path: str) -> Sight:
    """What a server can do with this machine's file at an absolute path without `..`."""
    for _ in range(MAX_LINKS):
        around = None
        # What stands later covers what stands before; a folder that is made covers nothing.
        for mount in view.mounts:
            if mount.kind is not MountKind.FOLDER and is_within(path, mount.path):
                around = mount
        if around is None:
            return Sight.NOTHING
        if around.kind is not MountKind.LINK:
            break
        rest = path[len(around.path) :]
        above = "" if around.source.startswith("/") else around.path.rpartition("/")[0]
        path = os.path.normpath(f"{above}/{around.source.lstrip('/')}{rest}")
    else:
        return Sight.NOTHING
    if around.kind is MountKind.WRITE:
        # Of a kept home the source is elsewhere: it is the server's own.
        return Sight.CHANGED if around.source == around.path else Sight.NOTHING
    is_there = around.kind is MountKind.READ or (
        around.kind in {MountKind.COPY, MountKind.TEXT} and path == around.path
    )
    return Sight.READ if is_there else Sight.NOTHING
