"""`pipeguard isolate`: shows isolated servers' grants, and what was learned and fetched."""

import datetime
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from glob import escape
from pathlib import Path

import click

from pipeguard.assess.isolated_servers import ServerHere, servers_here, unread_files
from pipeguard.cli._emit import Fields, columns, emit, flag, json_option, render, value_option
from pipeguard.cli._groups import group
from pipeguard.config.effective_policy import wrap_isolation
from pipeguard.config.isolate_key import IsolateEntry, find_entries
from pipeguard.config.options import WrapOptions
from pipeguard.errors import PipeGuardError, PolicyError
from pipeguard.identity.server_name import identify_server
from pipeguard.isolation import (
    Installed,
    Inventory,
    Isolation,
    ServerCommand,
    ServerFacts,
    ServerPreview,
    extent_rows,
    package_updater,
    preview_server,
    row_lines,
    short_path,
    summarise,
    wrap_text,
)
from pipeguard.launch.person import Person
from pipeguard.unicode.display import cut, suggestion, visible

COLUMNS = 80
NOT_DONE = 1
WRONG = 2
NOTHING_THERE = 3
MEBIBYTE = 1024 * 1024
UNLIMITED = "everything that you can"
_LISTS = ("read", "write", "hosts", "loopback", "limits")


@group("isolate", "See and change what isolated servers are given.")
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
@json_option
def list_() -> None:
    """List your clients' servers, with what isolates each and the essence of what it can touch.

    Those that a client starts without PipeGuard are "not guarded". Also what your policy says of
    isolation, and what was learned, kept and fetched.

    \b
    Examples:
      pipeguard isolate list

    \b
    Exit codes:
      0  listed
      2  a file cannot be read, so that its servers are missing; all else is listed
    """  # noqa: D301  click reads the mark
    entries = entries_now()
    kept = Inventory.read()
    learned = list(kept.load_learned())
    servers = servers_here(entries)
    days = {name: format_day(seen.last) for name, seen in learned}
    sections = {
        "Servers of your clients": _server_lines(servers),
        "Isolation in your policy": [f"{visible(e.server)}  {format_entry(e)}" for e in entries],
        "Learned": [f"{visible(name)}  on {day}" for name, day in days.items()],
        "Kept homes": [visible(name) for name in kept.owners],
        "Fetched packages": [_package_line(each) for each in kept.packages],
    }
    value = {
        "servers": [each.fields() for each in servers],
        "isolated": [each._asdict() for each in entries],
        "learned": [{"server": name, "last": day} for name, day in days.items()],
        "packages": [_package_fields(each) for each in kept.packages],
        "homes": kept.owners,
    }
    screen = {"sections": sections}
    emit(value, lambda _: render("isolate", screen), empty="Nothing is isolated.")
    problems = unread_files()
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        raise SystemExit(WRONG)


def _server_lines(servers: Iterable[ServerHere]) -> Iterable[str]:
    rows: dict[tuple[str, str, str], str] = {}  # with the client of the first
    for each in servers:
        touched = summarise(each.touches) if each.isolation.is_held else UNLIMITED
        rows.setdefault((each.name, _state(each), touched), each.server.client)
    names = Counter(name for name, *_ in rows)
    shown = [
        (f"{name} ({client})" if names[name] > 1 else name, *rest)
        for (name, *rest), client in rows.items()
    ]
    lines = columns(("server", "isolated", "can touch"), sorted(shown))
    return (cut(line, COLUMNS - 2) for line in lines) if sys.stdout.isatty() else lines


def _state(server: ServerHere) -> str:
    held = server.isolation
    if server.is_bare:
        return "not guarded"
    if held.engine == Isolation.LEARN:
        return "no: learns"
    if not held.is_held:
        return "no"
    extent = server.touches.extent
    return held.engine if extent is None else extent.engine


