"""Servers that are harmless alone, and not together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

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
    "A page or a message that says so gets a model to read what is private and to send it away. "
    "Each server does what it is for; only together they leak. PipeGuard watches what came from "
    "one tool and goes to another, for each server that it guards.",
    "Guard all of them, and give the one that sends to a client of its own.",
    "pipeguard setup --all",
)
RUNS = PostureCheck(
    "toxic-command",
    "One client can take in words of strangers and run commands",
    Severity.MEDIUM,
    "A page or a message that says so gets a model to run a command on this machine.",
    "Guard both, and have the client ask before each command.",
    "pipeguard setup --all",
)
CHECKS = (WAY_OUT, RUNS)
_PRIVATE = Label.READS_PRIVATE | Label.READS_PERSONAL | Label.READS_SECRET
_GUARDED = (GuardState.GUARDED,)


class _SeenLabels(NamedTuple):
    server: ServerEntry
    labels: Label
    asked: bool
    guarded: bool


def look(subject: AssessmentTarget) -> Iterator[PostureFinding]:
    """Every client's servers together."""
    by_client: dict[str, list[_SeenLabels]] = {}
    for server in subject.servers:
        found, asked = labels(subject, server)
        guarded = subject.judged(server).state in _GUARDED
        for client in subject.clients_of(server):
            by_client.setdefault(client, []).append(_SeenLabels(server, found, asked, guarded))
    told: set[tuple[str, ...]] = set()
    for client, servers in by_client.items():
        for finding in (*_way_out(client, servers), *_runs(client, servers)):
            # Several clients read one file: it is the same combination for each.
            what = (finding.check, str(finding.file), finding.key)
            if what not in told:
                told.add(what)
                yield finding


def _way_out(client: str, servers: list[_SeenLabels]) -> Iterator[PostureFinding]:
    private = [one for one in servers if one.labels & _PRIVATE]
    foreign = [one for one in servers if one.labels & Label.TAKES_IN]
    out = [one for one in servers if one.labels & Label.SENDS and one.labels & Label.OUTSIDE]
    if private and foreign and out:
        parts = {"reads private data": private, "takes in": foreign, "sends": out}
        yield _finding(WAY_OUT, client, parts)


def _runs(client: str, servers: list[_SeenLabels]) -> Iterator[PostureFinding]:
    foreign = [one for one in servers if one.labels & Label.TAKES_IN]
    runs = [one for one in servers if one.labels & Label.RUNS]
    if foreign and runs:
        yield _finding(RUNS, client, {"takes in": foreign, "runs": runs})


def _finding(
    check: PostureCheck, client: str, parts: dict[str, list[_SeenLabels]]
) -> PostureFinding:
    """Less where it is guessed from names, or where all of them are guarded."""
    each = [one for known in parts.values() for one in known]
    names = sorted({one.server.name for one in each})
    told = "; ".join(
        f"{what}: {', '.join(sorted({one.server.name for one in known}))}"
        for what, known in parts.items()
    )
    sure = all(one.asked for one in each)
    guess = "" if sure else " This is told by their names; --connect asks for their tools."
    guarded = all(one.guarded for one in each)
    return check.of_server(
        each[0].server,
        f"{clients()[client].name} has them together ({told}).{guess}",
        key=",".join(names),
        severity=check.severity if sure and not guarded else Severity.LOW,
        mend=() if guarded else ("pipeguard", "setup", client),
    )
