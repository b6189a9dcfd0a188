"""The isolation of one server, as text and as fields. Not a command itself."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from pipeguard.assess.extent_report import short_path, wrap_text
from pipeguard.assess.gateway_file import is_of_gateway
from pipeguard.assess.isolated_servers import older_run, servers_here
from pipeguard.cli._isolation_names import (
    NOTHING,
    entries_now,
    find_namesakes,
    stored_names,
    unknown_lines,
)
from pipeguard.config.isolate_key import find_entries
from pipeguard.errors import PolicyError
from pipeguard.identity.server_name import identify_server
from pipeguard.unicode.display import quote, visible

if TYPE_CHECKING:
    from pipeguard.assess.isolated_servers import ServerHere
    from pipeguard.clients.entries import ServerEntry
    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.isolation import ServerFacts
    from pipeguard.state.store import Namesake

MISSING = (
    "Is something missing? `pipeguard wrap --isolate learn` finds out what a server needs"
    " (`pipeguard isolate --help`)."
)
ENFORCED = "It can reach nothing else of yours: that is enforced, whatever it tries."
IS_KNOWN = "is a package that PipeGuard knows."
IN_COMMAND = "--connect HOST, --read PATH or --write PATH in its command before the `--`,"
IN_SERVERS_FILE = "`hosts`, `read` or `write` under `isolate` in its entry in pipeguard.yaml,"
TO_GIVE_MORE = "or under `isolate` in your policy. `pipeguard allow EVENT` gives what was refused."
WIDTH = 10  # of a kind: keep_home is the longest


@dataclass(frozen=True, slots=True)
class ServerIsolation:
    """The known facts about one server.

    Attributes:
        name: of the server.
        entries: of the policy that are for it.
        facts: what was learned of it, and what is known of its package.
        servers: the entries of clients that start it.
        has_run: whether it was ever started under PipeGuard.
        namesake: what has the name that it asked for, where it is kept apart from that; or None.
        others: the servers that asked for its name.
    """

    name: str
    entries: tuple[IsolateEntry, ...]
    facts: ServerFacts
    servers: tuple[ServerHere, ...] = ()
    has_run: bool = False
    namesake: Namesake | None = None
    others: tuple[str, ...] = ()

    @property
    def is_isolated(self) -> bool:
        """True if the policy isolates it."""
        return bool(self.entries) and self.entries[0].engine != "none"

    @property
    def is_empty(self) -> bool:
        """True if nothing is known of it."""
        is_used = bool(self.entries or self.servers or self.has_run)
        return not (is_used or self.facts.observed or self.facts.shipped)

    def fields(self) -> dict[str, object]:
        """For programs."""
        fields: dict[str, object] = {
            "server": self.name,
            "isolated": bool(self._isolator),
            "isolated_by": self._isolator,
            "entries": [entry._asdict() for entry in self.entries],
            "servers": [each.fields() for each in self.servers],
        }
        observed, proposal, shipped = self.facts
        if shipped is not None:
            fields["known"] = shipped._asdict() | {"variables": dict(shipped.variables)}
        if proposal is not None and observed is not None:
            for name in ("added", "present", "withheld"):
                fields[name] = [each._asdict() for each in getattr(proposal, name)]
        return fields

    def lines(self) -> Iterator[str]:
        """For people."""
        if self.is_empty:
            yield from unknown_lines(self.name)
            return
        yield from wrap_text(self._heading(), "")
        yield from self._name_lines()
        yield from self._server_lines()
        yield from self._start_lines()
        yield from self._policy_lines()
        yield from self._shipped_lines()
        if any(each.touches.extent for each in self.servers) and self._is_held_everywhere:
            yield f"  {ENFORCED}"
        yield from _proposal_lines(self.name, self.facts)
        if self._bare:
            for each in self._bare:
                yield from each.to_guard()
        elif self.unheld and (self.is_isolated or self.facts.proposal is None):
            for each in self.unheld:
                yield from each.to_isolate()
        elif self.facts.proposal is not None:
            return
        elif (self._is_held or (not self.servers and self.is_isolated)) and not any(
            each.touches.container for each in self.servers
        ):
            yield from wrap_text(self._to_give_more(), "  ")
            yield from wrap_text(MISSING, "  ")

    @property
    def _is_held(self) -> bool:
        """True if anything is kept from it, as it is started by an entry."""
        return any(each.isolation.is_held for each in self.servers)

    @property
    def _is_held_everywhere(self) -> bool:
        """True if each entry that starts it keeps anything from it."""
        return all(each.isolation.is_held and not each.is_bare for each in self.servers)

    @property
    def unheld(self) -> list[ServerHere]:
        """The entries that start it with PipeGuard, and without isolation."""
        return [each for each in self.servers if not (each.isolation.is_held or each.is_bare)]

    @property
    def _bare(self) -> list[ServerHere]:
        """The entries that start it without PipeGuard."""
        return [each for each in self.servers if each.is_bare]

    @property
    def _isolator(self) -> str:
        """Name what isolates it; empty where nothing is known to."""
        if self._bare:
            return ""
        if self._is_held:
            return "entry" if any(each.isolation.by_entry for each in self.servers) else "policy"
        return "policy" if self.is_isolated and not self.servers else ""

    def _heading(self) -> str:
        name = click.style(visible(self.name), bold=True)
        if self._bare:
            who = " and ".join(dict.fromkeys(visible(each.client_name) for each in self._bare))
            verb = "starts" if len({each.client_name for each in self._bare}) == 1 else "start"
            return f"{name} is NOT isolated: {who} {verb} it without PipeGuard:"
        if self.servers and (self._is_held or self.is_isolated):
            how = (
                "isolated"
                if self._is_held_everywhere
                else "isolated by some entries, and NOT by others"
            )
            no = "NOT isolated as it is started now, whatever your policy says"
            return f"{name} is {how if self._is_held else no}:"
        if self.is_isolated:
            return f"{name} is isolated by your policy:"
        if self.facts.shipped is not None and not self.servers and self.facts.observed is None:
            return f"{name} {IS_KNOWN}"
        if not self.servers:  # with --isolate it is, wherever it is started
            return f"{name} is isolated by no policy, and no client's entry starts it."
        return f"{name} is not isolated."

    @property
    def _is_served(self) -> bool:
        """True if the gateway starts it."""
        return bool(self.servers) and all(is_of_gateway(each.server) for each in self.servers)

    def _to_give_more(self) -> str:
        where = IN_SERVERS_FILE if self._is_served else IN_COMMAND
        return f"To give it more: {where} {TO_GIVE_MORE}"

    def _server_lines(self) -> Iterator[str]:
        """The entries that start it; those with the same extent together."""
        groups: dict[tuple[str, ...], list[ServerHere]] = {}
        for server in self.servers:
            groups.setdefault((server.isolated_how, *server.lines()), []).append(server)
        for (heading, *lines), servers in groups.items():
            for server in servers:
                where = visible(short_path(str(server.server.file)))
                yield f"  {visible(server.server.name)} in {where}"
            yield from wrap_text(heading)
            yield from lines
            for server in servers:
                yield from wrap_text(older_run(server.server))

    def _name_lines(self) -> Iterator[str]:
        """Explain a name that nobody gave."""
        if self.namesake is not None:
            name, other, since = self.namesake
            yield from wrap_text(
                f"It has this name because {visible(name)} is another server since {since[:10]}:"
                f" {visible(other)}. To choose a name, start it with --name NAME.",
                "  ",
            )
        for other in map(visible, self.others):
            yield f"  {other} asked for this name, too:  pipeguard isolate show {quote(other)}"

    def _start_lines(self) -> Iterator[str]:
        """Yield what else is known of a server that no entry starts."""
        if self.servers:
            return
        if self.is_isolated:
            yield ("  No client's entry starts it. Started by hand, it gets this and its options:")
        elif self.has_run:
            yield "  It was started by hand, and isolated only if that command had --isolate:"
            yield "  pipeguard wrap --isolate auto -- COMMAND"

    def _policy_lines(self) -> Iterator[str]:
        if self.is_isolated:
            when = ", which applies where PipeGuard starts it" if self._bare else ""
            yield f"  Your policy for it{when}:"
            for entry in self.entries:
                yield from wrap_text(format_entry(entry))

    def _shipped_lines(self) -> Iterator[str]:
        known = self.facts.shipped
        if known is None:
            return
        what = "; ".join(known.grants) or NOTHING
        if known.grants or not self.servers:
            is_told = self._heading().endswith(IS_KNOWN)
            its = "" if is_told else "Its package is known: "
            yield from wrap_text(f"{its}isolation gives it {what}.", "  ")
        if known.needs:
            yield from wrap_text(known.needs, "  ")


def find_isolation(name: str, path: str | None = None) -> ServerIsolation:
    """All that is known of a server.

    Args:
        name: of the server, or of a package.
        path: the policy file, which need not exist; None for the user's own.

    Raises:
        PipeGuardError: the policy or what was learned cannot be read.
    """
    from pathlib import Path

    from pipeguard.isolation import ServerFacts

    readable = path if path is None or Path(path).exists() else None
    policy = entries_now(readable) if path is None or readable else ()
    entries = find_entries(name, policy)
    servers = tuple(each for each in servers_here(policy) if name in each.names)
    facts = ServerFacts.find(name, entries, [each.package for each in servers])
    has_run = name in stored_names()
    namesake, others = find_namesakes(name) if has_run else (None, ())
    return ServerIsolation(name, entries, facts, servers, has_run, namesake, others)


def format_entry(entry: IsolateEntry) -> str:
    """An entry on one line."""
    parts = [entry.engine, *([f"tag {visible(entry.tag)}"] if entry.tag else [])]
    lists = ("read", "write", "hosts", "loopback", "limits")
    given = ((kind, getattr(entry, kind)) for kind in lists)
    shown = [(kind, [visible(short_path(value)) for value in values]) for kind, values in given]
    parts += [f"{kind} {', '.join(values)}" for kind, values in shown if values]
    if entry.roots:
        parts.append(f"roots {entry.roots}")
    if entry.keep_home:
        parts.append("keep_home")
    return "; ".join(parts)


def otherwise_named(server: ServerEntry) -> str:
    """Warn that the policy grants something to the name that this server has without an entry."""
    own = identify_server(server.own_words, server.cwd or None).name
    try:
        entries = entries_now()
    except PolicyError:
        return ""  # it is reported when a server starts
    if own == server.name or find_entries(server.name, entries) or not find_entries(own, entries):
        return ""
    return (
        f"in your policy, `isolate` is for {own}, the name of this command without an entry; here"
        f" it is called {server.name}: add an entry of that name"
    )


def format_day(seconds: int) -> str:
    """The day of a moment, in the user's own calendar."""
    return datetime.datetime.fromtimestamp(seconds).astimezone().date().isoformat()


def _proposal_lines(name: str, facts: ServerFacts) -> Iterator[str]:
    observed, proposal, _ = facts
    if proposal is None or observed is None:
        return
    yield f"  Learned on {format_day(observed.last)}, beyond what every isolated server has:"
    yield from (_line("+", grant, "green") for grant in proposal.added)
    yield from (_line(" ", grant, None) for grant in proposal.present)
    if not (proposal.added or proposal.present):
        yield "    nothing"
    if observed.is_cut:
        yield "  It used more than PipeGuard has room to record."
    if proposal.withheld:
        yield "  Not given:"
        yield from (f"    {visible(what)}: {visible(why)}" for what, why, _ in proposal.withheld)
    if proposal.added:
        yield f"  Accept what is marked +:  pipeguard isolate accept {visible(name)}"


def _line(mark: str, grant: tuple[str, str, str], colour: str | None) -> str:
    kind, value, why = grant
    text = f"    {mark} {kind:<{WIDTH}}{visible(short_path(value))}"
    return f"{click.style(text, fg=colour)}  ({visible(why)})"
