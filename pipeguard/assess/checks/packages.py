"""Commands that run code that was not reviewed."""

from pipeguard.assess.fetched import Fetch, VersionPin, find_fetched
from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import Findings, PostureFinding, read_checks
from pipeguard.clients.entries import ServerEntry
from pipeguard.clients.masking import masked_text
from pipeguard.clients.rewrite import find_piped
from pipeguard.errors import LaunchError
from pipeguard.firewall.finding import Severity
from pipeguard.isolation import ServerCommand

UNPINNED, PIPED = CHECKS = read_checks("packages")


def look(target: AssessmentTarget) -> Findings:
    """Check every command."""
    for server in target.servers:
        words = server.own_words
        if find_piped(words):
            yield PIPED.at(server, "Its command runs what it downloads, unseen.")
        for fetch in find_fetched(words):
            if fetch.pin is not VersionPin.EXACT and not _is_fetched_once(target, server):
                yield _find_unpinned(target, server, fetch)


def _is_fetched_once(target: AssessmentTarget, server: ServerEntry) -> bool:
    """True if PipeGuard fetches and keeps its package, as for an isolated server."""
    held = target.isolation(server)
    try:
        return bool(held and held.is_held and ServerCommand(server.own_words).package)
    except LaunchError:
        return False  # nor does it start


def _find_unpinned(target: AssessmentTarget, server: ServerEntry, fetch: Fetch) -> PostureFinding:
    index = next((i for i, word in enumerate(server.args) if fetch.what in word), None)
    line = server.line if index is None else target.line(server, f"args.{index}")
    what = masked_text(fetch.what)
    is_longer = fetch.example.startswith(fetch.what)  # by a word of ours, which is no secret
    example = what + fetch.example[len(fetch.what) :] if is_longer else masked_text(fetch.example)
    movable = fetch.pin is VersionPin.MOVABLE
    risk = "is a tag, which can be moved" if movable else "may be another version at each start"
    return UNPINNED.at(
        server,
        f"What {fetch.program} fetches for `{what}` {risk}. Exactly: `{example}`.",
        line=line,
        key=what,
        severity=Severity.LOW if movable else None,
    )
