"""`pipeguard isolate revoke`: takes one grant back from a server."""

from __future__ import annotations

import datetime
import json
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeguard.assess.extent_report import short_path
from pipeguard.cli import _completions as completions
from pipeguard.cli._person import Person
from pipeguard.errors import PolicyError
from pipeguard.unicode.display import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeguard.cli._isolation import ServerIsolation
    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.isolation import Extent, GrantRevocation

NOT_DONE, NOTHING_THERE = 1, 3


@click.command("revoke", short_help="Take one folder, host or port back from a server.")
@click.argument("name", metavar="SERVER", shell_complete=completions.complete_granted)
@click.argument("what", shell_complete=completions.grants)
@click.option("--policy", "path", metavar="FILE", help="Change FILE, not your own policy.")
@click.option("--dry-run", is_flag=True, help="Show what would be changed; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def revoke(name: str, what: str, *, path: str | None, dry_run: bool, as_json: bool) -> None:
    """Take WHAT back from SERVER: a folder, file, host or port that your policy gives it.

    It is removed from the entries of `isolate` that are for this server alone. The server stays
    isolated: an entry that gives it nothing more stays, too. WHAT is as the policy has it, or a
    path in another spelling; `roots` and `keep_home` too. Hosts and ports are taken within a
    second, with their open connections; files when the server is started again. A person decides:
    it asks on a terminal, or takes a token (`pipeguard policy ci-token`).

    \b
    Examples:
      pipeguard isolate revoke files ~/notes
      pipeguard isolate revoke files api.example.com
      pipeguard isolate revoke files 5432 --dry-run

    \b
    Exit codes:
      0  taken back
      1  you declined
      2  wrong usage, or it cannot be taken from this server alone
      3  your policy does not give it, or nothing is known of the server
    """  # noqa: D301  click reads the mark
    from pipeguard.config.isolate_entry import own_entries, without_values
    from pipeguard.config.policy_file import PolicyScope, policy_text
    from pipeguard.config.user_policy import own_policy_path
    from pipeguard.state.audit import decision_entry
    from pipeguard.state.decisions import save_decision
    from pipeguard.state.timestamps import now_text

    path = path or own_policy_path()
    entries = _entries(path)
    places = own_entries(escape(name), entries)
    revocation = _revocation(name, what, path, entries, places)
    today = datetime.date.today()  # noqa: DTZ011  the user's own calendar
    text = policy_text(path, PolicyScope.USER)
    changed = without_values(path, text, revocation.dropped, places, today)
    if changed is None:
        raise PolicyError(
            f"{path} is written so that nothing can be removed safely. Remove"
            f" {_list_changes(revocation)} from `isolate` by hand."
        )
    person = None if dry_run else Person.here()
    if not as_json or (person is not None and not person.has_token):
        would = "Would be removed from" if dry_run else "To be removed from"
        click.echo(f"{would} {path}, of {visible(name)}: {_list_changes(revocation)}.", err=as_json)
        if revocation.left:
            click.echo(revocation.left, err=as_json)
    if person is not None:
        if not person.confirms(f"take {visible(what)} from {visible(name)}"):
            raise SystemExit(NOT_DONE)
        note = f"{_list_changes(revocation)}, of {path}"
        decision = decision_entry("revoke", now_text(), note=note, by=person.name)
        save_decision(path, changed, name, decision)
    if as_json:
        fields = {
            "policy": path,
            "written": not dry_run,
            "server": name,
            "removed": revocation.dropped,
            "holds": "now" if revocation.is_live else "next start",
            "left": revocation.left,
        }
        click.echo(json.dumps(fields, indent=2))
    elif not dry_run:
        click.echo(f"Removed. {_when(name, revocation, entries)}")


def _entries(path: str) -> tuple[IsolateEntry, ...]:
    from pipeguard.cli._isolation_names import entries_now

    return entries_now(path) if Path(path).exists() else ()


def _revocation(
    name: str, what: str, path: str, entries: tuple[IsolateEntry, ...], places: list[int]
) -> GrantRevocation:
    """Find what to revoke, or exit with what could be revoked."""
    from pipeguard.cli._isolation import find_isolation
    from pipeguard.cli._isolation_names import known_names, unknown_lines
    from pipeguard.isolation import list_grants, revoke_grant

    state = find_isolation(name, path)
    found = revoke_grant(name, _absolute(what), entries, _extents(state))
    if found.dropped:
        return found
    if state.is_empty and name not in known_names():
        click.echo("\n".join(unknown_lines(name)), err=True)
        raise SystemExit(NOTHING_THERE)
    click.echo(f"{path} does not give {visible(name)} {visible(what)}.", err=True)
    given = ", ".join(visible(value) for _, value in list_grants([entries[at] for at in places]))
    click.echo(f"It gives {given}." if given else "It gives this server nothing.", err=True)
    click.echo(found.left, err=True, nl=bool(found.left))
    raise SystemExit(NOTHING_THERE)


def _absolute(what: str) -> str:
    """A path as it is meant here; anything else as it is."""
    if what.startswith(("./", "../")) or what in {".", ".."}:
        return str(Path.cwd() / what)
    return what


def _list_changes(revocation: GrantRevocation) -> str:
    pairs = ((key, value) for key, values in revocation.dropped.items() for value in values)
    return ", ".join(visible(key if key == value else f"{key} {value}") for key, value in pairs)


def _when(name: str, revocation: GrantRevocation, entries: tuple[IsolateEntry, ...]) -> str:
    if revocation.is_live:
        also = "" if revocation.left else ", also to open connections of servers that run"
        return f"It applies within a second{also}."
    from pipeguard.assess.gateway_file import is_of_gateway
    from pipeguard.assess.isolated_servers import servers_here
    from pipeguard.runtime.connect import RESTART_SERVER

    found = {is_of_gateway(each.server) for each in servers_here(entries) if name in each.names}
    ways = ["restart it in its client"] if found != {True} else []
    ways += [f"{RESTART_SERVER}, where it is behind that"] if True in found else []
    return (
        f"{visible(name)} keeps it until the server restarts: {'; '.join(ways)}. If that is too"
        " late, stop the server now."
    )


def _extents(state: ServerIsolation) -> Iterator[tuple[str, Extent]]:
    """Yield the extents of a server, each with the place of its entry."""
    for each in state.servers:
        if each.isolation.is_held and each.touches.extent is not None:
            yield f"in its entry in {short_path(str(each.server.file))}", each.touches.extent
