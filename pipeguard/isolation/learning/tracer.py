"""Reads what strace(1) says of a server's calls, and writes down what it reads, writes and reaches.

Looking at a file (stat(2), access(2), readlink(2)) is not traced: programs ask for many files that
they never open. Nor does a file that does not exist teach anything, unless it was to be written.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import socket
import stat
import subprocess
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.isolation.egress.addresses import is_private
from pipeguard.isolation.egress.dns import DnsError, parse_question
from pipeguard.isolation.egress.hosts import HostError, parse_host
from pipeguard.isolation.learning.observed import LISTED, READ, WRITTEN, Observed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

COMPILED = "/__pycache__"
USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"
MAX_SEEN = 65_536  # paths that are not looked at twice
MAX_LINE_BYTES = 1024 * 1024
MAX_STRINGS = 8  # of sendmmsg(2): C libraries ask for A and AAAA at once, of an address each
IDLE_SECONDS, END_SECONDS = 1, 2.0
READ_BYTES = 64 * 1024
YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")  # Documentation/admin-guide/LSM/Yama.rst
OURS_TO_TRACE = 1  # the highest at which a process may trace another with its consent
# By call, what it does with each of its paths: read, write, `-` nothing, `o` by its flags.
PATHS = {
    **dict.fromkeys(("open", "openat", "openat2"), "o"),
    **dict.fromkeys(("creat", "truncate", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat"), "w"),
    **dict.fromkeys(("chmod", "fchmodat"), "w"),
    **dict.fromkeys(("rename", "renameat", "renameat2"), "ww"),
    **dict.fromkeys(("symlink", "symlinkat"), "-w"),
    **dict.fromkeys(("link", "linkat"), "rw"),
    **dict.fromkeys(("chdir", "execve", "execveat", "inotify_add_watch"), "r"),
}
TRACED = (*PATHS, "fchdir", "connect", "bind", "sendto", "sendmmsg")
# All strings in hexadecimal, descriptors with their paths and protocols; `?` for calls that not
# every machine has. The tracer is a grandchild: the server stays our child.
OPTIONS = (
    *("-D", "-I3", "-f", "--seccomp-bpf", "-qqq", "-xx", "-yy", "-s", "600", "-e", "signal=none"),
    *("-e", f"trace={','.join(f'?{name}' for name in TRACED)}", "-o"),
)
_HEX = r"((?:\\x[0-9a-f]{2})*)"
_LINE = re.compile(r"(\d+) +(?:<\.\.\. \w+ resumed>)?(.*?)( <unfinished \.\.\.>)?")
_CALL = re.compile(r"(\w+)\((.*)")
_PATH = re.compile(rf'(?:(?:AT_FDCWD|\d+)(?:<{_HEX}>(?:\(deleted\))?)?, )?"{_HEX}"')
_STRING = re.compile(f'"{_HEX}"')
_WRITING = re.compile(r"\bO_(?:WRONLY|RDWR|CREAT|TRUNC)\b")
_NOT_TCP = re.compile(r"\d+<(?:UDP|UNIX|NETLINK|PING|RAW)")
_PORT = re.compile(r"sin6?_port=htons\((\d+)\)")
_ADDRESS = re.compile(rf'inet_(?:addr\(|pton\(AF_INET6, )"{_HEX}"')
_UNIX = re.compile(rf'sun_path="{_HEX}"')


def strace_here() -> str:
    """The path of strace; empty if it is not installed. A client may give a short PATH."""
    return shutil.which("strace") or shutil.which("strace", path=USUAL_PATH) or ""


def obstacle() -> str | None:
    """Say why nothing can be learned on this machine; None if it can."""
    strace = strace_here()
    if not strace:
        return "it needs strace: install the package `strace`"
    with suppress(OSError, ValueError):  # this kernel has no Yama
        if (scope := int(YAMA.read_text("ascii"))) > OURS_TO_TRACE:
            return f"kernel.yama.ptrace_scope = {scope} forbids to trace a server"
    words = [strace, *OPTIONS, os.devnull, strace, "-V"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return f"strace cannot trace here: {done.stderr.strip()}" if done.returncode else None


class Had(NamedTuple):
    """Files and folders that a server has anyway once it is isolated.

    Attributes:
        to_read: that it may read; its own program is among them.
        to_write: that it may change, or that no server can.
    """

    to_read: tuple[str, ...]
    to_write: tuple[str, ...]


class Tracer:
    """Reads the calls of one server from its start to its end, in a thread of its own.

    Args:
        source: the pipe that strace writes to; closed with this.
        folder: that the server starts in.
        had: what is not written down.
        save: stores what was seen; called in the thread while the server does nothing, and at the
            end, each time with all of it.
    """

    def __init__(
        self, source: int, folder: str, had: Had, save: Callable[[Observed], None]
    ) -> None:
        self._observed = Observed(runs=1)
        self._save = save
        self._source = source
        self._start_folder = folder
        self._folders: dict[str, str] = {}  # current ones, by thread
        self._unfinished: dict[str, str] = {}  # calls, by thread
        self._had = {
            False: tuple(f"{path}/" for path in had.to_read),
            True: tuple(f"{path}/" for path in had.to_write),
        }
        self._seen: set[tuple[str, bool]] = set()
        self._names = _HostNames()
        self._wake, self._waker = os.pipe()
        self._thread = Thread(target=self._run, name="learn", daemon=True)

    def start(self) -> None:
        """Begin to read; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Read what is left of a server that has ended, and save it."""
        self._thread.join(END_SECONDS)
        os.write(self._waker, b"\0")
        self._thread.join()
        for descriptor in (self._wake, self._waker, self._source):
            os.close(descriptor)
        for thread, text in self._unfinished.items():
            self._take_call(thread, text)
        self._names.settle(self._observed, is_end=True)
        self._save(self._observed)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(self._source, select.POLLIN)
        rest, is_saved = b"", False
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(IDLE_SECONDS * 1000)}
            if self._wake in ready:
                return
            if not ready:
                if not is_saved:  # clients kill who does not end at once
                    self._names.settle(self._observed, is_end=False)
                    self._save(self._observed)
                is_saved = True
                continue
            data, is_saved = os.read(self._source, READ_BYTES), False
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._take_line(line.decode("ascii", "replace"))
            if not data:
                return
            rest = rest if len(rest) < MAX_LINE_BYTES else b""  # else the server would wait

    def _take_line(self, line: str) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            return
        thread, text, is_unfinished = match.groups()
        text = self._unfinished.pop(thread, "") + text
        if is_unfinished and len(self._unfinished) < MAX_SEEN:
            self._unfinished[thread] = text
        else:
            self._take_call(thread, text)

    def _take_call(self, thread: str, text: str) -> None:
        call = _CALL.match(text)
        if call is None:
            return
        name, arguments = call.groups()
        with suppress(ValueError):  # what is no address: the call fails
            if name in PATHS:
                self._take_paths(thread, name, arguments)
            elif name in ("connect", "bind"):
                self._take_address(name, arguments)
            elif name in ("sendto", "sendmmsg"):
                self._take_datagrams(arguments)
            elif name == "fchdir":
                self._folders.clear()

    def _take_paths(self, thread: str, name: str, arguments: str) -> None:
        """Take note of a call's paths, which come first among its strings."""
        for use, match in zip(PATHS[name], _PATH.finditer(arguments), strict=False):
            folder, path = (os.fsdecode(_bytes(each or "")) for each in match.groups())
            if match[0].startswith("AT_FDCWD<"):
                self._folders[thread] = folder
            if not path or use == "-":
                continue  # the descriptor itself, which was opened before
            if not folder.startswith("/"):
                folder = self._current_folder(thread)
            path = os.path.normpath(os.path.join(folder, path))
            if name == "chdir" and arguments.endswith("= 0"):
                self._folders.clear()  # threads share theirs
                self._folders[thread] = path
            is_writing = use == "w" or (use == "o" and bool(_WRITING.search(arguments)))
            self._take_path(path, is_writing=is_writing)

    def _take_datagrams(self, arguments: str) -> None:
        """Take note of questions for names; whom they are sent to does not matter."""
        for match in islice(_STRING.finditer(arguments), MAX_STRINGS):
            with suppress(DnsError):
                self._names.take_question(parse_question(_bytes(match[1])).name)

    def _current_folder(self, thread: str) -> str:
        if thread not in self._folders:
            with suppress(OSError):
                return os.readlink(f"/proc/{thread}/cwd")
        return self._folders.get(thread, self._start_folder)

    def _take_path(self, path: str, *, is_writing: bool) -> None:
        if f"{path}/".startswith(self._had[is_writing]) or (path, is_writing) in self._seen:
            return
        if is_writing and COMPILED in path:
            return  # where Python cannot write it, it goes on without
        try:
            mode = os.stat(path).st_mode
        except OSError:
            if not is_writing:
                return
            mode = 0
        if len(self._seen) < MAX_SEEN:
            self._seen.add((path, is_writing))
        if not is_writing:
            self._observed.add_file(path, LISTED if stat.S_ISDIR(mode) else READ)
        elif not stat.S_ISCHR(mode):  # a terminal and its like hold nothing
            self._observed.add_file(path, WRITTEN)

    def _take_address(self, name: str, arguments: str) -> None:
        if name == "connect" and (unix := _UNIX.search(arguments)):
            path = os.fsdecode(_bytes(unix[1]))
            if path.startswith("/"):
                self._observed.add_socket(os.path.normpath(path))
        found, number = _ADDRESS.search(arguments), _PORT.search(arguments)
        if found is None or number is None:
            return
        port, address = int(number[1]), ip_address(_bytes(found[1]).decode("ascii"))
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address
        if name == "bind":
            self._observed.bound.add(port)
        elif port and not address.is_unspecified and not _NOT_TCP.match(arguments):
            if address.is_loopback:
                self._observed.loopback.add(port)
            else:
                self._names.take_connection(str(address), port)


