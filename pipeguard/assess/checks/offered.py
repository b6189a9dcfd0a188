"""What servers say of themselves, for those that were connected to."""

from __future__ import annotations

from collections.abc import Iterator

from pipeguard.assess.contents import Flagged
from pipeguard.assess.pins import name_in
from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import PostureCheck, PostureFinding
from pipeguard.clients.entries import ServerEntry
from pipeguard.core.finding import Action, Confidence, Severity

FLAGGED = PostureCheck(
    "definition-flagged",
    "What a server says of itself is what the guard would stop",
    Severity.CRITICAL,
    "A model takes the description of a tool, a parameter, a prompt or a resource for an "
    "instruction, and the user never sees it. So an order, a secret or hidden characters in it are "
    "an attack, or will be taken for one.",
    "Do not use the server until you know why it says that. Under the guard the definition is left "
    "out. If it is a false alarm, `pipeguard explain RULE` says what is allowed, and how.",
    "pipeguard explain RULE",
)
SILENT = PostureCheck(
    "server-not-answering",
    "A server could not be asked",
    Severity.INFO,
    "What it offers is not known. It may need a credential: without `--credentials` it gets none.",
    "See what it says when it is started by hand.",
    "pipeguard wrap -- COMMAND",
)
SHADOW = PostureCheck(
    "tool-name-shared",
    "Two servers of one client offer a tool of the same name",
    Severity.LOW,
    "Some clients then call the one for the other, and a model cannot tell them apart.",
    "Switch off the server, or the tool, that you do not mean.",
)
DRIFTED = PostureCheck(
    "definition-drifted",
    "A server offers something else than what was approved",
    Severity.MEDIUM,
    "A tool that is trusted and then says something else is how a server is turned. Under the "
    "guard the model reads the approved definition, and calls of the tool are stopped.",
    "Start its client once, so that the guard sees the change. Then look at it, and accept it or "
    "throw it away.",
    "pipeguard diff NAME",
)
CHECKS = (FLAGGED, SILENT, SHADOW, DRIFTED)
_MOST_NAMES = 5


def look(subject: AssessmentTarget) -> Iterator[PostureFinding]:
    """Every server that was asked."""
    by_tool: dict[tuple[str, str], list[ServerEntry]] = {}
    for server in subject.servers:
        offered = subject.offered(server)
        if offered is None:
            continue
        if offered.problem:
            yield SILENT.of_server(server, offered.problem)
        kept_as = name_in(subject, server) if offered.drifted else ""
        for name in offered.drifted:
            mend = ("pipeguard", "diff", f"{kept_as}/{name}")
            yield DRIFTED.of_server(server, f"{name} is not what it was.", key=name, mend=mend)
        for flagged in offered.flagged:
            yield _flagged(server, flagged)
        for offer in offered.offers:
            if offer.kind == "tool":
                for client in subject.clients_of(server):
                    by_tool.setdefault((client, offer.name), []).append(server)
    yield from _shared(by_tool)


def _flagged(server: ServerEntry, flagged: Flagged) -> PostureFinding:
    """As severe as its rule, where the guard would stop it; what it would only note is low."""
    seen = flagged.finding
    stops = seen.action >= Action.REDACT
    sure = stops and seen.confidence is Confidence.HIGH
    severity = seen.severity if stops else min(seen.severity, Severity.LOW)
    excerpt = f': "{seen.excerpt}"' if seen.excerpt else ""
    told = "stop" if stops else "note"
    return FLAGGED.of_server(
        server,
        f"{flagged.what}, {seen.place}: the guard would {told} it, rule {seen.rule}{excerpt}.",
        key=f"{flagged.what} {seen.pointer} {seen.rule}",
        severity=severity if sure or not stops else min(severity, Severity.HIGH),
        mend=("pipeguard", "explain", seen.rule),
    )


def _shared(by_tool: dict[tuple[str, str], list[ServerEntry]]) -> Iterator[PostureFinding]:
    pairs: dict[tuple[str, str, str], list[str]] = {}
    where: dict[tuple[str, str, str], ServerEntry] = {}
    for (client, tool), servers in by_tool.items():
        first = servers[0]
        for other in servers[1:]:
            if (first.own_words, first.own_url) != (other.own_words, other.own_url):
                pair = (client, first.name, other.name)
                pairs.setdefault(pair, []).append(tool)
                where[pair] = other
    for (client, first_name, _), tools in pairs.items():
        named = ", ".join(tools[:_MOST_NAMES])
        more = f" and {len(tools) - _MOST_NAMES} more" if len(tools) > _MOST_NAMES else ""
        message = f"{first_name} has {named}{more} as well, and {client} reads both."
        yield SHADOW.of_server(where[client, first_name, _], message, key=f"{client} {first_name}")
