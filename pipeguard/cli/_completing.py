"""What a shell offers for an argument: servers, tools, rules, events, logins. No verb itself.

A server chooses its tools' names, and a shell runs what is completed once Enter is pressed. So a
name that a shell could read as anything but a word is never offered. Whoever types must not be
disturbed: what cannot be read offers nothing, and nothing is made or changed for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from pipeguard.errors import PipeGuardError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from pipeguard.state.store import Store

Offered = list["CompletionItem"]
Complete = Callable[[click.Context, click.Parameter, str], Offered]
NEWEST_EVENTS = 40  # of each action: more than fit on a screen
# No letter that bash, zsh or fish reads as more than itself, or splits a word at. A dash first
# would be an option, a dot of folders is what file names have.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+/-]{0,99}")


def servers(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Offered:
    """Servers of which pins are kept."""
    with _store() as store:
        return _offered(((name, "") for name in store.servers()) if store else (), incomplete)


def targets(context: click.Context, _parameter: click.Parameter, incomplete: str) -> Offered:
    """Servers, and once one is chosen its definitions; those that wait, unless all can be meant."""
    from pipeguard.state.review import held_definitions, stored_definitions

    with _store() as store:
        if store is None:
            return []
        is_forget = context.info_name == "forget"
        found = stored_definitions(store) if is_forget else held_definitions(store)
        if "/" in incomplete:
            return _offered(((one.target, one.pin.kind) for one in found), incomplete)
        return _offered(((one.server, "") for one in found), incomplete)


def events(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Offered:
    """The newest events in which something was found, the newest first."""
    return _offered(_events("block", "redact", "warn"), incomplete)


def stopped(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Offered:
    """The newest events in which something was stopped."""
    return _offered(_events("block", "redact"), incomplete)


def rules(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Offered:
    """Rules by their ids, with their titles."""
    return _offered(_rules(), incomplete)


def packs(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Offered:
    """Packs of rules."""
    return _offered(((name.partition(".")[0], "") for name, _ in _rules()), incomplete)


def rules_and_events(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> Offered:
    """What `explain` explains: events are of large letters, rules of small ones."""
    found = rules(context, parameter, incomplete) if incomplete.islower() or not incomplete else []
    return found if incomplete.islower() else [*events(context, parameter, incomplete), *found]


def logins(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Offered:
    """Logins by name."""
    try:
        from pipeguard.auth.store import LoginStore

        return _offered(((login.name, login.server) for login in LoginStore().logins()), incomplete)
    except (PipeGuardError, OSError):
        return []


def secrets(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Offered:
    """Secrets that were kept, by name."""
    try:
        from pipeguard.auth.secrets import known

        return _offered(((one.name, "") for one in known()), incomplete)
    except (PipeGuardError, OSError):
        return []


def client_servers(context: click.Context, _parameter: click.Parameter, incomplete: str) -> Offered:
    """Servers in the files of the clients that were named, or of all."""
    from pipeguard.clients.catalog import clients
    from pipeguard.clients.entries import read_config
    from pipeguard.clients.machine import Machine, find

    named = context.params.get("clients") or context.args  # it is not parsed to its end yet
    chosen = [clients()[name] for name in named if name in clients()]
    found = [read_config(one) for one in find(Machine.here(), chosen or None)]
    return _offered(
        ((one.name, one.client) for config in found for one in config.servers), incomplete
    )


def of_wrap(option: str, metavar: str) -> Complete:
    """Values of an option of `wrap`: what it may be, files or folders."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> Offered:
        if option == "--name":
            return servers(context, parameter, incomplete)
        if metavar in _PATHS:
            return paths(_PATHS[metavar], incomplete)
        return _offered(((word, "") for word in _words(option)), incomplete)

    return complete


def command_words(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Offered:
    """The command of a server: files, as the shell itself offers them."""
    return paths("file", incomplete)


def paths(kind: str, incomplete: str) -> Offered:
    """The shell's own files or folders (`file`, `dir`)."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type=kind)]


_PATHS = {"FILE": "file", "DIR": "dir"}


def _words(option: str) -> Iterable[str]:
    """What an option of `wrap` may be, where that is a handful of words."""
    if option == "--trust":
        from pipeguard.core.rules.policy import Trust

        return [one.value for one in Trust]
    if option == "--transport":
        from pipeguard.runtime.transports import transport_names

        return transport_names()
    if option in ("--log-level", "--log-format"):
        from pipeguard.log import FORMATS, LEVELS

        return LEVELS if option == "--log-level" else FORMATS
    return ()


def _offered(found: Iterable[tuple[str, str]], incomplete: str) -> Offered:
    """Names with what they mean, each once, none that a shell could misread."""
    from click.shell_completion import CompletionItem

    from pipeguard.core.unicode.display import shown

    names: dict[str, str] = {}
    for name, about in found:
        if name.startswith(incomplete) and _PLAIN.fullmatch(name):
            names.setdefault(name, about)
    return [
        CompletionItem(name, help=shown(about, 60) if about else None)
        for name, about in names.items()
    ]


@contextmanager
def _store() -> Iterator[Store | None]:
    """The store, or None where there is none or it cannot be read."""
    from pipeguard.state.paths import existing_store
    from pipeguard.state.store import Store

    path = existing_store()
    try:
        opened = Store.open(path) if path else None
    except (PipeGuardError, OSError):
        opened = None
    try:
        yield opened
    finally:
        if opened is not None:
            opened.close()


def _events(*actions: str) -> Iterator[tuple[str, str]]:
    from pipeguard.state.audit import AuditFilter, as_fields, rows

    with _store() as store:
        if store is None:
            return
        wanted = [AuditFilter(action=action, limit=NEWEST_EVENTS) for action in actions]
        found = [row for one in wanted for row in rows(store, one)]
    for row in sorted(found, key=lambda row: row.entry.time, reverse=True):
        seen = as_fields(row)["findings"]
        rule = seen[0].get("rule", "") if isinstance(seen, list) and seen else ""
        yield row.entry.event, f"{row.entry.action} {rule}, {row.server}"


def _rules() -> Iterable[tuple[str, str]]:
    from pipeguard.rulebook.packs import load_rules

    try:
        return [(rule.id, rule.title) for rule in load_rules()]
    except PipeGuardError:
        return []