@command.command("show", short_help="Show all that a server can touch.")
@click.argument("name")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@json_option
def show(name: str, words: tuple[str, ...]) -> None:
    """Show all that the server NAME can touch, and what was learned of it.

    Files, network, limits and home are those that its entry would give it if it were started now,
    each with what gives it. NAME is its name in a client, in the audit or in your policy, or a
    package.

    A line with `+` is what it used and is not given: `pipeguard isolate accept` adds those. What
    holds keys and logins is listed apart and never added. For a whole command, after `--`, it shows
    what isolation would give the server before it first starts.

    \b
    Examples:
      pipeguard isolate show files
      pipeguard isolate show files --json
      pipeguard isolate show -- npx -y @modelcontextprotocol/server-filesystem ~/notes

    \b
    Exit codes:
      0  shown
      2  wrong usage, or the command would not start isolated
      3  nothing is known of NAME
    """  # noqa: D301  click reads the mark
    if words or name.startswith(("/", "./", "~/")):
        preview = preview_command((name, *words))
        needs = ""
        home_folder = os.path.expanduser("~")
        if not preview.problem:
            needs = ServerCommand((name, *words)).describe_needs(home_folder, {})
        lines = ("Isolated, the server:", *row_lines(extent_rows(preview)), *wrap_text(needs))
        code = WRONG if preview.problem else 0
        emit(preview.fields(), lambda _: lines, code=code)
    found = _find(name)
    is_known = any(found[:2]) or any(found[2]) or name in stored_names()
    shown = _page(name, *found) if is_known else ""
    emit(_fields(name, *found), lambda _: shown)
    if not is_known:
        click.echo("\n".join((*describe_unknown(name), *unread_files())), err=True)
        raise SystemExit(NOTHING_THERE)


_Found = tuple[Sequence["IsolateEntry"], list["ServerHere"], "ServerFacts"]


def _find(name: str, path: str | None = None) -> _Found:
    """Find a server's entries in the policy and in clients, and other facts about it."""
    policy = entries_now(path)
    entries = find_entries(name, policy)
    servers = [each for each in servers_here(policy) if name in each.names]
    return entries, servers, ServerFacts.find(name, entries, [each.package for each in servers])


def _is_isolated(entries: Sequence[IsolateEntry], servers: Sequence[ServerHere]) -> bool:
    """True if every entry that starts a server isolates it; without one, if the policy does."""
    if servers:
        return all(each.isolation.is_held and not each.is_bare for each in servers)
    return bool(entries) and entries[0].engine != Isolation.NONE


def _fields(
    name: str, entries: Sequence[IsolateEntry], servers: Sequence[ServerHere], facts: ServerFacts
) -> dict[str, object]:
    _, proposal, shipped = facts
    fields: dict[str, object] = {
        "server": name,
        "isolated": _is_isolated(entries, servers),
        "entries": [entry._asdict() for entry in entries],
        "servers": [each.fields() for each in servers],
    }
    if shipped is not None:
        fields["known"] = shipped._asdict() | {"variables": dict(shipped.variables)}
    if proposal is not None:
        for kind, found in proposal._asdict().items():
            fields[kind] = [each._asdict() for each in found]
    return fields


def _page(
    name: str, entries: Sequence[IsolateEntry], servers: Sequence[ServerHere], facts: ServerFacts
) -> str:
    fields: Fields = {
        "name": name,
        "is_isolated": _is_isolated(entries, servers),
        "entries": entries,
        "servers": servers,
        "facts": facts,
    }
    return render(
        "isolated",
        fields,
        short=short_path,
        state=_state,
        rows=_rows,
        entry=format_entry,
        wrap=lambda text: "\n".join(wrap_text(text, "  ")),
        day=format_day,
    )


def _rows(here: ServerHere) -> Iterator[str]:
    rows = extent_rows(here.touches) or {"can touch": [(UNLIMITED, "")]}
    if variables := sorted({*here.server.env, *here.server.env_names}):
        rows["variables"] = [(visible(", ".join(variables)), "its entry")]
    return row_lines(rows)


