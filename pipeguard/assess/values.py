"""A check and its findings: values only.

No value contains a secret: a check gives a secret's position, never its text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import yaml

from pipeguard.clients.entries import ServerEntry
from pipeguard.firewall.finding import Severity

_FINGERPRINT_DIGITS = 32  # 128 bits of a SHA-256


@dataclass(frozen=True, slots=True)
class PostureFinding:
    """A finding of one check.

    Attributes:
        check: the check's id.
        severity: its severity, which may be less than the check's own.
        message: one or two sentences without secrets.
        fix: the command that fixes it, as words; empty if a person must.
        file: its file, if any.
        line: its line, from 1; 0 for the whole file.
        client: the client's id, or empty.
        server: the server's name, or empty.
        key: distinguishes findings of the same check, file and server.
    """

    check: str
    severity: Severity
    message: str
    fix: tuple[str, ...] = ()
    file: Path | None = None
    line: int = 0
    client: str = ""
    server: str = ""
    key: str = ""

    def fingerprint(self, base: Path | None) -> str:
        """32 hexadecimal digits that stay the same when lines move.

        Args:
            base: a file in this folder is identified by its path from there, so that the
                fingerprint is the same on another machine.
        """
        parts = (self.check, shorten(self.file, base), self.client, self.server, self.key)
        text = "\0".join(parts).encode("utf-8", "surrogatepass")
        return hashlib.sha256(text).hexdigest()[:_FINGERPRINT_DIGITS]


Findings = Iterator[PostureFinding]


class PostureCheck(NamedTuple):
    """A kind of problem.

    Attributes:
        id: lower case, with hyphens.
        title: the problem, as a heading.
        severity: the severity of the worst case.
        why: the possible consequences.
        fix: the remedy, in words.
        command: the remedy as a command in general form, or empty.
        before: an example.
        after: the example, fixed.
    """

    id: str
    title: str
    severity: Severity
    why: str
    fix: str
    command: str = ""
    before: str = ""
    after: str = ""

    @property
    def page(self) -> str:
        """The path of its page in the site that `make docs` builds."""
        return f"checks/{self.id}.html"

    def at(
        self,
        place: ServerEntry | Path | None,
        message: str,
        *,
        line: int = 0,
        key: str = "",
        fix: Sequence[str] = (),
        severity: Severity | None = None,
    ) -> PostureFinding:
        """Make a finding in a server's entry (by default its first line), in a file, or in none."""
        rated = self.severity if severity is None else severity
        finding = PostureFinding(self.id, rated, message, tuple(fix), key=key, line=line)
        if not isinstance(place, ServerEntry):
            return replace(finding, file=place)
        line = line or place.line
        client = place.client
        server = place.name
        return replace(finding, file=place.file, line=line, client=client, server=server)


def read_checks(family: str) -> tuple[PostureCheck, ...]:
    """Read the checks of a module of `checks`, in order, from the YAML file next to it."""
    path = Path(__file__).parent / "checks" / f"{family}.yaml"
    rows = yaml.safe_load(path.read_bytes())
    return tuple(
        PostureCheck(**{**row, "severity": Severity[row["severity"].upper()]}) for row in rows
    )


def shorten(path: Path | None, base: Path | None) -> str:
    """Make a path relative to a folder, with slashes; whole if it is elsewhere; empty for none."""
    if path is None:
        return ""
    if base and path.is_relative_to(base):
        return path.relative_to(base).as_posix()
    return path.as_posix()
