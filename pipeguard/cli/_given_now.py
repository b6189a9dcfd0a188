"""Whether the policy gives by now what an isolated server did not get. Not a command itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipeguard.cli._give import has_grant, when_it_holds
from pipeguard.config.effective_policy import USER_POLICY
from pipeguard.config.user_policy import user_policy_path, usual_policy_path
from pipeguard.errors import PolicyError
from pipeguard.isolation.last_starts import load
from pipeguard.isolation.walls.grants import absolute, grant_of, is_given_with
from pipeguard.isolation.walls.revocation import command_for
from pipeguard.state.noted_policies import noted_policy
from pipeguard.state.paths import store_path
from pipeguard.state.store import Store

if TYPE_CHECKING:
    from pipeguard.isolation.extent import Extent
    from pipeguard.isolation.view import SandboxUser
    from pipeguard.isolation.walls.grants import WallGrant
    from pipeguard.state.exceptions import AuditedEvent

_GIVEN = "Your policy gives it that by now"


class GivenNow(NamedTuple):
    """What a server is given that it did not get.

    Attributes:
        holds: that it is, and since when.
        command: which takes it back.
    """

    holds: str
    command: str


def given_now(event: AuditedEvent) -> GivenNow | None:
    """That the policy of an event's run gives what a server did not get; None where it does not."""
    from pipeguard.isolation.sandbox import this_host

    host = this_host()
    try:
        grant = grant_of(event.findings, host, is_wide=True)
        if grant is None or not has_grant(_policy_of(event), event.server, grant, host):
            return None
    except PolicyError:
        return None  # it is not offered, or whoever judges by the policy says what is wrong there
    return GivenNow(_holds(event, grant, host), command_for(event.server, str(grant.value)))


def _holds(event: AuditedEvent, grant: WallGrant, host: SandboxUser) -> str:
    if grant.is_live:
        return f"{_GIVEN}, also while it runs."
    start = load(event.server)
    if start is not None and _has_got(start.extent, grant, host):
        return f"{_GIVEN}, and it has had it since it was started last."
    return f"{_GIVEN}. {when_it_holds(event, grant)}"


def _policy_of(event: AuditedEvent) -> str:
    with Store.open(store_path()) as store:
        own = noted_policy(store, event.name, USER_POLICY)
    return own or user_policy_path() or usual_policy_path()


def _has_got(extent: Extent, grant: WallGrant, host: SandboxUser) -> bool:
    """Whether a server was started with what is not given while it runs."""
    path = absolute(str(grant.value), host)
    given = (*extent.write, *(extent.read if grant.kind == "read" else ()))
    return any(is_given_with(path, each.what, host) for each in given)
