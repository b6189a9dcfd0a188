"""What a check is and what it found: values only.

No value holds a secret: a check says where one stands, and never what it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeguard.clients.entries import ServerEntry
from pipeguard.core.finding import Severity

_FINGERPRINT_DIGITS = 32  # 128 bits of a SHA-256


@dataclass(frozen=True, slots=True)
class PostureFinding:
    """What one check saw.

    Attributes:
        check: the check's id.
        severity: how bad it is; a check may say less than its own.
        message: one or two sentences, with no secret in them.
        mend: the command that mends it, as words; empty where a person must.
        file: where it stands; None where it is in no file.
        line: from 1; 0 where it is the whole file.
        client: the client's id, or empty.
        server: the server's name, or empty.
        key: what tells it from others of the same check, file and server.
    """

    check: str
    severity: Severity
    message: str
    mend: tuple[str, ...] = ()
    file: Path | None = None
    line: int = 0
    client: str = ""
    server: str = ""
    key: str = ""

    def fingerprint(self, base: Path | None) -> str:
        """What stays the same while lines move: 32 hexadecimal digits.

        Args:
            base: a file below it is told by its path from there, so that it is the same on
                another machine.
        """
        parts = (self.check, shortened(self.file, base), self.client, self.server, self.key)
        told = "\0".join(parts).encode("utf-8", "surrogatepass")
        return hashlib.sha256(told).hexdigest()[:_FINGERPRINT_DIGITS]


@dataclass(frozen=True, slots=True)
class PostureCheck:
    """One thing that is looked for.

    Attributes:
        id: lower case, with hyphens.
        title: what is wrong, as a heading.
        severity: how bad it is at worst.
        why: what may come of it.
        mend: what to do, in words.
        command: the same as a command, in its general form; empty where there is none.
        before: an example of it.
        after: the example mended.
    """

    id: str
    title: str
    severity: Severity
    why: str
    mend: str
    command: str = ""
    before: str = ""
    after: str = ""

    @property
    def page(self) -> str:
        """Its page, from the top of the repository."""
        return f"docs/checks/{self.id}.md"

    def of_server(
        self,
        server: ServerEntry,
        message: str,
        *,
        line: int = 0,
        key: str = "",
        severity: Severity | None = None,
        mend: Sequence[str] = (),
    ) -> PostureFinding:
        """A finding at a server's entry."""
        found = self.at(
            server.file,
            message,
            line=line or server.line,
            key=key,
            severity=severity,
            mend=mend,
        )
        return replace(found, client=server.client, server=server.name)

    def at(
        self,
        file: Path | None,
        message: str,
        *,
        line: int = 0,
        key: str = "",
        severity: Severity | None = None,
        mend: Sequence[str] = (),
    ) -> PostureFinding:
        """A finding in a file, or in none."""
        worst = self.severity if severity is None else severity
        return PostureFinding(self.id, worst, message, tuple(mend), file, line, key=key)


def shortened(path: Path | None, base: Path | None) -> str:
    """A path from a folder on, with slashes; whole where it is elsewhere; empty for none."""
    if path is None:
        return ""
    if base is not None and path.is_relative_to(base):
        return path.relative_to(base).as_posix()
    return path.as_posix()
