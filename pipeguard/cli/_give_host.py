"""Gives an isolated server a host that it was refused, as an entry of `isolate` in the policy."""

from __future__ import annotations

import datetime
import json
from glob import escape
from typing import TYPE_CHECKING

import click

from pipeguard.cli._person import Person
from pipeguard.state.exceptions import save

if TYPE_CHECKING:
    from pipeguard.state.exceptions import AuditedEvent

NOT_DONE = 1


def refused_host(event: AuditedEvent) -> str | None:
    """The entry of `hosts` that would let a refused connection pass; None for any other event."""
    if not any(finding.get("rule", "").startswith("egress.") for finding in event.findings):
        return None
    from pipeguard.isolation.egress.recording import entry_of

    return next(filter(None, map(entry_of, event.findings)), None)


def give_host(event: AuditedEvent, host: str, path: str, *, dry_run: bool, as_json: bool) -> None:
    """Write the entry, once a person has confirmed it.

    Args:
        event: the refused connection.
        host: what to add to `hosts`.
        path: the user's policy file, which need not exist.
        dry_run: show it, and write nothing.
        as_json: say what was done as JSON.

    Raises:
        PolicyError: the file is invalid, or cannot be written.
    """
    from pipeguard.config.isolate_entry import entry_lines, with_entry

    today = datetime.date.today()  # noqa: DTZ011  the user's own calendar
    entry = {"server": escape(event.server), "hosts": [host]}
    is_new = not _has(path, event.server, host, today)
    person = None if dry_run else Person.here()
    if not as_json or (is_new and person is not None and not person.has_token):
        heading = f"{'Would' if dry_run else 'To'} be written to {path}, under `isolate`:"
        page = [heading, "", entry_lines(entry, "  "), f"{event.server} may then send to {host}."]
        click.echo("\n".join(page) if is_new else f"{path} gives it already.", err=as_json)
    if is_new and person is not None:
        if not person.confirms(f"allow {event.name}"):
            raise SystemExit(NOT_DONE)
        save(path, with_entry(path, entry, today))
    written = is_new and not dry_run
    if as_json:
        click.echo(json.dumps({"policy": path, "written": written, "isolate": [entry]}, indent=2))
    elif written:
        click.echo(f"Written to {path}. It applies within a second, also to servers that run.")


def _has(path: str, server: str, host: str, today: datetime.date) -> bool:
    """Whether a policy file gives a server this host."""
    from pathlib import Path

    from pipeguard.config.isolate_key import entries_for
    from pipeguard.config.policy_file import PolicyScope, parse_policy, policy_text

    if not Path(path).exists():
        return False
    text = policy_text(path, PolicyScope.USER)
    file = parse_policy(text, path, PolicyScope.USER, now=0.0, today=today)
    return any(host in entry.hosts for entry in entries_for(server, file.isolate))
