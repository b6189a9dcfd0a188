"""What a guarded command looks like: recognised by what it says, built, and taken apart again.

Knows `pipeguard wrap`'s command line; no client and no file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeguard.clients.catalog import Transport
from pipeguard.config.options import TABLE

_NAMES = frozenset({"pipeguard", "pipeguard.exe"})
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*(?:\.exe)?\Z|py(?:\.exe)?\Z", re.IGNORECASE)
_TAKES_VALUE = frozenset(name for name, metavar, _, _ in TABLE if metavar) | {
    *("--upstream", "--transport", "--header", "--header-env", "--bearer-env"),
    *("--ca", "--client-cert", "--client-key"),
}
_VARIABLE = re.compile(r"[A-Za-z_][\w.()-]*")
_NAME = re.compile(r"[\w@][\w@.:/ +()-]{0,99}")  # which no client replaces, and no terminal obeys
SHARED_LAUNCHER = ("pipeguard",)  # found on the PATH of whoever has the repository
HEADER_PREFIX = "PIPEGUARD_H"


@dataclass(frozen=True, slots=True)
class GuardedCommand:
    """A command that starts `pipeguard wrap`.

    Attributes:
        launcher: the words that start PipeGuard.
        command: the server's own words; empty for a remote server.
        url: the remote server's address, or None.
        transport: what `--transport` says, or None.
        headers: headers, and the variables that hold their values.
        bearer: the variable that holds a token, or None.
        name: what `--name` says, or None.
        folder: what `--cwd` says, or None.
    """

    launcher: tuple[str, ...]
    command: tuple[str, ...] = ()
    url: str | None = None
    transport: Transport | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    bearer: str | None = None
    name: str | None = None
    folder: str | None = None

    @property
    def is_stale(self) -> bool:
        """True where the launcher is a path at which nothing is any more."""
        program = Path(self.launcher[0])
        return program.is_absolute() and not program.exists()


def guarded(words: Sequence[str]) -> GuardedCommand | None:
    """What a guarded command says, or None where it is not one of ours."""
    count = _launcher_length(words)
    if not count or words[count : count + 1] != ["wrap"]:
        return None
    launcher = tuple(words[:count])
    values: dict[str, list[str]] = {}
    position = count + 1
    while position < len(words) and words[position] != "--":
        name, given, value = words[position].partition("=")
        position += 1
        if name in _TAKES_VALUE and not given and position < len(words):
            value = words[position]
            position += 1
        values.setdefault(name, []).append(value)
    transports = {one.value: one for one in Transport}
    headers = dict(pair.partition("=")[::2] for pair in values.get("--header-env", ()))
    return GuardedCommand(
        launcher,
        tuple(words[position + 1 :]),
        values.get("--upstream", [None])[-1],
        transports.get(values.get("--transport", [""])[-1]),
        headers,
        values.get("--bearer-env", [None])[-1],
        values.get("--name", [None])[-1],
        values.get("--cwd", [None])[-1],
    )


def started(
    launcher: Sequence[str], name: str, variables: Sequence[str], command: Sequence[str]
) -> list[str]:
    """The words that guard a command.

    Args:
        launcher: the words that start PipeGuard.
        name: what the client calls the server.
        variables: names that the entry sets for the server. Said again, they reach it also where
            the client's own variables cannot be told from them (docs/environment.md).
        command: the server's own words.
    """
    named = [word for name in variables for word in ("--env", name) if is_passed_on(name)]
    return [*launcher, "wrap", *_called(name), *named, "--", *command]


def remote(
    launcher: Sequence[str],
    name: str,
    url: str,
    transport: Transport | None,
    headers: Mapping[str, str],
    bearer: str | None,
) -> list[str]:
    """The words that guard a remote server.

    Args:
        launcher: the words that start PipeGuard.
        name: what the client calls the server.
        url: the server's address.
        transport: None to find it out.
        headers: headers, and the variables that hold their values.
        bearer: the variable that holds a token, or None.
    """
    words = [*launcher, "wrap", *_called(name)]
    for header, variable in headers.items():
        words += ("--header-env", f"{header}={variable}")
    if bearer is not None:
        words += ("--bearer-env", bearer)
    if transport not in (None, Transport.HTTP):
        words += ("--transport", transport.value)
    return [*words, "--upstream", url]


def _called(name: str) -> tuple[str, ...]:
    """The option that names a server; none for a name that would not arrive as it is."""
    return ("--name", name) if _NAME.fullmatch(name) else ()


def is_passed_on(name: str) -> bool:
    """Whether `--env` takes the name: not one of ours, and not one that is no name."""
    return bool(_VARIABLE.fullmatch(name)) and not name.upper().startswith("PIPEGUARD_")


def _launcher_length(words: Sequence[str]) -> int:
    """How many words start PipeGuard: one, or an interpreter with `-m pipeguard`; 0 for none."""
    if not words:
        return 0
    base = words[0].replace("\\", "/").rsplit("/", 1)[-1]
    if base.lower() in _NAMES:
        return 1
    if _PYTHON.match(base):
        for index, word in enumerate(words[1:6], 1):
            if word in ("-m", "-Im", "-IEm", "-EPm"):
                return index + 2 if words[index + 1 : index + 2] == ["pipeguard"] else 0
            if not word.startswith("-"):
                break
    return 0
