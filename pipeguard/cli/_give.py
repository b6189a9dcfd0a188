"""Grants an isolated server the access that a wall refused, as an `isolate` entry of the policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeguard.cli._emit import emit, wants_json
from pipeguard.launch.person import Person
from pipeguard.state import decisions, timestamps
from pipeguard.unicode.display import visible

if TYPE_CHECKING:
    from pipeguard.isolation import WallGrant
    from pipeguard.state.exceptions import AuditedEvent

PATHS = ("read", "write")


def find_offer(event: AuditedEvent, port: int | None, *, is_wide: bool) -> WallGrant | None:
    """Find the grant that would let a server through a wall; None for any other event.

    Args:
        event: the event at the wall.
        port: the host's port, if the event does not say it.
        is_wide: whether a folder may include one that must be named by itself.

    Raises:
        PolicyError: it is not offered.
        UsageError: `port` was named for something other than a host, or `--wide` for a non-folder.
    """
    from pipeguard.isolation import find_wall_grant

    grant = find_wall_grant(event.findings, port, is_wide=is_wide)
    if port is not None and (grant is None or grant.kind != "hosts"):
        raise click.UsageError("--port is for a host that a server was refused.")
    if is_wide and (grant is None or grant.kind not in PATHS):
        raise click.UsageError("--wide is for a folder that a server was refused.")
    return grant


def give(event: AuditedEvent, grant: WallGrant, path: str, *, dry_run: bool) -> None:
    """Write the entry, once a person has confirmed it.

    Args:
        event: the event at the wall.
        grant: the access to grant.
        path: the user's policy file, which need not exist.
        dry_run: show it, and write nothing.

    Raises:
        PolicyError: the file is invalid, or cannot be written.
    """
    from pipeguard.config.isolate_entry import entry_lines, with_entry
    from pipeguard.isolation import plan_grant

    day = timestamps.today()
    entry, is_new = plan_grant(event.server, grant, path, day)
    person = None if dry_run else Person.here()
    if not wants_json() or (is_new and person is not None and not person.has_token):
        heading = f"{'Would' if dry_run else 'To'} be written to {path}, under `isolate`:"
        opens = f"{visible(event.server)} may then {visible(grant.opens)}."
        page = [heading, "", entry_lines(entry, "  "), opens]
        if grant.holds:
            page.append(f"These stay covered in it: {', '.join(map(visible, grant.holds))}.")
        given = f"{path} grants it already. {grant.describe_start(event.server)}"
        click.echo("\n".join(page) if is_new else given, err=wants_json())
    if is_new and person is not None:
        person.must_confirm(f"allow {event.name}")
        decision = decisions.wall_entry(event, grant.opens, path, person.name)
        decisions.save_decision(path, with_entry(path, entry, day), event.server, decision)
    written = is_new and not dry_run
    holds = "now" if grant.is_live else "next start"
    fields = {"policy": path, "written": written, "isolate": [entry], "holds": holds}
    done = f"Written to {path}. {grant.describe_start(event.server)}"
    emit(fields, lambda _: done if written else "")
