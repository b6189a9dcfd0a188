"""`pipeguard store`: checks and copies a store, as of replicas of the gateway."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import click

from pipeguard.cli import _groups
from pipeguard.cli._emit import Fields, emit, json_option
from pipeguard.errors import InputError, StateError
from pipeguard.log import say

if TYPE_CHECKING:
    from pipeguard.state.pins import Store


@_groups.group("store", "Check and copy the store of pins, tokens and audit.")
def command() -> None:
    """Check and copy the store: a file, or the PostgreSQL database of replicas (PIPEGUARD_STORE).

    \b
    Examples:
      pipeguard store check
      pipeguard store copy ~/.local/state/pipeguard/pipeguard.db postgresql://pipeguard@db/pipeguard
    """  # noqa: D301  click reads the mark


@command.command("check")
@json_option
def check() -> None:
    """Check that the store can be used: its form, tables, rights and partitions.

    Makes missing tables, as every command does. Reads the keys in PIPEGUARD_SECRET_FILE, if it is
    set.

    \b
    Examples:
      pipeguard store check
      PIPEGUARD_STORE=postgresql://pipeguard@db/pipeguard pipeguard store check --json

    \b
    Exit codes:
      0  it can be used
      2  the address or the file of keys is wrong
      4  it cannot be used
    """  # noqa: D301  click reads the mark
    from pipeguard.state.shared import SECRET_VARIABLE, shared_address, shared_keys
    from pipeguard.state.store import open_store

    if shared_address() and os.environ.get(SECRET_VARIABLE):
        shared_keys()
    with open_store() as store:
        description: Fields = {"store": str(store.path), **store.inspect()}
    if problem := description.pop("problem"):
        raise StateError(f"the store {description['store']}: {problem}.")
    emit(description, _describe)


def _describe(fields: Fields) -> str:
    names = ("form", "tables", "partitions")
    parts = (f"{name} {fields[name]}" for name in names if name in fields)
    return f"{fields['store']}: {fields['engine']}, {', '.join(parts)}"


@command.command("copy")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@json_option
def copy(source: str, target: str) -> None:
    """Copy a store into an empty one: pins, tokens, decisions and audit, all or nothing.

    FROM and TO are files or addresses (postgresql://user@host/database). What replicas remember
    of their sessions is not copied.

    \b
    Examples:
      pipeguard store copy pipeguard.db postgresql://pipeguard@db/pipeguard
      pipeguard store copy postgresql://pipeguard@db/pipeguard backup.db

    \b
    Exit codes:
      0  copied
      2  an address or a path is wrong
      4  TO is not empty, or a store cannot be used; nothing was copied
    """  # noqa: D301  click reads the mark
    from pipeguard.state.copying import copy_store

    told = monotonic()

    def tell(rows: int) -> None:
        nonlocal told
        if monotonic() - told > 1:
            told = monotonic()
            say(f"{rows} rows copied so far")

    with ExitStack() as stack:
        opened = stack.enter_context(_open(source, must_exist=True))
        empty = stack.enter_context(_open(target, must_exist=False))
        counts = copy_store(opened, empty, tell)
    emit({"rows": counts}, lambda _: f"Copied {sum(counts.values())} rows to {target}.")


def _open(where: str, *, must_exist: bool) -> Store:
    from pipeguard.state.database import connect
    from pipeguard.state.pins import Store
    from pipeguard.state.store import open_database

    if "://" in where:
        return open_database(where)
    path = Path(where)
    if not (path.is_file() if must_exist else path.absolute().parent.is_dir()):
        raise InputError(f"{where}: there is no such file or folder.")
    return Store(path, connect(path))
