"""Completions for shells: servers, tools, rules, events, logins. Not a command itself.

A server chooses its tools' names, and a shell runs the completed line once Enter is pressed. A name
that a shell could read as anything but a word is therefore never offered. Completion must not
disturb: what cannot be read offers nothing, and nothing is created or changed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from pipeguard.errors import PipeGuardError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from pipeguard.state.store import Store

Items = list["CompletionItem"]
Complete = Callable[[click.Context, click.Parameter, str], Items]
NEWEST_EVENTS = 40  # of each action: more than fit on a screen
# No character that bash, zsh or fish treats specially or splits a word at. A leading dash would
# be an option, a leading dot a path.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+/-]{0,99}")


def _ignore_errors(complete: Complete) -> Complete:
    """Wrap a completion so that it offers nothing if the store breaks while it is read."""

    @functools.wraps(complete)
    def run(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
        try:
            return complete(context, parameter, incomplete)
        except (PipeGuardError, OSError):
            return []

    return run


@_ignore_errors
def servers(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Servers that have pins."""
    with _store() as store:
        return _items(((name, "") for name in store.servers()) if store else (), incomplete)


@_ignore_errors
def targets(context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Servers, after a slash their definitions: the held ones, or all of them for `forget`."""
    from pipeguard.state.review import held_definitions, stored_definitions

    with _store() as store:
        if store is None:
            return []
        is_forget = context.info_name == "forget"
        stored = stored_definitions(store) if is_forget else held_definitions(store)
        if "/" in incomplete:
            return _items(((entry.target, entry.pin.kind) for entry in stored), incomplete)
        return _items(((entry.server, "") for entry in stored), incomplete)


@_ignore_errors
def complete_proposed(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> Items:
    """Servers that agents proposed."""
    from pipeguard.state.proposals import proposals

    with _store() as store:
        stored = proposals(store) if store else []
    return _items(((each.name, each.state.value) for each in stored), incomplete)


def servers_with_output(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> Items:
    """Servers of the gateway that have written something."""
    from pipeguard.gateway.server_output import servers_with_output as names

    return _items(((name, "") for name in names()), incomplete)


@_ignore_errors
def tokens(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Tokens of the gateway's clients, by name."""
    from pipeguard.state.tokens import stored_tokens

    with _store() as store:
        stored = stored_tokens(store) if store else []
    return _items(((token.name, "") for token in stored), incomplete)


@_ignore_errors
def events(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """The newest events with findings, newest first."""
    return _items(_events("block", "ask", "cut", "redact", "warn"), incomplete)


@_ignore_errors
def complete_stopped(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> Items:
    """The newest events in which something was stopped, newest first."""
    return _items(_events("block", "ask", "cut", "redact"), incomplete)


def rules(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Rules by id, with their titles."""
    return _items(_rules(), incomplete)


def packs(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Packs of rules."""
    return _items(((name.partition(".")[0], "") for name, _ in _rules()), incomplete)


@_ignore_errors
def rules_and_events(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Complete what `explain` explains: events are in upper case, rules in lower case."""
    items = rules(context, parameter, incomplete) if incomplete.islower() or not incomplete else []
    return items if incomplete.islower() else [*events(context, parameter, incomplete), *items]


def logins(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Logins by name."""
    try:
        from pipeguard.auth.store import LoginStore

        return _items(((login.name, login.server) for login in LoginStore().logins()), incomplete)
    except (PipeGuardError, OSError):
        return []


def secrets(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Stored secrets by name."""
    try:
        from pipeguard.auth.secrets import stored_secrets

        return _items(((secret.name, "") for secret in stored_secrets()), incomplete)
    except (PipeGuardError, OSError):
        return []


def client_servers(context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Servers in the files of the named clients, or of all clients."""
    from pipeguard.clients.catalog import clients
    from pipeguard.clients.entries import read_config
    from pipeguard.clients.machine import Machine, find

    names = context.params.get("clients") or context.args  # the line is not fully parsed yet
    chosen = [clients()[name] for name in names if name in clients()]
    configs = [read_config(file) for file in find(Machine.here(), chosen or None)]
    return _items(
        ((server.name, server.client) for config in configs for server in config.servers),
        incomplete,
    )


def of_wrap(option: str, metavar: str) -> Complete:
    """Values of an option of `wrap`: words, files or folders."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
        if option == "--name":
            return servers(context, parameter, incomplete)
        if metavar in _PATHS:
            return paths(_PATHS[metavar], incomplete)
        return _items(((word, "") for word in _words(option)), incomplete)

    return complete


def command_words(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """The command of a server: files, completed by the shell itself."""
    return paths("file", incomplete)


def paths(kind: str, incomplete: str) -> Items:
    """Files or folders, completed by the shell itself; `kind` is `file` or `dir`."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type=kind)]


_PATHS = {"FILE": "file", "DIR": "dir", "PATH": "file"}


def _words(option: str) -> Iterable[str]:
    """The values that an option of `wrap` takes, if they are a handful of words."""
    if option == "--trust":
        from pipeguard.firewall.policy import Trust

        return [trust.value for trust in Trust]
    if option == "--isolate":
        from pipeguard.isolation import Isolation

        return tuple(Isolation)
    if option == "--roots":
        from pipeguard.config.isolate_key import ROOTS

        return ROOTS
    if option == "--transport":
        from pipeguard.runtime.transports import transport_names

        return transport_names()
    if option in ("--log-level", "--log-format"):
        from pipeguard.log import FORMATS, LEVELS

        return LEVELS if option == "--log-level" else FORMATS
    return ()


def _items(
    named: Iterable[tuple[str, str]], incomplete: str, form: re.Pattern[str] = _PLAIN
) -> Items:
    """Completions from names and their descriptions: each once, none that a shell could misread."""
    from click.shell_completion import CompletionItem

    from pipeguard.unicode.display import show

    names: dict[str, str] = {}
    for name, about in named:
        if name.startswith(incomplete) and form.fullmatch(name):
            names.setdefault(name, about)
    return [
        CompletionItem(name, help=show(about, 60) if about else None)
        for name, about in names.items()
    ]


@contextmanager
def _store() -> Iterator[Store | None]:
    """The store, or None if it does not exist or cannot be read."""
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
        queries = [AuditFilter(action=action, limit=NEWEST_EVENTS) for action in actions]
        matching = [row for query in queries for row in rows(store, query)]
    for row in sorted(matching, key=lambda row: row.entry.time, reverse=True):
        findings = as_fields(row)["findings"]
        rule = findings[0].get("rule", "") if isinstance(findings, list) and findings else ""
        yield row.entry.event, f"{row.entry.action} {rule}, {row.server}"


def _rules() -> Iterable[tuple[str, str]]:
    from pipeguard.rulebook.packs import load_rules

    try:
        return [(rule.id, rule.title) for rule in load_rules()]
    except PipeGuardError:
        return []


@_ignore_errors
def complete_isolated(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> Items:
    """Servers of clients, and all others of which isolation knows something."""
    from pipeguard.cli._isolation import known_names

    return _items(((name, "") for name in known_names()), incomplete)


@_ignore_errors
def complete_learned(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> Items:
    """Servers of which something was learned."""
    from pipeguard.isolation import Inventory

    return _items(((name, "") for name in Inventory.read().learned), incomplete)


@_ignore_errors
def isolation_kept(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Servers of which isolation keeps something, and fetched packages."""
    from pipeguard.isolation import Inventory

    return _items(((name, "") for name in Inventory.read().names), incomplete)


def complete_fetched(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> Items:
    """Packages that were fetched for isolated servers."""
    from pipeguard.isolation import Inventory

    with suppress(PipeGuardError, OSError):
        fetched = Inventory.read().packages
        return _items(((each.name, each.version) for each in fetched), incomplete)
    return []
