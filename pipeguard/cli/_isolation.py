"""What is known of one server's isolation, as text and as fields. Not a command itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from pipeguard.cli._isolated_servers import servers_here, short_path
from pipeguard.config.effective_policy import wrap_isolation
from pipeguard.config.isolate_key import entries_for
from pipeguard.config.options import WrapOptions
from pipeguard.core.unicode.display import visible
from pipeguard.errors import PolicyError, StateError
from pipeguard.identity.server_name import launched
from pipeguard.log import say

if TYPE_CHECKING:
    from pipeguard.cli._isolated_servers import ServerHere
    from pipeguard.clients.entries import ServerEntry
    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.isolation.docker_servers import Hardened
    from pipeguard.isolation.learning.observed import Observed
    from pipeguard.isolation.learning.proposal import ProfileProposal
    from pipeguard.isolation.learning.reduction import Grant
    from pipeguard.isolation.shipped import ShippedProfile

EVERY_SERVER = (
    "  Beside that, as each isolated server: its program to read, a home and /tmp of its own, no"
    " other file, no other host."
)
MISSING = (
    "Is something missing? `pipeguard wrap --isolate learn` finds out what a server needs"
    " (`pipeguard isolate --help`)."
)
WIDTH = 10  # of a kind: keep_home is the longest


@dataclass(frozen=True, slots=True)
class ServerIsolation:
    """What is known of one server.

    Attributes:
        name: of the server.
        entries: of the policy that are for it.
        observed: what was learned, or None.
        proposal: that beside what it is given, or None.
        shipped: the profile of its package, or None.
        servers: the entries of clients that start it.
    """

    name: str
    entries: tuple[IsolateEntry, ...]
    observed: Observed | None
    proposal: ProfileProposal | None
    shipped: ShippedProfile | None
    servers: tuple[ServerHere, ...] = ()

    @property
    def is_isolated(self) -> bool:
        """Whether the policy isolates it."""
        return bool(self.entries) and self.entries[0].engine != "none"

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known of it."""
        nothing = not self.entries and not self.servers
        return nothing and self.observed is None and self.shipped is None

    def fields(self) -> dict[str, object]:
        """For programs."""
        fields: dict[str, object] = {
            "server": self.name,
            "isolated": self.is_isolated,
            "entries": [entry._asdict() for entry in self.entries],
            "servers": [each.fields() for each in self.servers],
        }
        if self.shipped is not None:
            fields["known"] = self.shipped._asdict() | {"variables": dict(self.shipped.variables)}
        if self.proposal is not None and self.observed is not None:
            fields["runs"] = self.observed.runs
            for name in ("added", "present", "unused", "withheld"):
                fields[name] = [each._asdict() for each in getattr(self.proposal, name)]
        return fields

    def lines(self) -> Iterator[str]:
        """For people."""
        name = click.style(visible(self.name), bold=True)
        if self.is_empty:
            yield f"Nothing is known of {name}. `pipeguard isolate list` has what is."
            return
        held = [each for each in self.servers if each.isolation.is_held]
        if self.is_isolated:
            yield f"{name} is isolated by your policy:"
            yield from (f"    {written(entry)}" for entry in self.entries)
        elif held:
            yield f"{name} is isolated:"
        else:
            yield f"{name} is isolated neither by your policy nor by the entry of a client."
        for server in self.servers:
            yield from server.lines()
        yield from self._shipped_lines()
        if self.is_isolated or held:
            yield EVERY_SERVER
        if self.proposal is not None and self.observed is not None:
            yield from _proposal_lines(self.name, self.proposal, self.observed)
        elif self.is_isolated or held:
            yield f"  {MISSING}"

    def _shipped_lines(self) -> Iterator[str]:
        known = self.shipped
        if known is None:
            return
        given = [f"hosts {', '.join(known.hosts)}"] if known.hosts else []
        given += ["a kept home"] if known.keeps_home else []
        given += [f"{name}={value}" for name, value in known.variables]
        what = "; ".join(given) or "nothing more"
        yield f"  PipeGuard knows the package: with --isolate auto it is given {what}."
        if known.needs:
            yield f"  {known.needs}"


def entries_now(path: str | None = None) -> tuple[IsolateEntry, ...]:
    """What the user's policy says about isolation.

    Raises:
        PolicyError: the file is invalid.
    """
    return wrap_isolation(WrapOptions((), {"--policy": path} if path else {}, {}, ()))


