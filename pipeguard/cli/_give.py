"""Gives an isolated server what it hit a wall at, as an entry of `isolate` in the policy."""

from __future__ import annotations

import datetime
import json
from glob import escape
from typing import TYPE_CHECKING

import click

from pipeguard.cli._person import Person
from pipeguard.core.unicode.display import visible
from pipeguard.state.exceptions import save

if TYPE_CHECKING:
    from pipeguard.isolation.walls.grants import WallGrant
    from pipeguard.state.exceptions import AuditedEvent

NOT_DONE = 1
WALLS = ("egress.", "isolation.")
PATHS = ("read", "write")


def grant_for(event: AuditedEvent, port: int | None) -> WallGrant | None:
    """What would let through a server that hit a wall; None for any other event.

    Raises:
        PolicyError: it is not offered.
        UsageError: a port was named for what is no host's.
    """
    grant = None
    if any(finding.get("rule", "").startswith(WALLS) for finding in event.findings):
        from pipeguard.isolation.sandbox import this_host
        from pipeguard.isolation.walls.grants import grant_of

        grant = grant_of(event.findings, this_host(), port)
    if port is not None and (grant is None or grant.kind != "hosts"):
        raise click.UsageError("--port is for a host that a server was refused.")
    return grant


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
    from pipeguard.config.isolate_entry import entry_lines, with_entry

    today = datetime.date.today()  # noqa: DTZ011  the user's own calendar
    entry = {"server": escape(event.server), grant.kind: [grant.value]}
    is_new = not _has(path, event.server, grant, today)
    person = None if dry_run else Person.here()
    if not as_json or (is_new and person is not None and not person.has_token):
        heading = f"{'Would' if dry_run else 'To'} be written to {path}, under `isolate`:"
        opens = f"{visible(event.server)} may then {visible(grant.opens)}."
        page = [heading, "", entry_lines(entry, "  "), opens]
        given = f"{path} gives it already. {_when(event, grant)}"
        click.echo("\n".join(page) if is_new else given, err=as_json)
    if is_new and person is not None:
        if not person.confirms(f"allow {event.name}"):
            raise SystemExit(NOT_DONE)
        save(path, with_entry(path, entry, today))
    written = is_new and not dry_run
    if as_json:
        holds = "now" if grant.is_live else "next start"
        fields = {"policy": path, "written": written, "isolate": [entry], "holds": holds}
        click.echo(json.dumps(fields, indent=2))
    elif written:
        click.echo(f"Written to {path}. {_when(event, grant)}")


def _when(event: AuditedEvent, grant: WallGrant) -> str:
    if grant.is_live:
        return "It applies within a second, also to servers that run."
    name = visible(event.server)
    return (
        f"It holds from the next start of {name}: restart it in its client, or `pipeguard serve`"
        " where it is behind that."
    )


def _has(path: str, server: str, grant: WallGrant, today: datetime.date) -> bool:
    """Whether a policy file gives a server this."""
    from pathlib import Path

    from pipeguard.config.isolate_key import entries_for
    from pipeguard.config.policy_file import PolicyScope, parse_policy, policy_text

    if not Path(path).exists():
        return False
    text = policy_text(path, PolicyScope.USER)
    file = parse_policy(text, path, PolicyScope.USER, now=0.0, today=today)
    kinds = PATHS if grant.kind == "read" else (grant.kind,)
    return any(
        str(grant.value) in getattr(entry, kind)
        for entry in entries_for(server, file.isolate)
        for kind in kinds
    )
