"""One thing that an isolated server reached for and is not given. Values."""

from __future__ import annotations

from typing import NamedTuple

READ, WRITE, PORT = "isolation.read", "isolation.write", "isolation.port"
ADDRESS = "egress.address"
NOTHING_THERE = "outside there is nothing there either"  # in the note of what stops nothing


class Mention(NamedTuple):
    """What a text says could not be used.

    Attributes:
        rule: READ, WRITE or PORT.
        subject: an absolute path, or the number of a port.
    """

    rule: str
    subject: str


class Wall(NamedTuple):
    """A wall that a server hit.

    Attributes:
        rule: READ, WRITE, PORT, or the rule of a refused connection.
        subject: a path, a port, or a host with its port unless that is one of the web's.
        event: names it in the audit.
        entry: of a refused connection, what would allow it in the policy; empty where no event
            does. Of anything else None.
    """

    rule: str
    subject: str
    event: str
    entry: str | None = None
