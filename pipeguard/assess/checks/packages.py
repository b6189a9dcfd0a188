"""Commands that run code which nobody has seen before."""

from __future__ import annotations

from collections.abc import Iterator

from pipeguard.assess.fetched import Fetch, VersionPin, fetched, piped
from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import PostureCheck, PostureFinding
from pipeguard.clients.entries import ServerEntry
from pipeguard.clients.masking import masked_text
from pipeguard.core.finding import Severity

UNPINNED = PostureCheck(
    "package-not-pinned",
    "A server's code is fetched anew, in whatever version there is",
    Severity.MEDIUM,
    "Whoever takes over the package, its registry entry, a branch or a tag runs their code on this "
    "machine the next time that the client starts.",
    "Write the exact version, the commit or the image's digest. Then a new version is a decision.",
    "",
    "npx -y srv          uvx srv          docker run srv:latest",
    "npx -y srv@1.4.2    uvx srv@1.4.2    docker run srv@sha256:…",
)
PIPED = PostureCheck(
    "download-run",
    "A command downloads something and runs it at once",
    Severity.HIGH,
    "The code is on no disk before it runs, can differ from one start to the next and by who asks, "
    "and half of a download that breaks off is run as well.",
    "Install it once, look at what was installed, and start that.",
    "",
    'sh -c "curl -fsSL https://example.com/server.sh | sh"',
    "/opt/server/bin/server",
)
CHECKS = (UNPINNED, PIPED)


def look(subject: AssessmentTarget) -> Iterator[PostureFinding]:
    """Every command."""
    for server in subject.servers:
        words = server.own_words
        if piped(words):
            yield PIPED.of_server(server, "Its command runs what it downloads, unseen.")
        for fetch in fetched(words):
            if fetch.pin is not VersionPin.EXACT:
                yield _unpinned(subject, server, fetch)


def _unpinned(subject: AssessmentTarget, server: ServerEntry, fetch: Fetch) -> PostureFinding:
    index = next((i for i, word in enumerate(server.args) if fetch.what in word), None)
    line = server.line if index is None else subject.line(server, f"args.{index}")
    what, example = masked_text(fetch.what), masked_text(fetch.example)
    movable = fetch.pin is VersionPin.MOVABLE
    told = "is a tag, which can be moved" if movable else "may be another one at each start"
    return UNPINNED.of_server(
        server,
        f"What {fetch.program} fetches for `{what}` {told}. Exactly: `{example}`.",
        line=line,
        key=what,
        severity=Severity.LOW if movable else UNPINNED.severity,
    )