def known_servers() -> list[tuple[str, Observed]]:
    """The servers of which something was learned, with that."""
    from pipeguard.isolation.learning.observed import learned_names, load

    found = []
    for name in learned_names():
        try:
            seen = load(name)
        except StateError as error:
            say(str(error), "warning")  # the others are there all the same
            continue
        if seen is not None:
            found.append((name, seen))
    return found


def isolation_of(name: str, path: str | None = None) -> ServerIsolation:
    """All that is known of a server.

    Args:
        name: of the server, or of a package.
        path: the policy file, which need not exist; None for the user's own.

    Raises:
        PipeGuardError: the policy or what was learned cannot be read.
    """
    from pathlib import Path

    from pipeguard.isolation.learning.observed import load
    from pipeguard.isolation.learning.proposal import proposed
    from pipeguard.isolation.profile import Profile
    from pipeguard.isolation.sandbox import this_host
    from pipeguard.isolation.shipped import shipped_for
    from pipeguard.runtime.isolated import granted

    readable = path if path is None or Path(path).exists() else None
    policy = entries_now(readable) if path is None or readable else ()
    entries = entries_for(name, policy)
    servers = tuple(each for each in servers_here(policy) if name in each.names)
    observed = load(name)
    keys = [observed.package] if observed is not None else [f"npm:{name}", f"pypi:{name}"]
    keys += [each.package for each in servers]
    shipped = next(filter(None, map(shipped_for, keys)), None)
    proposal = None
    if observed is not None:
        given = shipped.profile if shipped is not None else Profile()
        proposal = proposed(observed, given.with_more(granted(entries)), this_host())
    return ServerIsolation(name, entries, observed, proposal, shipped, servers)


def hardened_words(words: tuple[str, ...]) -> Hardened:
    """The command of a container as isolation starts it.

    Raises:
        PolicyError: it starts no container, or gives away what no isolated server is given.
    """
    from pathlib import Path

    from pipeguard.isolation.docker_servers import hardened
    from pipeguard.isolation.docker_words import is_of_containers
    from pipeguard.isolation.sandbox import this_host
    from pipeguard.runtime.isolated import granted

    if not is_of_containers(words):
        raise PolicyError(
            f"{visible(words[0])} starts no container. Name the server alone, or a command as"
            " docker run IMAGE after `--`."
        )
    entries = entries_for(launched(words, None).name, entries_now())
    return hardened(words, str(Path.cwd()), granted(entries), this_host())


def hardening(hardened: Hardened) -> str:
    """What is added to a container's words, for people."""
    said = " ".join(map(visible, hardened.added))
    lines = [f"Isolated, it is started with: {said}" if said else "Its words leave nothing open."]
    if hardened.is_open:
        lines.append("It has a network by its own words: its connections are not judged.")
    return "\n".join(lines)


def written(entry: IsolateEntry) -> str:
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
    """That the policy gives something to this server by the name that it has without an entry."""
    own = launched(server.own_words, server.cwd or None).name
    try:
        entries = entries_now()
    except PolicyError:
        return ""  # it is reported when a server starts
    if own == server.name or entries_for(server.name, entries) or not entries_for(own, entries):
        return ""
    return (
        f"in your policy, `isolate` is for {own}, as this command is called without an entry; here"
        f" it is called {server.name}: give it the same there"
    )


def runs_of(observed: Observed) -> str:
    """In how many runs it was learned."""
    return f"{observed.runs} {'run' if observed.runs == 1 else 'runs'}"


def _proposal_lines(name: str, proposal: ProfileProposal, observed: Observed) -> Iterator[str]:
    yield f"  Learned in {runs_of(observed)}, beside what every isolated server has:"
    yield from (_line("+", grant, "green") for grant in proposal.added)
    yield from (_line(" ", grant, None) for grant in proposal.present)
    yield from (_line("-", grant, "yellow") for grant in proposal.unused)
    if not (proposal.added or proposal.present or proposal.unused):
        yield "    nothing"
    if observed.is_cut:
        yield "  More was used than there is room to write down."
    if proposal.withheld:
        yield "  Not given:"
        yield from (f"    {visible(what)}: {visible(why)}" for what, why, _ in proposal.withheld)
    if proposal.added:
        yield f"  Accept what is marked +:  pipeguard isolate accept {visible(name)}"


def _line(mark: str, grant: Grant, colour: str | None) -> str:
    text = f"    {mark} {grant.kind:<{WIDTH}}{visible(short_path(grant.value))}"
    return f"{click.style(text, fg=colour)}  ({visible(grant.why)})"
