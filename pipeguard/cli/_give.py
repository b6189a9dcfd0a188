"""Gives an isolated server what it hit a wall at, as an entry of `isolate` in the policy."""

from __future__ import annotations

import datetime
import json
from glob import escape
from typing import TYPE_CHECKING, NamedTuple

import click

from pipeguard.cli._person import Person
from pipeguard.errors import PolicyError
from pipeguard.state.exceptions import save
from pipeguard.unicode.display import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.isolation.view import SandboxUser
    from pipeguard.isolation.walls.grants import WallGrant
    from pipeguard.state.exceptions import AuditedEvent

NOT_DONE = 1
WALLS = ("egress.", "isolation.")
PATHS = ("read", "write")


def find_wall_grant(event: AuditedEvent, port: int | None, *, is_wide: bool) -> WallGrant | None:
    """Find what would let a server through that hit a wall; None for any other event.

    Args:
        event: that was stopped.
        port: of the host, where the event does not say it.
        is_wide: whether a folder may hold what has to be named by itself.

    Raises:
        PolicyError: it is not offered.
        UsageError: a port was named for what is no host's, or `--wide` for what is no folder.
    """
    grant = None
    if any(finding.get("rule", "").startswith(WALLS) for finding in event.findings):
        from pipeguard.isolation.sandbox import this_host
        from pipeguard.isolation.walls.grants import find_grant

        grant = find_grant(event.findings, this_host(), port, is_wide=is_wide)
    if port is not None and (grant is None or grant.kind != "hosts"):
        raise click.UsageError("--port is for a host that a server was refused.")
    if is_wide and (grant is None or grant.kind not in PATHS):
        raise click.UsageError("--wide is for a folder that a server was refused.")
    return grant


def why_not_given(event: AuditedEvent) -> str:
    """Say why `pipeguard allow` would refuse what a server wanted; empty if it would not."""
    try:
        find_wall_grant(event, None, is_wide=False)
    except PolicyError as error:
        return "" if "--wide" in str(error) else str(error)
    return ""


def give(event: AuditedEvent, grant: WallGrant, path: str, *, dry_run: bool, as_json: bool) -> None:
    """Write the entry, once a person has confirmed it.

    Args:
        event: at the wall.
        grant: what to give.
        path: the user's policy file, which need not exist.
        dry_run: show it, and write nothing.
        as_json: say what was done as JSON.

    Raises:
        PolicyError: the file is invalid, or cannot be written.
    """
    from pipeguard.config.isolate_entry import entry_lines, own_entries, with_entry
    from pipeguard.isolation.sandbox import this_host
    from pipeguard.isolation.walls.grants import needless

    today = datetime.date.today()  # noqa: DTZ011  the user's own calendar
    entry: dict[str, object] = {"server": escape(event.server), grant.kind: [grant.value]}
    entries, host = _entries(path, today), this_host()
    is_new = not _has(entries, event.server, grant, host)
    own = [entries[at] for at in own_entries(escape(event.server), entries)]
    dropped = needless(grant, own, host)
    person = None if dry_run else Person.here()
    if not as_json or (is_new and person is not None and not person.has_token):
        heading = f"{'Would' if dry_run else 'To'} be written to {path}, under `isolate`:"
        opens = f"{visible(event.server)} may then {visible(grant.opens)}."
        page = [heading, "", entry_lines(entry, "  "), opens]
        if grant.holds:
            page.append(f"These stay covered in it: {', '.join(map(visible, grant.holds))}.")
        if grant.hint:
            page.append(grant.hint)
        if dropped:
            gone = ", ".join(f"{kind} {visible(p)}" for kind, ps in dropped.items() for p in ps)
            page.append(f"It makes these lines redundant, and they go: {gone}.")
        given = f"{path} grants it already. {when_it_holds(event, grant)}"
        click.echo("\n".join(page) if is_new else given, err=as_json)
    if is_new and person is not None:
        if not person.confirms(f"allow {event.name}"):
            raise SystemExit(NOT_DONE)
        save(path, with_entry(path, entry, today, dropped))
    written = is_new and not dry_run
    if as_json:
        holds = "now" if grant.is_live else "next start"
        fields = {"policy": path, "written": written, "isolate": [entry], "holds": holds}
        click.echo(json.dumps(fields, indent=2))
    elif written:
        click.echo(f"Written to {path}. {when_it_holds(event, grant)}")


def when_it_holds(event: AuditedEvent, grant: WallGrant) -> str:
    """From when a server has what it is given, as a sentence."""
    if grant.is_live:
        return "It applies within a second, also to servers that run."
    name = visible(event.server)
    return (
        f"It applies from the next start of {name}: restart it in its client, or restart"
        " `pipeguard serve` if it runs behind that."
    )


def _entries(path: str, today: datetime.date) -> tuple[IsolateEntry, ...]:
    """The entries of a policy file, which need not exist."""
    from pathlib import Path

    from pipeguard.config.policy_file import PolicyScope, parse_policy, policy_text

    if not Path(path).exists():
        return ()
    text = policy_text(path, PolicyScope.USER)
    return parse_policy(text, path, PolicyScope.USER, now=0.0, today=today).isolate


def _has(entries: Sequence[IsolateEntry], server: str, grant: WallGrant, host: SandboxUser) -> bool:
    """True if a policy gives a server this."""
    from pipeguard.config.isolate_key import find_entries
    from pipeguard.isolation.walls.grants import is_covered

    return any(is_covered(entry, grant, host) for entry in find_entries(server, entries))


class GivenNow(NamedTuple):
    """A grant of what a server did not get at an event.

    Attributes:
        holds: the grant, and from when it holds.
        command: takes it back.
    """

    holds: str
    command: str


def given_now(event: AuditedEvent) -> GivenNow | None:
    """Find the grant that the policy of an event's run holds now; None if there is none."""
    from pipeguard.isolation.sandbox import this_host
    from pipeguard.isolation.walls.grants import find_grant
    from pipeguard.isolation.walls.revocation import revocation_command

    host, today = this_host(), datetime.date.today()  # noqa: DTZ011  the user's own calendar
    try:
        grant = find_grant(event.findings, host, is_wide=True)
        if grant is None or not _has(
            _entries(_event_policy(event), today), event.server, grant, host
        ):
            return None
    except PolicyError:
        return None  # it is not offered, or whoever judges by the policy says what is wrong there
    holds = ", also while it runs." if grant.is_live else f". {when_it_holds(event, grant)}"
    given = f"Your policy grants it by now{holds}"
    return GivenNow(given, revocation_command(event.server, str(grant.value)))


def _event_policy(event: AuditedEvent) -> str:
    from pipeguard.config.effective_policy import USER_POLICY
    from pipeguard.config.user_policy import user_policy_path, usual_policy_path
    from pipeguard.state.noted_policies import noted_policy
    from pipeguard.state.paths import store_path
    from pipeguard.state.store import Store

    with Store.open(store_path()) as store:
        own = noted_policy(store, event.name, USER_POLICY)
    return own or user_policy_path() or usual_policy_path()
