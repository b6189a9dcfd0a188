"""The client's roots: the folders that a server is given at its next start.

Roots are the client's answers to `roots/list`; nothing that a server sends counts as one. They are
refused like folders among a server's arguments: the home, folders with other users' or the system's
files, paths that must be granted by name, and links that the server may have made.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from os.path import dirname, islink, join, normpath
from threading import Lock
from urllib.parse import unquote, urlsplit

from pipeguard.config.atomic_write import replace_file
from pipeguard.isolation import run_later, runtimes, sensitive, view
from pipeguard.isolation.profile import WRITE_ROOTS, Profile
from pipeguard.transports.both_ways import LineBased
from pipeguard.transports.channel import Channel

MOST_ROOTS = 64
MOST_BYTES = 3 * 4096  # of an address: the longest path (PATH_MAX), each byte as %XX
SHOWN = 200  # characters of one that is refused


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
        host: view.SandboxUser,
        say: view.Say,
    ) -> None:
        self._path = join(place, sha256(os.fsencode(identity)).hexdigest())
        self._host = host
        self._say = say
        self._is_writable = profile.roots == WRITE_ROOTS
        self._changeable = profile.write
        self._refused: set[str] = set()
        stored = []
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
        is_new = folders != self._folders
        self._folders = folders
        os.makedirs(dirname(self._path), mode=0o700, exist_ok=True)
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
        return tuple(sensitive.outermost(accepted))

    def _folder(self, path: str) -> str:
        """The folder to grant for a path, as for an argument of a server; or empty."""
        with suppress(OSError):  # it becomes a link, and none, all the time
            for folder in runtimes.folders_among([path], "/", self._host, self._changeable):
                is_own = run_later.is_of_git(folder) and self._is_writable
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
    return normpath("/" + path.lstrip("/"))


# --- planted links ----------------------------------------------------------------------
# Links on the path of a client's root that a server may have made, in this run or before.

MOST_LINKS = 40  # as the kernel follows (path_resolution(7))


def resolve_target(path: str, host: view.SandboxUser) -> str | None:
    """Resolve a path; None if it passes a link that a server may have made, or too many.

    Only links directly in the home or in a folder that we cannot change are followed: neither
    is granted to a server unasked.

    Args:
        path: an absolute one.
        host: this machine and its user.

    Raises:
        OSError: a link was removed in the meantime.
    """
    place = "/"
    rest = path.split("/")[::-1]
    plantable = set[str]()
    links = 0
    while rest:
        name = rest.pop()
        step = dirname(place) if name == ".." else join(place, name).rstrip("/")
        if name in ("", ".", "..") or not islink(step):
            place = step or "/"
            continue
        links += 1
        if links > MOST_LINKS:
            return None
        is_ours = os.access(place, os.W_OK) or os.stat(place).st_uid == host.uid
        if is_ours and runtimes.may_be_meant(
            place, host
        ):  # the server may have made it read-only after
            plantable.add(place)
        target = os.readlink(step)
        place = "/" if target.startswith("/") else place
        rest += target.split("/")[::-1]
    return place if all(sensitive.is_inside(place, each) for each in plantable) else None


# --- the channel ------------------------------------------------------------------------
# Roots are the client's answers to `roots/list`: messages of their own, or in `inputResponses`
# under the key of the server's request (MCP 2025-06-18, client/roots; 2026-07-28,
# basic/patterns/mrtr). The server's own messages are only searched for its requests.

METHOD, RESPONSES = "roots/list", "inputResponses"
MOST_ASKED = 64  # that wait for an answer; of more, the oldest are forgotten


class RootsChannel:
    """A Channel to one server, which reads the client's roots as they pass.

    Args:
        channel: to the server, of judged frames.
        note: called with the addresses that the client answered.
    """

    def __init__(self, channel: Channel, note: Callable[[tuple[str, ...]], None]) -> None:
        self._channel = channel
        self._lined = channel if isinstance(channel, LineBased) else None
        self.lines = None if self._lined is None else self._lined.lines
        self._on_roots = note
        self._lock = Lock()
        self._asked: dict[str, None] = {}  # ids, and keys in a list, as JSON

    def read(self) -> bytes | None:
        """Wait for the server's next frame; None once the channel has ended."""
        frame = self._channel.read()
        if frame and METHOD.encode() in frame:
            self._note(_read(frame))
        return frame

    def write(self, frame: bytes) -> None:
        """Send the server one frame, after noting the roots in it.

        Raises:
            ChannelClosed: the peer is gone, or this side was closed.
        """
        found = self._answered_roots(_read(frame)) if self._asked else None
        if found is not None:
            self._on_roots(found)
        self._channel.write(frame)

    def write_ready(self, frame: bytes) -> bool:
        """Send the server one frame if it accepts it at once, and the frame has no roots."""
        return not self._asked and self._lined is not None and self._lined.write_ready(frame)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def _note(self, message: dict[str, object]) -> None:
        """Remember the ids and keys of the server's requests for roots."""
        names: list[object] = [[key] for key in _request_keys(message)]
        if message.get("method") == METHOD and "id" in message:
            names.append(message["id"])
        with self._lock:
            for name in map(json.dumps, names):
                self._asked.pop(name, None)
                self._asked[name] = None
            while len(self._asked) > MOST_ASKED:
                del self._asked[next(iter(self._asked))]

    def _answered_roots(self, message: dict[str, object]) -> tuple[str, ...] | None:
        """The roots in a client's message; None if it has none."""
        params = message.get("params")
        answers = params.get(RESPONSES) if isinstance(params, dict) else None
        answers = answers if isinstance(answers, dict) else {}
        named = {json.dumps([key]): answer for key, answer in answers.items()}
        if "method" not in message:
            named[json.dumps(message.get("id"))] = message.get("result")
        with self._lock:
            for name, answer in named.items():
                listed = answer.get("roots") if isinstance(answer, dict) else None
                if name in self._asked and isinstance(listed, list):
                    del self._asked[name]
                    found = (each.get("uri") for each in listed if isinstance(each, dict))
                    return tuple(each for each in found if isinstance(each, str))
        return None


def _read(frame: bytes) -> dict[str, object]:
    with suppress(ValueError, RecursionError):
        message = json.loads(frame)
        return message if isinstance(message, dict) else {}
    return {}


def _request_keys(message: dict[str, object]) -> Iterator[str]:
    """The keys of a message's requests for roots: in a result, or in a task it has or reports."""
    outer = [
        each for each in (message.get("result"), message.get("params")) if isinstance(each, dict)
    ]
    for holder in (*outer, *(each.get("task") for each in outer)):
        asked = holder.get("inputRequests") if isinstance(holder, dict) else None
        if not isinstance(asked, dict):
            continue
        for key, request in asked.items():
            if isinstance(request, dict) and request.get("method") == METHOD:
                yield key
