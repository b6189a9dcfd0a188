"""A wall of isolation that a server met: what it has, and what it could be given."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.config.effective_policy import USER_POLICY
from pipeguard.config.isolate_key import find_entries
from pipeguard.config.policy_file import PolicyScope, parse_policy, policy_text
from pipeguard.config.user_policy import user_policy_path, usual_policy_path
from pipeguard.errors import PipeGuardError
from pipeguard.isolation import WallGrant, find_wall_grant, list_grants, plan_grant
from pipeguard.state.noted_policies import noted_policy

if TYPE_CHECKING:
    from pipeguard.state.exceptions import AuditedEvent
    from pipeguard.state.store import Store


class WallView(NamedTuple):
    """A wall, and what would open it.

    Attributes:
        given: what the policy gives the server, each as `read ~/notes`.
        grant: what would have let it through; None where nothing is offered.
        problem: why nothing is offered; or empty.
        is_given: True if the policy gives it by now.
        policy: the policy's file.
    """

    given: tuple[str, ...]
    grant: WallGrant | None
    problem: str
    is_given: bool
    policy: str


def view_wall(store: Store, event: AuditedEvent) -> WallView:
    """Look at the policy, and at the machine, as they are now."""
    path = policy_path(store, event)
    given: tuple[str, ...] = ()
    try:
        given = tuple(f"{key} {value}" for key, value in _list_given(path, event.server))
        grant = find_wall_grant(event, None, is_wide=False)
        is_new = grant is not None and plan_grant(event.server, grant, path, today()).is_new
    except PipeGuardError as error:
        return WallView(given, None, str(error), is_given=False, policy=path)
    return WallView(given, grant, "", is_given=grant is not None and not is_new, policy=path)


def _list_given(path: str, server: str) -> list[tuple[str, str]]:
    text = read_policy(path)
    if text is None:
        return []
    parsed = parse_policy(text, path, PolicyScope.USER, now=0.0, today=today())
    return list_grants(find_entries(server, parsed.isolate))


def policy_path(store: Store, event: AuditedEvent) -> str:
    """The policy file of the run in which an event happened."""
    noted = noted_policy(store, event.name, USER_POLICY)
    return noted or user_policy_path() or usual_policy_path()


def read_policy(path: str) -> str | None:
    """The text of a policy file; None if there is no such file."""
    return policy_text(path, PolicyScope.USER) if Path(path).exists() else None


def today() -> datetime.date:
    """The date, by the user's own calendar."""
    return datetime.date.today()  # noqa: DTZ011  see above
