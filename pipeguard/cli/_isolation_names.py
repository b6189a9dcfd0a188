"""The names under which something is known of a server's isolation. Not a command itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeguard.assess.extent_report import wrap_text
from pipeguard.assess.isolated_servers import servers_here
from pipeguard.config.effective_policy import wrap_isolation
from pipeguard.config.options import WrapOptions
from pipeguard.unicode.display import suggestion, visible

if TYPE_CHECKING:
    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.state.store import Namesake

NOTHING = "no host and no home"


def entries_now(path: str | None = None) -> tuple[IsolateEntry, ...]:
    """Isolation settings of the user's policy.

    Raises:
        PolicyError: the file is invalid.
    """
    return wrap_isolation(WrapOptions((), {"--policy": path} if path else {}, {}, ()))


def unknown_lines(name: str) -> Iterator[str]:
    """Say that a name is unknown, with names that are near it."""
    known = known_names()
    yield f"PipeGuard knows no server or package called {visible(name)!r}."
    if near := suggestion(name, known, listed=True, likeness=0.5, most=3):
        yield near.strip()
    elif known:
        yield from wrap_text(f"Available: {visible(', '.join(known))}.", "")
    else:
        yield "No server has run under PipeGuard yet, and your clients' files have none."


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


def find_namesakes(name: str) -> tuple[Namesake | None, tuple[str, ...]]:
    """The server that has the name which this one asked for; and those that asked for its name."""
    from pipeguard.state.paths import existing_store
    from pipeguard.state.store import Store

    path = existing_store()
    if path is None:
        return None, ()
    with Store.open(path) as store:
        return store.find_namesake(name), store.servers_called(name)[1:]


def known_packages(*, as_json: bool) -> Iterator[str]:
    """The packages that are known, with what `--isolate auto` gives each."""
    from pipeguard.isolation import all_shipped

    known = sorted((key.partition(":")[2], each) for each in all_shipped() for key in each.packages)
    if as_json:
        listed = [
            {"package": name, **each._asdict(), "variables": dict(each.variables)}
            for name, each in known
        ]
        yield json.dumps(listed, indent=2)
        return
    width = max(len(name) for name, _ in known)
    yield f"{'package':<{width}}  isolation gives it"
    for name, each in known:
        yield f"{name:<{width}}  {'; '.join(each.grants) or NOTHING}"
    yield "What else one needs:  pipeguard isolate show PACKAGE"
