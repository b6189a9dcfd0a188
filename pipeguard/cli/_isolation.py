"""The known facts about the isolation of servers, as values. Not a command itself."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeguard.assess.extent_report import short_path
from pipeguard.assess.isolated_servers import servers_here
from pipeguard.config.effective_policy import wrap_isolation
from pipeguard.config.isolate_key import find_entries
from pipeguard.config.options import WrapOptions
from pipeguard.identity.server_name import identify_server
from pipeguard.isolation import Isolation, preview_server
from pipeguard.unicode.display import suggestion, visible

if TYPE_CHECKING:
    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.isolation import ServerPreview

NOTHING = "no host and no home"
_LISTS = ("read", "write", "hosts", "loopback", "limits")


def entries_now(path: str | None = None) -> tuple[IsolateEntry, ...]:
    """Isolation settings of the user's policy; of another file none if it does not exist.

    Raises:
        PolicyError: the file is invalid.
    """
    if path is not None and not Path(path).exists():
        return ()
    return wrap_isolation(WrapOptions((), {"--policy": path} if path else {}, {}, ()))


def known_names() -> list[str]:
    """All names under which something is known of a server's isolation."""
    from pipeguard.isolation import Inventory

    entries = entries_now()
    names = {name for each in servers_here(entries) for name in each.names}
    names |= {entry.server for entry in entries if not set(entry.server) & set("*?[")}
    return sorted({*names, *Inventory.read().names, *stored_names()})


def stored_names() -> tuple[str, ...]:
    """The servers that were started under PipeGuard."""
    from pipeguard.state.paths import existing_store
    from pipeguard.state.store import Store

    path = existing_store()
    if path is None:
        return ()
    with Store.open(path) as store:
        return store.named_servers()


def describe_unknown(name: str) -> Iterator[str]:
    """Say that a name is unknown, with names that are near it."""
    yield f"PipeGuard knows no server or package called {visible(name)!r}."
    if near := suggestion(name, known_names(), listed=True, likeness=0.5, most=3):
        yield near.strip()


def preview_command(words: tuple[str, ...]) -> ServerPreview:
    """All that the server of a command would be given here, by its words and the policy."""
    name = identify_server(words, None).name
    engine = next((each.engine for each in find_entries(name, entries_now())), Isolation.AUTO)
    engine = Isolation.AUTO if engine in (Isolation.NONE, Isolation.LEARN) else engine
    return preview_server(WrapOptions(words, {}, {}, ()), name, engine, {}, str(Path.cwd()))


def format_entry(entry: IsolateEntry) -> str:
    """An entry on one line."""
    parts = [entry.engine, *([f"tag {visible(entry.tag)}"] if entry.tag else [])]
    lists = ((kind, map(short_path, getattr(entry, kind))) for kind in _LISTS)
    parts += [f"{kind} {shown}" for kind, each in lists if (shown := visible(", ".join(each)))]
    parts += [f"roots {entry.roots}"] if entry.roots else []
    return "; ".join([*parts, *(["keep_home"] if entry.keep_home else [])])


def format_day(seconds: int) -> str:
    """The day of a moment, in the user's own calendar."""
    return datetime.datetime.fromtimestamp(seconds).astimezone().date().isoformat()
