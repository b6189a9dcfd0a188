"""Claims and definitions of servers that were connected to."""

from itertools import product

from pipeguard.assess.connecting import find_pins
from pipeguard.assess.target import AssessmentTarget, Contents, Flagged
from pipeguard.assess.values import Findings, PostureFinding, read_checks
from pipeguard.clients.entries import ServerEntry
from pipeguard.firewall.finding import Action, Confidence, Severity

FLAGGED, SILENT, SHADOW, DRIFTED = CHECKS = read_checks("offered")
_MOST_NAMES = 5


def look(target: AssessmentTarget) -> Findings:
    """Check every server that was connected to."""
    by_tool: dict[tuple[str, str], list[ServerEntry]] = {}
    for server in target.servers:
        offered = target.find_definitions(server)
        if not offered:
            continue
        yield from _of(target, server, offered)
        tools = [offer.name for offer in offered.offers if offer.kind == "tool"]
        for pair in product(target.client_ids(server), tools):
            by_tool.setdefault(pair, []).append(server)
    yield from _find_shared(by_tool)


def _of(target: AssessmentTarget, server: ServerEntry, offered: Contents) -> Findings:
    if offered.problem:
        yield SILENT.at(server, offered.problem)
    stored_as = find_pins(target, server)[0] if offered.drifted else ""
    for name in offered.drifted:
        fix = ("pipeguard", "diff", f"{stored_as}/{name}")
        yield DRIFTED.at(server, f"{name} is not what was approved.", key=name, fix=fix)
    for flagged in offered.flagged:
        yield _flag(server, flagged)


def _flag(server: ServerEntry, flagged: Flagged) -> PostureFinding:
    """Report a flagged text: the rule's severity if the guard would stop it; else low."""
    finding = flagged.finding
    stops = finding.action >= Action.REDACT
    sure = stops and finding.confidence is Confidence.HIGH
    severity = finding.severity if stops else min(finding.severity, Severity.LOW)
    excerpt = f': "{finding.excerpt}"' if finding.excerpt else ""
    does = "stop" if stops else "note"
    return FLAGGED.at(
        server,
        f"{flagged.what}, {finding.place}: the guard would {does} it,"
        f" rule {finding.rule}{excerpt}.",
        key=f"{flagged.what} {finding.pointer} {finding.rule}",
        fix=("pipeguard", "explain", finding.rule),
        severity=severity if sure or not stops else min(severity, Severity.HIGH),
    )


def _find_shared(by_tool: dict[tuple[str, str], list[ServerEntry]]) -> Findings:
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
        listed = ", ".join(tools[:_MOST_NAMES])
        more = f" and {len(tools) - _MOST_NAMES} more" if len(tools) > _MOST_NAMES else ""
        message = f"{first_name} also has {listed}{more}, and {client} reads both."
        yield SHADOW.at(where[client, first_name, _], message, key=f"{client} {first_name}")
