"""Servers that are harmless by themselves, but not together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from pipeguard.assess.cures import join_setups, setup_command
from pipeguard.assess.gateway_file import GATEWAY
from pipeguard.assess.reach import find_taken, labels
from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import PostureCheck, PostureFinding, read_checks
from pipeguard.clients.catalog import clients
from pipeguard.clients.entries import GuardState, ServerEntry
from pipeguard.detect.flows.tool_labels import Label
from pipeguard.firewall.finding import Severity

WAY_OUT, RUNS = CHECKS = read_checks("combinations")
_ALONE = (
    " One server does all of it: give it a login with fewer rights, or fewer tools, or accept this"
    " in a baseline (`--write-baseline`)."
)
_PRIVATE = Label.READS_PRIVATE | Label.READS_PERSONAL | Label.READS_SECRET
_GUARDED = (GuardState.GUARDED,)


class _LabelledServer(NamedTuple):
    """A server of one client.

    Attributes:
        server: its entry.
        said: its capabilities, as its tools or its name say.
        from_tools: whether its tools say so.
        guarded: whether it is guarded.
        is_open: whether it is unguarded, and can be guarded.
        taken: the capabilities that isolation removes.
        has: its remaining capabilities, in words.
    """

    server: ServerEntry
    said: Label
    from_tools: bool
    guarded: bool
    is_open: bool
    taken: Label
    has: str


_Parts = dict[str, list[_LabelledServer]]


def look(target: AssessmentTarget) -> Iterator[PostureFinding]:
    """Check the servers of each client together."""
    by_client: dict[str, list[_LabelledServer]] = {}
    for server in target.servers:
        union, from_tools = labels(target, server)
        state = target.judge(server).state
        is_open = state in (GuardState.OPEN, GuardState.STALE)
        taken = find_taken(target, server) if union else (Label.NONE, "")
        labelled = _LabelledServer(server, union, from_tools, state in _GUARDED, is_open, *taken)
        for client in target.client_ids(server):
            by_client.setdefault(client, []).append(labelled)
    found = (
        _combine(target, check, client, servers, together)
        for client, servers in by_client.items()
        for check, together in ((WAY_OUT, _way_out), (RUNS, _runs))
    )
    seen: set[tuple[str, ...]] = set()
    for finding in filter(None, found):
        # Several clients read one file: the combination is the same for each.
        what = (finding.check, str(finding.file), finding.key)
        if what not in seen:
            seen.add(what)
            yield finding


def _combine(
    target: AssessmentTarget,
    check: PostureCheck,
    client: str,
    servers: list[_LabelledServer],
    together: Callable[[list[tuple[_LabelledServer, Label]]], _Parts],
) -> PostureFinding | None:
    """Combinations of servers, after isolation; it only reports what isolation prevents.

    Args:
        target: the machine or repository.
        check: the check that looks for it.
        client: the client that has the servers.
        servers: all servers of the client.
        together: the servers of each part; empty if no server has one of the parts.
    """
    left = together([(each, each.said & ~each.taken) for each in servers])
    if left:
        return _finding(target, check, client, left)
    said = together([(each, each.said) for each in servers])
    return _kept_apart(check, client, said) if said else None


def _way_out(servers: list[tuple[_LabelledServer, Label]]) -> _Parts:
    out = Label.SENDS | Label.OUTSIDE
    parts = {
        "reads private data": [each for each, label in servers if label & _PRIVATE],
        "takes in": [each for each, label in servers if label & Label.TAKES_IN],
        "sends": [each for each, label in servers if label & out == out],
    }
    return parts if all(parts.values()) else {}


def _runs(servers: list[tuple[_LabelledServer, Label]]) -> _Parts:
    parts = {
        "takes in": [each for each, label in servers if label & Label.TAKES_IN],
        "runs": [each for each, label in servers if label & Label.RUNS],
    }
    return parts if all(parts.values()) else {}


def _kept_apart(check: PostureCheck, client: str, parts: _Parts) -> PostureFinding:
    """Report, for information, servers that isolation keeps apart."""
    every = {each.server.name: each for servers in parts.values() for each in servers}
    kept = [each for each in every.values() if each.taken]
    listed = "; ".join(f"{each.server.name} has {each.has}" for each in kept)
    return check.with_severity(Severity.INFO).at(
        next(iter(every.values())).server,
        f"Together in {_name(client)}: {_list_names(parts)}. But isolation keeps them from it,"
        f" enforced: {listed}.",
        key=",".join(sorted(every)),
    )


def _list_names(parts: _Parts) -> str:
    return "; ".join(
        f"{what}: {', '.join(sorted({each.server.name for each in servers}))}"
        for what, servers in parts.items()
    )


def _finding(
    target: AssessmentTarget, check: PostureCheck, client: str, parts: _Parts
) -> PostureFinding:
    """Report a combination: low if it is guessed from names, or if all servers are guarded."""
    every = [server for servers in parts.values() for server in servers]
    names = sorted({server.server.name for server in every})
    sure = all(server.from_tools for server in every)
    guess = "" if sure else " This is guessed from their names; --connect looks at their tools."
    guarded = all(server.guarded for server in every)
    fixes = [setup_command(target, server.server) for server in every if server.is_open]
    is_shared = any("project" in fix for fix in fixes)  # which setup changes only if it is named
    fix = join_setups(fixes) if is_shared else ("pipeguard", "setup", client)
    alone = _ALONE if guarded and len(names) == 1 else ""
    rated = check.with_severity(check.severity if sure and not guarded else Severity.LOW)
    return rated.at(
        every[0].server,
        f"Together in {_name(client)}: {_list_names(parts)}.{alone}{guess}",
        key=",".join(names),
        fix=fix if fixes else (),
    )


def _name(client: str) -> str:
    """A client's name for people."""
    return "pipeguard serve" if client == GATEWAY else clients()[client].name
