"""A wall of isolation that a server met: the server's grants, and the one that would open it."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.config.isolate_key import find_entries
from pipeguard.config.policy_file import PolicyScope, parse_policy, policy_text
from pipeguard.config.user_policy import own_policy_path
from pipeguard.errors import PipeGuardError, PolicyError
from pipeguard.firewall.policy import DEFAULT_ASK_SECONDS
from pipeguard.isolation import (
    NothingThereError,
    WallGrant,
    find_wall_grant,
    list_grants,
    plan_grant,
)
from pipeguard.state.exceptions import stopping
from pipeguard.state.trials import make_target

if TYPE_CHECKING:
    from pipeguard.config.policy_file import PolicyFile
    from pipeguard.state.exceptions import AuditedEvent


class WallView(NamedTuple):
    """A wall, and the grant that would open it.

    Attributes:
        given: the policy's grants to the server, each as `read ~/notes`.
        grant: the grant that would have let it through; None if none is offered.
        problem: why no grant is offered, or empty.
        is_settled: True if the policy now grants it, or it cannot be granted.
    """

    given: tuple[str, ...]
    grant: WallGrant | None
    problem: str
    is_settled: bool


def view_wall(event: AuditedEvent) -> WallView:
    """Compare a wall with the current policy and machine."""
    path = own_policy_path()
    given: tuple[str, ...] = ()
    try:
        entries = find_entries(event.server, _read_own_policy().isolate)
        given = tuple(f"{key} {value}" for key, value in list_grants(entries))
        grant = find_wall_grant(event.findings)
        is_new = grant is not None and plan_grant(event.server, grant, path, today())[1]
    except PipeGuardError as error:
        is_settled = isinstance(error, NothingThereError)
        return WallView(given, None, str(error), is_settled=is_settled)
    is_given = grant is not None and not is_new
    return WallView(given, grant, "", is_settled=is_given)


def is_exempt(event: AuditedEvent) -> bool:
    """True if an exception of the user's policy now lets the stopped call or result pass."""
    stopped = [finding for finding in stopping(event) if finding.get("place")]
    try:
        layer = _read_own_policy().layer
    except PolicyError:
        return False  # it is invalid, as the page of the policy says
    return bool(stopped) and all(
        layer.exempts(make_target(each, event.server), 0.0) for each in stopped
    )


def read_ask_seconds() -> float:
    """Return how long a call waits by the user's policy; the default if that is invalid."""
    try:
        policy = _read_own_policy()
    except PolicyError:
        return DEFAULT_ASK_SECONDS
    return policy.limits.get("ask_seconds", DEFAULT_ASK_SECONDS)


def _read_own_policy() -> PolicyFile:
    path = own_policy_path()
    text = read_policy(path) or ""
    return parse_policy(text, path, PolicyScope.USER, now=0.0, today=today())


def read_policy(path: str) -> str | None:
    """Return the text of a policy file, if the file exists."""
    return policy_text(path, PolicyScope.USER) if Path(path).exists() else None


def today() -> datetime.date:
    """Return the date in the user's own calendar."""
    return datetime.date.today()  # noqa: DTZ011  see above
