"""Answers all calls of a server that the kernel asks about, and writes down what they are about.

What cannot be read of a call is not written down, and the call goes on all the same. A file that
does not exist is not read, so looking for it teaches nothing.
"""

# ruff: noqa: PTH115, PTH116
# pathlib costs 10 us, and a server is waiting
from __future__ import annotations

import os
import select
import socket
import stat
import struct
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.isolation.egress.dns import DnsError, parse_question
from pipeguard.isolation.learning import listener as kernel
from pipeguard.isolation.learning.calls import FLAGS_AT, PATHS, FileAccess
from pipeguard.isolation.learning.names import PathNames
from pipeguard.isolation.learning.observed import LISTED, READ, WRITTEN, Observed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeguard.isolation.learning.calls import PathAt
    from pipeguard.isolation.learning.listener import NotifiedCall

PATH_BYTES = 4096  # PATH_MAX (linux/limits.h)
MAX_DATAGRAM_BYTES = 600
COMPILED = "/__pycache__"
MAX_SEEN = 65_536  # paths that are not looked at twice
MAX_MESSAGES = 4  # of sendmmsg(2): C libraries ask for A and AAAA at once
DNS_PORT = 53
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CURRENT_FOLDER = -100  # AT_FDCWD
IDLE_SECONDS = 1
MAX_ADDRESS_BYTES = 128  # struct sockaddr_storage
_MESSAGE_BYTES = 64  # struct mmsghdr


class Had(NamedTuple):
    """Files and folders that a server has anyway once it is isolated.

    Attributes:
        to_read: that it may read; its own program is among them.
        to_write: that it may change, or that no server can.
    """

    to_read: tuple[str, ...]
    to_write: tuple[str, ...]


