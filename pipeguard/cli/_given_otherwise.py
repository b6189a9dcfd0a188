"""What a server is given by other than the policy, which no command takes. Not one itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeguard.cli._extent_report import short_path
from pipeguard.core.unicode.display import visible
from pipeguard.isolation.extent import GIVEN, ITS_ARGUMENTS, ITS_OPTIONS, KNOWN
from pipeguard.isolation.sensitive import is_within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeguard.cli._isolation import ServerIsolation
    from pipeguard.isolation.extent import Extent

_WAYS = {
    ITS_OPTIONS: "Its options give it {what}, {where}: change that there.",
    ITS_ARGUMENTS: (
        "{what} is among the arguments of its command, {where}, which gives it: change that there."
    ),
    KNOWN: (
        "It is given {what} since its package is known: `--isolate bubblewrap` in the place of"
        " `auto` gives none of that ({where})."
    ),
}


def given_otherwise(state: ServerIsolation, what: str) -> Iterator[str]:
    """A sentence for each entry or command that gives something, with where to change that.

    Args:
        state: what is known of the server.
        what: a path, a host or a port.
    """
    for where, extent in _extents(state):
        for value, why in _holders(extent, what):
            shown = visible(short_path(value))
            yield _WAYS[why].format(what=shown, where=visible(where))


def _extents(state: ServerIsolation) -> Iterator[tuple[str, Extent]]:
    """What it is given, with where that is said."""
    for each in state.servers:
        if each.isolation.is_held and each.touches.extent is not None:
            yield f"in its entry in {short_path(str(each.server.file))}", each.touches.extent
    if not state.servers and state.started is not None:
        yield "as it was started by hand last", state.started.extent


def _holders(extent: Extent, what: str) -> Iterator[tuple[str, str]]:
    from pipeguard.isolation.sandbox import this_host
    from pipeguard.isolation.walls.grants import PATHS, absolute

    is_path = what.startswith(("/", "~"))
    path = absolute(what, this_host()) if is_path else ""
    for kind in GIVEN:
        for value, why in getattr(extent, kind):
            is_it = is_path and is_within(path, value) if kind in PATHS else what.lower() == value
            if why in _WAYS and is_it:
                yield value, why
