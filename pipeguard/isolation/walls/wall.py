"""One thing that an isolated server reached for and is not given. Values."""

from __future__ import annotations

from typing import NamedTuple

READ, WRITE, PORT = "isolation.read", "isolation.write", "isolation.port"
ROOTS, ARGUMENT = "isolation.roots", "isolation.argument"
ADDRESS = "egress.address"
NOTHING_THERE = "outside there is nothing there either"  # in the note of what stops nothing


class Mention(NamedTuple):
    """What a text says could not be used.

    Attributes:
        rule: READ, WRITE, PORT, or ARGUMENT where the server itself refuses what is not among its
            own folders.
        subject: an absolute path, or the number of a port.
        link: the path that was named, where a link in what the server sees leads to the subject.
        named: the path that was named, where the subject is the folder that it is in.
    """

    rule: str
    subject: str
    link: str = ""
    named: str = ""


class Wall(NamedTuple):
    """A wall that a server hit.

    Attributes:
        rule: READ, WRITE, PORT, ROOTS, ARGUMENT, or the rule of a refused connection.
        subject: a path, a port, or a host with its port unless that is one of the web's.
        event: names it in the audit.
        link: as of a mention.
        entry: of a refused connection, what would allow it in the policy; empty where no event
            does. Of anything else None.
        is_quotable: whether a model may read the subject, which a server chose.
    """

    rule: str
    subject: str
    event: str
    link: str = ""
    entry: str | None = None
    is_quotable: bool = True