class Tracer:
    """Watches one server from its start to its end, in a thread of its own.

    Args:
        channel: that the server's listener comes through; closed with this.
        names: of the calls, by number.
        had: what is not written down.
        save: stores what was seen; called in the thread while the server does nothing, and at the
            end, each time with all of it.

    Attributes:
        unread: how many calls could not be read.
    """

    def __init__(
        self,
        channel: socket.socket,
        names: Mapping[int, str],
        had: Had,
        save: Callable[[Observed], None],
    ) -> None:
        self.unread = 0
        self._observed = Observed(runs=1)
        self._save = save
        self._is_saved = False
        self._channel = channel
        self._calls = names
        self._had = {
            False: tuple(f"{path}/" for path in had.to_read),
            True: tuple(f"{path}/" for path in had.to_write),
        }
        self._seen: set[tuple[str, bool]] = set()
        self._names = PathNames()
        self._wake, self._waker = os.pipe()
        self._thread = Thread(target=self._run, name="learn", daemon=True)

    def start(self) -> None:
        """Begin to answer; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """End; from now on the calls of what still runs fail."""
        os.write(self._waker, b"\0")
        with suppress(OSError):  # the server never started
            self._channel.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for descriptor in (self._wake, self._waker):
            os.close(descriptor)
        self._names.settle(self._observed, is_end=True)
        self._save(self._observed)

    def _run(self) -> None:
        try:
            _, received, _, _ = socket.recv_fds(self._channel, 1, 1)
        except OSError:
            received = []
        self._channel.close()  # so that nobody waits in it if this ends
        if not received:
            return
        try:
            self._answer(received[0])
        finally:
            os.close(received[0])

    def _answer(self, listener: int) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(listener, select.POLLIN)
        while True:
            ready = dict(poll.poll(IDLE_SECONDS * 1000))
            if not ready:
                self._save_meanwhile()
                continue
            if self._wake in ready or not ready.get(listener, 0) & select.POLLIN:
                return  # closed, or nobody is left who could ask
            call = kernel.receive(listener)
            if call is None:
                continue
            self._is_saved = False
            try:
                self._look(listener, call)
            except (OSError, ValueError, struct.error):
                self.unread += 1
            finally:
                kernel.let_go(listener, call)

    def _save_meanwhile(self) -> None:
        """Save what was seen so far: clients kill who does not end at once."""
        if not self._is_saved:
            self._is_saved = True
            self._names.settle(self._observed, is_end=False)
            self._save(self._observed)

    def _look(self, listener: int, call: NotifiedCall) -> None:
        name = self._calls[call.number]
        memory = os.open(f"/proc/{call.task}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if not kernel.is_waiting(listener, call):
                return
            if name in PATHS:
                for at in PATHS[name]:
                    is_writing = self._is_writing(name, at, call, memory)
                    self._path(call, at, memory, is_writing=is_writing)
            elif name in ("connect", "bind"):
                _, start, length, *_ = call.arguments
                raw = os.pread(memory, min(length, MAX_ADDRESS_BYTES), start)
                self._address(name, call, raw)
            elif name == "sendto":
                _, start, length, *_ = call.arguments
                self._datagram(os.pread(memory, min(length, MAX_DATAGRAM_BYTES), start))
            else:
                self._datagrams(call, memory)
        finally:
            os.close(memory)

    @staticmethod
    def _is_writing(name: str, at: PathAt, call: NotifiedCall, memory: int) -> bool:
        if at.access is not FileAccess.BY_FLAGS:
            return at.access is FileAccess.WRITE
        flags = call.arguments[FLAGS_AT[name]]
        if name == "openat2":
            flags = int.from_bytes(os.pread(memory, 8, flags), "little")
        return bool(flags & WRITING)

    def _path(self, call: NotifiedCall, at: PathAt, memory: int, *, is_writing: bool) -> None:
        raw = os.pread(memory, PATH_BYTES, call.arguments[at.path]).partition(b"\0")[0]
        path = os.fsdecode(raw)
        if not path:
            return  # the descriptor itself, which was opened before
        if path[0] != "/":
            number = CURRENT_FOLDER if at.folder is None else _signed(call.arguments[at.folder])
            link = "cwd" if number == CURRENT_FOLDER else f"fd/{number}"
            path = f"{os.readlink(f'/proc/{call.task}/{link}')}/{path}"
        path = os.path.normpath(path)
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

    def _address(self, name: str, call: NotifiedCall, raw: bytes) -> None:
        (family,) = struct.unpack_from("=H", raw)
        if family == socket.AF_UNIX:
            path = os.fsdecode(raw[2:].partition(b"\0")[0])
            if name == "connect" and path.startswith("/"):
                self._observed.sockets.add(os.path.normpath(path))
            return
        if family == socket.AF_INET:
            address = ip_address(raw[4:8])
        elif family == socket.AF_INET6:
            six = IPv6Address(raw[8:24])
            address = six.ipv4_mapped or six
        else:
            return
        port = int.from_bytes(raw[2:4], "big")
        if name == "bind":
            self._observed.bound.add(port)
        elif port and not address.is_unspecified and self._is_tcp(call):
            if address.is_loopback:
                self._observed.loopback.add(port)
            else:
                self._names.connected(str(address), port)

    @staticmethod
    def _is_tcp(call: NotifiedCall) -> bool:
        """Whether the socket of a call is one of TCP; C libraries connect others to compare."""
        from pipeguard.isolation.learning.descriptors import borrowed

        with borrowed(call.task, _signed(call.arguments[0])) as descriptor:
            made = socket.socket(fileno=os.dup(descriptor))
        with made:
            return made.type == socket.SOCK_STREAM

    def _datagrams(self, call: NotifiedCall, memory: int) -> None:
        _, messages, count, *_ = call.arguments
        for number in range(min(count, MAX_MESSAGES)):
            header = os.pread(memory, _MESSAGE_BYTES, messages + number * _MESSAGE_BYTES)
            (vectors,) = struct.unpack_from("=Q", header, 16)
            start, length = struct.unpack("=QQ", os.pread(memory, 16, vectors))
            self._datagram(os.pread(memory, min(length, MAX_DATAGRAM_BYTES), start))

    def _datagram(self, content: bytes) -> None:
        """A question for a name, if it is one; whom it is sent to does not matter."""
        with suppress(DnsError):
            self._names.asked(parse_question(content).name)


def _signed(value: int) -> int:
    """A register as the descriptor that is in its lower half."""
    return (value & 0xFFFFFFFF) - ((value & 0x80000000) << 1)
