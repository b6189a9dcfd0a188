"""Reads the output of strace(1), and records the files and hosts that a server uses.

Looking at a file (stat(2), access(2), readlink(2)) is not traced: programs ask for many files that
they never open. Files that do not exist are ignored, too, unless the server tried to write them.
"""

import os
import re
import select
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from threading import Thread

from pipeguard.isolation.egress.addresses import is_private
from pipeguard.isolation.egress.dns import DnsError, parse_question
from pipeguard.isolation.egress.hosts import PRIVATE, HostAndPort, parse_host
from pipeguard.isolation.learning.observed import LISTED, READ, WRITTEN, Observed

COMPILED = "/__pycache__"
MAX_HOSTS = 1_000
DNS_PORT = 53
CHOSEN_PORTS = range(32_768, 61_000)  # that the system chooses from, ip(7)
USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"
MAX_SEEN = 65_536  # paths that are not looked at twice
MAX_LINE_BYTES = 1024 * 1024
IDLE_SECONDS = 1
END_SECONDS = 2.0
READ_BYTES = 64 * 1024
# By call, its use of each of its paths: read, write, `-` nothing, `o` by its flags.
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


def strace_here() -> str:
    """The path of strace; empty if it is not installed. A client may give a short PATH."""
    return shutil.which("strace") or shutil.which("strace", path=USUAL_PATH) or ""


def obstacle() -> str | None:
    """Name the obstacle to learning on this machine; None if there is none."""
    strace = strace_here()
    if not strace:
        return "it needs strace: install the package `strace`"
    words = [strace, *OPTIONS, os.devnull, strace, "-V"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return f"strace cannot trace here: {done.stderr.strip()}" if done.returncode else None


class Tracer:
    """Reads the calls of one server from its start to its end, in a thread of its own.

    Args:
        source: the pipe that strace writes to; the thread closes it.
        folder: the server's working directory.
        had: paths that every isolated server has: readable ones, and changeable ones.
        save: stores all observations so far; called in the thread while the server is idle, and
            at the end.
    """

    def __init__(
        self,
        source: int,
        folder: str,
        had: tuple[tuple[str, ...], tuple[str, ...]],
        save: Callable[[Observed], None],
    ) -> None:
        self._observed = Observed()
        self._save = save
        self._source = source
        self._start_folder = folder
        self._folders: dict[str, str] = {}  # current ones, by thread
        self._unfinished: dict[str, str] = {}  # calls, by thread
        self._had = [tuple(f"{path}/" for path in paths) for paths in had]
        self._seen: set[tuple[str, bool]] = set()
        self._names: dict[str, list[str] | None] = {}  # addresses by name, once it is looked up
        self._connected: set[tuple[IPv4Address | IPv6Address, int]] = set()
        self._loopback: set[int] = set()
        self._bound: set[int] = set()
        self._wake, self._waker = os.pipe()
        self._thread = Thread(target=self._run, name="learn", daemon=True)

    def start(self) -> None:
        """Begin to read; return at once."""
        self._thread.start()

    def close(self) -> None:
        """Read the remaining output of a server that has ended, and save the observations."""
        self._thread.join(END_SECONDS)
        os.close(self._waker)
        self._thread.join(END_SECONDS)
        for thread, text in self._unfinished.items():
            self._take_call(thread, text)
        self._report()

    def _run(self) -> None:
        try:
            self._read_lines()
            self._look_up()
        finally:
            os.close(self._wake)
            os.close(self._source)

    def _read_lines(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(self._source, select.POLLIN)
        rest = b""
        is_saved = False
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(IDLE_SECONDS * 1000)}
            if self._wake in ready:
                return
            if not ready:
                if not is_saved:  # clients kill who does not end at once
                    self._look_up()
                    self._report()
                is_saved = True
                continue
            data = os.read(self._source, READ_BYTES)
            is_saved = False
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._take_line(line.decode("ascii", "replace"))
            if not data:
                return
            rest = rest if len(rest) < MAX_LINE_BYTES else b""  # else the server would wait

    def _look_up(self) -> None:
        """Look up the names that the server asked for, because addresses are not lasting grants."""
        for name, addresses in [*self._names.items()]:
            if addresses is None:
                self._names[name] = []
                with suppress(OSError, UnicodeError):
                    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
                    self._names[name] = [str(address[0]) for *_, address in found]

    def _report(self) -> None:
        known = {address: name for name, found in self._names.items() for address in found or ()}
        hosts = set()
        for address, port in self._connected:
            host = known.get(str(address), address)
            is_of_network = host is not address and is_private(address)
            hosts.add(HostAndPort(host, port).entry + PRIVATE * is_of_network)
        self._observed.hosts = sorted(hosts)
        kept = (self._loopback - self._bound - {DNS_PORT}).difference(CHOSEN_PORTS)
        self._observed.loopback = sorted(kept)
        self._save(self._observed)

    def _take_line(self, line: str) -> None:
        match = _LINE.fullmatch(line)
        if not match:
            return
        thread, text, is_unfinished = match.groups()
        text = self._unfinished.pop(thread, "") + text
        if is_unfinished and len(self._unfinished) < MAX_SEEN:
            self._unfinished[thread] = text
        else:
            self._take_call(thread, text)

    def _take_call(self, thread: str, text: str) -> None:
        call = _CALL.match(text)
        if not call:
            return
        name, arguments = call.groups()
        with suppress(ValueError):  # not an address: the call fails
            if name in PATHS:
                self._take_paths(thread, name, arguments)
            elif name in ("connect", "bind"):
                self._take_address(name, arguments)
            elif name == "fchdir":
                self._folders.clear()
            else:
                self._take_datagrams(arguments)

    def _take_paths(self, thread: str, name: str, arguments: str) -> None:
        """Note a call's paths, which come first among its strings."""
        for use, match in zip(PATHS[name], _PATH.finditer(arguments), strict=False):
            folder, path = (os.fsdecode(_bytes(each or "")) for each in match.groups())
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
        """Note the names in DNS queries, whatever their destination."""
        for match in _STRING.finditer(arguments):
            with suppress(DnsError):
                name = parse_host(parse_question(_bytes(match[1])).name)
                if isinstance(name, str) and len(self._names) < MAX_HOSTS:
                    self._names.setdefault(name, None)

    def _current_folder(self, thread: str) -> str:
        if thread not in self._folders:
            with suppress(OSError):
                return os.readlink(f"/proc/{thread}/cwd")
        return self._folders.get(thread, self._start_folder)

    def _take_path(self, path: str, *, is_writing: bool) -> None:
        if f"{path}/".startswith(self._had[is_writing]) or (path, is_writing) in self._seen:
            return
        if is_writing and COMPILED in path:
            return  # if Python cannot write it, it does without
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
        found = _ADDRESS.search(arguments)
        number = _PORT.search(arguments)
        if found is None or number is None:
            return
        port = int(number[1])
        address = ip_address(_bytes(found[1]).decode("ascii"))
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address
        if name == "bind":
            self._bound.add(port)
        elif port and not address.is_unspecified and not _NOT_TCP.match(arguments):
            if address.is_loopback:
                self._loopback.add(port)
            elif len(self._connected) < MAX_HOSTS:
                self._connected.add((address, port))


def _bytes(text: str) -> bytes:
    r"""The bytes of a string as strace writes it: `\x2f\x61`."""
    return bytes.fromhex(text.replace(r"\x", ""))
