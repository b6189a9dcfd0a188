"""The change of the policy that gives a server what it hit a wall at."""

from __future__ import annotations

import datetime
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from pipeguard.config.isolate_key import find_entries
from pipeguard.config.policy_file import PolicyScope, parse_policy, policy_text
from pipeguard.isolation.sandbox import this_host
from pipeguard.isolation.walls.grants import find_grant, is_covered
from pipeguard.state.exceptions import is_wall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.isolation.walls.grants import WallGrant
    from pipeguard.state.exceptions import AuditedEvent


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
    return find_grant(event.findings, this_host(), port, is_wide=is_wide)


def plan_grant(
    server: str, grant: WallGrant, path: str, today: datetime.date
) -> tuple[dict[str, object], bool]:
    """Plan the change of a policy file that gives a server something.

    Args:
        server: its name.
        grant: what to give.
        path: the policy file, which need not exist.
        today: by the user's own calendar.

    Returns:
        The entry to add under `isolate`, and True if the policy does not give it already.

    Raises:
        PolicyError: the file is invalid.
    """
    entry: dict[str, object] = {"server": escape(server), grant.kind: [grant.value]}
    return entry, not _has(_read_entries(path, today), server, grant)


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
