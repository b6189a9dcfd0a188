"""The server that a command or address launches: its identity, and a name if nobody gave it one."""

from __future__ import annotations

import os

from pipeguard.core.lazy_regex import lazy_regex
from pipeguard.identity.command_reader import CommandReader
from pipeguard.identity.launchers import ELSEWHERE
from pipeguard.identity.targets import LaunchTarget, target_at

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, whose import costs 6 ms
if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST = 50  # characters of a name, without the digits that tell equal names apart
DIGITS = 6  # hex digits that do so
_LOOPBACK = lazy_regex(r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?")


class Launched:
    """The server that a command launches.

    Attributes:
        name: the server's name if nobody gave it one.
        identity: tells it from every other server, whatever its folders, ports, versions and
            variables are. It may contain secrets of an address, so it is compared as a hash and
            never shown.
        description: what is launched, in a few words for people.
    """

    __slots__ = ("description", "identity", "name")

    def __init__(self, name: str, identity: str, description: str) -> None:
        self.name = name
        self.identity = identity
        self.description = description

    @property
    def is_elsewhere(self) -> bool:
        """True for a server that is, or may be, on another machine."""
        kind, _, rest = self.identity.partition("\n")
        host = rest.partition("/")[0].partition("?")[0]
        return kind in ELSEWHERE or (kind == "url" and _LOOPBACK.fullmatch(host) is None)


def launched(command: Sequence[str], folder: str | None = None) -> Launched:
    """The server that a command launches.

    Args:
        command: its words.
        folder: the folder that it starts in; None for the current one.
    """
    folder = folder if folder is not None else _current_folder()
    target = CommandReader(list(command), folder, 0).read()
    parts = [part for part in target.parts if part]
    name = _clean(target.stem)
    if not target.is_unique:
        from pipeguard.core.digest import sha256

        text = "\n".join(parts).encode("utf-8", "surrogatepass")
        name = f"{name}-{sha256(text).hexdigest()[:DIGITS]}"
    return Launched(name, "\n".join((target.kind, *parts)), _description(target))


def launched_at(url: str, name: str = "") -> Launched:
    """The server at an address, whose scheme, keys and transport do not matter.

    Args:
        url: the address.
        name: the server's name; empty for its host and path.
    """
    target = target_at(url)
    identity = "\n".join((target.kind, *target.parts))
    return Launched(name or _clean(target.stem), identity, _description(target))


def server_name(command: Sequence[str]) -> str:
    """A name for a command, as `server-filesystem` for `npx -y @scope/server-filesystem /dir`.

    A short name that other servers could have too gets a few hex digits: `index.js`, `server.py`
    and `make mcp` exist in many folders.
    """
    return launched(command).name


def _description(target: LaunchTarget) -> str:
    first = next(filter(None, target.parts), target.stem)
    if target.kind == "url":
        first = first.partition("/")[0]  # its path may contain a key
    return f"{target.kind} {first}"


def _current_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109  pathlib costs 5 ms, and a server is waiting
    except FileNotFoundError:  # it was deleted
        return "/"


def _clean(name: str) -> str:
    plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip("-._")
    return plain[:LONGEST].rstrip("-._") or "server"
