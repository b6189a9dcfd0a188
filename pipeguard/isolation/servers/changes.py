"""Changes of what the policy gives a server here: what answers an event, and what is taken back."""

from __future__ import annotations

import datetime
import os
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.config.isolate_entry import own_entries
from pipeguard.config.isolate_key import find_entries
from pipeguard.config.policy_file import PolicyScope, parse_policy, policy_text
from pipeguard.isolation.extent import GIVEN, ITS_ARGUMENTS, ITS_OPTIONS, KNOWN
from pipeguard.isolation.learning.reduction import show_path
from pipeguard.isolation.sandbox import this_host
from pipeguard.isolation.sensitive import is_inside
from pipeguard.isolation.walls.grants import PATHS, absolute, find_grant, is_covered, needless
from pipeguard.isolation.walls.revocation import (
    GrantRevocation,
    plan_revocation,
)
from pipeguard.state.exceptions import is_wall
from pipeguard.unicode.display import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.isolation.extent import Extent
    from pipeguard.isolation.walls.grants import WallGrant
    from pipeguard.state.exceptions import AuditedEvent

# Grants that come from options, arguments or built-in profiles and cannot be revoked.
_WAYS = {
    ITS_OPTIONS: "Its options give it {what}, {where}: change that there.",
    ITS_ARGUMENTS: (
        "{what} is among the arguments of its command, {where}, which grants it: change it there."
    ),
    KNOWN: "It gets {what} because PipeGuard knows its package, however it is isolated ({where}).",
}


def find_wall_grant(event: AuditedEvent, port: int | None, *, is_wide: bool) -> WallGrant | None:
    """Find what would let a server through that hit a wall; None for any other event.

    Args:
        event: that was stopped.
        port: of the host, where the event does not say it.
        is_wide: whether a folder may hold what has to be named by itself.

    Raises:
        PolicyError: it is not offered.
    """
    if not any(is_wall(finding.get("rule", "")) for finding in event.findings):
        return None
    name = escape(event.server)
    return find_grant(event.findings, this_host(), port, is_wide=is_wide, server=name)


class GrantChange(NamedTuple):
    """The change of a policy file that gives a server something.

    Attributes:
        entry: what is added under `isolate`.
        dropped: by key, what becomes redundant, and goes.
        is_new: whether the policy does not give it already.
    """

    entry: dict[str, object]
    dropped: dict[str, list[str]]
    is_new: bool


def plan_grant(server: str, grant: WallGrant, path: str, today: datetime.date) -> GrantChange:
    """Plan the change that gives a server something.

    Args:
        server: its name.
        grant: what to give.
        path: the policy file, which need not exist.
        today: by the user's own calendar.

    Raises:
        PolicyError: the file is invalid.
    """
    entries, name = _read_entries(path, today), escape(server)
    own = [entries[at] for at in own_entries(name, entries)]
    entry: dict[str, object] = {"server": name, grant.kind: [grant.value]}
    dropped = needless(grant, own, this_host())
    return GrantChange(entry, dropped, not _has(entries, server, grant))


def revoke_grant(
    name: str,
    what: str,
    entries: Sequence[IsolateEntry],
    extents: Iterable[tuple[str, Extent]],
) -> GrantRevocation:
    """Plan what takes one grant back from a server; drops nothing where its entries give none.

    Args:
        name: of the server.
        what: a path, host or port as the policy has it, or a key that has no list.
        entries: of the policy.
        extents: what the server would be given, each with the place of its entry.

    Raises:
        PolicyError: it cannot be taken from this server alone, or by itself.
    """
    own = [entries[at] for at in own_entries(escape(name), entries)]
    others = [each for each in find_entries(name, tuple(entries)) if each not in own]
    others += [each for each in entries if each.tag and each not in others]
    found = plan_revocation(name, what, own, others, this_host())
    found = found or GrantRevocation({}, is_live=True, left="")
    left = [found.left, *_other_grants(extents, what)]
    return found._replace(left="\n".join(filter(None, left)))


def _other_grants(extents: Iterable[tuple[str, Extent]], what: str) -> Iterator[str]:
    """Say where else something is given, and so has to be changed."""
    home_folder = os.path.expanduser("~")
    for where, extent in extents:
        for value, why in _holders(extent, what):
            shown = visible(show_path(value, home_folder))
            yield _WAYS[why].format(what=shown, where=visible(where))


def _holders(extent: Extent, what: str) -> Iterator[tuple[str, str]]:
    is_path = what.startswith(("/", "~"))
    path = absolute(what, this_host()) if is_path else ""
    for kind in GIVEN:
        for value, why in getattr(extent, kind):
            is_it = is_path and is_inside(path, value) if kind in PATHS else what.lower() == value
            if why in _WAYS and is_it:
                yield value, why


def _read_entries(path: str, today: datetime.date) -> tuple[IsolateEntry, ...]:
    """The entries of a policy file, which need not exist."""
    if not Path(path).exists():
        return ()
    text = policy_text(path, PolicyScope.USER)
    return parse_policy(text, path, PolicyScope.USER, now=0.0, today=today).isolate


def _has(entries: Sequence[IsolateEntry], server: str, grant: WallGrant) -> bool:
    """True if a policy gives a server this."""
    host = this_host()
    return any(is_covered(each, grant, host) for each in find_entries(server, tuple(entries)))
