"""Where a link leads that a server sees, and that leads to what it does not see.

Looks at what the server itself is given, and at no file beyond: it could read the link as well.
"""

# ruff: noqa: PTH114, PTH115, PTH118, PTH120
# the functions that the other modules of this package use
from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeguard.isolation.walls.sight import MAX_LINKS, Sight, sight_of

if TYPE_CHECKING:
    from pipeguard.isolation.view import FileView


def led_out_to(path: str, view: FileView) -> str | None:
    """The path outside that links lead to from one that a server sees; None where none does.

    Args:
        path: absolute, without `..`.
        view: what the server sees.
    """
    for _ in range(MAX_LINKS):
        if sight_of(view, path) is Sight.NOTHING:
            return path
        link = _first_link(path, view)
        if link is None:
            return None
        try:
            target = os.readlink(link)
        except OSError:
            return None  # it is none any more
        rest = path[len(link) :].lstrip("/")
        path = os.path.normpath(os.path.join(os.path.dirname(link), target, rest))
    return None


def _first_link(path: str, view: FileView) -> str | None:
    parts = path.strip("/").split("/")
    for count in range(1, len(parts) + 1):
        above = "/" + "/".join(parts[:count])
        if sight_of(view, above) is not Sight.NOTHING and os.path.islink(above):
            return above
    return None