def _bytes(text: str) -> bytes:
    r"""The bytes of a string as strace writes it: `\x2f\x61`."""
    return bytes.fromhex(text.replace(r"\x", ""))


# --- names ------------------------------------------------------------------------------
# The name behind an address that a server connected to.

HOSTS_FILE = Path("/etc/hosts")
MAX_NAMES = 1_000
FINISH_SECONDS = 2.0
_REVERSE = (".in-addr.arpa", ".ip6.arpa", ".local")


def _sent_addresses(name: str) -> Iterable[str]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class _HostNames:
    """The names and addresses of one run, for the one thread that watches it.

    Args:
        resolve: gives the addresses of a name, in a thread of its own.
    """

    def __init__(self, resolve: Callable[[str], Iterable[str]] = _sent_addresses) -> None:
        self._resolve = resolve
        self._asked: set[str] = set()
        self._connected: set[tuple[str, int]] = set()
        self._addresses: dict[str, str] = {}
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._thread: Thread | None = None

    def take_question(self, name: str) -> None:
        """The server asked for the addresses of a name."""
        try:
            host = parse_host(name)
        except HostError:
            return
        if not isinstance(host, str) or host.endswith(_REVERSE) or "." not in host:
            return
        if host in self._asked or len(self._asked) >= MAX_NAMES:
            return
        self._asked.add(host)
        if self._thread is None:
            self._thread = Thread(target=self._look_up, name="learn-names", daemon=True)
            self._thread.start()
        self._queue.put(host)

    def take_connection(self, address: str, port: int) -> None:
        """The server connected to an address."""
        if len(self._connected) < MAX_NAMES:
            self._connected.add((address, port))

    def settle(self, observed: Observed, *, is_end: bool) -> None:
        """Say where the server connected to.

        Args:
            observed: where to say it.
            is_end: whether nothing more comes; until then, what has no name yet may still get one.
        """
        if is_end and self._thread is not None:
            self._queue.put(None)
            self._thread.join(FINISH_SECONDS)
        observed.names |= self._asked
        known = _hosts_file() | dict(self._addresses)
        for address, port in self._connected:
            if is_end or address in known:
                name = known.get(address, address)
                observed.add_host(name, port)
                if name != address and is_private(ip_address(address)):
                    observed.private.add(name)

    def _look_up(self) -> None:
        while (name := self._queue.get()) is not None:
            with suppress(OSError, UnicodeError):
                for address in self._resolve(name):
                    self._addresses.setdefault(address, name)


def _hosts_file() -> dict[str, str]:
    """Host names by address, as hosts(5) has them; of several the first."""
    try:
        lines = HOSTS_FILE.read_text("utf-8").splitlines()
    except (OSError, UnicodeError):
        return {}
    found: dict[str, str] = {}
    for line in lines:
        words = line.partition("#")[0].split()
        if len(words) > 1 and not words[0].startswith(("127.", "::1")):
            found.setdefault(words[0], words[1])
    return found
