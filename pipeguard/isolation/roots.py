"""The client's roots: which of them a sandbox is given, once, when the client first says them.

Roots are what the client answers to `roots/list`; nothing that a server says is one. They are
refused as folders among a server's arguments are: the home, what holds other users' or the system's
files, what has to be named by itself, and links that the server may have made.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pipeguard.errors import PolicyError
from pipeguard.isolation.live_mounts import MAX_REQUEST_BYTES, UNWATCHED, encode_staged
from pipeguard.isolation.profile import WRITE_ROOTS, Profile
from pipeguard.isolation.run_later import is_of_git
from pipeguard.isolation.runtimes import folders_among, may_be_meant
from pipeguard.isolation.sensitive import is_inside
from pipeguard.isolation.staging import Staged, stage_view
from pipeguard.isolation.view import Mount, build_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pipeguard.isolation.view import FileView, SandboxUser

MOST_ROOTS = 64
MOST_BYTES = 3 * 4096  # of an address: the longest path (PATH_MAX), each byte as %XX
SHOWN = 200  # characters of one that is refused
ANSWER_SECONDS = 5.0


def root_addresses(answer: object) -> tuple[str, ...]:
    """The addresses in an answer to `roots/list`, as the client wrote them."""
    listed = answer.get("roots") if isinstance(answer, dict) else None
    found = (each.get("uri") for each in listed or () if isinstance(each, dict))
    return tuple(each for each in found if isinstance(each, str))


class SandboxRoots:
    """Gives one running sandbox the roots of its client.

    Args:
        channel: to what mounts (isolation.live_mounts).
        profile: what the server is given anyway; how roots are given is in it.
        host: this machine and its user.
        needed: what the server's program needs, which stays read-only.
        say: tells the user what is refused.

    Attributes:
        on_unwatched: told the number of the error for which covers in roots are not watched.
    """

    def __init__(
        self,
        channel: socket.socket,
        profile: Profile,
        host: SandboxUser,
        needed: Sequence[str],
        say: Callable[[str], None],
    ) -> None:
        self._channel = channel
        self._channel.settimeout(ANSWER_SECONDS)
        self._profile = profile
        self._host = host
        self._needed = tuple(needed)
        self._say = say
        self._given: frozenset[str] = frozenset()
        self._has_told_change = False
        self._mounts: tuple[Mount, ...] = ()
        self._refused: set[str] = set()
        self.on_unwatched: Callable[[int], object] = _ignore

    def extend_view(self, view: FileView) -> FileView:
        """A view with the roots that the server sees."""
        return view._replace(mounts=(*view.mounts, *self._mounts))

    def give(self, addresses: Iterable[str]) -> None:
        """Mount the first roots that the client says; a later change holds from the next start."""
        wanted = frozenset(self._accepted_folders(addresses))
        if self._given:
            if wanted != self._given and not self._has_told_change:
                self._has_told_change = True
                self._say(
                    "the client's roots have changed: the server has those that it was given first"
                    " until it is started again."
                )
            return
        self._given = wanted
        for path in sorted(wanted):
            staged = self._stage_root(path)
            why = None if staged is None else self._mount(staged)
            if why is not None:
                self._refuse(path, why)

    def _mount(self, staged: Staged) -> str | None:
        """Mount a root; return the reason if that failed."""
        request = json.dumps(encode_staged(staged)).encode()
        if len(request) > MAX_REQUEST_BYTES:
            return "too much stands in it"
        try:
            self._channel.send(request)
            answer: dict[str, str] = json.loads(self._channel.recv(MAX_REQUEST_BYTES))
        except (OSError, ValueError) as error:
            # An answer that comes too late would be taken for the next one's.
            self._channel.close()
            return f"what mounts it did not answer ({error})"
        if UNWATCHED in answer:
            self.on_unwatched(int(answer[UNWATCHED]))
        why = answer.get(staged.outer.path)
        if why is None:
            self._mounts += (staged.outer, *staged.inside)
        return why

    def close(self) -> None:
        """Nothing is given any more."""
        self._channel.close()

    def _accepted_folders(self, addresses: Iterable[str]) -> Iterable[str]:
        """The folders that are given, outermost alone where one is in another."""
        written = []
        for count, address in enumerate(addresses):
            path = _local_path(address)
            if path is None:
                self._refuse(address, "it is not a folder of this machine")
            elif count >= MOST_ROOTS:
                self._refuse(path, f"there are more than {MOST_ROOTS}")
            else:
                written.append(path)
        changeable = self._profile.write
        if self._profile.roots == WRITE_ROOTS:  # a link in one may be the server's, of another run
            changeable += tuple(filter(None, (self._folder(path, ()) for path in written)))
        paths = []
        for path in written:
            given = self._folder(path, changeable)
            if given is None:
                self._refuse(path, "it is a folder that must be granted by name")
            elif not self._is_given(given):
                paths.append(given)
        return [
            path
            for path in paths
            if not any(path != each and is_inside(path, each) for each in paths)
        ]

    def _folder(self, path: str, changeable: Sequence[str]) -> str | None:
        """The folder that is given for a path, as for one among a server's arguments."""
        try:
            given = next(iter(folders_among([path], "/", self._host, changeable)), None)
            is_own = given is not None and is_of_git(given) and self._profile.roots == WRITE_ROOTS
            return given if given == resolve_target(path, self._host) and not is_own else None
        except OSError:
            return None  # it becomes a link, and none, all the time

    def _is_given(self, path: str) -> bool:
        writes = self._profile.roots == WRITE_ROOTS
        given = self._profile.write if writes else (*self._profile.read, *self._profile.write)
        return any(is_inside(path, each) for each in given)

    def _stage_root(self, path: str) -> Staged | None:
        """A root, with what is given, needed and covered in it; None where it is refused."""
        profile = self._profile
        inner = Profile(
            tuple(each for each in profile.read if is_inside(each, path)),
            tuple(each for each in profile.write if is_inside(each, path)),
            changes_git=profile.changes_git,
        )
        root = Profile(write=(path,)) if profile.roots == WRITE_ROOTS else Profile(read=(path,))
        needed = tuple(each for each in self._needed if is_inside(each, path))
        try:
            view = build_view(inner.with_more(root), self._host, needed, path, None)
        except (PolicyError, OSError) as error:
            self._refuse(path, str(error))
            return None
        found = next((each for each in stage_view(view)[1] if each.outer.path == path), None)
        if found is None:
            self._refuse(path, "it became a link")
        return found

    def _refuse(self, what: str, why: str) -> None:
        shown = what[:SHOWN]
        if shown not in self._refused and len(self._refused) < MOST_ROOTS:
            self._refused.add(shown)
            self._say(
                f"the client's root {shown!r} is not given to the server: {why}."
                " To give a folder: --read PATH or --write PATH."
            )


def _ignore(_number: int) -> None:
    """For a server that nobody watches over."""


def _local_path(address: str) -> str | None:
    """The path in a file's address (RFC 8089); None for any other, or for what can be no path."""
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
    """Resolve a path; None where it passes a link that a server may have made.

    Followed are links that stand in the home itself, or in a folder that we cannot change: none of
    these is given to a server unasked.

    Args:
        path: an absolute one.
        host: this machine and its user.

    Raises:
        OSError: a link leads in circles, or is gone meanwhile.
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
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if may_be_meant(place, host) and os.access(place, os.W_OK):
            plantable.add(place)
        target = os.readlink(step)
        place = "/" if target.startswith("/") else place
        rest += target.split("/")[::-1]
    return place if all(is_inside(place, each) for each in plantable) else None
