"""`pipeguard isolate`: what isolated servers are given, what was learned, what was fetched."""

from __future__ import annotations

import datetime
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from glob import escape
from typing import TYPE_CHECKING

import click

from pipeguard.cli import _completions as completions
from pipeguard.cli._groups import CommandGroup
from pipeguard.cli._isolation import (
    MISSING,
    find_isolation,
    format_day,
    format_entry,
)
from pipeguard.cli._isolation_names import entries_now
from pipeguard.cli._person import Person
from pipeguard.errors import PipeGuardError, PolicyError
from pipeguard.unicode.display import cut, visible

if TYPE_CHECKING:
    from pipeguard.assess.isolated_servers import ServerHere
    from pipeguard.isolation import Installed


# ---  isolation forget ------------------------------------------------------------------
# `pipeguard isolate forget`: removes what was learned, kept or fetched.

NOT_DONE, NOTHING_THERE = 1, 3


@click.command("forget", short_help="Remove what was learned, kept or fetched.")
@click.argument("name", shell_complete=completions.isolation_kept)
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(name: str, *, yes: bool) -> None:
    """Remove what was learned of the server NAME and its kept home, or the fetched package NAME.

    Your policy stays as it is. A package that a server runs from stays, too.

    \b
    Examples:
      pipeguard isolate forget files
      pipeguard isolate forget @modelcontextprotocol/server-memory --yes

    \b
    Exit codes:
      0  removed
      1  you declined, or no terminal is there to ask on, or a server runs from it
      3  there is nothing of that name
    """  # noqa: D301  click reads the mark
    from pipeguard.isolation import Inventory

    kept = Inventory.read().select(name)
    what = [
        *(["what was learned"] if kept.learned else []),
        *(["the home that it keeps, and everything it wrote there"] if kept.homes else []),
        *(f"the fetched {each.name} {each.version}" for each in kept.packages),
    ]
    if not what:
        click.echo(f"There is nothing of {visible(name)} to remove.")
        raise SystemExit(NOTHING_THERE)
    click.echo(f"Of {visible(name)}: {'; '.join(what)}.")
    if not yes and not sys.stdin.isatty():
        click.echo("There is no terminal to ask on. To remove it:  --yes", err=True)
        raise SystemExit(NOT_DONE)
    if not yes and not click.confirm("Remove it?"):
        raise SystemExit(NOT_DONE)
    staying = kept.remove()
    for each in staying:
        click.echo(f"{each.name} stays: a running server uses it.", err=True)
    raise SystemExit(NOT_DONE if staying else 0)


# --- isolate ----------------------------------------------------------------------------

COLUMNS = 80
NOT_DONE, WRONG, NOTHING_THERE = 1, 2, 3
KIBIBYTE = 1024


@click.group(
    "isolate", cls=CommandGroup, short_help="See and change what isolated servers are given."
)
def command() -> None:
    """See what isolated servers are given, and accept what was learned of one.

    `pipeguard wrap --isolate learn` runs a server with nothing kept from it and writes down what it
    reads, writes and reaches. `show` makes that what it would be given, `accept` writes it into
    your policy.

    \b
    Examples:
      pipeguard isolate list
      pipeguard isolate show files
      pipeguard isolate accept files
      pipeguard isolate update --all
    """  # noqa: D301  click reads the mark
    if sys.platform != "linux":
        raise PipeGuardError("servers can be isolated on Linux only, so far.")


