"""Completions for shells: rules, packs and files. Not a command itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from pipeguard.errors import PipeGuardError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from pipeguard.detect.rules.rule import Rule

Items = list["CompletionItem"]
Complete = Callable[[click.Context, click.Parameter, str], Items]


def rules(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Complete rules by id, with their titles."""
    from click.shell_completion import CompletionItem

    matching = (rule for rule in _load() if rule.id.startswith(incomplete))
    return [CompletionItem(rule.id, help=rule.title) for rule in matching]


def packs(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Complete packs of rules."""
    from click.shell_completion import CompletionItem

    names = dict.fromkeys(rule.pack for rule in _load())
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def files(metavar: str) -> Complete:
    """Complete files or folders, if a value is one; the shell itself does that."""
    kind = {"FILE": "file", "PATH": "file", "DIR": "dir"}.get(metavar)

    def complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type=kind)] if kind else []

    return complete


def _load() -> Iterable[Rule]:
    """Load the rules; empty if they cannot be read: completion must not disturb."""
    from pipeguard.rulebook.packs import load_rules

    try:
        return load_rules()
    except PipeGuardError:
        return ()
