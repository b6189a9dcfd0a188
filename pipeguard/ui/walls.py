"""A wall of isolation that a server met: what it has, and what it could be given."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.config.isolate_key import find_entries
from pipeguard.config.policy_file import PolicyScope, parse_policy, policy_text
from pipeguard.config.user_policy import user_policy_path
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
from pipeguard.state.noted_policies import find_exempting, find_user_policy

if TYPE_CHECKING:
    from pipeguard.state.exceptions import AuditedEvent
    from pipeguard.state.store import Store


class WallView(NamedTuple):
    """A wall, and what would open it.

    Attributes:
        given: what the policy gives the server, each as `read ~/notes`.
        grant: what would have let it through; None where nothing is offered.
        problem: why nothing is offered; or empty.
        is_settled: True if the policy gives it by now, or nobody can.
    """

    given: tuple[str, ...]
    grant: WallGrant | None
    problem: str
    is_settled: bool


def view_wall(store: Store, event: AuditedEvent) -> WallView:
    """Look at the policy, and at the machine, as they are now."""
    path = find_user_policy(store, event.name)
    given: tuple[str, ...] = ()
    try:
        given = tuple(f"{key} {value}" for key, value in _list_given(path, event.server))
        grant = find_wall_grant(event, None, is_wide=False)
        is_new = grant is not None and plan_grant(event.server, grant, path, today()).is_new
    except PipeGuardError as error:
        is_settled = isinstance(error, NothingThereError)
        return WallView(given, None, str(error), is_settled=is_settled)
    is_given = grant is not None and not is_new
    return WallView(given, grant, "", is_settled=is_given)


def is_exempt(store: Store, event: AuditedEvent) -> bool:
    """True if an exception of the policy lets what was stopped pass by now."""
    try:
        return bool(find_exempting(store, event.name, event.server, stopping(event), today()))
    except PolicyError:
        return False  # it is invalid, as the page of the policy says


def read_ask_seconds() -> float:
    """For how long a call waits by the user's policy; the usual time if that is invalid."""
    path = user_policy_path()
    try:
        text = read_policy(path) if path else None
        policy = parse_policy(text or "", path or "", PolicyScope.USER, now=0.0, today=today())
    except PolicyError:
        return DEFAULT_ASK_SECONDS
    return policy.ask_seconds or DEFAULT_ASK_SECONDS


def _list_given(path: str, server: str) -> list[tuple[str, str]]:
    text = read_policy(path)
    if text is None:
        return []
    parsed = parse_policy(text, path, PolicyScope.USER, now=0.0, today=today())
    return list_grants(find_entries(server, parsed.isolate))


def read_policy(path: str) -> str | None:
    """The text of a policy file; None if there is no such file."""
    return policy_text(path, PolicyScope.USER) if Path(path).exists() else None


def today() -> datetime.date:
    """The date, by the user's own calendar."""
    return datetime.date.today()  # noqa: DTZ011  see above
