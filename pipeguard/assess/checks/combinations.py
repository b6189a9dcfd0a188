"""Servers that are harmless alone, but not together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pipeguard.assess.gateway_file import GATEWAY
from pipeguard.assess.reach import labels
from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import PostureCheck, PostureFinding
from pipeguard.clients.catalog import clients
from pipeguard.clients.entries import GuardState, ServerEntry
from pipeguard.core.finding import Severity
from pipeguard.core.flows.tool_labels import Label

WAY_OUT = PostureCheck(
    "toxic-flow",
    "One client can read private data, take in words of strangers, and send to the outside",
    Severity.MEDIUM,
    "A page or a message can get a model to read what is private and to send it away. Each server "
    "does what it is for; they leak only together. For each server that it guards, PipeGuard "
    "watches what comes from one tool and goes to another.",
    "Guard all of them, and give the one that sends to a client of its own.",
    "pipeguard setup --all",
)
RUNS = PostureCheck(
    "toxic-command",
    "One client can take in words of strangers and run commands",
    Severity.MEDIUM,
    "A page or a message can get a model to run a command on this machine.",
    "Guard both, and have the client ask before each command.",
    "pipeguard setup --all",
)
CHECKS = (WAY_OUT, RUNS)
_PRIVATE = Label.READS_PRIVATE | Label.READS_PERSONAL | Label.READS_SECRET
_GUARDED = (GuardState.GUARDED,)


class _LabelledServer(NamedTuple):
    server: ServerEntry
    labels: Label
    from_tools: bool
    guarded: bool


def look(target: AssessmentTarget) -> Iterator[PostureFinding]:
    """Check the servers of each client together."""
    by_client: dict[str, list[_LabelledServer]] = {}
    for server in target.servers:
        union, from_tools = labels(target, server)
        guarded = target.judged(server).state in _GUARDED
        for client in target.clients_of(server):
            labelled = _LabelledServer(server, union, from_tools, guarded)
            by_client.setdefault(client, []).append(labelled)
    seen: set[tuple[str, ...]] = set()
    for client, servers in by_client.items():
        for finding in (*_way_out(client, servers), *_runs(client, servers)):
            # Several clients read one file: the combination is the same for each.
            what = (finding.check, str(finding.file), finding.key)
            if what not in seen:
                seen.add(what)
                yield finding


def _way_out(client: str, servers: list[_LabelledServer]) -> Iterator[PostureFinding]:
    private = [server for server in servers if server.labels & _PRIVATE]
    foreign = [server for server in servers if server.labels & Label.TAKES_IN]
    out = [
        server
        for server in servers
        if server.labels & Label.SENDS and server.labels & Label.OUTSIDE
    ]
    if private and foreign and out:
        parts = {"reads private data": private, "takes in": foreign, "sends": out}
        yield _finding(WAY_OUT, client, parts)


def _runs(client: str, servers: list[_LabelledServer]) -> Iterator[PostureFinding]:
    foreign = [server for server in servers if server.labels & Label.TAKES_IN]
    runs = [server for server in servers if server.labels & Label.RUNS]
    if foreign and runs:
        yield _finding(RUNS, client, {"takes in": foreign, "runs": runs})


def _finding(
    check: PostureCheck, client: str, parts: dict[str, list[_LabelledServer]]
) -> PostureFinding:
    """Low if it is guessed from names, or if all of the servers are guarded."""
    every = [server for servers in parts.values() for server in servers]
    names = sorted({server.server.name for server in every})
    listed = "; ".join(
        f"{what}: {', '.join(sorted({server.server.name for server in servers}))}"
        for what, servers in parts.items()
    )
    sure = all(server.from_tools for server in every)
    guess = "" if sure else " This is guessed from their names; --connect looks at their tools."
    guarded = all(server.guarded for server in every)
    rated = check.rated(check.severity if sure and not guarded else Severity.LOW)
    return rated.of_server(
        every[0].server,
        f"{_name_of(client)} has them together ({listed}).{guess}",
        key=",".join(names),
        fix=() if guarded else ("pipeguard", "setup", client),
    )


def _name_of(client: str) -> str:
    """A client's name for people."""
    return "pipeguard serve" if client == GATEWAY else clients()[client].name
