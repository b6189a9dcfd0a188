"""Commands that run code which nobody has looked at."""

from __future__ import annotations

from collections.abc import Iterator

from pipeguard.assess.fetched import Fetch, VersionPin, find_fetched
from pipeguard.assess.isolation import entry_isolation
from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import PostureCheck, PostureFinding
from pipeguard.clients.entries import ServerEntry
from pipeguard.clients.masking import masked_text
from pipeguard.clients.rewrite import find_piped
from pipeguard.errors import LaunchError
from pipeguard.firewall.finding import Severity
from pipeguard.isolation import ServerCommand

UNPINNED = PostureCheck(
    "package-not-pinned",
    "A server's code is fetched at each start, in any version",
    Severity.MEDIUM,
    "Whoever takes over the package, its registry entry, a branch or a tag runs their code on this "
    "machine the next time that the client starts. The package of an isolated server is fetched "
    "once and stays at that version until `pipeguard isolate update`, so it is no finding.",
    "Write the exact version, the commit or the image's digest. Then a new version is a decision.",
    "",
    "npx -y srv          uvx srv          docker run srv:latest",
    "npx -y srv@1.4.2    uvx srv@1.4.2    docker run srv@sha256:…",
)
PIPED = PostureCheck(
    "download-run",
    "A command downloads something and runs it at once",
    Severity.HIGH,
    "The code is on no disk before it runs, it can differ from one start to the next and for each "
    "user, and if the download breaks off, the first half runs.",
    "Install it once, look at what was installed, and start that.",
    "",
    'sh -c "curl -fsSL https://example.com/server.sh | sh"',
    "/opt/server/bin/server",
)
CHECKS = (UNPINNED, PIPED)


def look(target: AssessmentTarget) -> Iterator[PostureFinding]:
    """Check every command."""
    for server in target.servers:
        words = server.own_words
        if find_piped(words):
            yield PIPED.of_server(server, "Its command runs what it downloads, unseen.")
        for fetch in find_fetched(words):
            if fetch.pin is not VersionPin.EXACT and not _is_fetched_once(target, server):
                yield _find_unpinned(target, server, fetch)


def _is_fetched_once(target: AssessmentTarget, server: ServerEntry) -> bool:
    """True if PipeGuard fetches its package, and keeps it: that of an isolated server."""
    held = entry_isolation(target, server)
    try:
        return held is not None and held.is_held and bool(ServerCommand(server.own_words).package)
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
    check = UNPINNED.with_severity(Severity.LOW) if movable else UNPINNED
    return check.of_server(
        server,
        f"What {fetch.program} fetches for `{what}` {risk}. Exactly: `{example}`.",
        line=line,
        key=what,
    )