@command.command("accept", short_help="Grant a server what was learned about it, and isolate it.")
@click.argument("name")
@value_option("--policy", "FILE", "Write to FILE, not to your own policy.", "path")
@flag("--dry-run", "Show what would be written; write nothing.")
def accept(name: str, *, path: str | None, dry_run: bool) -> None:
    """Write what was learned of NAME into your policy: from then on it gets that, and no more.

    The entry is added to `isolate` in your policy file, whose comments and order stay as they are.
    It holds from the server's next start, unless its entry says `--isolate none` or `learn`. To
    take it back, remove the lines. A person decides: it asks on a terminal, or takes a token
    (`pipeguard policy ci-token`).

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
    from pipeguard.state.timestamps import today

    path = path or own_policy_path()
    entries, servers, facts = _find(name, path)
    proposal = facts.proposal
    if proposal is None:
        click.echo(f"Nothing was learned about {visible(name)}.")
        raise SystemExit(NOTHING_THERE)
    if entries and not _is_isolated(entries, ()):
        raise PolicyError(
            f"{path} says `engine: none` for {visible(name)}, and the first entry counts. Change"
            " that first."
        )
    if entries and not proposal.added:
        click.echo(f"{path} already grants {visible(name)} all of this.")
        return
    person = None if dry_run else Person.here()
    entry = proposal.make_entry(escape(name))
    text = with_entry(path, entry, today())
    click.echo(_page(name, entries, servers, facts))
    if person is not None:
        given = "what is marked +" if proposal.added else "nothing beyond what all have"
        added = [each.value for each in proposal.added if each.kind == "write"]
        if folders := [each for each in added if os.path.isdir(os.path.expanduser(each))]:
            given += f", so that it may change everything in {' and '.join(map(visible, folders))}"
        person.must_confirm(f"isolate {visible(name)} with {given}")
        note = f"isolated with what was learned of it, in {path}"
        decision = decision_entry("allow", note=note, by=person.name)
        save_decision(path, text, name, decision)
    click.echo(f"{'Would be written' if dry_run else 'Written'} to {path}:\n")
    click.echo(entry_lines(entry, "  "))


@command.command("update", short_help="Fetch the packages of isolated servers again.")
@click.argument("name", required=False)
@flag("--all", "All packages.", "everything")
def update(name: str | None, *, everything: bool) -> None:
    """Fetch the package NAME again, at the version that its command asks for.

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
    fetch = package_updater()
    known = Inventory.read().packages
    chosen = [each for each in known if everything or name in (each.name, each.package.specs[0])]
    if not chosen:
        click.echo(f"{visible(name)} was not fetched." if name else "Nothing was fetched yet.")
        raise SystemExit(NOTHING_THERE)
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


@command.command("forget", short_help="Remove what was learned, kept or fetched.")
@click.argument("name")
@flag("--yes", "Do not ask.")
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


def _package_line(installed: Installed) -> str:
    specs = " ".join(installed.package.specs)
    size = f"{installed.size_bytes() / MEBIBYTE:.0f} MiB"
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


def entries_now(path: str | None = None) -> Sequence[IsolateEntry]:
    """Return the isolation settings of the user's policy; of another file, if it exists.

    Raises:
        PolicyError: the file is invalid.
    """
    if path is not None and not Path(path).exists():
        return ()
    return wrap_isolation(WrapOptions(values={"--policy": path} if path else {}))


def stored_names() -> tuple[str, ...]:
    """List the servers that were started under PipeGuard."""
    from pipeguard.state.store import open_existing_store

    store = open_existing_store()
    if store is None:
        return ()
    with store:
        return store.named_servers()


def describe_unknown(name: str) -> Iterator[str]:
    """Explain that a name is unknown, and suggest similar names."""
    entries = entries_now()
    names = {name for each in servers_here(entries) for name in each.names}
    names |= {entry.server for entry in entries if not set(entry.server) & set("*?[")}
    names |= {*Inventory.read().names, *stored_names()}
    yield f"PipeGuard knows no server or package called {visible(name)!r}."
    if near := suggestion(name, sorted(names), listed=True, likeness=0.5, most=3):
        yield near.strip()


def preview_command(words: tuple[str, ...]) -> ServerPreview:
    """Preview the access of a command's server here, by its words and the policy."""
    name = identify_server(words, None).name
    engine = next((each.engine for each in find_entries(name, entries_now())), Isolation.AUTO)
    engine = Isolation.AUTO if engine in (Isolation.NONE, Isolation.LEARN) else engine
    return preview_server(WrapOptions(words), name, engine, {}, str(Path.cwd()))


def format_entry(entry: IsolateEntry) -> str:
    """Format an entry on one line."""
    parts = [entry.engine, *([f"tag {visible(entry.tag)}"] if entry.tag else [])]
    lists = ((kind, map(short_path, getattr(entry, kind))) for kind in _LISTS)
    parts += [f"{kind} {shown}" for kind, each in lists if (shown := visible(", ".join(each)))]
    parts += [f"roots {entry.roots}"] if entry.roots else []
    return "; ".join([*parts, *(["keep_home"] if entry.keep_home else [])])


def format_day(seconds: int) -> str:
    """Format the day of a moment, in the user's own calendar."""
    return datetime.datetime.fromtimestamp(seconds).astimezone().date().isoformat()
