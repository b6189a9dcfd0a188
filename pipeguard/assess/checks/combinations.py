"""Servers that are harmless by themselves, but not together."""

from typing import NamedTuple

from pipeguard.assess.cures import join_setups, setup_command
from pipeguard.assess.gateway_file import GATEWAY
from pipeguard.assess.reach import find_taken, labels
from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import Findings, PostureCheck, PostureFinding, read_checks
from pipeguard.clients.catalog import clients
from pipeguard.clients.entries import GuardState, ServerEntry
from pipeguard.clients.rewrite import TO_DO
from pipeguard.detect.flows.tool_labels import Label
from pipeguard.firewall.finding import Severity

WAY_OUT, RUNS = CHECKS = read_checks("combinations")
_ALONE = (
    " One server does all of it: give it a login with fewer rights, or fewer tools, or accept this"
    " in a baseline (`--write-baseline`)."
)
_Parts = dict[str, list["_LabelledServer"]]
_Needs = dict[str, tuple[Label, ...]]  # by part: a server has it with all labels of one of these
_PRIVATE = (Label.READS_PRIVATE, Label.READS_PERSONAL, Label.READS_SECRET)
_TAKES_IN = {"takes in": (Label.TAKES_IN,)}
_SENDS_OUT = (Label.SENDS | Label.OUTSIDE,)
_COMBINATIONS: tuple[tuple[PostureCheck, _Needs], ...] = (
    (WAY_OUT, {"reads private data": _PRIVATE, **_TAKES_IN, "sends": _SENDS_OUT}),
    (RUNS, {**_TAKES_IN, "runs": (Label.RUNS,)}),
)


class _LabelledServer(NamedTuple):
    """A server of one client.

    Attributes:
        server: its entry.
        said: its capabilities, as its tools or its name say.
        from_tools: whether its tools say so.
        state: whether it is guarded, or can be.
        taken: the capabilities that isolation removes.
        has: its remaining capabilities, in words.
    """

    server: ServerEntry
    said: Label
    from_tools: bool
    state: GuardState
    taken: Label
    has: str


def look(target: AssessmentTarget) -> Findings:
    """Check the servers of each client together."""
    by_client: dict[str, list[_LabelledServer]] = {}
    for server in target.servers:
        union, from_tools = labels(target, server)
        taken = find_taken(target, server) if union else (Label.NONE, "")
        state = target.judge(server).state
        labelled = _LabelledServer(server, union, from_tools, state, *taken)
        for client in target.client_ids(server):
            by_client.setdefault(client, []).append(labelled)
    found = (
        _combine(target, check, client, servers, needs)
        for client, servers in by_client.items()
        for check, needs in _COMBINATIONS
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
    needs: _Needs,
) -> PostureFinding | None:
    """Combinations of servers, after isolation; it only reports what isolation prevents.

    Args:
        target: the machine or repository.
        check: the check that looks for it.
        client: the client that has the servers.
        servers: all servers of the client.
        needs: the parts of the combination.
    """
    left = _find_parts(needs, [(each, each.said & ~each.taken) for each in servers])
    if left:
        return _finding(target, check, client, left)
    said = _find_parts(needs, [(each, each.said) for each in servers])
    return _kept_apart(check, client, said) if said else None


def _find_parts(needs: _Needs, servers: list[tuple[_LabelledServer, Label]]) -> _Parts:
    """Find the servers of each part; empty if no server has one of the parts."""
    parts = {
        what: [each for each, label in servers if any(label & need == need for need in accepted)]
        for what, accepted in needs.items()
    }
    return parts if all(parts.values()) else {}


def _kept_apart(check: PostureCheck, client: str, parts: _Parts) -> PostureFinding:
    """Report, for information, servers that isolation keeps apart."""
    every = {each.server.name: each for servers in parts.values() for each in servers}
    kept = [each for each in every.values() if each.taken]
    listed = "; ".join(f"{each.server.name} has {each.has}" for each in kept)
    return check.at(
        next(iter(every.values())).server,
        f"Together in {_name(client)}: {_list_names(parts)}. But isolation keeps them from it,"
        f" enforced: {listed}.",
        key=",".join(sorted(every)),
        severity=Severity.INFO,
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
    guarded = all(server.state is GuardState.GUARDED for server in every)
    fixes = [setup_command(target, server.server) for server in every if server.state in TO_DO]
    is_shared = any("project" in fix for fix in fixes)  # which setup changes only if it is named
    fix = join_setups(fixes) if is_shared else ("pipeguard", "setup", client)
    alone = _ALONE if guarded and len(names) == 1 else ""
    return check.at(
        every[0].server,
        f"Together in {_name(client)}: {_list_names(parts)}.{alone}{guess}",
        key=",".join(names),
        fix=fix if fixes else (),
        severity=None if sure and not guarded else Severity.LOW,
    )


def _name(client: str) -> str:
    """A client's name for people."""
    return "pipeguard serve" if client == GATEWAY else clients()[client].name