@command.command("list", short_help="List isolated servers, what was learned and fetched.")
@click.option(
    "--known", "of_packages", is_flag=True, help="List the packages that PipeGuard knows, instead."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def list_(*, of_packages: bool, as_json: bool) -> None:
    """List your clients' servers, with what isolates each and the essence of what it can touch.

    Those that a client starts without PipeGuard are "not guarded". Also what your policy says of
    isolation, and what was learned, kept and fetched.

    \b
    Examples:
      pipeguard isolate list
      pipeguard isolate list --known

    \b
    Exit codes:
      0  listed
      2  a file cannot be read, so that its servers are missing; all else is listed
    """  # noqa: D301  click reads the mark
    if of_packages:
        from pipeguard.cli._isolation_names import known_packages

        click.echo("\n".join(known_packages(as_json=as_json)))
        return
    from pipeguard.assess.isolated_servers import servers_here, unread_files
    from pipeguard.isolation import Inventory

    entries, kept = entries_now(), Inventory.read()
    learned, servers = list(kept.load_learned()), servers_here(entries)
    if as_json:
        fields = {
            "servers": [each.fields() for each in servers],
            "isolated": [each._asdict() for each in entries],
            "learned": [{"server": name, "last": format_day(seen.last)} for name, seen in learned],
            "packages": [_package_fields(each) for each in kept.packages],
            "homes": kept.owners,
        }
        click.echo(json.dumps(fields, indent=2))
        _exit_unreadable(unread_files())
        return
    _section("Servers of your clients", _server_lines(servers))
    isolated = [f"{visible(each.server)}  {format_entry(each)}" for each in entries]
    _section("Isolation in your policy", isolated)
    _section(
        "Learned",
        [f"{visible(name)}  on {format_day(seen.last)}" for name, seen in learned],
    )
    _section("Kept homes", [visible(name) for name in kept.owners])
    _section("Fetched packages", [_package_line(each) for each in kept.packages])
    if not (servers or entries or learned or kept.packages or kept.homes):
        click.echo("Nothing is isolated yet. Begin with: pipeguard wrap --isolate auto -- COMMAND")
    _say_next(servers)
    _exit_unreadable(unread_files())


def _say_next(servers: Sequence[ServerHere]) -> None:
    """The commands that follow the list."""
    from pipeguard.assess.extent_report import wrap_text

    if any(each.isolation.is_held for each in servers):
        click.echo("Everything that one can touch:  pipeguard isolate show SERVER")
        click.echo("\n".join(wrap_text(MISSING, "")))
    if any(each.is_bare for each in servers):
        click.echo("To guard and isolate what is not guarded:  pipeguard setup --isolate")


def _exit_unreadable(problems: Sequence[str]) -> None:
    """Say which files could not be read, and end with that."""
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        raise SystemExit(WRONG)


@command.command("show", short_help="Show all that a server can touch.")
@click.argument("name", required=False, shell_complete=completions.complete_isolated)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def show(name: str | None, words: tuple[str, ...], *, as_json: bool) -> None:
    """Show all that the server NAME can touch, and beside that what was learned of it.

    Files, network, limits and home are those that its entry would give it if it were started now,
    each with what gives it. A server that has run since before that changed is told in a line. NAME
    is its name in a client, in the audit or in your policy, or a package. Without NAME it lists
    your clients' servers, and what each could touch once it is isolated.

    A line with `+` is what it used and is not given: `pipeguard isolate accept` adds those. What
    holds keys and logins is listed apart and never added. For a whole command, after `--`, it shows
    what isolation would give the server before it first starts; for a container, the words that are
    added to its own.

    \b
    Examples:
      pipeguard isolate show
      pipeguard isolate show files
      pipeguard isolate show files --json
      pipeguard isolate show -- npx -y @modelcontextprotocol/server-filesystem ~/notes

    \b
    Exit codes:
      0  shown
      2  wrong usage, or the command would not start isolated
      3  nothing is known of NAME
    """  # noqa: D301  click reads the mark
    from pipeguard.assess.isolated_servers import unread_files

    if name is None:
        _show_all(as_json=as_json)
        return
    if words or name.startswith(("/", "./", "~/")):
        _show_command((name, *words), as_json=as_json)
        return
    state = find_isolation(name)
    if as_json:
        click.echo(json.dumps(state.fields(), indent=2))
    else:
        click.echo("\n".join(state.lines()))
    if state.is_empty:
        for problem in unread_files():  # it may be there
            click.echo(problem, err=True)
        raise SystemExit(NOTHING_THERE)


def _show_all(*, as_json: bool) -> None:
    """Show what each server can touch, and of those not isolated, what they could."""
    from pipeguard.assess.isolated_servers import servers_here, summarise, unread_files

    servers = servers_here(entries_now())
    if as_json:
        fields = [each.fields() | {"if_isolated": each.if_isolated.fields()} for each in servers]
        click.echo(json.dumps({"servers": fields}, indent=2))
    else:
        _section("Servers of your clients", _server_lines(servers))
        rows = {
            (visible(each.name), summarise(each.if_isolated))
            for each in servers
            if not each.isolation.is_held
        }
        _section("Once isolated, they could touch only", _cut(map("  ".join, sorted(rows))))
        if not servers:
            click.echo("Your clients' files have no server that is started here.")
        _say_next(servers)
        click.echo("A server that you do not have yet:  pipeguard isolate show -- COMMAND")
    _exit_unreadable(unread_files())


def _show_command(words: tuple[str, ...], *, as_json: bool) -> None:
    """Show what isolation would give the server of a command, or end if it would not start."""
    from pipeguard.assess.isolated_servers import hardening, preview_command, preview_lines
    from pipeguard.isolation import ServerCommand

    if ServerCommand(words).is_container:
        hardened = ServerCommand(words).harden(entries_now())
        click.echo(json.dumps(hardened._asdict(), indent=2) if as_json else hardening(hardened))
        return
    preview = preview_command(words, entries_now())
    if as_json:
        click.echo(json.dumps(preview.fields(), indent=2))
    else:
        click.echo("\n".join(preview_lines(words, preview)))
    if preview.problem:
        raise SystemExit(WRONG)


@command.command("accept", short_help=("Grant a server what was learned about it, and isolate it."))
@click.argument("name", shell_complete=completions.complete_learned)
@click.option("--policy", "path", metavar="FILE", help="Write to FILE, not to your own policy.")
@click.option("--dry-run", is_flag=True, help="Show what would be written; write nothing.")
def accept(name: str, *, path: str | None, dry_run: bool) -> None:
    """Write what was learned of NAME into your policy: from then on it gets that, and no more.

    The entry is added to `isolate` in your policy file, whose comments and order stay as they are.
    It holds from the server's next start. To take it back, remove the lines. A person decides: it
    asks on a terminal, or takes a token (`pipeguard policy ci-token`).

    \b
    Examples:
      pipeguard isolate accept files
      pipeguard isolate accept files --dry-run

    \b
    Exit codes:
      0  written, or given already
      1  you declined
      2  wrong usage, or the policy cannot be changed
      3  nothing was learned of NAME
    """  # noqa: D301  click reads the mark
    from pipeguard.config.isolate_entry import entry_lines, with_entry
    from pipeguard.config.user_policy import own_policy_path
    from pipeguard.state.audit import decision_entry
    from pipeguard.state.decisions import save_decision
    from pipeguard.state.timestamps import now_text

    path = path or own_policy_path()
    state = find_isolation(name, path)
    proposal = state.facts.proposal
    if proposal is None:
        click.echo(
            f"Nothing was learned about {visible(name)}. {LEARN_FIRST.format(visible(name))}"
        )
        raise SystemExit(NOTHING_THERE)
    if not proposal.added and state.is_isolated:
        click.echo(f"{path} already grants {visible(name)} all of this.")
        _say_when(name, state.unheld)
        return
    if state.entries and not state.is_isolated:
        raise PolicyError(
            f"{path} says `engine: none` for {visible(name)}, and the first entry counts. Change"
            " that first."
        )
    person = None if dry_run else Person.here()
    entry = state.facts.make_entry(escape(name))
    today = datetime.date.today()  # noqa: DTZ011  the user's own calendar
    text = with_entry(path, entry, today)
    click.echo("\n".join(state.lines()))
    if person is not None:
        given = "what is marked +" if proposal.added else "nothing beside what all have"
        added = [each.value for each in proposal.added if each.kind == "write"]
        if folders := [each for each in added if os.path.isdir(os.path.expanduser(each))]:
            given += f", so that it may change everything in {' and '.join(map(visible, folders))}"
        if not person.confirms(f"isolate {visible(name)} with {given}"):
            raise SystemExit(NOT_DONE)
        note = f"isolated with what was learned of it, in {path}"
        decision = decision_entry("allow", now_text(), note=note, by=person.name)
        save_decision(path, text, name, decision)
    click.echo(f"{'Would be written' if dry_run else 'Written'} to {path}:\n")
    click.echo(entry_lines(entry, "  "))
    if not dry_run:
        _say_when(name, find_isolation(name, path).unheld)


def _say_when(name: str, unheld: Sequence[ServerHere]) -> None:
    """Say from when on a grant holds, and what else it needs."""
    if not unheld:
        click.echo(f"It holds from the next start of {visible(name)}.")
        return
    click.echo(f"It does not hold yet: {visible(name)} starts without isolation.")
    click.echo("\n".join(line for each in unheld for line in each.to_isolate()))


command.add_command(forget)
LEARN_FIRST = "Run it once with: pipeguard wrap --isolate learn --name {} -- COMMAND"


@command.command("update", short_help="Fetch the packages of isolated servers again.")
@click.argument("name", required=False, shell_complete=completions.complete_fetched)
@click.option("--all", "everything", is_flag=True, help="All packages.")
def update(name: str | None, *, everything: bool) -> None:
    """Fetch the package NAME anew, at the version that its command asks for.

    The old one stays until the new one is whole. Servers that run keep the old one; it is removed
    at an update after they have ended.

    \b
    Examples:
      pipeguard isolate update @modelcontextprotocol/server-memory
      pipeguard isolate update --all

    \b
    Exit codes:
      0  fetched
      1  one could not be fetched; it stays as it was
      2  wrong usage
      3  no such package was fetched
    """  # noqa: D301  click reads the mark
    if everything == (name is not None):
        raise click.UsageError("name a package, or give --all.")
    from pipeguard.isolation import Inventory, package_updater

    fetch, known = package_updater(), Inventory.read().packages
    chosen = [each for each in known if everything or name in (each.name, each.package.specs[0])]
    if not chosen:
        _tell_no_package(name, known)
    failed = False
    for old in chosen:
        try:
            new = fetch(old)
        except PipeGuardError as error:
            failed = True
            click.echo(f"{old.name} stays at {old.version}: {error}", err=True)
            continue
        if new.version == old.version:
            click.echo(f"{old.name}  {new.version}, as before")
        else:
            click.echo(f"{old.name}  {old.version} -> {new.version}")
    raise SystemExit(NOT_DONE if failed else 0)


def _tell_no_package(name: str | None, installed: Sequence[Installed]) -> None:
    if name is not None:
        click.echo(f"{visible(name)} was not fetched.")
    names = ", ".join(each.name for each in installed)
    click.echo(f"Fetched: {names}" if names else "Nothing was fetched yet.")
    raise SystemExit(NOTHING_THERE)


def _server_lines(servers: Iterable[ServerHere]) -> Iterable[str]:
    from pipeguard.cli._emit import columns

    rows: dict[tuple[str, str, str], str] = {}  # with the client of the first
    for each in servers:
        rows.setdefault((each.name, each.isolator, each.essence), each.client_name)
    names = Counter(name for name, *_ in rows)
    shown = [
        (f"{name} ({client})" if names[name] > 1 else name, *rest)
        for (name, *rest), client in rows.items()
    ]
    return _cut(columns(("server", "isolated by", "can touch"), sorted(shown)))


def _cut(lines: Iterable[str]) -> Iterable[str]:
    """Lines that fit into the columns of a terminal, indented; whole for a file or a program."""
    return (cut(line, COLUMNS - 2) for line in lines) if sys.stdout.isatty() else lines


def _section(title: str, lines: Iterable[str]) -> None:
    lines = list(lines)
    if lines:
        click.echo(click.style(title, bold=True))
        click.echo("\n".join(f"  {line}" for line in lines))


def _package_line(installed: Installed) -> str:
    specs = " ".join(installed.package.specs)
    size = f"{installed.size_bytes() / KIBIBYTE**2:.0f} MiB"
    return f"{specs}  {installed.version}, on {format_day(installed.fetched)}, {size}"


def _package_fields(installed: Installed) -> dict[str, object]:
    return {
        "registry": installed.package.registry,
        "specs": list(installed.package.specs),
        "version": installed.version,
        "fetched": format_day(installed.fetched),
        "bytes": installed.size_bytes(),
        "folder": str(installed.folder),
    }
