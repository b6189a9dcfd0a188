"""Commands that run code which nobody has seen before."""

from __future__ import annotations

from collections.abc import Iterator

from pipeguard.assess.fetched import Fetch, Pin, fetched, piped
from pipeguard.assess.subject import Subject
from pipeguard.assess.values import Check, Finding
from pipeguard.clients.entries import Server
from pipeguard.clients.masking import masked_text
from pipeguard.core.finding import Severity

UNPINNED = Check(
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
PIPED = Check(
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


def look(subject: Subject) -> Iterator[Finding]:
    """Every command."""
    for server in subject.servers:
        words = server.own_words
        if piped(words):
            yield PIPED.of_server(server, "Its command runs what it downloads, unseen.")
        for fetch in fetched(words):
            if fetch.pin is not Pin.EXACT:
                yield _unpinned(subject, server, fetch)


def _unpinned(subject: Subject, server: Server, fetch: Fetch) -> Finding:
    index = next((i for i, word in enumerate(server.args) if fetch.what in word), None)
    line = server.line if index is None else subject.line(server, f"args.{index}")
    what, example = masked_text(fetch.what), masked_text(fetch.example)
    movable = fetch.pin is Pin.MOVABLE
    told = "is a tag, which can be moved" if movable else "may be another one at each start"
    return UNPINNED.of_server(
        server,
        f"What {fetch.program} fetches for `{what}` {told}. Exactly: `{example}`.",
        line=line,
        key=what,
        severity=Severity.LOW if movable else UNPINNED.severity,
    )
