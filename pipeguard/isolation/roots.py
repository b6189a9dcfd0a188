"""The client's roots: the folders that a server is given at its next start.

Roots are the client's answers to `roots/list`; nothing that a server sends counts as one. They are
refused like folders among a server's arguments: the home, folders with other users' or the system's
files, paths that must be granted by name, and links that the server may have made.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pipeguard.config.atomic_write import replace_file
from pipeguard.isolation.profile import WRITE_ROOTS, Profile
from pipeguard.isolation.run_later import is_of_git
from pipeguard.isolation.runtimes import folders_among, may_be_meant
from pipeguard.isolation.sensitive import is_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pipeguard.isolation.view import SandboxUser

MOST_ROOTS = 64
MOST_BYTES = 3 * 4096  # of an address: the longest path (PATH_MAX), each byte as %XX
SHOWN = 200  # characters of one that is refused


def root_addresses(answer: object) -> tuple[str, ...]:
    """The URIs in an answer to `roots/list`, as the client wrote them."""
    listed = answer.get("roots") if isinstance(answer, dict) else None
    found = (each.get("uri") for each in listed or () if isinstance(each, dict))
    return tuple(each for each in found if isinstance(each, str))


class StoredRoots:
    """The roots of one server's client, in a file from one start to the next.

    Args:
        place: the folder of these files.
        identity: the server's identity and its working directory.
        profile: the server's other grants, and the mode of granting roots.
        host: this machine and its user.
        say: tells the user which roots are refused, and when the rest is granted.

    Attributes:
        given: the accepted folders, as they are at this start.
    """

    def __init__(
        self,
        place: str,
        identity: str,
        profile: Profile,
        host: SandboxUser,
        say: Callable[[str], None],
    ) -> None:
        self._path = os.path.join(place, sha256(os.fsencode(identity)).hexdigest())
        self._host, self._say = host, say
        self._is_writable = profile.roots == WRITE_ROOTS
        self._changeable = profile.write
        self._refused: set[str] = set()
        stored: list[str] = []
        with suppress(OSError, ValueError), open(self._path, encoding="utf-8") as file:
            stored = json.load(file)
            os.unlink(self._path)  # it is of one client, which names them again in this run
        self._folders = self._accept(stored)
        given = Profile(read=self._folders)
        self.given = Profile(write=self._folders) if self._is_writable else given

    def note(self, addresses: Iterable[str]) -> None:
        """Store the folders of an answer, for the next start.

        Raises:
            OSError: they cannot be stored.
        """
        paths = []
        for address in addresses:
            if (path := _local_path(address)) is None:
                self._refuse(address, "it is not a folder of this machine")
            else:
                paths.append(path)
        folders = self._accept(paths)
        is_new, self._folders = folders != self._folders, folders
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        replace_file(self._path, json.dumps(folders).encode())
        if is_new:
            self._say("the client's roots apply to this server from its next start.")

    def _accept(self, paths: Sequence[str]) -> tuple[str, ...]:
        """The accepted folders, without those inside others."""
        for path in paths[MOST_ROOTS:]:
            self._refuse(path, f"there are more than {MOST_ROOTS}")
        accepted = set()
        for path in paths[:MOST_ROOTS]:
            if folder := self._folder(path):
                accepted.add(folder)
            else:
                self._refuse(path, "it is a folder that must be granted by name")
        return tuple(
            path
            for path in sorted(accepted)
            if not any(path != each and is_inside(path, each) for each in accepted)
        )

    def _folder(self, path: str) -> str:
        """The folder to grant for a path, as for an argument of a server; or empty."""
        with suppress(OSError):  # it becomes a link, and none, all the time
            for folder in folders_among([path], "/", self._host, self._changeable):
                is_own = is_of_git(folder) and self._is_writable
                if folder == resolve_target(path, self._host) and not is_own:
                    return folder
        return ""

    def _refuse(self, what: str, why: str) -> None:
        shown = what[:SHOWN]
        if shown not in self._refused and len(self._refused) < MOST_ROOTS:
            self._refused.add(shown)
            self._say(
                f"the client's root {shown!r} is not given to the server: {why}."
                " To give a folder: --read PATH or --write PATH."
            )


def _local_path(address: str) -> str | None:
    """The path in a file URI (RFC 8089); None for other URIs, and for impossible paths."""
    if len(address) > MOST_BYTES:
        return None
    try:
        parts = urlsplit(address)
        path = unquote(parts.path, errors="strict")
    except ValueError:
        return None
    is_local = parts.scheme == "file" and parts.netloc in ("", "localhost")
    if not is_local or not path.startswith("/") or "\0" in path or parts.query or parts.fragment:
        return None
    return os.path.normpath("/" + path.lstrip("/"))


# --- planted links ----------------------------------------------------------------------
# Links on the path of a client's root that a server may have made, in this run or before.

MOST_LINKS = 40  # as the kernel follows (path_resolution(7))


def resolve_target(path: str, host: SandboxUser) -> str | None:
    """Resolve a path; None if it passes a link that a server may have made, or too many.

    Only links directly in the home or in a folder that we cannot change are followed: neither
    is granted to a server unasked.

    Args:
        path: an absolute one.
        host: this machine and its user.

    Raises:
        OSError: a link was removed in the meantime.
    """
    place, rest, plantable = "/", path.split("/")[::-1], set[str]()
    links = 0
    while rest:
        name = rest.pop()
        step = os.path.dirname(place) if name == ".." else os.path.join(place, name).rstrip("/")
        if name in ("", ".", "..") or not os.path.islink(step):
            place = step or "/"
            continue
        links += 1
        if links > MOST_LINKS:
            return None
        is_ours = os.access(place, os.W_OK) or os.stat(place).st_uid == host.uid
        if is_ours and may_be_meant(place, host):  # the server may have made it read-only after
            plantable.add(place)
        target = os.readlink(step)
        place = "/" if target.startswith("/") else place
        rest += target.split("/")[::-1]
    return place if all(is_inside(place, each) for each in plantable) else None
