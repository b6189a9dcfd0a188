"""Messages about an installer: the line that says why it failed, and the hosts it was refused."""

from __future__ import annotations

import re
from threading import Lock
from typing import TYPE_CHECKING

from pipeguard.isolation.egress.judge import EgressOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeguard.isolation.egress.judge import EgressRecord

MOST_CHARS = 300
MOST_HOSTS = 10  # told of one installer: a package may ask for any number
_PREFIX = re.compile(r"(?:npm (?:error|ERR!)|error:|cause:|×|╰─▶|├─▶)\s*", re.IGNORECASE)
_OF_NPM = re.compile(r"npm (?:error|ERR!)")
_KIND = re.compile(r"(?:notarget|network|enoent|notsup|engine)\s+", re.IGNORECASE)
# What npm says beside the reason: codes and numbers, advice, and where its log is.
_BESIDE = re.compile(
    r"(?:code|errno|syscall|path|dest|command|cwd)\b|(?:\w+ )?(?:In most cases|This is a problem|"
    r"Note that you can|tarball, folder|The requested resource)|A complete log|\w+$"
)


def find_reason(printed: str) -> str:
    """Why an installer failed, in one line; the end of what it said where no line says that.

    Args:
        printed: what npm, uv or pip printed.
    """
    lines = [plain(" ".join(line.split())) for line in printed.splitlines() if line.strip()]
    marked = [_PREFIX.sub("", line, count=1) for line in lines if _PREFIX.match(line)]
    telling = [line for line in marked if line and not _BESIDE.match(line)]
    if any(map(_OF_NPM.match, lines)):
        found = [_KIND.sub("", line, count=1) for line in telling[:1]]
    else:
        found = telling[-1:]  # pip and uv begin with what they tried
    return (found or lines[-1:] or [""])[0][:MOST_CHARS]


def plain(text: str) -> str:
    """A text without what a terminal obeys or what hides in it."""
    return "".join(character for character in text if character.isprintable())


class RefusedHosts:
    """Tells the user which hosts an installer asked for and did not reach, each once.

    Args:
        say: tells the user.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._lock = Lock()
        self._told: set[str] = set()

    def add(self, record: EgressRecord) -> None:
        """One connection that ended or was refused."""
        host = record.host
        if record.outcome is not EgressOutcome.REFUSED or not host:
            return
        with self._lock:
            if host in self._told or len(self._told) >= MOST_HOSTS:
                return
            self._told.add(host)
        self._say(
            f"what is installed asked for {plain(host)} and did not reach it: an installer may"
            " reach only its registry"
        )
