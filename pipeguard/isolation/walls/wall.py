"""One thing that an isolated server reached for and is not given. Values."""

from __future__ import annotations

from typing import NamedTuple

READ, WRITE, PORT = "isolation.read", "isolation.write", "isolation.port"
ADDRESS = "egress.address"


class Mention(NamedTuple):
    """A file that a failed answer names.

    Attributes:
        rule: READ or WRITE.
        path: absolute.
    """

    rule: str
    path: str


class Wall(NamedTuple):
    """A wall that a server hit.

    Attributes:
        rule: READ, WRITE, or the rule of a refused connection.
        subject: a path, a port, or a host with its port unless that is one of the web's.
        event: names it in the audit.
        entry: of a refused connection, the entry of the policy that would allow it; empty if no
            event does. None for a file.
    """

    rule: str
    subject: str
    event: str
    entry: str | None = None
